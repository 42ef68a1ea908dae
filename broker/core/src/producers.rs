//! Which records of which publisher are already in a flow, so that a retry is recognised.
//!
//! A publisher numbers its records from 1. [`Producers`] remembers the last number that was settled, that is stored or
//! refused for good. Where an append failed, the flow takes nothing more of that publisher until the failed records come
//! again, in order: a later one must not hide that an earlier one is missing.

use std::collections::{BTreeMap, HashMap};

use crate::limits::PRODUCERS_MAX;
use crate::record::{ProducerId, ProducerPosition};

/// The publishers of one flow. Bounded: the one that was silent longest is forgotten first.
#[derive(Debug, Default)]
pub struct Producers {
    tracks: HashMap<ProducerId, Kept>,
    by_use: BTreeMap<u64, ProducerId>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Kept {
    track: Track,
    used: u64,
}

/// One publisher's numbers. A copy of it tells how the records of a group stand to each other before the group is durable.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    settled: u64,
    missing: Option<Missing>,
}

/// Numbers that were not taken and have to come again, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Missing {
    next: u64,
    last: u64,
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

impl Track {
    /// How a number stands.
    #[must_use]
    pub fn standing(&self, sequence: u64) -> Standing {
        match self.missing {
            _ if sequence <= self.settled => Standing::Repeat,
            Some(missing) if sequence > missing.next => Standing::OutOfOrder { missing: missing.next },
            _ => Standing::Fresh,
        }
    }

    /// The record is stored, or refused for good. Where later ones were not taken either, the next of them is missing now.
    pub fn settle(&mut self, sequence: u64) {
        self.settled = self.settled.max(sequence);
        self.missing = self.missing.and_then(|missing| match sequence {
            before if before < missing.next => Some(missing),
            within if within < missing.last => Some(Missing { next: within + 1, ..missing }),
            _ => None,
        });
    }

    /// The record was not taken; its publisher is to send it again.
    pub fn fail(&mut self, sequence: u64) {
        let missing = self.missing.unwrap_or(Missing { next: sequence, last: sequence });
        self.missing = Some(Missing { next: missing.next.min(sequence), last: missing.last.max(sequence) });
    }
}

impl Producers {
    /// What is known of a publisher: nothing where it is unknown.
    #[must_use]
    pub fn track(&self, producer: ProducerId) -> Track {
        self.tracks.get(&producer).map_or(Track::default(), |kept| kept.track)
    }

    /// How a record stands.
    #[must_use]
    pub fn standing(&self, position: ProducerPosition) -> Standing {
        self.track(position.producer).standing(position.sequence)
    }

    /// See [`Track::settle`].
    pub fn settle(&mut self, position: ProducerPosition) {
        self.touch(position.producer).settle(position.sequence);
    }

    /// See [`Track::fail`].
    pub fn fail(&mut self, position: ProducerPosition) {
        self.touch(position.producer).fail(position.sequence);
    }

    /// The last number of a publisher that was settled; 0 for an unknown one.
    #[must_use]
    pub fn last_settled(&self, producer: ProducerId) -> u64 {
        self.track(producer).settled
    }

    fn touch(&mut self, producer: ProducerId) -> &mut Track {
        self.uses += 1;
        let used = self.uses;
        let is_full = !self.tracks.contains_key(&producer) && self.tracks.len() >= PRODUCERS_MAX;
        if let Some((_, oldest)) = is_full.then(|| self.by_use.pop_first()).flatten() {
            self.tracks.remove(&oldest);
        }
        let kept = self.tracks.entry(producer).or_default();
        self.by_use.remove(&kept.used);
        self.by_use.insert(used, producer);
        kept.used = used;
        &mut kept.track
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
        assert_eq!(producers.standing(at(1, 4)), Standing::Repeat);
        assert_eq!(producers.standing(at(1, 6)), Standing::OutOfOrder { missing: 5 }, "5 failed too");
        producers.settle(at(1, 5));
        assert_eq!(producers.standing(at(1, 6)), Standing::Fresh);
    }

    #[test]
    fn a_failure_below_a_settled_number_is_still_missing() {
        let mut track = Track::default();
        track.settle(3);
        track.fail(5);
        track.settle(4);
        assert_eq!(track.standing(6), Standing::OutOfOrder { missing: 5 });
        track.settle(5);
        assert_eq!(track, Track { settled: 5, missing: None });
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
