//! Consents of patients: FHIR R4 Consent.
//!
//! What is not understood is kept as such: it denies what it may mean, and permits nothing. A consent of which it cannot be told whose it
//! is, or which one it is, is an error: the record is stopped, so that somebody looks at it.

use hilum_formats::care::{Consent, Kind, Known, Provision, Tag};
use hilum_formats::patient::{Authorities, Identifier, Index};
use hilum_formats::{purpose, strict_json};
use hilum_plugin::keys::KeyError;
use serde_json::{Map, Value};

use crate::coder::Coder;
use crate::periods;

/// Consents of one patient.
pub(crate) const CONSENTS_MAX: usize = 64;
/// Provisions in each other, and in all.
const DEPTH_MAX: usize = 8;
const PROVISIONS_MAX: usize = 64;
/// Resources of a bundle, or patients of a list.
pub(crate) const ENTRIES_MAX: usize = 4096;

/// What a record says of one patient's consent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whose: all of their tags.
    pub(crate) patient: Vec<Tag>,
    /// Which consent.
    pub(crate) id: Tag,
    /// What it says; none if it is not in force.
    pub(crate) says: Option<Provision>,
}

/// Why a record is stopped. Names no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsentError {
    /// It cannot be told what, or whose, it is.
    Malformed(&'static str),
    /// The host made no tag.
    Key(KeyError),
}

impl From<KeyError> for ConsentError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl Said {
    /// Takes it into what is known. Whether there was room for it.
    #[must_use]
    pub(crate) fn apply(&self, known: &mut Known) -> bool {
        let before = known.consents.len();
        self.replace(known, self.says.clone());
        known.consents.len() <= CONSENTS_MAX.max(before)
    }

    /// Takes it into what is known of somebody whom it may be about, or not: what the consent denied stays denied, what it denies now is
    /// denied, and nothing is permitted. Whether there is anything left of the consent.
    pub(crate) fn doubt(&self, known: &mut Known) -> bool {
        let mut denied: Vec<_> = self.says.iter().filter_map(Provision::denials).collect();
        for consent in known.consents.iter().filter(|consent| consent.id == self.id) {
            denied.extend(consent.says.denials().filter(|denial| !denied.contains(denial)));
        }
        let denied = if denied.len() > 1 { Some(Provision::unclear()) } else { denied.pop() };
        let is_left = denied.is_some();
        self.replace(known, denied);
        is_left
    }

    fn replace(&self, known: &mut Known, says: Option<Provision>) {
        known.consents.retain(|consent| consent.id != self.id);
        known.consents.extend(says.map(|says| Consent { id: self.id.clone(), says }));
    }
}

/// The consents of a FHIR resource or bundle; other resources say nothing.
pub(crate) fn of_fhir(
    text: &[u8],
    authorities: &Authorities,
    coder: &mut Coder,
) -> Result<Vec<Said>, ConsentError> {
    let malformed = ConsentError::Malformed;
    let document = strict_json::parse(text).ok_or(malformed("this is not JSON, or says something twice"))?;
    let index = Index::of(&document, authorities);
    let resources = match document.get("resourceType").and_then(Value::as_str) {
        Some("Bundle") => {
            let entries =
                document.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if entries.len() > ENTRIES_MAX {
                return Err(malformed("a bundle has too many entries"));
            }
            entries.iter().filter_map(|entry| entry.get("resource")).collect()
        }
        _ => vec![&document],
    };
    let mut said = Vec::new();
    for resource in resources {
        if resource.get("resourceType").and_then(Value::as_str) == Some("Consent") {
            said.push(one(resource, &index, coder)?);
        }
    }
    Ok(said)
}

fn one(resource: &Value, index: &Index<'_>, coder: &mut Coder) -> Result<Said, ConsentError> {
    let malformed = ConsentError::Malformed;
    let patient = index.patient_of(resource).ok_or(malformed("a consent is of nobody who is known"))?;
    let patient = tags(&patient, coder)?;
    let id =
        text(resource, "id").ok_or(malformed("a consent has no `id`, so that nothing could change it"))?;
    let id = coder.plain(Kind::Consent, id)?;
    let says = match text(resource, "status") {
        Some("active") => whole(resource, coder)?,
        // FHIR R4, ConsentState: not in force yet, not any more, or never.
        Some("draft" | "proposed" | "rejected" | "inactive" | "entered-in-error") => None,
        _ => Some(Provision::unclear()),
    };
    Ok(Said { patient, id, says })
}

/// What an active consent says; none if it is not about who may see what.
fn whole(resource: &Value, coder: &mut Coder) -> Result<Option<Provision>, KeyError> {
    let mut outer = Provision::default();
    let scopes = codes(resource.get("scope"));
    match scopes
        .iter()
        .map(String::as_str)
        .find(|code| matches!(*code, "patient-privacy" | "research" | "treatment" | "adr"))
    {
        Some("patient-privacy") => {}
        Some("research") => outer.purposes.push("HRESCH".to_owned()),
        Some(_) => return Ok(None),
        None => outer.is_unclear = true,
    }
    let base = codes(resource.get("policyRule"));
    let base = base.iter().find_map(|code| match code.as_str() {
        "OPTIN" | "OPTINR" => Some(true),
        "OPTOUT" | "OPTOUTE" => Some(false),
        _ => None,
    });
    outer.is_unclear |=
        ["modifierExtension", "implicitRules"].iter().any(|name| resource.get(*name).is_some());
    match resource.get("provision") {
        None => outer.permits = base,
        Some(Value::Object(root)) => {
            let mut left = PROVISIONS_MAX;
            let mut root = provision(root, coder, 0, &mut left)?;
            // A root that says neither narrows what the policy says; one that does is an exception to it.
            if root.permits.is_none() {
                root.permits = base;
            } else {
                outer.permits = base;
            }
            outer.except.push(root);
        }
        Some(_) => outer.is_unclear = true,
    }
    if outer.permits.is_none()
        && outer.except.iter().all(|root| root.permits.is_none() && root.except.is_empty())
    {
        outer.is_unclear = true;
    }
    Ok(Some(outer))
}

/// FHIR R4, Consent.provision.
fn provision(
    of: &Map<String, Value>,
    coder: &mut Coder,
    depth: usize,
    left: &mut usize,
) -> Result<Provision, KeyError> {
    if depth >= DEPTH_MAX || *left == 0 {
        return Ok(Provision::unclear());
    }
    let mut made = Provision::default();
    *left -= 1;
    for (name, value) in of {
        let each = || value.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_unclear = match (name.as_str(), value) {
            ("id" | "extension", _) => false,
            ("type", Value::String(kind)) => {
                made.permits = Some(kind == "permit");
                !matches!(kind.as_str(), "permit" | "deny")
            }
            ("period", period) => match periods::of(period) {
                Some((from, until)) => {
                    (made.from, made.until) = (from, until);
                    false
                }
                None => true,
            },
            ("actor", Value::Array(actors)) => {
                let mut unclear = actors.is_empty();
                for actor in actors {
                    match self::actor(actor) {
                        Some(name) => made.actors.push(coder.plain(Kind::Actor, &name)?),
                        None => unclear = true,
                    }
                }
                unclear
            }
            ("action", Value::Array(_)) => each().iter().any(|action| {
                let found = codes(Some(action));
                let known = found.iter().find_map(|code| action_of(code));
                made.actions.extend(known.map(str::to_owned));
                known.is_none()
            }),
            ("purpose", Value::Array(_)) => codings(each(), &mut made.purposes, |_, code| {
                purpose::CODES.contains(&code).then(|| code.to_owned())
            }),
            ("securityLabel", Value::Array(_)) => {
                codings(each(), &mut made.labels, |_, code| Some(code.to_owned()))
            }
            ("class", Value::Array(_)) => codings(each(), &mut made.classes, |system, code| match system {
                "http://hl7.org/fhir/resource-types" => Some(code.to_owned()),
                _ if code.contains('/') => Some(code.to_ascii_lowercase()),
                _ => None,
            }),
            ("provision", Value::Array(nested)) => {
                for inner in nested {
                    let inner = match inner {
                        Value::Object(inner) => provision(inner, coder, depth + 1, left)?,
                        _ => Provision::unclear(),
                    };
                    made.except.push(inner);
                }
                false
            }
            // `code`, `data` and `dataPeriod` narrow it to what cannot be told from a record.
            _ => true,
        };
        if is_unclear {
            widen(&mut made, name);
        }
    }
    Ok(made)
}

/// What is not understood of a provision does not narrow it: it may mean anybody and anything.
fn widen(made: &mut Provision, name: &str) {
    made.is_unclear = true;
    match name {
        "actor" => made.actors.clear(),
        "action" => made.actions.clear(),
        "purpose" => made.purposes.clear(),
        "securityLabel" => made.labels.clear(),
        "class" => made.classes.clear(),
        _ => {}
    }
}

/// Codings into codes. Whether some were not understood, or there were none.
fn codings(
    of: &[Value],
    into: &mut Vec<String>,
    mut understood: impl FnMut(&str, &str) -> Option<String>,
) -> bool {
    let mut unclear = of.is_empty();
    for coding in of {
        let code = text(coding, "code")
            .and_then(|code| understood(text(coding, "system").unwrap_or_default(), code));
        match code {
            Some(code) => into.push(code),
            None => unclear = true,
        }
    }
    unclear
}

/// FHIR R4, ConsentActionCodes, as what a policy can be asked.
fn action_of(code: &str) -> Option<&'static str> {
    match code {
        "access" | "use" | "disclose" => Some("read"),
        "collect" | "correct" => Some("store"),
        _ => None,
    }
}

/// Whom an actor refers to: a reference as it is written, or `SYSTEM|VALUE` of an identifier.
fn actor(of: &Value) -> Option<String> {
    let reference = of.get("reference")?;
    if let Some(literal) = text(reference, "reference") {
        return Some(literal.to_owned());
    }
    let identifier = reference.get("identifier")?;
    Some(format!("{}|{}", text(identifier, "system")?, text(identifier, "value")?))
}

/// The codes of a CodeableConcept.
fn codes(of: Option<&Value>) -> Vec<String> {
    let codings = of.and_then(|of| of.get("coding")).and_then(Value::as_array);
    let codings = codings.map(Vec::as_slice).unwrap_or_default();
    codings.iter().filter_map(|coding| text(coding, "code")).map(str::to_owned).collect()
}

pub(crate) fn text<'v>(of: &'v Value, name: &str) -> Option<&'v str> {
    of.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= 1024)
}

pub(crate) fn tags(of: &[Identifier], coder: &mut Coder) -> Result<Vec<Tag>, KeyError> {
    of.iter().map(|identifier| coder.identifier(Kind::Patient, identifier)).collect()
}
