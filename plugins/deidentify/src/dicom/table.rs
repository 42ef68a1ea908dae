//! PS3.15 Table E.1-1 as text: the build script reads the built-in edition, and a plugin the one that a hospital brings.
//!
//! The first line names the edition (`# PS3.15 2026c`), the second one the columns; they are separated by tabulators. `tag`, `vr`,
//! `basic` and the ten options have to be there, in any order; what else there is belongs to people. Rows may come in any order. Nothing here
//! depends on the rest of the plugin, because the build script has none of it.

use std::fmt;

/// The columns of the options, in the order of [`Row::keep`] and [`Row::clean`], whose lowest bit is the first.
pub(crate) const OPTION_COLUMNS: [&str; 10] = [
    "retain_safe_private",
    "retain_uids",
    "retain_device_id",
    "retain_institution_id",
    "retain_patient_chars",
    "retain_long_full_dates",
    "retain_long_modif_dates",
    "clean_desc",
    "clean_struct_cont",
    "clean_graph",
];
/// Rows of one table: today's has 656.
const ROWS_MAX: usize = 8192;
/// What begins the first line.
const EDITION_MARK: &str = "# PS3.15 ";
/// Characters of an edition, so that (0012,0063) has room for it.
const EDITION_CHARS_MAX: usize = 8;
/// The rows that stand for many attributes. Whatever a table says of them, curves, overlays and private attributes are removed,
/// apart from what the Retain Safe Private Option names.
const PATTERNS: [&str; 4] = ["(50xx,xxxx)", "(60xx,3000)", "(60xx,4000)", "(gggg,eeee) gggg odd"];

/// What the table says of an attribute under the Basic Profile, in its own letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    X,
    Z,
    D,
    U,
    XorZ,
    XorD,
    ZorD,
    XorZorD,
    XorZorU,
}

impl Action {
    fn from_letters(letters: &str) -> Option<Action> {
        Some(match letters {
            "X" => Action::X,
            "Z" => Action::Z,
            "D" => Action::D,
            "U" => Action::U,
            "X/Z" => Action::XorZ,
            "X/D" => Action::XorD,
            "Z/D" => Action::ZorD,
            "X/Z/D" => Action::XorZorD,
            "X/Z/U*" => Action::XorZorU,
            _ => return None,
        })
    }
}

/// One row: an attribute, what becomes of it, and which options say something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Group in the upper half, element in the lower.
    pub(crate) tag: u32,
    /// Two letters; none where the table does not say.
    pub(crate) vr: Option<[u8; 2]>,
    /// Under the Basic Profile.
    pub(crate) basic: Action,
    /// The options that say K, a bit for each.
    pub(crate) keep: u16,
    /// The options that say C, a bit for each.
    pub(crate) clean: u16,
}

/// A table of one edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// E.g. `2026c`.
    pub(crate) edition: String,
    /// In the order of their tags.
    pub(crate) rows: Vec<Row>,
}

/// What is wrong with the text of a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableError {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// What is there and what should be.
    pub(crate) what: String,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for TableError {}

/// Reads a table.
///
/// # Errors
/// At the first line that is not as it has to be.
pub(crate) fn parse(text: &str) -> Result<Table, TableError> {
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r')).zip(1..);
    let edition = edition(lines.next().map_or("", |(line, _)| line))?;
    let columns = Columns::of(lines.next().map_or("", |(line, _)| line))?;
    let mut rows: Vec<(Row, usize)> = Vec::new();
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        if rows.len() == ROWS_MAX {
            return Err(error(number, 1, format!("a table has at most {ROWS_MAX} rows")));
        }
        if let Some(row) = columns.row(line, number)? {
            rows.push((row, number));
        }
    }
    rows.sort_by_key(|(row, number)| (row.tag, *number));
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0.tag == pair[1].0.tag) {
        let what = format!("the attribute is already in line {}", pair[0].1);
        return Err(error(pair[1].1, 1, what));
    }
    if rows.is_empty() {
        return Err(error(3, 1, "the table has no rows".to_owned()));
    }
    Ok(Table { edition, rows: rows.into_iter().map(|(row, _)| row).collect() })
}

/// The edition that the first line of a table names.
pub(crate) fn edition(line: &str) -> Result<String, TableError> {
    let is_edition = |edition: &&str| {
        let (year, letter) = edition.split_at_checked(4).unwrap_or_default();
        edition.len() <= EDITION_CHARS_MAX
            && year.len() == 4
            && year.bytes().all(|octet| octet.is_ascii_digit())
            && letter.bytes().all(|octet| octet.is_ascii_lowercase())
    };
    let edition = line.strip_prefix(EDITION_MARK).map(str::trim_end).filter(is_edition);
    let wanted = || format!("the first line names the edition of the table, e.g. `{EDITION_MARK}2026c`");
    edition.map(str::to_owned).ok_or_else(|| error(1, 1, wanted()))
}

/// Where in a line each column is.
struct Columns {
    tag: usize,
    vr: usize,
    basic: usize,
    options: [usize; OPTION_COLUMNS.len()],
}

impl Columns {
    fn of(line: &str) -> Result<Columns, TableError> {
        let names: Vec<&str> = line.split('\t').collect();
        let find = |wanted: &str| {
            let found = names.iter().position(|name| *name == wanted);
            found.ok_or_else(|| {
                let what = format!("the second line names the columns, and `{wanted}` is not among them");
                error(2, 1, what)
            })
        };
        let mut options = [0; OPTION_COLUMNS.len()];
        for (option, name) in options.iter_mut().zip(OPTION_COLUMNS) {
            *option = find(name)?;
        }
        Ok(Columns { tag: find("tag")?, vr: find("vr")?, basic: find("basic")?, options })
    }

    /// The row of a line; none if it is one of the patterns.
    fn row(&self, line: &str, number: usize) -> Result<Option<Row>, TableError> {
        let fields: Vec<&str> = line.split('\t').collect();
        let column =
            |index: usize| 1 + fields.iter().take(index).map(|f| f.chars().count() + 1).sum::<usize>();
        let field = |index: usize| {
            let missing = || error(number, line.chars().count() + 1, "a column is missing".to_owned());
            fields.get(index).copied().ok_or_else(missing)
        };
        let wrong = |index: usize, what: &str| error(number, column(index), what.to_owned());

        let tag = field(self.tag)?;
        if PATTERNS.contains(&tag) {
            return Ok(None);
        }
        let tag = exact_tag(tag).ok_or_else(|| wrong(self.tag, "a tag is written `(0010,0020)`"))?;
        let vr = field(self.vr)?.as_bytes();
        let vr = match vr {
            [] => None,
            [a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some([*a, *b]),
            _ => return Err(wrong(self.vr, "a value representation is written `LO`, or left out")),
        };
        let basic = Action::from_letters(field(self.basic)?);
        let known = "an action is X, Z, D, U, X/Z, X/D, Z/D, X/Z/D or X/Z/U*";
        let basic = basic.ok_or_else(|| wrong(self.basic, known))?;
        let (mut keep, mut clean) = (0, 0);
        for (bit, index) in self.options.iter().enumerate() {
            match field(*index)? {
                "" => {}
                "K" => keep |= 1 << bit,
                "C" => clean |= 1 << bit,
                _ => return Err(wrong(*index, "an option says K or C, or nothing")),
            }
        }
        Ok(Some(Row { tag, vr, basic, keep, clean }))
    }
}

/// The bit of the column of an option; none for what is no column.
#[must_use]
pub(crate) fn column(name: &str) -> u16 {
    OPTION_COLUMNS.iter().position(|column| *column == name).map_or(0, |bit| 1 << bit)
}

/// What is wrong at a line and a column.
pub(crate) fn error(line: usize, column: usize, what: String) -> TableError {
    TableError { line, column, what }
}

/// `(0010,0020)`.
pub(crate) fn exact_tag(text: &str) -> Option<u32> {
    let (group, element) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let half = |text: &str| {
        let is_hexadecimal = text.len() == 4 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        is_hexadecimal.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    Some(half(group)? << 16 | half(element)?)
}

/// Where to begin to look for a tag among 2^`bits` slots (Fibonacci hashing: one that is as good for tags that follow each other).
pub(crate) fn slot(tag: u32, bits: u32) -> usize {
    (tag.wrapping_mul(0x9E37_79B1) >> (u32::BITS - bits)) as usize
}
