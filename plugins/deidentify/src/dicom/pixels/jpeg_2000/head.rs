//! The head of a codestream of JPEG 2000 (ITU-T T.800 Annex A), and where its parts end.

use super::super::codec::Malformed;
use super::super::layout::Layout;
use super::encode::Shape;

/// Samples of a frame, which is held in memory, several times while it is decoded.
const SAMPLES_MAX: usize = 2 << 20;
/// Columns of a frame: beyond, it would be written in several precincts.
const COLUMNS_MAX: usize = 1 << 15;
/// What a decoder has to keep account of.
const TILES_MAX: usize = 4096;
const LAYERS_MAX: u16 = 64;
/// Exponents of the sizes of blocks together, and of the least side of precincts, but for those of the smallest resolution.
const BLOCK_EXPONENTS_MIN: u8 = 8;
const PRECINCT_EXPONENT_MIN: u8 = 4;

/// What the head of a codestream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) shape: Shape,
    /// Why the frame cannot be written again as it was.
    pub(super) loss: Option<&'static str>,
}

impl Head {
    /// Reads the head of a codestream, and holds it against the object; all parts of the codestream have to be there to their ends.
    pub(super) fn read(encoded: &[u8], layout: &Layout) -> Result<Head, Malformed> {
        let start = Malformed("a frame does not begin as a codestream of JPEG 2000");
        let mut rest = encoded.strip_prefix(&[0xFF, 0x4F]).ok_or(start)?;
        let (mut shape, mut loss, mut is_coded, mut is_quantized) = (None, None, false, false);
        loop {
            if rest.starts_with(&[0xFF, 0x90]) {
                break;
            }
            let (marker, segment, after) = segment(rest)?;
            rest = after;
            match marker {
                0x51 if shape.is_none() => shape = Some(size(segment, layout)?),
                // Of all components, and of one; each may say that it loses something.
                0x52 => {
                    let [style, _, layers @ .., turns] = *segment.first_chunk::<5>().ok_or(SHORT)?;
                    let shape = shape.as_mut().ok_or(Malformed("what is coded how comes before its size"))?;
                    if turns > 1
                        || turns == 1 && shape.components != 3
                        || u16::from_be_bytes(layers) > LAYERS_MAX
                    {
                        return Err(Malformed(
                            "a codestream has more layers, or other colours, than are read",
                        ));
                    }
                    shape.turns_colours = turns == 1;
                    loss = loss.or(coding(style & 1 == 1, &segment[5..])?);
                    is_coded = true;
                }
                0x53 => {
                    let [_, style] = *segment.first_chunk::<2>().ok_or(SHORT)?;
                    loss = loss.or(coding(style & 1 == 1, &segment[2..])?);
                }
                0x5C | 0x5D => {
                    let style = segment.get(usize::from(marker - 0x5C)).ok_or(SHORT)?;
                    is_quantized |= style & 0x1F != 0;
                }
                // Comments, and lengths of tiles and packets.
                0x64 | 0x55 | 0x57 => {}
                _ => return Err(Malformed("the head of a codestream has a segment that is not read")),
            }
        }
        let shape =
            shape.filter(|_| is_coded).ok_or(Malformed("a codestream does not say how it is coded"))?;
        let loss = loss.or(is_quantized.then_some(LOSS));
        tile_parts(rest)?;
        Ok(Head { shape, loss })
    }
}

const SHORT: Malformed = Malformed("a segment of a codestream is too short");
const LOSS: &str = "a frame in JPEG 2000 was compressed with loss";

/// The next marker segment: its marker, its value, and what follows.
fn segment(rest: &[u8]) -> Result<(u8, &[u8], &[u8]), Malformed> {
    let [0xFF, marker, high, low, after @ ..] = rest else {
        return Err(Malformed("a marker segment was expected in a codestream"));
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let split = length.checked_sub(2).and_then(|length| after.split_at_checked(length));
    let (segment, after) = split.ok_or(Malformed("a segment ends after its frame"))?;
    Ok((*marker, segment, after))
}

/// SIZ (A.5.1).
fn size(segment: &[u8], layout: &Layout) -> Result<Shape, Malformed> {
    let (numbers, components) = segment.split_at_checked(36).ok_or(SHORT)?;
    let number = |at: usize| {
        let octets = numbers[2 + 4 * at..][..4].try_into().expect("four octets");
        usize::try_from(u32::from_be_bytes(octets)).unwrap_or(usize::MAX)
    };
    let [columns, rows, tile_columns, tile_rows] = [0, 1, 4, 5].map(number);
    let expected = layout.sample_fills().len();
    let [.., high, low] = *numbers else { return Err(SHORT) };
    let depth = *components.first().ok_or(SHORT)?;
    let is_whole = usize::from(u16::from_be_bytes([high, low])) == expected
        && components.len() == 3 * expected
        && components.chunks(3).all(|one| one == [depth, 1, 1]);
    let precision = (depth & 0x7F) + 1;
    if (columns, rows) != (layout.columns as usize, layout.rows as usize)
        || !is_whole
        || precision > 16
        || u32::from(precision) > layout.bits_allocated
    {
        return Err(Malformed("a frame has other rows, columns, samples or bits than the object says"));
    }
    if [2, 3, 6, 7].map(number) != [0; 4] || tile_columns == 0 || tile_rows == 0 {
        return Err(Malformed("a frame does not begin where its grid does"));
    }
    if layout.sample_count() > SAMPLES_MAX as u64 || columns.max(rows) > COLUMNS_MAX {
        return Err(Malformed("a frame has more samples than can be held"));
    }
    if columns.div_ceil(tile_columns) * rows.div_ceil(tile_rows) > TILES_MAX {
        return Err(Malformed("a frame has more tiles than are read"));
    }
    let signed = depth & 0x80 != 0;
    Ok(Shape { columns, rows, components: expected, precision, signed, turns_colours: false })
}

/// The parameters of COD and COC (A.6.1): why they lose something, if they do.
fn coding(has_precincts: bool, parameters: &[u8]) -> Result<Option<&'static str>, Malformed> {
    let ([_, width, height, style, transform], precincts) =
        parameters.split_first_chunk::<5>().ok_or(SHORT)?;
    let is_small = |precinct: &u8| (precinct & 0x0F).min(precinct >> 4) < PRECINCT_EXPONENT_MIN;
    if width.saturating_add(*height).saturating_add(4) < BLOCK_EXPONENTS_MIN
        || has_precincts && precincts.iter().skip(1).any(is_small)
        || style & 0xC0 != 0
    {
        return Err(Malformed("a codestream has smaller blocks than are read, or others"));
    }
    Ok((*transform != 1).then_some(LOSS))
}

/// Holds the parts of tiles against where they end (A.4.2), and refuses those with parameters of their own.
fn tile_parts(mut rest: &[u8]) -> Result<(), Malformed> {
    loop {
        match rest {
            // Behind the end is at most what makes the length even.
            [0xFF, 0xD9] | [0xFF, 0xD9, _] => return Ok(()),
            [0xFF, 0x90, ..] => {}
            _ => return Err(Malformed("a codestream does not end where its tiles do")),
        }
        let (_, head, mut after) = segment(rest)?;
        let length = head.get(2..6).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
        let length = usize::try_from(length.ok_or(SHORT)?).unwrap_or(usize::MAX);
        while !after.starts_with(&[0xFF, 0x93]) {
            let (marker, _, next) = segment(after)?;
            if !matches!(marker, 0x64 | 0x58) {
                return Err(Malformed("a tile has parameters of its own"));
            }
            after = next;
        }
        // The last part may leave open how long it is.
        let end = if length == 0 { rest.len().saturating_sub(2) } else { length };
        let end =
            if length == 0 && !rest[end..].starts_with(&[0xFF, 0xD9]) { end.saturating_sub(1) } else { end };
        let head = rest.len() - after.len() + 2;
        rest = rest.get(end..).filter(|_| end >= head).ok_or(Malformed("a tile ends after its frame"))?;
    }
}
