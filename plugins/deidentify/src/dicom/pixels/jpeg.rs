//! Baseline JPEG (ITU-T T.81 Annex F, process 1; PS3.5 section 8.2.1), which is compressed with loss: decoding and encoding it again would change all pixels.
//! So nothing is decoded to pixels: the coefficients of the blocks that a mask touches are replaced, and those of all others are written again as they are.
//!
//! - `huffman` reads and writes codes, `block` the coefficients of a block; this module knows the segments around them (Annex B).
//!
//! One scan of one or three components is read, with restarts or without. Whole units are covered: blocks of 8 by 8 pixels, or of up to 32 by 32 where colours are
//! coarser. Comments are left out; application segments stay as far as colours need them.

mod block;
mod huffman;

use std::borrow::Cow;

use super::codec::{Coded, Malformed};
use super::jpeg_segments::{self, Segment, frame_header};
use super::layout::{Layout, Mask};
use super::segments::{self, Codestream};
use block::{Block, Steps};
use huffman::{Reader, Table, Writer};

/// What names the components of red, green and blue where nothing else tells.
const RED_GREEN_BLUE: [u8; 3] = *b"RGB";

/// A frame, as coefficients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// All segments before the scan, but for Huffman tables and comments.
    head: Vec<u8>,
    columns: usize,
    rows: usize,
    /// Units between restarts, or 0.
    restart: usize,
    /// Tables for coefficients that are no means.
    details: [Option<Table>; 4],
    components: Vec<Component>,
    /// Whether the first component is luma, and the others are colours.
    has_luma: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Component {
    id: u8,
    /// Blocks of a unit, side by side and one above the other.
    width: usize,
    height: usize,
    steps: Steps,
    details: usize,
    /// Unit after unit, in order.
    blocks: Vec<Block>,
}

impl Coded for Frame {
    fn decode(encoded: &[u8], layout: &Layout) -> Result<Frame, Malformed> {
        let mut encoded = encoded.to_vec();
        Codestream::Jpeg.blank(&mut encoded).map_err(|segments::Malformed(what)| Malformed(what))?;
        Decoder::default().frame(&encoded, layout)
    }

    fn obstacle(&self) -> Option<&'static str> {
        let has_end = |component: &Component| {
            self.details[component.details].as_ref().is_some_and(|table| table.code(block::END).is_some())
        };
        let what = "a frame has no code for a block without details";
        (!self.components.iter().all(has_end)).then_some(what)
    }

    fn cover(&mut self, _: &Layout, mask: &Mask) {
        let (width, height) = self.unit();
        let across = self.columns.div_ceil(width);
        let units = across * self.rows.div_ceil(height);
        let touched = (0..units).filter(|unit| {
            let (left, top) = (unit % across * width, unit / across * height);
            mask.touches([left, top, left + width, top + height])
        });
        let touched: Vec<usize> = touched.collect();
        for (number, component) in self.components.iter_mut().enumerate() {
            let flat = block::flat(&component.steps, self.has_luma && number > 0);
            let count = component.width * component.height;
            touched.iter().for_each(|unit| component.blocks[unit * count..(unit + 1) * count].fill(flat));
        }
    }

    fn samples(&self) -> Cow<'_, [u16]> {
        let (width, height) = self.unit();
        let cosines = block::cosines();
        let across = self.columns.div_ceil(width);
        let mut shades = vec![0; self.columns * self.rows];
        // Of luma and two colours one tells all; of three colours the brightest.
        for component in &self.components[..if self.has_luma { 1 } else { self.components.len() }] {
            let (wide, high) = (width / component.width, height / component.height);
            let count = component.width * component.height;
            for (at, block) in component.blocks.iter().enumerate() {
                let (unit, within) = (at / count, at % count);
                let left = unit % across * width + within % component.width * wide;
                let top = unit / across * height + within / component.width * high;
                let samples = block::samples(block, &component.steps, &cosines);
                for y in top..(top + high).min(self.rows) {
                    for x in left..(left + wide).min(self.columns) {
                        let sample = samples[(y - top) * 8 / high * 8 + (x - left) * 8 / wide];
                        let shade = &mut shades[y * self.columns + x];
                        *shade = sample.max(*shade);
                    }
                }
            }
        }
        let count = self.components.len();
        let pixels = shades.into_iter().flat_map(|shade| std::iter::repeat_n(u16::from(shade), count));
        Cow::Owned(pixels.collect())
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut encoded = self.head.clone();
        let means = Table::of_means();
        let tables = self.details.iter().zip(0x10..);
        let tables = tables.filter_map(|(table, number)| Some(table.as_ref()?.segment(number)));
        for segment in std::iter::once(means.segment(0)).chain(tables) {
            push_segment(&mut encoded, 0xC4, &segment)?;
        }
        let mut scan = vec![u8::try_from(self.components.len()).ok()?];
        for component in &self.components {
            scan.extend([component.id, u8::try_from(component.details).ok()?]);
        }
        scan.extend([0, 63, 0]);
        push_segment(&mut encoded, 0xDA, &scan)?;
        let mut writer = Writer::new(encoded);
        let mut last = vec![0; self.components.len()];
        for unit in 0..self.units() {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                writer.mark(0xD0 + u8::try_from((unit / self.restart - 1) % 8).ok()?);
                last.fill(0);
            }
            for (component, mean) in self.components.iter().zip(&mut last) {
                let count = component.width * component.height;
                let details = self.details[component.details].as_ref()?;
                for block in &component.blocks[unit * count..(unit + 1) * count] {
                    block::write(&mut writer, block, (&means, details), mean)?;
                }
            }
        }
        Some(writer.finish())
    }
}

fn push_segment(encoded: &mut Vec<u8>, marker: u8, value: &[u8]) -> Option<()> {
    encoded.extend_from_slice(&[0xFF, marker]);
    encoded.extend_from_slice(&u16::try_from(value.len() + 2).ok()?.to_be_bytes());
    encoded.extend_from_slice(value);
    Some(())
}

impl Frame {
    /// The pixels of a unit.
    fn unit(&self) -> (usize, usize) {
        let most = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        (8 * most(|component| component.width), 8 * most(|component| component.height))
    }

    fn units(&self) -> usize {
        let (width, height) = self.unit();
        self.columns.div_ceil(width) * self.rows.div_ceil(height)
    }
}

/// What the segments before the scan say.
#[derive(Default)]
struct Decoder {
    head: Vec<u8>,
    steps: [Option<Steps>; 4],
    means: [Option<Table>; 4],
    details: [Option<Table>; 4],
    restart: usize,
    size: Option<(usize, usize)>,
    /// Of each component: its identifier, the blocks of a unit, and the number of its steps.
    components: Vec<(u8, usize, usize, usize)>,
    /// What application segments say of colours.
    has_luma: Option<bool>,
}

impl Decoder {
    fn frame(mut self, encoded: &[u8], layout: &Layout) -> Result<Frame, Malformed> {
        let mut rest =
            encoded.strip_prefix(&[0xFF, 0xD8]).ok_or(Malformed("a frame does not begin as JPEG"))?;
        self.head = vec![0xFF, 0xD8];
        loop {
            let Segment { marker, contents: segment, whole } = jpeg_segments::next(&mut rest)?;
            match marker {
                0xC0 => self.start(segment, layout)?,
                0xC4 => self.tables(segment)?,
                0xDB => self.steps(segment)?,
                0xDD => {
                    let interval =
                        segment.try_into().map_err(|_| Malformed("a restart interval is malformed"))?;
                    self.restart = usize::from(u16::from_be_bytes(interval));
                }
                0xE0 if segment.starts_with(b"JFIF\0") => self.has_luma = self.has_luma.or(Some(true)),
                0xEE if segment.starts_with(b"Adobe") => {
                    self.has_luma = segment.get(11).map(|kind| *kind != 0);
                }
                0xE0..=0xEF | 0xFE => {}
                0xDA => return self.scan(segment, rest),
                _ => return Err(Malformed("a segment is none of baseline JPEG")),
            }
            if !matches!(marker, 0xC4 | 0xFE) {
                self.head.extend_from_slice(whole);
            }
        }
    }

    /// SOF0 (B.2.2).
    fn start(&mut self, segment: &[u8], layout: &Layout) -> Result<(), Malformed> {
        let is_read = |precision, _: &[u8]| precision == 8 && layout.bits_allocated == 8;
        let (_, components) = frame_header(segment, layout, self.size.is_none(), is_read)?;
        for component in components.chunks_exact(3) {
            let [id, size, steps] = [0, 1, 2].map(|at| component[at]);
            let (width, height) = (usize::from(size >> 4), usize::from(size & 0x0F));
            if ![1, 2, 4].contains(&width) || ![1, 2, 4].contains(&height) || steps > 3 {
                return Err(Malformed("a component has other blocks or steps than are read"));
            }
            // One component alone has units of one block, whatever its header says (A.2.2).
            let (width, height) = if components.len() == 3 { (1, 1) } else { (width, height) };
            self.components.push((id, width, height, steps.into()));
        }
        if self.components.iter().map(|(_, width, height, _)| width * height).sum::<usize>() > 10 {
            return Err(Malformed("a unit has more blocks than there can be"));
        }
        self.size = Some((layout.rows as usize, layout.columns as usize));
        Ok(())
    }

    /// DHT (B.2.4.2).
    fn tables(&mut self, mut segment: &[u8]) -> Result<(), Malformed> {
        let short = Malformed("a Huffman table is too short");
        while let Some((number, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let values = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, rest) = rest.split_at_checked(values).ok_or(short)?;
            let tables = match number >> 4 {
                0 => &mut self.means,
                1 => &mut self.details,
                _ => return Err(Malformed("a Huffman table is of no kind that there is")),
            };
            let place = tables.get_mut(usize::from(number & 0x0F));
            *place.ok_or(Malformed("a Huffman table has a number that no table has"))? =
                Some(Table::new(*counts, values)?);
            segment = rest;
        }
        Ok(())
    }

    /// DQT (B.2.4.1), of eight bits.
    fn steps(&mut self, segment: &[u8]) -> Result<(), Malformed> {
        for table in segment.chunks(65) {
            let (number, steps) = table.split_first().ok_or(Malformed("there are no steps"))?;
            let steps = steps.try_into().ok().filter(|steps: &Steps| !steps.contains(&0));
            let place = self.steps.get_mut(usize::from(*number)).filter(|place| place.is_none());
            *place.ok_or(Malformed("steps have another number or size than is read"))? =
                Some(steps.ok_or(Malformed("steps are too few, or zero"))?);
        }
        Ok(())
    }

    /// SOS (B.2.3) and what follows it.
    fn scan(mut self, segment: &[u8], encoded: &[u8]) -> Result<Frame, Malformed> {
        let (rows, columns) = self.size.ok_or(Malformed("a scan comes before its frame header"))?;
        let count = self.components.len();
        let Some((selectors, [0, 63, 0])) =
            segment.get(1..).and_then(|rest| rest.split_at_checked(2 * count))
        else {
            return Err(Malformed("a scan is not of all components and all coefficients"));
        };
        let mut means = Vec::with_capacity(count);
        let mut components = Vec::with_capacity(count);
        for (selector, (id, width, height, steps)) in selectors.chunks_exact(2).zip(&self.components) {
            if usize::from(segment[0]) != count || selector[0] != *id {
                return Err(Malformed("a scan is not of all components, in their order"));
            }
            let [mean, details] = [selector[1] >> 4, selector[1] & 0x0F].map(usize::from);
            let mean = self.means.get(mean).and_then(Option::as_ref);
            let steps = self.steps[*steps].ok_or(Malformed("a component names steps that are not there"))?;
            means.push(mean.ok_or(Malformed("a scan names a Huffman table that is not there"))?);
            let (id, width, height, blocks) = (*id, *width, *height, Vec::new());
            components.push(Component { id, width, height, steps, details, blocks });
        }
        let ids: Vec<u8> = components.iter().map(|component| component.id).collect();
        let has_luma = count == 3 && self.has_luma.unwrap_or(ids != RED_GREEN_BLUE);
        for (number, table) in self.details.iter_mut().enumerate() {
            if !components.iter().any(|component| component.details == number) {
                *table = None;
            }
        }
        let (head, restart, details) = (self.head, self.restart, self.details);
        let mut frame = Frame { head, columns, rows, restart, details, components, has_luma };
        frame.read(&means, encoded)?;
        Ok(frame)
    }
}

impl Frame {
    fn read(&mut self, means: &[&Table], encoded: &[u8]) -> Result<(), Malformed> {
        let units = self.units();
        // A block takes two bits at least.
        if units > encoded.len().saturating_mul(4) {
            return Err(Malformed("a frame ends before its pixels do"));
        }
        let mut reader = Reader::new(encoded);
        let mut last = vec![0; self.components.len()];
        for unit in 0..units {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                reader.restart(unit / self.restart - 1)?;
                last.fill(0);
            }
            for ((component, means), mean) in self.components.iter_mut().zip(means).zip(&mut last) {
                let details = self.details.get(component.details).and_then(Option::as_ref);
                let details = details.ok_or(Malformed("a scan names a Huffman table that is not there"))?;
                for _ in 0..component.width * component.height {
                    component.blocks.push(block::read(&mut reader, (means, details), mean)?);
                }
            }
        }
        reader.end()
    }
}

#[cfg(test)]
pub(super) mod tests;
