//! Codes a block of coefficients of a subband bit plane by bit plane (ITU-T T.800 Annex D).

use super::arithmetic::{Context, Encoder};

/// Samples of a block in each direction, at most.
pub(super) const BLOCK_SIZE: usize = 64;
/// Rows that are gone through together.
const STRIPE: usize = 4;

/// Which neighbours of a coefficient are not zero so far, and which of those beside and above it are negative.
const LEFT: u16 = 1;
const RIGHT: u16 = 1 << 1;
const ABOVE: u16 = 1 << 2;
const BELOW: u16 = 1 << 3;
const CORNERS: [u16; 4] = [1 << 4, 1 << 5, 1 << 6, 1 << 7];
const NEIGHBOURS: u16 = 0xFF;
const LEFT_NEGATIVE: u16 = 1 << 8;
const RIGHT_NEGATIVE: u16 = 1 << 9;
const ABOVE_NEGATIVE: u16 = 1 << 10;
const BELOW_NEGATIVE: u16 = 1 << 11;
/// Of the coefficient itself: it is not zero so far, this bit plane has it already, and it had one after its first.
const SIGNIFICANT: u16 = 1 << 12;
const VISITED: u16 = 1 << 13;
const REFINED: u16 = 1 << 14;

/// Contexts (Table D.1 to D.4): nine for what becomes significant, five for signs, three for further bits, one for runs and one for what is as likely
/// as not.
const SIGNS: usize = 9;
const REFINEMENTS: usize = 14;
const RUN: usize = 17;
const UNIFORM: usize = 18;

/// What a subband has been filtered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Band {
    /// Nothing, or what is high from row to row.
    LowOrRows,
    /// What is high from column to column.
    Columns,
    Both,
}

/// A coded block.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) octets: Vec<u8>,
    /// Bit planes that are not all zeros.
    pub(super) planes: u32,
}

impl Block {
    /// How often the block was gone through: once for its highest bit plane, and three times for each further one.
    pub(super) fn passes(&self) -> u32 {
        if self.planes == 0 { 0 } else { 3 * self.planes - 2 }
    }
}

/// A block on its way.
struct Coding {
    /// Sizes of coefficients, row after row, and whether they are negative.
    sizes: Vec<u32>,
    negative: Vec<bool>,
    /// What is known so far, with a margin of one.
    known: Vec<u16>,
    width: usize,
    height: usize,
    contexts: [Context; 19],
    /// The context of a coefficient that becomes significant, by its neighbours.
    zero_contexts: [u8; 256],
    encoder: Encoder,
}

/// Codes a block of coefficients, row after row.
pub(super) fn encode(coefficients: &[i32], width: usize, band: Band) -> Block {
    let sizes: Vec<u32> = coefficients.iter().map(|coefficient| coefficient.unsigned_abs()).collect();
    let most = sizes.iter().copied().max().unwrap_or(0);
    let planes = 32 - most.leading_zeros();
    if planes == 0 {
        return Block::default();
    }
    let height = coefficients.len() / width;
    let mut contexts = [Context::default(); 19];
    contexts[0] = Context::in_state(4);
    contexts[RUN] = Context::in_state(3);
    contexts[UNIFORM] = Context::in_state(46);
    let mut coding = Coding {
        sizes,
        negative: coefficients.iter().map(|coefficient| *coefficient < 0).collect(),
        known: vec![0; (width + 2) * (height + 2)],
        width,
        height,
        contexts,
        zero_contexts: zero_contexts(band),
        encoder: Encoder::new(),
    };
    for plane in (0..planes).rev() {
        if plane + 1 < planes {
            coding.propagate(plane);
            coding.refine(plane);
        }
        coding.clean_up(plane);
    }
    Block { octets: coding.encoder.finish(), planes }
}

/// Table D.1.
fn zero_contexts(band: Band) -> [u8; 256] {
    std::array::from_fn(|neighbours| {
        let neighbours = u16::try_from(neighbours).expect("there are 256");
        let count = |of: u16| (0..8).map(|bit| u8::from(neighbours & of & 1 << bit != 0)).sum::<u8>();
        let (beside, upright) = (count(LEFT | RIGHT), count(ABOVE | BELOW));
        let corners = count(CORNERS.iter().sum());
        let (first, second) = if band == Band::Columns { (upright, beside) } else { (beside, upright) };
        match (band, first, second, corners) {
            (Band::Both, _, _, 3..) => 8,
            (Band::Both, _, _, 2) => 6 + u8::from(beside + upright > 0),
            (Band::Both, _, _, 1) => 3 + (beside + upright).min(2),
            (Band::Both, _, _, _) => (beside + upright).min(2),
            (_, 2, _, _) => 8,
            (_, 1, 1.., _) => 7,
            (_, 1, 0, _) => 5 + u8::from(corners > 0),
            (_, _, 2, _) => 4,
            (_, _, 1, _) => 3,
            (_, _, _, _) => corners.min(2),
        }
    })
}

/// The context of a sign and whether it is turned over (Table D.2 and D.3).
fn sign_context(known: u16) -> (usize, bool) {
    let towards = |significant: u16, negative: u16| match (known & significant != 0, known & negative != 0) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => -1,
    };
    let beside = (towards(LEFT, LEFT_NEGATIVE) + towards(RIGHT, RIGHT_NEGATIVE)).clamp(-1, 1);
    let upright = (towards(ABOVE, ABOVE_NEGATIVE) + towards(BELOW, BELOW_NEGATIVE)).clamp(-1, 1);
    let is_turned = beside < 0 || beside == 0 && upright < 0;
    let (beside, upright) = if is_turned { (-beside, -upright) } else { (beside, upright) };
    let context = match (beside, upright) {
        (0, 0) => 0,
        (0, _) => 1,
        (_, -1) => 2,
        (_, 0) => 3,
        (_, _) => 4,
    };
    (SIGNS + context, is_turned)
}

impl Coding {
    fn place(&self, column: usize, row: usize) -> (usize, usize) {
        (row * self.width + column, (row + 1) * (self.width + 2) + column + 1)
    }

    fn write(&mut self, bit: bool, context: usize) {
        self.encoder.write(bit, &mut self.contexts[context]);
    }

    /// The columns of stripes, in order: a column, its first row, and the row after its last.
    fn columns(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + use<> {
        let (width, height) = (self.width, self.height);
        let stripes = (0..height).step_by(STRIPE);
        stripes.flat_map(move |top| (0..width).map(move |column| (column, top..(top + STRIPE).min(height))))
    }

    fn has_bit(&self, at: usize, plane: u32) -> bool {
        self.sizes[at] >> plane & 1 == 1
    }

    /// Codes whether a coefficient becomes significant.
    fn zero(&mut self, (at, place): (usize, usize), plane: u32) {
        let context = self.zero_contexts[usize::from(self.known[place] & NEIGHBOURS)];
        let bit = self.has_bit(at, plane);
        self.write(bit, context.into());
        if bit {
            self.become_significant((at, place));
        }
    }

    /// Codes the sign of a coefficient that becomes significant, which its neighbours then know.
    fn become_significant(&mut self, (at, place): (usize, usize)) {
        let negative = self.negative[at];
        let (context, is_turned) = sign_context(self.known[place]);
        self.write(negative != is_turned, context);
        let stride = self.width + 2;
        let sign = |mark: u16| if negative { mark } else { 0 };
        self.known[place] |= SIGNIFICANT;
        self.known[place - 1] |= RIGHT | sign(RIGHT_NEGATIVE);
        self.known[place + 1] |= LEFT | sign(LEFT_NEGATIVE);
        self.known[place - stride] |= BELOW | sign(BELOW_NEGATIVE);
        self.known[place + stride] |= ABOVE | sign(ABOVE_NEGATIVE);
        let corners = [place - stride - 1, place - stride + 1, place + stride - 1, place + stride + 1];
        for (corner, mark) in corners.into_iter().zip(CORNERS) {
            self.known[corner] |= mark;
        }
    }

    /// D.3.1: what has significant neighbours.
    fn propagate(&mut self, plane: u32) {
        for (column, rows) in self.columns() {
            for row in rows {
                let (at, place) = self.place(column, row);
                let known = self.known[place];
                if known & SIGNIFICANT == 0 && known & NEIGHBOURS != 0 {
                    self.zero((at, place), plane);
                    self.known[place] |= VISITED;
                }
            }
        }
    }

    /// D.3.3: further bits of what was significant before.
    fn refine(&mut self, plane: u32) {
        for (column, rows) in self.columns() {
            for row in rows {
                let (at, place) = self.place(column, row);
                let known = self.known[place];
                if known & SIGNIFICANT == 0 || known & VISITED != 0 {
                    continue;
                }
                let context = match (known & REFINED, known & NEIGHBOURS) {
                    (0, 0) => REFINEMENTS,
                    (0, _) => REFINEMENTS + 1,
                    (_, _) => REFINEMENTS + 2,
                };
                let bit = self.has_bit(at, plane);
                self.write(bit, context);
                self.known[place] |= REFINED;
            }
        }
    }

    /// D.3.4: all the rest, where four zeros without significant neighbours are one bit.
    fn clean_up(&mut self, plane: u32) {
        for (column, rows) in self.columns() {
            let top = rows.start;
            let mut begin = top;
            let is_quiet = |row| {
                let (_, place) = self.place(column, row);
                self.known[place] & (NEIGHBOURS | SIGNIFICANT | VISITED) == 0
            };
            if rows.len() == STRIPE && rows.clone().all(is_quiet) {
                let first = rows.clone().find(|row| self.has_bit(self.place(column, *row).0, plane));
                self.write(first.is_some(), RUN);
                let Some(first) = first else { continue };
                self.write(first - top >= 2, UNIFORM);
                self.write((first - top) % 2 == 1, UNIFORM);
                self.become_significant(self.place(column, first));
                begin = first + 1;
            }
            for row in begin..rows.end {
                let (at, place) = self.place(column, row);
                if self.known[place] & (SIGNIFICANT | VISITED) == 0 {
                    self.zero((at, place), plane);
                }
            }
            for row in rows {
                let (_, place) = self.place(column, row);
                self.known[place] &= !VISITED;
            }
        }
    }
}
