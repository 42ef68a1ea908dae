//! Single fields of HL7v2 messages and FHIR resources, sealed in their places; the rest of the record stays in the clear.

use std::str::FromStr;

use hilum_formats::fields::{NameError, fhir, hl7};
use hilum_plugin::keys::{self, BoundValue};
use hilum_plugin::{Body, BodyError, ConfigError, Refusal};
use serde::Deserialize;

/// Octets of a body whose fields are sealed.
const BODY_OCTETS_MAX: u64 = 16 << 20;
/// Values of one call to the broker.
const VALUES_AT_ONCE: usize = 4096;

/// Fields by format, as the configuration names them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldSettings {
    /// Of HL7v2 messages, e.g. `PID-5`.
    pub hl7v2: Vec<String>,
    /// Of FHIR resources in JSON, e.g. `Patient.name`.
    pub fhir: Vec<String>,
}

/// Fields to be sealed.
#[derive(Debug)]
pub(crate) struct Fields {
    hl7: Vec<hl7::Name>,
    fhir: Vec<fhir::Name>,
}

/// A format whose fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Hl7,
    Fhir,
}

impl Fields {
    pub(crate) fn new(settings: &FieldSettings) -> Result<Self, ConfigError> {
        Ok(Self { hl7: parsed("hl7v2", &settings.hl7v2)?, fhir: parsed("fhir", &settings.fhir)? })
    }

    /// The format of a record of which fields are sealed; none where all of it is.
    pub(crate) fn format(&self, content_type: &str) -> Option<Format> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (format, are_none) = match essence.as_str() {
            "application/hl7-v2" | "x-application/hl7-v2+er7" => (Format::Hl7, self.hl7.is_empty()),
            "application/fhir+json" => (Format::Fhir, self.fhir.is_empty()),
            _ => return None,
        };
        (!are_none).then_some(format)
    }

    /// The body with its fields sealed, and how many these are; none where there is nothing to seal, or more than the fields that are
    /// found could hold. `context` gives what a field is bound to, for its place.
    pub(crate) fn seal(
        &self,
        format: Format,
        plain: &[u8],
        recipients: &[String],
        context: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Option<(Body, usize)>, Refusal> {
        let mut values = Vec::new();
        self.visit(format, plain, |place, value| {
            values.push(BoundValue { context: context(place), plain: value.to_vec() });
            None
        })?;
        let count = values.len();
        if count == 0 || format == Format::Hl7 && has_addenda(plain) {
            return Ok(None);
        }
        let mut sealed = Vec::with_capacity(count);
        while !values.is_empty() {
            let later = values.split_off(values.len().min(VALUES_AT_ONCE));
            sealed.extend(keys::seal_values(recipients, values).map_err(|error| crate::refusal(&error))?);
            values = later;
        }
        // The second time the same fields are found in the same order.
        let mut sealed = sealed.into_iter();
        let made = self.visit(format, plain, |_, _| sealed.next())?;
        Ok(Some((body_of(made)?, count)))
    }

    fn visit(
        &self,
        format: Format,
        body: &[u8],
        mut visit: impl FnMut(&str, &[u8]) -> Option<String>,
    ) -> Result<Vec<u8>, Refusal> {
        type Never = std::convert::Infallible;
        let malformed = |why: String| Refusal::new("malformed", why);
        match format {
            Format::Hl7 => hl7::replace::<Never>(body, &self.hl7, |place, value| Ok(visit(place, value)))
                .map_err(|error| malformed(error.to_string())),
            Format::Fhir => {
                fhir::replace::<Never>(body, &self.fhir, |place, value| Ok(visit(place, value.as_bytes())))
                    .map_err(|error| malformed(error.to_string()))
            }
        }
    }
}

fn parsed<T: FromStr<Err = NameError> + PartialEq>(
    format: &str,
    names: &[String],
) -> Result<Vec<T>, ConfigError> {
    let mut parsed = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let at = format!("/fields/{format}/{index}");
        let name: T =
            name.parse().map_err(|error: NameError| ConfigError::new(at.clone(), error.to_string()))?;
        if parsed.contains(&name) {
            return Err(ConfigError::new(at, "this field is named before; name it once"));
        }
        parsed.push(name);
    }
    Ok(parsed)
}

/// Whether a message has addenda (HL7 v2.5.1, section 2.10.2), which go on with the last field of the segment before them.
fn has_addenda(message: &[u8]) -> bool {
    message.split(|octet| matches!(octet, b'\r' | b'\n')).any(|segment| segment.starts_with(b"ADD"))
}

/// A body of octets in memory.
pub(crate) fn body_of(octets: Vec<u8>) -> Result<Body, Refusal> {
    Body::of(octets).map_err(|error| not_read(&error))
}

/// All octets of a body.
pub(crate) fn octets(body: Body) -> Result<Vec<u8>, Refusal> {
    match body {
        Body::Inline(octets) => Ok(octets),
        Body::Large(reader) if reader.size() > BODY_OCTETS_MAX => {
            let reason = format!("the body has over {BODY_OCTETS_MAX} octets, in which no fields are sealed");
            Err(Refusal::new("too-large", reason))
        }
        Body::Large(mut reader) => reader.read_to_end().map_err(|error| not_read(&error)),
    }
}

fn not_read(error: &BodyError) -> Refusal {
    Refusal::new("not-sealed", format_args!("the body could not be read or written: {error}"))
}
