//! What may be deleted from a log, and when: limits on age, octets and count, and compaction by key.
//!
//! Pure decisions. A pass over a log makes a [`Demand`] of the flow's [`Policy`] and of what the log takes up, and walks its spans
//! from the oldest on. A span is what a store gives back as a whole; deleting part of one means writing the rest of it again.
//! So part of a span is deleted only when what is over a limit is an eighth of that limit: the *slack*. For each span that
//! the demand calls for, [`Demand::plan`] says what goes. Nothing is ever planned to go that is held, or that a subscription
//! has not settled.
//!
//! [`Compaction`] finds the records of a flow that a newer one of the same key replaces.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::digest::Digest;
use crate::limits::COMPACTION_KEYS_MAX;
use crate::record::{Offset, Timestamp};

/// The part of a limit by which it may be exceeded before part of a span is written again.
const SLACK_PART: u64 = 8;

/// What a log keeps. The default keeps everything for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How old a record may get.
    pub max_age: Option<Duration>,
    /// Octets on disk, with large bodies.
    pub max_octets: Option<u64>,
    /// Records.
    pub max_records: Option<u64>,
    /// Whether only that is deleted which all subscriptions have settled.
    pub until_read: bool,
    /// Whether only the newest record of each key is kept.
    pub compact: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_age: None, max_octets: None, max_records: None, until_read: true, compact: false }
    }
}

impl Policy {
    /// Whether there is a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_age.is_some() || self.max_octets.is_some() || self.max_records.is_some()
    }
}

/// Why records go. A set, as several limits may be exceeded at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// They are too old.
    pub age: bool,
    /// There are too many octets.
    pub octets: bool,
    /// There are too many records.
    pub records: bool,
}

impl fmt::Display for Rules {
    /// As the configuration calls them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.age, "max_age"), (self.octets, "max_bytes"), (self.records, "max_records")];
        let mut separator = "";
        for (_, name) in names.iter().filter(|(is_set, _)| *is_set) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// A part of a log that its store gives back as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The offset of its first entry.
    pub first: Offset,
    /// The offset after its last entry.
    pub end: Offset,
    /// Octets on disk; with its large bodies where they are known.
    pub octets: u64,
    /// Entries, if none was erased.
    pub entries: u64,
    /// When its oldest entry was stored.
    pub oldest: Timestamp,
    /// No entry in it was stored later.
    pub newest: Timestamp,
}

/// What a decision has to know of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Its position.
    pub offset: Offset,
    /// When it was stored.
    pub time: Timestamp,
    /// Octets on disk, with its large body.
    pub octets: u64,
    /// Whether a hold lies on it.
    pub is_held: bool,
}

/// What goes of a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The entries that go, in order.
    pub gone: Vec<Offset>,
    /// Whether the span goes as a whole.
    pub is_whole: bool,
    /// Whether all of it is due and settled, and nothing comes to it: what is left is held.
    pub is_final: bool,
    /// Why.
    pub rules: Rules,
    /// Whether something stays only because a subscription has not settled it.
    pub is_unread: bool,
}

/// How much more than its policy allows a log has. Lowered as a pass goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// What was stored at or before this is too old.
    too_old: Option<Timestamp>,
    /// What was stored at or before this is so by more than the slack.
    overdue: Option<Timestamp>,
    octets: u64,
    octets_slack: u64,
    records: u64,
    records_slack: u64,
}

impl Demand {
    /// Of a log that takes up so much.
    #[must_use]
    pub fn new(policy: &Policy, now: Timestamp, octets: u64, records: u64) -> Self {
        // Where there is no such time yet, nothing is too old.
        let before = |age: u64| now.0.checked_sub(age).map(Timestamp);
        let age = policy.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let over = |actual: u64, max: Option<u64>| max.map_or(0, |max| actual.saturating_sub(max));
        let slack = |max: Option<u64>| max.map_or(u64::MAX, |max| max / SLACK_PART);
        Self {
            too_old: age.and_then(before),
            overdue: age.and_then(|age| before(age.saturating_add(age / SLACK_PART))),
            octets: over(octets, policy.max_octets),
            octets_slack: slack(policy.max_octets),
            records: over(records, policy.max_records),
            records_slack: slack(policy.max_records),
        }
    }

    /// Whether a span has to be looked into: all of it may have to go, or what is over a limit is more than the slack.
    #[must_use]
    pub fn calls_for(&self, span: &Span) -> bool {
        let octets = self.octets > 0 && (self.octets >= span.octets || self.octets > self.octets_slack);
        let records = self.records > 0 && (self.records >= span.entries || self.records > self.records_slack);
        let age = is_by(span.newest, self.too_old) || is_by(span.oldest, self.overdue);
        octets || records || age
    }

    /// Why all of a span goes, if it does, without a look at its entries.
    #[must_use]
    pub fn covers(&self, span: &Span) -> Option<Rules> {
        let rules = Rules {
            age: is_by(span.newest, self.too_old),
            octets: self.octets > 0 && self.octets >= span.octets,
            records: self.records > 0 && self.records >= span.entries,
        };
        (rules != Rules::default()).then_some(rules)
    }

    /// So much went, or stays only because it is held: what is held does not count.
    pub fn lower(&mut self, octets: u64, records: u64) {
        self.octets = self.octets.saturating_sub(octets);
        self.records = self.records.saturating_sub(records);
    }

    /// Decides about the entries of the next span, all of them and in order. `settled` is the lowest offset that a
    /// subscription has not settled. `is_closed`: nothing more is appended to the span.
    pub fn plan(&mut self, facts: &[Fact], settled: Offset, is_closed: bool) -> Plan {
        let (mut left, mut plan) = (*self, Plan::default());
        let (mut is_all_due, mut is_overdue) = (true, self.is_overdue());
        for fact in facts {
            let due = left.due(fact);
            if due == Rules::default() {
                is_all_due = false;
                continue;
            }
            if fact.offset >= settled {
                plan.is_unread = true;
                break;
            }
            is_overdue |= is_by(fact.time, self.overdue);
            left.lower(fact.octets, 1);
            if !fact.is_held {
                plan.rules.age |= due.age;
                plan.rules.octets |= due.octets;
                plan.rules.records |= due.records;
                plan.gone.push(fact.offset);
            }
        }
        let is_final = is_all_due && is_closed && !plan.is_unread;
        if !is_final && !is_overdue {
            return Plan { is_unread: plan.is_unread, ..Plan::default() };
        }
        *self = left;
        plan.is_final = is_final;
        plan.is_whole = is_final && plan.gone.len() == facts.len();
        plan
    }

    fn due(&self, fact: &Fact) -> Rules {
        Rules { age: is_by(fact.time, self.too_old), octets: self.octets > 0, records: self.records > 0 }
    }

    /// Whether a limit other than age is exceeded by more than its slack.
    fn is_overdue(&self) -> bool {
        self.octets > self.octets_slack || self.records > self.records_slack
    }
}

/// Whether something was stored by a time, if there is one.
fn is_by(stored: Timestamp, time: Option<Timestamp>) -> bool {
    time.is_some_and(|time| stored <= time)
}

/// One pass of compaction: the newest offset of each key among the records that it saw. It sees records in order of their
/// offsets, from where the last pass ended, and then judges all of them from the first one on.
///
/// Bounded: [`COMPACTION_KEYS_MAX`] keys, of which it keeps digests. What comes after is for the next pass.
#[derive(Debug, Default)]
pub struct Compaction {
    newest: HashMap<Digest, Offset>,
}

impl Compaction {
    /// Whether there is enough to do: half as many new records as there are old ones.
    #[must_use]
    pub fn is_due(old: u64, new: u64) -> bool {
        new > 0 && new >= old / 2
    }

    /// Takes note of a record's key; false where there is no room for one more: the pass ends before this record.
    #[must_use]
    pub fn see(&mut self, key: &str, offset: Offset) -> bool {
        let key = Digest::of(key.as_bytes());
        if self.newest.len() >= COMPACTION_KEYS_MAX && !self.newest.contains_key(&key) {
            return false;
        }
        self.newest.insert(key, offset);
        true
    }

    /// Whether a newer record of the key was seen.
    #[must_use]
    pub fn replaces(&self, key: &str, offset: Offset) -> bool {
        self.newest.get(&Digest::of(key.as_bytes())).is_some_and(|newest| offset < *newest)
    }
}

#[cfg(test)]
mod tests;
