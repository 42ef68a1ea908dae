//! Masks encapsulated pixel data (PS3.5 A.4): frame by frame, each decoded, covered and encoded again.
//!
//! Frames change their length, so no offset table of the input is true any more. It is held against where the frames are, because two
//! readers that disagree would show two images; then the frames are written with an empty one, a fragment for each. Frames that are only
//! looked at keep theirs.

use hilum_formats::dicom::{
    Encoding, Error, Extent, Header, Stream, Tag, UNDEFINED, Vr, read_header, write_header, write_item,
};

/// Octets of an encoded frame, which is held in memory.
const FRAME_OCTETS_MAX: u64 = 8 << 20;
/// Octets of an offset table: a hundred thousand frames.
const OFFSETS_OCTETS_MAX: u64 = 1 << 20;
/// How much is read at a time.
const PIECE_OCTETS: u64 = 64 << 10;
/// The code of refusals about what holds the frames.
const MALFORMED: &str = "malformed-fragments";

/// Where frames begin and how long they are, as an Extended Offset Table (7FE0,0001) and its lengths (7FE0,0002) say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExtendedOffsets {
    pub(super) offsets: Option<Vec<u64>>,
    pub(super) lengths: Option<Vec<u64>>,
}

/// Frames that are being read from fragments.
pub(super) struct Frames<'o> {
    encoding: Encoding,
    extent: Extent,
    count: u64,
    /// Each frame has to be one fragment (RLE, PS3.5 section 8.2.2).
    single: bool,
    /// Where frames begin, if a table says it.
    starts: Option<Vec<u64>>,
    lengths: Option<&'o [u64]>,
    /// Of the first fragment.
    origin: u64,
    /// How many frames have begun.
    begun: usize,
    /// The fragment that begins the next frame.
    next: Option<Header>,
}

/// The numbers of a value of 64-bit integers.
pub(super) fn read_offsets(
    stream: &mut Stream<'_>,
    header: &Header,
    encoding: Encoding,
) -> Result<Vec<u64>, Error> {
    let octets = read_value(stream, header, OFFSETS_OCTETS_MAX)?;
    if octets.len() % 8 != 0 {
        return Err(header.refuse(MALFORMED, "an offset has eight octets"));
    }
    let number = |octets: &[u8]| {
        let octets = octets.try_into().expect("eight octets");
        if encoding.big_endian { u64::from_be_bytes(octets) } else { u64::from_le_bytes(octets) }
    };
    Ok(octets.chunks(8).map(number).collect())
}

impl<'o> Frames<'o> {
    /// Begins to read the frames of pixel data, whose header was read, and to write them.
    pub(super) fn begin(
        stream: &mut Stream<'_>,
        header: &Header,
        (encoding, extent): (Encoding, Extent),
        (count, single): (u64, bool),
        extended: &'o ExtendedOffsets,
        keeps_table: bool,
    ) -> Result<Frames<'o>, Error> {
        let item = read_header(stream, encoding)?;
        extent.check(&item, stream)?;
        if item.tag != Tag::ITEM || item.length == UNDEFINED || item.length % 4 != 0 {
            return Err(item.refuse(MALFORMED, "a basic offset table was expected"));
        }
        let table = read_value(stream, &item, OFFSETS_OCTETS_MAX)?;
        let basic: Vec<u64> = table
            .chunks(4)
            .map(|octets| u32::from_le_bytes(octets.try_into().expect("four octets")).into())
            .collect();
        let starts = match (&extended.offsets, basic.is_empty()) {
            (Some(_), false) => {
                return Err(header.refuse(MALFORMED, "there are two offset tables"));
            }
            (Some(offsets), true) => Some(offsets.clone()),
            (None, false) => Some(basic),
            (None, true) => None,
        };
        let wrong = |numbers: &[u64]| numbers.len() as u64 != count;
        let lengths = extended.lengths.as_deref();
        if starts.as_deref().is_some_and(wrong)
            || lengths.is_some_and(wrong)
            || extended.offsets.is_some() != lengths.is_some()
        {
            return Err(header.refuse(MALFORMED, "an offset table has another number of frames"));
        }
        write_header(stream, encoding, header.tag, Vr::OB, UNDEFINED)?;
        write_item(stream, encoding, Tag::ITEM, if keeps_table { item.length } else { 0 })?;
        if keeps_table {
            stream.write(&table)?;
        }
        let origin = stream.offset();
        let mut frames =
            Frames { encoding, extent, count, single, starts, lengths, origin, begun: 0, next: None };
        frames.next = frames.fragment(stream)?;
        Ok(frames)
    }

    /// The next frame; none after the last one.
    pub(super) fn next(&mut self, stream: &mut Stream<'_>) -> Result<Option<Vec<u8>>, Error> {
        let Some(first) = self.next.take() else { return Ok(None) };
        self.check_start(&first)?;
        let mut frame = read_value(stream, &first, FRAME_OCTETS_MAX)?;
        let mut fragments = 1;
        while let Some(fragment) = self.fragment(stream)? {
            if self.begins_frame(&fragment) {
                self.next = Some(fragment);
                break;
            }
            fragments += 1;
            if frame.len() as u64 + u64::from(fragment.length) > FRAME_OCTETS_MAX {
                return Err(too_large(&fragment, FRAME_OCTETS_MAX));
            }
            frame.extend_from_slice(&read_value(stream, &fragment, FRAME_OCTETS_MAX)?);
        }
        let length = self.lengths.map(|lengths| lengths[self.begun - 1]);
        let octets = frame.len() as u64;
        let is_length = |length: u64| {
            fragments == 1 && (length == octets || length + 1 == octets && octets.is_multiple_of(2))
        };
        if !length.is_none_or(is_length) {
            return Err(first.refuse(MALFORMED, "a frame has another length than the offset table says"));
        }
        Ok(Some(frame))
    }

    /// Writes a frame as one fragment.
    pub(super) fn write(&self, stream: &mut Stream<'_>, frame: &[u8]) -> Result<(), Error> {
        let odd = frame.len() % 2;
        let length = u32::try_from(frame.len() + odd).ok().filter(|length| *length != UNDEFINED);
        let length = length.ok_or_else(|| Error {
            code: "value-too-long",
            reason: "an encoded frame is too long for a fragment".into(),
        })?;
        write_item(stream, self.encoding, Tag::ITEM, length)?;
        stream.write(frame)?;
        stream.write(&[0][..odd])
    }

    /// Ends the pixel data, after the last frame.
    pub(super) fn end(self, stream: &mut Stream<'_>, header: &Header) -> Result<(), Error> {
        if self.begun as u64 != self.count {
            return Err(header.refuse(MALFORMED, "there are fewer frames than the object says"));
        }
        write_item(stream, self.encoding, Tag::SEQUENCE_DELIMITATION, 0)
    }

    /// Whether a fragment is the beginning of another frame than the one before it.
    fn begins_frame(&self, fragment: &Header) -> bool {
        match &self.starts {
            _ if self.single => true,
            None => self.count > 1,
            Some(starts) => {
                starts.get(self.begun).is_some_and(|start| self.origin + start <= fragment.offset)
            }
        }
    }

    /// Holds the beginning of a frame against what the offset table says.
    fn check_start(&mut self, fragment: &Header) -> Result<(), Error> {
        if self.begun as u64 == self.count {
            return Err(fragment.refuse(MALFORMED, "there are more frames than the object says"));
        }
        let start = self.starts.as_ref().map(|starts| starts[self.begun]);
        if start.is_some_and(|start| start != fragment.offset - self.origin) {
            return Err(fragment.refuse(MALFORMED, "a frame is not where the offset table says"));
        }
        self.begun += 1;
        Ok(())
    }

    /// The header of the next fragment; none at the end of the sequence.
    fn fragment(&self, stream: &mut Stream<'_>) -> Result<Option<Header>, Error> {
        let item = read_header(stream, self.encoding)?;
        self.extent.check(&item, stream)?;
        match (item.tag, item.defined_length()) {
            (Tag::SEQUENCE_DELIMITATION, Some(0)) => Ok(None),
            (Tag::ITEM, Some(length)) if length % 2 == 0 => Ok(Some(item)),
            _ => Err(item.refuse(MALFORMED, "an even fragment was expected")),
        }
    }
}

/// A value that is longer than others that are read.
fn read_value(stream: &mut Stream<'_>, header: &Header, octets_max: u64) -> Result<Vec<u8>, Error> {
    let length = u64::from(header.length);
    if length > octets_max {
        return Err(too_large(header, octets_max));
    }
    // Not before it is there: a length costs nothing to claim.
    let mut value = Vec::new();
    let mut left = length;
    while left > 0 {
        let piece = left.min(PIECE_OCTETS);
        value.extend_from_slice(&stream.take_value(piece)?);
        left -= piece;
    }
    Ok(value)
}

fn too_large(header: &Header, octets_max: u64) -> Error {
    header.refuse("too-large", &format!("a frame or table of over {octets_max} octets has to be read"))
}
