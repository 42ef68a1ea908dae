//! The Clean Structured Content Option (PS3.15 E.3.4): what becomes of a content item by its concept, and of a code by whose it is.
//!
//! A concept that Table E.3.4-1 names with the value type of the item is treated as it says, also under a code that is retired: the item goes with
//! all that is below it (`X`), or its value becomes a dummy (`D`, and `X/D`: no table says which template requires what), unless a chosen option
//! keeps or cleans it. Of all other items the value type decides, since each has an attribute of its own: names of persons and dates have
//! rows in Table E.1-1, unique identifiers are replaced, text has its words cleaned, numbers, codes and coordinates stay. Beyond the table:
//!
//! - Numbers, names and dates of birth of subjects go, and what describes a subject unless that is retained, by whatever value type they come.
//! - An age that an option keeps stays where it is sure that it is under 90 years.
//! - A code that only one hospital knows could mean anything, and is replaced.
//! - Where a concept has several codes (PS3.3 section 8.8), or an item no value type, the strictest of what the table says counts.

mod items;
pub(crate) mod rows;

use std::borrow::Cow;

use super::table::{self, Action, TableError};
use crate::ages;
use crate::forms::Form;
pub(super) use items::{Item, Reading};
use rows::{ContentRow, ValueType};

include!(concat!(env!("OUT_DIR"), "/content.rs"));

/// What becomes of a content item, the stricter the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Its value stays as it is.
    Keep,
    /// Its value is treated by the attribute that it is in.
    #[default]
    Usual,
    /// It stays if it is an age under 90 years.
    Age,
    /// It stays with a value that says nothing.
    Dummy,
    /// It goes, with all that is below it.
    Remove,
}

/// Coding schemes that are published (PS3.16 section 8 and PS3.3 table 8.2-1), so that a code of them is known to many, and what their codes look like.
const PUBLIC: [(&[u8], Form); 25] = [
    (b"BI", Form::Token),
    (b"CD10", Form::Icd10),
    (b"DCM", Form::Token),
    (b"DICOM", Form::Token),
    (b"FMA", Form::Digits(7)),
    (b"I10", Form::Icd10),
    (b"I9", Form::Icd9),
    (b"ICD10", Form::Icd10),
    (b"ISO639_1", Form::Language),
    (b"ISO3166_1", Form::Token),
    (b"LN", Form::Loinc),
    (b"MA", Form::Token),
    (b"MDC", Form::Token),
    (b"NCDR", Form::Token),
    (b"NCIt", Form::Token),
    (b"NDC", Form::Ndc),
    (b"NEU", Form::Token),
    (b"POS", Form::Token),
    (b"RADLEX", Form::Token),
    (b"RXNORM", Form::Digits(7)),
    (b"SCT", Form::Snomed),
    (b"SNM3", Form::Token),
    (b"SRT", Form::Token),
    (b"UCUM", Form::Unit),
    (b"UMLS", Form::Token),
];

/// What the codes of a coding scheme (0008,0102) look like, if it is a published one.
pub(super) fn form_of(scheme: &[u8]) -> Option<Form> {
    PUBLIC.iter().find(|(published, _)| *published == scheme).map(|(_, form)| *form)
}

/// Names, numbers and dates of birth of subjects (PS3.16 TID 1007); ages are removed with them, as they could be over 89 in units of
/// their own.
const REMOVED: [(&[u8], &[u8]); 5] = [
    (b"DCM", b"121029"),
    (b"DCM", b"121030"),
    (b"DCM", b"121031"),
    (b"LN", b"21112-8"),
    (b"SCT", b"184099003"),
];

/// Sex, species, breed, height, weight and body surface of subjects (PS3.16 TID 1007 and TID 3602).
const CHARACTERISTICS: [(&[u8], &[u8]); 18] = [
    (b"99SDM", b"F-01860"),
    (b"DCM", b"121032"),
    (b"DCM", b"121034"),
    (b"DCM", b"121035"),
    (b"LN", b"11878-6"),
    (b"LN", b"29463-7"),
    (b"LN", b"39156-5"),
    (b"LN", b"46098-0"),
    (b"LN", b"76689-9"),
    (b"LN", b"8277-6"),
    (b"LN", b"8302-2"),
    (b"SCT", b"184100006"),
    (b"SCT", b"27113001"),
    (b"SCT", b"50373000"),
    (b"SCT", b"60621009"),
    (b"SCT", b"301898006"),
    (b"SNM3", b"F-01860"),
    (b"SRT", b"F-01860"),
];

/// What a stage does with content items.
#[derive(Debug)]
pub(super) struct Contents {
    edition: Cow<'static, str>,
    rows: Cow<'static, [ContentRow]>,
    /// For each row.
    verdicts: Vec<Verdict>,
    /// Of what the table leaves out and describes a subject.
    characteristics: Verdict,
}

impl Contents {
    /// What options, by their columns of the tables, make of the table, or of the text of another edition of it.
    ///
    /// # Errors
    /// At the first line of the text that is not as it has to be.
    pub(super) fn new(table: Option<&str>, columns: u16) -> Result<Contents, TableError> {
        let (edition, rows) = match table {
            None => (Cow::Borrowed(EDITION), Cow::Borrowed(&ROWS[..])),
            Some(text) => {
                let table = rows::parse(text)?;
                (Cow::Owned(table.edition), Cow::Owned(table.rows))
            }
        };
        let verdicts = rows.iter().map(|row| verdict(row, columns)).collect();
        let is_retained = columns & table::column("retain_patient_chars") != 0;
        let characteristics = if is_retained { Verdict::Usual } else { Verdict::Remove };
        Ok(Contents { edition, rows, verdicts, characteristics })
    }

    /// The edition of the table.
    pub(super) fn edition(&self) -> &str {
        &self.edition
    }

    /// What becomes of a content item with this concept (0040,A043) and this value type (0040,A040), if it has one.
    pub(super) fn judge(&self, scheme: &[u8], code: &[u8], value_type: Option<ValueType>) -> Verdict {
        let beyond = if REMOVED.contains(&(scheme, code)) || ages::is_concept(scheme, code) {
            Verdict::Remove
        } else if CHARACTERISTICS.contains(&(scheme, code)) {
            self.characteristics
        } else {
            Verdict::Usual
        };
        let from = self.rows.partition_point(|row| concept(row) < (scheme, code));
        let of_concept = || {
            let rows = self.rows.iter().zip(&self.verdicts).skip(from);
            rows.take_while(|(row, _)| concept(row) == (scheme, code))
        };
        match value_type {
            None => of_concept().map(|(_, verdict)| *verdict).fold(beyond, Verdict::max),
            Some(of_item) => {
                let found = of_concept().find(|(row, _)| row.value_type == of_item);
                found.map_or(beyond, |(_, verdict)| *verdict)
            }
        }
    }
}

/// Whose rows are beside each other.
fn concept(row: &ContentRow) -> (&[u8], &[u8]) {
    (row.scheme.as_bytes(), row.code.as_bytes())
}

/// What options make of a row: what cleans counts before what keeps.
fn verdict(row: &ContentRow, columns: u16) -> Verdict {
    if row.clean & columns != 0 {
        return Verdict::Usual;
    }
    let is_age = || {
        let (scheme, code) = concept(row);
        ages::is_concept(scheme, code)
    };
    match row.basic {
        _ if row.keep & columns != 0 && is_age() => Verdict::Age,
        _ if row.keep & columns != 0 => Verdict::Keep,
        Action::X => Verdict::Remove,
        _ => Verdict::Dummy,
    }
}

#[cfg(test)]
mod tests;
