//! What a stage may be told: which named key makes its pseudonyms, and what a patient's identifier becomes.

mod messages;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::dicom::ProfileOption;
use crate::record_time::RecordTime;
use crate::texts::TextRule;
pub use messages::{MessageDates, PostalCodes, TelemetryMember};

/// The configuration of one stage, as JSON that fits [`SCHEMA`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the secret key, granted as `keys:<name>`, under which pseudonyms and unique identifiers are made.
    /// Stages with the same key agree on them; stages with different keys cannot be linked.
    pub key: String,
    /// What a patient's identifier becomes.
    pub patient_id: PatientId,
    /// What happens to an image that says of itself that identifying text is burned into its pixels, or is of a kind that often has some.
    pub burned_in_annotation: BurnedInAnnotation,
    /// What happens to an image in which somebody could be recognised.
    pub recognizable_faces: RecognizableFaces,
    /// The text of rules that say where devices write text into pixels, in the columns of `data/pixel-rules.tsv`, for option
    /// `clean-pixel-data`.
    pub pixel_rules: Option<String>,
    /// Whether ultrasound and secondary capture are looked at for text, for option `clean-pixel-data`.
    pub text_detector: TextDetector,
    /// The options of the Basic Application Level Confidentiality Profile (PS3.15 E.3), in addition to the profile itself.
    pub options: Vec<ProfileOption>,
    /// Whether what some options retain and 45 CFR 164.514(b)(2)(i) lists still counts as protected health information.
    pub retained_identifiers: RetainedIdentifiers,
    /// How many days the dates of a patient are shifted at most, for option `retain-longitudinal-modified-dates` and `message_dates`.
    pub date_shift_days_max: u32,
    /// Words that stay in descriptions beside those of body parts, for options that clean descriptions, and in [`Config::texts`].
    pub vocabulary: Vec<String>,
    /// Private attributes that stay beside those of PS3.15 Table E.3.10-1, for option `retain-safe-private`.
    pub safe_private: Vec<SafePrivate>,
    /// What happens to free text in attributes that the table leaves out (`LT`, `ST`, `UT`), and to addresses (`UR`).
    pub other_text: OtherText,
    /// What happens to an attribute that nobody has judged: it is in no data dictionary, or newer than the table.
    pub unknown_attributes: UnknownAttributes,
    /// What happens to an object of a SOP class that DICOM does not register.
    pub private_sop_classes: PrivateSopClasses,
    /// The text of another edition of PS3.15 Table E.1-1, in the columns of `data/ps3.15-2026c-table-e.1-1.tsv`.
    pub table: Option<String>,
    /// The text of another edition of PS3.15 Table E.3.4-1, in the columns of `data/ps3.15-2026a-table-e.3.4-1.tsv`, for option
    /// `clean-structured-content`.
    pub content_table: Option<String>,
    /// What happens to the dates of messages, claims and resources.
    pub message_dates: MessageDates,
    /// What happens to the time of the record's head.
    pub record_time: RecordTime,
    /// What happens to postal codes.
    pub postal_codes: PostalCodes,
    /// The system of those FHIR identifiers that are the Patient ID of DICOM and HL7v2, by which dates are shifted; without it, the logical
    /// identifier of the Patient is.
    pub patient_system: Option<String>,
    /// Systems of codes in FHIR (URLs) and HL7v2 (as in the third component of a code) that go on beside the published ones.
    pub code_systems: Vec<String>,
    /// Members of telemetry that go on beside readings, and how; the machine becomes a pseudonym unless it is among them.
    pub telemetry: BTreeMap<String, TelemetryMember>,
    /// What happens to the names and numbers of staff in HL7v2 messages, X12 claims and FHIR resources.
    pub staff: Staff,
    /// HL7v2 segments that the standard does not define (`ZPI`) and what happens to each; all others are refused.
    pub local_segments: BTreeMap<String, LocalSegment>,
    /// What goes on of free text in HL7v2, X12 and FHIR, by the name of its place (`NTE-3`, `NTE02`, `Observation.note`); of all other none does.
    pub texts: BTreeMap<String, TextRule>,
    /// Names of the record's attributes that go on. All others are dropped, since they may hold what the body no longer does.
    pub attributes: Vec<String>,
}

/// What happens to the names and numbers of the people who treat a patient.
///
/// They are not among the identifiers of 45 CFR 164.514(b)(2), but they narrow down where and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staff {
    /// A keyed pseudonym instead of the number, and no name.
    #[default]
    Pseudonym,
    /// As they stand.
    Keep,
}

/// Whether records still reveal a patient by what an option retains: dates, unique identifiers, serial numbers, addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetainedIdentifiers {
    /// The stage does not remove label `phi`.
    #[default]
    Phi,
    /// It does: somebody has looked and says that those who receive the records may have them, e.g. as a limited data set.
    Accepted,
}

/// What happens to free text that Table E.1-1 leaves out, such as titles of documents and comments on treatments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherText {
    /// It is treated as descriptions are: known words stay with option `clean-descriptors`, otherwise a dummy stands for it.
    #[default]
    Clean,
    /// It stays, as the standard allows.
    Keep,
}

/// What happens to an attribute that nobody has judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownAttributes {
    /// It is left out.
    #[default]
    Remove,
    /// The record is refused, so that somebody can look.
    Quarantine,
}

/// What happens to an object of a SOP class that DICOM does not register: nobody knows what its attributes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivateSopClasses {
    /// It is refused.
    #[default]
    Refuse,
    /// It is treated as one of a class that this plugin's tables do not know.
    Unknown,
}

/// A private attribute that identifies nobody, as the hospital knows from its vendor's conformance statement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SafePrivate {
    /// Its private creator.
    pub creator: String,
    /// `(0029,xx10)`: `xx` stands for the creator's block.
    pub tag: String,
    /// Its value representation, two letters.
    pub vr: String,
}

/// What happens to an HL7v2 segment that the standard does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalSegment {
    /// It is left out.
    Remove,
    /// It goes on as it is: somebody has looked and says that it identifies nobody.
    Keep,
}

/// What a patient's identifier becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatientId {
    /// A keyed pseudonym: the same patient is recognised again, by nobody outside.
    #[default]
    Pseudonym,
    /// Empty.
    Empty,
}

/// What happens to an image whose Burned In Annotation (0028,0301) is `YES`.
///
/// The Basic Profile does not clean pixels (that is the Clean Pixel Data Option, PS3.15 E.3.1, which goes by rules), so such an
/// image would leave with the patient's name in the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BurnedInAnnotation {
    /// The record is refused, and so is one of a kind that often has text in its pixels, such as ultrasound, unless it says `NO`.
    #[default]
    Refuse,
    /// The record is refused. What an image does not say of itself is not doubted: for devices that write nothing, as the hospital knows.
    RefuseStated,
    /// The pixels go on as they are: for flows whose images are cleaned elsewhere.
    Pass,
}

/// What happens to an image in which somebody could be recognised: slices of a head by CT, MR or PET, which can be made into a face, and
/// whatever says `YES` in Recognizable Visual Features (0028,0302).
///
/// 45 CFR 164.514(b)(2)(i)(Q) lists full-face photographs and comparable images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecognizableFaces {
    /// The record is refused, unless the object says `NO` in (0028,0302).
    #[default]
    Refuse,
    /// It goes on as it is, and the stage does not remove label `phi`.
    Pass,
    /// It goes on as it is, and the stage removes label `phi`: somebody has looked and says that those who receive it may have it.
    Accepted,
}

/// Whether the pixels that rules leave are looked at for what is like text, which raises doubt, and clears nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextDetector {
    /// They are, and an image that cannot be looked at is refused.
    #[default]
    On,
    /// They are where they can be.
    Readable,
    /// They are not.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            key: "research".to_owned(),
            patient_id: PatientId::default(),
            burned_in_annotation: BurnedInAnnotation::default(),
            recognizable_faces: RecognizableFaces::default(),
            pixel_rules: None,
            text_detector: TextDetector::default(),
            options: Vec::new(),
            retained_identifiers: RetainedIdentifiers::default(),
            date_shift_days_max: 365,
            vocabulary: Vec::new(),
            safe_private: Vec::new(),
            other_text: OtherText::default(),
            unknown_attributes: UnknownAttributes::default(),
            private_sop_classes: PrivateSopClasses::default(),
            table: None,
            content_table: None,
            message_dates: MessageDates::default(),
            record_time: RecordTime::default(),
            postal_codes: PostalCodes::default(),
            patient_system: None,
            code_systems: Vec::new(),
            texts: BTreeMap::new(),
            telemetry: BTreeMap::new(),
            staff: Staff::default(),
            local_segments: BTreeMap::new(),
            attributes: Vec::new(),
        }
    }
}

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("config.schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }

    #[test]
    fn every_setting_of_the_schema_is_read_and_no_other() {
        let json = r##"{"key":"k2","patient_id":"empty","burned_in_annotation":"pass",
            "recognizable_faces":"accepted","pixel_rules":"# Hilum pixel rules","text_detector":"readable",
            "staff":"keep","local_segments":{"ZPI":"remove"},"attributes":["modality"],
            "options":["retain-uids"],"retained_identifiers":"accepted","date_shift_days_max":30,
            "vocabulary":["STIR"],"safe_private":[{"creator":"ACME","tag":"(0029,xx10)","vr":"DS"}],
            "message_dates":"shift","record_time":"keep","postal_codes":"three-digits","patient_system":"urn:oid:1.2","code_systems":["urn:oid:1.3"],"telemetry":{"serial":"pseudonym"},
            "other_text":"keep","unknown_attributes":"quarantine","private_sop_classes":"unknown","texts":{"NTE-3":"words"},"table":"# PS3.15 2027a","content_table":"# PS3.15 2027b"}"##;
        let config: Config = serde_json::from_str(json).unwrap();
        assert_eq!(config.attributes, ["modality"]);
        assert_eq!(config.key, "k2");
        assert_eq!(config.patient_id, PatientId::Empty);
        assert_eq!(config.burned_in_annotation, BurnedInAnnotation::Pass);
        assert_eq!(config.recognizable_faces, RecognizableFaces::Accepted);
        assert_eq!(config.pixel_rules.as_deref(), Some("# Hilum pixel rules"));
        assert_eq!(config.text_detector, TextDetector::Readable);
        assert_eq!(config.staff, Staff::Keep);
        assert_eq!(config.local_segments["ZPI"], LocalSegment::Remove);
        assert_eq!(config.options, [ProfileOption::RetainUids]);
        assert_eq!(config.retained_identifiers, RetainedIdentifiers::Accepted);
        assert_eq!(config.date_shift_days_max, 30);
        assert_eq!(config.vocabulary, ["STIR"]);
        assert_eq!(config.safe_private[0].tag, "(0029,xx10)");
        assert_eq!(config.message_dates, MessageDates::Shift);
        assert_eq!(config.record_time, RecordTime::Keep);
        assert_eq!(config.postal_codes, PostalCodes::ThreeDigits);
        assert_eq!(config.patient_system.as_deref(), Some("urn:oid:1.2"));
        assert_eq!(config.code_systems, ["urn:oid:1.3"]);
        assert_eq!(config.texts["NTE-3"], TextRule::Words);
        assert_eq!(config.telemetry["serial"], TelemetryMember::Pseudonym);
        assert_eq!(config.other_text, OtherText::Keep);
        assert_eq!(config.unknown_attributes, UnknownAttributes::Quarantine);
        assert_eq!(config.private_sop_classes, PrivateSopClasses::Unknown);
        assert_eq!(config.table.as_deref(), Some("# PS3.15 2027a"));
        assert_eq!(config.content_table.as_deref(), Some("# PS3.15 2027b"));
        assert!(serde_json::from_str::<Config>(r#"{"patientid":"empty"}"#).is_err());

        // No order: whether JSON keeps that of its members depends on who else is compiled along.
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let named: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        let read: BTreeSet<&String> = read.as_object().unwrap().keys().collect();
        assert_eq!(named, read);
        let options = schema["properties"]["options"]["items"]["enum"].as_array().unwrap();
        let options: Vec<&str> = options.iter().filter_map(serde_json::Value::as_str).collect();
        assert_eq!(options, ProfileOption::ALL.map(|option| option.to_string()));
    }
}
