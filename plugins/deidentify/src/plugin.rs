//! The plugin: de-identifies a record, its head as well as its body, by its content type.

use std::cell::Cell;

use crate::dates::Dates;
use crate::dicom::{self, Pipe, Profile, ProfileOption};
use crate::{
    BurnedInAnnotation, Config, MessageDates, Pseudonyms, RecognizableFaces, RecordTime, Refusal,
    RetainedIdentifiers, SCHEMA, TextRule, fhir, hl7, pseudonym, record_time, telemetry, texts, x12,
};
use hilum_plugin::keys::KeyError;
use hilum_plugin::{
    Body, BodyError, BodyReader, BodyWriter, ConfigError, Context, Description, Draft, Message, Outcome,
    Transform, keys, timing,
};

/// Content types and the format of each; compared without case, as media types are (RFC 6838 section 4.2).
const CONTENT_TYPES: [(&str, Format); 6] = [
    ("application/dicom", Format::Dicom),
    ("application/hl7-v2", Format::Hl7),
    ("x-application/hl7-v2+er7", Format::Hl7),
    ("application/edi-x12", Format::X12),
    ("application/fhir+json", Format::Fhir),
    ("application/vnd.hilum.telemetry+json", Format::Telemetry),
];
/// Parameters of content types that stay, with their values: of text (RFC 6657 section 3) and of FHIR (R4 section 3.1.0.1.9).
const PARAMETERS: [(&str, &[&str]); 2] = [
    ("charset", &["utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"]),
    ("fhirVersion", &["4.0"]),
];
/// Octets of a message or a claim, both of which are held in memory; an image is not.
const TEXT_OCTETS_MAX: usize = 16 << 20;
/// Octets of a body that a draft may hold inline.
const INLINE_OCTETS_MAX: usize = 256 << 10;
/// Characters of a refusal's reason.
const REASON_CHARS_MAX: usize = 256;
/// Refusals of what no setting can make acceptable.
const UNSUPPORTED: &str = "unsupported-content-type";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Dicom,
    Hl7,
    X12,
    Fhir,
    Telemetry,
}

/// The plugin, configured.
#[derive(Debug)]
pub struct Deidentify {
    config: Config,
    profile: Profile,
}

impl Transform for Deidentify {
    type Config = Config;

    /// With text burned into pixels or faces let through, or with identifiers retained that nobody has accepted, a record may still reveal its
    /// patient.
    fn describe(config: Option<&Config>) -> Description {
        let mut description = Description::new("deidentify", env!("CARGO_PKG_VERSION")).config_schema(SCHEMA);
        let reveals = |config: &Config| {
            let retains = config.options.iter().any(|option| option.retains_identifiers())
                || config.record_time == RecordTime::Keep;
            config.burned_in_annotation == BurnedInAnnotation::Pass
                || config.recognizable_faces == RecognizableFaces::Pass
                || ((retains || config.texts.values().any(|rule| *rule == TextRule::Keep))
                    && config.retained_identifiers == RetainedIdentifiers::Phi)
        };
        if !config.is_some_and(reveals) {
            description = description.removes("phi");
        }
        CONTENT_TYPES.iter().fold(description, |description, (name, _)| description.content_type(name))
    }

    fn configure(config: Config) -> Result<Self, ConfigError> {
        texts::check(&config)?;
        let profile = Profile::new(&config)?;
        Ok(Deidentify { config, profile })
    }

    fn transform(&mut self, _: &Context, message: Message) -> Outcome {
        let refusal = |Refusal { code, reason }: Refusal| {
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            hilum_plugin::Refusal::new(code, reason)
        };
        deidentify(self, message).map_err(refusal).into()
    }
}

hilum_plugin::export_transform!(Deidentify);

fn deidentify(Deidentify { config, profile }: &Deidentify, message: Message) -> Result<Draft, Refusal> {
    let keys = &HostKeys::new(&config.key);
    let Message { head, body } = message;
    let format = format(&head.content_type)?;
    let body = match format {
        Format::Dicom => image(body, profile, keys)?,
        Format::Hl7 => body_of(hl7::deidentify(&text(body)?, config, keys)?)?,
        Format::X12 => body_of(x12::deidentify(&text(body)?, config, keys)?)?,
        Format::Fhir => {
            fhir::check_version(&head.content_type)?;
            body_of(fhir::deidentify(&text(body)?, year(head.time), config, keys)?)?
        }
        Format::Telemetry => body_of(telemetry::deidentify(&text(body)?, config, keys)?)?,
    };
    if let Some(dates) = dates_of_head(format, config, keys) {
        timing::set_time(record_time::treated(head.time, dates)).map_err(|_| {
            Refusal::new("record-time", "the host does not set the time of the record's head")
        })?;
    }
    let key = head.key.map(|key| pseudonym::record_key(keys, key.as_bytes())).transpose()?;
    let attributes =
        head.attributes.into_iter().filter(|attribute| config.attributes.contains(&attribute.name)).collect();
    Ok(Draft { key, content_type: media_type(&head.content_type), attributes, body })
}

/// What happens to the time of a record's head, once its body is de-identified; none where it stays. Where the body has dates of several patients that move
/// by other days each, or of none, the time is of nobody.
fn dates_of_head(format: Format, config: &Config, keys: &HostKeys<'_>) -> Option<Dates> {
    let has = |option| config.options.contains(&option);
    let shifts = match format {
        _ if config.record_time == RecordTime::Keep => return None,
        // Its own times go on too.
        Format::Telemetry => return None,
        Format::Dicom if has(ProfileOption::RetainLongitudinalFullDates) => return None,
        Format::Dicom => has(ProfileOption::RetainLongitudinalModifiedDates),
        Format::Hl7 | Format::X12 | Format::Fhir => config.message_dates == MessageDates::Shift,
    };
    match keys.shifted.get() {
        Shifted::By(days) if shifts => Some(Dates::Shifted(days)),
        _ => Some(Dates::Year),
    }
}

/// The content type with those of its parameters that say how to read a body: others could say anything.
fn media_type(content_type: &str) -> String {
    let mut parts = content_type.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let says_how = |parameter: &&str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        PARAMETERS.iter().any(|(known, values)| {
            known.eq_ignore_ascii_case(name) && values.iter().any(|known| known.eq_ignore_ascii_case(value))
        })
    };
    parts.filter(says_how).fold(name, |all, parameter| format!("{all}; {parameter}"))
}

fn format(content_type: &str) -> Result<Format, Refusal> {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    let known = CONTENT_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let known = known.ok_or_else(|| {
        Refusal::new(UNSUPPORTED, "only DICOM, HL7v2, X12, FHIR and telemetry can be de-identified")
    })?;
    Ok(known.1)
}

/// The year of a time in milliseconds since 1970; at the turn of one, what is off by a day does no harm to an age in years.
fn year(time_ms: u64) -> u16 {
    const YEAR_MS: u64 = 31_556_952_000;
    u16::try_from(1970 + time_ms / YEAR_MS).unwrap_or(u16::MAX)
}

fn image(body: Body, profile: &Profile, keys: &HostKeys<'_>) -> Result<Body, Refusal> {
    match body {
        Body::Inline(octets) => body_of(dicom::deidentify(octets, profile, keys)?),
        Body::Large(reader) => {
            let mut pipe = HostPipe { reader, writer: BodyWriter::new() };
            dicom::rewrite(&mut pipe, profile, keys)?;
            pipe.writer.finish().map(Body::Large).map_err(|error| interrupted(&error))
        }
    }
}

fn text(body: Body) -> Result<Vec<u8>, Refusal> {
    body.into_octets(TEXT_OCTETS_MAX).map_err(|error| interrupted(&error))
}

/// A body of octets in memory, inline if it may be.
fn body_of(octets: Vec<u8>) -> Result<Body, Refusal> {
    if octets.len() <= INLINE_OCTETS_MAX {
        return Ok(Body::Inline(octets));
    }
    let mut writer = BodyWriter::new();
    for piece in octets.chunks(INLINE_OCTETS_MAX) {
        writer.write(piece).map_err(|error| interrupted(&error))?;
    }
    writer.finish().map(Body::Large).map_err(|error| interrupted(&error))
}

fn interrupted(error: &BodyError) -> Refusal {
    match error {
        BodyError::TooLarge(max) => Refusal::new("too-large", format!("the body has over {max} octets")),
        BodyError::Interrupted => {
            Refusal::new("interrupted", "the body could not be read or written to its end")
        }
        BodyError::Other(_) => Refusal::new("interrupted", "the host could not read or write the body"),
    }
}

fn broken(error: &BodyError) -> hilum_formats::dicom::Error {
    let Refusal { code, reason } = interrupted(error);
    hilum_formats::dicom::Error { code, reason }
}

/// A key of the host, by name, and by how much it let dates of one record move.
struct HostKeys<'a> {
    name: &'a str,
    shifted: Cell<Shifted>,
}

/// By how many days the dates of a record have moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shifted {
    /// None has.
    Not,
    By(i32),
    /// By others for each of several patients.
    Severally,
}

impl Pseudonyms for HostKeys<'_> {
    fn pseudonyms(&self, domain: &str, values: &[&[u8]]) -> Result<Vec<[u8; 32]>, Refusal> {
        let values: Vec<Vec<u8>> = values.iter().map(|value| value.to_vec()).collect();
        keys::pseudonyms(self.name, domain, &values).map_err(|error| self.refused(error))
    }

    fn date_shift(&self, domain: &str, value: &[u8], days_max: u32) -> Result<i32, Refusal> {
        let days =
            keys::date_shift(self.name, domain, value, days_max).map_err(|error| self.refused(error))?;
        self.shifted.set(match self.shifted.get() {
            Shifted::Not => Shifted::By(days),
            Shifted::By(before) if before == days => Shifted::By(days),
            Shifted::By(_) | Shifted::Severally => Shifted::Severally,
        });
        Ok(days)
    }
}

impl<'a> HostKeys<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, shifted: Cell::new(Shifted::Not) }
    }

    fn refused(&self, error: KeyError) -> Refusal {
        match error {
            KeyError::Other(reason) => Refusal::new("no-pseudonym", reason),
            _ => Refusal::new("no-key", format!("grant the stage `keys:{}`, a secret key", self.name)),
        }
    }
}

/// A large body, read from the host and written back to it.
struct HostPipe {
    reader: BodyReader,
    writer: BodyWriter,
}

impl Pipe for HostPipe {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, hilum_formats::dicom::Error> {
        let octets =
            self.reader.read(u32::try_from(max).unwrap_or(u32::MAX)).map_err(|error| broken(&error))?;
        into.extend_from_slice(&octets);
        Ok(octets.len())
    }

    fn skip(&mut self, n: u64) -> Result<u64, hilum_formats::dicom::Error> {
        self.reader.skip(n).map_err(|error| broken(&error))
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), hilum_formats::dicom::Error> {
        self.writer.write(octets).map_err(|error| broken(&error))
    }

    fn forward(&mut self, n: u64) -> Result<u64, hilum_formats::dicom::Error> {
        self.writer.forward(&mut self.reader, n).map_err(|error| broken(&error))
    }
}

#[cfg(test)]
mod tests;
