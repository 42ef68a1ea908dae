//! Passes values on as they are. A value of undefined length has to be walked to find its end.

use super::Error;
use super::element::{Encoding, Header, Tag, read_header, write_header, write_item};
use super::extent::{DEPTH_MAX, Extent};
use super::stream::Stream;
use super::vr::Vr;

/// From this size on a fragment is forwarded, and the header after it is read by itself.
const LARGE_FRAGMENT_OCTETS_MIN: u64 = 64 << 10;
/// How much is read at a time between such fragments, so that little of the next one is read after all.
const FRAGMENT_READ_OCTETS: usize = 64;

/// Passes on the header of a data element, and its value, which lies within `extent`.
///
/// # Errors
/// When the value is not one that its header announces, or the object ends inside it.
pub fn element(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    write_header(stream, encoding, header.tag, header.vr.unwrap_or(Vr::UN), header.length)?;
    value(stream, header, encoding, extent, depth)
}

/// Passes on the value alone.
///
/// # Errors
/// As [`element`].
pub fn value(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    if let Some(length) = header.defined_length() {
        return stream.copy(length);
    }
    match header.vr {
        _ if header.tag == Tag::PIXEL_DATA => fragments(stream, encoding, extent),
        None | Some(Vr::SQ) => items(stream, header, encoding, extent, depth),
        // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
        Some(Vr::UN) => items(stream, header, Encoding::IMPLICIT_LITTLE, extent, depth),
        Some(_) => {
            Err(header.refuse("undefined-length", "only sequences and pixel data may be of undefined length"))
        }
    }
}

fn items(
    stream: &mut Stream<'_>,
    of: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    if depth >= DEPTH_MAX {
        return Err(of.refuse("too-deep", "sequences are nested too deeply"));
    }
    loop {
        let item = read_header(stream, encoding)?;
        extent.check(&item, stream)?;
        match (item.tag, item.defined_length()) {
            (Tag::SEQUENCE_DELIMITATION, Some(0)) => {
                return write_item(stream, encoding, item.tag, 0);
            }
            (Tag::ITEM, Some(length)) => {
                write_item(stream, encoding, item.tag, item.length)?;
                stream.copy(length)?;
            }
            (Tag::ITEM, None) => {
                write_item(stream, encoding, item.tag, item.length)?;
                elements(stream, encoding, extent, depth + 1)?;
            }
            _ => {
                return Err(
                    item.refuse("malformed-sequence", "an item or the end of the sequence was expected")
                );
            }
        }
    }
}

fn elements(stream: &mut Stream<'_>, encoding: Encoding, extent: Extent, depth: usize) -> Result<(), Error> {
    loop {
        let header = read_header(stream, encoding)?;
        extent.check(&header, stream)?;
        match (header.tag, header.length) {
            (Tag::ITEM_DELIMITATION, 0) => return write_item(stream, encoding, header.tag, 0),
            (tag, _) if tag.group() == 0xFFFE => {
                return Err(header.refuse("malformed-sequence", "an item has to end before another begins"));
            }
            _ => element(stream, &header, encoding, extent, depth)?,
        }
    }
}

fn fragments(stream: &mut Stream<'_>, encoding: Encoding, extent: Extent) -> Result<(), Error> {
    loop {
        let item = read_header(stream, encoding)?;
        extent.check(&item, stream)?;
        match (item.tag, item.defined_length()) {
            (Tag::SEQUENCE_DELIMITATION, Some(0)) => break,
            (Tag::ITEM, Some(length)) => {
                write_item(stream, encoding, Tag::ITEM, item.length)?;
                let large = length >= LARGE_FRAGMENT_OCTETS_MIN;
                stream.read_at_a_time(large.then_some(FRAGMENT_READ_OCTETS));
                stream.copy(length)?;
            }
            _ => {
                return Err(
                    item.refuse("malformed-fragments", "a fragment or the end of the fragments was expected")
                );
            }
        }
    }
    stream.read_at_a_time(None);
    write_item(stream, encoding, Tag::SEQUENCE_DELIMITATION, 0)
}
