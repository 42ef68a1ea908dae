//! A window over the input and a buffer before the output, so that the rewriter takes, skips and copies octets without
//! knowing where they are.
//!
//! Read with [`Stream::take`] and [`Stream::skip`], write with [`Stream::write`], pass on with [`Stream::copy`], and
//! end with [`Stream::finish`].

use super::Error;
use super::inflate::Inflater;
use super::pipe::Pipe;

/// How much is read at a time.
const READ_OCTETS: usize = 64 << 10;
/// How much waits before it is written: all of what a plugin may hold inline.
const WRITE_OCTETS: usize = 256 << 10;
/// From this size on, octets that are not in the window yet go from end to end without coming here.
const FORWARD_OCTETS_MIN: u64 = 16 << 10;
/// The largest value that is looked at.
pub const VALUE_OCTETS_MAX: u64 = 64 << 10;

/// What is held back from some octet on, within what may be held back already.
#[must_use = "what is held has to be let go or dropped"]
#[derive(Debug)]
pub struct Held {
    start: usize,
    outer: Option<usize>,
}

/// An object being read and its replacement being written.
pub struct Stream<'a> {
    pipe: &'a mut dyn Pipe,
    inflater: Option<Inflater>,
    window: Vec<u8>,
    /// The first octet of the window that was not taken yet.
    start: usize,
    offset: u64,
    read_octets: usize,
    unwritten: Vec<u8>,
    /// How many octets may wait while nothing is let out.
    held: Option<usize>,
}

impl<'a> Stream<'a> {
    /// A stream at the beginning of a pipe.
    pub fn new(pipe: &'a mut dyn Pipe) -> Self {
        Stream::after(Vec::new(), pipe)
    }

    /// A stream of octets that were read already, all of them perhaps, and then of what a pipe has.
    pub fn after(begun: Vec<u8>, pipe: &'a mut dyn Pipe) -> Self {
        Stream {
            pipe,
            inflater: None,
            start: 0,
            offset: 0,
            read_octets: READ_OCTETS,
            unwritten: Vec::with_capacity(begun.len().min(WRITE_OCTETS)),
            window: begun,
            held: None,
        }
    }

    /// From here on the input is a deflated stream; offsets count its inflated octets.
    pub fn inflate(&mut self) {
        let rest = self.window.split_off(self.start);
        self.window.clear();
        self.start = 0;
        self.inflater = Some(Inflater::new(rest));
    }

    /// Octets taken, skipped and copied so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the input has ended.
    #[inline]
    pub fn at_end(&mut self) -> Result<bool, Error> {
        Ok(self.buffered() == 0 && !self.fill()?)
    }

    /// The next octets, without taking them; fewer than `N` only at the end.
    pub fn peek<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Error> {
        while self.buffered() < N {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let octets = &self.window[self.start..self.start + N];
        Ok(Some(octets.try_into().expect("the slice has N octets")))
    }

    /// The next `N` octets.
    #[inline]
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        if let Some(octets) = self.window[self.start..].first_chunk() {
            let octets = *octets;
            self.advance(N);
            return Ok(octets);
        }
        let octets = self.peek()?.ok_or_else(|| self.truncated())?;
        self.advance(N);
        Ok(octets)
    }

    /// The next `n` octets, of which there may be [`VALUE_OCTETS_MAX`].
    pub fn take_value(&mut self, n: u64) -> Result<Vec<u8>, Error> {
        let n = self.fill_value(n)?;
        let value = self.window[self.start..self.start + n].to_vec();
        self.advance(n);
        Ok(value)
    }

    /// Passes over `n` octets.
    #[inline]
    pub fn skip(&mut self, n: u64) -> Result<(), Error> {
        if n <= self.buffered() as u64 {
            self.pass(n);
            return Ok(());
        }
        self.skip_beyond(n)
    }

    fn skip_beyond(&mut self, n: u64) -> Result<(), Error> {
        let mut left = n - self.pass(n);
        while left > 0 {
            let passed = if self.inflater.is_some() {
                if !self.fill()? {
                    return Err(self.truncated());
                }
                self.pass(left)
            } else {
                let passed = self.pipe.skip(left)?.min(left);
                if passed == 0 {
                    return Err(self.truncated());
                }
                self.offset += passed;
                passed
            };
            left -= passed;
        }
        Ok(())
    }

    /// Passes `n` octets on to the output.
    pub fn copy(&mut self, n: u64) -> Result<(), Error> {
        let mut left = n;
        loop {
            let here = usize::try_from(left).map_or(self.buffered(), |n| n.min(self.buffered()));
            self.unwritten.extend_from_slice(&self.window[self.start..self.start + here]);
            self.advance(here);
            self.flush_if_full()?;
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            if left >= FORWARD_OCTETS_MIN && self.inflater.is_none() && self.held.is_none() {
                return self.forward(left);
            }
            if !self.fill()? {
                return Err(self.truncated());
            }
        }
    }

    /// Reads `octets` at a time from here on: few where much is forwarded, so that it is not read after all.
    pub fn read_at_a_time(&mut self, octets: Option<usize>) {
        self.read_octets = octets.unwrap_or(READ_OCTETS);
    }

    /// Writes octets.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.unwritten.extend_from_slice(octets);
        self.flush_if_full()
    }

    /// Lets nothing out until [`Stream::release`], and lets at most `octets` wait.
    pub fn hold(&mut self, octets: usize) {
        self.held = Some(octets);
    }

    /// What was held back, to be written after what belongs before it.
    pub fn release(&mut self) -> Vec<u8> {
        self.held = None;
        self.unwritten.split_off(0)
    }

    /// Lets nothing out that is written from here on, and lets at most `octets` of it wait, until [`Stream::let_go`] or
    /// [`Stream::drop_held`], which have to come in the reverse order of several of these.
    pub fn hold_from_here(&mut self, octets: usize) -> Held {
        let held = Held { start: self.unwritten.len(), outer: self.held };
        let most = held.start + octets;
        self.held = Some(held.outer.map_or(most, |outer| outer.min(most)));
        held
    }

    /// Lets out what was held, or leaves it to what was held before.
    #[expect(clippy::needless_pass_by_value, reason = "what is held is held once")]
    pub fn let_go(&mut self, held: Held) -> Result<(), Error> {
        self.held = held.outer;
        self.flush_if_full()
    }

    /// What was held, to be written again after what belongs before it, which holds what was held before.
    #[expect(clippy::needless_pass_by_value, reason = "what is held is held once")]
    pub fn take_held(&mut self, held: Held) -> Vec<u8> {
        self.held = held.outer;
        self.unwritten.split_off(held.start)
    }

    /// Drops what was held; how many octets are held still, or wait to be written.
    #[expect(clippy::needless_pass_by_value, reason = "what is held is held once")]
    pub fn drop_held(&mut self, held: Held) -> usize {
        self.unwritten.truncate(held.start);
        self.held = held.outer;
        held.start
    }

    /// How many octets are held or wait to be written.
    pub fn held_octets(&self) -> usize {
        self.unwritten.len()
    }

    /// The next `n` octets, of which there may be [`VALUE_OCTETS_MAX`], without taking them.
    pub fn peek_value(&mut self, n: u64) -> Result<&[u8], Error> {
        let n = self.fill_value(n)?;
        Ok(&self.window[self.start..self.start + n])
    }

    /// Writes what waits.
    pub fn finish(self) -> Result<(), Error> {
        if self.unwritten.is_empty() { Ok(()) } else { self.pipe.write_last(self.unwritten) }
    }

    /// The error that the input ends here.
    pub fn truncated(&self) -> Error {
        let end = self.offset + self.buffered() as u64;
        Error::new("truncated", format!("the object ends inside a data element, at offset {end}"))
    }

    /// Has the next `n` octets in the window.
    fn fill_value(&mut self, n: u64) -> Result<usize, Error> {
        if n > VALUE_OCTETS_MAX {
            let reason = format!(
                "a value of {n} octets at offset {} has to be read, at most {VALUE_OCTETS_MAX} can be",
                self.offset
            );
            return Err(Error::new("value-too-long", reason));
        }
        let n = usize::try_from(n).expect("it is at most VALUE_OCTETS_MAX");
        while self.buffered() < n {
            if !self.fill()? {
                return Err(self.truncated());
            }
        }
        Ok(n)
    }

    fn forward(&mut self, n: u64) -> Result<(), Error> {
        self.flush()?;
        let mut left = n;
        while left > 0 {
            let moved = self.pipe.forward(left)?.min(left);
            if moved == 0 {
                return Err(self.truncated());
            }
            self.offset += moved;
            left -= moved;
        }
        Ok(())
    }

    fn buffered(&self) -> usize {
        self.window.len() - self.start
    }

    fn advance(&mut self, n: usize) {
        self.start += n;
        self.offset += n as u64;
    }

    /// Passes over up to `n` octets of the window.
    fn pass(&mut self, n: u64) -> u64 {
        let here = usize::try_from(n).map_or(self.buffered(), |n| n.min(self.buffered()));
        self.advance(here);
        here as u64
    }

    /// Reads more into the window; whether there was more.
    fn fill(&mut self) -> Result<bool, Error> {
        self.window.drain(..self.start);
        self.start = 0;
        let read = match &mut self.inflater {
            None => self.pipe.read(&mut self.window, self.read_octets)?,
            Some(inflater) => inflater.read(self.pipe, &mut self.window)?,
        };
        Ok(read > 0)
    }

    fn flush_if_full(&mut self) -> Result<(), Error> {
        match self.held {
            Some(max) if self.unwritten.len() > max => {
                let reason = format!(
                    "over {max} octets come before what has to be read first, at offset {}",
                    self.offset
                );
                Err(Error::new("too-large", reason))
            }
            None if self.unwritten.len() >= WRITE_OCTETS => self.flush(),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if !self.unwritten.is_empty() {
            self.pipe.write(&self.unwritten)?;
            self.unwritten.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryPipe;
    use super::*;

    #[test]
    fn what_was_read_already_comes_before_what_the_pipe_has() {
        let mut pipe = MemoryPipe::new(b"cdef");
        let mut stream = Stream::after(b"ab".to_vec(), &mut pipe);
        assert_eq!(stream.take::<3>().unwrap(), *b"abc");
        stream.copy(2).unwrap();
        assert_eq!((stream.offset(), stream.at_end().unwrap()), (5, false));
        stream.skip(1).unwrap();
        assert!(stream.at_end().unwrap());
        stream.finish().unwrap();
        assert_eq!(pipe.into_output(), b"de");
    }

    #[test]
    fn what_is_written_at_once_and_what_in_pieces_come_out_alike() {
        for octets in [0, 1, WRITE_OCTETS - 1, WRITE_OCTETS, 3 * WRITE_OCTETS + 7] {
            let input: Vec<u8> = (0..251).cycle().take(octets).collect();
            let mut pipe = MemoryPipe::new(&[]);
            let mut stream = Stream::after(input.clone(), &mut pipe);
            stream.write(b"begin").unwrap();
            stream.copy(octets as u64).unwrap();
            stream.finish().unwrap();
            assert!(pipe.into_output() == [b"begin", input.as_slice()].concat(), "{octets}");
        }
    }

    #[test]
    fn what_was_held_comes_after_what_belongs_before_it() {
        let mut pipe = MemoryPipe::new(&[]);
        let mut stream = Stream::after(vec![0; 1000], &mut pipe);
        stream.hold(100);
        stream.write(b"held").unwrap();
        let held = stream.release();
        assert!(stream.unwritten.capacity() >= 1000, "there is room for all without moving it");
        stream.write(b"first ").unwrap();
        stream.write(&held).unwrap();
        stream.finish().unwrap();
        assert_eq!(pipe.into_output(), b"first held");
    }
}
