//! JPEG-LS (ITU-T T.87; PS3.5 section 8.2.3): samples are predicted from their neighbours, and what is left is coded by what was learnt of the image so
//! far. There is no well-kept library in Rust that also writes it, without a C compiler or a whole toolkit around it.
//!
//! - `bits` reads and writes codes, `model` learns, `scan` goes through the lines; this module knows the segments around them (Annex C).
//!
//! One or three components are read, in one scan or one for each, with loss too. Written is without loss, in as many scans as it was, and with
//! the parameters that a precision has by default. Comments and application segments, which may hold text, are left out. Mapping tables, restarts and point transforms,
//! which nobody uses, are not read.

mod bits;
mod model;
mod scan;

use std::borrow::Cow;

use super::codec::{Coded, Malformed};
use super::jpeg_segments::{self, Segment, frame_header};
use super::layout::{Layout, Mask};
use bits::{Reader, Writer};
use model::{Parameters, Preset};
use scan::{Lines, Scan};

/// Application data of a decoder of HP that say how colours were changed, which the standard does not know.
const COLOUR_TRANSFORM: &[u8] = b"mrfx";

/// From how many bits on the parameters are written, though they are the defaults: not all readers have the same.
const EXPLICIT_PRECISION: u8 = 13;

/// How the samples of a pixel lie in scans (C.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interleave {
    /// Each component has its scan.
    None,
    /// A line of each component by turns.
    Line,
    /// Pixel after pixel.
    Sample,
}

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    precision: u8,
    rows: usize,
    columns: usize,
    /// The identifiers of the components.
    components: Vec<u8>,
    interleave: Interleave,
    /// How far samples may be off.
    near: u8,
    /// Pixel after pixel.
    samples: Vec<u16>,
}

impl Coded for Frame {
    fn decode(encoded: &[u8], layout: &Layout) -> Result<Frame, Malformed> {
        Decoder { layout, frame: None, preset: Preset::default(), seen: Vec::new() }.frame(encoded)
    }

    fn obstacle(&self) -> Option<&'static str> {
        (self.near > 0).then_some("a frame in JPEG-LS was compressed with loss")
    }

    fn cover(&mut self, layout: &Layout, mask: &Mask) {
        mask.cover(&mut self.samples, layout);
    }

    fn samples(&self) -> Cow<'_, [u16]> {
        Cow::Borrowed(&self.samples)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let count = self.components.len();
        let octet = |number: usize| u8::try_from(number).expect("there are at most three components");
        let size = [self.rows, self.columns]
            .map(|size| u16::try_from(size).expect("DICOM has at most as many").to_be_bytes());
        let mut encoded = vec![0xFF, 0xD8, 0xFF, 0xF7, 0, octet(8 + 3 * count), self.precision];
        encoded.extend_from_slice(&size.concat());
        encoded.push(octet(count));
        encoded.extend(self.components.iter().flat_map(|id| [*id, 0x11, 0]));
        let parameters = Parameters::new(self.precision, 0, Preset::default());
        let parameters = parameters.expect("the defaults of every precision are in order");
        if self.precision >= EXPLICIT_PRECISION {
            encoded.extend_from_slice(&[0xFF, 0xF8, 0, 13, 1]);
            encoded.extend(parameters.preset().iter().flat_map(|number| number.to_be_bytes()));
        }
        let each: Vec<usize> = (0..count).collect();
        let scans = if self.interleave == Interleave::None { each.chunks(1) } else { each.chunks(count) };
        for scan in scans {
            encoded.extend_from_slice(&[0xFF, 0xDA, 0, octet(6 + 2 * scan.len()), octet(scan.len())]);
            encoded.extend(scan.iter().flat_map(|component| [self.components[*component], 0]));
            encoded.extend_from_slice(&[0, self.interleave.code(), 0]);
            encoded = self.encode_scan(scan, parameters, encoded);
        }
        encoded.extend_from_slice(&[0xFF, 0xD9]);
        encoded.resize(encoded.len().next_multiple_of(2), 0);
        Some(encoded)
    }
}

impl Frame {
    fn encode_scan(&self, components: &[usize], parameters: Parameters, encoded: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer::new(encoded);
        let mut scan = Scan::new(&mut writer, parameters, self.interleave.together(components));
        let mut lines = self.lines(components);
        for row in 0..self.rows {
            for (group, lines) in &mut lines {
                lines.advance();
                let pixels = self.samples[self.row(row)].chunks_exact(self.components.len());
                for (samples, pixel) in lines.samples().chunks_exact_mut(group.len()).zip(pixels) {
                    let known = group.iter().map(|component| i32::from(pixel[*component]));
                    samples.iter_mut().zip(known).for_each(|(sample, known)| *sample = known);
                }
                scan.line(lines).expect("who writes has no end to run into");
            }
        }
        writer.end()
    }

    fn decode_scan(
        &mut self,
        components: &[usize],
        parameters: Parameters,
        reader: &mut Reader<'_>,
    ) -> Result<(), Malformed> {
        let mut scan = Scan::new(reader, parameters, self.interleave.together(components));
        let mut lines = self.lines(components);
        for row in 0..self.rows {
            let range = self.row(row);
            for (group, lines) in &mut lines {
                lines.advance();
                scan.line(lines)?;
                let pixels = self.samples[range.clone()].chunks_exact_mut(self.components.len());
                for (samples, pixel) in lines.samples().chunks_exact(group.len()).zip(pixels) {
                    for (sample, component) in samples.iter().zip(group.iter()) {
                        pixel[*component] = u16::try_from(*sample).expect("it is at most the largest sample");
                    }
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn of_test(
        precision: u8,
        [rows, columns, count]: [usize; 3],
        mode: u8,
        samples: Vec<u16>,
    ) -> Frame {
        let components = (1..4).take(count).collect();
        let interleave = Interleave::of(mode).unwrap();
        Frame { precision, rows, columns, components, interleave, near: 0, samples }
    }

    /// The components of a scan that are coded together, and their lines.
    fn lines<'c>(&self, components: &'c [usize]) -> Vec<(&'c [usize], Lines)> {
        let groups = components.chunks(self.interleave.together(components));
        groups.map(|group| (group, Lines::new(self.columns, group.len()))).collect()
    }

    /// The samples of a row.
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        let samples = self.columns * self.components.len();
        row * samples..(row + 1) * samples
    }
}

impl Interleave {
    fn of(code: u8) -> Option<Interleave> {
        [Interleave::None, Interleave::Line, Interleave::Sample].into_iter().find(|one| one.code() == code)
    }

    fn code(self) -> u8 {
        match self {
            Interleave::None => 0,
            Interleave::Line => 1,
            Interleave::Sample => 2,
        }
    }

    /// How many samples of a scan are coded together.
    fn together(self, components: &[usize]) -> usize {
        if self == Interleave::Sample { components.len() } else { 1 }
    }
}

/// What the segments before a scan say.
struct Decoder<'l> {
    layout: &'l Layout,
    frame: Option<Frame>,
    preset: Preset,
    /// The components that had their scan.
    seen: Vec<usize>,
}

impl Decoder<'_> {
    fn frame(mut self, encoded: &[u8]) -> Result<Frame, Malformed> {
        let mut rest =
            encoded.strip_prefix(&[0xFF, 0xD8]).ok_or(Malformed("a frame does not begin as JPEG-LS"))?;
        loop {
            let Segment { marker, contents: segment, .. } = jpeg_segments::next(&mut rest)?;
            match marker {
                0xF7 => self.start(segment)?,
                0xF8 => self.preset(segment)?,
                0xDA => {
                    rest = self.scan(segment, rest)?;
                    match self.frame.take() {
                        Some(frame) if self.seen.len() == frame.components.len() => return Ok(frame),
                        frame => self.frame = frame,
                    }
                }
                0xE8 if segment.starts_with(COLOUR_TRANSFORM) && segment.get(4) != Some(&0) => {
                    return Err(Malformed("colours were changed by a transform that is no standard"));
                }
                0xE0..=0xEF | 0xFE => {}
                _ => return Err(Malformed("a segment is none of JPEG-LS, or of what nobody uses")),
            }
        }
    }

    /// SOF55 (C.2.2).
    fn start(&mut self, segment: &[u8]) -> Result<(), Malformed> {
        let is_read = jpeg_segments::is_lossless(self.layout);
        let (precision, components) = frame_header(segment, self.layout, self.frame.is_none(), is_read)?;
        let (rows, columns) = (self.layout.rows as usize, self.layout.columns as usize);
        let components: Vec<u8> = components.chunks(3).map(|one| one[0]).collect();
        let is_distinct = (1..components.len()).all(|at| !components[..at].contains(&components[at]));
        if !is_distinct {
            return Err(Malformed("two components of a frame have one identifier"));
        }
        let interleave = Interleave::None;
        let samples = vec![0; rows * columns * components.len()];
        self.frame = Some(Frame { precision, rows, columns, components, interleave, near: 0, samples });
        Ok(())
    }

    /// LSE (C.2.4.1).
    fn preset(&mut self, segment: &[u8]) -> Result<(), Malformed> {
        let numbers = segment.split_first().filter(|(kind, numbers)| **kind == 1 && numbers.len() == 10);
        let (_, numbers) = numbers.ok_or(Malformed("a preset is of another kind than parameters"))?;
        let numbers = numbers.chunks(2).map(|number| u16::from_be_bytes([number[0], number[1]]));
        self.preset.iter_mut().zip(numbers).for_each(|(preset, number)| *preset = number);
        Ok(())
    }

    /// SOS (C.2.3) and what follows it; returns what is behind.
    fn scan<'e>(&mut self, segment: &[u8], encoded: &'e [u8]) -> Result<&'e [u8], Malformed> {
        let frame = self.frame.as_mut().ok_or(Malformed("a scan comes before its frame header"))?;
        let Some((count, (selectors, [near, interleave, 0]))) =
            segment.split_first().and_then(|(count, rest)| {
                Some((usize::from(*count), rest.split_at_checked(2 * usize::from(*count))?))
            })
        else {
            return Err(Malformed("a scan header is malformed, or has a point transform"));
        };
        let mut components = Vec::with_capacity(count);
        for selector in selectors.chunks(2) {
            let component = frame.components.iter().position(|id| *id == selector[0]);
            let component = component.filter(|component| !self.seen.contains(component) && selector[1] == 0);
            self.seen.extend(component);
            components.push(component.ok_or(Malformed("a scan is of no component, or has a mapping table"))?);
        }
        let interleave = Interleave::of(*interleave);
        let is_whole = |interleave: &Interleave| match interleave {
            Interleave::None => count == 1,
            Interleave::Line | Interleave::Sample => count == frame.components.len(),
        };
        frame.interleave =
            interleave.filter(is_whole).ok_or(Malformed("a scan is not of one or of all components"))?;
        frame.near = frame.near.max(*near);
        let parameters = Parameters::new(frame.precision, *near, self.preset)?;
        let mut reader = Reader::new(encoded);
        frame.decode_scan(&components, parameters, &mut reader)?;
        Ok(reader.end())
    }
}

#[cfg(test)]
pub(super) mod tests;
