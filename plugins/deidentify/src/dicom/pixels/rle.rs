//! RLE Lossless (PS3.5 Annex G): a frame is up to fifteen segments, one for each octet of a sample, the most significant octet first; each
//! row of a segment is encoded by itself.

use super::layout::{Layout, Mask};

/// Octets of the header of a frame: the number of segments, and where each begins.
const HEADER_OCTETS: usize = 64;
/// Segments of a frame.
const SEGMENTS_MAX: usize = 15;
/// Octets of a segment, which is held in memory.
pub(super) const SEGMENT_OCTETS_MAX: usize = 8 << 20;

/// What is wrong with an encoded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A frame with what a mask covers replaced in each of its segments.
///
/// # Errors
/// Where the frame is not what its layout says.
pub(super) fn mask(frame: &[u8], layout: &Layout, mask: &Mask) -> Result<Vec<u8>, Malformed> {
    let octets = layout.plane_octets().filter(|octets| *octets <= SEGMENT_OCTETS_MAX);
    let octets = octets.ok_or(Malformed("a frame has more pixels than can be held"))?;
    let fills = layout.segment_fills();
    let mut masked = Writer::new(fills.len(), frame.len());
    for (segment, fill) in segments(frame, fills.len())?.into_iter().zip(fills) {
        let mut decoded = decode(segment, octets)?;
        for range in mask.ranges(layout.columns) {
            decoded[range].fill(fill);
        }
        masked.write(&decoded, layout.columns as usize)?;
    }
    Ok(masked.frame)
}

/// The segments of a frame, still encoded.
///
/// # Errors
/// Where the frame has another number of them.
pub(super) fn segments(frame: &[u8], count: usize) -> Result<Vec<&[u8]>, Malformed> {
    let header = frame.get(..HEADER_OCTETS).ok_or(Malformed("a frame is shorter than its header"))?;
    let number =
        |at: usize| u32::from_le_bytes(header[at * 4..at * 4 + 4].try_into().expect("four octets")) as usize;
    if number(0) != count || count > SEGMENTS_MAX {
        return Err(Malformed("a frame has another number of segments than its pixels need"));
    }
    let segment = |segment: usize| {
        let end = if segment == count { frame.len() } else { number(segment + 1) };
        let encoded = frame.get(number(segment)..end).filter(|_| number(segment) >= HEADER_OCTETS);
        encoded.ok_or(Malformed("a segment is not inside its frame"))
    };
    (1..=count).map(segment).collect()
}

/// A frame that is being written, padded to an even length segment by segment.
struct Writer {
    frame: Vec<u8>,
    written: usize,
}

impl Writer {
    fn new(segments: usize, octets: usize) -> Writer {
        debug_assert!(
            segments <= SEGMENTS_MAX,
            "a sample has at most four octets, and a pixel three samples"
        );
        let mut frame = Vec::with_capacity(octets + octets / 64);
        frame.resize(HEADER_OCTETS, 0);
        frame[0] = octet(segments);
        Writer { frame, written: 0 }
    }

    /// Writes a segment of rows.
    fn write(&mut self, segment: &[u8], row_octets: usize) -> Result<(), Malformed> {
        let start = u32::try_from(self.frame.len());
        let start = start.map_err(|_| Malformed("a frame is too long for the header of its segments"))?;
        self.written += 1;
        self.frame[self.written * 4..][..4].copy_from_slice(&start.to_le_bytes());
        for row in segment.chunks(row_octets) {
            encode_row(row, &mut self.frame);
        }
        if self.frame.len() % 2 == 1 {
            self.frame.push(0);
        }
        Ok(())
    }
}

/// Decodes `octets` octets (G.3.2).
pub(super) fn decode(mut encoded: &[u8], octets: usize) -> Result<Vec<u8>, Malformed> {
    let short = Malformed("a segment ends before its pixels do");
    let mut decoded = Vec::with_capacity(octets);
    while decoded.len() < octets {
        let (code, rest) = encoded.split_first().ok_or(short)?;
        encoded = rest;
        match *code {
            128 => {}
            0..=127 => {
                let (literal, rest) = encoded.split_at_checked(usize::from(*code) + 1).ok_or(short)?;
                decoded.extend_from_slice(literal);
                encoded = rest;
            }
            129..=255 => {
                let (octet, rest) = encoded.split_first().ok_or(short)?;
                decoded.resize(decoded.len() + 257 - usize::from(*code), *octet);
                encoded = rest;
            }
        }
    }
    if decoded.len() > octets || encoded.len() > 1 {
        return Err(Malformed("a segment is longer than its pixels"));
    }
    Ok(decoded)
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).expect("segments are at most 15, and runs and literals 128 octets")
}

/// Encodes a row: runs of three and more octets as such, what is between them as it is (G.3.1).
fn encode_row(row: &[u8], into: &mut Vec<u8>) {
    let mut rest = row;
    let mut literal = 0;
    while literal < rest.len() {
        let run = rest[literal..].iter().take(128).take_while(|octet| **octet == rest[literal]).count();
        let is_run = run >= 3 || run == 2 && literal == 0;
        if !is_run {
            literal += 1;
        }
        if literal == 128 || is_run || literal == rest.len() {
            if literal > 0 {
                into.push(octet(literal - 1));
                into.extend_from_slice(&rest[..literal]);
            }
            rest = &rest[literal..];
            literal = 0;
            if is_run {
                into.extend_from_slice(&[octet(257 - run), rest[0]]);
                rest = &rest[run..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_packbits_comes_out_as_everywhere() {
        let row = b"\xAA\xAA\xAA\x80\x00\x2A\xAA\xAA\xAA\xAA\x80\x00\x2A\x22\xAA\xAA\xAA\xAA\xAA\xAA\xAA\xAA\xAA\xAA";
        let mut encoded = Vec::new();
        encode_row(row, &mut encoded);
        let expected = b"\xFE\xAA\x02\x80\x00\x2A\xFD\xAA\x03\x80\x00\x2A\x22\xF7\xAA";
        assert_eq!(encoded, expected);
        assert_eq!(decode(&encoded, row.len()).unwrap(), row);
    }

    fn encode(decoded: &[Vec<u8>], row_octets: usize) -> Vec<u8> {
        let mut writer = Writer::new(decoded.len(), 0);
        for segment in decoded {
            writer.write(segment, row_octets).unwrap();
        }
        writer.frame
    }

    fn decode_all(frame: &[u8], count: usize, octets: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        segments(frame, count)?.into_iter().map(|segment| decode(segment, octets)).collect()
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let frame = encode(&[vec![7; 300], (0..=255).chain(0..44).collect()], 100);
        assert_eq!(decode_all(&frame, 2, 300).unwrap()[0], [7; 300]);
        assert!(decode_all(&frame, 1, 300).is_err());
        assert!(decode_all(&frame, 2, 299).is_err());
        assert!(decode_all(&frame, 2, 301).is_err());
        for end in 0..frame.len() - 2 {
            assert!(decode_all(&frame[..end], 2, 300).is_err(), "{end}");
        }
        let with = |at: usize, octets: &[u8]| {
            let mut frame = frame.clone();
            frame[at..at + octets.len()].copy_from_slice(octets);
            decode_all(&frame, 2, 300)
        };
        assert!(with(4, &[63]).is_err());
        assert!(with(4, &[255; 4]).is_err());
        assert!(with(8, &[255; 4]).is_err());
        assert!(with(8, &[64, 0, 0, 0]).is_err());
        assert!(decode_all(&[16; 64], 16, 1).is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(
            runs in prop::collection::vec((any::<u8>(), 1..400usize), 0..40),
            row_octets in 1..700usize,
            count in 1..=12usize,
        ) {
            let octets: Vec<u8> = runs.iter().flat_map(|(octet, count)| vec![*octet; *count]).collect();
            let frame = encode(&vec![octets.clone(); count], row_octets);
            prop_assert_eq!(frame.len() % 2, 0);
            prop_assert_eq!(decode_all(&frame, count, octets.len()).unwrap(), vec![octets; count]);
        }

        #[test]
        fn noise_does_not_grow_by_more_than_the_worst_case(
            octets in prop::collection::vec(any::<u8>(), 1..2000),
            few in prop::collection::vec(0..2u8, 1..2000),
        ) {
            for octets in [octets, few] {
                let mut encoded = Vec::new();
                encode_row(&octets, &mut encoded);
                prop_assert!(encoded.len() <= octets.len() + octets.len().div_ceil(128));
                prop_assert_eq!(decode(&encoded, octets.len()).unwrap(), octets);
            }
        }

        #[test]
        fn whatever_comes_is_decoded_or_refused(
            encoded in prop::collection::vec(any::<u8>(), 0..200),
            octets in 0..300usize,
        ) {
            if let Ok(decoded) = decode(&encoded, octets) {
                prop_assert_eq!(decoded.len(), octets);
            }
        }
    }
}
