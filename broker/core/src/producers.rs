//! Which records of which publisher are already in a flow, so that a retry is recognised.
//!
//! A publisher numbers its records from 1. [`Producers`] remembers the last number that was settled, that is stored or
//! refused for good. Where an append failed, the flow takes nothing more of that publisher until the failed record comes
//! again: a later one must not hide that an earlier one is missing.

use std::collections::{BTreeMap, HashMap};

use crate::limits::PRODUCERS_MAX;
use crate::record::{ProducerId, ProducerPosition};

/// The publishers of one flow. Bounded: the one that was silent longest is forgotten first.
#[derive(Debug, Default)]
pub struct Producers {
    tracks: HashMap<ProducerId, Track>,
    by_use: BTreeMap<u64, ProducerId>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Track {
    settled: u64,
    /// The first number whose append failed and that has not come again.
    missing: Option<u64>,
    used: u64,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not been here before.
    Fresh,
    /// It is settled already: answer, but do not store again.
    Repeat,
    /// An earlier record of its publisher failed and is missing: refuse until that one came again.
    OutOfOrder {
        /// The number that is missing.
        missing: u64,
    },
}

impl Producers {
    /// How a record stands.
    #[must_use]
    pub fn standing(&self, position: ProducerPosition) -> Standing {
        match self.tracks.get(&position.producer) {
            Some(track) if position.sequence <= track.settled => Standing::Repeat,
            Some(Track { missing: Some(missing), .. }) if position.sequence > *missing => {
                Standing::OutOfOrder { missing: *missing }
            }
            _ => Standing::Fresh,
        }
    }

    /// The record is stored, or refused for good.
    pub fn settle(&mut self, position: ProducerPosition) {
        let track = self.touch(position.producer);
        track.settled = track.settled.max(position.sequence);
        track.missing = track.missing.filter(|missing| *missing > position.sequence);
    }

    /// The record could not be stored; its publisher is to send it again.
    pub fn fail(&mut self, position: ProducerPosition) {
        let track = self.touch(position.producer);
        let missing = track.missing.unwrap_or(position.sequence);
        track.missing = Some(missing.min(position.sequence));
    }

    /// The last number of a publisher that was settled; 0 for an unknown one.
    #[must_use]
    pub fn last_settled(&self, producer: ProducerId) -> u64 {
        self.tracks.get(&producer).map_or(0, |track| track.settled)
    }

    fn touch(&mut self, producer: ProducerId) -> &mut Track {
        self.uses += 1;
        let used = self.uses;
        let is_full = !self.tracks.contains_key(&producer) && self.tracks.len() >= PRODUCERS_MAX;
        if let Some((_, oldest)) = is_full.then(|| self.by_use.pop_first()).flatten() {
            self.tracks.remove(&oldest);
        }
        let track = self.tracks.entry(producer).or_default();
        self.by_use.remove(&track.used);
        self.by_use.insert(used, producer);
        track.used = used;
        track
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(producer: u32, sequence: u64) -> ProducerPosition {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&producer.to_be_bytes());
        ProducerPosition { producer: ProducerId(id), sequence }
    }

    #[test]
    fn recognises_a_retry() {
        let mut producers = Producers::default();
        assert_eq!(producers.standing(at(1, 1)), Standing::Fresh);
        producers.settle(at(1, 1));
        assert_eq!(producers.standing(at(1, 1)), Standing::Repeat);
        assert_eq!(producers.standing(at(1, 2)), Standing::Fresh);
        assert_eq!(producers.standing(at(2, 1)), Standing::Fresh);
        assert_eq!(producers.last_settled(at(1, 0).producer), 1);
    }

    #[test]
    fn a_later_record_never_hides_a_missing_one() {
        let mut producers = Producers::default();
        producers.fail(at(1, 4));
        producers.fail(at(1, 5));
        assert_eq!(producers.standing(at(1, 6)), Standing::OutOfOrder { missing: 4 });
        assert_eq!(producers.standing(at(1, 4)), Standing::Fresh);
        producers.settle(at(1, 4));
        assert_eq!(producers.standing(at(1, 6)), Standing::Fresh);
        assert_eq!(producers.standing(at(1, 4)), Standing::Repeat);
    }

    #[test]
    fn forgets_the_longest_silent_publisher_first() {
        let mut producers = Producers::default();
        producers.settle(at(0, 1));
        producers.settle(at(1, 1));
        producers.settle(at(0, 2));
        for n in 2..=u32::try_from(PRODUCERS_MAX).unwrap() {
            producers.settle(at(n, 1));
        }
        assert_eq!(producers.standing(at(1, 1)), Standing::Fresh, "forgotten");
        assert_eq!(producers.standing(at(0, 2)), Standing::Repeat, "used since");
        assert_eq!(producers.tracks.len(), PRODUCERS_MAX);
        assert_eq!(producers.by_use.len(), PRODUCERS_MAX);
    }
}
