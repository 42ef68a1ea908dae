//! Why an object may not go on: a code for machines and a reason for people, neither of which holds a value.

use std::borrow::Cow;
use std::fmt;

use hilum_formats::dicom;

/// Why an object may not go on.
///
/// Shown to operators and written to logs, so the reason names tags, fields, segments and offsets, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code, e.g. `truncated`.
    pub code: &'static str,
    /// What is wrong and where, e.g. `the value of (0008,0020) ends after the object, at offset 412`.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a code and a reason; the reason must not hold a value from the object.
    pub fn new(code: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Refusal { code, reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Refusal {}

impl From<dicom::Error> for Refusal {
    fn from(dicom::Error { code, reason }: dicom::Error) -> Self {
        Refusal { code, reason }
    }
}
