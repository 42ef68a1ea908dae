//! Lists of those who opted out, or are back in, and of what somebody is out after that.

use std::collections::BTreeSet;

use hilum_formats::care::{Consent, Kind, Known, Provision, Tag};
use hilum_formats::patient::Authorities;
use hilum_formats::{purpose, strict_json};
use serde_json::Value;

use crate::coder::Coder;
use crate::consent::{CONSENTS_MAX, ConsentError, ENTRIES_MAX, tags, text};

/// What a list says of one patient.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opted {
    /// Whose: all of their tags.
    pub(crate) patient: Vec<Tag>,
    /// As what it is kept.
    id: Tag,
    is_out: bool,
    /// Codes of HL7 v3 PurposeOfUse; all where there are none.
    purposes: Vec<String>,
}

impl Opted {
    /// Out of more, or of less. Whether there was room for it.
    #[must_use]
    pub(crate) fn apply(&self, known: &mut Known) -> bool {
        let before = known.consents.len();
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut known.consents).into_iter().partition(|consent| consent.id == self.id);
        let is_out = |code: &&str| {
            if self.is_about(code) { self.is_out } else { own.iter().any(|own| own.says.is_for(code)) }
        };
        let out: BTreeSet<_> = purpose::CODES.into_iter().filter(is_out).collect();
        known.consents = others;
        known.consents.extend(denied(&out).map(|says| Consent { id: self.id.clone(), says }));
        known.consents.len() <= CONSENTS_MAX.max(before)
    }

    fn is_about(&self, purpose: &str) -> bool {
        self.purposes.is_empty() || self.purposes.iter().any(|code| purpose::covers(code, purpose))
    }
}

/// What denies these purposes and no other, in few words.
fn denied(out: &BTreeSet<&'static str>) -> Option<Provision> {
    if out.is_empty() {
        return None;
    }
    let mut denied = Provision { permits: Some(false), ..Provision::default() };
    if out.len() < purpose::CODES.len() {
        let is_covered = |code: &str| out.iter().any(|other| *other != code && purpose::covers(other, code));
        let owned = |code: &str| code.to_owned();
        denied.purposes = out.iter().copied().filter(|code| !is_covered(code)).map(owned).collect();
        let spared = purpose::CODES.into_iter().filter(|code| !out.contains(code) && is_covered(code));
        denied.not_purposes = spared.map(owned).collect();
    }
    Some(denied)
}

/// A list of those who opted out, or who are back in:
/// `{"patients": [{"authority": "st-marys", "value": "4711", "purposes": ["HRESCH"], "opts": "out"}]}`. Without purposes it is about all.
pub(crate) fn of_list(
    list: &[u8],
    authorities: &Authorities,
    coder: &mut Coder,
) -> Result<Vec<Opted>, ConsentError> {
    let malformed = ConsentError::Malformed;
    let document = strict_json::parse(list).ok_or(malformed("this is not JSON, or says something twice"))?;
    let patients = document.get("patients").and_then(Value::as_array);
    let patients = patients.filter(|patients| patients.len() <= ENTRIES_MAX);
    let patients = patients.ok_or(malformed("a list has `patients`, an array of at most 4096"))?;
    let id = coder.plain(Kind::Consent, "opt-out")?;
    let mut opted = Vec::new();
    for patient in patients {
        let identifier = text(patient, "value").and_then(|value| {
            authorities.identifier(&[text(patient, "authority").unwrap_or_default()], value)
        });
        let identifier = identifier.ok_or(malformed("a patient of a list is nobody who is known"))?;
        let purposes = match patient.get("purposes") {
            None => Vec::new(),
            Some(purposes) => {
                codes(purposes).ok_or(malformed("`purposes` are codes of HL7 v3 PurposeOfUse"))?
            }
        };
        let is_out = match text(patient, "opts") {
            Some("out") => true,
            Some("in") => false,
            _ => return Err(malformed("`opts` is `out` or `in`")),
        };
        opted.push(Opted { patient: tags(&[identifier], coder)?, id: id.clone(), is_out, purposes });
    }
    Ok(opted)
}

/// One code or more; none if one of them is no code.
fn codes(of: &Value) -> Option<Vec<String>> {
    let known = |code: &Value| purpose::CODES.into_iter().find(|known| code == known).map(str::to_owned);
    of.as_array().filter(|all| !all.is_empty())?.iter().map(known).collect()
}
