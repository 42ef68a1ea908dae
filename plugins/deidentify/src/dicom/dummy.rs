//! Dummies: values that are valid for their value representation and say nothing, and sequences whose one item has the
//! attributes that its macro requires (PS3.3).

use super::options::Code;
use hilum_formats::dicom::{
    Encoding, Error, Stream, Tag, UNDEFINED, Vr, write_element, write_header, write_item,
};

/// The dummy of a value representation. Numbers are zero, which has the same octets in either byte order.
pub(super) fn value(vr: Vr) -> &'static [u8] {
    match vr {
        Vr::AS => b"000Y",
        Vr::DA => b"19000101",
        Vr::DT => b"19000101000000",
        Vr::TM => b"000000",
        Vr::DS | Vr::IS => b"0",
        Vr::UR => b"about:blank",
        Vr::UI => b"2.25.0",
        Vr::AE | Vr::CS | Vr::LO | Vr::LT | Vr::PN | Vr::SH | Vr::ST | Vr::UC | Vr::UT => b"REMOVED",
        Vr::SQ => b"",
        Vr::OB | Vr::OW | Vr::SS | Vr::UN | Vr::US => &[0; 2],
        Vr::AT | Vr::FL | Vr::OF | Vr::OL | Vr::SL | Vr::UL => &[0; 4],
        Vr::FD | Vr::OD | Vr::OV | Vr::SV | Vr::UV => &[0; 8],
    }
}

/// A data element of a made item.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) tag: Tag,
    pub(super) vr: Vr,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Octets(&'static [u8]),
    /// A sequence of one item; of none if it has no data elements.
    Item(&'static [Made]),
}

const fn octets(tag: u32, vr: Vr, value: &'static [u8]) -> Made {
    Made { tag: Tag(tag), vr, value: Value::Octets(value) }
}

const fn item(tag: u32, elements: &'static [Made]) -> Made {
    Made { tag: Tag(tag), vr: Vr::SQ, value: Value::Item(elements) }
}

/// Code Sequence Macro (PS3.3 table 8.8-1).
static CODE: [Made; 3] = [
    octets(0x0008_0100, Vr::SH, b"REMOVED"),
    octets(0x0008_0102, Vr::SH, b"99HILUM"),
    octets(0x0008_0104, Vr::LO, b"Removed"),
];

/// Person Identification Macro (PS3.3 table 10-1).
static PERSON: [Made; 2] = [octets(0x0008_0080, Vr::LO, b"REMOVED"), item(0x0040_1101, &CODE)];

/// Flow Identifier Sequence (PS3.3 C.27).
static FLOW: [Made; 3] = [
    octets(0x0034_0002, Vr::OB, &[0; 2]),
    octets(0x0034_0003, Vr::UI, b"1.2.840.10008.1.2.7.1"),
    octets(0x0034_0004, Vr::UL, &[0; 4]),
];

/// Verifying Observer Sequence (PS3.3 C.17.2).
static OBSERVER: [Made; 4] = [
    octets(0x0040_A027, Vr::LO, b"REMOVED"),
    octets(0x0040_A030, Vr::DT, b"19000101000000"),
    octets(0x0040_A075, Vr::PN, b"REMOVED"),
    item(0x0040_A088, &[]),
];

static COMMENT: [Made; 3] = [
    octets(0x0008_0100, Vr::SH, b"121106"),
    octets(0x0008_0102, Vr::SH, b"DCM"),
    octets(0x0008_0104, Vr::LO, b"Comment"),
];

/// A text content item (PS3.3 C.17.3).
static CONTENT: [Made; 4] = [
    octets(0x0040_A010, Vr::CS, b"CONTAINS"),
    octets(0x0040_A040, Vr::CS, b"TEXT"),
    item(0x0040_A043, &COMMENT),
    octets(0x0040_A160, Vr::UT, b"REMOVED"),
];

/// Waveform Annotation Sequence (PS3.3 C.10.10).
static WAVEFORM_ANNOTATION: [Made; 2] =
    [octets(0x0040_A0B0, Vr::US, &[0; 4]), octets(0x0070_0006, Vr::ST, b"REMOVED")];

/// Text Object Sequence and the Graphic Annotation Sequence around it (PS3.3 C.10.5).
static TEXT_OBJECT: [Made; 4] = [
    octets(0x0070_0004, Vr::CS, b"DISPLAY"),
    octets(0x0070_0006, Vr::ST, b"REMOVED"),
    octets(0x0070_0014, Vr::FL, &[0; 8]),
    octets(0x0070_0015, Vr::CS, b"N"),
];
static GRAPHIC_ANNOTATION: [Made; 2] =
    [octets(0x0070_0002, Vr::CS, b"REMOVED"), item(0x0070_0008, &TEXT_OBJECT)];

/// The one item of a dummy sequence.
pub(super) fn item_of(tag: Tag) -> Option<&'static [Made]> {
    Some(match tag.0 {
        0x0008_0082 | 0x0040_1101 | 0x0040_A168 => &CODE,
        0x0008_1072 => &PERSON,
        0x0034_0001 => &FLOW,
        0x0040_A073 => &OBSERVER,
        0x0040_A730 => &CONTENT,
        0x0040_B020 => &WAVEFORM_ANNOTATION,
        0x0070_0001 => &GRAPHIC_ANNOTATION,
        _ => return None,
    })
}

/// Writes the dummy of a data element.
pub(super) fn write(stream: &mut Stream<'_>, encoding: Encoding, tag: Tag, vr: Vr) -> Result<(), Error> {
    match vr {
        Vr::SQ => write_sequence(stream, encoding, tag, item_of(tag).unwrap_or_default()),
        _ => write_element(stream, encoding, tag, vr, value(vr)),
    }
}

/// Writes a sequence of codes, one in each item (PS3.3 table 8.8-1).
pub(super) fn write_codes(
    stream: &mut Stream<'_>,
    encoding: Encoding,
    tag: Tag,
    codes: impl Iterator<Item = Code>,
) -> Result<(), Error> {
    write_header(stream, encoding, tag, Vr::SQ, UNDEFINED)?;
    for Code { value, meaning } in codes {
        write_item(stream, encoding, Tag::ITEM, UNDEFINED)?;
        write_element(stream, encoding, Tag(0x0008_0100), Vr::SH, value.as_bytes())?;
        write_element(stream, encoding, Tag(0x0008_0102), Vr::SH, b"DCM")?;
        write_element(stream, encoding, Tag(0x0008_0104), Vr::LO, meaning.as_bytes())?;
        write_item(stream, encoding, Tag::ITEM_DELIMITATION, 0)?;
    }
    write_item(stream, encoding, Tag::SEQUENCE_DELIMITATION, 0)
}

/// Writes a sequence of one made item, or of none if it has no data elements.
fn write_sequence(
    stream: &mut Stream<'_>,
    encoding: Encoding,
    tag: Tag,
    elements: &[Made],
) -> Result<(), Error> {
    if elements.is_empty() {
        return write_header(stream, encoding, tag, Vr::SQ, 0);
    }
    write_header(stream, encoding, tag, Vr::SQ, UNDEFINED)?;
    write_item(stream, encoding, Tag::ITEM, UNDEFINED)?;
    for made in elements {
        match made.value {
            Value::Octets(value) => write_element(stream, encoding, made.tag, made.vr, value)?,
            Value::Item(elements) => write_sequence(stream, encoding, made.tag, elements)?,
        }
    }
    write_item(stream, encoding, Tag::ITEM_DELIMITATION, 0)?;
    write_item(stream, encoding, Tag::SEQUENCE_DELIMITATION, 0)
}

#[cfg(test)]
mod tests {
    use super::super::profile::{ATTRIBUTES, ROWS};
    use super::super::table::Action;
    use super::*;

    #[test]
    fn every_sequence_that_needs_a_dummy_has_one() {
        let may_be_dummy =
            |action| !matches!(action, Action::X | Action::Z | Action::U | Action::XorZ | Action::XorZorU);
        let sequences = ROWS.iter().filter(|row| row.vr == Some(*b"SQ") && may_be_dummy(row.basic));
        let missing: Vec<String> = sequences
            // Its items are rewritten instead.
            .filter(|row| row.tag != 0x0008_1111 && item_of(Tag(row.tag)).is_none())
            .map(|row| Tag(row.tag).to_string())
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_other_dummy_has_a_value_and_items_are_in_the_order_of_their_tags() {
        for vr in Vr::ALL.iter().filter(|vr| **vr != Vr::SQ) {
            assert!(!value(*vr).is_empty());
        }
        for tag in ATTRIBUTES.iter().map(|attribute| attribute.tag) {
            assert!(item_of(tag).is_none_or(|item| item.is_sorted_by_key(|made| made.tag)), "{tag}");
        }
    }
}
