//! Deflated Explicit VR Little Endian (PS3.5 A.5): the data set as one raw DEFLATE stream (RFC 1951), inflated a piece at
//! a time and bounded, since a kilobyte can stand for a megabyte.

use super::Error;
use super::pipe::Pipe;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// How much is inflated at a time.
const PIECE_OCTETS: usize = 32 << 10;
/// How much one object may inflate to.
const INFLATED_OCTETS_MAX: u64 = 2 << 30;
/// What may follow the stream, and is dropped: the trailer of gzip (RFC 1952 section 2.3.1), which some writers leave, and
/// a NUL that pads to an even length (PS3.5 A.5).
const TRAILER_OCTETS_MAX: usize = 8 + 1;

pub(super) struct Inflater {
    state: Box<InflateState>,
    /// Deflated octets that wait.
    input: Vec<u8>,
    inflated: u64,
    ended: bool,
}

impl Inflater {
    /// An inflater whose stream begins with `input`.
    pub(super) fn new(input: Vec<u8>) -> Self {
        Inflater { state: InflateState::new_boxed(DataFormat::Raw), input, inflated: 0, ended: false }
    }

    /// Appends some inflated octets; how many, none only at the end of the stream.
    pub(super) fn read(&mut self, pipe: &mut dyn Pipe, into: &mut Vec<u8>) -> Result<usize, Error> {
        let before = into.len();
        while !self.ended && into.len() == before {
            let more = !self.input.is_empty() || pipe.read(&mut self.input, PIECE_OCTETS)? > 0;
            into.resize(before + PIECE_OCTETS, 0);
            let result = inflate(&mut self.state, &self.input, &mut into[before..], MZFlush::None);
            into.truncate(before + result.bytes_written);
            self.input.drain(..result.bytes_consumed);
            self.inflated += result.bytes_written as u64;
            if self.inflated > INFLATED_OCTETS_MAX {
                let reason = format!("the data set inflates to more than {INFLATED_OCTETS_MAX} octets");
                return Err(Error::new("too-large", reason));
            }
            match result.status {
                Ok(MZStatus::StreamEnd) => self.end(pipe)?,
                Ok(_) | Err(MZError::Buf) if more || result.bytes_written > 0 => {}
                Ok(_) | Err(MZError::Buf) => return Err(self.refuse("truncated", "ends")),
                Err(_) => return Err(self.refuse("malformed-deflate", "cannot be inflated")),
            }
        }
        Ok(into.len() - before)
    }

    fn refuse(&self, code: &'static str, what: &str) -> Error {
        Error::new(code, format!("the deflated data set {what} after {} inflated octets", self.inflated))
    }

    fn end(&mut self, pipe: &mut dyn Pipe) -> Result<(), Error> {
        self.ended = true;
        while self.input.len() <= TRAILER_OCTETS_MAX && pipe.read(&mut self.input, TRAILER_OCTETS_MAX)? > 0 {}
        if self.input.len() > TRAILER_OCTETS_MAX {
            return Err(Error::new("trailing-data", "octets follow the deflated data set"));
        }
        Ok(())
    }
}
