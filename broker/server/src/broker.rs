//! What every part of a running broker shares: the store, the audit log, the clock, the instruments.

use std::sync::Arc;

use hilum_core::audit::{Action, Event};
use hilum_core::{FlowName, LogName, Offset, PrincipalId, SubscriptionName, Timestamp};
use hilum_store::{AppendError, Blobs, Durability, Log, Meta};
use tokio::sync::Notify;

use crate::aside::Aside;
use crate::chains::Slots;
use crate::clock::Clock;
use crate::control::Control;
use crate::memory::Memory;
use crate::originals::Originals;
use crate::quarantine::Quarantines;
use crate::retention::Ledgers;
use crate::state::States;
use crate::telemetry::Instruments;
use crate::traffic::Traffic;

/// Handed to every part of a running broker.
pub struct Shared {
    /// The truth.
    pub log: Arc<dyn Log>,
    /// Large bodies.
    pub blobs: Arc<dyn Blobs>,
    /// Cursors, and what is known of publishers.
    pub meta: Arc<dyn Meta>,
    /// Counters and histograms.
    pub instruments: Instruments,
    /// `spiffe://<hospital>/broker`.
    pub identity: PrincipalId,
    /// Chains that run at the same time: as many as there are processors, and those that take long.
    pub chain_slots: Slots,
    /// What time it is.
    pub clock: Clock,
    /// How much may be under way.
    pub memory: Memory,
    /// What operators hold and paused.
    pub control: Control,
    /// How much is in quarantine.
    pub quarantine: Quarantines,
    /// How much is in each flow.
    pub ledgers: Ledgers,
    /// What the observing stages of each flow keep.
    pub states: States,
    /// What pseudonyms stood for, for keys of which that is kept.
    pub(crate) originals: Originals,
    /// Audit events of those who cannot wait.
    pub(crate) aside: Aside,
    /// Told when audit events were written.
    pub(crate) audited: Notify,
    /// Who published and read how much, for statistics.
    pub(crate) traffic: Traffic,
}

/// An audit event under construction: who and where, before what.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Who caused it.
    pub principal: Option<PrincipalId>,
    /// The flow concerned.
    pub flow: Option<FlowName>,
    /// The subscription concerned.
    pub subscription: Option<SubscriptionName>,
    /// The record concerned.
    pub offset: Option<Offset>,
}

impl About {
    /// The event that `action` happened at `time`.
    #[must_use]
    pub fn event(self, time: Timestamp, action: Action, reason: impl Into<String>) -> Event {
        let Self { principal, flow, subscription, offset } = self;
        Event { time, principal, flow, subscription, offset, action, reason: reason.into() }
    }
}

impl Shared {
    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes audit events; durable when it comes back.
    pub async fn audit(&self, events: Vec<Event>) -> Result<(), AppendError> {
        if events.is_empty() {
            return Ok(());
        }
        let batch = events.into_iter().map(|event| event.into_entry(&self.identity)).collect();
        self.log.append(&LogName::Audit, batch, Durability::Fsynced).await?;
        self.audited.notify_one();
        Ok(())
    }

    /// Writes an audit event about something that is refused anyway, so that a failure to write it changes nothing for
    /// the peer; it is reported on the broker's own log.
    pub async fn audit_refusal(&self, event: Event) {
        if let Err(error) = self.audit(vec![event]).await {
            tracing::error!(%error, "an audit event could not be written");
        }
    }
}
