//! Specific Character Set (0008,0005) (PS3.3 C.12.1.1.2), as far as it says which octets are letters.
//!
//! All that this plugin writes of its own is ASCII, which every character set of DICOM has in its first half (PS3.5 section 6.1): G0 is
//! ISO 646, or JIS X 0201, which differs in two signs that are no letters, and at the beginning of a value it is always invoked.

use hilum_formats::dicom::trim;

/// What the octets of a text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Characters {
    /// Letters are those of ASCII; what is over it, or after an escape sequence (ISO/IEC 2022), is not looked at.
    #[default]
    Ascii,
    /// ISO 8859-1: an octet is a character of Unicode.
    Latin1,
    /// UTF-8.
    Utf8,
}

/// The defined terms (PS3.3 tables C.12-2 to C.12-5). Those with `IR` are written `ISO_IR n` and `ISO 2022 IR n`.
const REGISTERED: [&str; 18] = [
    "6", "100", "101", "109", "110", "144", "127", "126", "138", "148", "203", "13", "166", "87", "159",
    "149", "58", "192",
];
const NAMED: [&str; 2] = ["GB18030", "GBK"];

/// What a value of (0008,0005) says; none where one of its values is not a defined term.
pub(super) fn specific_character_set(value: &[u8]) -> Option<Characters> {
    let mut values = value.split(|octet| *octet == b'\\').map(trim);
    let first = values.clone().next().unwrap_or_default();
    let several = values.clone().count() > 1;
    if !values.all(is_defined) {
        return None;
    }
    Some(match first {
        b"ISO_IR 192" => Characters::Utf8,
        b"ISO_IR 100" if !several => Characters::Latin1,
        _ => Characters::Ascii,
    })
}

fn is_defined(term: &[u8]) -> bool {
    let Ok(term) = std::str::from_utf8(term) else { return false };
    let number = term.strip_prefix("ISO_IR ").or_else(|| term.strip_prefix("ISO 2022 IR "));
    term.is_empty() || NAMED.contains(&term) || number.is_some_and(|number| REGISTERED.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defined_terms_are_known_and_nothing_else_is() {
        for (value, expected) in [
            ("", Some(Characters::Ascii)),
            ("ISO_IR 100", Some(Characters::Latin1)),
            ("ISO_IR 192 ", Some(Characters::Utf8)),
            ("GB18030", Some(Characters::Ascii)),
            ("\\ISO 2022 IR 87", Some(Characters::Ascii)),
            ("ISO 2022 IR 100\\ISO 2022 IR 126", Some(Characters::Ascii)),
            ("ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159", Some(Characters::Ascii)),
            ("DOE", None),
            ("ISO_IR 100\\DOE", None),
            ("ISO_IR", None),
        ] {
            assert_eq!(specific_character_set(value.as_bytes()), expected, "{value}");
        }
    }
}
