//! Reads an input as a script: numbers and pieces from its front on, zeros and nothing after its end.

/// Changes that one script makes.
const CHANGES_MAX: usize = 8;

/// What is left of the input.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// Whether everything was read.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Does something until it is over, but not too often.
    pub fn changes(&mut self, mut change: impl FnMut(&mut Self)) {
        for _ in 0..CHANGES_MAX {
            if self.is_over() {
                break;
            }
            change(self);
        }
    }

    /// One octet.
    pub fn octet(&mut self) -> u8 {
        self.piece(1).first().copied().unwrap_or(0)
    }

    /// Two octets.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.octet(), self.octet()])
    }

    /// A number of any size in few octets: one that is small, or near the end of its range, or any.
    pub fn number(&mut self) -> u64 {
        match self.octet() {
            255 => u64::MAX - u64::from(self.octet()),
            254 => (1 << 62) - 4 + u64::from(self.octet()),
            253 => u64::from(self.short()) << 16,
            252 => u64::from(self.short()),
            small => small.into(),
        }
    }

    /// At most so many octets.
    pub fn piece(&mut self, octets: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(octets.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A piece that says its own length in two octets.
    pub fn measured(&mut self) -> &'a [u8] {
        let octets = self.short();
        self.piece(octets.into())
    }
}
