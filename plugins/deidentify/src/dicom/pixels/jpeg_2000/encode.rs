//! Writes a codestream of JPEG 2000 that loses nothing (ITU-T T.800 Annex A): one tile, one layer, 5-3 wavelet, resolution by resolution.

use super::block::{self, BLOCK_SIZE, Band};
use super::packet::{self, Blocks};
use super::wavelet;

/// Levels of the wavelet, unless the image is too small for them.
const LEVELS_MAX: u32 = 5;

/// What the head of a codestream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) components: usize,
    pub(super) precision: u8,
    pub(super) signed: bool,
    /// Whether three components are turned into luma and differences.
    pub(super) turns_colours: bool,
}

/// Encodes samples, pixel after pixel, padded to an even length.
pub(super) fn encode(shape: Shape, samples: &[u16]) -> Vec<u8> {
    let levels = shape.columns.min(shape.rows).ilog2().min(LEVELS_MAX);
    let mut planes = shape.planes(samples);
    if let ([red, green, blue], true) = (&mut planes[..], shape.turns_colours) {
        wavelet::turn_colours([red, green, blue]);
    }
    let bands = planes.into_iter().map(|mut plane| {
        wavelet::transform(&mut plane, shape.columns, shape.rows, levels);
        shape.resolutions(&plane, levels)
    });
    let components: Vec<_> = bands.collect();
    let mut encoded = shape.head(levels);
    let start = encoded.len();
    encoded.extend_from_slice(&[0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0x93]);
    for resolution in 0..=levels as usize {
        for component in &components {
            packet::write(&component[resolution], &mut encoded);
        }
    }
    let length = u32::try_from(encoded.len() - start).expect("a frame is not that large");
    encoded[start + 6..start + 10].copy_from_slice(&length.to_be_bytes());
    encoded.extend_from_slice(&[0xFF, 0xD9]);
    encoded.resize(encoded.len().next_multiple_of(2), 0);
    encoded
}

impl Shape {
    /// Bits that coefficients may have beyond what they usually have: differences of colours have one more.
    fn guard_bits(self) -> u8 {
        if self.turns_colours { 3 } else { 2 }
    }

    /// The most bit planes of a subband, which has been filtered so often for what is high (E.1).
    fn bit_planes(self, gain: u8) -> u32 {
        u32::from(self.guard_bits() + self.precision + gain - 1)
    }

    /// The samples of each component, around zero (G.1).
    fn planes(self, samples: &[u16]) -> Vec<Vec<i32>> {
        let half = 1 << (self.precision - 1);
        let value = |sample: &u16| match self.signed {
            true => i32::from(sample.cast_signed()),
            false => i32::from(*sample) - half,
        };
        let plane = |component| samples.iter().skip(component).step_by(self.components).map(value).collect();
        (0..self.components).map(plane).collect()
    }

    /// SOC, SIZ, COD and QCD (A.4.1, A.5.1, A.6.1 and A.6.4).
    fn head(self, levels: u32) -> Vec<u8> {
        let octet = |number: usize| u8::try_from(number).expect("a number of components or levels is small");
        let number = |number: usize| u32::try_from(number).expect("DICOM has at most as many").to_be_bytes();
        let (size, origin) = ([number(self.columns), number(self.rows)].concat(), [0; 8]);
        let mut head = vec![0xFF, 0x4F, 0xFF, 0x51, 0, octet(38 + 3 * self.components), 0, 0];
        head.extend([&size[..], &origin, &size, &origin].concat());
        head.extend([0, octet(self.components)]);
        let depth = (self.precision - 1) | u8::from(self.signed) << 7;
        (0..self.components).for_each(|_| head.extend([depth, 1, 1]));
        let levels = octet(levels as usize);
        head.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, self.turns_colours.into(), levels, 4, 4, 0, 1]);
        head.extend([0xFF, 0x5C, 0, 4 + 3 * levels, self.guard_bits() << 5]);
        head.push(self.precision << 3);
        (0..levels).for_each(|_| head.extend([1, 1, 2].map(|gain| (self.precision + gain) << 3)));
        head
    }

    /// The blocks of the subbands of each resolution, from the smallest one on, with the most bit planes that they have.
    fn resolutions(self, plane: &[i32], levels: u32) -> Vec<Vec<(Blocks, u32)>> {
        let size = |level: u32| {
            let low = |size: usize| (0..level).fold(size, |size, _| size.div_ceil(2));
            (low(self.columns), low(self.rows))
        };
        let (width, height) = size(levels);
        let blocks = |left, top, right, bottom, band, gain| {
            let blocks = self.blocks(plane, (left, top), (right, bottom), band);
            (blocks, self.bit_planes(gain))
        };
        let mut resolutions = vec![vec![blocks(0, 0, width, height, Band::LowOrRows, 0)]];
        for level in (0..levels).rev() {
            let ((low, upper), (width, height)) = (size(level + 1), size(level));
            resolutions.push(vec![
                blocks(low, 0, width, upper, Band::Columns, 1),
                blocks(0, upper, low, height, Band::LowOrRows, 1),
                blocks(low, upper, width, height, Band::Both, 2),
            ]);
        }
        resolutions
    }

    /// Codes the blocks of a subband, which is so far from the left and the top.
    fn blocks(
        self,
        plane: &[i32],
        (left, top): (usize, usize),
        (right, bottom): (usize, usize),
        band: Band,
    ) -> Blocks {
        let mut blocks = Vec::new();
        for y in (top..bottom).step_by(BLOCK_SIZE) {
            for x in (left..right).step_by(BLOCK_SIZE) {
                let width = BLOCK_SIZE.min(right - x);
                let rows = y..(y + BLOCK_SIZE).min(bottom);
                let row = |row: usize| &plane[row * self.columns + x..][..width];
                let coefficients: Vec<i32> = rows.flat_map(row).copied().collect();
                blocks.push(block::encode(&coefficients, width, band));
            }
        }
        Blocks { columns: (right - left).div_ceil(BLOCK_SIZE), blocks }
    }
}
