//! The configuration: ordered rules, and what a JSON Schema cannot say of them.

use hilum_plugin::{ConfigError, Phase};
use serde::Deserialize;

use crate::purpose;

/// Rules of one stage.
const RULES_MAX: usize = 256;
/// Characters of a rule's name, so that it fits a reason.
const NAME_CHARS_MAX: usize = 64;

/// The configuration, as `rules.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Tried in order; the first that matches decides.
    pub(crate) rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Names the rule in reasons and in the audit.
    pub(crate) name: String,
    pub(crate) effect: Effect,
    /// All conditions must hold; a rule without any matches everything.
    #[serde(default)]
    pub(crate) when: When,
    /// Makes an `allow` one that is for emergencies only.
    #[serde(default)]
    pub(crate) break_glass: Option<BreakGlass>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// What has to be stated for the glass to break.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakGlass {
    /// The codes that are accepted as a reason.
    pub(crate) reasons: Vec<String>,
    /// The attribute that states one of them.
    #[serde(default = "default_reason_attribute")]
    pub(crate) reason_attribute: String,
}

fn default_reason_attribute() -> String {
    "break-glass-reason".into()
}

/// Conditions: each that is given must hold, and holds if any of its values does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    pub(crate) stakeholders: Option<Vec<String>>,
    pub(crate) roles: Option<Vec<String>>,
    pub(crate) zones: Option<Vec<String>>,
    pub(crate) purposes: Option<Vec<String>>,
    pub(crate) content_types: Option<Vec<String>>,
    pub(crate) phases: Option<Vec<PhaseName>>,
    /// The record carries any of these.
    pub(crate) labels: Option<Vec<String>>,
    /// The record carries none but these.
    pub(crate) only_labels: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) attributes: Vec<AttributeCondition>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PhaseName {
    Ingress,
    Egress,
}

impl PhaseName {
    pub(crate) fn is(self, phase: Phase) -> bool {
        matches!((self, phase), (Self::Ingress, Phase::Ingress) | (Self::Egress, Phase::Egress))
    }
}

/// A condition on one attribute of the record.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawAttributeCondition")]
pub(crate) struct AttributeCondition {
    pub(crate) name: String,
    pub(crate) predicate: Predicate,
}

#[derive(Debug, Clone)]
pub(crate) enum Predicate {
    Equals(String),
    In(Vec<String>),
    Present(bool),
}

/// An attribute's condition as it is written: one of three keys beside the name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAttributeCondition {
    name: String,
    equals: Option<String>,
    r#in: Option<Vec<String>>,
    present: Option<bool>,
}

impl TryFrom<RawAttributeCondition> for AttributeCondition {
    type Error = String;

    fn try_from(raw: RawAttributeCondition) -> Result<Self, String> {
        let predicate = match (raw.equals, raw.r#in, raw.present) {
            (Some(value), None, None) => Predicate::Equals(value),
            (None, Some(values), None) => Predicate::In(values),
            (None, None, Some(present)) => Predicate::Present(present),
            _ => {
                return Err(format!(
                    "attribute `{}` needs exactly one of `equals`, `in` and `present`",
                    raw.name
                ));
            }
        };
        Ok(Self { name: raw.name, predicate })
    }
}

impl Rules {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.rules.is_empty() || self.rules.len() > RULES_MAX {
            let reason = format!("give 1 to {RULES_MAX} rules; without any, everything would be denied");
            return Err(ConfigError::new("/rules", reason));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            if self.rules[..index].iter().any(|other| other.name == rule.name) {
                return Err(ConfigError::new(format!("{at}/name"), "another rule has this name"));
            }
            rule.check(&at)?;
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let error = |below: &str, reason: &str| Err(ConfigError::new(format!("{at}{below}"), reason));
        if self.name.is_empty() || self.name.chars().count() > NAME_CHARS_MAX {
            return error("/name", "give 1 to 64 characters");
        }
        self.when.check(&format!("{at}/when"))?;
        let Some(break_glass) = &self.break_glass else { return Ok(()) };
        if self.effect == Effect::Deny {
            return error("/break_glass", "only a rule that allows can break the glass");
        }
        if break_glass.reasons.is_empty() || break_glass.reasons.iter().any(|code| !is_code(code)) {
            return error("/break_glass/reasons", "give codes of 1 to 32 letters, digits, `-` and `_`");
        }
        match &self.when.purposes {
            Some(purposes) if purposes.iter().all(|code| purpose::is_emergency(code)) => Ok(()),
            _ => {
                error("/when/purposes", "a rule that breaks the glass needs purposes, and only BTG or ETREAT")
            }
        }
    }
}

impl When {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let lists = [
            ("stakeholders", &self.stakeholders),
            ("roles", &self.roles),
            ("zones", &self.zones),
            ("purposes", &self.purposes),
            ("content_types", &self.content_types),
            ("labels", &self.labels),
        ];
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        if let Some((name, _)) = lists.iter().find(|(_, list)| empty(list)) {
            return Err(ConfigError::new(
                format!("{at}/{name}"),
                "an empty list never matches: leave it out",
            ));
        }
        let mut purposes = self.purposes.iter().flatten().enumerate();
        if let Some((index, code)) = purposes.find(|(_, code)| !purpose::is_known(code)) {
            let reason =
                format!("`{code}` is not a code of the HL7 v3 value set PurposeOfUse, such as TREAT");
            return Err(ConfigError::new(format!("{at}/purposes/{index}"), reason));
        }
        let mut types = self.content_types.iter().flatten();
        if let Some(index) = types.position(|pattern| !is_content_type_pattern(pattern)) {
            let reason = "give a type such as `application/dicom` or `image/*`, without parameters";
            return Err(ConfigError::new(format!("{at}/content_types/{index}"), reason));
        }
        Ok(())
    }
}

fn is_code(code: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=32).contains(&code.len()) && code.bytes().all(allowed)
}

/// RFC 6838, section 4.2, as far as it matters for comparing.
fn is_content_type_pattern(pattern: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(allowed);
    pattern.split_once('/').is_some_and(|(top, sub)| is_name(top) && (sub == "*" || is_name(sub)))
}
