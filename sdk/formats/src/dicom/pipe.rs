//! The two ends of a rewriting: where octets come from and where they go, behind one small trait, because a pixel data
//! value passes from one to the other without being looked at.

use super::Error;

/// A body being read and its replacement being written.
pub trait Pipe {
    /// Appends up to `max` octets of the input to `into`; how many, none only at the end.
    ///
    /// # Errors
    /// When the input is interrupted.
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, Error>;

    /// Passes over up to `n` octets of the input; how many.
    ///
    /// # Errors
    /// When the input is interrupted.
    fn skip(&mut self, n: u64) -> Result<u64, Error>;

    /// Appends octets to the output.
    ///
    /// # Errors
    /// When the output is full or interrupted.
    fn write(&mut self, octets: &[u8]) -> Result<(), Error>;

    /// Appends the last octets to the output, which may be all that there are.
    ///
    /// # Errors
    /// As [`Pipe::write`].
    fn write_last(&mut self, octets: Vec<u8>) -> Result<(), Error> {
        self.write(&octets)
    }

    /// Moves up to `n` octets from the input to the output; how many, fewer only at the end.
    ///
    /// # Errors
    /// When either end is interrupted.
    fn forward(&mut self, n: u64) -> Result<u64, Error>;
}

/// How much larger than the input an output in memory may be: a deflated object is written inflated.
const GROWTH_OCTETS_MAX: usize = 64 << 20;

/// A pipe between two buffers in memory.
#[derive(Debug)]
pub struct MemoryPipe<'a> {
    input: &'a [u8],
    output: Vec<u8>,
    output_max: usize,
}

impl<'a> MemoryPipe<'a> {
    /// A pipe that reads `input` and has written nothing.
    pub fn new(input: &'a [u8]) -> Self {
        MemoryPipe { input, output: Vec::new(), output_max: input.len().saturating_add(GROWTH_OCTETS_MAX) }
    }

    /// What was written.
    pub fn into_output(self) -> Vec<u8> {
        self.output
    }

    fn check_room(&self, octets: usize) -> Result<(), Error> {
        if octets > self.output_max - self.output.len() {
            return Err(Error::new("too-large", "the object inflates to more than may be held in memory"));
        }
        Ok(())
    }

    fn advance(&mut self, n: u64) -> &'a [u8] {
        let n = usize::try_from(n).map_or(self.input.len(), |n| n.min(self.input.len()));
        let (passed, rest) = self.input.split_at(n);
        self.input = rest;
        passed
    }
}

impl Pipe for MemoryPipe<'_> {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, Error> {
        let octets = self.advance(max as u64);
        into.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn skip(&mut self, n: u64) -> Result<u64, Error> {
        Ok(self.advance(n).len() as u64)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.check_room(octets.len())?;
        self.output.extend_from_slice(octets);
        Ok(())
    }

    fn write_last(&mut self, octets: Vec<u8>) -> Result<(), Error> {
        if !self.output.is_empty() {
            return self.write(&octets);
        }
        self.check_room(octets.len())?;
        self.output = octets;
        Ok(())
    }

    fn forward(&mut self, n: u64) -> Result<u64, Error> {
        let octets = self.advance(n);
        self.write(octets)?;
        Ok(octets.len() as u64)
    }
}
