//! Segments and their elements: views into the text.

use std::ops::Range;

use super::Separators;

/// Elements of one segment, at most.
pub const ELEMENTS_MAX: usize = 256;

/// A segment: an identifier and elements.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub(super) text: &'a [u8],
    pub(super) offset: usize,
    /// The end of its terminator and of the line ends after that.
    pub(super) end: usize,
    pub(super) number: usize,
    pub(super) separators: Separators,
}

impl<'a> Segment<'a> {
    /// Its identifier, e.g. `NM1`.
    pub fn identifier(&self) -> &'a str {
        let end =
            self.text.iter().position(|octet| *octet == self.separators.element).unwrap_or(self.text.len());
        std::str::from_utf8(&self.text[..end])
            .expect("the parser admits only letters and digits in identifiers")
    }

    /// Its place in the document, counted from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Octets of the document before it.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The segment without its terminator.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Where the segment stands, without its terminator.
    pub fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.text.len()
    }

    /// Where the segment stands with its terminator and the line end after it, so that it can be left out.
    pub fn whole_span(&self) -> Range<usize> {
        self.offset..self.end
    }

    /// The separators of its interchange.
    pub fn separators(&self) -> Separators {
        self.separators
    }

    /// Its elements; the first is number 01.
    pub fn elements(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let element = self.separators.element;
        self.text.split(move |octet| *octet == element).skip(1)
    }

    /// An element, counted from 1; empty if the segment does not reach as far.
    pub fn element(&self, number: usize) -> &'a [u8] {
        number.checked_sub(1).and_then(|before| self.elements().nth(before)).unwrap_or_default()
    }

    /// The components of an element, counted from 1, without regard to repetitions.
    pub fn components(&self, number: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let component = self.separators.component;
        self.element(number).split(move |octet| *octet == component)
    }
}
