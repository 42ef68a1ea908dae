//! Policies: Cedar text, held against the model, with what Hilum makes of annotations.
//!
//! What is wrong is told with line and column, and no text with a fault is loaded: a policy that cannot be understood protects nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use cedar_policy::{
    Decision, Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, Request, Response, Schema,
    ValidationMode, Validator,
};
use hilum_plugin::ConfigError;
use miette::Diagnostic;

use crate::clip;
use crate::marking::SENSITIVITIES;
use crate::mentions::Mentions;
use crate::settings::Confidentiality;

/// What policies may speak of.
pub(crate) const MODEL: &str = include_str!("model.cedarschema");

/// Policies of one stage.
const POLICIES_MAX: usize = 256;
/// Characters of a policy's name and of a reason's code, so that several fit into an event of the audit.
const NAME_CHARS_MAX: usize = 64;
/// Characters of what `@justify` says.
const JUSTIFY_CHARS_MAX: usize = 128;
/// Characters of one fault, because Cedar may list all that would be right.
const FAULT_CHARS_MAX: usize = 192;
/// Faults that one message names.
const FAULTS_SHOWN_MAX: usize = 8;

/// Policies that fit the model.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) set: PolicySet,
    authorizer: cedar_policy::Authorizer,
    break_glass: BTreeMap<String, BreakGlass>,
    pub(crate) mentions: Mentions,
}

/// What `@break_glass` and `@justify` say of a policy that permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BreakGlass {
    /// The codes of which one has to be stated.
    pub(crate) reasons: Vec<String>,
    /// What is owed for it afterwards, e.g. within which time.
    pub(crate) justify: String,
}

/// Something wrong, and where in the text.
struct Fault {
    at: usize,
    what: String,
}

impl Policies {
    /// Reads policies and holds them against the model.
    ///
    /// # Errors
    ///
    /// All that is wrong, each with line and column, as a fault of the setting `policies`.
    pub(crate) fn read(text: &str) -> Result<Self, ConfigError> {
        read(text).map_err(|faults| ConfigError::new("/policies", told(text, faults)))
    }

    /// What the policies say of a request.
    pub(crate) fn ask(&self, request: &Request, entities: &Entities) -> Response {
        self.authorizer.is_authorized(request, &self.set, entities)
    }

    /// What other policies say of it.
    pub(crate) fn asked_with(&self, others: &PolicySet, request: &Request, entities: &Entities) -> Decision {
        self.authorizer.is_authorized(request, others, entities).decision()
    }

    /// Whether there is a policy that permits only in an emergency.
    pub(crate) fn break_some_glass(&self) -> bool {
        !self.break_glass.is_empty()
    }

    /// Of a policy that permits only in an emergency.
    pub(crate) fn break_glass(&self, policy: &str) -> Option<&BreakGlass> {
        self.break_glass.get(policy)
    }
}

fn read(text: &str) -> Result<Policies, Vec<Fault>> {
    let parsed: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors.iter().map(|error| Fault::of(text, error)).collect::<Vec<_>>()
    })?;
    if let Some(template) = parsed.templates().next() {
        let at = AsRef::as_ref(template).loc().map_or(0, |loc| loc.start());
        return Err(vec![Fault {
            at,
            what: "slots such as `?principal` cannot be filled here: write what is meant".into(),
        }]);
    }
    let mut faults = Vec::new();
    let mut break_glass = BTreeMap::new();
    let mut named = Vec::new();
    let mut names = BTreeSet::new();
    let mut policies: Vec<_> = parsed.policies().collect();
    policies.sort_by_key(|policy| start(policy));
    if policies.is_empty() || policies.len() > POLICIES_MAX {
        let what = format!("there are {} policies: 1 to {POLICIES_MAX} may be", policies.len());
        return Err(vec![Fault { at: 0, what }]);
    }
    for policy in policies {
        match annotated(policy) {
            Ok((name, broken)) if names.insert(name.clone()) => {
                named.push(policy.new_id(PolicyId::new(&name)));
                break_glass.extend(broken.map(|broken| (name, broken)));
            }
            Ok((name, _)) => {
                faults
                    .push(Fault { at: start(policy), what: format!("another policy is named `{name}` too") });
            }
            Err(what) => faults.push(Fault { at: start(policy), what }),
        }
        faults.extend(unknown_codes(text, policy));
    }
    let set =
        PolicySet::from_policies(named).map_err(|error| vec![Fault { at: 0, what: error.to_string() }])?;
    faults.extend(unfit(text, &set));
    if !faults.is_empty() {
        return Err(faults);
    }
    let mentions = Mentions::of(&set);
    Ok(Policies { set, authorizer: cedar_policy::Authorizer::new(), break_glass, mentions })
}

/// The model, as Cedar knows it.
pub(crate) fn model() -> Schema {
    let (schema, _) = Schema::from_cedarschema_str(MODEL).expect("a test reads the model");
    schema
}

/// What does not fit the model. Warnings count where there is nothing worse: a policy that can never apply is not what somebody meant.
fn unfit(text: &str, set: &PolicySet) -> Vec<Fault> {
    let validated = Validator::new(model()).validate(set, ValidationMode::Strict);
    if validated.validation_passed() {
        return validated.validation_warnings().map(|warning| Fault::of(text, warning)).collect();
    }
    validated.validation_errors().map(|error| Fault::of(text, error)).collect()
}

/// A policy's name and what breaks the glass, or what is wrong with its annotations.
fn annotated(policy: &Policy) -> Result<(String, Option<BreakGlass>), String> {
    let known = ["id", "note", "break_glass", "justify"];
    if let Some((other, _)) = policy.annotations().find(|(name, _)| !known.contains(name)) {
        return Err(format!(
            "`@{other}` means nothing here: {} do",
            known.map(|name| format!("`@{name}`")).join(", ")
        ));
    }
    let name = policy.annotation("id").ok_or("it has no name: write `@id(\"name\")` before it")?;
    if !is_name(name) {
        return Err(format!("a policy's name is 1 to {NAME_CHARS_MAX} of `a-z`, `0-9` and `-`"));
    }
    let (reasons, justify) = match (policy.annotation("break_glass"), policy.annotation("justify")) {
        (None, None) => return Ok((name.to_owned(), None)),
        (None, Some(_)) => return Err("`@justify` is for policies with `@break_glass`".into()),
        (Some(_), None) => {
            return Err(
                "what breaks the glass has to be justified: say how with `@justify(\"within 72h\")`".into()
            );
        }
        (Some(reasons), Some(justify)) => (reasons, justify),
    };
    if policy.effect() == Effect::Forbid {
        return Err("only a `permit` can break the glass".into());
    }
    let reasons: Vec<_> = reasons.split_ascii_whitespace().map(str::to_owned).collect();
    if reasons.is_empty() || !reasons.iter().all(|reason| is_name(reason)) {
        return Err(
            "`@break_glass` has the codes of accepted reasons, with spaces between, e.g. \"stroke trauma\""
                .into(),
        );
    }
    if justify.trim().is_empty() || justify.chars().count() > JUSTIFY_CHARS_MAX {
        return Err(format!("`@justify` has 1 to {JUSTIFY_CHARS_MAX} characters"));
    }
    Ok((name.to_owned(), Some(BreakGlass { reasons, justify: justify.to_owned() })))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}

/// Codes that HL7 does not have. Those of purposes are in the model.
fn unknown_codes(text: &str, policy: &Policy) -> Vec<Fault> {
    let is_unknown = |uid: &EntityUid| {
        uid.type_name().to_string() == "Confidentiality"
            && Confidentiality::of_code(uid.id().unescaped()).is_none()
    };
    let fault = |uid: EntityUid| {
        let from = start(policy);
        let at = text.get(from..).and_then(|rest| rest.find(&uid.to_string())).map_or(from, |at| from + at);
        Fault { at, what: format!("`{uid}` is no code of HL7 v3 Confidentiality: U, L, M, N, R and V are") }
    };
    let of_confidentiality = policy.entity_literals().into_iter().filter(is_unknown).map(fault);
    of_confidentiality.chain(unknown_sensitivities(text, policy)).collect()
}

/// With them a policy would never say anything of a record.
fn unknown_sensitivities(text: &str, policy: &Policy) -> Vec<Fault> {
    let alone = PolicySet::from_policies([policy.clone()]);
    let codes = alone.map_or_else(|_| BTreeSet::new(), |alone| Mentions::of(&alone).sensitivities);
    let fault = |code: String| {
        let from = start(policy);
        let at =
            text.get(from..).and_then(|rest| rest.find(&format!("\"{code}\""))).map_or(from, |at| from + at);
        let what =
            format!("`{code}` is no code of HL7 v3 InformationSensitivityPolicy in its capital letters");
        Fault { at, what }
    };
    codes.into_iter().filter(|code| !SENSITIVITIES.contains(&code.as_str())).map(fault).collect()
}

/// Where a policy begins, with its annotations.
fn start(policy: &Policy) -> usize {
    AsRef::as_ref(policy).loc().map_or(0, |loc| loc.start())
}

impl Fault {
    fn of(text: &str, error: &(impl Diagnostic + Display)) -> Self {
        let at =
            error.labels().and_then(|mut labels| labels.next()).map_or(text.len(), |label| label.offset());
        let help = error.help().map_or_else(String::new, |help| format!(" ({help})"));
        Self { at, what: clip(format!("{error}{help}"), FAULT_CHARS_MAX) }
    }
}

/// All faults, in the order of the text; one for each place, because Cedar finds most of them for each action.
fn told(text: &str, mut faults: Vec<Fault>) -> String {
    faults.sort_by_key(|fault| fault.at);
    faults.dedup_by_key(|fault| fault.at);
    let left = faults.len().saturating_sub(FAULTS_SHOWN_MAX);
    let mut told: Vec<_> = faults[..faults.len() - left].iter().map(|fault| fault.told(text)).collect();
    if left > 0 {
        told.push(format!("and {left} more"));
    }
    told.join("; ")
}

impl Fault {
    fn told(&self, text: &str) -> String {
        let before = text.get(..self.at.min(text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        format!("line {line}, column {column}: {}", self.what)
    }
}
