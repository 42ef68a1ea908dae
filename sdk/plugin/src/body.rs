//! Large bodies: a pull reader and a push writer, so that a plugin holds a chunk and never the whole.

use std::fmt;
use std::io;

use crate::backend;

/// Octets that [`BodyReader::read_to_end`] and [`io::Read`] ask of the host at once.
const READ_OCTETS: u32 = 256 * 1024;

/// Why a body could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than the limit, in octets.
    #[error("the body is over the limit of {0} octets")]
    TooLarge(u64),
    /// The store behind the body failed, or the stage ran out of time.
    #[error("the body was interrupted")]
    Interrupted,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        Self::other(error)
    }
}

/// A body read once, in order. Also an [`io::Read`].
pub struct BodyReader {
    pub(crate) source: backend::Reader,
    /// Octets that were taken from the host for [`io::Read`] and not handed on yet.
    ahead: Vec<u8>,
    taken: usize,
}

impl BodyReader {
    pub(crate) fn new(source: backend::Reader) -> Self {
        Self { source, ahead: Vec::new(), taken: 0 }
    }

    /// A reader over octets in memory, for native tests.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn from_octets(octets: Vec<u8>) -> Self {
        Self::new(backend::Reader::new(octets))
    }

    /// Octets in all, whatever has been read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.source.size()
    }

    /// Up to `max` octets; empty at the end and only there (unless `max` is 0).
    pub fn read(&mut self, max: u32) -> Result<Vec<u8>, BodyError> {
        let rest = self.take_ahead(max as usize);
        if rest.is_empty() { self.source.read(max) } else { Ok(rest) }
    }

    /// Passes over up to `n` octets without bringing them into the plugin; says how many there were.
    pub fn skip(&mut self, n: u64) -> Result<u64, BodyError> {
        let ahead = self.take_ahead(usize::try_from(n).unwrap_or(usize::MAX)).len() as u64;
        if ahead == n { Ok(n) } else { Ok(ahead + self.source.skip(n - ahead)?) }
    }

    /// Exactly `n` octets, or an error if the body ends before.
    pub fn read_exact_octets(&mut self, n: usize) -> Result<Vec<u8>, BodyError> {
        let mut octets = Vec::new();
        while octets.len() < n {
            let left = u32::try_from(n - octets.len()).unwrap_or(READ_OCTETS).min(READ_OCTETS);
            let piece = self.read(left)?;
            if piece.is_empty() {
                return Err(BodyError::Other("the body ends early".into()));
            }
            octets.extend_from_slice(&piece);
        }
        Ok(octets)
    }

    /// All that is left. Bound it by [`BodyReader::size`] before.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, BodyError> {
        let mut octets = Vec::new();
        loop {
            let piece = self.read(READ_OCTETS)?;
            if piece.is_empty() {
                return Ok(octets);
            }
            octets.extend_from_slice(&piece);
        }
    }

    /// The host's reader, standing where this one stands.
    pub(crate) fn into_rest(mut self) -> Result<backend::Reader, BodyError> {
        let ahead = self.take_ahead(usize::MAX);
        if ahead.is_empty() {
            return Ok(self.source);
        }
        let mut sink = backend::Writer::new();
        sink.write(&ahead)?;
        sink.forward(&mut self.source, u64::MAX)?;
        sink.finish()
    }

    fn take_ahead(&mut self, max: usize) -> Vec<u8> {
        let end = self.ahead.len().min(self.taken.saturating_add(max));
        let octets = self.ahead[self.taken..end].to_vec();
        self.taken = end;
        octets
    }
}

impl io::Read for BodyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.taken == self.ahead.len() {
            self.ahead = self.source.read(READ_OCTETS)?;
            self.taken = 0;
        }
        let n = into.len().min(self.ahead.len() - self.taken);
        into[..n].copy_from_slice(&self.ahead[self.taken..self.taken + n]);
        self.taken += n;
        Ok(n)
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyReader(<{} octets>)", self.size())
    }
}

/// A body being written. Also an [`io::Write`], best behind an [`io::BufWriter`]: each write is a host call.
pub struct BodyWriter {
    sink: backend::Writer,
}

impl BodyWriter {
    /// An empty body.
    #[must_use]
    pub fn new() -> Self {
        Self { sink: backend::Writer::new() }
    }

    /// Adds octets.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), BodyError> {
        self.sink.write(octets)
    }

    /// Moves up to `n` octets from a reader without bringing them into the plugin; says how many there were.
    pub fn forward(&mut self, from: &mut BodyReader, n: u64) -> Result<u64, BodyError> {
        let ahead = from.take_ahead(usize::try_from(n).unwrap_or(usize::MAX));
        if !ahead.is_empty() {
            self.sink.write(&ahead)?;
        }
        let left = n - ahead.len() as u64;
        if left == 0 { Ok(n) } else { Ok(ahead.len() as u64 + self.sink.forward(&mut from.source, left)?) }
    }

    /// Ends the body and gives it back, to be read or to be put into a draft.
    pub fn finish(self) -> Result<BodyReader, BodyError> {
        self.sink.finish().map(BodyReader::new)
    }
}

impl Default for BodyWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl io::Write for BodyWriter {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Self::write(self, octets)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyWriter")
    }
}
