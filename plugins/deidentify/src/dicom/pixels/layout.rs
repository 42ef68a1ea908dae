//! Where the pixels of a frame are (PS3.3 C.7.6.3.1, PS3.5 section 8.1), and which bits of it a mask covers.

use std::ops::Range;

use super::Facts;
use super::rules::Rectangle;

/// How the samples of a pixel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    /// There is one.
    One,
    /// Three, one after the other (Planar Configuration 0).
    Interleaved,
    /// Three planes, one after the other (Planar Configuration 1).
    Planes,
    /// Two pixels are four octets: both lumas, and a pair of chromas that they share (`YBR_FULL_422`).
    Pairs,
}

/// How the pixels of an image lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) frames: u64,
    pub(super) samples: Samples,
    /// Of a sample: 1, 8, 16 or 32.
    pub(super) bits_allocated: u32,
    /// What is in the place of a chroma sample that is masked: no colour. None for images without chroma.
    chroma: Option<u32>,
    /// Bits of a sample that say something.
    bits_stored: u32,
    /// Whether samples are two's complements.
    signed: bool,
}

/// Bits that follow each other in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// From the beginning of the frame.
    pub(super) start: u64,
    pub(super) bits: u64,
    /// Which plane they are of.
    pub(super) plane: usize,
}

/// What of an image is covered: rows that follow each other, with the columns that are covered in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask(Vec<Band>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Band {
    top: u32,
    bottom: u32,
    /// From the first column that is covered to the first one that is not, in order and apart from each other.
    columns: Vec<(u32, u32)>,
}

impl Layout {
    /// The layout of an image.
    ///
    /// # Errors
    /// What is missing, or cannot be masked octet by octet.
    pub(super) fn of(facts: &Facts) -> Result<Layout, &'static str> {
        let rows = facts.rows.filter(|rows| *rows > 0).ok_or("Rows (0028,0010) are missing")?;
        let columns =
            facts.columns.filter(|columns| *columns > 0).ok_or("Columns (0028,0011) are missing")?;
        let bits = facts.bits_allocated.filter(|bits| matches!(bits, 1 | 8 | 16 | 32));
        let bits = u32::from(bits.ok_or("Bits Allocated (0028,0100) are none of 1, 8, 16 and 32")?);
        let frames = facts.frames.ok_or("Number of Frames (0028,0008) is no number from 1 on")?;
        let (samples, has_chroma) = match (facts.samples, &facts.photometric[..], facts.planar) {
            (Some(1), b"MONOCHROME1" | b"MONOCHROME2" | b"PALETTE COLOR", _) => (Samples::One, false),
            (Some(3), b"RGB", Some(0)) => (Samples::Interleaved, false),
            (Some(3), b"RGB", Some(1)) => (Samples::Planes, false),
            (Some(3), b"YBR_FULL", Some(0)) => (Samples::Interleaved, true),
            (Some(3), b"YBR_FULL", Some(1)) => (Samples::Planes, true),
            (Some(3), b"YBR_FULL_422", Some(0)) if bits == 8 && columns % 2 == 0 => (Samples::Pairs, true),
            _ => {
                return Err(
                    "Samples per Pixel (0028,0002), Photometric Interpretation (0028,0004) and Planar Configuration \
                     (0028,0006) are none that can be masked",
                );
            }
        };
        if bits == 1 && samples != Samples::One {
            return Err("Bits Allocated (0028,0100) of a colour is 1");
        }
        let stored = facts.bits_stored.map_or(bits, u32::from);
        if !(1..=bits).contains(&stored) {
            return Err("Bits Stored (0028,0101) are more than are allocated");
        }
        let chroma = has_chroma.then_some(1 << (stored - 1));
        let (rows, columns) = (u32::from(rows), u32::from(columns));
        let signed = facts.signed;
        Ok(Layout {
            rows,
            columns,
            frames,
            samples,
            bits_allocated: bits,
            chroma,
            bits_stored: stored,
            signed,
        })
    }

    /// The bits of one frame. Frames of single bits follow each other without a gap (PS3.5 section 8.1.1).
    pub(super) fn frame_bits(&self) -> u64 {
        self.plane_bits() * self.planes() as u64
    }

    /// The octets of all frames, without what pads them to an even number; none if there are more than can be.
    pub(super) fn octets(&self) -> Option<u64> {
        self.frame_bits().checked_mul(self.frames).map(|bits| bits.div_ceil(8))
    }

    /// The bits of one frame that a mask covers, in order.
    pub(super) fn spans<'m>(&self, mask: &'m Mask) -> impl Iterator<Item = Span> + use<'m> {
        let (columns, plane_bits, pixel_bits) = (self.columns, self.plane_bits(), self.pixel_bits());
        (0..self.planes()).flat_map(move |plane| {
            let at = plane as u64 * plane_bits;
            mask.runs(columns).map(move |(start, pixels)| Span {
                start: at + start * pixel_bits,
                bits: pixels * pixel_bits,
                plane,
            })
        })
    }

    /// What is repeated in a span of a plane: zero, and no colour.
    pub(super) fn fill(&self, plane: usize, big_endian: bool) -> Vec<u8> {
        let octets = (self.bits_allocated / 8).max(1) as usize;
        let sample = |value: u32| {
            let mut sample = value.to_le_bytes()[..octets].to_vec();
            if big_endian {
                sample.reverse();
            }
            sample
        };
        let (zero, chroma) = (sample(0), sample(self.chroma.unwrap_or(0)));
        match self.samples {
            Samples::One => zero,
            Samples::Interleaved => [&zero[..], &chroma, &chroma].concat(),
            Samples::Planes => {
                if plane == 0 {
                    zero
                } else {
                    chroma
                }
            }
            Samples::Pairs => [&zero[..], &zero, &chroma, &chroma].concat(),
        }
    }

    /// Octets of a plane of one octet of each pixel, which is what RLE Lossless compresses.
    pub(super) fn plane_octets(&self) -> Option<usize> {
        usize::try_from(u64::from(self.rows) * u64::from(self.columns)).ok()
    }

    /// What is in the place of a masked pixel in each octet of each sample, the most significant one first.
    pub(super) fn segment_fills(&self) -> Vec<u8> {
        let octets = (self.bits_allocated / 8) as usize;
        let samples = if self.samples == Samples::One { 1 } else { 3 };
        let value = |sample| if sample == 0 { 0 } else { self.chroma.unwrap_or(0) };
        (0..samples).flat_map(|sample| value(sample).to_be_bytes()[4 - octets..].to_vec()).collect()
    }

    /// What is in the place of a masked pixel in each sample of up to 16 bits.
    pub(super) fn sample_fills(&self) -> Vec<u16> {
        let chroma = u16::try_from(self.chroma.unwrap_or(0)).unwrap_or(0);
        if self.samples == Samples::One { vec![0] } else { vec![0, chroma, chroma] }
    }

    /// Samples of a frame.
    pub(super) fn sample_count(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns) * self.sample_fills().len() as u64
    }

    /// Whether an image has a luma sample and two of chroma.
    pub(super) fn has_chroma(&self) -> bool {
        self.chroma.is_some()
    }

    /// The bit of a sample of up to 16 bits that is its sign, and those that say something.
    pub(super) fn sign_and_bits(&self) -> (u16, u16) {
        let bits = self.bits_stored.clamp(1, 16);
        (u16::from(self.signed) << (bits - 1), u16::MAX >> (16 - bits))
    }

    pub(super) fn planes(&self) -> usize {
        if self.samples == Samples::Planes { 3 } else { 1 }
    }

    fn plane_bits(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns) * self.pixel_bits()
    }

    /// The bits of a pixel in a plane.
    fn pixel_bits(&self) -> u64 {
        let samples = match self.samples {
            Samples::One | Samples::Planes => 1,
            Samples::Pairs => 2,
            Samples::Interleaved => 3,
        };
        samples * u64::from(self.bits_allocated)
    }
}

impl Mask {
    /// What rectangles cover of an image; where pixels share their chroma, of each pair both.
    ///
    /// # Errors
    /// Where a rectangle is not in the image, and so was meant for another one.
    pub(super) fn new(rectangles: &[Rectangle], layout: &Layout) -> Result<Mask, &'static str> {
        let Layout { rows, columns, .. } = *layout;
        let step = if layout.samples == Samples::Pairs { 2 } else { 1 };
        let mut covered = Vec::with_capacity(rectangles.len());
        for Rectangle { left, top, width, height } in rectangles {
            let right = width.map_or(columns, |width| left + width);
            let bottom = height.map_or(rows, |height| top + height);
            if *left >= columns || *top >= rows || right > columns || bottom > rows {
                return Err("a rectangle of the rule is not inside the image");
            }
            covered.push((*top, bottom, left / step * step, right.next_multiple_of(step)));
        }
        let mut edges: Vec<u32> = covered.iter().flat_map(|(top, bottom, ..)| [*top, *bottom]).collect();
        edges.sort_unstable();
        edges.dedup();
        let bands = edges.windows(2).map(|edge| {
            let here = covered.iter().filter(|(top, bottom, ..)| *top <= edge[0] && *bottom >= edge[1]);
            Band {
                top: edge[0],
                bottom: edge[1],
                columns: merged(here.map(|(_, _, left, right)| (*left, *right)).collect()),
            }
        });
        Ok(Mask(bands.filter(|band| !band.columns.is_empty()).collect()))
    }

    /// Whether nothing is covered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything is covered of a part of an image, of which the last two edges are the right and the lower one, outside of it.
    pub(super) fn touches(&self, edges: [usize; 4]) -> bool {
        let [left, top, right, bottom] = edges.map(|edge| u32::try_from(edge).unwrap_or(u32::MAX));
        let bands = self.0.iter().filter(|band| band.top < bottom && band.bottom > top);
        bands.flat_map(|band| &band.columns).any(|(start, end)| *start < right && *end > left)
    }

    /// Replaces the pixels that are covered of an image whose samples follow each other, pixel after pixel.
    pub(super) fn cover(&self, samples: &mut [u16], layout: &Layout) {
        let fill = layout.sample_fills();
        for range in self.ranges(layout.columns) {
            let pixels =
                samples[range.start * fill.len()..range.end * fill.len()].chunks_exact_mut(fill.len());
            pixels.for_each(|pixel| pixel.copy_from_slice(&fill));
        }
    }

    /// The pixels that are covered of an image that is held in memory.
    pub(super) fn ranges(&self, columns: u32) -> impl Iterator<Item = Range<usize>> {
        let index = |pixel: u64| usize::try_from(pixel).unwrap_or(usize::MAX);
        self.runs(columns).map(move |(start, pixels)| index(start)..index(start + pixels))
    }

    /// Pixels that follow each other, from the first of an image: where they begin and how many they are.
    fn runs(&self, columns: u32) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().flat_map(move |band| {
            let whole = band.columns == [(0, columns)];
            let rows = u64::from(band.bottom - band.top);
            let (steps, height) = if whole { (1, rows) } else { (rows, 1) };
            (0..steps).flat_map(move |step| {
                let row = u64::from(band.top) + step;
                band.columns.iter().map(move |(left, right)| {
                    (row * u64::from(columns) + u64::from(*left), u64::from(right - left) * height)
                })
            })
        })
    }
}

/// Ranges in order, those that touch as one.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(samples: u16, photometric: &str, planar: Option<u16>, bits: u16) -> Facts {
        Facts {
            rows: Some(4),
            columns: Some(6),
            samples: Some(samples),
            photometric: photometric.as_bytes().to_vec(),
            planar,
            bits_allocated: Some(bits),
            ..Facts::default()
        }
    }

    fn rectangle(left: u32, top: u32, width: u32, height: u32) -> Rectangle {
        Rectangle { left, top, width: Some(width), height: Some(height) }
    }

    #[test]
    fn rectangles_that_overlap_are_covered_once() {
        let layout = Layout::of(&facts(1, "MONOCHROME2", None, 8)).unwrap();
        let mask = Mask::new(
            &[
                rectangle(0, 0, 3, 2),
                rectangle(2, 1, 2, 2),
                Rectangle { width: None, ..rectangle(0, 3, 1, 1) },
            ],
            &layout,
        )
        .unwrap();
        let runs: Vec<_> = mask.runs(6).collect();
        assert_eq!(runs, [(0, 3), (6, 4), (14, 2), (18, 6)]);
        assert!(Mask::new(&[rectangle(5, 0, 2, 1)], &layout).is_err());
        assert!(Mask::new(&[rectangle(0, 4, 1, 1)], &layout).is_err());
    }

    #[test]
    fn pairs_that_share_a_colour_are_covered_together() {
        let layout = Layout::of(&facts(3, "YBR_FULL_422", Some(0), 8)).unwrap();
        let mask = Mask::new(&[rectangle(1, 0, 2, 1)], &layout).unwrap();
        assert_eq!(layout.spans(&mask).collect::<Vec<_>>(), [Span { start: 0, bits: 64, plane: 0 }]);
        assert_eq!(layout.frame_bits(), 4 * 6 * 16);
        assert_eq!(layout.fill(0, false), [0, 0, 128, 128]);
    }

    #[test]
    fn planes_are_covered_one_by_one() {
        let layout = Layout::of(&facts(3, "YBR_FULL", Some(1), 16)).unwrap();
        let mask = Mask::new(&[rectangle(0, 0, 6, 2)], &layout).unwrap();
        let starts: Vec<u64> = layout.spans(&mask).map(|span| span.start / 16).collect();
        assert_eq!(starts, [0, 24, 48]);
        assert_eq!(layout.fill(1, true), [128, 0]);
    }

    #[test]
    fn what_cannot_be_masked_is_named() {
        for (wrong, expected) in [
            (facts(1, "MONOCHROME2", None, 12), "Bits Allocated"),
            (facts(1, "MONOCHROME2", None, 64), "Bits Allocated"),
            (facts(4, "ARGB", Some(0), 8), "Samples"),
            (facts(3, "RGB", None, 8), "Samples"),
            (facts(3, "MONOCHROME2", Some(0), 8), "Samples"),
            (facts(3, "YBR_PARTIAL_420", Some(0), 8), "Samples"),
            (facts(3, "YBR_FULL_422", Some(0), 16), "Samples"),
            (Facts { columns: Some(5), ..facts(3, "YBR_FULL_422", Some(0), 8) }, "Samples"),
            (facts(3, "RGB", Some(0), 1), "Bits Allocated"),
            (Facts { rows: Some(0), ..facts(1, "MONOCHROME2", None, 8) }, "Rows"),
            (Facts { columns: None, ..facts(1, "MONOCHROME2", None, 8) }, "Columns"),
            (Facts { frames: None, ..facts(1, "MONOCHROME2", None, 8) }, "Number of Frames"),
            (Facts { bits_stored: Some(9), ..facts(1, "MONOCHROME2", None, 8) }, "Bits Stored"),
        ] {
            let what = Layout::of(&wrong).unwrap_err();
            assert!(what.starts_with(expected), "{what}");
        }
    }
}
