//! Opens fields that the bundled plugin `encrypt` sealed to us in their places.

use hilum_core::cose::PrivateKey;
use hilum_core::jose::{JweError, SealedValue};
use hilum_formats::fields::{fhir, hl7};
use hilum_formats::sealed::{Form, SEALED_FIELDS};

use super::{SealedError, bound};
use crate::{FlowName, Head};

/// A body of which fields were opened.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedFields {
    /// Its octets.
    pub body: Vec<u8>,
    /// Fields that were opened.
    pub opened: usize,
    /// Fields that are sealed to others, and are as they were.
    pub closed: usize,
}

impl std::fmt::Debug for OpenedFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "OpenedFields(<{} octets>, {} opened, {} closed)",
            self.body.len(),
            self.opened,
            self.closed
        )
    }
}

/// Whether fields of a record's body are sealed.
#[must_use]
pub fn has_sealed_fields(head: &Head) -> bool {
    head.attributes.iter().any(|attribute| attribute.name == SEALED_FIELDS)
}

/// Opens the fields of a body that are sealed to our private key: those of an HL7v2 message, or else of a FHIR resource in JSON. They open
/// only where they were sealed: the record, as with [`open_sealed`](super::open_sealed), and the place in the body are bound to them.
///
/// # Errors
///
/// [`SealedError`]. A field that is sealed to others is none; one that was changed or moved is.
pub fn open_fields(
    key: &PrivateKey,
    flow: &FlowName,
    head: &Head,
    body: &[u8],
) -> Result<OpenedFields, SealedError> {
    let record = bound(Form::Field, flow, head)?;
    let (mut opened, mut closed) = (0, 0);
    let mut open = |place: &str, text: &str| {
        let Ok(sealed) = SealedValue::parse(text) else { return Ok(None) };
        match sealed.open(key, format!("{record}\n{place}").as_bytes()) {
            Ok(plain) => {
                opened += 1;
                Ok(Some(plain))
            }
            Err(JweError::NotARecipient) => {
                closed += 1;
                Ok(None)
            }
            Err(why) => Err(SealedError::Field { place: place.to_owned(), why }),
        }
    };
    let essence = head.content_type.split(';').next().unwrap_or_default().trim();
    let body = if essence.eq_ignore_ascii_case("application/fhir+json") {
        fhir::restore(body, &mut open).map_err(|error| match error {
            fhir::FieldsError::Visit(error) => error,
            other => SealedError::Format(other.to_string()),
        })?
    } else {
        hl7::restore(body, &mut open).map_err(|error| match error {
            hl7::FieldsError::Visit(error) => error,
            other => SealedError::Format(other.to_string()),
        })?
    };
    Ok(OpenedFields { body, opened, closed })
}
