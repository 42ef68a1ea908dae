//! A file on a disk that forgets: its octets as programs see them, and as they would be found after a power cut.

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
        for change in self.unsynced.drain(..) {
            match change.what {
                What::Write { position, octets } => {
                    survivors(position, &octets, dice).for_each(|part| part.apply(&mut self.stable));
                }
                resize @ What::Resize(_) => {
                    if dice.keeps() {
                        resize.apply(&mut self.stable);
                    }
                }
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
}

/// The sectors of a write that reach the disk: all, none, or some.
fn survivors<'a>(position: usize, octets: &'a [u8], dice: &mut Dice) -> impl Iterator<Item = What> + 'a {
    let keeps_sector = dice.sectors();
    let first = SECTOR_OCTETS - position % SECTOR_OCTETS;
    let mut start = 0;
    std::iter::from_fn(move || {
        (start < octets.len()).then(|| {
            let end =
                if start == 0 { first.min(octets.len()) } else { octets.len().min(start + SECTOR_OCTETS) };
            let part = What::Write { position: position + start, octets: octets[start..end].to_vec() };
            start = end;
            part
        })
    })
    .zip(keeps_sector)
    .filter_map(|(part, keeps)| keeps.then_some(part))
}
