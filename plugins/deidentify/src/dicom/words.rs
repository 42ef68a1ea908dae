//! The Clean Descriptors Option (PS3.15 E.3.5): of a description only those words stay that are known to describe.
//!
//! Names, numbers and places cannot be told from other words by looking at them, so nothing is searched for. A word stays if it is in
//! the vocabulary, which is the words of body parts (PS3.16 Annex L) and what the hospital adds to them; everything else goes, numbers and
//! dates too, and so does all that stands between words. If nothing is left, the Basic Profile decides.

use super::characters::Characters;

include!(concat!(env!("OUT_DIR"), "/words.rs"));

/// Begins an escape sequence (ISO/IEC 2022), after which octets of ASCII may be halves of other characters.
const ESCAPE: u8 = 0x1B;

/// The words that may stay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// The hospital's, in lower case and sorted.
    own: Vec<String>,
}

impl Words {
    pub(crate) fn new(own: &[String]) -> Words {
        let mut own: Vec<String> = own.iter().map(|word| word.to_lowercase()).collect();
        own.sort_unstable();
        Words { own }
    }

    /// The words of a value that may stay, with a space between them, in the value's own character set; none if there are none.
    pub(crate) fn of(&self, value: &[u8], characters: Characters) -> Option<Vec<u8>> {
        let end = value.iter().position(|octet| *octet == ESCAPE).unwrap_or(value.len());
        // What touches an escape sequence is not a whole word.
        let cut = value[..end].iter().rposition(|octet| !is_of_word(octet)).map_or(0, |last| last + 1);
        let whole = if end == value.len() { value } else { &value[..cut] };
        let mut kept = Vec::new();
        for word in whole.split(|octet| !is_of_word(octet)).filter(|word| self.has(word, characters)) {
            if !kept.is_empty() {
                kept.push(b' ');
            }
            kept.extend_from_slice(word);
        }
        (!kept.is_empty()).then_some(kept)
    }

    fn has(&self, word: &[u8], characters: Characters) -> bool {
        let lower = match (word.is_ascii(), characters) {
            (true, _) => String::from_utf8_lossy(word).to_ascii_lowercase(),
            (false, Characters::Utf8) => match std::str::from_utf8(word) {
                Ok(word) => word.to_lowercase(),
                Err(_) => return false,
            },
            (false, Characters::Latin1) => {
                word.iter().map(|octet| char::from(*octet)).collect::<String>().to_lowercase()
            }
            (false, Characters::Ascii) => return false,
        };
        !lower.is_empty()
            && (self.own.binary_search(&lower).is_ok() || BODY_PARTS.binary_search(&lower.as_str()).is_ok())
    }
}

/// Letters and digits; an octet over ASCII is part of a character, and so of a word.
fn is_of_word(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(value: &[u8], characters: Characters) -> Option<Vec<u8>> {
        let own = ["T2", "STIR", "Sch\u{e4}del", "MRT", "\u{982d}\u{90e8}"].map(str::to_owned);
        Words::new(&own).of(value, characters)
    }

    #[test]
    fn words_of_the_vocabulary_stay_and_nothing_else() {
        for (value, expected) in [
            ("STIR knee left, DOE^JANE 1980-01-02", Some("STIR knee left")),
            ("t2_STIR/KNEE*4711", Some("t2 STIR KNEE")),
            ("T2STIR", None),
            ("kneeDOE", None),
            ("4711", None),
            ("", None),
        ] {
            assert_eq!(cleaned(value.as_bytes(), Characters::Ascii).as_deref(), expected.map(str::as_bytes));
        }
    }

    #[test]
    fn letters_beyond_ascii_are_words_where_their_character_set_is_plain() {
        let utf8 = "MRT SCH\u{c4}DEL M\u{fc}ller \u{982d}\u{90e8}";
        let expected = "MRT SCH\u{c4}DEL \u{982d}\u{90e8}";
        assert_eq!(cleaned(utf8.as_bytes(), Characters::Utf8).as_deref(), Some(expected.as_bytes()));
        assert_eq!(
            cleaned(b"MRT Sch\xE4del M\xFCller", Characters::Latin1).as_deref(),
            Some(&b"MRT Sch\xE4del"[..])
        );
        assert_eq!(cleaned(b"MRT Sch\xE4del", Characters::Ascii).as_deref(), Some(&b"MRT"[..]));
    }

    #[test]
    fn halves_of_other_characters_are_not_words() {
        // JIS X 0208, whose octets are those of ASCII: `knee` could be two characters.
        assert_eq!(cleaned(b"MRT \x1B$Bknee\x1B(B left", Characters::Ascii).as_deref(), Some(&b"MRT"[..]));
        assert_eq!(cleaned(b"MRT\x1B$Bknee", Characters::Ascii), None);
        // GB18030: the second octet of a character may be a letter.
        assert_eq!(cleaned(b"\x81knee left", Characters::Ascii).as_deref(), Some(&b"left"[..]));
    }
}
