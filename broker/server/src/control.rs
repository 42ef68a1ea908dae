//! Operators' decisions in effect: holds and pauses. Loaded at start; each new one is audited and durable before it counts.

use std::sync::Arc;

use hilum_core::audit::{Action, Event};
use hilum_core::canary::StagePlace;
use hilum_core::control::{Decision, DecisionError, FlowHolds, Hold, Pause, RolledBack, State};
use hilum_core::entry::EntryError;
use hilum_core::{FlowName, LogName, Offset, PrincipalId, SubscriptionName, Timestamp};
use hilum_store::{AppendError, Durability, Log, ReadError};
use parking_lot::RwLock;
use tokio::sync::{OwnedMutexGuard, RwLockReadGuard, watch};

use crate::broker::{About, Shared};

/// Octets read from the log at once.
const READ_OCTETS: usize = 1 << 20;
/// Entries after which the whole state is written again, so that older ones may go.
const SNAPSHOT_ENTRIES: u64 = 4096;

/// The state that decisions came to, and the order in which they are made.
pub struct Control {
    state: RwLock<State>,
    /// Entries since the last snapshot. Held while a decision is made.
    deciding: Arc<tokio::sync::Mutex<u64>>,
    /// Held by whoever deletes, while he does; a hold that takes effect waits for all of them.
    deleting: tokio::sync::RwLock<()>,
    changed: watch::Sender<u64>,
}

/// Why the decisions of former runs are not known. The broker does not start: it could delete what is held.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The log cannot be read.
    #[error("the log of operators' decisions cannot be read: {0}")]
    Read(#[from] ReadError),
    /// An entry is not what this build writes.
    #[error("the log of operators' decisions, offset {0}: {1}")]
    Entry(Offset, EntryError),
}

/// Why a decision did not take effect.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// It cannot be taken.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// It cannot be written down.
    #[error("the decision cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The broker is stopping, or has a defect.
    #[error("the decision was given up")]
    GivenUp,
}

impl Default for Control {
    /// Nothing was ever decided.
    fn default() -> Self {
        Self::new(State::default(), 0)
    }
}

impl Control {
    fn new(state: State, entries: u64) -> Self {
        Self {
            state: RwLock::new(state),
            deciding: Arc::new(tokio::sync::Mutex::new(entries)),
            deleting: tokio::sync::RwLock::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Reads what was decided in former runs.
    pub async fn load(log: &dyn Log) -> Result<Self, ControlError> {
        let bounds = log.bounds(&LogName::Control).await?;
        let (mut state, mut at) = (State::default(), Offset(bounds.start));
        while at.0 < bounds.end {
            let entries = log.read(&LogName::Control, at, READ_OCTETS).await?;
            let Some(last) = entries.last() else { break };
            at = last.offset.next();
            for entry in entries {
                state.fold(&entry.octets).map_err(|error| ControlError::Entry(entry.offset, error))?;
            }
        }
        Ok(Self::new(state, bounds.end - bounds.start))
    }

    /// What holds keep of a flow.
    #[must_use]
    pub fn holds_of(&self, flow: &FlowName) -> FlowHolds {
        self.state.read().holds_of(flow)
    }

    /// All holds, in the order in which they were decided.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        self.state.read().holds().cloned().collect()
    }

    /// The pause of a subscription, if it is paused.
    #[must_use]
    pub fn pause_of(&self, flow: &FlowName, subscription: &SubscriptionName) -> Option<Pause> {
        self.state.read().pause_of(flow, subscription).cloned()
    }

    /// The trial that was rolled back at a stage last, if it may not be tried again.
    #[must_use]
    pub fn rollback_of(&self, place: &StagePlace) -> Option<RolledBack> {
        self.state.read().rollback_of(place).cloned()
    }

    /// All stages whose last trial was rolled back.
    #[must_use]
    pub fn rollbacks(&self) -> Vec<StagePlace> {
        self.state.read().rollbacks().map(|rolled| rolled.place.clone()).collect()
    }

    /// All pauses, by flow and subscription.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        self.state.read().pauses().cloned().collect()
    }

    /// Changes with each decision that takes effect.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// To be held from looking at the holds until what they let go is deleted: when a hold is confirmed to an operator,
    /// nothing in its scope is deleted any more. What is done meanwhile has to be short.
    pub async fn deleting(&self) -> RwLockReadGuard<'_, ()> {
        self.deleting.read().await
    }
}

impl Shared {
    /// Takes a decision: `make` checks it against the present state. When this comes back it is audited, durable and in
    /// effect. It goes its way to the end, whether this future is polled or not.
    pub async fn decide(
        self: &Arc<Self>,
        make: impl FnOnce(&State, Timestamp) -> Result<Decision, DecisionError>,
    ) -> Result<Decision, DecideError> {
        let entries = self.control.deciding.clone().lock_owned().await;
        let decision = make(&self.control.state.read(), self.now())?;
        let deciding = tokio::spawn(self.clone().carry_out(decision, entries));
        deciding.await.map_err(|_| DecideError::GivenUp)?
    }

    /// Pauses a subscription, durably.
    pub async fn pause_subscription(
        self: &Arc<Self>,
        flow: &FlowName,
        subscription: &SubscriptionName,
        reason: &str,
        by: &PrincipalId,
    ) -> Result<(), DecideError> {
        self.decide(|state, now| state.pause(flow, subscription, reason, by, now)).await.map(drop)
    }

    /// Lets a subscription go on, durably.
    pub async fn resume_subscription(
        self: &Arc<Self>,
        flow: &FlowName,
        subscription: &SubscriptionName,
        by: &PrincipalId,
    ) -> Result<(), DecideError> {
        self.decide(|state, now| state.resume(flow, subscription, by, now)).await.map(drop)
    }

    /// Where a subscription begins that does not read what was there before it: at `end`, the end of its flow, unless that was
    /// decided before.
    pub async fn begin_subscription(
        self: &Arc<Self>,
        flow: &FlowName,
        subscription: &SubscriptionName,
        end: Offset,
    ) -> Result<Offset, DecideError> {
        if let Some(begun) = self.control.state.read().begin_of(flow, subscription) {
            return Ok(begun);
        }
        let begin = |_: &State, time| {
            let (flow, subscription, by) = (flow.clone(), subscription.clone(), self.identity.clone());
            Ok(Decision::Begin { flow, subscription, offset: end, by, time })
        };
        self.decide(begin).await?;
        Ok(self.control.state.read().begin_of(flow, subscription).unwrap_or(end))
    }

    async fn carry_out(
        self: Arc<Self>,
        decision: Decision,
        mut entries: OwnedMutexGuard<u64>,
    ) -> Result<Decision, DecideError> {
        self.audit(vec![self.event_of(&decision)]).await?;
        self.log
            .append(&LogName::Control, vec![decision.to_entry(&self.identity)], Durability::Fsynced)
            .await?;
        {
            let _nobody_deletes = self.control.deleting.write().await;
            self.control.state.write().apply(decision.clone());
        }
        self.control.changed.send_modify(|changes| *changes += 1);
        *entries += 1;
        if *entries >= SNAPSHOT_ENTRIES {
            match self.write_snapshot().await {
                Ok(written) => *entries = written,
                Err(error) => {
                    tracing::warn!(%error, "the log of operators' decisions could not be compacted yet");
                }
            }
        }
        Ok(decision)
    }

    /// Writes the whole state and lets go of what is before. How many entries that were.
    async fn write_snapshot(&self) -> Result<u64, DecideError> {
        let snapshot = self.control.state.read().snapshot(&self.identity);
        let (parts, mut first) = (snapshot.len() as u64, None);
        for part in snapshot {
            let offset = self.log.append(&LogName::Control, vec![part], Durability::Fsynced).await?;
            first.get_or_insert(offset);
        }
        if let Some(first) = first
            && let Err(error) = self.log.trim(&LogName::Control, first).await
        {
            // The next snapshot tries again.
            tracing::warn!(%error, "the log of operators' decisions could not be trimmed yet");
        }
        Ok(parts)
    }

    fn event_of(&self, decision: &Decision) -> Event {
        let about = |flow: &FlowName, subscription: Option<&SubscriptionName>| About {
            principal: Some(decision.by().clone()),
            flow: Some(flow.clone()),
            subscription: subscription.cloned(),
            offset: None,
        };
        let now = self.now();
        match decision {
            Decision::Hold(hold) => {
                let reason = format!("hold {} on {}: {}", hold.id, hold.scope, hold.reason);
                about(&hold.scope.flow, None).event(now, Action::Held, reason)
            }
            Decision::Release { id, by, .. } => {
                let held = self.control.state.read().holds().find(|hold| hold.id == *id).cloned();
                let flow = held.as_ref().map(|hold| hold.scope.flow.clone());
                let on = held.map(|hold| format!(" on {}", hold.scope)).unwrap_or_default();
                let about = About { principal: Some(by.clone()), flow, ..About::default() };
                about.event(now, Action::Held, format!("released hold {id}{on}"))
            }
            Decision::Pause(pause) => {
                about(&pause.flow, Some(&pause.subscription)).event(now, Action::Paused, pause.reason.clone())
            }
            Decision::Resume { flow, subscription, .. } => {
                about(flow, Some(subscription)).event(now, Action::Resumed, "resumed")
            }
            Decision::RollBack(rolled) => {
                let RolledBack { place, reason, .. } = rolled;
                let reason = format!("stage `{}`: {reason}", place.stage);
                about(&place.flow, place.subscription.as_ref()).event(now, Action::RolledBack, reason)
            }
            Decision::TryAgain { place, .. } => {
                let reason = format!("stage `{}`: what was rolled back may be tried again", place.stage);
                about(&place.flow, place.subscription.as_ref()).event(now, Action::RolledBack, reason)
            }
            Decision::Begin { flow, subscription, offset, .. } => {
                let reason = format!("the subscription is new and begins at offset {offset}");
                about(flow, Some(subscription)).event(now, Action::Sought, reason)
            }
        }
    }
}

#[cfg(test)]
mod tests;
