//! Holds what came out against what was planted, by the ten actions of the MIDI-B benchmark (arXiv 2507.23608).
//!
//! Of a file that is refused nothing goes on: what should have been taken out of it is, and what should have stayed is not. The
//! benchmark counts files that are missing the same way.

use std::collections::BTreeMap;

use super::document::Document;
use super::expect::{Expectation, Look};
use super::key::{Mark, Planted};
use super::values::day_of;

/// What should be done with a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    TagRetained,
    TextNotnull,
    TextRetained,
    TextRemoved,
    DateShifted,
    UidChanged,
    UidConsistent,
    PatidConsistent,
    PixelsHidden,
    PixelsRetained,
}

impl Action {
    pub(super) const ALL: [Self; 10] = [
        Self::TagRetained,
        Self::TextNotnull,
        Self::TextRetained,
        Self::TextRemoved,
        Self::DateShifted,
        Self::UidChanged,
        Self::UidConsistent,
        Self::PatidConsistent,
        Self::PixelsHidden,
        Self::PixelsRetained,
    ];

    /// As the benchmark calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TagRetained => "tag_retained",
            Self::TextNotnull => "text_notnull",
            Self::TextRetained => "text_retained",
            Self::TextRemoved => "text_removed",
            Self::DateShifted => "date_shifted",
            Self::UidChanged => "uid_changed",
            Self::UidConsistent => "uid_consistent",
            Self::PatidConsistent => "patid_consistent",
            Self::PixelsHidden => "pixels_hidden",
            Self::PixelsRetained => "pixels_retained",
        }
    }

    /// Whether it takes something away that identifies somebody.
    pub(super) fn is_removal(self) -> bool {
        matches!(self, Self::TextRemoved | Self::DateShifted | Self::UidChanged | Self::PixelsHidden)
    }
}

/// What became of a planted file.
pub(super) enum Seen<'a> {
    /// It was refused.
    Refused,
    /// It went on as this; the planted file is there to compare pixels with.
    WentOn { output: &'a Document, planted: &'a Document },
}

/// Remembers what identifiers became in all files, and by how much dates moved.
#[derive(Default)]
pub(super) struct Judge {
    uids: Mapping,
    patients: Mapping,
    /// Days, by the patient's number.
    shifts: BTreeMap<String, i64>,
}

/// One to one, or inconsistent.
#[derive(Default)]
struct Mapping {
    to: BTreeMap<String, String>,
    from: BTreeMap<String, String>,
}

impl Mapping {
    /// Whether the original became the same before, and no other did.
    fn agrees(&mut self, original: &str, became: &str) -> bool {
        let to = self.to.entry(original.to_owned()).or_insert_with(|| became.to_owned());
        let from = self.from.entry(became.to_owned()).or_insert_with(|| original.to_owned());
        to == became && from == original
    }
}

/// What was found of one expectation.
pub(super) struct Verdict {
    pub(super) passed: bool,
    /// Whether an interval was measured, and holds.
    pub(super) interval: Option<bool>,
}

impl Judge {
    /// Nothing where nothing was to be expected.
    pub(super) fn judge(
        &mut self,
        file: &Planted,
        mark: &Mark,
        of: Expectation,
        seen: &Seen<'_>,
    ) -> Option<Verdict> {
        let verdict = |passed| Some(Verdict { passed, interval: None });
        let (output, planted) = match seen {
            Seen::Refused if of.action.is_removal() => return verdict(true),
            Seen::Refused if file.may_be_refused.is_some() => return None,
            Seen::Refused => return verdict(false),
            Seen::WentOn { output, planted } => (*output, *planted),
        };
        let found = output.at(&mark.path);
        match of.look {
            Look::Gone => verdict(!output.holds(&mark.value) && !found.contains(&mark.value.as_str())),
            Look::GoneThere => verdict(!found.iter().any(|value| is_same(value, &mark.value))),
            Look::Absent => verdict(found.is_empty()),
            Look::Kept => verdict(found.iter().any(|value| is_same(value, &mark.value))),
            Look::There => verdict(output.has(&mark.path)),
            Look::NotEmpty => verdict(found.iter().any(|value| !value.is_empty())),
            Look::Moved => Some(self.moved(&file.record_key, mark, &found)),
            Look::Uid => {
                verdict(first(&found).is_some_and(|uid| is_uid(uid) && self.uids.agrees(&mark.value, uid)))
            }
            Look::Patient => verdict(
                first(&found).is_some_and(|id| id != mark.value && self.patients.agrees(&mark.value, id)),
            ),
            Look::Hidden => verdict(output.hides(&mark.rectangles)),
            Look::Pixels => verdict(output.has_pixels_of(planted, &mark.rectangles)),
        }
    }

    /// A date that has to be there, elsewhere, and as far from the patient's other dates as it was.
    fn moved(&mut self, patient: &str, mark: &Mark, found: &[&str]) -> Verdict {
        let moved = first(found).and_then(day_of).zip(day_of(&mark.value)).map(|(now, then)| now - then);
        let Some(days) = moved else { return Verdict { passed: false, interval: Some(false) } };
        let holds = *self.shifts.entry(patient.to_owned()).or_insert(days) == days;
        let time_holds = first(found).is_some_and(|now| now.len() == mark.value.len());
        Verdict { passed: days != 0 && holds && time_holds, interval: Some(holds) }
    }
}

fn first<'a>(found: &[&'a str]) -> Option<&'a str> {
    found.iter().find(|value| !value.is_empty()).copied()
}

/// Numbers are compared as numbers: `1.0` and `1.00` say the same.
fn is_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let each = |text: &str| text.split('\\').map(number).collect::<Option<Vec<f64>>>();
    matches!((each(one), each(other)), (Some(one), Some(other)) if one == other)
}

/// DICOM PS3.5 section 9.1.
fn is_uid(text: &str) -> bool {
    let component = |component: &str| {
        !component.is_empty()
            && component.bytes().all(|digit| digit.is_ascii_digit())
            && (component.len() == 1 || !component.starts_with('0'))
    };
    text.len() <= 64 && text.split('.').all(component)
}
