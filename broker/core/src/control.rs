//! What operators decided and what must outlive the process: legal holds, and subscriptions that are paused. And where
//! subscriptions began that do not read what was there before them, and which trials of plugins were rolled back.
//!
//! Each decision is one entry of the log [`LogName::Control`], durable before it takes effect. [`State::fold`] makes the present
//! state of the entries, in order. So that the log does not grow for ever, [`State::snapshot`] writes the whole state
//! into it now and then, in parts; what is before a whole snapshot may go.
//!
//! 1. [`State::hold`], [`State::release`], [`State::pause`] and [`State::resume`] check what is asked and give a [`Decision`].
//! 2. [`Decision::to_entry`] is appended.
//! 3. [`State::apply`] makes it effective.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::canary::StagePlace;
use crate::digest::Digest;
use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::PrincipalId;
use crate::limits::{HOLDS_MAX, KEY_OCTETS_MAX, PAUSES_MAX, REASON_CHARS_MAX, ROLLBACKS_MAX};
use crate::name::{FlowName, SubscriptionName};
use crate::record::{Offset, Timestamp};

/// Holds, and as many pauses, of one part of a snapshot: with the longest names of principals it fits one append.
const PART_ITEMS_MAX: usize = 256;

/// Names one hold, for as long as there is a log; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(pub u64);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a hold keeps from being deleted, in the flow and in its quarantine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HoldScope {
    /// The flow.
    pub flow: FlowName,
    /// Its records of one key, as they are stored; all of its records where there is none. May identify a patient: never
    /// logged.
    pub key: Option<String>,
}

impl fmt::Debug for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HoldScope {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(_) => write!(f, "a key of flow `{}`", self.flow),
            None => write!(f, "flow `{}`", self.flow),
        }
    }
}

/// A legal hold: deletion is suspended for what is in its scope, until it is released. Several may lie on one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// What is held.
    pub scope: HoldScope,
    /// Why, in the operator's words: a case number. Up to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
    /// Who decided.
    pub by: PrincipalId,
    /// When.
    pub time: Timestamp,
}

/// A subscription that delivers nothing until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The flow.
    pub flow: FlowName,
    /// Its subscription.
    pub subscription: SubscriptionName,
    /// Why, in the operator's words. Up to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
    /// Who decided.
    pub by: PrincipalId,
    /// When.
    pub time: Timestamp,
}

/// A trial of a plugin that ended because the candidate made too many errors. Not an operator's decision, but as lasting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The stage.
    pub place: StagePlace,
    /// What was tried, and how: another trial of the same stage may begin.
    pub trial: Digest,
    /// Why, in the broker's words.
    pub reason: String,
    /// The broker.
    pub by: PrincipalId,
    /// When.
    pub time: Timestamp,
}

/// A decision of an operator that was checked against the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A hold begins.
    Hold(Hold),
    /// A hold ends.
    Release {
        /// Which one.
        id: HoldId,
        /// Who decided.
        by: PrincipalId,
        /// When.
        time: Timestamp,
    },
    /// A subscription is paused.
    Pause(Pause),
    /// A subscription goes on.
    Resume {
        /// The flow.
        flow: FlowName,
        /// Its subscription.
        subscription: SubscriptionName,
        /// Who decided.
        by: PrincipalId,
        /// When.
        time: Timestamp,
    },
    /// A new subscription begins with the records that come from now on. Not an operator's decision, but as lasting: were it
    /// forgotten, the subscription would begin anew later and leave records out.
    Begin {
        /// The flow.
        flow: FlowName,
        /// Its subscription.
        subscription: SubscriptionName,
        /// Its first record.
        offset: Offset,
        /// The broker.
        by: PrincipalId,
        /// When.
        time: Timestamp,
    },
    /// A trial ends. There is one for each stage: the newest.
    RollBack(RolledBack),
    /// Whatever was rolled back at a stage may be tried again.
    TryAgain {
        /// The stage.
        place: StagePlace,
        /// Who changed the configuration.
        by: PrincipalId,
        /// When.
        time: Timestamp,
    },
}

/// Why a decision cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// There are too many holds.
    #[error("there are {HOLDS_MAX} holds already: release one first, or hold a whole flow")]
    TooManyHolds,
    /// There are too many pauses.
    #[error("{PAUSES_MAX} subscriptions are paused already")]
    TooManyPauses,
    /// There are too many rolled-back trials.
    #[error("{ROLLBACKS_MAX} trials of plugins were rolled back already: take them out of the configuration")]
    TooManyRollbacks,
    /// No hold has this name.
    #[error("there is no hold {0}")]
    NoSuchHold(HoldId),
    /// It is not paused.
    #[error("subscription `{0}` is not paused")]
    NotPaused(SubscriptionName),
    /// No record has such a key.
    #[error("a key has 1 to {KEY_OCTETS_MAX} octets")]
    Key,
    /// A reason is needed, and has a limit.
    #[error("a reason has 1 to {REASON_CHARS_MAX} characters")]
    Reason,
}

/// What the log has: decisions, and snapshots of what they came to.
#[derive(Debug, Serialize, Deserialize)]
enum Event {
    Decision(Decision),
    Part(Part),
    Rollbacks(Rollbacks),
}

/// One part of a snapshot. All parts of one are appended one after the other, with nothing in between.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    /// From 0.
    index: u32,
    is_last: bool,
    next_hold: u64,
    holds: Vec<Hold>,
    pauses: Vec<Pause>,
    begins: Vec<(FlowName, SubscriptionName, Offset)>,
}

/// A part of a snapshot that has rolled-back trials. It comes after the others.
#[derive(Debug, Serialize, Deserialize)]
struct Rollbacks {
    index: u32,
    is_last: bool,
    rollbacks: Vec<RolledBack>,
}

/// What is held and paused now. Bounded by [`HOLDS_MAX`], [`PAUSES_MAX`] and [`ROLLBACKS_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    next_hold: u64,
    holds: BTreeMap<HoldId, Hold>,
    pauses: BTreeMap<(FlowName, SubscriptionName), Pause>,
    /// As many as there are subscriptions that begin with their latest record.
    begins: BTreeMap<(FlowName, SubscriptionName), Offset>,
    rollbacks: BTreeMap<StagePlace, RolledBack>,
    /// A snapshot of which parts are still to come, and the number of the next one.
    partial: Option<(u32, Box<State>)>,
}

/// What holds keep of one flow.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FlowHolds {
    is_whole: bool,
    keys: BTreeSet<String>,
}

impl fmt::Debug for FlowHolds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowHolds(whole: {}, {} keys)", self.is_whole, self.keys.len())
    }
}

impl FlowHolds {
    /// Everything is held.
    #[must_use]
    pub fn whole() -> Self {
        Self { is_whole: true, keys: BTreeSet::new() }
    }

    /// Whether the flow as a whole is held.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_whole && self.keys.is_empty()
    }

    /// Whether a record of this key is held.
    #[must_use]
    pub fn holds(&self, key: Option<&str>) -> bool {
        self.is_whole || key.is_some_and(|key| self.keys.contains(key))
    }
}

impl State {
    /// The holds, in the order in which they were decided.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// What holds keep of a flow.
    #[must_use]
    pub fn holds_of(&self, flow: &FlowName) -> FlowHolds {
        let mut found = FlowHolds::default();
        for hold in self.holds.values().filter(|hold| hold.scope.flow == *flow) {
            match &hold.scope.key {
                Some(key) => drop(found.keys.insert(key.clone())),
                None => found.is_whole = true,
            }
        }
        found
    }

    /// The pauses, by flow and subscription.
    pub fn pauses(&self) -> impl Iterator<Item = &Pause> {
        self.pauses.values()
    }

    /// The pause of a subscription, if it is paused.
    #[must_use]
    pub fn pause_of(&self, flow: &FlowName, subscription: &SubscriptionName) -> Option<&Pause> {
        self.pauses.get(&(flow.clone(), subscription.clone()))
    }

    /// The decision to hold something.
    pub fn hold(
        &self,
        scope: HoldScope,
        reason: &str,
        by: &PrincipalId,
        time: Timestamp,
    ) -> Result<Decision, DecisionError> {
        if scope.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_OCTETS_MAX) {
            return Err(DecisionError::Key);
        }
        if self.holds.len() >= HOLDS_MAX {
            return Err(DecisionError::TooManyHolds);
        }
        let (reason, by) = (checked(reason)?, by.clone());
        Ok(Decision::Hold(Hold { id: HoldId(self.next_hold), scope, reason, by, time }))
    }

    /// The decision to release a hold.
    pub fn release(&self, id: HoldId, by: &PrincipalId, time: Timestamp) -> Result<Decision, DecisionError> {
        if !self.holds.contains_key(&id) {
            return Err(DecisionError::NoSuchHold(id));
        }
        Ok(Decision::Release { id, by: by.clone(), time })
    }

    /// The decision to pause a subscription; one that is paused gets the new reason.
    pub fn pause(
        &self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        reason: &str,
        by: &PrincipalId,
        time: Timestamp,
    ) -> Result<Decision, DecisionError> {
        if self.pauses.len() >= PAUSES_MAX && self.pause_of(flow, subscription).is_none() {
            return Err(DecisionError::TooManyPauses);
        }
        let (flow, subscription, by) = (flow.clone(), subscription.clone(), by.clone());
        Ok(Decision::Pause(Pause { flow, subscription, reason: checked(reason)?, by, time }))
    }

    /// The decision to let a subscription go on.
    pub fn resume(
        &self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        by: &PrincipalId,
        time: Timestamp,
    ) -> Result<Decision, DecisionError> {
        if self.pause_of(flow, subscription).is_none() {
            return Err(DecisionError::NotPaused(subscription.clone()));
        }
        let (flow, subscription, by) = (flow.clone(), subscription.clone(), by.clone());
        Ok(Decision::Resume { flow, subscription, by, time })
    }

    /// Where a subscription began that does not read what was there before it.
    #[must_use]
    pub fn begin_of(&self, flow: &FlowName, subscription: &SubscriptionName) -> Option<Offset> {
        self.begins.get(&(flow.clone(), subscription.clone())).copied()
    }

    /// The trial that was rolled back at a stage last, if it may not be tried again.
    #[must_use]
    pub fn rollback_of(&self, place: &StagePlace) -> Option<&RolledBack> {
        self.rollbacks.get(place)
    }

    /// Places of rolled-back trials.
    pub fn rollbacks(&self) -> impl Iterator<Item = &RolledBack> {
        self.rollbacks.values()
    }

    /// The decision to end a trial.
    pub fn roll_back(
        &self,
        place: StagePlace,
        trial: Digest,
        reason: &str,
        by: &PrincipalId,
        time: Timestamp,
    ) -> Result<Decision, DecisionError> {
        if self.rollbacks.len() >= ROLLBACKS_MAX && !self.rollbacks.contains_key(&place) {
            return Err(DecisionError::TooManyRollbacks);
        }
        let reason = reason.chars().take(REASON_CHARS_MAX).collect();
        Ok(Decision::RollBack(RolledBack { place, trial, reason, by: by.clone(), time }))
    }

    /// Makes a decision effective. A hold is never refused here: what was written down is held.
    pub fn apply(&mut self, decision: Decision) {
        self.partial = None;
        match decision {
            Decision::Hold(hold) => {
                self.next_hold = self.next_hold.max(hold.id.0.saturating_add(1));
                self.holds.insert(hold.id, hold);
            }
            Decision::Release { id, .. } => drop(self.holds.remove(&id)),
            Decision::Pause(pause) => {
                self.pauses.insert((pause.flow.clone(), pause.subscription.clone()), pause);
            }
            Decision::Resume { flow, subscription, .. } => drop(self.pauses.remove(&(flow, subscription))),
            Decision::Begin { flow, subscription, offset, .. } => {
                self.begins.entry((flow, subscription)).or_insert(offset);
            }
            Decision::RollBack(rolled) => drop(self.rollbacks.insert(rolled.place.clone(), rolled)),
            Decision::TryAgain { place, .. } => drop(self.rollbacks.remove(&place)),
        }
    }

    /// Takes the next entry of the log. What stands before the first whole snapshot of a log that was trimmed may be
    /// without a beginning: it changes nothing that the snapshot does not set right.
    pub fn fold(&mut self, octets: &[u8]) -> Result<(), EntryError> {
        match decode(octets)? {
            Event::Decision(decision) => self.apply(decision),
            Event::Part(part) => self.fold_part(part),
            Event::Rollbacks(part) => self.fold_rollbacks(part),
        }
        Ok(())
    }

    fn fold_rollbacks(&mut self, part: Rollbacks) {
        let Some((expected, mut so_far)) = self.partial.take() else { return };
        if expected != part.index {
            return;
        }
        part.rollbacks.into_iter().for_each(|rolled| so_far.apply(Decision::RollBack(rolled)));
        self.go_on(part.index, part.is_last, so_far);
    }

    /// After one part of a snapshot comes the next, or it is whole.
    fn go_on(&mut self, index: u32, is_last: bool, so_far: Box<Self>) {
        if is_last {
            *self = *so_far;
        } else {
            self.partial = Some((index.saturating_add(1), so_far));
        }
    }

    fn fold_part(&mut self, part: Part) {
        let so_far = match self.partial.take() {
            _ if part.index == 0 => Some(Box::default()),
            Some((expected, so_far)) if expected == part.index => Some(so_far),
            _ => None,
        };
        let Some(mut so_far) = so_far else { return };
        so_far.next_hold = so_far.next_hold.max(part.next_hold);
        part.holds.into_iter().for_each(|hold| so_far.apply(Decision::Hold(hold)));
        part.pauses.into_iter().for_each(|pause| so_far.apply(Decision::Pause(pause)));
        let begins = part.begins.into_iter();
        so_far.begins.extend(begins.map(|(flow, subscription, offset)| ((flow, subscription), offset)));
        self.go_on(part.index, part.is_last, so_far);
    }

    /// The whole state as entries, each small enough for an append of its own; at least one.
    #[must_use]
    pub fn snapshot(&self, broker: &PrincipalId) -> Vec<Entry> {
        let (mut holds, mut pauses) = (self.holds.values().peekable(), self.pauses.values().peekable());
        let mut begins = self.begins.iter().peekable();
        let mut rollbacks = self.rollbacks.values().cloned().peekable();
        let mut entries = Vec::new();
        for index in 0.. {
            let holds_here = holds.by_ref().take(PART_ITEMS_MAX).cloned().collect();
            let pauses_here = pauses.by_ref().take(PART_ITEMS_MAX).cloned().collect();
            let begin = |((flow, subscription), offset): (&(FlowName, SubscriptionName), &Offset)| {
                (flow.clone(), subscription.clone(), *offset)
            };
            let begins_here = begins.by_ref().take(PART_ITEMS_MAX).map(begin).collect();
            let is_end = holds.peek().is_none() && pauses.peek().is_none() && begins.peek().is_none();
            let is_last = is_end && rollbacks.peek().is_none();
            let next_hold = self.next_hold;
            let part = Part {
                index,
                is_last,
                next_hold,
                holds: holds_here,
                pauses: pauses_here,
                begins: begins_here,
            };
            entries.push(entry(&Event::Part(part), broker));
            if is_end {
                break;
            }
        }
        while rollbacks.peek().is_some() {
            let index = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let here = rollbacks.by_ref().take(PART_ITEMS_MAX).collect();
            let part = Rollbacks { index, is_last: rollbacks.peek().is_none(), rollbacks: here };
            entries.push(entry(&Event::Rollbacks(part), broker));
        }
        entries
    }
}

impl Decision {
    /// The stored form. `broker` is the broker's own identity: the log has one data key.
    #[must_use]
    pub fn to_entry(&self, broker: &PrincipalId) -> Entry {
        entry(&Event::Decision(self.clone()), broker)
    }

    /// Who decided.
    #[must_use]
    pub fn by(&self) -> &PrincipalId {
        match self {
            Self::Hold(Hold { by, .. })
            | Self::Release { by, .. }
            | Self::Pause(Pause { by, .. })
            | Self::Resume { by, .. }
            | Self::Begin { by, .. }
            | Self::RollBack(RolledBack { by, .. })
            | Self::TryAgain { by, .. } => by,
        }
    }
}

fn entry(event: &Event, broker: &PrincipalId) -> Entry {
    Entry { log: LogName::Control, source: broker.clone(), octets: encode(event) }
}

fn checked(reason: &str) -> Result<String, DecisionError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        return Err(DecisionError::Reason);
    }
    Ok(reason.to_owned())
}

#[cfg(test)]
mod tests;
