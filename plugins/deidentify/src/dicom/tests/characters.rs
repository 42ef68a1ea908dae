//! Names and descriptions under every character set: nothing of them is left, and what is written is ASCII, or words that are known.

use super::build::{EXPLICIT, Elements};
use super::{deidentify_as, open, with_options};
use crate::Config;
use crate::dicom::ProfileOption;
use dicom_object::Tag;
use hilum_formats::dicom::Encoding;

/// Defined terms, and a name with its component groups: alphabetic, ideographic, phonetic (PS3.5 section 6.2.1 and its annexes H to K).
const NAMES: [(&str, &[u8]); 14] = [
    ("ISO_IR 100", b"Buc^J\xE9r\xF4me"),
    ("ISO_IR 101", b"W\xB3adek"),
    ("ISO_IR 110", b"\xAB\xE4\xF1"),
    ("ISO_IR 144", b"\xBB\xEE\xDA\xDE\xE6\xD8\xD9"),
    ("ISO_IR 126", b"\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2"),
    ("ISO_IR 127", b"\xE2\xC8\xC7\xE6\xEA^\xE4\xE6\xD2\xC7\xD1"),
    ("ISO_IR 138", b"\xF9\xF8\xE5\xEF^\xE3\xE1\xE5\xF8\xE4"),
    ("ISO_IR 166", b"\xA1\xD2\xC3\xB9"),
    ("ISO_IR 13", b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3"),
    (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
    ),
    ("\\ISO 2022 IR 149", b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB"),
    ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB"),
    ("ISO_IR 192", b"Wang^XiaoDong=\xE7\x8E\x8B^\xE5\xB0\x8F\xE6\x9D\xB1="),
    ("GB18030", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB="),
];

/// Whether octets of a piece of a name that is long enough to be one are in an output.
fn pieces(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|octet| matches!(octet, b'^' | b'=' | 0x1B)).filter(|piece| piece.len() >= 4)
}

#[test]
fn nothing_of_a_name_is_left_under_any_character_set() {
    for (character_set, name) in NAMES {
        let mut padded = name.to_vec();
        padded.resize(name.len().next_multiple_of(2), b' ');
        let described: Vec<u8> = [b"knee ".as_slice(), name, b" "].concat();
        let described = &described[..described.len() / 2 * 2];
        let elements = Elements::new(Encoding::EXPLICIT_LITTLE)
            .text(0x0008_0005, "CS", character_set)
            .text(0x0008_0016, "UI", super::build::SOP_CLASS)
            .text(0x0008_0018, "UI", super::build::SOP_INSTANCE)
            .value(0x0008_0090, "PN", &padded)
            .value(0x0008_103E, "LO", described)
            .value(0x0008_1070, "PN", &padded)
            .value(0x0010_0010, "PN", &padded)
            .value(0x0010_0020, "LO", &padded);
        for options in [&[][..], &[ProfileOption::CleanDescriptors]] {
            let output = deidentify_as(&with_options(options), &elements.part_10(EXPLICIT)).unwrap();
            for piece in pieces(name) {
                let found = output.windows(piece.len()).any(|window| window == piece);
                assert!(!found, "{character_set} {options:?} {piece:?}");
            }
            let object = open(&output);
            let said = object.element(Tag(0x0008, 0x0005)).unwrap().to_multi_str().unwrap().join("\\");
            assert_eq!(said, character_set, "what is kept is still read as what it is");
            if let Ok(description) = object.element(Tag(0x0008, 0x103E)) {
                assert_eq!(description.to_str().unwrap().trim(), "knee");
            }
        }
    }
}

#[test]
fn a_character_set_that_is_none_goes() {
    for character_set in ["DOE^JANE", "ISO_IR 100\\DOE"] {
        let elements = Elements::new(Encoding::EXPLICIT_LITTLE)
            .text(0x0008_0005, "CS", character_set)
            .text(0x0008_0016, "UI", super::build::SOP_CLASS)
            .text(0x0008_0018, "UI", super::build::SOP_INSTANCE);
        let output = deidentify_as(&Config::default(), &elements.part_10(EXPLICIT)).unwrap();
        assert!(open(&output).element(Tag(0x0008, 0x0005)).is_err());
    }
}
