//! States and countries, which are the geography that may be told (45 CFR 164.514(b)(2)(i)(B)): exact codes, for three letters may be a name.

/// States of Australia that have three letters.
const LONG_STATES: [&[u8]; 5] = [b"ACT", b"NSW", b"QLD", b"TAS", b"VIC"];
/// ISO 3166-1 with three letters, as table 0399 of HL7 has them.
const TABLES: &str = include_str!("../data/hl7v2-tables.tsv");

/// Whether a text is a state or a province: two capitals anywhere, or one of those that have three.
pub(crate) fn is_state(text: &[u8]) -> bool {
    let is_short = text.len() == 2 && text.iter().all(u8::is_ascii_uppercase);
    is_short || LONG_STATES.contains(&text)
}

/// Whether a text is a country of ISO 3166-1: two capitals, or three of its list.
pub(crate) fn is_country(text: &[u8]) -> bool {
    if text.len() == 2 {
        return text.iter().all(u8::is_ascii_uppercase);
    }
    let codes = || TABLES.lines().find_map(|line| line.strip_prefix("0399\t"));
    text.len() == 3
        && codes()
            .and_then(|row| row.split('\t').nth(1))
            .is_some_and(|codes| codes.split(' ').any(|code| code.as_bytes() == text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_letters_are_a_place_only_if_there_is_one() {
        for text in ["CO", "BY", "NSW"] {
            assert!(is_state(text.as_bytes()), "{text}");
        }
        for text in ["US", "USA", "DEU", "ROU"] {
            assert!(is_country(text.as_bytes()), "{text}");
        }
        for text in ["DOE", "Doe", "co", "", "12 MAIN ST DOE"] {
            assert!(!is_state(text.as_bytes()) && !is_country(text.as_bytes()), "{text}");
        }
    }
}
