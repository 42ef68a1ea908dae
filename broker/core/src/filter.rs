//! Conditions on records' heads, by which a subscription chooses what it reads.
//!
//! The language is that of message selectors (Jakarta Messaging 3.1 and JMS 2.0, section 3.8.1): SQL-92 conditional expressions.
//!
//! ```
//! use hilum_core::filter::Filter;
//!
//! let filter = Filter::parse("modality = 'MR' AND (slices > 100 OR hilum_key LIKE 'ward-7-%')")?;
//! # Ok::<(), hilum_core::filter::FilterError>(())
//! ```
//!
//! | what | how |
//! |---|---|
//! | text | `'MR'`, a quote within it doubled: `'it''s'` |
//! | numbers | `57`, `-957`, `7.`, `-57.9E2`; decimal, within 64 bits signed or a double |
//! | truth | `TRUE`, `FALSE` |
//! | attributes | by name: letters, digits, `_`, `$`; other names in double quotes: `"dicom.modality"` |
//! | the record's own | `hilum_key`, `hilum_content_type`, `hilum_time` (milliseconds since 1970) |
//! | arithmetic | `+`, `-`, `*`, `/`, with the usual precedence |
//! | comparison | `=`, `<>`, `<`, `<=`, `>`, `>=`; text and truth only `=` and `<>` |
//! | ranges | `a [NOT] BETWEEN b AND c` |
//! | sets of texts | `a [NOT] IN ('x', 'y')` |
//! | patterns | `a [NOT] LIKE 'x_y%' [ESCAPE '\']`: `_` is one character, `%` any number of them |
//! | absence | `a IS [NOT] NULL` |
//! | logic | `NOT`, `AND`, `OR`, in this precedence |
//!
//! Keywords are read in any case, names are not. What is not there is NULL, what depends on it is unknown, and `AND`, `OR` and
//! `NOT` follow SQL's logic of three values. A record passes only where the whole is true.
//!
//! Selectors compare typed properties; attributes are text. So the other side says how an attribute is read: beside a number
//! it is read as a number, beside `TRUE` as a truth (`true` or `false` in any case), beside a text as it is. Between two
//! attributes `=` and `<>` compare text, the others numbers. A text that cannot be read so makes the comparison unknown.
//! So do a division by zero and a number out of range.
//!
//! What can never be right (`'a' > 1`, an unknown name that begins with `hilum_`) is refused when the filter is read. Integers
//! in base 8 and 16 and the suffixes of Java's literals are not supported. Where a record has two attributes of one name, the
//! first counts.
//!
//! Work is bounded: a filter has at most [`FILTER_OCTETS_MAX`] octets and [`FILTER_DEPTH_MAX`] levels, each part of it
//! is looked at once for a record, and a pattern takes at most its length times that of the value.

mod evaluate;
mod expression;
mod lexer;
mod like;
mod parser;

use std::fmt;
use std::str::FromStr;

use crate::record::Head;
use expression::Expression;

/// Octets of a filter.
pub const FILTER_OCTETS_MAX: usize = 2048;
/// Levels of parentheses, signs and `NOT` in a filter.
pub const FILTER_DEPTH_MAX: usize = 32;

/// A condition on a record's head. Its `Display` is a filter that means the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    condition: Expression,
}

/// Where a filter cannot be read, and what should be there. Shows no literal of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at column {column} of the filter: expected {expected}, found {found}")]
pub struct FilterError {
    /// The character at fault, from 1.
    pub column: usize,
    /// What would be right there.
    pub expected: &'static str,
    /// What is there instead.
    pub found: String,
}

impl Filter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_OCTETS_MAX {
            let (expected, found) = ("a filter of at most 2048 octets", format!("{} octets", text.len()));
            return Err(FilterError { column: 1, expected, found });
        }
        parser::parse(lexer::tokens(text)?).map(|condition| Self { condition })
    }

    /// Whether the condition is true of a record; not where it is unknown.
    #[must_use]
    pub fn matches(&self, head: &Head) -> bool {
        evaluate::truth(&self.condition, head) == Some(true)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

#[cfg(test)]
mod tests;
