//! Passes over values that are removed. A value of undefined length has to be walked to find its end; nothing here can
//! write.

use super::Error;
use super::element::{Encoding, Header, Tag, read_header};
use super::extent::{DEPTH_MAX, Extent};
use super::stream::Stream;
use super::vr::Vr;

/// Passes over the value of a data element that lies within `extent`.
pub fn value(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    if let Some(length) = header.defined_length() {
        return stream.skip(length);
    }
    match header.vr {
        None | Some(Vr::SQ) => items(stream, header, encoding, extent, depth),
        // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
        Some(Vr::UN) => items(stream, header, Encoding::IMPLICIT_LITTLE, extent, depth),
        Some(Vr::OB | Vr::OW) => fragments(stream, encoding, extent),
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
            (Tag::SEQUENCE_DELIMITATION, Some(0)) => return Ok(()),
            (Tag::ITEM, Some(length)) => stream.skip(length)?,
            (Tag::ITEM, None) => elements(stream, encoding, extent, depth + 1)?,
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
            (Tag::ITEM_DELIMITATION, 0) => return Ok(()),
            (tag, _) if tag.group() == 0xFFFE => {
                return Err(header.refuse("malformed-sequence", "an item has to end before another begins"));
            }
            _ => value(stream, &header, encoding, extent, depth)?,
        }
    }
}

fn fragments(stream: &mut Stream<'_>, encoding: Encoding, extent: Extent) -> Result<(), Error> {
    loop {
        let item = read_header(stream, encoding)?;
        extent.check(&item, stream)?;
        match (item.tag, item.defined_length()) {
            (Tag::SEQUENCE_DELIMITATION, Some(0)) => return Ok(()),
            (Tag::ITEM, Some(length)) => stream.skip(length)?,
            _ => {
                return Err(
                    item.refuse("malformed-sequence", "a fragment or the end of the fragments was expected")
                );
            }
        }
    }
}
