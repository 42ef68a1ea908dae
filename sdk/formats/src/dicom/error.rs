//! Why an object may not go on: a code for machines and a reason for people, neither of which holds a value.

use std::borrow::Cow;

/// Why octets are not a DICOM object that can be read, or could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Error {
    /// A stable code, e.g. `truncated`.
    pub code: &'static str,
    /// What is wrong and where, e.g. `the value ends after the item that holds it: (0008,0020) at offset 412`.
    pub reason: Cow<'static, str>,
}

impl Error {
    /// An error with a code and a reason; the reason must not hold a value from the object.
    pub fn new(code: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Error { code, reason: reason.into() }
    }
}
