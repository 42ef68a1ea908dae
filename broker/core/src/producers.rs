//! Which records of which publisher are already in a flow, so that a retry is recognised.
//!
//! A publisher numbers its records from 1. [`Producers`] remembers the last number that was settled, that is stored or
//! refused for good. Where an append failed, the flow takes nothing more of that publisher until the failed records come
//! again, in order: a later one must not hide that an earlier one is missing.
//!
//! What is remembered is bounded, so the publisher that was silent longest is forgotten, and a retry of its last records must
//! not be taken for new ones. So [`Producers`] also remembers *when* the last one that it forgot was heard of
//! ([`Producers::forgotten_through`]), and a publisher is told the broker's time when it first opens a stream. When it
//! comes back it says that time: if it is later than what was forgotten, then it was never forgotten, and nothing of it
//! is stored where nothing is known of it. Otherwise nobody can tell, and it is refused. A publisher with an open stream is not
//! forgotten; nor are the stages that emit to the flow ([`Producers::exempt`]), because the configuration bounds their number.

mod checkpoint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::limits::{EMITTERS_MAX, PRODUCERS_MAX};
use crate::record::{ProducerId, ProducerPosition, Timestamp};

pub use checkpoint::CheckpointError;

/// The publishers of one flow.
///
/// - `advance` tells the time, which never goes back.
/// - `exempt` says who is not to be forgotten.
/// - `open` and `close` bracket a publisher's stream.
/// - `settle` and `fail` note what became of a record; `track`, `standing` and `last_settled` tell.
/// - `encode` and `decode` are for a checkpoint; what was stored since comes with `restore`.
#[derive(Debug, Default)]
pub struct Producers {
    tracks: HashMap<ProducerId, Kept>,
    /// Those without a stream that may be forgotten, the longest silent first.
    idle: BTreeMap<u64, ProducerId>,
    /// Those that may not.
    exempt: HashSet<ProducerId>,
    uses: u64,
    now: Timestamp,
    forgotten_through: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Kept {
    track: Track,
    used: u64,
    heard: Timestamp,
    streams: u32,
}

/// Why a publisher's stream is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// It was away for so long that it may have been forgotten.
    #[error(
        "the broker has forgotten this producer: it was silent for longer than {PRODUCERS_MAX} others; records that were sent \
         and not acked may or may not be stored, and what is published from now on needs a new producer"
    )]
    Unknown,
    /// So many have a stream that there is no room for another.
    #[error("the flow has {PRODUCERS_MAX} publishers at a time already")]
    TooMany,
}

/// One publisher's numbers. A copy of it tells how the records of a group stand to each other before the group is durable.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    settled: u64,
    missing: Option<Missing>,
}

/// Numbers that were not taken and have to come again, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Tells the time.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// The last time that one was heard of that is forgotten now; none where nobody was forgotten.
    #[must_use]
    pub fn forgotten_through(&self) -> Option<Timestamp> {
        self.forgotten_through
    }

    /// Records before these were deleted unread, so that those who published them may be unknown.
    pub fn forget_through(&mut self, time: Timestamp) {
        self.forgotten_through = self.forgotten_through.max(Some(time));
    }

    /// Records are missing from what was read, so that nothing known before counts any more.
    pub fn forget_all(&mut self, now: Timestamp) {
        self.advance(now);
        self.tracks.clear();
        self.idle.clear();
        self.forget_through(self.now);
    }

    /// This one is not forgotten to make room for others, nor refused for want of it; what it is known of it so far. For at most
    /// [`EMITTERS_MAX`]: any more are like other publishers.
    pub fn exempt(&mut self, producer: ProducerId) {
        if self.exempt.len() >= EMITTERS_MAX || !self.exempt.insert(producer) {
            return;
        }
        if let Some(kept) = self.tracks.get(&producer) {
            self.idle.remove(&kept.used);
        }
    }

    /// How many are remembered.
    fn tracks_max(&self) -> usize {
        PRODUCERS_MAX + self.exempt.len()
    }

    /// Lets a publisher open a stream. `known_since` is the broker's time at which it opened its first one; none for one that has
    /// published nothing yet. Gives the last number that was settled. The publisher is not forgotten until [`Producers::close`].
    pub fn open(
        &mut self,
        producer: ProducerId,
        known_since: Option<Timestamp>,
    ) -> Result<u64, ProducerError> {
        if !self.tracks.contains_key(&producer) {
            if let (Some(since), Some(through)) = (known_since, self.forgotten_through)
                && since <= through
            {
                return Err(ProducerError::Unknown);
            }
            let is_full = self.tracks.len() >= self.tracks_max() && self.idle.is_empty();
            if is_full && !self.exempt.contains(&producer) {
                return Err(ProducerError::TooMany);
            }
        }
        let kept = self.touch(producer);
        kept.streams = kept.streams.saturating_add(1);
        let (used, settled) = (kept.used, kept.track.settled);
        self.idle.remove(&used);
        Ok(settled)
    }

    /// The stream has ended.
    pub fn close(&mut self, producer: ProducerId) {
        let Some(kept) = self.tracks.get_mut(&producer) else { return };
        kept.streams = kept.streams.saturating_sub(1);
        self.touch(producer);
        self.forget_surplus();
    }

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
        self.touch(position.producer).track.settle(position.sequence);
        self.forget_surplus();
    }

    /// See [`Track::fail`].
    pub fn fail(&mut self, position: ProducerPosition) {
        self.touch(position.producer).track.fail(position.sequence);
        self.forget_surplus();
    }

    /// A record of this publisher is in the log, and was accepted then.
    pub fn restore(&mut self, position: ProducerPosition, accepted: Timestamp) {
        self.advance(accepted);
        self.settle(position);
    }

    /// The last number of a publisher that was settled; 0 for an unknown one.
    #[must_use]
    pub fn last_settled(&self, producer: ProducerId) -> u64 {
        self.track(producer).settled
    }

    fn touch(&mut self, producer: ProducerId) -> &mut Kept {
        let now = self.now;
        let kept = self.tracks.entry(producer).or_default();
        kept.heard = now;
        // Most often it is the one that was used last: then the order stands.
        if kept.used != self.uses || self.uses == 0 {
            self.uses += 1;
            self.idle.remove(&kept.used);
            kept.used = self.uses;
        }
        if kept.streams == 0 && !self.exempt.contains(&producer) {
            self.idle.insert(kept.used, producer);
        }
        kept
    }

    /// The one that is heard of now is the last to be forgotten, so room is made when it is there.
    fn forget_surplus(&mut self) {
        while self.tracks.len() > self.tracks_max() {
            let Some((_, oldest)) = self.idle.pop_first() else { return };
            if let Some(kept) = self.tracks.remove(&oldest) {
                self.forget_through(kept.heard);
            }
        }
    }
}
