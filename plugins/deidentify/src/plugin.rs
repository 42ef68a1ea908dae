//! The plugin: de-identifies a record, its head as well as its body, by its content type.

use crate::dicom::{self, Pipe, Profile};
use crate::{
    BurnedInAnnotation, Config, Pseudonyms, RecognizableFaces, Refusal, RetainedIdentifiers, SCHEMA,
    TextRule, fhir, hl7, pseudonym, telemetry, texts, x12,
};
use hilum_plugin::keys::KeyError;
use hilum_plugin::{
    Body, BodyError, BodyReader, BodyWriter, ConfigError, Context, Description, Draft, Message, Outcome,
    Transform, keys,
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
            let retains = config.options.iter().any(|option| option.retains_identifiers());
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
    let keys = &HostKeys(&config.key);
    let Message { head, body } = message;
    let body = match format(&head.content_type)? {
        Format::Dicom => image(body, profile, keys)?,
        Format::Hl7 => body_of(hl7::deidentify(&text(body)?, config, keys)?)?,
        Format::X12 => body_of(x12::deidentify(&text(body)?, config, keys)?)?,
        Format::Fhir => {
            fhir::check_version(&head.content_type)?;
            body_of(fhir::deidentify(&text(body)?, year(head.time), config, keys)?)?
        }
        Format::Telemetry => body_of(telemetry::deidentify(&text(body)?, config, keys)?)?,
    };
    let key = head.key.map(|key| pseudonym::record_key(keys, key.as_bytes())).transpose()?;
    let attributes =
        head.attributes.into_iter().filter(|attribute| config.attributes.contains(&attribute.name)).collect();
    Ok(Draft { key, content_type: media_type(&head.content_type), attributes, body })
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

/// A key of the host, by name.
struct HostKeys<'a>(&'a str);

impl Pseudonyms for HostKeys<'_> {
    fn pseudonyms(&self, domain: &str, values: &[&[u8]]) -> Result<Vec<[u8; 32]>, Refusal> {
        let values: Vec<Vec<u8>> = values.iter().map(|value| value.to_vec()).collect();
        keys::pseudonyms(self.0, domain, &values).map_err(|error| self.refused(error))
    }

    fn date_shift(&self, domain: &str, value: &[u8], days_max: u32) -> Result<i32, Refusal> {
        keys::date_shift(self.0, domain, value, days_max).map_err(|error| self.refused(error))
    }
}

impl HostKeys<'_> {
    fn refused(&self, error: KeyError) -> Refusal {
        match error {
            KeyError::Other(reason) => Refusal::new("no-pseudonym", reason),
            _ => Refusal::new("no-key", format!("grant the stage `keys:{}`, a secret key", self.0)),
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
mod tests {
    use super::*;
    use crate::dicom::ProfileOption;
    use hilum_formats::dicom::Encoding;
    use hilum_formats::dicom::build::{EXPLICIT, Elements};
    use hilum_plugin::{Attribute, testing};

    const IMAGE: &str = "application/dicom";

    fn plugin(config: Config) -> Deidentify {
        Deidentify::configure(config).unwrap()
    }

    fn replaced(outcome: Outcome) -> Draft {
        match outcome {
            Outcome::Replace(draft) => draft,
            other => panic!("{other:?}"),
        }
    }

    fn refused(outcome: Outcome) -> hilum_plugin::Refusal {
        match outcome {
            Outcome::Refuse(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn run(config: Config, message: Message) -> Outcome {
        plugin(config).transform(&testing::context(), message)
    }

    #[test]
    fn an_image_is_the_same_whether_it_is_inline_or_large() {
        let image = dicom::tests::image_of(600_000);
        let inline = replaced(run(Config::default(), testing::message(IMAGE, image.clone())));
        let large = replaced(run(Config::default(), testing::large_message(IMAGE, image.clone())));
        assert_eq!(inline.content_type, IMAGE);
        let inline = testing::octets(inline.body);
        assert_eq!(inline, testing::octets(large.body));
        let profile = Profile::new(&Config::default()).unwrap();
        assert_eq!(inline, dicom::deidentify(image, &profile, &HostKeys("research")).unwrap());
    }

    #[test]
    fn dates_are_shifted_by_the_key_of_the_host() {
        let image = Elements::image(Encoding::EXPLICIT_LITTLE)
            .text(0x0010_0020, "LO", "4711")
            .text(0x0018_1012, "DA", "20200101")
            .part_10(EXPLICIT);
        let modified = vec![ProfileOption::RetainLongitudinalModifiedDates];
        let config = Config { options: modified, ..Config::default() };
        let draft = replaced(run(config.clone(), testing::message(IMAGE, image.clone())));
        let octets = testing::octets(draft.body);
        let days = keys::date_shift("research", pseudonym::PATIENT, b"4711", 365).unwrap();
        let mut date = *b"20200101";
        assert!(dicom::tests::shift(&mut date, days));
        assert!(octets.windows(8).any(|window| window == date) && date != *b"20200101");

        testing::with(|host| host.denied.insert("research".to_owned()));
        assert_eq!(refused(run(config, testing::message(IMAGE, image))).code, "no-key");
    }

    #[test]
    fn a_cut_image_is_refused_wherever_it_is() {
        let mut image = dicom::tests::image_of(600_000);
        image.truncate(500_000);
        for message in [testing::message(IMAGE, image.clone()), testing::large_message(IMAGE, image)] {
            assert_eq!(refused(run(Config::default(), message)).code, "truncated");
        }
    }

    #[test]
    fn the_head_reveals_as_little_as_the_body() {
        let message = || {
            let mut message = testing::message("Application/DICOM; version=1", dicom::tests::image_of(10));
            message.head.key = Some("DOE^JANE 4711".to_owned());
            message.head.attributes =
                vec![Attribute::new("patient", "DOE"), Attribute::new("modality", "MR")];
            message
        };
        let draft = replaced(run(Config::default(), message()));
        assert!(draft.attributes.is_empty());
        let key = draft.key.unwrap();
        assert!(key.len() == 32 && !key.contains("4711"));

        let config = Config { attributes: vec!["modality".to_owned()], ..Config::default() };
        let draft = replaced(run(config, message()));
        assert_eq!(draft.attributes, [Attribute::new("modality", "MR")]);
        assert_eq!(draft.key.unwrap(), key, "records of one key stay together");
    }

    #[test]
    fn a_content_type_says_how_to_read_a_body_and_nothing_else() {
        for (given, left) in [
            ("application/dicom", "application/dicom"),
            ("Application/DICOM; patient=DOE-JANE-123-45-6789", "application/dicom"),
            ("application/fhir+json;fhirVersion=4.0 ; x", "application/fhir+json; fhirVersion=4.0"),
            ("application/hl7-v2; charset=\"UTF-8\"", "application/hl7-v2; charset=\"UTF-8\""),
            ("application/hl7-v2; charset=DOE", "application/hl7-v2"),
        ] {
            assert_eq!(media_type(given), left);
        }
        let message = testing::message("application/dicom; patient=DOE", dicom::tests::image_of(10));
        assert_eq!(replaced(run(Config::default(), message)).content_type, "application/dicom");
    }

    #[test]
    fn each_content_type_goes_to_its_format_and_others_are_refused() {
        for (content_type, format_expected) in [
            ("application/dicom", Format::Dicom),
            ("application/hl7-v2", Format::Hl7),
            ("x-application/hl7-v2+er7; charset=utf-8", Format::Hl7),
            ("application/EDI-X12", Format::X12),
            ("application/fhir+json; fhirVersion=4.0", Format::Fhir),
            ("application/vnd.hilum.telemetry+json", Format::Telemetry),
        ] {
            assert_eq!(format(content_type).unwrap(), format_expected);
            let code = refused(run(Config::default(), testing::message(content_type, "?"))).code;
            assert_ne!(code, UNSUPPORTED, "{content_type}");
        }
        for content_type in ["", "application/json", "application/dicom+json", "text/plain"] {
            assert_eq!(
                refused(run(Config::default(), testing::message(content_type, "?"))).code,
                UNSUPPORTED
            );
        }
    }

    #[test]
    fn without_its_key_nothing_goes_on() {
        testing::with(|host| host.denied.insert("research".to_owned()));
        let refusal = refused(run(Config::default(), testing::message(IMAGE, dicom::tests::image_of(10))));
        assert_eq!(refusal.code, "no-key");
        assert!(refusal.reason.contains("keys:research"));
    }

    #[test]
    fn it_claims_to_remove_phi_unless_pixels_may_show_it() {
        assert_eq!(Deidentify::describe(None).removes, ["phi"]);
        assert_eq!(Deidentify::describe(Some(&Config::default())).removes, ["phi"]);
        let config = Config { burned_in_annotation: BurnedInAnnotation::Pass, ..Config::default() };
        assert!(Deidentify::describe(Some(&config)).removes.is_empty());
        for (faces, reveals) in [
            (RecognizableFaces::Refuse, false),
            (RecognizableFaces::Pass, true),
            (RecognizableFaces::Accepted, false),
        ] {
            let config = Config { recognizable_faces: faces, ..Config::default() };
            assert_eq!(Deidentify::describe(Some(&config)).removes.is_empty(), reveals, "{faces:?}");
        }
        for (rule, reveals) in [(TextRule::Words, false), (TextRule::Keep, true)] {
            let mut config = Config { texts: [("NTE-3".to_owned(), rule)].into(), ..Config::default() };
            assert_eq!(Deidentify::describe(Some(&config)).removes.is_empty(), reveals, "{rule:?}");
            config.retained_identifiers = RetainedIdentifiers::Accepted;
            assert_eq!(Deidentify::describe(Some(&config)).removes, ["phi"], "{rule:?}");
        }
        for option in ProfileOption::ALL {
            let mut config = Config { options: vec![option], ..Config::default() };
            let removes = Deidentify::describe(Some(&config)).removes;
            assert_eq!(removes.is_empty(), option.retains_identifiers(), "{option}");
            config.retained_identifiers = RetainedIdentifiers::Accepted;
            assert_eq!(Deidentify::describe(Some(&config)).removes, ["phi"], "{option}");
        }
        assert_eq!(Deidentify::describe(None).content_types.len(), CONTENT_TYPES.len());
    }
}
