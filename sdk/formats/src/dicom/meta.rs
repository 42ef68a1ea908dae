//! The preamble and the file meta information (PS3.10 section 7.1).

use super::element::{Encoding, Header, Tag, read_header};
use super::stream::Stream;
use super::syntax::{self, Syntax};
use super::{Error, trim};

/// Octets before the prefix `DICM`.
pub const PREAMBLE_OCTETS: usize = 128;
/// Transfer Syntax UID.
pub const TRANSFER_SYNTAX: Tag = Tag(0x0002_0010);

/// Reads the preamble and the file meta information; the transfer syntax. The group length is not relied on: it is often
/// wrong, and the group of the next tag says where the data set begins.
///
/// `element` is given each header but that of the transfer syntax, with the length of its value, and takes or skips the value.
///
/// # Errors
/// When this is not a Part 10 object, or one whose transfer syntax is not understood.
pub fn read_file_meta(
    stream: &mut Stream<'_>,
    mut element: impl FnMut(&mut Stream<'_>, &Header, u64) -> Result<(), Error>,
) -> Result<Syntax, Error> {
    let missing =
        || Error::new("not-part-10", "there is no `DICM` at offset 128: not a DICOM Part 10 object");
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
            TRANSFER_SYNTAX => transfer_syntax = Some(stream.take_value(length)?),
            _ => element(stream, &header, length)?,
        }
    }
    let uid = transfer_syntax.ok_or_else(|| {
        Error::new("no-transfer-syntax", format!("the file meta information has no {TRANSFER_SYNTAX}"))
    })?;
    syntax::by_uid(trim(&uid))
}
