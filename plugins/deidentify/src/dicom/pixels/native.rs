//! Masks pixel data that is not compressed: the octets of the rectangles are written anew, all others are passed on, without being
//! looked at where they are many.

use hilum_formats::dicom::{Error, Stream};

use super::layout::{Layout, Mask, Span};
use super::look::Looks;

/// How much of a fill is written at a time.
const FILL_OCTETS: usize = 16 << 10;
/// How much of a frame that is looked at is read at a time.
const PIECE_OCTETS: usize = 64 << 10;

/// Masks all frames of a value of `length` octets, which the stream is at the beginning of, and looks at some.
pub(super) fn mask(
    stream: &mut Stream<'_>,
    layout: &Layout,
    mask: &Mask,
    length: u64,
    big_endian: bool,
    looks: Option<&Looks<'_>>,
) -> Result<(), Error> {
    let fills: Vec<Vec<u8>> =
        (0..layout.planes()).map(|plane| fill(&layout.fill(plane, big_endian))).collect();
    let mut painter = Painter { stream, octet: 0, pending: None };
    for frame in 0..layout.frames {
        let start = frame * layout.frame_bits();
        if let Some(looks) = looks.filter(|looks| looks.want(frame)) {
            let mut octets = painter.take(start / 8, looks.octets)?;
            for span in layout.spans(mask) {
                cover(&mut octets, span, &fills[span.plane]);
            }
            looks.at_native(frame, &octets, big_endian)?;
            painter.give(&octets)?;
            continue;
        }
        for span in layout.spans(mask) {
            painter.paint(Span { start: start + span.start, ..span }, &fills[span.plane])?;
        }
    }
    painter.move_to(length)
}

/// Whether each span of each frame begins and ends between two words of 16 bits.
pub(super) fn is_in_words(layout: &Layout, mask: &Mask) -> bool {
    layout.frame_bits().is_multiple_of(16)
        && layout.spans(mask).all(|span| span.start.is_multiple_of(16) && span.bits.is_multiple_of(16))
}

/// Covers a span of a frame in memory.
fn cover(frame: &mut [u8], span: Span, fill: &[u8]) {
    let (mut bit, end) = (span.start, span.start + span.bits);
    while bit < end {
        let at = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        if bit % 8 == 0 && end - bit >= 8 {
            let octets = usize::try_from((end - bit) / 8).unwrap_or(usize::MAX);
            frame[at..at + octets]
                .iter_mut()
                .zip(fill.iter().cycle())
                .for_each(|(octet, fill)| *octet = *fill);
            bit += octets as u64 * 8;
        } else {
            frame[at] &= !(1 << (bit % 8));
            bit += 1;
        }
    }
}

/// A pattern, repeated.
fn fill(pattern: &[u8]) -> Vec<u8> {
    pattern.repeat(FILL_OCTETS / pattern.len())
}

/// Passes octets on, and some bits of them not.
struct Painter<'s, 'p> {
    stream: &'s mut Stream<'p>,
    /// The next octet to be written.
    octet: u64,
    /// That octet, if it was taken already.
    pending: Option<u8>,
}

impl Painter<'_, '_> {
    /// Covers a span, which begins where the last one ended or later.
    fn paint(&mut self, span: Span, fill: &[u8]) -> Result<(), Error> {
        let (start, end) = (span.start, span.start + span.bits);
        self.move_to(start / 8)?;
        if start % 8 != 0 || end / 8 == start / 8 {
            let past = end.min((start / 8 + 1) * 8);
            self.clear(start % 8, past - start)?;
        }
        let (first, past) = (start.div_ceil(8), end / 8);
        if past > first {
            self.move_to(first)?;
            self.cover(past - first, fill)?;
        }
        if end % 8 != 0 && end / 8 != start / 8 {
            self.move_to(end / 8)?;
            self.clear(0, end % 8)?;
        }
        Ok(())
    }

    /// Writes `octets` of a fill in the place of what is there.
    fn cover(&mut self, octets: u64, fill: &[u8]) -> Result<(), Error> {
        self.stream.skip(octets)?;
        let mut left = octets;
        while left > 0 {
            let here = usize::try_from(left).map_or(fill.len(), |left| left.min(fill.len()));
            self.stream.write(&fill[..here])?;
            left -= here as u64;
        }
        self.octet += octets;
        Ok(())
    }

    /// Clears bits of the next octet, of which the lowest one is the first.
    fn clear(&mut self, first: u64, bits: u64) -> Result<(), Error> {
        let octet = match self.pending.take() {
            Some(octet) => octet,
            None => self.stream.take::<1>()?[0],
        };
        let kept =
            (0..8).filter(|bit| !(first..first + bits).contains(bit)).fold(0, |kept, bit| kept | 1 << bit);
        self.pending = Some(octet & kept);
        Ok(())
    }

    /// Takes octets from `octet` on, which have to be given back.
    fn take(&mut self, octet: u64, octets: usize) -> Result<Vec<u8>, Error> {
        self.move_to(octet)?;
        let mut taken = Vec::new();
        while taken.len() < octets {
            let piece = (octets - taken.len()).min(PIECE_OCTETS);
            taken.extend_from_slice(&self.stream.take_value(piece as u64)?);
        }
        Ok(taken)
    }

    /// Writes octets that were taken.
    fn give(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.octet += octets.len() as u64;
        octets.chunks(PIECE_OCTETS).try_for_each(|piece| self.stream.write(piece))
    }

    /// Passes on all octets before `octet`.
    fn move_to(&mut self, octet: u64) -> Result<(), Error> {
        if self.octet < octet
            && let Some(pending) = self.pending.take()
        {
            self.stream.write(&[pending])?;
            self.octet += 1;
        }
        let between = octet - self.octet;
        if between > 0 {
            self.stream.copy(between)?;
            self.octet = octet;
        }
        Ok(())
    }
}
