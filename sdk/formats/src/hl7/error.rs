//! What is wrong with a message and where, without the message's values.

/// Why octets are not an HL7 version 2 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}, offset {offset}: {problem}")]
pub struct Error {
    /// The segment, counted from 1.
    pub segment: usize,
    /// Octets before the place at fault.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at some place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no segment at all.
    #[error("there is no segment")]
    Empty,
    /// The text does not begin with a header.
    #[error("the text begins with none of MSH, BHS and FHS")]
    NoHeader,
    /// A segment's name is not three capital letters or digits followed by the field separator.
    #[error("a segment must begin with its three-character name and the field separator")]
    Name,
    /// A header does not say how the message is delimited.
    #[error("fields 1 and 2 of a header must hold a field separator and four or five distinct delimiters")]
    Delimiters,
    /// A segment stands outside a message or a header inside one.
    #[error("the segment stands outside a message")]
    OutsideMessage,
    /// A segment has more fields than [`FIELDS_MAX`](super::FIELDS_MAX).
    #[error("the segment has more than {} fields", super::FIELDS_MAX)]
    TooManyFields,
    /// There are more segments than [`SEGMENTS_MAX`](super::SEGMENTS_MAX).
    #[error("there are more than {} segments", super::SEGMENTS_MAX)]
    TooManySegments,
    /// The text is longer than [`OCTETS_MAX`](super::OCTETS_MAX).
    #[error("the text is longer than {} octets", super::OCTETS_MAX)]
    TooLong,
}
