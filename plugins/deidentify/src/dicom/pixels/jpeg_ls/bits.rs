//! The bits of a scan of JPEG-LS (ITU-T T.87 A.1 and A.5.3): after an octet of ones the next one has seven bits, so that no marker comes about.

use super::Malformed;

const SHORT: Malformed = Malformed("a frame ends before its pixels do");

/// Reads or writes what a scan consists of. Who reads is told nothing; who writes is told what, and gets it back.
pub(super) trait Coder {
    /// Bits, the most significant one first.
    fn bits(&mut self, count: u32, known: impl FnOnce() -> u32) -> Result<u32, Malformed>;

    /// A number by a Golomb code with `k` low bits, and if that had more bits than the first of `most` in a form with the second (A.5.3).
    fn number(&mut self, k: u32, most: (u32, u32), known: impl FnOnce() -> u32) -> Result<u32, Malformed>;

    /// What only who writes knows.
    fn known<T>(&self, known: impl FnOnce() -> T) -> Option<T>;
}

/// Reads up to the next marker.
pub(super) struct Reader<'e> {
    rest: &'e [u8],
    /// Bits that wait, the first one on top; below them are zeros.
    waiting: u64,
    count: u32,
    after_ones: bool,
}

impl<'e> Reader<'e> {
    pub(super) fn new(rest: &'e [u8]) -> Reader<'e> {
        Reader { rest, waiting: 0, count: 0, after_ones: false }
    }

    /// What follows the scan, from its marker on.
    pub(super) fn end(self) -> &'e [u8] {
        let marker = self.rest.windows(2).position(|two| two[0] == 0xFF && two[1] >= 0x80);
        &self.rest[marker.unwrap_or(self.rest.len())..]
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let (octet, rest) = match self.rest {
                [] | [0xFF] | [0xFF, 0x80..=0xFF, ..] => return,
                [octet, rest @ ..] => (*octet, rest),
            };
            self.rest = rest;
            let bits = if self.after_ones { 7 } else { 8 };
            self.waiting |= u64::from(octet) << (64 - bits - self.count);
            self.count += bits;
            self.after_ones = octet == 0xFF;
        }
    }

    fn drop(&mut self, count: u32) {
        self.waiting = self.waiting.checked_shl(count).unwrap_or(0);
        self.count -= count;
    }

    fn take(&mut self, count: u32) -> Result<u32, Malformed> {
        if self.count < count {
            self.fill();
        }
        if self.count < count {
            return Err(SHORT);
        }
        let bits = self.waiting.checked_shr(64 - count).unwrap_or(0);
        self.drop(count);
        u32::try_from(bits).map_err(|_| SHORT)
    }

    /// How many zeros come before a one, of which there may be so many.
    fn zeros(&mut self, most: u32) -> Result<u32, Malformed> {
        let mut zeros = 0;
        loop {
            self.fill();
            if self.count == 0 {
                return Err(SHORT);
            }
            let here = self.waiting.leading_zeros().min(self.count);
            zeros += here;
            if zeros > most {
                return Err(Malformed("a number has more bits than there can be"));
            }
            if here < self.count {
                self.drop(here + 1);
                return Ok(zeros);
            }
            self.drop(here);
        }
    }
}

impl Coder for Reader<'_> {
    fn bits(&mut self, count: u32, _: impl FnOnce() -> u32) -> Result<u32, Malformed> {
        self.take(count)
    }

    fn number(
        &mut self,
        k: u32,
        (limit, long): (u32, u32),
        _: impl FnOnce() -> u32,
    ) -> Result<u32, Malformed> {
        let most = limit - long - 1;
        let zeros = self.zeros(most)?;
        if zeros < most { Ok(zeros << k | self.take(k)?) } else { Ok(self.take(long)? + 1) }
    }

    fn known<T>(&self, _: impl FnOnce() -> T) -> Option<T> {
        None
    }
}

/// Writes the bits of a scan.
pub(super) struct Writer {
    pub(super) into: Vec<u8>,
    waiting: u64,
    count: u32,
    after_ones: bool,
}

impl Writer {
    pub(super) fn new(into: Vec<u8>) -> Writer {
        Writer { into, waiting: 0, count: 0, after_ones: false }
    }

    fn put(&mut self, count: u32, bits: u32) {
        self.waiting = self.waiting << count | u64::from(bits);
        self.count += count;
        loop {
            let size = if self.after_ones { 7 } else { 8 };
            if self.count < size {
                return;
            }
            self.count -= size;
            let octet = self.waiting >> self.count;
            self.waiting &= (1 << self.count) - 1;
            let octet = u8::try_from(octet).expect("no more bits wait than an octet has");
            self.into.push(octet);
            self.after_ones = octet == 0xFF;
        }
    }

    /// Fills the last octet with zeros. An octet of ones is not the last one.
    pub(super) fn end(mut self) -> Vec<u8> {
        if self.count > 0 || self.after_ones {
            let size = if self.after_ones { 7 } else { 8 };
            self.put(size - self.count, 0);
        }
        self.into
    }
}

impl Coder for Writer {
    fn bits(&mut self, count: u32, known: impl FnOnce() -> u32) -> Result<u32, Malformed> {
        let bits = known();
        self.put(count, bits);
        Ok(bits)
    }

    fn number(
        &mut self,
        k: u32,
        (limit, long): (u32, u32),
        known: impl FnOnce() -> u32,
    ) -> Result<u32, Malformed> {
        let number = known();
        let most = limit - long - 1;
        let zeros = (number >> k).min(most);
        // Not all at once: there may be more than wait.
        self.put(zeros / 2, 0);
        self.put(zeros - zeros / 2, 0);
        self.put(1, 1);
        if zeros < most {
            self.put(k, number & ((1 << k) - 1));
        } else {
            self.put(long, number - 1);
        }
        Ok(number)
    }

    fn known<T>(&self, known: impl FnOnce() -> T) -> Option<T> {
        Some(known())
    }
}
