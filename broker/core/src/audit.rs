//! What is written down about decisions.
//!
//! The acceptance of a record is part of its own log entry (see [`crate::record::Envelope`]), so that no
//! record can be stored without it. Everything else goes to the hospital's audit log as an [`Event`].
//! Neither holds a body, a key or an attribute value: those may identify a patient.

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::PrincipalId;
use crate::name::{FlowName, SubscriptionName};
use crate::record::{Offset, Timestamp};

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// Who caused it; none when the broker did.
    pub principal: Option<PrincipalId>,
    /// The flow concerned, if any.
    pub flow: Option<FlowName>,
    /// The subscription concerned, if any.
    pub subscription: Option<SubscriptionName>,
    /// The position of the record concerned, if it has one.
    pub offset: Option<Offset>,
    /// What happened.
    pub action: Action,
    /// The rule, stage or operation that decided, and why; never a value from a record.
    pub reason: String,
}

impl Event {
    /// The stored form. `broker` is the broker's own identity: the audit log has one data key.
    #[must_use]
    pub fn into_entry(self, broker: &PrincipalId) -> Entry {
        Entry { log: LogName::Audit, source: broker.clone(), octets: encode(&self) }
    }

    /// Reads what [`Event::into_entry`] wrote.
    pub fn decode(octets: &[u8]) -> Result<Self, EntryError> {
        decode(octets)
    }
}

/// What an audit event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A connection was refused.
    ConnectionRefused,
    /// A publisher or reader was refused.
    Denied,
    /// A record was sent to quarantine.
    Quarantined,
    /// A record was withheld from one subscription.
    Withheld,
    /// A record was handed to a reader.
    Delivered,
    /// Access was given with obligations, such as break-glass.
    Obliged,
    /// A chain was loaded: its plan is in the reason.
    PlanLoaded,
    /// The broker started or stopped.
    Lifecycle,
}
