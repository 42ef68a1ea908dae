//! A file on a disk that forgets: its octets as programs see them, and as they would be found after a power cut.

use std::collections::HashMap;

use super::survival::Dice;

/// What a disk writes as a whole, or not at all.
pub(super) const SECTOR_OCTETS: usize = 512;

/// A write or a change of length that was not synced.
struct Change {
    at: u64,
    what: What,
}

enum What {
    Write { position: usize, octets: Vec<u8> },
    Resize(usize),
}

/// The octets of a file, twice.
#[derive(Default)]
pub(super) struct File {
    live: Vec<u8>,
    stable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl File {
    pub(super) fn size(&self) -> usize {
        self.live.len()
    }

    pub(super) fn read(&self, position: usize, octets: usize) -> &[u8] {
        let end = position.saturating_add(octets).min(self.live.len());
        self.live.get(position..end).unwrap_or_default()
    }

    /// Writes at a position, at a moment of the disk's own count.
    pub(super) fn write(&mut self, at: u64, position: usize, octets: &[u8]) {
        self.change(Change { at, what: What::Write { position, octets: octets.to_vec() } });
    }

    /// Cuts the file, or lengthens it with zeros.
    pub(super) fn resize(&mut self, at: u64, octets: usize) {
        self.change(Change { at, what: What::Resize(octets) });
    }

    fn change(&mut self, change: Change) {
        change.what.apply(&mut self.live);
        self.unsynced.push(change);
    }

    /// What was changed up to a moment is safe.
    pub(super) fn sync(&mut self, until: u64) {
        let safe = self.unsynced.partition_point(|change| change.at <= until);
        self.unsynced.drain(..safe).for_each(|change| change.what.apply(&mut self.stable));
    }

    /// What was not synced is gone, but for what the dice leave.
    pub(super) fn cut(&mut self, dice: &mut Dice) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let parts: Vec<(What, bool)> =
            unsynced.into_iter().flat_map(|change| change.what.fate(dice)).collect();
        // A sector reaches the disk as it was at some moment: never a later write to it without the earlier ones.
        let mut lasts: HashMap<usize, usize> = HashMap::new();
        for (index, (part, survives)) in parts.iter().enumerate() {
            if let (What::Write { position, .. }, true) = (part, survives) {
                lasts.insert(position / SECTOR_OCTETS, index);
            }
        }
        for (index, (part, survives)) in parts.into_iter().enumerate() {
            let last = match &part {
                What::Write { position, .. } => lasts.get(&(position / SECTOR_OCTETS)).copied(),
                What::Resize(_) => survives.then_some(index),
            };
            if last.is_some_and(|last| index <= last) {
                part.apply(&mut self.stable);
            }
        }
        self.live.clone_from(&self.stable);
    }
}

impl What {
    fn apply(&self, octets: &mut Vec<u8>) {
        match self {
            Self::Write { position, octets: new } => {
                let end = position + new.len();
                if octets.len() < end {
                    octets.resize(end, 0);
                }
                octets[*position..end].copy_from_slice(new);
            }
            Self::Resize(size) => octets.resize(*size, 0),
        }
    }

    /// The parts that reach the disk or do not, each on its own: a change of length, or a sector of a write.
    fn fate(self, dice: &mut Dice) -> Vec<(Self, bool)> {
        let Self::Write { position, octets } = self else { return vec![(self, dice.keeps())] };
        let mut parts = Vec::new();
        let mut rest = octets.as_slice();
        for keeps in dice.sectors() {
            let at = position + octets.len() - rest.len();
            let (sector, behind) = rest.split_at(rest.len().min(SECTOR_OCTETS - at % SECTOR_OCTETS));
            parts.push((Self::Write { position: at, octets: sector.to_vec() }, keeps));
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        parts
    }
}
