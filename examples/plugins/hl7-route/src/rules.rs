//! The configuration: which message gets which attributes.

use std::collections::BTreeMap;

use hilum_formats::hl7::Message;
use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::read::{Facts, component, segment};

/// Rules of one stage.
const RULES_MAX: usize = 256;
/// Attributes that one rule sets. A record has at most 32, and the plugin sets ten by itself.
const SET_MAX: usize = 16;

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Tried in order; the first that holds sets its attributes.
    pub rules: Vec<Rule>,
    /// What becomes of a message that no rule is for.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// Whether what the header says becomes attributes too (`hl7-code`, `hl7-event` and so on).
    #[serde(default = "yes")]
    pub describe: bool,
    /// Which records keep their order.
    #[serde(default)]
    pub key: Key,
}

fn yes() -> bool {
    true
}

/// What becomes of a message that no rule is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It goes on, without a rule's attributes.
    #[default]
    Pass,
    /// It is refused as `unrouted`.
    Refuse,
}

/// What the key of a record becomes: records of one key keep their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// The publisher's.
    #[default]
    Keep,
    /// The patient's identifier with its authority (PID-3); the publisher's where there is none.
    Patient,
    /// The visit's number (PV1-19); the publisher's where there is none.
    Visit,
}

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// For people; it appears in no record.
    pub name: String,
    /// All conditions must hold; a rule without any is for every message.
    #[serde(default)]
    pub when: When,
    /// Attributes and their values.
    pub set: BTreeMap<String, String>,
}

/// Conditions: each that is given must hold, and holds if any of its patterns does. A pattern may end in `*`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// MSH-9, e.g. `ADT^A01` or `ADT^*`.
    pub message: Option<Vec<String>>,
    /// MSH-3.
    pub sending_application: Option<Vec<String>>,
    /// MSH-4.
    pub sending_facility: Option<Vec<String>>,
    /// MSH-5.
    pub receiving_application: Option<Vec<String>>,
    /// MSH-6.
    pub receiving_facility: Option<Vec<String>>,
    /// MSH-11: `P`, `T` or `D`.
    pub processing: Option<Vec<String>>,
    /// MSH-12.
    pub version: Option<Vec<String>>,
    /// PV1-2.
    pub patient_class: Option<Vec<String>>,
    /// PV1-3, the point of care.
    pub location: Option<Vec<String>>,
    /// Any other field.
    #[serde(default)]
    pub fields: Vec<Condition>,
}

/// A condition on a field of the first segment of its name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// E.g. `PV1-10` or `OBR-4.1`.
    pub field: Path,
    /// The patterns.
    pub r#in: Vec<String>,
}

/// Segment, field and component.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Path {
    segment: String,
    field: usize,
    component: usize,
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a field such as `PV1-10` or `OBR-4.1`");
        let (segment, rest) = text.split_once('-').ok_or_else(wrong)?;
        let (field, component) = rest.split_once('.').unwrap_or((rest, "1"));
        let number = |text: &str| text.parse().ok().filter(|number| (1..=1024).contains(number));
        let named = segment.len() == 3
            && segment.bytes().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit());
        match (named, number(field), number(component)) {
            (true, Some(field), Some(component)) => {
                Ok(Self { segment: segment.to_owned(), field, component })
            }
            _ => Err(wrong()),
        }
    }
}

impl When {
    /// Whether all conditions hold.
    pub(crate) fn holds(&self, facts: &Facts, message: &Message<'_, '_>) -> bool {
        any(&self.message, &facts.message())
            && any(&self.sending_application, &facts.sending_application)
            && any(&self.sending_facility, &facts.sending_facility)
            && any(&self.receiving_application, &facts.receiving_application)
            && any(&self.receiving_facility, &facts.receiving_facility)
            && any(&self.processing, &facts.processing)
            && any(&self.version, &facts.version)
            && any(&self.patient_class, &facts.patient_class)
            && any(&self.location, &facts.location)
            && self.fields.iter().all(|condition| condition.holds(message))
    }

    fn lists(&self) -> [(&'static str, &Option<Vec<String>>); 9] {
        [
            ("message", &self.message),
            ("sending_application", &self.sending_application),
            ("sending_facility", &self.sending_facility),
            ("receiving_application", &self.receiving_application),
            ("receiving_facility", &self.receiving_facility),
            ("processing", &self.processing),
            ("version", &self.version),
            ("patient_class", &self.patient_class),
            ("location", &self.location),
        ]
    }
}

impl Condition {
    fn holds(&self, message: &Message<'_, '_>) -> bool {
        let Path { segment: name, field, component: number } = &self.field;
        let value = segment(message, name).map(|segment| component(segment, *field, *number));
        value.is_some_and(|value| self.r#in.iter().any(|pattern| covers(pattern.as_bytes(), &value)))
    }
}

/// Whether any pattern covers a value; true where nothing is asked.
fn any(patterns: &Option<Vec<String>>, value: &str) -> bool {
    patterns
        .as_ref()
        .is_none_or(|patterns| patterns.iter().any(|pattern| covers(pattern.as_bytes(), value.as_bytes())))
}

fn covers(pattern: &[u8], value: &[u8]) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(start) => value.starts_with(start),
        None => pattern == value,
    }
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.rules.len() > RULES_MAX {
            return Err(ConfigError::new("/rules", format!("give at most {RULES_MAX} rules")));
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
        if self.set.is_empty() || self.set.len() > SET_MAX {
            return error("/set", "set 1 to 16 attributes");
        }
        let is_name =
            |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(|octet| octet.is_ascii_graphic());
        if let Some(name) = self.set.keys().find(|name| !is_name(name)) {
            return error(
                "/set",
                &format!("`{name}` is no name of an attribute: give 1 to 64 printable ASCII characters"),
            );
        }
        let empty = self.when.lists().into_iter().find(|(_, list)| list.as_ref().is_some_and(Vec::is_empty));
        if let Some((name, _)) = empty {
            return error(&format!("/when/{name}"), "an empty list never holds: leave it out");
        }
        Ok(())
    }
}
