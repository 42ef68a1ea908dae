//! Frames that are compressed without loss: decoded, covered, encoded again, and decoded once more to see that it is so.

use super::layout::{Layout, Mask};
use super::picture::Picture;
use super::segments::{self, Codestream};
use super::{jpeg_lossless, jpeg_ls, rle};

/// What is wrong with an encoded frame, or not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What frames are decoded and encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Rle,
    JpegLossless,
    JpegLs,
}

/// A decoded frame of samples of up to 16 bits.
pub(super) trait Sampled: Sized + PartialEq {
    /// Decodes a frame of a layout.
    ///
    /// # Errors
    /// Where it is none, is none of the layout, or is made in a way that is not supported.
    fn decode(encoded: &[u8], layout: &Layout) -> Result<Self, Malformed>;

    /// Why it cannot be encoded again as it was: it had been compressed with loss.
    fn loss(&self) -> Option<&'static str>;

    /// Its samples, pixel after pixel.
    fn samples(&self) -> &[u16];

    /// Its samples, to be covered.
    fn samples_mut(&mut self) -> &mut [u16];

    /// Encodes it, padded to an even length.
    fn encode(&self) -> Vec<u8>;
}

/// Why a frame does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is not what the object says.
    Malformed(&'static str),
    /// It cannot be masked exactly.
    Unmaskable(&'static str),
    /// What holds it is malformed.
    Segments(&'static str),
}

impl From<Malformed> for Failure {
    fn from(Malformed(what): Malformed) -> Failure {
        Failure::Malformed(what)
    }
}

impl From<rle::Malformed> for Failure {
    fn from(rle::Malformed(what): rle::Malformed) -> Failure {
        Failure::Malformed(what)
    }
}

impl From<segments::Malformed> for Failure {
    fn from(segments::Malformed(what): segments::Malformed) -> Failure {
        Failure::Segments(what)
    }
}

impl Codec {
    /// That of a transfer syntax.
    pub(super) fn of(syntax: &str) -> Option<Codec> {
        match syntax {
            "1.2.840.10008.1.2.5" => Some(Codec::Rle),
            "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => Some(Codec::JpegLossless),
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => Some(Codec::JpegLs),
            _ => None,
        }
    }

    /// The code of the refusal of a frame, and what is wrong with it.
    pub(super) fn refusal(self, failure: Failure) -> (&'static str, &'static str) {
        match failure {
            Failure::Malformed(what) => (self.malformed(), what),
            Failure::Unmaskable(what) => ("pixels-not-maskable", what),
            Failure::Segments(what) => ("malformed-fragments", what),
        }
    }

    fn malformed(self) -> &'static str {
        match self {
            Codec::Rle => "malformed-rle",
            Codec::JpegLossless => "malformed-jpeg-lossless",
            Codec::JpegLs => "malformed-jpeg-ls",
        }
    }

    /// The comments of whose frames are overwritten where nothing else is done to them; RLE has none.
    fn codestream(self) -> Option<Codestream> {
        match self {
            Codec::Rle => None,
            Codec::JpegLossless | Codec::JpegLs => Some(Codestream::Jpeg),
        }
    }

    /// Covers a frame, or if there is no mask overwrites its comments; what it then looks like, if that is wanted.
    ///
    /// # Errors
    /// Where that is not possible, or not exact.
    pub(super) fn clean(
        self,
        frame: &mut Vec<u8>,
        layout: &Layout,
        mask: &Mask,
        is_wanted: bool,
    ) -> Result<Option<Picture>, Failure> {
        let picture = match self {
            Codec::Rle => {
                if !mask.is_empty() {
                    *frame = rle::mask(frame, layout, mask)?;
                }
                is_wanted.then(|| Picture::of_rle(frame, layout)).transpose()?
            }
            _ if mask.is_empty() && !is_wanted => None,
            Codec::JpegLossless => Some(cover::<jpeg_lossless::Frame>(frame, layout, mask)?),
            Codec::JpegLs => Some(cover::<jpeg_ls::Frame>(frame, layout, mask)?),
        };
        if let Some(codestream) = self.codestream().filter(|_| mask.is_empty()) {
            codestream.blank(frame)?;
        }
        Ok(picture)
    }
}

/// Replaces a frame by one in which a mask is covered, unless it covers nothing; what it then looks like.
fn cover<F: Sampled>(frame: &mut Vec<u8>, layout: &Layout, mask: &Mask) -> Result<Picture, Failure> {
    let mut decoded = F::decode(frame, layout)?;
    if !mask.is_empty() {
        if let Some(loss) = decoded.loss() {
            return Err(Failure::Unmaskable(loss));
        }
        let fill = layout.sample_fills();
        for range in mask.ranges(layout.columns) {
            let samples = &mut decoded.samples_mut()[range.start * fill.len()..range.end * fill.len()];
            samples.chunks_exact_mut(fill.len()).for_each(|pixel| pixel.copy_from_slice(&fill));
        }
        let encoded = decoded.encode();
        // A mistake of an encoder becomes a refusal and not another image.
        if F::decode(&encoded, layout).ok().is_none_or(|again| again != decoded) {
            return Err(Failure::Unmaskable("a frame is another one after it was encoded again"));
        }
        *frame = encoded;
    }
    Ok(Picture::of_samples(decoded.samples(), layout))
}
