//! Builds segments out of plain text.

use std::collections::BTreeMap;

use super::{Delimiters, FIELDS_MAX, encode};

/// A segment being built; fields are set by number, in any order, and escaped.
///
/// ```
/// use hilum_formats::hl7::SegmentBuilder;
///
/// let mut message = SegmentBuilder::new("MSH").text(7, "2026").components(9, &["ADT", "A01"]).finish();
/// message.extend(SegmentBuilder::new("PID").components(5, &["Smith & Sons", "Jane"]).finish());
/// assert_eq!(message, b"MSH|^~\\&|||||2026||ADT^A01\rPID|||||Smith \\T\\ Sons^Jane\r");
/// ```
#[derive(Clone, Debug)]
pub struct SegmentBuilder {
    name: &'static str,
    delimiters: Delimiters,
    fields: BTreeMap<usize, Vec<u8>>,
}

impl SegmentBuilder {
    /// A segment with the recommended delimiters. `MSH`, `BHS` and `FHS` write them as their fields 1 and 2.
    pub fn new(name: &'static str) -> Self {
        Self::with_delimiters(name, Delimiters::default())
    }

    /// A segment with the delimiters of a message that exists.
    pub fn with_delimiters(name: &'static str, delimiters: Delimiters) -> Self {
        SegmentBuilder { name, delimiters, fields: BTreeMap::new() }
    }

    /// Sets a field to one value.
    #[must_use]
    pub fn text(self, field: usize, value: &str) -> Self {
        self.components(field, &[value])
    }

    /// Sets a field to components.
    #[must_use]
    pub fn components(self, field: usize, components: &[&str]) -> Self {
        self.repetitions(field, &[components])
    }

    /// Sets a field to repetitions, each of components. Fields over [`FIELDS_MAX`] do not exist and are not written.
    #[must_use]
    pub fn repetitions(mut self, field: usize, repetitions: &[&[&str]]) -> Self {
        let mut value = Vec::new();
        for (index, components) in repetitions.iter().enumerate() {
            if index > 0 {
                value.push(self.delimiters.repetition);
            }
            for (index, component) in components.iter().enumerate() {
                if index > 0 {
                    value.push(self.delimiters.component);
                }
                value.extend(encode(component.as_bytes(), &self.delimiters));
            }
        }
        self.fields.insert(field, value);
        self
    }

    /// The segment with its terminator, a carriage return.
    pub fn finish(self) -> Vec<u8> {
        let mut segment = self.name.as_bytes().to_vec();
        let mut written = 0;
        if matches!(self.name, "MSH" | "BHS" | "FHS") {
            segment.push(self.delimiters.field);
            segment.extend(self.delimiters.encoding_characters());
            written = 2;
        }
        for (number, value) in self.fields.range(written + 1..=FIELDS_MAX) {
            segment.extend(std::iter::repeat_n(self.delimiters.field, number - written));
            segment.extend_from_slice(value);
            written = *number;
        }
        segment.push(b'\r');
        segment
    }
}
