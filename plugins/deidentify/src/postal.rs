//! Postal codes (45 CFR 164.514(b)(2)(i)(B)): zeros, or the first three digits of a ZIP code where over 20,000 people live.

use crate::{Config, PostalCodes};

const SPARSE: &str = include_str!("../data/zip3-sparse.tsv");
/// Digits of a ZIP code that may go on.
const DIGITS: usize = 3;

/// What stands for a postal code: as many characters, of which all or all but the first three are zeros.
pub(crate) fn code(original: &str, config: &Config, is_of_states: bool) -> String {
    let original = original.trim();
    let digits = original.bytes().filter(u8::is_ascii_digit).count();
    let is_zip =
        matches!(digits, 5 | 9) && original.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
    let first = original.get(..DIGITS).unwrap_or_default();
    let goes_on =
        config.postal_codes == PostalCodes::ThreeDigits && is_of_states && is_zip && !is_sparse(first);
    let mut made = if goes_on { first.to_owned() } else { String::new() };
    let length = original.chars().count();
    while made.len() < length {
        made.push('0');
    }
    made
}

/// Whether 20,000 people or fewer live where ZIP codes begin so, by any of the censuses of the list.
fn is_sparse(first: &str) -> bool {
    SPARSE.lines().skip(1).any(|line| line.split('\t').next() == Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_go_on_where_many_people_live() {
        let zeros = Config::default();
        let config = Config { postal_codes: PostalCodes::ThreeDigits, ..Config::default() };
        for (original, of_states, expected) in [
            ("33111", true, "33100"),
            ("331110000", true, "331000000"),
            ("33111-1234", true, "3310000000"),
            ("03601", true, "00000"),
            ("89312", true, "00000"),
            ("20501", true, "00000"),
            ("33111", false, "00000"),
            ("3311", true, "0000"),
            ("SW1A 1AA", true, "00000000"),
            ("Doe", true, "000"),
            ("", true, ""),
        ] {
            assert_eq!(code(original, &config, of_states), expected, "{original}");
            assert_eq!(code(original, &zeros, of_states), "0".repeat(original.len()), "{original}");
        }
        assert_eq!(SPARSE.lines().skip(1).count(), 19);
        assert!(
            SPARSE.lines().skip(1).all(|line| line.split('\t').count() == 3 && line.as_bytes()[3] == b'\t')
        );
    }
}
