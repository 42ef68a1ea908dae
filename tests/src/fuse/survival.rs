//! What a power cut leaves of what was not synced.

/// What survives a cut beside what was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Whatever a disk with a volatile cache may have written already: of each write all, none or some of its sectors; of
    /// the changes of directories those up to some moment. Chance has a seed, so that the same cut can be made again.
    Chance(u64),
}

/// Decides what survives.
pub(super) struct Dice(Option<u64>);

/// What becomes of a write.
#[derive(Clone, Copy)]
enum Fate {
    Lost,
    Kept,
    Torn,
}

impl Dice {
    pub(super) fn new(survival: Survival) -> Self {
        match survival {
            Survival::Nothing => Self(None),
            Survival::Chance(seed) => Self(Some(seed)),
        }
    }

    /// Whether one change survives.
    pub(super) fn keeps(&mut self) -> bool {
        self.below(2) == 1
    }

    /// A number below another; 0 where nothing survives.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): enough for dice, and the same everywhere.
        let Some(state) = &mut self.0 else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// Which sectors of one write survive.
    pub(super) fn sectors(&mut self) -> impl Iterator<Item = bool> + use<> {
        let fate = match self.below(3) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn,
        };
        let mut own = Self(self.0.map(|state| state ^ 0x5ec7));
        std::iter::repeat_with(move || match fate {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Torn => own.keeps(),
        })
    }
}
