//! Records that are put off: each waits for its time, for an earlier one of its key, or for a reader.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet};

use super::{Key, ReaderId};

/// A claim that lapsed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) reader: ReaderId,
    pub(super) serial: u64,
}

/// A record that is put off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) key: Option<Key>,
    /// How often it was delivered.
    pub(super) attempts: u32,
    /// It is not delivered before.
    pub(super) due: u64,
    /// Who had it last and did not answer in time.
    pub(super) late: Option<Late>,
    /// It was delivered too often.
    pub(super) is_exhausted: bool,
    place: Place,
}

impl Waiting {
    pub(super) fn new(key: Option<Key>, attempts: u32, due: u64) -> Self {
        Self { key, attempts, due, late: None, is_exhausted: false, place: Place::Nowhere }
    }
}

/// Which of the sets below a record is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An earlier one of its key is put off too, or it is exhausted.
    Nowhere,
    Timer,
    Ready,
    ReadyAt(ReaderId),
}

/// All that are put off. Of each key only the lowest is in one of the sets of those that may come.
#[derive(Debug, Clone, Default)]
pub(super) struct Backlog {
    records: BTreeMap<u64, Waiting>,
    by_key: HashMap<Key, BTreeSet<u64>>,
    timers: BTreeSet<(u64, u64)>,
    /// Anybody may get them.
    ready: BTreeSet<u64>,
    /// Only the reader that has their key.
    ready_at: BTreeSet<(ReaderId, u64)>,
    exhausted: BTreeSet<u64>,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.records.first_key_value().map(|(offset, _)| *offset)
    }

    pub(super) fn get(&self, offset: u64) -> Option<&Waiting> {
        self.records.get(&offset)
    }

    /// Whether a record of this key is put off.
    pub(super) fn has(&self, key: Key) -> bool {
        !self.records.is_empty() && self.by_key.contains_key(&key)
    }

    /// Each record and how often it was delivered.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (u64, u32)> {
        self.records.iter().map(|(&offset, waiting)| (offset, waiting.attempts))
    }

    /// Each exhausted record and how often it was delivered.
    pub(super) fn exhausted(&self) -> impl Iterator<Item = (u64, u32)> {
        self.exhausted.iter().filter_map(|&offset| Some((offset, self.records.get(&offset)?.attempts)))
    }

    /// When the next record has waited long enough.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Takes a record that has waited long enough off the timers; it is to be placed again.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<u64> {
        let &(due, offset) = self.timers.first()?;
        if due > now {
            return None;
        }
        self.displace(offset);
        Some(offset)
    }

    /// The lowest record that `reader` may get. What it let lapse it gets only when it `is_alone`; anything else only where
    /// there `is_room`.
    pub(super) fn next_for(&self, reader: ReaderId, is_alone: bool, is_room: bool) -> Option<(u64, Waiting)> {
        let may = |&offset: &u64| {
            let waiting = self.records.get(&offset)?;
            let is_own = waiting.late.is_some_and(|late| late.reader == reader);
            let may = if is_own { is_alone } else { is_room };
            may.then_some((offset, *waiting))
        };
        let own = self.ready_at.range((reader, 0)..=(reader, u64::MAX)).map(|(_, offset)| offset);
        let own = own.filter_map(may).next();
        let any = self.ready.iter().filter_map(may).next();
        match (own, any) {
            (Some(own), Some(any)) => Some(if own.0 < any.0 { own } else { any }),
            (own, any) => own.or(any),
        }
    }

    /// Adds a record; it, or the head of its key, is to be placed.
    pub(super) fn insert(&mut self, offset: u64, waiting: Waiting) {
        if let Some(key) = waiting.key {
            self.by_key.entry(key).or_default().insert(offset);
        }
        if waiting.is_exhausted {
            self.exhausted.insert(offset);
        }
        self.records.insert(offset, waiting);
    }

    pub(super) fn remove(&mut self, offset: u64) {
        self.displace(offset);
        self.exhausted.remove(&offset);
        let Some(waiting) = self.records.remove(&offset) else { return };
        if let Some(key) = waiting.key
            && let Entry::Occupied(mut of_key) = self.by_key.entry(key)
        {
            of_key.get_mut().remove(&offset);
            if of_key.get().is_empty() {
                of_key.remove();
            }
        }
    }

    /// The lowest record of a key, which is to be placed; the one that was the lowest before is taken from its place.
    pub(super) fn rehead(&mut self, key: Key) -> Option<u64> {
        let mut lowest = self.by_key.get(&key)?.iter().copied();
        let head = lowest.next()?;
        if let Some(second) = lowest.next() {
            self.displace(second);
        }
        Some(head)
    }

    /// Puts the head of its key, or a record without one, where it belongs. Whether a reader may get it now.
    pub(super) fn place(&mut self, offset: u64, holder: Option<ReaderId>, now: u64) -> bool {
        self.displace(offset);
        let Some(waiting) = self.records.get_mut(&offset) else { return false };
        if waiting.is_exhausted {
            return true;
        }
        waiting.place = match holder {
            _ if waiting.due > now => Place::Timer,
            Some(reader) => Place::ReadyAt(reader),
            None => Place::Ready,
        };
        match waiting.place {
            Place::Nowhere => false,
            Place::Timer => {
                self.timers.insert((waiting.due, offset));
                false
            }
            Place::Ready => self.ready.insert(offset),
            Place::ReadyAt(reader) => self.ready_at.insert((reader, offset)),
        }
    }

    fn displace(&mut self, offset: u64) {
        let Some(waiting) = self.records.get_mut(&offset) else { return };
        match std::mem::replace(&mut waiting.place, Place::Nowhere) {
            Place::Nowhere => {}
            Place::Timer => drop(self.timers.remove(&(waiting.due, offset))),
            Place::Ready => drop(self.ready.remove(&offset)),
            Place::ReadyAt(reader) => drop(self.ready_at.remove(&(reader, offset))),
        }
    }
}
