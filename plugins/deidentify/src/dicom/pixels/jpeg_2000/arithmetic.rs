//! The arithmetic coder of JPEG 2000, which writes bits by how likely they are (ITU-T T.800 Annex C.2).

/// What a state of a context says: how unlikely the other bit is, what state follows on the likely and on the other bit, and whether that then is the
/// likely one (Table C.2).
const STATES: [(u32, u8, u8, bool); 47] = [
    (0x5601, 1, 1, true),
    (0x3401, 2, 6, false),
    (0x1801, 3, 9, false),
    (0x0AC1, 4, 12, false),
    (0x0521, 5, 29, false),
    (0x0221, 38, 33, false),
    (0x5601, 7, 6, true),
    (0x5401, 8, 14, false),
    (0x4801, 9, 14, false),
    (0x3801, 10, 14, false),
    (0x3001, 11, 17, false),
    (0x2401, 12, 18, false),
    (0x1C01, 13, 20, false),
    (0x1601, 29, 21, false),
    (0x5601, 15, 14, true),
    (0x5401, 16, 14, false),
    (0x5101, 17, 15, false),
    (0x4801, 18, 16, false),
    (0x3801, 19, 17, false),
    (0x3401, 20, 18, false),
    (0x3001, 21, 19, false),
    (0x2801, 22, 19, false),
    (0x2401, 23, 20, false),
    (0x2201, 24, 21, false),
    (0x1C01, 25, 22, false),
    (0x1801, 26, 23, false),
    (0x1601, 27, 24, false),
    (0x1401, 28, 25, false),
    (0x1201, 29, 26, false),
    (0x1101, 30, 27, false),
    (0x0AC1, 31, 28, false),
    (0x09C1, 32, 29, false),
    (0x08A1, 33, 30, false),
    (0x0521, 34, 31, false),
    (0x0441, 35, 32, false),
    (0x02A1, 36, 33, false),
    (0x0221, 37, 34, false),
    (0x0141, 38, 35, false),
    (0x0111, 39, 36, false),
    (0x0085, 40, 37, false),
    (0x0049, 41, 38, false),
    (0x0025, 42, 39, false),
    (0x0015, 43, 40, false),
    (0x0009, 44, 41, false),
    (0x0005, 45, 42, false),
    (0x0001, 45, 43, false),
    (0x5601, 46, 46, false),
];

/// What is known of the bits of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    state: u8,
    likely: bool,
}

impl Context {
    /// A context that begins in a state.
    pub(super) fn in_state(state: u8) -> Context {
        Context { state, likely: false }
    }
}

/// Writes bits.
pub(super) struct Encoder {
    /// What was written, behind an octet that is never used.
    octets: Vec<u8>,
    interval: u32,
    code: u32,
    shifts: u32,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder { octets: vec![0], interval: 0x8000, code: 0, shifts: 12 }
    }

    /// Writes a bit of a context (C.2.2 to C.2.6).
    pub(super) fn write(&mut self, bit: bool, context: &mut Context) {
        let (unlikely, on_likely, on_other, turns) = STATES[usize::from(context.state)];
        self.interval -= unlikely;
        let is_upper = if bit == context.likely {
            if self.interval & 0x8000 != 0 {
                self.code += unlikely;
                return;
            }
            context.state = on_likely;
            self.interval >= unlikely
        } else {
            context.state = on_other;
            context.likely ^= turns;
            self.interval < unlikely
        };
        if is_upper {
            self.code += unlikely;
        } else {
            self.interval = unlikely;
        }
        while self.interval & 0x8000 == 0 {
            self.interval <<= 1;
            self.code <<= 1;
            self.shifts -= 1;
            if self.shifts == 0 {
                self.put();
            }
        }
    }

    /// Writes an octet; after one of ones come seven bits (C.2.7).
    fn put(&mut self) {
        let last = self.octets.last_mut().expect("there is one from the beginning");
        if *last != 0xFF && self.code >= 0x800_0000 {
            *last += 1;
            self.code &= 0x7FF_FFFF;
        }
        self.shifts = if *last == 0xFF { 7 } else { 8 };
        let below = 27 - self.shifts;
        self.octets.push(u8::try_from(self.code >> below).expect("no more is above"));
        self.code &= (1 << below) - 1;
    }

    /// What was written (C.2.9).
    pub(super) fn finish(mut self) -> Vec<u8> {
        let end = self.code + self.interval;
        self.code |= 0xFFFF;
        if self.code >= end {
            self.code -= 0x8000;
        }
        for _ in 0..2 {
            self.code <<= self.shifts;
            self.put();
        }
        if self.octets.last() == Some(&0xFF) {
            self.octets.pop();
        }
        self.octets.remove(0);
        self.octets
    }
}
