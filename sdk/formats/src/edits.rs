//! Replacements of spans of a text: what nobody replaces is copied octet for octet.

use std::ops::Range;

/// Replacements to be made in a text, in any order.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// What goes, and where in `octets` what comes is.
    replacements: Vec<(Range<usize>, Range<usize>)>,
    octets: Vec<u8>,
}

/// Why replacements could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Two replacements concern the same octets.
    #[error("two replacements overlap at offset {0}; replace each span once")]
    Overlap(usize),
    /// A replacement reaches over the end of the text.
    #[error("a replacement ends at offset {0}, after the end of the text")]
    Outside(usize),
}

impl Edits {
    /// No replacement yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `with` where `span` was.
    pub fn replace(&mut self, span: Range<usize>, with: impl AsRef<[u8]>) {
        let start = self.octets.len();
        self.octets.extend_from_slice(with.as_ref());
        self.replacements.push((span, start..self.octets.len()));
    }

    /// Leaves out `span`.
    pub fn remove(&mut self, span: Range<usize>) {
        self.replace(span, b"");
    }

    /// Whether nothing is to be replaced.
    pub fn is_empty(&self) -> bool {
        self.replacements.is_empty()
    }

    /// The text with all replacements made.
    ///
    /// # Errors
    /// When two of them overlap or one reaches over the end: the caller mixed up its spans.
    pub fn apply(mut self, text: &[u8]) -> Result<Vec<u8>, EditError> {
        self.replacements.sort_by_key(|(span, _)| (span.start, span.end));
        let mut edited = Vec::with_capacity(text.len().saturating_add(self.octets.len()));
        let mut position = 0;
        for (span, with) in self.replacements {
            if span.start < position || span.end < span.start {
                return Err(EditError::Overlap(span.start));
            }
            let before = text.get(position..span.start).ok_or(EditError::Outside(span.start))?;
            if span.end > text.len() {
                return Err(EditError::Outside(span.end));
            }
            edited.extend_from_slice(before);
            edited.extend_from_slice(&self.octets[with]);
            position = span.end;
        }
        edited.extend_from_slice(&text[position..]);
        Ok(edited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_in_any_order_and_copies_the_rest() {
        let mut edits = Edits::new();
        edits.remove(8..9);
        edits.replace(0..1, *b"A");
        edits.replace(3..3, *b"--");
        assert_eq!(edits.apply(b"abcdefghi").unwrap(), b"Abc--defgh");
        assert_eq!(Edits::new().apply(b"abc").unwrap(), b"abc");
    }

    #[test]
    fn mixed_up_spans_are_errors() {
        let mut overlapping = Edits::new();
        overlapping.replace(0..3, *b"x");
        overlapping.replace(2..4, *b"y");
        assert_eq!(overlapping.apply(b"abcdef"), Err(EditError::Overlap(2)));
        let mut outside = Edits::new();
        outside.remove(2..9);
        assert_eq!(outside.apply(b"abc"), Err(EditError::Outside(9)));
        let mut beyond = Edits::new();
        beyond.remove(8..9);
        assert_eq!(beyond.apply(b"abc"), Err(EditError::Outside(8)));
    }
}
