//! The answer key: what was planted where. It has the planted values in it, and so it stays beside the planted files; reports have only paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an answer key says that it is.
pub(super) const FORM: &str = "hilum-score-key-1";

/// What all planted files of a folder hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) form: String,
    pub(super) seed: u64,
    /// Of the pixel rules that images with text were made for.
    pub(super) pixel_rules: String,
    pub(super) files: Vec<Planted>,
    /// Files into which nothing was planted, by reason.
    pub(super) left_out: BTreeMap<String, u64>,
}

/// One planted file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Planted {
    /// Its name in the folder `planted`.
    pub(super) file: String,
    pub(super) sha256: String,
    pub(super) format: Format,
    /// The key of its record: the patient's number.
    pub(super) record_key: String,
    /// Why it may be refused: nothing is expected to be left of it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) may_be_refused: Option<String>,
    /// The option of the profile without which it is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) needs: Option<String>,
    pub(super) marks: Vec<Mark>,
}

/// The kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Dicom,
    Hl7,
    X12,
    Fhir,
    Telemetry,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Dicom => "application/dicom",
            Self::Hl7 => "x-application/hl7-v2+er7",
            Self::X12 => "application/edi-x12",
            Self::Fhir => "application/fhir+json",
            Self::Telemetry => "application/vnd.hilum.telemetry+json",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::Hl7 => "hl7",
            Self::X12 => "x12",
            Self::Fhir => "fhir",
            Self::Telemetry => "telemetry",
        }
    }

    /// How names of such files end.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Dicom => "dcm",
            Self::Hl7 => "hl7",
            Self::X12 => "edi",
            Self::Fhir | Self::Telemetry => "json",
        }
    }
}

/// Something at one place of a planted file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// Where: `(0040,0260)[0].(0010,0010)`, `PID[0]-5.1`, `NM1[2]-03`, `entry[0].resource.id`, or `head.key`.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// As it was planted, or as it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) value: String,
    /// The identifier of 45 CFR 164.514(b)(2)(i), `A` to `R`; none of what identifies nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identifier: Option<char>,
    /// The attribute whose row decides, and its value representation: of DICOM only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) attribute: Option<(String, String)>,
    /// Rectangles with text, `[left, top, width, height]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rectangles: Vec<[u32; 4]>,
}

/// What a mark is, which is also how it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A text that is nowhere else: it may be found nowhere.
    Text,
    /// A text, as before, that names staff.
    Staff,
    /// A number, time or code that may be elsewhere by chance: looked for at its place.
    Local,
    /// A date of a patient, or one with a time.
    Date,
    /// A date that is reduced even where others are shifted: of birth, and of what belongs to no patient.
    Reduced,
    /// A unique identifier.
    Uid,
    /// A patient's number.
    Patient,
    /// The age of a patient, DICOM's `nnnY`.
    Age,
    /// A time of day.
    Time,
    /// What an attribute that no dictionary knows holds, or a private one.
    Unknown,
    /// A private attribute that Table E.3.10-1 calls safe.
    SafePrivate,
    /// A private attribute of a real file.
    Private,
    /// What was there already, and identifies nobody.
    Existing,
    /// A sequence that was there already.
    ExistingSequence,
    /// What has to be there afterwards.
    Added,
    /// The pixels, with text in its rectangles if it has any.
    Pixels,
}

impl Mark {
    pub(super) fn new(
        path: impl Into<String>,
        kind: Kind,
        value: impl Into<String>,
        identifier: char,
    ) -> Self {
        Self {
            path: path.into(),
            kind,
            value: value.into(),
            identifier: Some(identifier),
            attribute: None,
            rectangles: Vec::new(),
        }
    }

    /// Something that identifies nobody.
    pub(super) fn harmless(path: impl Into<String>, kind: Kind, value: impl Into<String>) -> Self {
        Self { identifier: None, ..Self::new(path, kind, value, 'R') }
    }
}
