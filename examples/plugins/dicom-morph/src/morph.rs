//! Goes through one object: holds the data elements up to the last one that a rule names, lets the rules change those, and passes
//! on all others as they come.

use hilum_formats::dicom::{
    EXPLICIT_VR_LITTLE_ENDIAN, Encoding, Error, Extent, PREAMBLE_OCTETS, Pipe, Stream, TRANSFER_SYNTAX, Tag,
    Vr, check_place, copy_element, copy_value, read_file_meta, read_header, write_element,
};

use crate::held::{Element, Held, Room};
use crate::settings::Rule;

/// Octets of the data elements that are held.
const HELD_OCTETS_MAX: usize = 4 << 20;
/// Octets of the file meta information.
const META_OCTETS_MAX: u64 = 64 << 10;
const GROUP_LENGTH: Tag = Tag(0x0002_0000);

/// A data set to the end of the object.
const WHOLE: Extent = Extent { end: u64::MAX, delimited: false };

/// Reads an object and writes it with the rules' changes; whether there were any. Without, what was written is no object.
///
/// # Errors
///
/// What cannot be parsed or does not fit is refused.
pub(crate) fn morph(pipe: &mut dyn Pipe, rules: &[&Rule]) -> Result<bool, Error> {
    let mut stream = Stream::new(pipe);
    let mut meta = Meta::read(&mut stream)?;
    let encoding = meta.encoding;
    let last_named = rules.iter().flat_map(|rule| rule.paths()).map(|path| path.last()).max();
    let mut last = None;
    let mut room = Room::default();
    let mut held = hold(&mut stream, encoding, last_named.unwrap_or(Tag(0)), &mut last, &mut room)?;
    // Conditions look at the object as it came, so all are asked before anything is changed.
    let mut acting = Vec::new();
    for rule in rules {
        if rule.when.holds(&mut held, &mut room)? {
            acting.push(rule);
        }
    }
    acting.iter().try_for_each(|rule| rule.apply(&mut held, &mut room))?;
    if !held.changed {
        return Ok(false);
    }
    meta.write(&mut stream)?;
    held.write(&mut stream)?;
    while !stream.at_end()? {
        let header = read_header(&mut stream, encoding)?;
        check_place(&header, &mut last)?;
        copy_element(&mut stream, &header, encoding, WHOLE, 0)?;
    }
    stream.finish()?;
    Ok(true)
}

/// Takes the data elements up to a tag.
fn hold(
    stream: &mut Stream<'_>,
    encoding: Encoding,
    up_to: Tag,
    last: &mut Option<Tag>,
    room: &mut Room,
) -> Result<Held, Error> {
    let mut held = Held::new(encoding);
    let mut left = HELD_OCTETS_MAX;
    while let Some(octets) = stream.peek::<4>()? {
        if encoding.tag(octets) > up_to {
            break;
        }
        let header = read_header(stream, encoding)?;
        check_place(&header, last)?;
        stream.hold(left);
        copy_value(stream, &header, encoding, WHOLE, 0)?;
        let value = stream.release();
        left -= value.len();
        room.element(1)?;
        held.push(header.tag, Element { vr: header.vr, length: header.length, value });
    }
    Ok(held)
}

/// The file meta information, which goes on as it came.
struct Meta {
    preamble: [u8; PREAMBLE_OCTETS],
    elements: Vec<(Tag, Vr, Vec<u8>)>,
    encoding: Encoding,
    transfer_syntax: &'static str,
}

impl Meta {
    fn read(stream: &mut Stream<'_>) -> Result<Self, Error> {
        let preamble = stream.peek::<PREAMBLE_OCTETS>()?.unwrap_or([0; PREAMBLE_OCTETS]);
        let mut elements = Vec::new();
        let mut left = META_OCTETS_MAX;
        let syntax = read_file_meta(stream, |stream, header, length| {
            left = left.checked_sub(length).ok_or_else(|| {
                Error::new("too-large", "the file meta information is larger than any that makes sense")
            })?;
            let value = stream.take_value(length)?;
            if header.tag != GROUP_LENGTH {
                elements.push((header.tag, header.vr.unwrap_or(Vr::UN), value));
            }
            Ok(())
        })?;
        if syntax.deflated {
            stream.inflate();
        }
        let transfer_syntax = syntax.written_as();
        debug_assert!(!syntax.deflated || transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN);
        Ok(Self { preamble, elements, encoding: syntax.encoding, transfer_syntax })
    }

    /// Writes it, with the length that the group has and the transfer syntax in its place.
    fn write(&mut self, stream: &mut Stream<'_>) -> Result<(), Error> {
        let place = self.elements.partition_point(|(tag, _, _)| *tag < TRANSFER_SYNTAX);
        let transfer_syntax = self.transfer_syntax.as_bytes().to_vec();
        self.elements.insert(place, (TRANSFER_SYNTAX, Vr::UI, transfer_syntax));
        let size = |(_, vr, value): &(Tag, Vr, Vec<u8>)| {
            let header = if vr.has_long_length() { 12 } else { 8 };
            header + value.len() + value.len() % 2
        };
        let length: usize = self.elements.iter().map(size).sum();
        let length = u32::try_from(length).expect("the values are bounded");
        stream.write(&self.preamble)?;
        stream.write(b"DICM")?;
        let encoding = Encoding::EXPLICIT_LITTLE;
        write_element(stream, encoding, GROUP_LENGTH, Vr::UL, &length.to_le_bytes())?;
        for (tag, vr, value) in &self.elements {
            write_element(stream, encoding, *tag, *vr, value)?;
        }
        Ok(())
    }
}
