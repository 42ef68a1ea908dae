//! PS3.15 Table E.3.4-1 as text: the build script reads the built-in edition, and a plugin the one that a hospital brings.
//!
//! Of the form of Table E.1-1 (see `table`), but for the columns: a row is about a concept (`scheme`, `code`) and a value type, and seven of the
//! options have something to say. `retired` is the code that the concept had in SNOMED RT (PS3.16 Annex O): a row counts for it as well.

use std::borrow::Cow;

use super::table::{Action, TableError, column as option, edition, error};

/// The value types of content items (PS3.3 C.17.3 and, for `NUMERIC`, 10.2).
const VALUE_TYPES: [&str; 17] = [
    "CODE",
    "COMPOSITE",
    "CONTAINER",
    "DATE",
    "DATETIME",
    "IMAGE",
    "NUM",
    "NUMERIC",
    "PNAME",
    "SCOORD",
    "SCOORD3D",
    "TABLE",
    "TCOORD",
    "TEXT",
    "TIME",
    "UIDREF",
    "WAVEFORM",
];
/// The options that the table has columns of.
const COLUMNS: [&str; 7] = [
    "retain_uids",
    "retain_device_id",
    "retain_institution_id",
    "retain_patient_chars",
    "retain_long_full_dates",
    "retain_long_modif_dates",
    "clean_desc",
];
/// The designators under which a retired code may be written (PS3.15 E.3.4 note 3).
const RETIRED: [&str; 3] = ["SRT", "SNM3", "99SDM"];
/// Rows of one table: today's has 211.
const ROWS_MAX: usize = 4096;

/// What kind of value a content item has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ValueType(pub(crate) &'static str);

impl ValueType {
    /// None for letters that the standard does not name.
    pub(crate) fn from_letters(letters: &[u8]) -> Option<ValueType> {
        let known = VALUE_TYPES.into_iter().find(|known| known.as_bytes() == letters)?;
        Some(ValueType(if known == "NUMERIC" { "NUM" } else { known }))
    }
}

/// One row: a concept with values of one type, what becomes of its content items, and which options say something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentRow {
    /// (0008,0102).
    pub(crate) scheme: Cow<'static, str>,
    /// (0008,0100).
    pub(crate) code: Cow<'static, str>,
    pub(crate) value_type: ValueType,
    /// Under the Basic Profile: X, D or X/D.
    pub(crate) basic: Action,
    /// The options that say K, a bit for each column of Table E.1-1.
    pub(crate) keep: u16,
    /// The options that say C.
    pub(crate) clean: u16,
}

impl ContentRow {
    /// What rows are sorted by.
    pub(crate) fn key(&self) -> (&str, &str, ValueType) {
        (&self.scheme, &self.code, self.value_type)
    }
}

/// A table of one edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentTable {
    /// E.g. `2026a`.
    pub(crate) edition: String,
    /// In the order of their keys, those of retired codes among them.
    pub(crate) rows: Vec<ContentRow>,
}

/// Reads a table.
///
/// # Errors
/// At the first line that is not as it has to be.
pub(crate) fn parse(text: &str) -> Result<ContentTable, TableError> {
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r')).zip(1..);
    let edition = edition(lines.next().map_or("", |(line, _)| line))?;
    let names: Vec<&str> = lines.next().map_or("", |(line, _)| line).split('\t').collect();
    let column = |wanted: &str| {
        let what = || format!("the second line names the columns, and `{wanted}` is not among them");
        names.iter().position(|name| *name == wanted).ok_or_else(|| error(2, 1, what()))
    };
    let [scheme, code, value_type, basic, retired] =
        [column("scheme")?, column("code")?, column("value_type")?, column("basic")?, column("retired")?];
    let options: Vec<(u16, usize)> =
        (COLUMNS.iter()).map(|name| Ok((option(name), column(name)?))).collect::<Result<_, TableError>>()?;

    let mut rows: Vec<(ContentRow, usize)> = Vec::new();
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        if rows.len() >= ROWS_MAX {
            return Err(error(number, 1, format!("a table has at most {ROWS_MAX} rows")));
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let wrong = |index: usize, what: &str| {
            let before = cells.iter().take(index).map(|cell| cell.chars().count() + 1).sum::<usize>();
            error(number, 1 + before, what.to_owned())
        };
        let cell = |index: usize| {
            let missing = || error(number, line.chars().count() + 1, "a column is missing".to_owned());
            cells.get(index).copied().ok_or_else(missing)
        };
        let filled = |index: usize| match cell(index)? {
            "" => Err(wrong(index, "a concept has a coding scheme and a code")),
            filled => Ok(filled.to_owned()),
        };
        let (of_scheme, of_code) = (filled(scheme)?, filled(code)?);
        let of_type = ValueType::from_letters(cell(value_type)?.as_bytes());
        let of_type = of_type.ok_or_else(|| wrong(value_type, "a value type is written `TEXT`"))?;
        let action = match cell(basic)? {
            "X" => Action::X,
            "D" => Action::D,
            "X/D" => Action::XorD,
            _ => return Err(wrong(basic, "an action is X, D or X/D")),
        };
        let (mut keep, mut clean) = (0, 0);
        for (bit, index) in &options {
            match cell(*index)? {
                "" => {}
                "K" => keep |= bit,
                "C" => clean |= bit,
                _ => return Err(wrong(*index, "an option says K or C, or nothing")),
            }
        }
        let row = |scheme: String, code: String| ContentRow {
            scheme: scheme.into(),
            code: code.into(),
            value_type: of_type,
            basic: action,
            keep,
            clean,
        };
        rows.push((row(of_scheme, of_code), number));
        let old = cell(retired)?;
        if !old.is_empty() {
            rows.extend(RETIRED.map(|scheme| (row(scheme.to_owned(), old.to_owned()), number)));
        }
    }
    rows.sort_by(|(a, at), (b, bt)| a.key().cmp(&b.key()).then(at.cmp(bt)));
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0.key() == pair[1].0.key()) {
        return Err(error(pair[1].1, 1, format!("the concept is already in line {}", pair[0].1)));
    }
    if rows.is_empty() {
        return Err(error(3, 1, "the table has no rows".to_owned()));
    }
    Ok(ContentTable { edition, rows: rows.into_iter().map(|(row, _)| row).collect() })
}
