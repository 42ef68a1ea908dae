//! Logical identifiers and what refers to them: the same resource gets the same name wherever it is named.

use super::elements::Cleaner;
use super::table;
use crate::pseudonym::{self, STAFF, patient, pseudonym, short};
use crate::{PatientId, Refusal, Staff, dicom};

/// Where resources are that were named by an absolute URL: a name that nobody has (RFC 2606 section 2).
const BASE: &str = "https://deidentified.invalid/";
/// Characters of a logical identifier (FHIR R4, 2.24.0.1).
const ID_CHARACTERS_MAX: usize = 64;

/// What a reference refers to (FHIR R4, 2.3.0.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'r> {
    /// A resource on a server; which server does not count.
    Resource { kind: &'static str, id: &'r str, is_absolute: bool },
    /// An entry of a bundle, or whatever else has that UUID.
    Uuid(&'r str),
    /// Something that has that object identifier.
    Oid(&'r str),
    /// A resource that is contained in this one; without a name, this one itself.
    Contained(&'r str),
    /// Anything else: a query, a version, a resource of a type without rows.
    Other,
}

/// What a reference refers to.
pub(super) fn target(reference: &str) -> Target<'_> {
    if let Some(id) = reference.strip_prefix('#') {
        return if id.is_empty() || is_id(id) { Target::Contained(id) } else { Target::Other };
    }
    if let Some(uuid) = reference.strip_prefix("urn:uuid:") {
        return if is_id(uuid) { Target::Uuid(uuid) } else { Target::Other };
    }
    if let Some(oid) = reference.strip_prefix("urn:oid:") {
        let is_oid =
            !oid.is_empty() && oid.len() <= 64 && oid.bytes().all(|o| o.is_ascii_digit() || o == b'.');
        return if is_oid { Target::Oid(oid) } else { Target::Other };
    }
    let path = reference.strip_prefix("https://").or_else(|| reference.strip_prefix("http://"));
    let is_absolute = path.is_some();
    let mut segments: Vec<&str> = path.unwrap_or(reference).split('/').collect();
    if let [.., _, "_history", _] = segments.as_slice() {
        segments.truncate(segments.len() - 2);
    }
    let [server @ .., kind, id] = segments.as_slice() else { return Target::Other };
    match table::resource_type(kind) {
        Some(kind) if is_id(id) && (is_absolute != server.is_empty()) => {
            Target::Resource { kind, id, is_absolute }
        }
        _ => Target::Other,
    }
}

fn is_id(text: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
    (1..=ID_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

impl Cleaner<'_> {
    /// What a resource is called instead; nothing, if it may not be called anything.
    pub(super) fn id(&self, kind: &str, id: &str, is_contained: bool) -> Result<Option<String>, Refusal> {
        if !is_id(id) {
            return Ok(None);
        }
        if is_contained {
            return self.made("fhir-contained", id, short).map(Some);
        }
        match kind {
            "Patient" if self.config.patient_id == PatientId::Empty => Ok(None),
            "Patient" => self.made(pseudonym::PATIENT, id, |keys, _, id| patient(keys, id)).map(Some),
            "Practitioner" | "PractitionerRole" if self.config.staff == Staff::Keep => {
                Ok(Some(id.to_owned()))
            }
            "Practitioner" => self.made(STAFF, id, short).map(Some),
            kind => self.made(&format!("fhir-{kind}"), id, short).map(Some),
        }
    }

    /// What refers to the same resource by what it is called instead.
    pub(super) fn reference(&self, reference: &str) -> Result<Option<String>, Refusal> {
        Ok(match target(reference) {
            Target::Resource { kind, id, is_absolute } => {
                let base = if is_absolute { BASE } else { "" };
                self.id(kind, id, false)?.map(|id| format!("{base}{kind}/{id}"))
            }
            Target::Uuid(uuid) => self.uuid(uuid)?.map(|uuid| format!("urn:uuid:{uuid}")),
            Target::Oid(oid) => Some(format!("urn:oid:{}", self.uid(oid)?)),
            Target::Contained("") => Some("#".to_owned()),
            Target::Contained(id) => self.id("", id, true)?.map(|id| format!("#{id}")),
            Target::Other => None,
        })
    }

    /// What a request goes to, or a response tells: a type, or a resource.
    pub(super) fn request_url(&self, url: &str) -> Result<Option<String>, Refusal> {
        match table::resource_type(url) {
            Some(kind) => Ok(Some(kind.to_owned())),
            None => self.reference(url),
        }
    }

    /// The domain of the identifiers of what a reference refers to.
    pub(super) fn domain_of_target(
        &self,
        reference: Option<&str>,
        kind: Option<&str>,
    ) -> Option<&'static str> {
        let named = match target(reference.unwrap_or_default()) {
            Target::Resource { kind, .. } => Some(kind),
            Target::Uuid(uuid) => self.index.entry(uuid).map(|(kind, _)| kind),
            _ => None,
        };
        named.or(kind).and_then(table::domain)
    }

    /// A UUID of version 8 (RFC 9562 section 5.8) for another.
    pub(super) fn uuid(&self, uuid: &str) -> Result<Option<String>, Refusal> {
        let is_patient = self.index.entry(uuid).is_some_and(|(kind, _)| kind == "Patient");
        if is_patient && self.config.patient_id == PatientId::Empty {
            return Ok(None);
        }
        self.made("fhir-uuid", &uuid.to_ascii_lowercase(), |keys, domain, uuid| {
            let made = pseudonym(keys, domain, uuid)?;
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = made;
            let (g, i) = (0x80 | (g & 0x0F), 0x80 | (i & 0x3F));
            let digits =
                |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
            let parts: [&[u8]; 5] = [&[a, b, c, d], &[e, f], &[g, h], &[i, j], &[k, l, m, n, o, p]];
            Ok(parts.map(digits).join("-"))
        })
        .map(Some)
    }

    /// A unique identifier of DICOM, as in DICOM itself; those that the standard registers stay.
    pub(super) fn uid(&self, uid: &str) -> Result<String, Refusal> {
        if dicom::is_registered_uid(uid.as_bytes()) {
            return Ok(uid.to_owned());
        }
        self.made(pseudonym::UID, uid, |keys, _, uid| pseudonym::uid(keys, uid))
    }

    /// The address of a bundle's entry.
    pub(super) fn entry_url(&self, url: &str) -> Result<Option<String>, Refusal> {
        match target(url) {
            Target::Contained(_) | Target::Other => Ok(None),
            Target::Resource { is_absolute: false, .. } => Ok(None),
            _ => self.reference(url),
        }
    }
}
