//! What is in a sequence (PS3.5 section 7.5): its items, each with data elements that rules see and change.

use hilum_formats::dicom::{
    Encoding, Error, Extent, MemoryPipe, Stream, Tag, UNDEFINED, Vr, check_place, copy_value, read_header,
    write_item,
};

use crate::held::{Element, Held, NOT_A_SEQUENCE, Room};
use crate::name::TagName;

/// A sequence that was opened.
#[derive(Debug)]
pub(crate) struct Sequence {
    encoding: Encoding,
    /// Whether it ends with a delimitation item rather than by its length.
    delimited: bool,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    delimited: bool,
    held: Held,
}

impl Sequence {
    /// Takes the items out of a value. Under an implicit encoding nothing says that it has some, but that a rule takes it so.
    ///
    /// # Errors
    ///
    /// [`NOT_A_SEQUENCE`], or what is wrong with it.
    pub(crate) fn parse(
        of: &Element,
        encoding: Encoding,
        name: &TagName,
        room: &mut Room,
    ) -> Result<Self, Error> {
        let delimited = of.length == UNDEFINED;
        let encoding = match of.vr {
            None | Some(Vr::SQ) => encoding,
            // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
            Some(Vr::UN) if delimited => Encoding::IMPLICIT_LITTLE,
            Some(_) => return Err(Error::new(NOT_A_SEQUENCE, format!("{name} is no sequence"))),
        };
        let within = |Error { code, reason }| {
            Error::new(code, format!("in the value of {name}, counted from its beginning: {reason}"))
        };
        let items = items(of, delimited, encoding, room).map_err(within)?;
        Ok(Self { encoding, delimited, items })
    }

    /// What its items hold, in order.
    pub(crate) fn items(&mut self) -> impl Iterator<Item = &mut Held> {
        self.items.iter_mut().map(|item| &mut item.held)
    }

    /// Whether any item was changed.
    pub(crate) fn is_changed(&self) -> bool {
        self.items.iter().any(|item| item.held.changed)
    }

    /// Its length and its value, as they are now. What ended with a delimitation item still does.
    ///
    /// # Errors
    ///
    /// When it is too long to be written.
    pub(crate) fn written(&self) -> Result<(u32, Vec<u8>), Error> {
        let mut pipe = MemoryPipe::new(&[]);
        let mut stream = Stream::new(&mut pipe);
        for Item { delimited, held } in &self.items {
            let mut inner = MemoryPipe::new(&[]);
            let mut octets = Stream::new(&mut inner);
            held.write(&mut octets)?;
            octets.finish()?;
            let octets = inner.into_output();
            write_item(&mut stream, self.encoding, Tag::ITEM, length(*delimited, &octets)?)?;
            stream.write(&octets)?;
            if *delimited {
                write_item(&mut stream, self.encoding, Tag::ITEM_DELIMITATION, 0)?;
            }
        }
        if self.delimited {
            write_item(&mut stream, self.encoding, Tag::SEQUENCE_DELIMITATION, 0)?;
        }
        stream.finish()?;
        let value = pipe.into_output();
        Ok((length(self.delimited, &value)?, value))
    }
}

fn length(delimited: bool, octets: &[u8]) -> Result<u32, Error> {
    if delimited {
        return Ok(UNDEFINED);
    }
    let length = u32::try_from(octets.len()).ok().filter(|length| *length != UNDEFINED);
    length.ok_or_else(|| Error::new("too-large", "a sequence would be too long to be written"))
}

fn items(of: &Element, delimited: bool, encoding: Encoding, room: &mut Room) -> Result<Vec<Item>, Error> {
    let mut pipe = MemoryPipe::new(&of.value);
    let mut stream = Stream::new(&mut pipe);
    let whole = Extent { end: of.value.len() as u64, delimited };
    let mut items = Vec::new();
    while delimited || stream.offset() != whole.end {
        let header = read_header(&mut stream, encoding)?;
        whole.check(&header, &stream)?;
        match (header.tag, header.defined_length()) {
            (Tag::SEQUENCE_DELIMITATION, Some(0)) if delimited => break,
            (Tag::ITEM, length) => {
                room.element(1)?;
                let end = length.map_or(whole.end, |length| stream.offset() + length);
                let extent = Extent { end, delimited: length.is_none() };
                let held = data_set(&mut stream, encoding, extent, room)?;
                items.push(Item { delimited: extent.delimited, held });
            }
            _ => {
                return Err(
                    header.refuse("malformed-sequence", "an item or the end of the sequence was expected")
                );
            }
        }
    }
    Ok(items)
}

/// The data elements of one item.
fn data_set(
    stream: &mut Stream<'_>,
    encoding: Encoding,
    extent: Extent,
    room: &mut Room,
) -> Result<Held, Error> {
    let mut held = Held::new(encoding);
    let mut last = None;
    while extent.delimited || stream.offset() != extent.end {
        let header = read_header(stream, encoding)?;
        extent.check(&header, stream)?;
        if extent.delimited && header.tag == Tag::ITEM_DELIMITATION && header.length == 0 {
            break;
        }
        check_place(&header, &mut last)?;
        room.element(1)?;
        // It is in memory already, so there is no more of it than was let in.
        stream.hold(usize::MAX);
        copy_value(stream, &header, encoding, extent, 1)?;
        let value = stream.release();
        held.push(header.tag, Element { vr: header.vr, length: header.length, value });
    }
    Ok(held)
}
