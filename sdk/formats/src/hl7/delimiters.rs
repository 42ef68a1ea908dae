//! The characters that separate the parts of a message; each message names its own (v2.5.1 section 2.5.4).

/// The delimiters of a message, from the first two fields of its header segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// Between fields: MSH-1.
    pub field: u8,
    /// Between components.
    pub component: u8,
    /// Between repetitions of a field.
    pub repetition: u8,
    /// Around an escape sequence.
    pub escape: u8,
    /// Between subcomponents.
    pub subcomponent: u8,
    /// At the end of a value that was cut (v2.7 section 2.5.5.2), where the message has one.
    pub truncation: Option<u8>,
}

impl Default for Delimiters {
    /// `|^~\&`, which the standard recommends.
    fn default() -> Self {
        Delimiters {
            field: b'|',
            component: b'^',
            repetition: b'~',
            escape: b'\\',
            subcomponent: b'&',
            truncation: None,
        }
    }
}

impl Delimiters {
    /// Reads the delimiters of a header segment (MSH, BHS or FHS); none if they are missing, equal or letters.
    pub fn of_header(segment: &[u8]) -> Option<Delimiters> {
        let field = *segment.get(3)?;
        let encoding = segment[4..].split(|octet| *octet == field).next()?;
        let (&[component, repetition, escape, subcomponent], truncation) = match encoding {
            [four @ .., last] if encoding.len() == 5 => (four.first_chunk::<4>()?, Some(*last)),
            four => (four.first_chunk::<4>().filter(|_| four.len() == 4)?, None),
        };
        let delimiters = Delimiters { field, component, repetition, escape, subcomponent, truncation };
        delimiters.are_usable().then_some(delimiters)
    }

    /// What MSH-2 holds: every delimiter but the field separator.
    pub fn encoding_characters(&self) -> Vec<u8> {
        let mut characters = vec![self.component, self.repetition, self.escape, self.subcomponent];
        characters.extend(self.truncation);
        characters
    }

    fn are_usable(&self) -> bool {
        let mut all = self.encoding_characters();
        all.push(self.field);
        let distinct = all.iter().enumerate().all(|(i, octet)| !all[..i].contains(octet));
        distinct && all.iter().all(u8::is_ascii_punctuation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_delimiters() {
        assert_eq!(Delimiters::of_header(b"MSH|^~\\&|LAB"), Some(Delimiters::default()));
        assert_eq!(Delimiters::of_header(b"MSH|^~\\&"), Some(Delimiters::default()));
        let truncating = Delimiters { truncation: Some(b'#'), ..Delimiters::default() };
        assert_eq!(Delimiters::of_header(b"MSH|^~\\&#|LAB"), Some(truncating));
        assert_eq!(truncating.encoding_characters(), b"^~\\&#");
        let unusual = Delimiters::of_header(b"MSH*%~!@*LAB").unwrap();
        assert_eq!((unusual.field, unusual.component, unusual.subcomponent), (b'*', b'%', b'@'));
    }

    #[test]
    fn missing_equal_or_lettered_delimiters_are_not_usable() {
        for header in
            [&b"MSH"[..], b"MSH|", b"MSH|^~\\|", b"MSH|^~\\&#x|", b"MSH|^^\\&|", b"MSHa^~\\&a", b"MSH|^~ &|"]
        {
            assert_eq!(Delimiters::of_header(header), None, "{}", String::from_utf8_lossy(header));
        }
    }
}
