//! Framing: a length, then one value in postcard. Nothing is allocated for a frame before its octets are there.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

use crate::limits::FRAME_OCTETS_MAX;

/// Octets of the length before each frame.
pub const FRAME_LENGTH_OCTETS: usize = 4;

/// What the buffer of a [`FrameDecoder`] grows by at least.
pub const BUFFER_STEP_OCTETS: usize = 16 * 1024;

/// Why octets are not a frame, or a value does not fit into one. Names no value of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than a frame may be.
    #[error("a frame of {octets} octets is over the limit of {FRAME_OCTETS_MAX}")]
    TooLong {
        /// As announced.
        octets: u64,
    },
    /// Not a frame that may come here.
    #[error("the frame does not decode as {expected}")]
    Malformed {
        /// The frame that was expected.
        expected: &'static str,
    },
}

/// A value that is one frame.
pub trait Frame: Sized {
    /// Reads a whole frame, without its length. Bodies share the memory of `octets`.
    fn decode(octets: &Bytes) -> Result<Self, FrameError>;
}

/// Reads a value that takes all of `octets`.
pub(super) fn decode_exact<T: DeserializeOwned>(octets: &[u8]) -> Result<T, FrameError> {
    decode_borrowed(octets)
}

/// As [`decode_exact`], for values that borrow from `octets`.
pub(super) fn decode_borrowed<'de, T: Deserialize<'de>>(octets: &'de [u8]) -> Result<T, FrameError> {
    let malformed = FrameError::Malformed { expected: short_name::<T>() };
    match postcard::take_from_bytes(octets) {
        Ok((value, [])) => Ok(value),
        _ => Err(malformed),
    }
}

/// `publisher::ToClient` of `hilum_core::wire::publisher::ToClient<..>`.
fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    name.strip_prefix("hilum_core::wire::").unwrap_or(name)
}

/// Appends one frame, with its length, to `out`. On an error `out` is as it was.
pub fn encode(frame: &impl Serialize, out: &mut BytesMut) -> Result<(), FrameError> {
    let start = out.len();
    out.put_u32_le(0);
    let written = postcard::serialize_with_flavor(frame, Appender { out: &mut *out, start });
    let octets = out.len() - start - FRAME_LENGTH_OCTETS;
    match (written, u32::try_from(octets)) {
        (Ok(()), Ok(length)) => {
            out[start..start + FRAME_LENGTH_OCTETS].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(FrameError::TooLong { octets: octets as u64 })
        }
    }
}

/// Writes into a buffer up to the length that a frame may have.
struct Appender<'a> {
    out: &'a mut BytesMut,
    start: usize,
}

impl Appender<'_> {
    fn make_room(&self, more: usize) -> postcard::Result<()> {
        let octets = self.out.len() - self.start - FRAME_LENGTH_OCTETS + more;
        if octets > FRAME_OCTETS_MAX { Err(postcard::Error::SerializeBufferFull) } else { Ok(()) }
    }
}

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.make_room(data.len())?;
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.make_room(1)?;
        self.out.put_u8(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Puts frames together from octets as they come.
///
/// Feed it with [`FrameDecoder::push`], then take frames with [`FrameDecoder::next_frame`] until there is none: it holds no more
/// than was pushed since, plus one frame. After an error it stays in error. When raw octets follow the frames of a
/// stream, [`FrameDecoder::take_rest`] gives those that are here already.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// Nothing received so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds octets that were received.
    pub fn push(&mut self, octets: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        let missing = (self.buffer.len() + octets.len()).saturating_sub(self.buffer.capacity());
        if missing > 0 {
            // Doubling keeps copying linear, and keeps what a peer can make us allocate near what it sent.
            let step = self.buffer.len().clamp(BUFFER_STEP_OCTETS, FRAME_OCTETS_MAX);
            self.buffer.reserve(octets.len().max(step));
        }
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole frame, without its length, if it is here.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Some(prefix) = self.buffer.first_chunk::<FRAME_LENGTH_OCTETS>() else { return Ok(None) };
        let octets = u32::from_le_bytes(*prefix);
        let length = usize::try_from(octets).unwrap_or(usize::MAX);
        if length > FRAME_OCTETS_MAX {
            let error = FrameError::TooLong { octets: octets.into() };
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
            return Err(error);
        }
        if self.buffer.len() < FRAME_LENGTH_OCTETS + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(FRAME_LENGTH_OCTETS + length);
        Ok(Some(frame.split_off(FRAME_LENGTH_OCTETS).freeze()))
    }

    /// Octets of the frame whose beginning is here, with its length; none as long as the length is not here.
    #[must_use]
    pub fn frame_octets(&self) -> Option<usize> {
        let octets = u32::from_le_bytes(*self.buffer.first_chunk()?);
        Some(FRAME_LENGTH_OCTETS + usize::try_from(octets).unwrap_or(usize::MAX).min(FRAME_OCTETS_MAX))
    }

    /// Whether part of a frame is here.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Everything that is here and not part of a frame taken so far.
    pub fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }
}
