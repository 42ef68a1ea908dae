//! The preamble and the file meta information (PS3.10 section 7.1), written anew: nothing of the sender's is kept but the
//! transfer syntax.

use super::element::{Encoding, Tag, read_header, write_element};
use super::stream::Stream;
use super::syntax::{self, Syntax};
use super::vr::Vr;
use crate::{Refusal, pseudonym};

const PREAMBLE_OCTETS: usize = 128;
const MEDIA_STORAGE_SOP_CLASS: Tag = Tag(0x0002_0002);
const TRANSFER_SYNTAX: Tag = Tag(0x0002_0010);
const MEDIA_STORAGE_DIRECTORY: &[u8] = b"1.2.840.10008.1.3.10";

/// Hilum as an implementation: a UUID-derived unique identifier (PS3.5 B.2) and a name of at most 16 characters.
const IMPLEMENTATION_CLASS: &[u8] = b"2.25.143717794115927168706053182131555441424";
const IMPLEMENTATION_VERSION: &[u8] = concat!("HILUM ", env!("CARGO_PKG_VERSION")).as_bytes();

/// Reads the preamble and the file meta information; the transfer syntax. The group length is not relied on: it is often
/// wrong, and the group of the next tag says where the data set begins.
pub(super) fn read(stream: &mut Stream<'_>) -> Result<Syntax, Refusal> {
    let missing =
        || Refusal::new("not-part-10", "there is no `DICM` at offset 128: not a DICOM Part 10 object");
    let prefix = stream.peek::<{ PREAMBLE_OCTETS + 4 }>()?.ok_or_else(missing)?;
    if prefix[PREAMBLE_OCTETS..] != *b"DICM" {
        return Err(missing());
    }
    stream.skip(prefix.len() as u64)?;

    let mut transfer_syntax = None;
    let mut last = None;
    while let Some(octets) = stream.peek::<4>()? {
        if Encoding::EXPLICIT_LITTLE.tag(octets).group() != 2 {
            break;
        }
        let header = read_header(stream, Encoding::EXPLICIT_LITTLE)?;
        if last.replace(header.tag).is_some_and(|last| last >= header.tag) {
            return Err(
                header.refuse("tag-order", "the file meta information is not in the order of its tags")
            );
        }
        let length = header
            .defined_length()
            .ok_or_else(|| header.refuse("undefined-length", "file meta information has no sequences"))?;
        match header.tag {
            MEDIA_STORAGE_SOP_CLASS => {
                if pseudonym::trim(&stream.take_value(length)?) == MEDIA_STORAGE_DIRECTORY {
                    return Err(header.refuse("media-directory", "a DICOMDIR lists other objects"));
                }
            }
            TRANSFER_SYNTAX => transfer_syntax = Some(stream.take_value(length)?),
            _ => stream.skip(length)?,
        }
    }
    let uid = transfer_syntax.ok_or_else(|| {
        Refusal::new("no-transfer-syntax", format!("the file meta information has no {TRANSFER_SYNTAX}"))
    })?;
    syntax::by_uid(pseudonym::trim(&uid))
}

/// Writes the preamble and the file meta information of the de-identified object.
pub(super) fn write(
    stream: &mut Stream<'_>,
    sop_class: &[u8],
    sop_instance: &[u8],
    transfer_syntax: &str,
) -> Result<(), Refusal> {
    let elements: [(u32, Vr, &[u8]); 6] = [
        (0x0002_0001, Vr::OB, &[0, 1]),
        (0x0002_0002, Vr::UI, sop_class),
        (0x0002_0003, Vr::UI, sop_instance),
        (0x0002_0010, Vr::UI, transfer_syntax.as_bytes()),
        (0x0002_0012, Vr::UI, IMPLEMENTATION_CLASS),
        (0x0002_0013, Vr::SH, IMPLEMENTATION_VERSION),
    ];
    let size = |(_, vr, value): &(u32, Vr, &[u8])| {
        let header = if vr.has_long_length() { 12 } else { 8 };
        header + value.len() + value.len() % 2
    };
    let group_length: usize = elements.iter().map(size).sum();
    let group_length = u32::try_from(group_length).expect("six values of at most 64 octets");

    stream.write(&[0; PREAMBLE_OCTETS])?;
    stream.write(b"DICM")?;
    let encoding = Encoding::EXPLICIT_LITTLE;
    write_element(stream, encoding, Tag(0x0002_0000), Vr::UL, &group_length.to_le_bytes())?;
    for (tag, vr, value) in elements {
        write_element(stream, encoding, Tag(tag), vr, value)?;
    }
    Ok(())
}
