//! Whose a record is: the patient's identifiers as HL7v2, DICOM and FHIR write them, under the names that a hospital has for those who
//! assign them.
//!
//! One number may be of two patients where two assigned it, so an identifier counts with who assigned it, and only if the hospital
//! named that authority ([`Authorities`]). A record of which it cannot be told whose it is, or that is of several patients, is of nobody
//! here: whoever asks has to deny.

mod dicom;
mod fhir;
mod hl7;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

pub use dicom::of_dicom;
pub use fhir::{Index, of_fhir};
pub use hl7::{coded, composite, of_hl7, of_message};

/// Identifiers that one patient has in one record, at most; more are no patient's.
pub const IDENTIFIERS_MAX: usize = 16;
/// Octets of one identifier's value, at most.
const VALUE_OCTETS_MAX: usize = 256;

/// An identifier of a patient, or of a practitioner. No `Debug`: it identifies somebody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier {
    /// Who assigned it, by the hospital's own name.
    pub authority: String,
    /// As it was assigned.
    pub value: String,
}

/// Who assigns identifiers, and what each is called in messages.
///
/// ```
/// let authorities: hilum_formats::patient::Authorities = serde_json::from_str(
///     r#"{"authorities": {"st-marys": ["ST-MARYS", "1.2.3.4", "urn:oid:1.2.3.4"]}, "unnamed": "st-marys"}"#,
/// )?;
/// let found = authorities.identifier(&["ST-MARYS", "1.2.3.4"], "4711").expect("it is named");
/// assert_eq!((found.authority.as_str(), found.value.as_str()), ("st-marys", "4711"));
/// assert!(authorities.identifier(&["ELSEWHERE"], "4711").is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorities {
    /// By the hospital's own name, which counts too: namespaces, object identifiers and URIs under which messages speak of it.
    #[serde(default)]
    pub authorities: BTreeMap<String, Vec<String>>,
    /// Whose an identifier is of which a message does not say it; nobody's where nothing is written here.
    #[serde(default)]
    pub unnamed: Option<String>,
    /// Whose the logical identifiers of FHIR Patients are, as in `Patient/77`; nobody's where nothing is written here.
    #[serde(default)]
    pub references: Option<String>,
}

impl Authorities {
    /// An identifier that was assigned under these names; none if none of them is known, or two mean different authorities.
    pub fn identifier(&self, named: &[&str], value: &str) -> Option<Identifier> {
        let value = value.trim();
        if value.is_empty() || value.len() > VALUE_OCTETS_MAX {
            return None;
        }
        let named: Vec<&str> = named.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
        let authority = if named.is_empty() {
            self.unnamed.clone()?
        } else {
            let means = |name: &&str| {
                let by_name = |(own, others): (&String, &Vec<String>)| {
                    (own == name || others.iter().any(|other| other == name)).then(|| own.clone())
                };
                self.authorities.iter().find_map(by_name)
            };
            let found: BTreeSet<String> = named.iter().filter_map(means).collect();
            if found.len() != 1 {
                return None;
            }
            found.into_iter().next()?
        };
        Some(Identifier { authority, value: value.to_owned() })
    }

    /// The first name under which two authorities would be known, or the first that is used and not described.
    pub fn fault(&self) -> Option<String> {
        let mut seen = BTreeMap::new();
        for (own, others) in &self.authorities {
            for name in others.iter().chain([own]) {
                match seen.insert(name, own) {
                    Some(other) if other != own => {
                        return Some(format!("`{name}` stands for `{other}` and for `{own}`"));
                    }
                    _ => {}
                }
            }
        }
        let used = self.unnamed.iter().chain(&self.references);
        let unknown = used.into_iter().find(|name| !self.authorities.contains_key(*name))?;
        Some(format!("`{unknown}` is none of `authorities`"))
    }
}

/// The identifiers of one patient, each once; none where there are none or too many.
fn distinct(found: impl IntoIterator<Item = Identifier>) -> Option<Vec<Identifier>> {
    let found: BTreeSet<Identifier> = found.into_iter().collect();
    (1..=IDENTIFIERS_MAX).contains(&found.len()).then(|| found.into_iter().collect())
}

#[cfg(test)]
mod tests;
