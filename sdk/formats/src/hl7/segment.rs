//! Segments and their parts: views into the text, with offsets.

use std::borrow::Cow;
use std::ops::Range;

use super::{Delimiters, decode};

/// Fields of one segment, at most.
pub const FIELDS_MAX: usize = 1024;

/// A part of a segment: a field, a repetition, a component or a subcomponent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part<'a> {
    /// The octets as they stand, still escaped.
    pub text: &'a [u8],
    /// Octets of the document before them.
    pub offset: usize,
}

impl<'a> Part<'a> {
    /// Where the part stands in the document.
    pub fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.text.len()
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the value is `""`: the sender asks to delete what the receiver holds (v2.5.1 section 2.5.3).
    pub fn is_null(&self) -> bool {
        self.text == b"\"\""
    }

    /// The value with its escape sequences resolved.
    pub fn decode(&self, delimiters: &Delimiters) -> Cow<'a, [u8]> {
        decode(self.text, delimiters)
    }

    /// The repetitions of a field.
    pub fn repetitions(&self, delimiters: &Delimiters) -> impl Iterator<Item = Part<'a>> + use<'a> {
        self.split(delimiters.repetition)
    }

    /// The components of a repetition.
    pub fn components(&self, delimiters: &Delimiters) -> impl Iterator<Item = Part<'a>> + use<'a> {
        self.split(delimiters.component)
    }

    /// A component of a field's first repetition, counted from 1; empty if there are not as many.
    pub fn component(&self, number: usize, delimiters: &Delimiters) -> Part<'a> {
        let first = self.repetitions(delimiters).next().unwrap_or_default();
        let found = first.components(delimiters).nth(number.saturating_sub(1));
        found.unwrap_or(Part { text: &[], offset: first.span().end })
    }

    /// The subcomponents of a component.
    pub fn subcomponents(&self, delimiters: &Delimiters) -> impl Iterator<Item = Part<'a>> + use<'a> {
        self.split(delimiters.subcomponent)
    }

    fn split(&self, delimiter: u8) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let mut offset = self.offset;
        self.text.split(move |octet| *octet == delimiter).map(move |text| {
            let part = Part { text, offset };
            offset += text.len() + 1;
            part
        })
    }
}

/// A segment: a name and fields.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub(super) line: Part<'a>,
    /// The end of its terminator.
    pub(super) end: usize,
    pub(super) number: usize,
    pub(super) delimiters: Delimiters,
}

impl<'a> Segment<'a> {
    /// Its name, e.g. `PID`.
    pub fn name(&self) -> &'a str {
        std::str::from_utf8(&self.line.text[..3]).expect("the parser admits only letters and digits in names")
    }

    /// Its place in the document, counted from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The segment without its terminator.
    pub fn line(&self) -> Part<'a> {
        self.line
    }

    /// Where the segment stands with its terminator, so that it can be left out.
    pub fn whole_span(&self) -> Range<usize> {
        self.line.offset..self.end
    }

    /// The delimiters of the header above it.
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// Whether it names delimiters: MSH, BHS or FHS.
    pub fn is_header(&self) -> bool {
        is_header(self.line.text)
    }

    /// The fields that are there, with their numbers, from 1.
    ///
    /// The first field of a header is the field separator itself and the second the other delimiters (MSH-1 and
    /// MSH-2, v2.5.1 section 2.15.9).
    pub fn fields(&self) -> impl Iterator<Item = (usize, Part<'a>)> + use<'a> {
        let separator =
            self.is_header().then(|| Part { text: &self.line.text[3..4], offset: self.line.offset + 3 });
        let rest = self.line.text.get(4..).map(|text| Part { text, offset: self.line.offset + 4 });
        let split = rest.into_iter().flat_map({
            let field = self.delimiters.field;
            move |rest| rest.split(field)
        });
        (1..).zip(separator.into_iter().chain(split))
    }

    /// A field, counted from 1, if the segment reaches as far.
    pub fn field(&self, number: usize) -> Option<Part<'a>> {
        self.fields().nth(number.checked_sub(1)?).map(|(_, part)| part)
    }
}

pub(super) fn is_header(line: &[u8]) -> bool {
    matches!(line.get(..3), Some(b"MSH" | b"BHS" | b"FHS"))
}
