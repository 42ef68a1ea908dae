//! What the broker knows of one subscription: which records are settled, under way or put off, who may get which one next.
//!
//! [`Deliveries`] is pure state, bounded, and knows the time only as an argument: milliseconds of a clock that never goes back.
//!
//! - Readers: [`Deliveries::join`] and [`Deliveries::leave`].
//! - What a reader may get: first [`Deliveries::claim_waiting`], records that were put off and may come now; then, from
//!   [`Deliveries::next_offset`] on, each record of the flow is given to [`Deliveries::offer`]. A claimed record is under way; it
//!   runs through the chain, and [`Deliveries::sent`] says that it is on its way.
//! - What a reader says: [`Deliveries::settle`], [`Deliveries::nak`], [`Deliveries::extend`]. Each names the attempt that it is about:
//!   an answer to an earlier attempt than the last one changes nothing.
//! - Time: [`Deliveries::next_timeout`] and [`Deliveries::handle_timeout`].
//! - Records that were delivered too often: [`Deliveries::exhausted`], until [`Deliveries::conclude`].
//! - What is kept: [`Deliveries::progress`]; it comes back through [`Deliveries::new`].
//!
//! What holds, whatever happens:
//!
//! - No record is given up: each is settled, under way, put off, or still to come.
//! - Records of one key keep their order. While one of them is put off, no later one is delivered; with several readers, while
//!   one is under way at a reader no other reader gets one of the key.
//! - The [`Deliveries::cursor`] does not go past a record that is not settled.

mod backlog;
mod progress;

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::limits::{SEQUENCE_MAX, UNSETTLED_MAX};
use crate::record::Offset;

use backlog::{Backlog, Late, Waiting};
pub use progress::{Progress, ProgressError};

/// How a subscription treats what its readers do not settle. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A delivery that has no answer for so long is put off and comes again.
    pub ack_wait: u64,
    /// After so many deliveries a record is exhausted; 0 for no limit.
    pub deliveries_max: u32,
    /// How long a record waits before its second, third, ... delivery; the last one repeats. None: it comes at once.
    pub backoff: Vec<u64>,
    /// Records under way, over all readers.
    pub in_flight_max: u32,
    /// Whether several readers share the work.
    pub shared: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { ack_wait: 30_000, deliveries_max: 0, backoff: Vec::new(), in_flight_max: 1024, shared: false }
    }
}

impl Rules {
    fn is_exhausted(&self, attempts: u32) -> bool {
        self.deliveries_max > 0 && attempts >= self.deliveries_max
    }

    fn backoff_after(&self, attempts: u32) -> u64 {
        let at = (attempts.max(1) as usize - 1).min(self.backoff.len().saturating_sub(1));
        self.backoff.get(at).copied().unwrap_or(0)
    }
}

/// One reader, from its coming to its leaving. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(u64);

/// Stands for a record's key. Two keys that stand alike only wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// What stands for this key while the broker runs.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A record that is under way to a reader from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which one.
    pub offset: Offset,
    /// The how-manieth delivery of it this is, from 1.
    pub attempt: u32,
    /// Tells this claim from every other of the subscription.
    pub serial: u64,
}

/// What becomes of the next record of the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is under way to the reader.
    Claimed(Claim),
    /// It waits: for its time, for an earlier one of its key, or for the reader that has its key.
    PutOff,
    /// It was offered or settled before.
    Known,
    /// Nothing changed: too much is under way or put off. To be offered again later.
    Full,
}

/// Counts of a subscription, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records under way.
    pub in_flight: usize,
    /// Records put off.
    pub put_off: usize,
    /// Of those, how many were delivered too often.
    pub exhausted: usize,
    /// Readers.
    pub readers: usize,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    reader: ReaderId,
    key: Option<Key>,
    attempt: u32,
    serial: u64,
    deadline: u64,
    is_sent: bool,
}

/// Who has the records of a key that are under way.
#[derive(Debug, Clone, Copy)]
struct Holder {
    reader: ReaderId,
    records: u32,
}

/// The state of one subscription. Bounded: there are at most [`UNSETTLED_MAX`] records under way or put off.
#[derive(Debug, Clone)]
pub struct Deliveries {
    rules: Rules,
    /// Everything before is settled, under way or put off.
    next: u64,
    /// Settled at `next` or later, before the broker was started: first and last.
    settled_ahead: BTreeMap<u64, u64>,
    /// Deliveries of records at `next` or later, before the broker was started.
    attempts_ahead: BTreeMap<u64, u32>,
    under_way: BTreeMap<u64, UnderWay>,
    backlog: Backlog,
    /// With several readers only: with one there is nobody to keep a key from.
    holders: HashMap<Key, Holder>,
    readers: BTreeSet<ReaderId>,
    next_reader: u64,
    next_serial: u64,
    /// No deadline is earlier.
    earliest: u64,
    has_news: bool,
}

impl Deliveries {
    /// A subscription that goes on where it was.
    #[must_use]
    pub fn new(rules: Rules, progress: &Progress) -> Self {
        Self {
            rules,
            next: progress.cursor.0,
            settled_ahead: progress.settled.iter().map(|(first, last)| (first.0, last.0)).collect(),
            attempts_ahead: progress
                .attempts
                .iter()
                .map(|(offset, attempts)| (offset.0, *attempts))
                .collect(),
            under_way: BTreeMap::new(),
            backlog: Backlog::default(),
            holders: HashMap::new(),
            readers: BTreeSet::new(),
            next_reader: 0,
            next_serial: 0,
            earliest: u64::MAX,
            has_news: false,
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Goes on by other rules. What is under way or put off keeps its times; whether readers share the work must stay as it is.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = Rules { shared: self.rules.shared, ..rules };
        self.has_news = true;
    }

    /// The offset to read on from: the lowest one of which nothing is known.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.after_settled(self.next))
    }

    fn after_settled(&self, offset: u64) -> u64 {
        match self.settled_ahead.range(..=offset).next_back() {
            Some((_, &last)) if last >= offset => last + 1,
            _ => offset,
        }
    }

    /// The lowest offset that is not settled.
    #[must_use]
    pub fn cursor(&self) -> Offset {
        let under_way = self.under_way.first_key_value().map(|(offset, _)| *offset);
        let lowest = [under_way, self.backlog.first()].into_iter().flatten().min();
        lowest.map_or_else(|| self.next_offset(), Offset)
    }

    /// Records before `end` that are not settled.
    #[must_use]
    pub fn lag(&self, end: Offset) -> u64 {
        let ahead = self.settled_ahead.iter().map(|(&first, &last)| {
            let (first, last) = (first.max(self.next), last.min(end.0.saturating_sub(1)));
            (last + 1).saturating_sub(first)
        });
        let to_come = end.0.saturating_sub(self.next).saturating_sub(ahead.sum());
        to_come + (self.under_way.len() + self.backlog.len()) as u64
    }

    /// From the lowest record that a reader has to after the highest; empty where no reader has any.
    #[must_use]
    pub fn under_way(&self) -> Range<Offset> {
        let first = self.under_way.first_key_value().map_or(self.next, |(offset, _)| *offset);
        let end = self.under_way.last_key_value().map_or(first, |(offset, _)| offset + 1);
        Offset(first)..Offset(end)
    }

    /// How much there is of what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            in_flight: self.under_way.len(),
            put_off: self.backlog.len(),
            exhausted: self.backlog.exhausted().count(),
            readers: self.readers.len(),
        }
    }

    /// Whether somebody may get something now that could not before the last call. Forgets it.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    // Readers.

    /// A reader comes.
    pub fn join(&mut self) -> ReaderId {
        let reader = ReaderId(self.next_reader);
        self.next_reader += 1;
        self.readers.insert(reader);
        reader
    }

    /// A reader goes; what it has under way comes again at once. `in_order` where it said goodbye or was sent away: then its
    /// deliveries do not count, because it may not have looked at them.
    pub fn leave(&mut self, reader: ReaderId, in_order: bool, now: u64) {
        self.readers.remove(&reader);
        let has = |(&offset, of): (&u64, &UnderWay)| (of.reader == reader).then_some(offset);
        let offsets: Vec<u64> = self.under_way.iter().filter_map(has).collect();
        for offset in offsets {
            let Some(of) = self.end(offset) else { continue };
            let attempts = if in_order || !of.is_sent { of.attempt - 1 } else { of.attempt };
            self.put_off(offset, Waiting::new(of.key, attempts, now), now);
        }
        // Whoever is left alone may get what it let lapse.
        self.has_news = true;
    }

    // What a reader may get.

    /// Records that were put off and that `reader` may get now, lowest first: up to `records_max`, and as many as there is `room`
    /// for by the reader's credit. What it let lapse itself takes no room: its credit still counts for it.
    pub fn claim_waiting(
        &mut self,
        reader: ReaderId,
        records_max: usize,
        mut room: u32,
        now: u64,
    ) -> Vec<Claim> {
        let mut claims = Vec::new();
        let is_alone = self.readers.len() < 2;
        while claims.len() < records_max && self.has_space() {
            let Some((offset, waiting)) = self.backlog.next_for(reader, is_alone, room > 0) else { break };
            if waiting.late.is_none_or(|late| late.reader != reader) {
                room -= 1;
            }
            let (key, attempt) = (waiting.key, waiting.attempts + 1);
            self.take_out(offset, key, now);
            claims.push(self.begin(offset, reader, key, attempt, now));
            // The next one of its key may follow it to the same reader.
            self.rehead(key, now);
        }
        claims
    }

    /// The next record of the flow, for `reader`; it may come from `due` on. Offsets go up. What is left out between them is
    /// settled: withheld from the subscription, or not there.
    pub fn offer(
        &mut self,
        reader: ReaderId,
        offset: Offset,
        key: Option<Key>,
        due: u64,
        now: u64,
    ) -> Offered {
        let at = offset.0;
        if at < self.next || self.after_settled(at) > at {
            self.pass(offset);
            return Offered::Known;
        }
        if at >= SEQUENCE_MAX || self.is_full() {
            return Offered::Full;
        }
        let attempts = self.attempts_ahead.get(&at).copied().unwrap_or(0);
        let holder = key.and_then(|key| self.holders.get(&key)).map(|holder| holder.reader);
        let waits = due > now
            || self.rules.is_exhausted(attempts)
            || key.is_some_and(|key| self.backlog.has(key))
            || holder.is_some_and(|holder| holder != reader);
        if waits {
            self.pass(offset);
            self.put_off(at, Waiting::new(key, attempts, due), now);
            return Offered::PutOff;
        }
        if !self.has_space() {
            return Offered::Full;
        }
        self.pass(offset);
        Offered::Claimed(self.begin(at, reader, key, attempts + 1, now))
    }

    /// Goes past everything up to `offset`, which is settled as far as nothing else is known.
    pub fn pass(&mut self, offset: Offset) {
        if offset.0 < self.next {
            return;
        }
        self.next = offset.0 + 1;
        if !self.settled_ahead.is_empty() || !self.attempts_ahead.is_empty() {
            self.attempts_ahead = self.attempts_ahead.split_off(&self.next);
            self.settled_ahead.retain(|_, last| *last > offset.0);
        }
    }

    fn has_space(&self) -> bool {
        self.under_way.len() < self.rules.in_flight_max as usize
    }

    fn is_full(&self) -> bool {
        self.under_way.len() + self.backlog.len() >= UNSETTLED_MAX
    }

    /// A claimed record is on its way; its time runs from now on. Whether the claim still stands: otherwise it is not sent.
    pub fn sent(&mut self, claim: Claim, now: u64) -> bool {
        let deadline = now.saturating_add(self.rules.ack_wait);
        let Some(of) = self.current(claim) else { return false };
        (of.deadline, of.is_sent) = (deadline, true);
        self.earliest = self.earliest.min(deadline);
        true
    }

    /// Whether the record is under way by this claim, and not by another or not at all.
    #[must_use]
    pub fn is_current(&self, claim: Claim) -> bool {
        self.under_way.get(&claim.offset.0).is_some_and(|of| of.serial == claim.serial)
    }

    fn current(&mut self, claim: Claim) -> Option<&mut UnderWay> {
        self.under_way.get_mut(&claim.offset.0).filter(|of| of.serial == claim.serial)
    }

    // What a reader says, or the broker for it.

    /// A record is done with: acknowledged, withheld, terminated. An attempt that lapsed still counts as long as nobody got the
    /// record since. Whether anything was settled.
    pub fn settle(&mut self, claim: Claim, now: u64) -> bool {
        if self.current(claim).is_some() {
            if let Some(of) = self.end(claim.offset.0) {
                self.rehead(of.key, now);
            }
            return true;
        }
        let is_late = |waiting: &Waiting| {
            waiting.late.is_some_and(|late| late.serial == claim.serial) && !waiting.is_exhausted
        };
        match self.backlog.get(claim.offset.0).filter(|waiting| is_late(waiting)).map(|waiting| waiting.key) {
            Some(key) => {
                self.take_out(claim.offset.0, key, now);
                true
            }
            None => false,
        }
    }

    /// The reader does not take a record now: it comes again after `delay`, or after the subscription's backoff. Whether the
    /// claim still stood.
    pub fn nak(&mut self, claim: Claim, delay: Option<u64>, now: u64) -> bool {
        if self.current(claim).is_none() {
            return false;
        }
        let Some(of) = self.end(claim.offset.0) else { return false };
        let delay = delay.unwrap_or_else(|| self.rules.backoff_after(of.attempt));
        self.put_off(claim.offset.0, Waiting::new(of.key, of.attempt, now.saturating_add(delay)), now);
        true
    }

    /// The reader did not get a record after all: it comes again at once, as if it had not been claimed.
    pub fn give_back(&mut self, claim: Claim, now: u64) {
        if self.current(claim).is_some()
            && let Some(of) = self.end(claim.offset.0)
        {
            self.put_off(claim.offset.0, Waiting::new(of.key, of.attempt - 1, now), now);
            self.rehead(of.key, now);
        }
    }

    /// A record that was settled comes again, whatever its key. Whether it will: not where it is not settled, or too much is put off.
    pub fn recall(&mut self, offset: Offset, now: u64) -> bool {
        let at = offset.0;
        let is_open = self.under_way.contains_key(&at) || self.backlog.get(at).is_some();
        if at >= self.next || is_open || self.is_full() {
            return false;
        }
        self.put_off(at, Waiting::new(None, 0, now), now);
        true
    }

    /// The reader works on a record: its time begins anew. Whether the claim still stood.
    pub fn extend(&mut self, claim: Claim, now: u64) -> bool {
        let deadline = now.saturating_add(self.rules.ack_wait);
        self.current(claim).map(|of| of.deadline = deadline).is_some()
    }

    // Time.

    /// When to call [`Deliveries::handle_timeout`]; none where nothing waits for a time.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let deadline = (!self.under_way.is_empty()).then_some(self.earliest);
        [deadline, self.backlog.next_due()].into_iter().flatten().min()
    }

    /// Puts off what has no answer, and readies what has waited long enough. How many deliveries lapsed.
    pub fn handle_timeout(&mut self, now: u64) -> usize {
        let mut lapsed = Vec::new();
        if now >= self.earliest {
            self.earliest = u64::MAX;
            for (&offset, of) in &self.under_way {
                if of.deadline <= now {
                    lapsed.push(offset);
                } else {
                    self.earliest = self.earliest.min(of.deadline);
                }
            }
        }
        for &offset in &lapsed {
            let Some(of) = self.end(offset) else { continue };
            let due = now.saturating_add(self.rules.backoff_after(of.attempt));
            let mut waiting = Waiting::new(of.key, of.attempt, due);
            waiting.late = Some(Late { reader: of.reader, serial: of.serial });
            self.put_off(offset, waiting, now);
        }
        while let Some(offset) = self.backlog.pop_due(now) {
            self.place(offset, now);
        }
        lapsed.len()
    }

    // Records that were delivered too often.

    /// Up to `records_max` exhausted records and how often they were delivered, lowest first.
    #[must_use]
    pub fn exhausted(&self, records_max: usize) -> Vec<(Offset, u32)> {
        self.backlog
            .exhausted()
            .take(records_max)
            .map(|(offset, attempts)| (Offset(offset), attempts))
            .collect()
    }

    /// An exhausted record is safe somewhere else: it counts as settled.
    pub fn conclude(&mut self, offset: Offset, now: u64) {
        let found =
            self.backlog.get(offset.0).filter(|waiting| waiting.is_exhausted).map(|waiting| waiting.key);
        if let Some(key) = found {
            self.take_out(offset.0, key, now);
        }
    }

    // What is kept.

    /// What is settled and what was tried, to go on from later. Where there is too much to say, records that are settled
    /// count as not settled.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let under_way = self.under_way.iter().map(|(&offset, of)| (offset, of.attempt - 1));
        let mut unsettled: Vec<_> = under_way.chain(self.backlog.attempts()).collect();
        unsettled.sort_unstable();
        let attempts = unsettled.iter().copied().chain(self.attempts_ahead.iter().map(|(o, a)| (*o, *a)));
        Progress::of(
            self.cursor(),
            unsettled.iter().map(|(offset, _)| *offset),
            self.next,
            &self.settled_ahead,
            attempts,
        )
    }

    /// Goes on from `to`: everything before it is settled, everything from it on comes, again or for the first time. What is under
    /// way is forgotten: answers to it change nothing.
    pub fn seek(&mut self, to: Offset) {
        let rules = std::mem::take(&mut self.rules);
        *self = Self {
            readers: std::mem::take(&mut self.readers),
            next_reader: self.next_reader,
            next_serial: self.next_serial,
            has_news: true,
            ..Self::new(rules, &Progress::from(to))
        };
    }

    // Steps that the above are made of.

    fn begin(&mut self, offset: u64, reader: ReaderId, key: Option<Key>, attempt: u32, now: u64) -> Claim {
        let deadline = now.saturating_add(self.rules.ack_wait);
        self.earliest = self.earliest.min(deadline);
        let serial = self.next_serial;
        self.next_serial += 1;
        self.under_way.insert(offset, UnderWay { reader, key, attempt, serial, deadline, is_sent: false });
        if let (true, Some(key)) = (self.rules.shared, key) {
            self.holders.entry(key).or_insert(Holder { reader, records: 0 }).records += 1;
        }
        Claim { offset: Offset(offset), attempt, serial }
    }

    fn end(&mut self, offset: u64) -> Option<UnderWay> {
        self.has_news |= !self.has_space() || self.is_full();
        let of = self.under_way.remove(&offset)?;
        if let (true, Some(key)) = (self.rules.shared, of.key)
            && let Entry::Occupied(mut holder) = self.holders.entry(key)
        {
            holder.get_mut().records -= 1;
            if holder.get().records == 0 {
                holder.remove();
            }
        }
        Some(of)
    }

    fn put_off(&mut self, offset: u64, mut waiting: Waiting, now: u64) {
        waiting.is_exhausted = self.rules.is_exhausted(waiting.attempts);
        let key = waiting.key;
        self.backlog.insert(offset, waiting);
        match key {
            // It may be lower than the one that was at the head of its key.
            Some(key) => self.rehead(Some(key), now),
            None => self.place(offset, now),
        }
    }

    fn take_out(&mut self, offset: u64, key: Option<Key>, now: u64) {
        self.has_news |= self.is_full();
        self.backlog.remove(offset);
        self.rehead(key, now);
    }

    fn rehead(&mut self, key: Option<Key>, now: u64) {
        if let Some(key) = key
            && !self.backlog.is_empty()
            && let Some(head) = self.backlog.rehead(key)
        {
            self.place(head, now);
        }
    }

    fn place(&mut self, offset: u64, now: u64) {
        let Some(key) = self.backlog.get(offset).map(|waiting| waiting.key) else { return };
        let holder = key.and_then(|key| self.holders.get(&key)).map(|holder| holder.reader);
        self.has_news |= self.backlog.place(offset, holder, now);
    }
}

#[cfg(test)]
mod tests;
