//! What JPEG, JPEG Lossless and JPEG-LS have in common before their scans: segments and the frame header (ITU-T T.81 B.1.1 and B.2.2, T.87 Annex C).

use super::codec::Malformed;
use super::layout::Layout;

/// Samples of a frame, which is held in memory.
pub(super) const SAMPLES_MAX: usize = 4 << 20;

/// A marker segment.
pub(super) struct Segment<'e> {
    pub(super) marker: u8,
    /// What follows its length.
    pub(super) contents: &'e [u8],
    /// With its marker and its length.
    pub(super) whole: &'e [u8],
}

/// Takes the next segment off the front of what is left of a frame.
pub(super) fn next<'e>(rest: &mut &'e [u8]) -> Result<Segment<'e>, Malformed> {
    while let [0xFF, 0xFF, _, _, ..] = rest {
        *rest = &rest[1..];
    }
    let [0xFF, marker, high, low, after @ ..] = *rest else {
        return Err(Malformed("a frame ends before its scan"));
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let split = length.checked_sub(2).and_then(|length| after.split_at_checked(length));
    let (contents, after) = split.ok_or(Malformed("a segment ends after its frame"))?;
    let segment = Segment { marker: *marker, contents, whole: &rest[..2 + length] };
    *rest = after;
    Ok(segment)
}

/// The precision and the components, three octets each, of a frame header (SOF) that is the first one and of the layout, if these two are what
/// is read.
pub(super) fn frame_header<'s>(
    segment: &'s [u8],
    layout: &Layout,
    is_first: bool,
    is_read: impl Fn(u8, &[u8]) -> bool,
) -> Result<(u8, &'s [u8]), Malformed> {
    let [precision, y, rows, x, columns, count, components @ ..] = segment else {
        return Err(Malformed("a frame header is too short"));
    };
    let rows = u32::from(u16::from_be_bytes([*y, *rows]));
    let columns = u32::from(u16::from_be_bytes([*x, *columns]));
    let expected = layout.sample_fills().len();
    if (u64::from(rows), u64::from(columns), usize::from(*count))
        != (u64::from(layout.rows), u64::from(layout.columns), expected)
        || components.len() != 3 * expected
        || !is_read(*precision, components)
    {
        return Err(Malformed("a frame has other rows, columns, samples or bits than the object says"));
    }
    if layout.sample_count() > SAMPLES_MAX as u64 {
        return Err(Malformed("a frame has more samples than can be held"));
    }
    if !is_first {
        return Err(Malformed("a frame has two headers"));
    }
    Ok((*precision, components))
}

/// Whether components are not subsampled, and samples of a precision have room where the object allocates it: what is coded without loss.
pub(super) fn is_lossless(layout: &Layout) -> impl Fn(u8, &[u8]) -> bool {
    let allocated = layout.bits_allocated;
    move |precision, components| {
        components.chunks(3).all(|one| one[1] == 0x11)
            && (2..=16).contains(&precision)
            && u32::from(precision) <= allocated
    }
}
