//! What each action makes of a primitive value.

use std::borrow::Cow;

use super::codes;
use super::elements::{Cleaner, Scope};
use super::table::{self, Action, Row};
use crate::dates::{self, Dates};
use crate::json::{Json, Members, member, write_raw, write_text};
use crate::pseudonym::{PATIENT, patient, short};
use crate::{PatientId, Refusal, forms, places, postal, shape};

pub(super) use crate::ages::MAX as AGE_MAX;

impl Cleaner<'_> {
    /// Writes what is left of a primitive value; whether there is anything.
    pub(super) fn primitive(
        &self,
        action: Action,
        row: &Row,
        value: &Json<'_>,
        scope: &Scope,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        let raw = match value {
            Json::Null => return Ok(false),
            Json::Boolean(value) if action == Action::Boolean => {
                out.extend_from_slice(if *value { b"true" } else { b"false" });
                return Ok(true);
            }
            Json::Number(number) if action == Action::Number => return Ok(write_number(number, scope, out)),
            Json::Text(raw) if !matches!(action, Action::Boolean | Action::Number) => *raw,
            _ => {
                let reason = format!("{}.{} is not of its type", row.container, row.member);
                return Err(Refusal::new("invalid-fhir", reason));
            }
        };
        if matches!(action, Action::System | Action::ValueOfIdentifier) {
            let replaced = self.replaced(row, scope);
            replaced.iter().for_each(|replaced| write_text(replaced, out));
            return Ok(replaced.is_some());
        }
        let text = value.text().unwrap_or_default();
        let left = self.text(action, row, raw, &text, scope)?;
        if let Some(left) = &left {
            write_raw(left, out);
        }
        Ok(left.is_some())
    }

    /// What stands for a text: characters that need no escape, or the text as it was written (`raw`).
    fn text<'t>(
        &self,
        action: Action,
        row: &Row,
        raw: &'t str,
        text: &str,
        scope: &Scope,
    ) -> Result<Option<Cow<'t, str>>, Refusal> {
        let kept = |is_kept: bool| is_kept.then_some(Cow::Borrowed(raw));
        Ok(match action {
            Action::Codes(codes) => kept(codes.contains(&text)),
            Action::Coding => kept(self.coding(row, scope)),
            Action::Unit => kept(forms::is_unit(text)),
            Action::Currency => kept(codes::is_currency(text)),
            Action::Language => kept(forms::is_language(text)),
            Action::Mime => kept(forms::is_mime(text)),
            Action::PublicUri => kept(codes::is_definition(text)),
            Action::Region => kept(places::is_state(text.as_bytes()) || places::is_country(text.as_bytes())),
            Action::ResourceType => kept(table::resource_type(text).is_some()),
            Action::HttpStatus => text
                .get(..3)
                .filter(|s| s.bytes().all(|o| o.is_ascii_digit()))
                .map(|status| Cow::Owned(status.to_owned())),
            Action::Text(text) => Some(Cow::Borrowed(text)),
            Action::Date | Action::Instant => self.date(action, text, scope)?.map(Cow::Owned),
            Action::Birth => dates::year_of_iso(text)
                .map(|year| Cow::Owned(format!("{:04}", crate::hl7::aggregated(year, self.now)))),
            Action::Postal => Some(Cow::Owned(postal::code(text, self.config, scope.is_of_states))),
            Action::Patient if self.config.patient_id == PatientId::Empty => None,
            Action::Patient => Some(self.made(PATIENT, text, |keys, _, value| patient(keys, value))?.into())
                .filter(|made: &Cow<'_, str>| !made.is_empty()),
            Action::Pseudonym(domain) => {
                Some(self.made(domain, text, short)?.into()).filter(|made: &Cow<'_, str>| !made.is_empty())
            }
            Action::Uid => {
                let uid = text.strip_prefix("urn:oid:").unwrap_or(text);
                Some(self.uid(uid)?.into())
            }
            Action::Id => self.id(row.container, text, self.is_contained(scope))?.map(Cow::Owned),
            Action::Reference => self.reference(text)?.map(Cow::Owned),
            Action::FullUrl => self.entry_url(text)?.map(Cow::Owned),
            Action::RequestUrl => self.request_url(text)?.map(Cow::Owned),
            // These concern an element as a whole, what it is in, or no text at all; nothing goes on from here.
            Action::System
            | Action::ValueOfIdentifier
            | Action::Remove
            | Action::Masked
            | Action::Refuse
            | Action::Clean
            | Action::Resource
            | Action::Identifier(_)
            | Action::IdentifierOfTarget
            | Action::Age
            | Action::Value
            | Action::Boolean
            | Action::Number
            | Action::Narrative
            | Action::Staff => None,
        })
    }

    /// A date or time, reduced or shifted; nothing if it is none.
    fn date(&self, action: Action, text: &str, scope: &Scope) -> Result<Option<String>, Refusal> {
        let is_instant = action == Action::Instant;
        let year = |year: u16| {
            let time = if is_instant { "-01-01T00:00:00Z" } else { "" };
            format!("{:04}{time}", crate::hl7::aggregated(year, self.now))
        };
        let Some(of_original) = dates::year_of_iso(text) else { return Ok(None) };
        match scope.dates {
            Dates::Year => Ok(Some(year(of_original))),
            Dates::Unknown => {
                let reason = "a date cannot be shifted, because it is not known which patient's it is";
                Err(Refusal::new("no-patient-id", reason))
            }
            Dates::Shifted(days) => {
                let Some(shifted) = dates::shift_iso(text, days) else { return Ok(None) };
                let then = dates::year_of_iso(&shifted).unwrap_or_default();
                let is_old = crate::hl7::aggregated(then, self.now) != then;
                Ok(Some(if is_old { year(then) } else { shifted }))
            }
        }
    }
}

fn write_number(number: &str, scope: &Scope, out: &mut Vec<u8>) -> bool {
    if let Some(capped) = scope.capped {
        out.extend_from_slice(capped.to_string().as_bytes());
        return true;
    }
    let left = shape::number(number.as_bytes());
    left.iter().for_each(|left| out.extend_from_slice(left.as_bytes()));
    left.is_some()
}

/// What stands for the number of a quantity that is an age: nothing, if it is under 90 years. Without, if that cannot be told.
pub(super) fn capped(quantity: &Members<'_>) -> Option<Option<u16>> {
    let Some(Json::Number(value)) = member(quantity, "value") else { return None };
    let value: f64 = value.parse().ok()?;
    match units(quantity).find_map(|unit| crate::ages::limit(&unit)) {
        Some(limit) => Some((value >= f64::from(limit)).then_some(limit)),
        None if value < f64::from(AGE_MAX) => Some(None),
        None => None,
    }
}

/// What stands for the number of a quantity over 89 years, whatever it is of.
pub(super) fn capped_years(quantity: &Members<'_>) -> Option<u16> {
    units(quantity).any(|unit| crate::ages::is_years(&unit)).then(|| capped(quantity)).flatten().flatten()
}

/// The units of a quantity, as code and as people read it.
fn units<'m>(quantity: &'m Members<'_>) -> impl Iterator<Item = Cow<'m, str>> {
    ["code", "unit"].into_iter().filter_map(|name| member(quantity, name).and_then(Json::text))
}
