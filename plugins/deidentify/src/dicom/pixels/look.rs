//! Which frames are looked at for text, and what is not looked at in them.

use hilum_formats::dicom::Error;

use super::layout::{Layout, Mask};
use super::picture::Picture;
use super::rules::Rectangle;
use super::text;

/// How many frames of an object are looked at: the first, the last and some between.
const FRAMES_MAX: u64 = 8;

/// Looks at frames whose pixels are known to be clean, and doubts it.
pub(super) struct Looks<'l> {
    layout: &'l Layout,
    /// Where there is text that identifies nobody.
    known: Mask,
    /// Octets of a frame that is not compressed.
    pub(super) octets: usize,
}

impl<'l> Looks<'l> {
    /// Looks at frames of a layout, but not into some rectangles.
    ///
    /// # Errors
    /// Why they cannot be looked at.
    pub(super) fn new(layout: &'l Layout, known: &[Rectangle]) -> Result<Looks<'l>, &'static str> {
        Ok(Looks { layout, known: Mask::new(known, layout)?, octets: Picture::octets(layout)? })
    }

    /// Whether a frame, counted from 0, is to be looked at.
    pub(super) fn want(&self, frame: u64) -> bool {
        let frames = self.layout.frames;
        frames <= FRAMES_MAX || (0..FRAMES_MAX).any(|step| step * (frames - 1) / (FRAMES_MAX - 1) == frame)
    }

    /// Looks at a frame that is not compressed.
    ///
    /// # Errors
    /// Where there is something like text.
    pub(super) fn at_native(&self, number: u64, frame: &[u8], big_endian: bool) -> Result<(), Error> {
        self.at(number, Picture::of_native(frame, self.layout, big_endian))
    }

    /// Looks at a picture of a frame.
    ///
    /// # Errors
    /// Where there is something like text.
    pub(super) fn at(&self, number: u64, mut picture: Picture) -> Result<(), Error> {
        picture.cover(&self.known);
        if !text::is_likely(&picture) {
            return Ok(());
        }
        let number = number + 1;
        let what = format!("frame {number} has what is like text, where no rule covers or knows any");
        Err(Error::new("text-in-pixels", what))
    }
}
