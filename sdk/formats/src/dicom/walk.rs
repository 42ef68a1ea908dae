//! Passes over values, or passes them on as they are. A value of undefined length has to be walked to find its end.

use super::Error;
use super::element::{Encoding, Header, Tag, read_header, write_header, write_item};
use super::extent::{DEPTH_MAX, Extent};
use super::stream::Stream;
use super::vr::Vr;

/// From this size on a fragment is forwarded, and the header after it is read by itself.
const LARGE_FRAGMENT_OCTETS_MIN: u64 = 64 << 10;
/// How much is read at a time between such fragments, so that little of the next one is read after all.
const FRAGMENT_READ_OCTETS: usize = 64;

/// Passes over the value of a data element that lies within `extent`.
///
/// # Errors
/// When the value is not one that its header announces, or the object ends inside it.
#[inline]
pub fn skip_value(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    match header.defined_length() {
        Some(length) => stream.skip(length),
        None => Walk { stream, extent, copies: false }.value(header, encoding, depth),
    }
}

/// Passes on the value of a data element that lies within `extent`.
///
/// # Errors
/// As [`skip_value`].
pub fn copy_value(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    Walk { stream, extent, copies: true }.value(header, encoding, depth)
}

/// Passes on the header of a data element, and its value, which lies within `extent`.
///
/// # Errors
/// As [`skip_value`].
pub fn copy_element(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
    extent: Extent,
    depth: usize,
) -> Result<(), Error> {
    Walk { stream, extent, copies: true }.element(header, encoding, depth)
}

/// A walk over one value.
struct Walk<'s, 'p> {
    stream: &'s mut Stream<'p>,
    extent: Extent,
    /// Whether what is walked over is written.
    copies: bool,
}

impl Walk<'_, '_> {
    fn element(&mut self, header: &Header, encoding: Encoding, depth: usize) -> Result<(), Error> {
        if self.copies {
            write_header(self.stream, encoding, header.tag, header.vr.unwrap_or(Vr::UN), header.length)?;
        }
        self.value(header, encoding, depth)
    }

    fn value(&mut self, header: &Header, encoding: Encoding, depth: usize) -> Result<(), Error> {
        if let Some(length) = header.defined_length() {
            return self.octets(length);
        }
        match header.vr {
            _ if header.tag == Tag::PIXEL_DATA => self.fragments(encoding),
            Some(Vr::OB | Vr::OW) => self.fragments(encoding),
            None | Some(Vr::SQ) => self.items(header, encoding, depth),
            // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
            Some(Vr::UN) => self.items(header, Encoding::IMPLICIT_LITTLE, depth),
            Some(_) => {
                let what = "only sequences and pixel data may be of undefined length";
                Err(header.refuse("undefined-length", what))
            }
        }
    }

    fn items(&mut self, of: &Header, encoding: Encoding, depth: usize) -> Result<(), Error> {
        if depth >= DEPTH_MAX {
            return Err(of.refuse("too-deep", "sequences are nested too deeply"));
        }
        loop {
            let item = self.item(encoding)?;
            match (item.tag, item.defined_length()) {
                (Tag::SEQUENCE_DELIMITATION, Some(0)) => return Ok(()),
                (Tag::ITEM, Some(length)) => self.octets(length)?,
                (Tag::ITEM, None) => self.elements(encoding, depth + 1)?,
                _ => {
                    let what = "an item or the end of the sequence was expected";
                    return Err(item.refuse("malformed-sequence", what));
                }
            }
        }
    }

    fn elements(&mut self, encoding: Encoding, depth: usize) -> Result<(), Error> {
        loop {
            let header = read_header(self.stream, encoding)?;
            self.extent.check(&header, self.stream)?;
            match (header.tag, header.length) {
                (Tag::ITEM_DELIMITATION, 0) => return self.write_item(&header, encoding),
                (tag, _) if tag.group() == 0xFFFE => {
                    let what = "an item has to end before another begins";
                    return Err(header.refuse("malformed-sequence", what));
                }
                _ => self.element(&header, encoding, depth)?,
            }
        }
    }

    fn fragments(&mut self, encoding: Encoding) -> Result<(), Error> {
        loop {
            let item = self.item(encoding)?;
            match (item.tag, item.defined_length()) {
                (Tag::SEQUENCE_DELIMITATION, Some(0)) => break,
                (Tag::ITEM, Some(length)) => {
                    let large = self.copies && length >= LARGE_FRAGMENT_OCTETS_MIN;
                    self.stream.read_at_a_time(large.then_some(FRAGMENT_READ_OCTETS));
                    self.octets(length)?;
                }
                _ => {
                    let what = "a fragment or the end of the fragments was expected";
                    return Err(item.refuse("malformed-fragments", what));
                }
            }
        }
        self.stream.read_at_a_time(None);
        Ok(())
    }

    /// The header of an item, or of what ends the items.
    fn item(&mut self, encoding: Encoding) -> Result<Header, Error> {
        let item = read_header(self.stream, encoding)?;
        self.extent.check(&item, self.stream)?;
        self.write_item(&item, encoding)?;
        Ok(item)
    }

    fn write_item(&mut self, item: &Header, encoding: Encoding) -> Result<(), Error> {
        if self.copies { write_item(self.stream, encoding, item.tag, item.length) } else { Ok(()) }
    }

    fn octets(&mut self, n: u64) -> Result<(), Error> {
        if self.copies { self.stream.copy(n) } else { self.stream.skip(n) }
    }
}
