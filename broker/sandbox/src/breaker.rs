//! The circuit breaker of a stage: a plugin that fails on record after record is left alone for a while, longer each time, and then tried
//! on one record. Meanwhile its records fail at once, so that they go to quarantine and cost nothing. It never lets a record pass.
//!
//! It knows whose records fail. Each source has a breaker of its own, so that what one of them sends keeps nobody else's records from the
//! plugin. Where the records of several fail and nobody's go well, the plugin is at fault: then there is one for all. Each source that is not
//! left alone by itself is tried once all the same, one at a time and not often, since a record that goes well proves that it was the
//! others. Decision 33 has the reasons.
//!
//! It has no clock: the time is an argument, as the broker's services tell it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hilum_core::chain::FailsOn;
use hilum_core::{PrincipalId, Timestamp};

use crate::limits::{BREAKER_SOURCES_MAX, Limits, millis};

/// Sources that fail, without anybody's records going well meanwhile, before the plugin is taken to fail on everybody.
const FAILING_SOURCES: u32 = 3;

/// Whether a stage may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As always.
    Closed,
    /// On one record, to see whether it still fails.
    Probe,
    /// Not for that many milliseconds.
    Open {
        /// Whose records it fails on.
        on: FailsOn,
        /// From now; 0 where it may be tried, but not by this one.
        left_ms: u64,
        /// The faults that led to it.
        faults: u32,
    },
}

/// What a result changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It opened, for the first time or again, after so many faults one after another and for so long.
    Opened {
        /// Whose records it fails on.
        on: FailsOn,
        /// Faults one after another.
        faults: u32,
        /// Milliseconds.
        for_ms: u64,
        /// It was open, and the probe failed too.
        again: bool,
    },
    /// A record went well again.
    Closed {
        /// Whose records it failed on.
        on: FailsOn,
        /// The faults before.
        faults: u32,
    },
}

/// One that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) on: FailsOn,
    /// When it opened first.
    pub(crate) since: Timestamp,
    /// When it is tried again.
    pub(crate) until: Timestamp,
    pub(crate) faults: u32,
}

/// The breaker of one stage. A call is for records of one source, or for none where it is the clock's.
#[derive(Debug)]
pub(crate) struct Breaker {
    faults_max: u32,
    first_ms: u64,
    last_ms: u64,
    /// Sources whose last call failed, [`BREAKER_SOURCES_MAX`] at most.
    sources: BTreeMap<PrincipalId, Own>,
    /// All sources for which there is no place among them.
    others: Own,
    clock: Own,
    /// Faults since anybody's record went well, and of how many sources.
    faults: u32,
    failing: u32,
    /// How often a record went well, to tell which sources failed since.
    round: u64,
    everybody: Option<Open>,
    /// While it is open for everybody: when a source was tried last that had not failed since.
    newcomer: Option<Timestamp>,
}

/// What is known of one source.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    /// Faults one after another.
    faults: u32,
    /// When the last one was.
    at: Timestamp,
    round: Option<u64>,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    first: Timestamp,
    since: Timestamp,
    for_ms: u64,
}

impl Open {
    /// How long it stays open. A clock that was set back does not keep it open for longer.
    fn left_ms(&self, now: Timestamp) -> u64 {
        now.0.checked_sub(self.since.0).map_or(0, |elapsed| self.for_ms.saturating_sub(elapsed))
    }

    fn standing(&self, on: FailsOn, faults: u32) -> Standing {
        Standing { on, since: self.first, until: Timestamp(self.since.0.saturating_add(self.for_ms)), faults }
    }
}

impl Breaker {
    pub(crate) fn new(limits: &Limits) -> Self {
        let first_ms = millis(limits.breaker_time);
        Self {
            faults_max: limits.breaker_faults.max(1),
            first_ms,
            last_ms: millis(limits.breaker_time_max).max(first_ms),
            sources: BTreeMap::new(),
            others: Own::default(),
            clock: Own::default(),
            faults: 0,
            failing: 0,
            round: 0,
            everybody: None,
            newcomer: None,
        }
    }

    /// Whether the stage may be called now on records of this source.
    pub(crate) fn admit(&mut self, by: Option<&PrincipalId>, now: Timestamp) -> Admission {
        let known = self.known(by);
        let is_newcomer = by.is_some() && known.is_none();
        let open = known.as_ref().and_then(|(_, own)| own.open);
        if let (Some((on, own)), Some(open)) = (known, open)
            && open.left_ms(now) > 0
        {
            return Admission::Open { on, left_ms: open.left_ms(now), faults: own.faults };
        }
        let Some(everybody) = self.everybody else {
            return if open.is_some() { Admission::Probe } else { Admission::Closed };
        };
        let left_ms = everybody.left_ms(now);
        // What the clock does says nothing about records.
        if left_ms == 0 && by.is_some() {
            return Admission::Probe;
        }
        let elapsed = self.newcomer.map(|at| now.0.checked_sub(at.0).unwrap_or(u64::MAX));
        if is_newcomer && elapsed.is_none_or(|elapsed| elapsed >= self.first_ms) {
            self.newcomer = Some(now);
            return Admission::Probe;
        }
        Admission::Open { on: FailsOn::Everybody, left_ms, faults: self.faults }
    }

    /// A call ended well, with whatever decision.
    pub(crate) fn success(&mut self, by: Option<&PrincipalId>) -> Vec<Change> {
        let mut closed = Vec::new();
        let known = self.known(by).map(|(on, own)| (on, *own));
        if let Some((on, Own { faults, open, .. })) = known {
            match by {
                None => self.clock = Own::default(),
                Some(id) if self.sources.remove(id).is_none() => self.others = Own::default(),
                Some(_) => {}
            }
            closed.extend(open.map(|_| Change::Closed { on, faults }));
        }
        if by.is_none() {
            return closed;
        }
        self.round += 1;
        self.failing = 0;
        self.newcomer = None;
        let faults = std::mem::take(&mut self.faults);
        closed.extend(self.everybody.take().map(|_| Change::Closed { on: FailsOn::Everybody, faults }));
        closed
    }

    /// A call failed by the plugin's fault.
    pub(crate) fn fault(&mut self, by: Option<&PrincipalId>, now: Timestamp) -> Vec<Change> {
        let (faults_max, round, times) = (self.faults_max, self.round, (self.first_ms, self.last_ms));
        let (on, own) = self.known_mut(by, now);
        own.faults = own.faults.saturating_add(1);
        own.at = now;
        let is_new = own.round.replace(round) != Some(round);
        let opened = opened_for(&mut own.open, own.faults >= faults_max, times, now);
        let opened = opened.map(|(for_ms, again)| Change::Opened { on, faults: own.faults, for_ms, again });
        let mut changes = Vec::from_iter(opened);
        if by.is_some() {
            self.faults = self.faults.saturating_add(1);
            self.failing = self.failing.saturating_add(u32::from(is_new));
            let is_due = self.faults >= faults_max && self.failing >= FAILING_SOURCES;
            let opened = opened_for(&mut self.everybody, is_due, times, now);
            if matches!(opened, Some((_, false))) {
                // Whoever is not left alone by itself is tried once.
                self.sources.retain(|_, own| own.open.is_some());
            }
            self.newcomer = self.everybody.map(|_| now);
            let (on, faults) = (FailsOn::Everybody, self.faults);
            changes.extend(opened.map(|(for_ms, again)| Change::Opened { on, faults, for_ms, again }));
        }
        changes
    }

    /// All that are open, that for everybody first.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        let everybody = self.everybody.map(|open| open.standing(FailsOn::Everybody, self.faults));
        let sources = self.sources.iter().map(|(id, own)| (FailsOn::Source(id.clone()), own));
        let rest = [(FailsOn::Others, &self.others), (FailsOn::Clock, &self.clock)];
        let each = sources.chain(rest).filter_map(|(on, own)| Some(own.open?.standing(on, own.faults)));
        everybody.into_iter().chain(each).collect()
    }

    /// Whether any is open.
    pub(crate) fn is_open(&self) -> bool {
        self.everybody.is_some()
            || self.sources.values().chain([&self.others, &self.clock]).any(|own| own.open.is_some())
    }

    /// What is known of a source; none where its last call did not fail.
    fn known(&self, by: Option<&PrincipalId>) -> Option<(FailsOn, &Own)> {
        let Some(id) = by else { return Some((FailsOn::Clock, &self.clock)) };
        if let Some(own) = self.sources.get(id) {
            return Some((FailsOn::Source(id.clone()), own));
        }
        let has_place =
            self.sources.len() < BREAKER_SOURCES_MAX || self.sources.values().any(|own| own.open.is_none());
        (!has_place).then_some((FailsOn::Others, &self.others))
    }

    /// Where its next fault is counted. Where there are too many, a source that failed longest ago and not often gives way.
    fn known_mut(&mut self, by: Option<&PrincipalId>, now: Timestamp) -> (FailsOn, &mut Own) {
        let Some(id) = by else { return (FailsOn::Clock, &mut self.clock) };
        if !self.sources.contains_key(id) && self.sources.len() >= BREAKER_SOURCES_MAX {
            let seldom = self.sources.iter().filter(|(_, own)| own.open.is_none());
            let Some(oldest) = seldom.min_by_key(|(_, own)| own.at).map(|(id, _)| id.clone()) else {
                return (FailsOn::Others, &mut self.others);
            };
            self.sources.remove(&oldest);
        }
        let own = self.sources.entry(id.clone()).or_insert(Own { at: now, ..Own::default() });
        (FailsOn::Source(id.clone()), own)
    }
}

/// Opens one that is to be open, or for longer one that was tried; gives for how long, and whether it was open before.
fn opened_for(
    open: &mut Option<Open>,
    is_due: bool,
    (first_ms, last_ms): (u64, u64),
    now: Timestamp,
) -> Option<(u64, bool)> {
    let (first, for_ms) = match *open {
        // A call that began before it opened, or one of somebody who had not failed.
        Some(before) if before.left_ms(now) > 0 => return None,
        Some(before) => (before.first, before.for_ms.saturating_mul(2).min(last_ms)),
        None if is_due => (now, first_ms),
        None => return None,
    };
    let again = open.replace(Open { first, since: now, for_ms }).is_some();
    Some((for_ms, again))
}
