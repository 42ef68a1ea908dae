//! Huffman tables and the bits of a scan (ITU-T T.81 Annex C, F.1.2 and F.2.2).

use super::Malformed;

const SHORT: Malformed = Malformed("a frame ends before its pixels do");

/// The table for differences of means that is written (Table K.3): it has a code for each that there can be.
const MEANS: ([u8; 16], [u8; 12]) =
    ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    counts: [u8; 16],
    values: Vec<u8>,
    /// For each length from 1: the first code, the one after the last, with zeros behind it to 16 bits, and the place of its first value.
    lengths: [(u32, u32, usize); 16],
    /// For each value its code and the length of that, which is 0 if there is none.
    codes: Vec<(u32, u32)>,
}

impl Table {
    /// The table that differences of means are written by.
    pub(super) fn of_means() -> Table {
        Table::new(MEANS.0, &MEANS.1).expect("the table of the standard is one")
    }

    pub(super) fn new(counts: [u8; 16], values: &[u8]) -> Result<Table, Malformed> {
        let (mut code, mut place) = (0u32, 0);
        let mut lengths = [(0, 0, 0); 16];
        let mut codes = vec![(0, 0); 256];
        for ((count, bits), length) in counts.iter().zip(1..).zip(&mut lengths) {
            let end = code + u32::from(*count);
            if end > 1u32 << bits {
                return Err(Malformed("a Huffman table has more codes than there can be"));
            }
            *length = (code, end << (16 - bits), place);
            for (value, code) in values.iter().skip(place).zip(code..end) {
                codes[usize::from(*value)] = (code, bits);
            }
            place += usize::from(*count);
            code = end << 1;
        }
        Ok(Table { counts, values: values.to_vec(), lengths, codes })
    }

    /// Its value in a DHT segment (B.2.4.2).
    pub(super) fn segment(&self, number: u8) -> Vec<u8> {
        [&[number][..], &self.counts, &self.values].concat()
    }

    /// The code of a value, and its length.
    pub(super) fn code(&self, value: u8) -> Option<(u32, u32)> {
        self.codes.get(usize::from(value)).copied().filter(|(_, length)| *length > 0)
    }
}

/// Bits of a scan, in which a zero follows each octet of ones.
pub(super) struct Reader<'e> {
    pub(super) rest: &'e [u8],
    /// Bits that wait, the first one on top; below them are zeros.
    waiting: u64,
    count: u32,
}

impl<'e> Reader<'e> {
    pub(super) fn new(rest: &'e [u8]) -> Reader<'e> {
        Reader { rest, waiting: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let (octet, rest) = match self.rest {
                [0xFF, 0, rest @ ..] => (0xFF, rest),
                [0xFF, ..] | [] => return,
                [octet, rest @ ..] => (*octet, rest),
            };
            self.rest = rest;
            self.waiting |= u64::from(octet) << (56 - self.count);
            self.count += 8;
        }
    }

    fn drop(&mut self, count: u32) -> Result<(), Malformed> {
        self.count = self.count.checked_sub(count).ok_or(SHORT)?;
        self.waiting <<= count;
        Ok(())
    }

    pub(super) fn value(&mut self, table: &Table) -> Result<u8, Malformed> {
        self.fill();
        let code = u32::try_from(self.waiting >> 48).unwrap_or(0);
        for ((first, end, place), length) in table.lengths.iter().zip(1..) {
            if code < *end {
                self.drop(length)?;
                let offset = (code >> (16 - length)) - first;
                let value = table.values.get(place + offset as usize);
                return value.copied().ok_or(Malformed("a code is in no Huffman table"));
            }
        }
        Err(Malformed("a code is in no Huffman table"))
    }

    /// A number of a category (F.2.2.1).
    pub(super) fn number(&mut self, category: u8) -> Result<i16, Malformed> {
        if category == 0 {
            return Ok(0);
        }
        self.fill();
        let bits = i32::try_from(self.waiting >> (64 - u32::from(category))).map_err(|_| SHORT)?;
        self.drop(category.into())?;
        let number = if bits >> (category - 1) == 0 { bits + 1 - (1 << category) } else { bits };
        i16::try_from(number).map_err(|_| SHORT)
    }

    /// Passes over a restart marker with a number from 0 to 7, and what pads the octet before it.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), Malformed> {
        self.fill();
        match self.rest {
            [0xFF, marker, rest @ ..] if self.count < 8 && usize::from(*marker) == 0xD0 + number % 8 => {
                *self = Reader::new(rest);
                Ok(())
            }
            _ => Err(Malformed("a restart is not where the frame says")),
        }
    }

    /// Ends with the frame. Some writers have units behind the last one, which nobody shows; behind the frame is at most what makes its length even.
    pub(super) fn end(self) -> Result<(), Malformed> {
        let marker = self.rest.windows(2).position(|two| two[0] == 0xFF && two[1] != 0);
        match marker.and_then(|marker| self.rest.get(marker..)) {
            Some([0xFF, 0xD9] | [0xFF, 0xD9, _]) => Ok(()),
            _ => Err(Malformed("a frame does not end where its pixels do, or has several scans")),
        }
    }
}

/// Writes the bits of a scan.
pub(super) struct Writer {
    into: Vec<u8>,
    waiting: u64,
    count: u32,
}

impl Writer {
    pub(super) fn new(into: Vec<u8>) -> Writer {
        Writer { into, waiting: 0, count: 0 }
    }

    pub(super) fn put(&mut self, (bits, count): (u32, u32)) {
        self.waiting = self.waiting << count | u64::from(bits);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let octet =
                u8::try_from(self.waiting >> self.count).expect("no more bits wait than an octet has");
            self.waiting &= (1 << self.count) - 1;
            self.into.push(octet);
            if octet == 0xFF {
                self.into.push(0);
            }
        }
    }

    /// Writes the bits of a number of a category (F.1.2.1).
    pub(super) fn put_number(&mut self, number: i16, category: u8) {
        let bits = if number < 0 { i32::from(number) - 1 + (1 << category) } else { number.into() };
        self.put((bits.unsigned_abs(), category.into()));
    }

    /// Fills the last octet with ones and writes a marker.
    pub(super) fn mark(&mut self, marker: u8) {
        let left = (8 - self.count) % 8;
        self.put(((1 << left) - 1, left));
        self.into.extend_from_slice(&[0xFF, marker]);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.mark(0xD9);
        self.into.resize(self.into.len().next_multiple_of(2), 0);
        self.into
    }
}

/// The category of a number: how many bits it has.
pub(super) fn category(number: i16) -> u8 {
    let bits = 16 - number.unsigned_abs().leading_zeros();
    u8::try_from(bits).expect("there are sixteen bits")
}
