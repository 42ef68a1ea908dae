//! The headers of data elements (PS3.5 section 7.1), read and written under each of the three encodings.

use super::Error;
use super::stream::Stream;
use super::vr::Vr;
use std::fmt;

/// The length of a value that ends with a delimitation item (PS3.5 section 7.5).
pub const UNDEFINED: u32 = 0xFFFF_FFFF;

/// The tag of a data element: group in the upper half, element in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub u32);

impl Tag {
    /// An item of a sequence.
    pub const ITEM: Tag = Tag(0xFFFE_E000);
    /// The end of an item of undefined length.
    pub const ITEM_DELIMITATION: Tag = Tag(0xFFFE_E00D);
    /// The end of a sequence of undefined length.
    pub const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE_E0DD);
    /// Pixel Data.
    pub const PIXEL_DATA: Tag = Tag(0x7FE0_0010);

    /// The upper half.
    pub fn group(self) -> u32 {
        self.0 >> 16
    }

    /// The lower half.
    pub fn element(self) -> u32 {
        self.0 & 0xFFFF
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.group(), self.element())
    }
}

/// How the headers of data elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Whether a header names the value representation.
    pub explicit_vr: bool,
    /// Whether numbers begin with their most significant octet.
    pub big_endian: bool,
}

impl Encoding {
    /// Implicit VR Little Endian.
    pub const IMPLICIT_LITTLE: Encoding = Encoding { explicit_vr: false, big_endian: false };
    /// Explicit VR Little Endian.
    pub const EXPLICIT_LITTLE: Encoding = Encoding { explicit_vr: true, big_endian: false };
    /// Explicit VR Big Endian.
    pub const EXPLICIT_BIG: Encoding = Encoding { explicit_vr: true, big_endian: true };

    fn u16(self, octets: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) }
    }

    fn u32(self, octets: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
    }

    fn octets_u16(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn octets_u32(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// The tag of four octets.
    pub fn tag(self, octets: [u8; 4]) -> Tag {
        let [a, b, c, d] = octets;
        Tag(u32::from(self.u16([a, b])) << 16 | u32::from(self.u16([c, d])))
    }
}

/// The header of a data element or an item.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// What the value is of.
    pub tag: Tag,
    /// As the object states it; nothing under an implicit encoding and for items.
    pub vr: Option<Vr>,
    /// Octets of the value; [`UNDEFINED`] where it ends with a delimitation item.
    pub length: u32,
    /// Where the header begins.
    pub offset: u64,
}

impl Header {
    /// The length of the value, unless it is undefined.
    pub fn defined_length(&self) -> Option<u64> {
        (self.length != UNDEFINED).then_some(u64::from(self.length))
    }

    /// A refusal about this data element.
    pub fn refuse(&self, code: &'static str, what: &str) -> Error {
        Error::new(code, format!("{what}: {} at offset {}", self.tag, self.offset))
    }
}

/// Reads the next header.
#[inline]
pub fn read_header(stream: &mut Stream<'_>, encoding: Encoding) -> Result<Header, Error> {
    let offset = stream.offset();
    let [a, b, c, d, e, f, g, h] = stream.take::<8>()?;
    let tag = encoding.tag([a, b, c, d]);
    if !encoding.explicit_vr || tag.group() == 0xFFFE {
        return Ok(Header { tag, vr: None, length: encoding.u32([e, f, g, h]), offset });
    }
    let Some(vr) = Vr::from_letters([e, f]) else {
        let header = Header { tag, vr: None, length: 0, offset };
        return Err(header.refuse("unknown-vr", "no value representation is named like that"));
    };
    let length = if vr.has_long_length() {
        encoding.u32(stream.take::<4>()?)
    } else {
        u32::from(encoding.u16([g, h]))
    };
    Ok(Header { tag, vr: Some(vr), length, offset })
}

/// Writes the header of a data element.
pub fn write_header(
    stream: &mut Stream<'_>,
    encoding: Encoding,
    tag: Tag,
    vr: Vr,
    length: u32,
) -> Result<(), Error> {
    let mut octets = [0; 12];
    octets[..2].copy_from_slice(&encoding.octets_u16((tag.0 >> 16) as u16));
    octets[2..4].copy_from_slice(&encoding.octets_u16((tag.0 & 0xFFFF) as u16));
    let size = if !encoding.explicit_vr || tag.group() == 0xFFFE {
        octets[4..8].copy_from_slice(&encoding.octets_u32(length));
        8
    } else if vr.has_long_length() {
        octets[4..6].copy_from_slice(vr.letters());
        octets[8..12].copy_from_slice(&encoding.octets_u32(length));
        12
    } else {
        let Ok(length) = u16::try_from(length) else {
            let reason = format!("the value of {tag} is too long for its value representation");
            return Err(Error::new("value-too-long", reason));
        };
        octets[4..6].copy_from_slice(vr.letters());
        octets[6..8].copy_from_slice(&encoding.octets_u16(length));
        8
    };
    stream.write(&octets[..size])
}

/// Writes the header of an item or a delimitation item.
pub fn write_item(stream: &mut Stream<'_>, encoding: Encoding, tag: Tag, length: u32) -> Result<(), Error> {
    write_header(stream, encoding, tag, Vr::UN, length)
}

/// Writes a data element whose value is short, padded to an even length.
pub fn write_element(
    stream: &mut Stream<'_>,
    encoding: Encoding,
    tag: Tag,
    vr: Vr,
    value: &[u8],
) -> Result<(), Error> {
    let padded = value.len() + value.len() % 2;
    let length = u32::try_from(padded).ok().filter(|length| *length != UNDEFINED);
    let length =
        length.ok_or_else(|| Error::new("value-too-long", format!("the value of {tag} is too long")))?;
    write_header(stream, encoding, tag, vr, length)?;
    stream.write(value)?;
    if value.len() % 2 == 1 {
        stream.write(&[vr.padding()])?;
    }
    Ok(())
}
