//! The separators of an interchange, at fixed places of its header (005010 TR3 B.1.1.2.5).

/// Octets of an interchange header with its terminator.
pub const HEADER_OCTETS: usize = 106;

/// Where the element separator stands in a header: before each of the sixteen elements, whose widths are fixed.
pub(super) const ELEMENT_SEPARATORS: [usize; 16] =
    [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103];

/// What separates the parts of an interchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separators {
    /// Between elements: the octet after `ISA`.
    pub element: u8,
    /// Between the components of an element: ISA16.
    pub component: u8,
    /// Between the repetitions of an element: ISA11 from version 00402 on; before that there were none.
    pub repetition: Option<u8>,
    /// After each segment: the octet after ISA16.
    pub terminator: u8,
}

impl Default for Separators {
    /// `*`, `:`, `^` and `~`, as the implementation guides print them.
    fn default() -> Self {
        Separators { element: b'*', component: b':', repetition: Some(b'^'), terminator: b'~' }
    }
}

impl Separators {
    /// Reads the separators of the header that a text begins with; none if it begins with no usable one.
    pub fn of_header(text: &[u8]) -> Option<Separators> {
        let header = text.first_chunk::<HEADER_OCTETS>().filter(|header| header.starts_with(b"ISA"))?;
        let element = header[3];
        let standing =
            header[..104].iter().enumerate().filter(|(_, octet)| **octet == element).map(|(at, _)| at);
        if !standing.eq(ELEMENT_SEPARATORS) {
            return None;
        }
        let repetition =
            Some(header[82]).filter(|octet| &header[84..89] >= b"00402" && !octet.is_ascii_alphanumeric());
        let separators = Separators { element, component: header[104], repetition, terminator: header[105] };
        separators.are_usable().then_some(separators)
    }

    /// Whether an octet is one of the separators.
    pub fn contain(&self, octet: u8) -> bool {
        [self.element, self.component, self.terminator].contains(&octet) || self.repetition == Some(octet)
    }

    pub(super) fn are_usable(&self) -> bool {
        let mut all = vec![self.element, self.component, self.terminator];
        all.extend(self.repetition);
        let distinct = all.iter().enumerate().all(|(i, octet)| !all[..i].contains(octet));
        let line_end = |octet: u8| matches!(octet, b'\r' | b'\n');
        let within = [self.element, self.component].into_iter().chain(self.repetition);
        distinct
            && within.into_iter().all(|octet| !line_end(octet))
            && all.iter().all(|octet| is_separator(*octet))
    }
}

/// Whether an octet may separate: punctuation or a control character, never a letter, a digit, a space or half of one.
fn is_separator(octet: u8) -> bool {
    octet.is_ascii_punctuation() || (octet.is_ascii_control() && octet != 0)
}
