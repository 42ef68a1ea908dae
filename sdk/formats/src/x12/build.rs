//! Builds segments out of plain text.

use super::Separators;

/// Why a segment could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// X12 has no escape: a value that holds a separator cannot be sent with these separators.
    #[error("element {0:02} holds a separator; choose other separators or another value")]
    Separator(usize),
    /// An element of the interchange header is longer than its place.
    #[error("element {0:02} of ISA is longer than its place")]
    Width(usize),
    /// The separators are not distinct or not punctuation.
    #[error("the separators must be distinct and punctuation or control characters")]
    Separators,
}

/// A segment with its terminator. Components are joined by the caller with the component separator; empty elements at
/// the end are not written (X12.6 section 3.5, 005010 TR3 B.1.1.3.10).
///
/// # Errors
/// When an element holds the element separator or the segment terminator.
pub fn segment(identifier: &str, elements: &[&str], separators: &Separators) -> Result<Vec<u8>, BuildError> {
    let used = elements.iter().rposition(|element| !element.is_empty()).map_or(0, |last| last + 1);
    let mut written = identifier.as_bytes().to_vec();
    for (index, element) in elements[..used].iter().enumerate() {
        if element.bytes().any(|octet| octet == separators.element || octet == separators.terminator) {
            return Err(BuildError::Separator(index + 1));
        }
        written.push(separators.element);
        written.extend_from_slice(element.as_bytes());
    }
    written.push(separators.terminator);
    Ok(written)
}

/// What an interchange header says (005010 TR3 C.3); elements not named here are written as `00` and spaces.
#[derive(Clone, Copy, Debug)]
pub struct Interchange<'a> {
    /// ISA05 and ISA07: what kind of names the sender and receiver have; `ZZ` is mutually defined.
    pub qualifier: &'a str,
    /// ISA06.
    pub sender: &'a str,
    /// ISA08.
    pub receiver: &'a str,
    /// ISA09: YYMMDD.
    pub date: &'a str,
    /// ISA10: HHMM.
    pub time: &'a str,
    /// ISA13, which IEA02 repeats in nine digits.
    pub control_number: u32,
    /// ISA15: `P` for production, `T` for test.
    pub usage: &'a str,
}

impl Default for Interchange<'_> {
    fn default() -> Self {
        Interchange {
            qualifier: "ZZ",
            sender: "",
            receiver: "",
            date: "260101",
            time: "0000",
            control_number: 1,
            usage: "T",
        }
    }
}

impl Interchange<'_> {
    /// The header, ISA, with its terminator: always 106 octets.
    ///
    /// # Errors
    /// When an element does not fit its place or the separators are not usable.
    pub fn header(&self, separators: &Separators) -> Result<Vec<u8>, BuildError> {
        if !separators.are_usable() {
            return Err(BuildError::Separators);
        }
        let control = format!("{:09}", self.control_number);
        let repetition = char::from(separators.repetition.unwrap_or(b'U')).to_string();
        let component = char::from(separators.component).to_string();
        let elements: [(&str, usize); 16] = [
            ("00", 2),
            ("", 10),
            ("00", 2),
            ("", 10),
            (self.qualifier, 2),
            (self.sender, 15),
            (self.qualifier, 2),
            (self.receiver, 15),
            (self.date, 6),
            (self.time, 4),
            (&repetition, 1),
            ("00501", 5),
            (&control, 9),
            ("0", 1),
            (self.usage, 1),
            (&component, 1),
        ];
        let mut header = b"ISA".to_vec();
        for (index, (element, width)) in elements.into_iter().enumerate() {
            let number = index + 1;
            if element.len() > width {
                return Err(BuildError::Width(number));
            }
            if !matches!(number, 11 | 16) && element.bytes().any(|octet| separators.contain(octet)) {
                return Err(BuildError::Separator(number));
            }
            header.push(separators.element);
            header.extend_from_slice(format!("{element:<width$}").as_bytes());
        }
        header.push(separators.terminator);
        Ok(header)
    }
}
