//! Where a record goes that a chain refused or failed on: kept encrypted like a stored one, shown to operators without its
//! body, until they release or destroy it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::Principal;
use crate::name::{FlowName, StageName, SubscriptionName};
use crate::record::{Admitted, Body, Head, Offset, Stored, Timestamp};

/// Why a record is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The stage that refused or failed; none where the broker itself found the fault.
    pub stage: Option<StageName>,
    /// Short and stable, e.g. `malformed` or `time-limit`.
    pub code: String,
    /// For operators; names fields, never values.
    pub reason: String,
}

/// A record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The flow it was meant for, or came from.
    pub flow: FlowName,
    /// The subscription whose chain failed, with the record's position; none at ingress.
    pub delivery: Option<(SubscriptionName, Offset)>,
    /// As it was before the chain.
    pub head: Head,
    /// As it was before the chain.
    pub body: Body,
    /// Who sent it.
    pub principal: Arc<Principal>,
    /// Why it is here.
    pub cause: Cause,
    /// When it came here.
    pub time: Timestamp,
}

impl Quarantined {
    /// A record that the flow's ingress chain refused or failed on.
    #[must_use]
    pub fn at_ingress(record: &Admitted, cause: Cause, time: Timestamp) -> Self {
        Self {
            flow: record.flow().clone(),
            delivery: None,
            head: record.head().clone(),
            body: record.body().body().clone(),
            principal: record.principal().clone(),
            cause,
            time,
        }
    }

    /// A stored record that a subscription's egress chain failed on.
    #[must_use]
    pub fn at_egress(record: &Stored, subscription: SubscriptionName, cause: Cause, time: Timestamp) -> Self {
        let envelope = record.envelope();
        Self {
            flow: record.flow().clone(),
            delivery: Some((subscription, record.offset())),
            head: envelope.head.clone(),
            body: envelope.body.clone(),
            principal: envelope.principal.clone(),
            cause,
            time,
        }
    }

    /// The stored form.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        let source = self.principal.id.clone();
        Entry { log: LogName::Quarantine(self.flow.clone()), source, octets: encode(&self) }
    }

    /// Reads what [`Quarantined::into_entry`] wrote.
    pub fn decode(octets: &[u8]) -> Result<Self, EntryError> {
        decode(octets)
    }
}
