//! Data sets in memory, for objects that are small enough to be held: structured reports, worklists, presentation states.

use std::collections::BTreeMap;

use super::element::{Encoding, Header, Tag, read_header};
use super::extent::{DEPTH_MAX, Extent, check_place};
use super::meta::read_file_meta;
use super::pipe::MemoryPipe;
use super::stream::{Stream, VALUE_OCTETS_MAX};
use super::vr::Vr;
use super::{Error, skip_value, trim};

/// Data elements of one object, at every depth together.
pub const ELEMENTS_MAX: usize = 100_000;

/// Data elements by tag. Values over [`VALUE_OCTETS_MAX`] and pixel data are left out.
#[derive(Clone, Debug, Default)]
pub struct DataSet {
    values: BTreeMap<Tag, Vec<u8>>,
    sequences: BTreeMap<Tag, Vec<DataSet>>,
}

impl DataSet {
    /// Reads a Part 10 object. Implicit VR does not say which values are sequences: those of the tags in `sequences` are
    /// read as such.
    ///
    /// # Errors
    /// When this is not a Part 10 object from its beginning to its end.
    pub fn parse(object: &[u8], sequences: &[Tag]) -> Result<DataSet, Error> {
        let mut pipe = MemoryPipe::new(object);
        let mut stream = Stream::new(&mut pipe);
        let syntax = read_file_meta(&mut stream, |stream, _, length| stream.skip(length))?;
        if syntax.deflated {
            stream.inflate();
        }
        let mut reader = Reader { stream: &mut stream, sequences, elements: 0 };
        let whole = Extent { end: u64::MAX, delimited: false };
        reader.data_set(syntax.encoding, whole, 0)
    }

    /// The value of a tag as text, without its padding; none if it is not there or not UTF-8.
    pub fn text(&self, tag: Tag) -> Option<&str> {
        std::str::from_utf8(trim(self.values.get(&tag)?)).ok()
    }

    /// The value of a tag as it stands.
    pub fn octets(&self, tag: Tag) -> Option<&[u8]> {
        self.values.get(&tag).map(Vec::as_slice)
    }

    /// The items of a sequence; none if it is not there.
    pub fn items(&self, tag: Tag) -> &[DataSet] {
        self.sequences.get(&tag).map_or(&[], Vec::as_slice)
    }
}

struct Reader<'s, 'p> {
    stream: &'s mut Stream<'p>,
    sequences: &'s [Tag],
    elements: usize,
}

impl Reader<'_, '_> {
    fn data_set(&mut self, encoding: Encoding, extent: Extent, depth: usize) -> Result<DataSet, Error> {
        let mut read = DataSet::default();
        let mut last = None;
        let top = depth == 0;
        loop {
            let ends = if top { self.stream.at_end()? } else { self.stream.offset() == extent.end };
            if ends && !extent.delimited {
                return Ok(read);
            }
            let header = read_header(self.stream, encoding)?;
            extent.check(&header, self.stream)?;
            if extent.delimited && header.tag == Tag::ITEM_DELIMITATION && header.length == 0 {
                return Ok(read);
            }
            check_place(&header, &mut last)?;
            self.elements += 1;
            if self.elements > ELEMENTS_MAX {
                return Err(header.refuse("too-large", "there are too many data elements to be held"));
            }
            self.element(&mut read, &header, encoding, extent, depth)?;
        }
    }

    fn element(
        &mut self,
        into: &mut DataSet,
        header: &Header,
        encoding: Encoding,
        extent: Extent,
        depth: usize,
    ) -> Result<(), Error> {
        let named = self.sequences.contains(&header.tag);
        let is_sequence = header.vr == Some(Vr::SQ) || (named && matches!(header.vr, None | Some(Vr::UN)));
        match header.defined_length() {
            _ if is_sequence => {
                let items = self.items(header, encoding, extent, depth)?;
                into.sequences.insert(header.tag, items);
                Ok(())
            }
            Some(length) if length <= VALUE_OCTETS_MAX && header.tag != Tag::PIXEL_DATA => {
                into.values.insert(header.tag, self.stream.take_value(length)?);
                Ok(())
            }
            _ => skip_value(self.stream, header, encoding, extent, depth),
        }
    }

    fn items(
        &mut self,
        of: &Header,
        encoding: Encoding,
        extent: Extent,
        depth: usize,
    ) -> Result<Vec<DataSet>, Error> {
        if depth >= DEPTH_MAX {
            return Err(of.refuse("too-deep", "sequences are nested too deeply"));
        }
        // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
        let inner = if of.vr == Some(Vr::UN) { Encoding::IMPLICIT_LITTLE } else { encoding };
        let end = of.defined_length().map(|length| self.stream.offset() + length);
        let within = Extent { end: end.unwrap_or(extent.end), delimited: end.is_none() };
        let mut items = Vec::new();
        while within.delimited || self.stream.offset() != within.end {
            let item = read_header(self.stream, inner)?;
            within.check(&item, self.stream)?;
            match item.tag {
                Tag::ITEM => {}
                Tag::SEQUENCE_DELIMITATION if within.delimited && item.length == 0 => break,
                _ => {
                    return Err(
                        item.refuse("malformed-sequence", "an item or the end of the sequence was expected")
                    );
                }
            }
            self.elements += 1;
            if self.elements > ELEMENTS_MAX {
                return Err(item.refuse("too-large", "there are too many items to be held"));
            }
            let end = item.defined_length().map(|length| self.stream.offset() + length);
            let extent = Extent { end: end.unwrap_or(within.end), delimited: end.is_none() };
            items.push(self.data_set(inner, extent, depth + 1)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::build::{BIG_ENDIAN, EXPLICIT, Elements, Ends, IMPLICIT};

    const CODES: Tag = Tag(0x0040_A043);

    #[test]
    fn nested_items_are_read_under_each_encoding() {
        for (syntax, encoding) in [
            (IMPLICIT, Encoding::IMPLICIT_LITTLE),
            (EXPLICIT, Encoding::EXPLICIT_LITTLE),
            (BIG_ENDIAN, Encoding::EXPLICIT_BIG),
        ] {
            for ends in [Ends::Length, Ends::Delimiter] {
                let code = Elements::new(encoding).text(0x0008_0100, "SH", "113838");
                let object = Elements::image(encoding)
                    .text(0x0010_0020, "LO", "4711")
                    .sequence(CODES.0, &[code.clone(), code], ends)
                    .value(0x7FE0_0010, "OW", &[0; 8])
                    .part_10(syntax);
                let read = DataSet::parse(&object, &[CODES]).unwrap();
                assert_eq!(read.text(Tag(0x0010_0020)), Some("4711"));
                assert_eq!(read.items(CODES).len(), 2);
                assert_eq!(read.items(CODES)[1].text(Tag(0x0008_0100)), Some("113838"));
                assert!(read.octets(Tag::PIXEL_DATA).is_none());
                assert_eq!(
                    DataSet::parse(&object[..object.len() - 3], &[CODES]).unwrap_err().code,
                    "truncated"
                );
            }
        }
    }
}
