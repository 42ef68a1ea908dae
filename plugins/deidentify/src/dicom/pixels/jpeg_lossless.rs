//! JPEG Lossless (ITU-T T.81 Annex H, processes 14 with any selection value; PS3.5 section 8.2.1): samples are predicted from their neighbours, and
//! what is left is Huffman coded. There is no well-kept library in Rust that also writes it, and it is small.
//!
//! Of what the standard allows, one scan of one or three components that are not subsampled is read, as all writers of DICOM make it. Written is
//! selection value 1 and one table for all images. Comments and application segments, which may hold text, are left out.

use std::borrow::Cow;

use super::codec::{Coded, Malformed};
use super::jpeg_segments::{self, Segment, frame_header};
use super::layout::{Layout, Mask};

/// How many bits the codes of the categories 0 to 16 that are written have: an image of any kind is neither best nor worst off.
const WRITTEN_LENGTHS: [u8; 17] = [3, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    precision: u8,
    rows: usize,
    columns: usize,
    /// The identifiers of the components.
    components: Vec<u8>,
    /// Pixel after pixel.
    samples: Vec<u16>,
}

impl Coded for Frame {
    fn decode(encoded: &[u8], layout: &Layout) -> Result<Frame, Malformed> {
        Decoder::default().frame(encoded, layout)
    }

    fn obstacle(&self) -> Option<&'static str> {
        None
    }

    fn cover(&mut self, layout: &Layout, mask: &Mask) {
        mask.cover(&mut self.samples, layout);
    }

    fn samples(&self) -> Cow<'_, [u16]> {
        Cow::Borrowed(&self.samples)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(self.encode_by(1))
    }
}

impl Frame {
    #[cfg(test)]
    pub(super) fn of_test(precision: u8, [rows, columns, count]: [usize; 3], samples: Vec<u16>) -> Frame {
        let components = (0..3).take(count).collect();
        Frame { precision, rows, columns, components, samples }
    }

    pub(super) fn encode_by(&self, selection: u8) -> Vec<u8> {
        let [size @ .., components] = [self.rows, self.columns, self.components.len()];
        let components = u8::try_from(components).expect("there are at most three");
        let size = size.map(|size| u16::try_from(size).expect("DICOM has at most as many").to_be_bytes());
        let mut encoded = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 8 + 3 * components, self.precision];
        encoded.extend_from_slice(&size.concat());
        encoded.push(components);
        encoded.extend(self.components.iter().flat_map(|id| [*id, 0x11, 0]));
        encoded.extend_from_slice(&[0xFF, 0xC4, 0, 19 + 17, 0]);
        let count =
            |bits: u8| WRITTEN_LENGTHS.iter().filter(|length| **length == bits).map(|_| 1).sum::<u8>();
        encoded.extend((1..=16).map(count));
        encoded.extend(0..17);
        encoded.extend_from_slice(&[0xFF, 0xDA, 0, 6 + 2 * components, components]);
        encoded.extend(self.components.iter().flat_map(|id| [*id, 0]));
        encoded.extend_from_slice(&[selection, 0, 0]);
        let mut bits = BitWriter { into: encoded, waiting: 0, count: 0 };
        let codes = written_codes();
        for row in 0..self.rows {
            for at in self.row(row) {
                let predicted = self.predict(at, row, row == 0, selection);
                bits.write_difference(self.samples[at].wrapping_sub(predicted), &codes);
            }
        }
        let mut encoded = bits.finish();
        encoded.extend_from_slice(&[0xFF, 0xD9]);
        encoded.resize(encoded.len().next_multiple_of(2), 0);
        encoded
    }

    /// The samples of a row.
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        let octets = self.columns * self.components.len();
        row * octets..(row + 1) * octets
    }

    /// What a sample is predicted to be by those before it (H.1.2.1), of which the row above does not count if this is the first one.
    fn predict(&self, at: usize, row: usize, is_first_row: bool, selection: u8) -> u16 {
        let count = self.components.len();
        let width = self.columns * count;
        let is_first_column = at - row * width < count;
        match (is_first_row, is_first_column) {
            (true, true) => return 1 << (self.precision - 1),
            (true, false) => return self.samples[at - count],
            (false, true) => return self.samples[at - width],
            (false, false) => {}
        }
        let sample = |back: usize| i32::from(self.samples[at - back]);
        let (left, above, corner) = (sample(count), sample(width), sample(width + count));
        let predicted = match selection {
            1 => left,
            2 => above,
            3 => corner,
            4 => left + above - corner,
            5 => left + ((above - corner) >> 1),
            6 => above + ((left - corner) >> 1),
            _ => (left + above) >> 1,
        };
        modulo(predicted)
    }
}

/// A number modulo 2^16 (H.1.2.1).
fn modulo(number: i32) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The codes that are written, and their lengths: canonical, so the next code of one length follows the last one (Annex C.2).
fn written_codes() -> [(u32, u8); 17] {
    let mut next = 0;
    let mut last = WRITTEN_LENGTHS[0];
    WRITTEN_LENGTHS.map(|length| {
        next <<= length - last;
        last = length;
        next += 1;
        (next - 1, length)
    })
}

/// A Huffman table (Annex C and F.2.2.3).
#[derive(Clone, Default)]
struct Table {
    /// For each length from 1: the first code, how many there are, and the place of its first value.
    lengths: Vec<(u32, u32, usize)>,
    values: Vec<u8>,
}

impl Table {
    fn new(counts: &[u8], values: &[u8]) -> Result<Table, Malformed> {
        let (mut code, mut place) = (0u32, 0);
        let mut lengths = Vec::with_capacity(counts.len());
        for (count, bits) in counts.iter().zip(1..) {
            let count = u32::from(*count);
            lengths.push((code, count, place));
            place += count as usize;
            if code + count > 1 << bits {
                return Err(Malformed("a Huffman table has more codes than there can be"));
            }
            code = (code + count) << 1;
        }
        if values.iter().any(|category| *category > 16) {
            return Err(Malformed("a Huffman table has a category that no sample has"));
        }
        Ok(Table { lengths, values: values.to_vec() })
    }
}

/// What the segments before the scan say.
#[derive(Default)]
struct Decoder {
    tables: [Option<Table>; 4],
    restart_samples: usize,
    frame: Option<Frame>,
}

impl Decoder {
    fn frame(mut self, encoded: &[u8], layout: &Layout) -> Result<Frame, Malformed> {
        let mut rest =
            encoded.strip_prefix(&[0xFF, 0xD8]).ok_or(Malformed("a frame does not begin as JPEG"))?;
        loop {
            let Segment { marker, contents: segment, .. } = jpeg_segments::next(&mut rest)?;
            match marker {
                0xC3 => self.start(segment, layout)?,
                0xC4 => self.tables(segment)?,
                0xDD => self.restarts(segment)?,
                0xDA => return self.scan(segment, rest),
                0xE0..=0xEF | 0xFE => {}
                _ => return Err(Malformed("a segment is none of JPEG Lossless")),
            }
        }
    }

    /// SOF3 (B.2.2).
    fn start(&mut self, segment: &[u8], layout: &Layout) -> Result<(), Malformed> {
        let is_read = jpeg_segments::is_lossless(layout);
        let (precision, components) = frame_header(segment, layout, self.frame.is_none(), is_read)?;
        let components = components.chunks(3).map(|one| one[0]).collect();
        let (rows, columns) = (layout.rows as usize, layout.columns as usize);
        self.frame = Some(Frame { precision, rows, columns, components, samples: Vec::new() });
        Ok(())
    }

    /// DHT (B.2.4.2).
    fn tables(&mut self, mut segment: &[u8]) -> Result<(), Malformed> {
        let short = Malformed("a Huffman table is too short");
        while let Some((number, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_at_checked(16).ok_or(short)?;
            let values = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, rest) = rest.split_at_checked(values).ok_or(short)?;
            let place = self.tables.get_mut(usize::from(*number));
            *place.ok_or(Malformed("a Huffman table has a number that no table has"))? =
                Some(Table::new(counts, values)?);
            segment = rest;
        }
        Ok(())
    }

    /// DRI (B.2.4.4): rows between two restarts.
    fn restarts(&mut self, segment: &[u8]) -> Result<(), Malformed> {
        let interval: [u8; 2] =
            segment.try_into().map_err(|_| Malformed("a restart interval is malformed"))?;
        self.restart_samples = usize::from(u16::from_be_bytes(interval));
        Ok(())
    }

    /// SOS (B.2.3) and what follows it.
    fn scan(self, segment: &[u8], encoded: &[u8]) -> Result<Frame, Malformed> {
        let mut frame = self.frame.ok_or(Malformed("a scan comes before its frame header"))?;
        let count = frame.components.len();
        let Some((selectors, [selection @ 1..=7, 0, 0])) =
            segment.get(1..).and_then(|rest| rest.split_at_checked(2 * count))
        else {
            return Err(Malformed("a scan is not of all components, without a point transform"));
        };
        let mut tables = Vec::with_capacity(count);
        for (selector, component) in selectors.chunks(2).zip(&frame.components) {
            let table = self.tables.get(usize::from(selector[1] >> 4)).and_then(Option::as_ref);
            if usize::from(segment[0]) != count || selector[0] != *component {
                return Err(Malformed("a scan is not of all components, in their order"));
            }
            tables.push(table.ok_or(Malformed("a scan names a Huffman table that is not there"))?);
        }
        let interval = self.restart_samples;
        if !interval.is_multiple_of(frame.columns) {
            return Err(Malformed("a restart is not at the beginning of a row"));
        }
        let interval_rows = interval / frame.columns;
        let mut bits = BitReader { rest: encoded, waiting: 0, count: 0 };
        let total = frame.rows * frame.columns * count;
        // A sample takes a bit at least.
        if total > encoded.len().saturating_mul(8) {
            return Err(Malformed("a frame ends before its pixels do"));
        }
        frame.samples = Vec::with_capacity(total);
        for row in 0..frame.rows {
            let is_restart = interval_rows > 0 && row > 0 && row % interval_rows == 0;
            if is_restart {
                bits.restart()?;
            }
            for at in frame.row(row) {
                let predicted = frame.predict(at, row, row == 0 || is_restart, *selection);
                let difference = bits.difference(tables[at % count])?;
                frame.samples.push(predicted.wrapping_add(difference));
            }
        }
        let most = u16::MAX >> (16 - frame.precision);
        if frame.samples.iter().any(|sample| *sample > most) {
            return Err(Malformed("a sample has more bits than its frame says"));
        }
        Ok(frame)
    }
}

/// Bits of a scan, in which a zero follows each octet of ones (F.1.2.3).
struct BitReader<'e> {
    rest: &'e [u8],
    waiting: u32,
    count: u32,
}

impl BitReader<'_> {
    fn bit(&mut self) -> Result<u32, Malformed> {
        if self.count == 0 {
            let (octet, rest) = match self.rest {
                [0xFF, 0, rest @ ..] => (0xFF, rest),
                [0xFF, ..] | [] => return Err(Malformed("a frame ends before its pixels do")),
                [octet, rest @ ..] => (*octet, rest),
            };
            self.rest = rest;
            self.waiting = u32::from(octet);
            self.count = 8;
        }
        self.count -= 1;
        Ok(self.waiting >> self.count & 1)
    }

    /// A difference modulo 2^16 (H.1.2.2).
    fn difference(&mut self, table: &Table) -> Result<u16, Malformed> {
        let category = self.category(table)?;
        if category == 16 {
            return Ok(1 << 15);
        }
        let mut bits = 0;
        for _ in 0..category {
            bits = bits << 1 | self.bit()?;
        }
        let is_negative = category > 0 && bits >> (category - 1) == 0;
        let difference = u16::try_from(bits).expect("there are at most fifteen bits");
        Ok(if is_negative { difference.wrapping_sub((1 << category) - 1) } else { difference })
    }

    fn category(&mut self, table: &Table) -> Result<u8, Malformed> {
        let mut code = 0;
        for (first, count, place) in &table.lengths {
            code = code << 1 | self.bit()?;
            if code < first + count {
                // Canonical codes: what is not before the codes of this length is one of them.
                return Ok(table.values[place + (code - first) as usize]);
            }
        }
        Err(Malformed("a code is in no Huffman table"))
    }

    /// Passes over a restart marker, and what pads the octet before it.
    fn restart(&mut self) -> Result<(), Malformed> {
        let [0xFF, 0xD0..=0xD7, rest @ ..] = self.rest else {
            return Err(Malformed("a restart is not where the frame says"));
        };
        self.rest = rest;
        self.count = 0;
        Ok(())
    }
}

struct BitWriter {
    into: Vec<u8>,
    waiting: u32,
    count: u8,
}

impl BitWriter {
    fn write(&mut self, bits: u32, count: u8) {
        for bit in (0..count).rev() {
            self.waiting = self.waiting << 1 | bits >> bit & 1;
            self.count += 1;
            if self.count == 8 {
                let octet = self.waiting.to_be_bytes()[3];
                self.into.push(octet);
                if octet == 0xFF {
                    self.into.push(0);
                }
                self.count = 0;
            }
        }
    }

    fn write_difference(&mut self, difference: u16, codes: &[(u32, u8); 17]) {
        let is_negative = difference > 1 << 15;
        let size = if is_negative { difference.wrapping_neg() } else { difference };
        let category = 16 - u8::try_from(size.leading_zeros()).expect("there are sixteen bits");
        let (code, length) = codes[usize::from(category)];
        self.write(code, length);
        if category < 16 {
            let bits = if is_negative { difference.wrapping_sub(1) } else { difference };
            self.write(u32::from(bits), category);
        }
    }

    /// Fills the last octet with ones.
    fn finish(mut self) -> Vec<u8> {
        let left = (8 - self.count) % 8;
        self.write((1 << left) - 1, left);
        self.into
    }
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::*;
    use proptest::prelude::*;

    fn layout(rows: u16, columns: u16, samples: u16, bits: u16) -> Layout {
        Layout::of(&Facts::of_test(rows, columns, samples, bits)).unwrap()
    }

    fn frame(precision: u8, (rows, columns): (usize, usize), components: &[u8], seed: u32) -> Frame {
        let mut state = seed;
        let mut samples = Vec::new();
        for at in 0..rows * columns * components.len() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = u16::from_be_bytes([state.to_be_bytes()[0], state.to_be_bytes()[1]]);
            let slope = u16::try_from(at % 251).unwrap();
            let sample = if seed.is_multiple_of(2) { noise } else { slope + noise % 5 };
            samples.push(sample & u16::MAX >> (16 - precision));
        }
        Frame { precision, rows, columns, components: components.to_vec(), samples }
    }

    #[test]
    fn a_difference_of_half_of_all_numbers_has_a_category_of_its_own() {
        let layout = layout(2, 2, 1, 16);
        let samples = vec![0, 0x8000, 0xFFFF, 0x7FFF];
        let frame = Frame { precision: 16, rows: 2, columns: 2, components: vec![1], samples };
        for selection in 1..=7 {
            assert_eq!(Frame::decode(&frame.encode_by(selection), &layout).unwrap(), frame);
        }
    }

    #[test]
    fn restarts_begin_anew() {
        // Two rows of two pixels of four bits: 8 is predicted at the beginning of each, so that all differences are 0.
        let codes = [0b0000_0011u8, 0xFF, 0xD0, 0b0000_0011];
        let head = [
            &[
                0xFF, 0xD8, 0xFF, 0xFE, 0, 5, b'D', b'O', b'E', 0xFF, 0xC3, 0, 11, 4, 0, 2, 0, 2, 1, 1, 0x11,
                0,
            ][..],
            &[0xFF, 0xC4, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xFF, 0xDD, 0, 4, 0, 2, 0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, 0],
        ]
        .concat();
        let encoded = [&head[..], &codes, &[0xFF, 0xD9]].concat();
        let decoded = Frame::decode(&encoded, &layout(2, 2, 1, 8)).unwrap();
        assert_eq!(decoded.samples, [8; 4]);
        assert!(
            !decoded.encode().unwrap().windows(3).any(|window| window == b"DOE"),
            "comments are left out"
        );
        let misplaced = [&head[..], &codes[..1], &codes[3..], &[0xFF, 0xD9]].concat();
        assert!(Frame::decode(&misplaced, &layout(2, 2, 1, 8)).is_err());
    }

    #[test]
    fn what_is_not_the_frame_of_the_object_is_refused() {
        let encoded = frame(8, (5, 7), &[1], 3).encode().unwrap();
        assert!(Frame::decode(&encoded, &layout(5, 7, 1, 8)).is_ok());
        for other in [layout(7, 5, 1, 8), layout(5, 7, 3, 8), layout(5, 8, 1, 8)] {
            assert!(Frame::decode(&encoded, &other).is_err());
        }
        let twelve = frame(12, (5, 7), &[1], 3).encode().unwrap();
        assert!(Frame::decode(&twelve, &layout(5, 7, 1, 8)).is_err());
        assert!(Frame::decode(&twelve, &layout(5, 7, 1, 16)).is_ok());
        for end in 0..encoded.len() - 4 {
            assert!(Frame::decode(&encoded[..end], &layout(5, 7, 1, 8)).is_err(), "{end}");
        }
        let large = layout(4096, 4096, 1, 8);
        let mut header = encoded;
        header[7..11].copy_from_slice(&[16, 0, 16, 0]);
        assert_eq!(
            Frame::decode(&header, &large).unwrap_err(),
            Malformed("a frame has more samples than can be held")
        );
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(
            precision in 2..=16u8,
            size in (1..20u16, 1..20u16),
            is_colour in any::<bool>(),
            selection in 1..=7u8,
            seed in any::<u32>(),
        ) {
            let components: &[u8] = if is_colour { &[1, 2, 3] } else { &[0] };
            let frame = frame(precision, (size.0.into(), size.1.into()), components, seed);
            let layout = layout(size.0, size.1, components.len().try_into().unwrap(), 16);
            let encoded = frame.encode_by(selection);
            prop_assert_eq!(encoded.len() % 2, 0);
            prop_assert_eq!(Frame::decode(&encoded, &layout).unwrap(), frame);
        }

        #[test]
        fn whatever_comes_is_decoded_or_refused(
            at in 0..120usize,
            octet in any::<u8>(),
            seed in any::<u32>(),
        ) {
            let mut encoded = frame(8, (6, 6), &[1], seed).encode().unwrap();
            if let Some(place) = encoded.get_mut(at) {
                *place = octet;
            }
            if let Ok(decoded) = Frame::decode(&encoded, &layout(6, 6, 1, 8)) {
                prop_assert_eq!(decoded.samples.len(), 36);
            }
        }
    }
}
