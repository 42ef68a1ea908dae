//! Identifiers (FHIR R4, 2.24.0.12): a system, which often names the hospital, and a value in it.

use super::elements::Cleaner;
use super::references::{Target, target};
use crate::json::{Json, Members, member};
use crate::pseudonym::{PATIENT, STAFF, patient, short, trim};
use crate::{PatientId, Refusal, Staff};

/// The system of unique identifiers of DICOM (FHIR R4, ImagingStudy, 8.17.5.1).
const DICOM: &str = "urn:dicom:uid";
/// The system of identifiers that are URIs (FHIR R4, 2.24.0.12).
const URI: &str = "urn:ietf:rfc:3986";

/// What stands for an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    /// Its system, if it had one.
    pub(super) system: Option<String>,
    /// Its value.
    pub(super) value: String,
}

impl Cleaner<'_> {
    /// What stands for an identifier in a domain; nothing if it has no value, or may have none.
    pub(super) fn identifier(
        &self,
        identifier: &Members<'_>,
        domain: &'static str,
    ) -> Result<Option<Replaced>, Refusal> {
        let text = |name| member(identifier, name).and_then(Json::text);
        let (system, Some(value)) = (text("system"), text("value")) else { return Ok(None) };
        if trim(value.as_bytes()).is_empty() {
            return Ok(None);
        }
        if domain == STAFF && self.config.staff == Staff::Keep {
            let system = system.map(std::borrow::Cow::into_owned);
            return Ok(Some(Replaced { system, value: value.into_owned() }));
        }
        if let Some(uri @ (DICOM | URI)) = system.as_deref() {
            let value = match target(&value) {
                Target::Oid(oid) => Some(format!("urn:oid:{}", self.uid(oid)?)),
                Target::Uuid(uuid) => self.uuid(uuid)?.map(|uuid| format!("urn:uuid:{uuid}")),
                _ => None,
            };
            return Ok(value.map(|value| Replaced { system: Some(uri.to_owned()), value }));
        }
        let value = match domain {
            PATIENT if self.config.patient_id == PatientId::Empty => return Ok(None),
            PATIENT => self.made(PATIENT, &value, |keys, _, value| patient(keys, value))?,
            domain => self.made(domain, &value, short)?,
        };
        let system = system.map(|system| self.system(&system)).transpose()?;
        Ok(Some(Replaced { system, value }))
    }

    /// What stands for a system: identifiers of one system stay together, and nobody sees whose it was.
    fn system(&self, system: &str) -> Result<String, Refusal> {
        let octets = self.made("fhir-system", system, short)?.to_ascii_lowercase();
        let (head, tail) = (octets.get(..8).unwrap_or_default(), octets.get(8..20).unwrap_or_default());
        Ok(format!("urn:uuid:{head}-0000-8000-8000-{tail}"))
    }
}
