//! A block of 8 by 8 samples as coefficients of a cosine transform, coarse by a table (ITU-T T.81 A.3.3 and F.1.2).

use super::Malformed;
use super::huffman::{Reader, Table, Writer, category};

/// Coefficients in the order in which they are coded; the first one is the mean.
pub(super) type Block = [i16; 64];
/// By how much each of them is multiplied.
pub(super) type Steps = [u8; 64];

/// Where coefficients are, row after row (Figure A.6).
const ORDER: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];
/// Means of samples of eight bits.
const MEANS: std::ops::RangeInclusive<i16> = -1024..=1023;
/// No more coefficients, and sixteen zeros.
pub(super) const END: u8 = 0;
const ZEROS: u8 = 0xF0;

/// Reads a block; `mean` is that of the block of the component before, and then its own.
pub(super) fn read(
    reader: &mut Reader<'_>,
    (means, details): (&Table, &Table),
    mean: &mut i16,
) -> Result<Block, Malformed> {
    let mut block = [0; 64];
    let category = reader.value(means)?;
    let difference = if category <= 11 { reader.number(category)? } else { i16::MAX };
    *mean = mean.saturating_add(difference);
    if !MEANS.contains(mean) {
        return Err(Malformed("a mean is larger than that of any samples"));
    }
    block[0] = *mean;
    let mut at = 1;
    while at < block.len() {
        let symbol = reader.value(details)?;
        match (symbol >> 4, symbol & 0x0F) {
            (0, 0) => break,
            (15, 0) => at += 16,
            (zeros, size @ 1..=10) => {
                at += usize::from(zeros);
                let place = block.get_mut(at).ok_or(LONG)?;
                *place = reader.number(size)?;
                at += 1;
            }
            _ => return Err(Malformed("a coefficient has more bits than there can be")),
        }
    }
    if at > block.len() { Err(LONG) } else { Ok(block) }
}

const LONG: Malformed = Malformed("a block has more coefficients than there are");

/// Writes a block; none if a table has no code for what is in it.
pub(super) fn write(
    writer: &mut Writer,
    block: &Block,
    (means, details): (&Table, &Table),
    mean: &mut i16,
) -> Option<()> {
    let difference = block[0] - *mean;
    *mean = block[0];
    writer.put(means.code(category(difference))?);
    writer.put_number(difference, category(difference));
    let mut zeros = 0;
    for coefficient in &block[1..] {
        if *coefficient == 0 {
            zeros += 1;
            continue;
        }
        while zeros >= 16 {
            writer.put(details.code(ZEROS)?);
            zeros -= 16;
        }
        let size = category(*coefficient);
        writer.put(details.code(zeros << 4 | size)?);
        writer.put_number(*coefficient, size);
        zeros = 0;
    }
    if zeros > 0 {
        writer.put(details.code(END)?);
    }
    Some(())
}

/// A block in which all samples are as dark as can be, or without colour.
pub(super) fn flat(steps: &Steps, is_chroma: bool) -> Block {
    let mut block = [0; 64];
    if !is_chroma {
        let step = i16::from(steps[0]);
        block[0] = -((1024 + step - 1) / step);
    }
    block
}

/// The samples of a block, row after row, near enough to be looked at.
pub(super) fn samples(block: &Block, steps: &Steps, cosines: &[[f32; 8]; 8]) -> [u8; 64] {
    let mut rows = [[0f32; 8]; 8];
    for ((coefficient, step), place) in block.iter().zip(steps).zip(ORDER) {
        if *coefficient != 0 {
            let size = f32::from(*coefficient) * f32::from(*step);
            let row = &mut rows[place / 8];
            row.iter_mut().zip(&cosines[place % 8]).for_each(|(sum, cosine)| *sum += size * cosine);
        }
    }
    let mut samples = [0; 64];
    for (y, line) in samples.chunks_exact_mut(8).enumerate() {
        for (x, sample) in line.iter_mut().enumerate() {
            let sum: f32 = rows.iter().zip(cosines).map(|(row, cosine)| row[x] * cosine[y]).sum();
            let number = (sum + 128.5).clamp(0.0, 255.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is from 0 to 255"
            )]
            let number = number as u8;
            *sample = number;
        }
    }
    samples
}

/// The cosines of the transform, by frequency and place (A.3.3).
pub(super) fn cosines() -> [[f32; 8]; 8] {
    std::array::from_fn(|frequency| {
        std::array::from_fn(|place| {
            let angle = (2 * place + 1) as f32 * frequency as f32 * std::f32::consts::PI / 16.0;
            let scale = if frequency == 0 { std::f32::consts::FRAC_1_SQRT_2 } else { 1.0 };
            angle.cos() * scale / 2.0
        })
    })
}
