//! What a stage's configuration lets one expect of a mark: of DICOM by Table E.1-1 and the options that are chosen, of the rest by what was
//! planted.

use serde_json::Value;

use super::judge::Action;
use super::key::{Format, Kind, Mark};
use super::table::Table;

/// Something that has to hold of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expectation {
    pub(super) action: Action,
    pub(super) look: Look,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The value is nowhere.
    Gone,
    /// The value is not at its place.
    GoneThere,
    /// Nothing is at its place.
    Absent,
    /// The value is at its place.
    Kept,
    /// Something is at its place, an empty value too.
    There,
    /// A value is at its place.
    NotEmpty,
    /// Another date is at its place, moved as the patient's others.
    Moved,
    /// A unique identifier is at its place, the same for the same.
    Uid,
    /// A pseudonym is at its place, the same for the same.
    Patient,
    /// Text in pixels cannot be read.
    Hidden,
    /// All other pixels are as they were.
    Pixels,
}

const REMOVED: Expectation = Expectation { action: Action::TextRemoved, look: Look::Gone };
const REMOVED_THERE: Expectation = Expectation { action: Action::TextRemoved, look: Look::GoneThere };
const RETAINED: Expectation = Expectation { action: Action::TextRetained, look: Look::Kept };
const NOT_NULL: Expectation = Expectation { action: Action::TextNotnull, look: Look::NotEmpty };
const DATE_GONE: Expectation = Expectation { action: Action::DateShifted, look: Look::GoneThere };
const DATE_MOVED: Expectation = Expectation { action: Action::DateShifted, look: Look::Moved };
const UID_GONE: Expectation = Expectation { action: Action::UidChanged, look: Look::Gone };
const UID_SAME: Expectation = Expectation { action: Action::UidConsistent, look: Look::Uid };
const PATIENT: Expectation = Expectation { action: Action::PatidConsistent, look: Look::Patient };

/// The plugin's configuration, as far as it says what is to be expected.
pub(super) struct Stage<'a> {
    config: &'a Value,
    table: &'a Table,
}

impl<'a> Stage<'a> {
    pub(super) fn new(config: &'a Value, table: &'a Table) -> Self {
        Self { config, table }
    }

    /// Whether an option of the confidentiality profile is chosen.
    pub(super) fn has_option(&self, name: &str) -> bool {
        self.options().any(|option| option == name)
    }

    fn options(&self) -> impl Iterator<Item = &'a str> {
        self.config["options"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    fn says(&self, key: &str, value: &str) -> bool {
        self.config[key] == value
    }

    fn lists(&self, key: &str, value: &str) -> bool {
        self.config[key].as_array().is_some_and(|list| list.iter().any(|entry| entry == value))
    }

    /// Everything that has to hold.
    pub(super) fn expects(&self, format: Format, mark: &Mark) -> Vec<Expectation> {
        if mark.path == "head.time" {
            return self.time(format);
        }
        if let Some(name) = mark.path.strip_prefix("head.") {
            return if self.lists("attributes", name) { Vec::new() } else { vec![REMOVED] };
        }
        match (format, mark.kind) {
            (_, Kind::Existing) => vec![RETAINED],
            (_, Kind::ExistingSequence) => {
                vec![Expectation { action: Action::TagRetained, look: Look::There }]
            }
            (_, Kind::Added) => vec![NOT_NULL],
            (_, Kind::Private) if self.has_option("retain-safe-private") => Vec::new(),
            (_, Kind::Private) => vec![Expectation { action: Action::TextRemoved, look: Look::Absent }],
            (_, Kind::Unknown) => vec![REMOVED],
            (_, Kind::SafePrivate) if self.has_option("retain-safe-private") => vec![RETAINED],
            (_, Kind::SafePrivate) => vec![Expectation { action: Action::TextRemoved, look: Look::Absent }],
            (_, Kind::Pixels) => pixels(mark),
            (_, Kind::Patient) => self.patient(),
            (Format::Dicom, _) => self.attribute(mark),
            (Format::Telemetry, _) if self.lets_member_go_on(mark) => Vec::new(),
            _ => self.message(mark),
        }
    }

    /// The time of a record's head, which is treated as the dates in its body are.
    fn time(&self, format: Format) -> Vec<Expectation> {
        let shifts = match format {
            _ if self.says("record_time", "keep") => return vec![RETAINED],
            Format::Telemetry => return vec![RETAINED],
            Format::Dicom if self.has_option("retain-longitudinal-full-dates") => return vec![RETAINED],
            Format::Dicom => self.has_option("retain-longitudinal-modified-dates"),
            // One that has a subscriber and other patients is of several.
            Format::X12 => false,
            Format::Hl7 | Format::Fhir => self.says("message_dates", "shift"),
        };
        vec![if shifts { DATE_MOVED } else { DATE_GONE }]
    }

    fn patient(&self) -> Vec<Expectation> {
        if self.says("patient_id", "empty") { vec![REMOVED] } else { vec![REMOVED, PATIENT] }
    }

    /// A hospital may let members of telemetry go on, or as pseudonyms.
    fn lets_member_go_on(&self, mark: &Mark) -> bool {
        let name = mark.path.rsplit('.').next().unwrap_or(&mark.path);
        let keeps_staff = self.says("staff", "keep");
        match self.config["telemetry"][name].as_str() {
            Some("keep") => true,
            Some("staff") => keeps_staff,
            _ => false,
        }
    }

    /// Fields of HL7v2, X12, FHIR and telemetry.
    fn message(&self, mark: &Mark) -> Vec<Expectation> {
        let shifts = self.says("message_dates", "shift");
        match mark.kind {
            Kind::Staff if self.says("staff", "keep") => Vec::new(),
            Kind::Date if shifts => vec![DATE_MOVED],
            Kind::Date | Kind::Reduced => vec![DATE_GONE],
            Kind::Uid => vec![UID_GONE, UID_SAME],
            Kind::Local | Kind::Time | Kind::Age => vec![REMOVED_THERE],
            _ => vec![REMOVED],
        }
    }

    /// An attribute of DICOM.
    fn attribute(&self, mark: &Mark) -> Vec<Expectation> {
        let Some((tag, vr)) = &mark.attribute else { return vec![REMOVED] };
        let row = self.table.row(tag);
        let (cleaned, kept) = match row {
            Some(row) => (row.says("C", self.options()), row.says("K", self.options())),
            None => {
                let is_date = ["DA", "DT", "TM"].contains(&vr.as_str());
                (
                    is_date && self.has_option("retain-longitudinal-modified-dates"),
                    is_date && self.has_option("retain-longitudinal-full-dates"),
                )
            }
        };
        let basic = row.map_or("X/D", |row| row.basic.as_str());
        if row.is_none() && self.says("other_text", "keep") && ["LT", "ST", "UT", "UR"].contains(&vr.as_str())
        {
            return Vec::new();
        }
        match mark.kind {
            Kind::Date if cleaned && !vr.is_empty() => vec![DATE_MOVED],
            Kind::Time if cleaned && !vr.is_empty() => {
                vec![Expectation { action: Action::TagRetained, look: Look::There }]
            }
            Kind::Age if kept && mark.value.as_str() > "089Y" => vec![REMOVED_THERE, NOT_NULL],
            _ if kept && vr.is_empty() => Vec::new(),
            _ if kept && !cleaned => vec![RETAINED],
            Kind::Uid => uid(basic),
            kind => {
                let gone = match kind {
                    Kind::Date => DATE_GONE,
                    Kind::Time | Kind::Age | Kind::Local => REMOVED_THERE,
                    _ => REMOVED,
                };
                // Another value has to stand where the table asks for a dummy; where it leaves a choice, the IOD decides.
                let needs_value = basic == "D" && !["", "SQ"].contains(&vr.as_str()) && !cleaned;
                if needs_value { vec![gone, NOT_NULL] } else { vec![gone] }
            }
        }
    }
}

fn uid(basic: &str) -> Vec<Expectation> {
    match basic {
        "U" => vec![UID_GONE, UID_SAME],
        "D" => vec![UID_GONE, NOT_NULL],
        _ => vec![UID_GONE],
    }
}

fn pixels(mark: &Mark) -> Vec<Expectation> {
    let retained = Expectation { action: Action::PixelsRetained, look: Look::Pixels };
    let hidden = Expectation { action: Action::PixelsHidden, look: Look::Hidden };
    if mark.rectangles.is_empty() { vec![retained] } else { vec![hidden, retained] }
}
