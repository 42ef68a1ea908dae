//! What is wrong with an interchange and where, without its values.

/// Why octets are not an X12 interchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}, offset {offset}: {problem}")]
pub struct Error {
    /// The segment, counted from 1.
    pub segment: usize,
    /// Octets before the segment.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at some place of an interchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is nothing.
    #[error("there is no interchange")]
    Empty,
    /// The interchange header is not where one must be, or not 106 octets with its separators at their places.
    #[error(
        "an interchange must begin with an ISA of 106 octets that are delimited by four distinct separators"
    )]
    Header,
    /// The text ends before the segment's terminator.
    #[error("the text ends before the segment's terminator")]
    Unterminated,
    /// A segment does not begin with its identifier.
    #[error("a segment must begin with its identifier of two or three capital letters or digits")]
    Identifier,
    /// A segment has more elements than [`ELEMENTS_MAX`](super::ELEMENTS_MAX).
    #[error("the segment has more than {} elements", super::ELEMENTS_MAX)]
    TooManyElements,
    /// There are more segments than [`SEGMENTS_MAX`](super::SEGMENTS_MAX).
    #[error("there are more than {} segments", super::SEGMENTS_MAX)]
    TooManySegments,
    /// The text is longer than [`OCTETS_MAX`](super::OCTETS_MAX).
    #[error("the text is longer than {} octets", super::OCTETS_MAX)]
    TooLong,
    /// Interchange, group and transaction are not nested: ISA, GS, ST, ..., SE, GE, IEA.
    #[error("the segment is out of place: ISA, GS, ST, ..., SE, GE, IEA must be nested")]
    Nesting,
    /// The text ends inside an interchange.
    #[error("the text ends inside an interchange")]
    Open,
    /// A trailer's count differs from what is there.
    #[error("the count in element 01 of the trailer differs from what is there")]
    Count,
    /// A trailer's control number differs from its header's.
    #[error("the control number in element 02 of the trailer differs from its header's")]
    ControlNumber,
}
