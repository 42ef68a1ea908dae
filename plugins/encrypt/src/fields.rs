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
/// Octets of values, and of what they are bound to, from which on the next value is of another call: a long head is in each context.
const OCTETS_AT_ONCE: usize = 2 << 20;

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

/// A field of a body.
pub(crate) struct Field {
    /// Where it is.
    place: String,
    /// What is there.
    plain: Vec<u8>,
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

    /// The fields of a body that are to be sealed, in order; none where more is told than they could hold.
    pub(crate) fn find(&self, format: Format, plain: &[u8]) -> Result<Vec<Field>, Refusal> {
        let mut found = Vec::new();
        self.visit(format, plain, |place, value| {
            found.push(Field { place: place.to_owned(), plain: value.to_vec() });
            None
        })?;
        if format == Format::Hl7 && has_addenda(plain) {
            found.clear();
        }
        Ok(found)
    }

    /// The body with these in the places of the fields that [`find`](Self::find) found, which it finds in the same order again.
    pub(crate) fn replace(&self, format: Format, plain: &[u8], sealed: Vec<String>) -> Result<Body, Refusal> {
        let mut sealed = sealed.into_iter();
        body_of(self.visit(format, plain, |_, _| sealed.next())?)
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

/// Seals fields, each bound to the record of this text and to its place in it.
pub(crate) fn seal(found: Vec<Field>, record: &str, recipients: &[String]) -> Result<Vec<String>, Refusal> {
    let mut sealed = Vec::with_capacity(found.len());
    let (mut values, mut octets) = (Vec::new(), 0);
    let mut flush = |values: &mut Vec<BoundValue>| {
        let made = keys::seal_values(recipients, std::mem::take(values));
        sealed.extend(made.map_err(|error| crate::refusal(&error))?);
        Ok::<_, Refusal>(())
    };
    for Field { place, plain } in found {
        let context = format!("{record}\n{place}").into_bytes();
        octets += context.len() + plain.len();
        values.push(BoundValue { context, plain });
        if values.len() == VALUES_AT_ONCE || octets >= OCTETS_AT_ONCE {
            flush(&mut values)?;
            octets = 0;
        }
    }
    if !values.is_empty() {
        flush(&mut values)?;
    }
    Ok(sealed)
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
