//! Frames that are compressed: decoded, covered, encoded again, and decoded once more to see that it is so.

use std::borrow::Cow;

use super::layout::{Layout, Mask};
use super::picture::Picture;
use super::segments::{self, Codestream};
use super::{Facts, jpeg, jpeg_2000, jpeg_lossless, jpeg_ls, rle};

/// What is wrong with an encoded frame, or not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What frames are decoded and encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Rle,
    JpegLossless,
    JpegLs,
    Jpeg2000,
    /// The same, in a transfer syntax that does not say that nothing is lost. A codestream does not tell whether bits were left out of it.
    Jpeg2000Lossy,
    /// With loss, of which the coefficients are covered.
    Jpeg,
}

/// A frame that was read, and is written again.
pub(super) trait Coded: Sized + PartialEq {
    /// Reads a frame of a layout.
    ///
    /// # Errors
    /// Where it is none, is none of the layout, or is made in a way that is not supported.
    fn decode(encoded: &[u8], layout: &Layout) -> Result<Self, Malformed>;

    /// Why it cannot be written again as it was, outside of a mask.
    fn obstacle(&self) -> Option<&'static str>;

    /// Replaces what a mask covers.
    fn cover(&mut self, layout: &Layout, mask: &Mask);

    /// What it looks like: samples of up to 16 bits, pixel after pixel.
    fn samples(&self) -> Cow<'_, [u16]>;

    /// Writes it, padded to an even length; none where that turns out to be impossible.
    fn encode(&self) -> Option<Vec<u8>>;
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
            "1.2.840.10008.1.2.4.90" => Some(Codec::Jpeg2000),
            "1.2.840.10008.1.2.4.91" => Some(Codec::Jpeg2000Lossy),
            "1.2.840.10008.1.2.4.50" => Some(Codec::Jpeg),
            _ => None,
        }
    }

    /// What an object says of its frames when they are decoded: some photometric interpretations are only those of compressed frames (PS3.3 C.7.6.3.1.2).
    pub(super) fn decoded(self, facts: &Facts) -> Cow<'_, Facts> {
        let photometric: &[u8] = match (self, &facts.photometric[..]) {
            (Codec::Jpeg2000 | Codec::Jpeg2000Lossy, b"YBR_RCT" | b"YBR_ICT") => b"RGB",
            (Codec::Jpeg, b"YBR_FULL_422") => b"YBR_FULL",
            _ => return Cow::Borrowed(facts),
        };
        Cow::Owned(Facts { photometric: photometric.to_vec(), ..facts.clone() })
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
            Codec::Jpeg2000 | Codec::Jpeg2000Lossy => "malformed-jpeg-2000",
            Codec::Jpeg => "malformed-jpeg",
        }
    }

    /// The comments of whose frames are overwritten where nothing else is done to them; RLE has none.
    fn codestream(self) -> Option<Codestream> {
        match self {
            Codec::Rle => None,
            Codec::JpegLossless | Codec::JpegLs | Codec::Jpeg => Some(Codestream::Jpeg),
            Codec::Jpeg2000 | Codec::Jpeg2000Lossy => Some(Codestream::Jpeg2000),
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
            Codec::Jpeg2000Lossy if !mask.is_empty() => {
                return Err(Failure::Unmaskable("a frame in JPEG 2000 may have been compressed with loss"));
            }
            Codec::Jpeg2000 | Codec::Jpeg2000Lossy => Some(cover::<jpeg_2000::Frame>(frame, layout, mask)?),
            Codec::Jpeg => Some(cover::<jpeg::Frame>(frame, layout, mask)?),
        };
        if let Some(codestream) = self.codestream().filter(|_| mask.is_empty()) {
            codestream.blank(frame)?;
        }
        Ok(picture)
    }
}

/// Replaces a frame by one in which a mask is covered, unless it covers nothing; what it then looks like.
fn cover<F: Coded>(frame: &mut Vec<u8>, layout: &Layout, mask: &Mask) -> Result<Picture, Failure> {
    let mut decoded = F::decode(frame, layout)?;
    if !mask.is_empty() {
        if let Some(obstacle) = decoded.obstacle() {
            return Err(Failure::Unmaskable(obstacle));
        }
        decoded.cover(layout, mask);
        // A mistake of an encoder becomes a refusal and not another image.
        let is_same = |encoded: &Vec<u8>| F::decode(encoded, layout).is_ok_and(|again| again == decoded);
        let encoded = decoded.encode().filter(is_same);
        *frame = encoded.ok_or(Failure::Unmaskable("a frame is another one after it was encoded again"))?;
    }
    Ok(Picture::of_samples(&decoded.samples(), layout))
}
