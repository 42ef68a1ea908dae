//! What is written down about decisions.
//!
//! The acceptance of a record is part of its own log entry (see [`crate::record::Envelope`]), so that no
//! record can be stored without it. Everything else goes to the hospital's audit log as an [`Event`].
//! Neither holds a body, a key or an attribute value: those may identify a patient.

use std::fmt;
use std::str::FromStr;

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

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $text:literal;)+) => {
        /// What an audit event is about. New ones come at the end: a log has their numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Action {
            $($(#[$doc])* $action,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$action),+];

            /// As people write it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$action => $text,)+
                }
            }
        }
    };
}

actions! {
    /// A connection was refused.
    ConnectionRefused = "connection-refused";
    /// A publisher, reader or operator was refused.
    Denied = "denied";
    /// A record was sent to quarantine.
    Quarantined = "quarantined";
    /// A record was withheld from one subscription.
    Withheld = "withheld";
    /// A record was handed to a reader.
    Delivered = "delivered";
    /// Access was given with obligations, such as break-glass.
    Obliged = "obliged";
    /// A chain was loaded: its plan is in the reason.
    PlanLoaded = "plan-loaded";
    /// The broker started or stopped.
    Lifecycle = "lifecycle";
    /// An operator looked at flows, subscriptions, the quarantine or the audit, and saw nothing that identifies a patient.
    Inspected = "inspected";
    /// An operator saw the key, the attributes or the body of a record in quarantine.
    Disclosed = "disclosed";
    /// An operator released a record from quarantine.
    Released = "released";
    /// An operator destroyed a record in quarantine.
    Destroyed = "destroyed";
    /// An operator paused a subscription.
    Paused = "paused";
    /// An operator let a paused subscription go on.
    Resumed = "resumed";
    /// An operator moved a subscription's cursor.
    Sought = "sought";
    /// An operator placed or lifted a legal hold.
    Held = "held";
    /// A record was not delivered because its time was over.
    Expired = "expired";
    /// A record that was delivered too often went to a dead-letter flow.
    DeadLettered = "dead-lettered";
    /// A reader gave a record up for good: its code is the reason.
    Terminated = "terminated";
    /// Retention is about to delete records: which ones, and by what rule, is in the reason.
    Deleted = "deleted";
    /// An operator gave up what was damaged in a log: which offsets is in the reason.
    Repaired = "repaired";
    /// An operator let the broker take another configuration: what changed is in the reason.
    Reloaded = "reloaded";
    /// A plugin that was tried on a share of the records was taken back, or may be tried again.
    RolledBack = "rolled-back";
    /// A plugin was loaded: who signed it, and until when it is supported, is in the reason.
    PluginAdmitted = "plugin-admitted";
    /// A plugin was not loaded, so that the broker did not start: why is in the reason.
    PluginRefused = "plugin-refused";
    /// A plugin failed on record after record, and its stage is left alone for a while: on whose records is in the reason.
    BreakerOpened = "breaker-opened";
    /// A stage that was left alone works again.
    BreakerClosed = "breaker-closed";
    /// The last batch on a chain that another configuration replaced has ended: no record gets a receipt of its plan any more.
    Drained = "drained";
    /// A stage that decides let records pass: by which policy, and how many at once, is in the reason.
    Permitted = "permitted";
    /// A holder of a key was given what a pseudonym stood for: which key and which pseudonym, and what for, is in the reason.
    Revealed = "revealed";
    /// What pseudonyms stood for was destroyed: of which ones, and why, is in the reason.
    Forgotten = "forgotten";
    /// A reader who began to read stated why it breaks the glass: its code is in the reason.
    Stated = "stated";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such action; actions are {}", names())]
pub struct ActionError;

fn names() -> String {
    let names: Vec<_> = Action::ALL.iter().map(|action| format!("`{action}`")).collect();
    names.join(", ")
}

impl FromStr for Action {
    type Err = ActionError;
    fn from_str(text: &str) -> Result<Self, ActionError> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or(ActionError)
    }
}

/// Which events somebody wants to see: those that fit everything that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Of this flow.
    pub flow: Option<FlowName>,
    /// Caused by this principal.
    pub principal: Option<PrincipalId>,
    /// Of this kind.
    pub action: Option<Action>,
}

impl Filter {
    /// Whether an event fits.
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time < until)
            && self.flow.as_ref().is_none_or(|flow| event.flow.as_ref() == Some(flow))
            && self.principal.as_ref().is_none_or(|id| event.principal.as_ref() == Some(id))
            && self.action.is_none_or(|action| event.action == action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            time: Timestamp(10),
            principal: Some("spiffe://st-marys/operator".parse().unwrap()),
            flow: Some("imaging".parse().unwrap()),
            subscription: None,
            offset: Some(Offset(3)),
            action: Action::Released,
            reason: "rule `operators[0]`".into(),
        }
    }

    #[test]
    fn an_event_fits_what_is_said_and_nothing_else() {
        let all = Filter {
            since: Some(Timestamp(10)),
            until: Some(Timestamp(11)),
            flow: event().flow,
            principal: event().principal,
            action: Some(Action::Released),
        };
        assert!(Filter::default().fits(&event()) && all.fits(&event()));
        for other in [
            Filter { since: Some(Timestamp(11)), ..Filter::default() },
            Filter { until: Some(Timestamp(10)), ..Filter::default() },
            Filter { flow: Some("billing".parse().unwrap()), ..Filter::default() },
            Filter { principal: Some("spiffe://st-marys/else".parse().unwrap()), ..Filter::default() },
            Filter { action: Some(Action::Denied), ..Filter::default() },
        ] {
            assert!(!other.fits(&event()), "{other:?}");
        }
        // Of no flow and of nobody is not of any.
        let bare = Event { flow: None, principal: None, ..event() };
        assert!(!Filter { flow: event().flow, ..Filter::default() }.fits(&bare));
    }

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in Action::ALL {
            assert_eq!(action.to_string().parse(), Ok(*action));
        }
        assert!("everything".parse::<Action>().unwrap_err().to_string().contains("`plan-loaded`"));
    }

    #[test]
    fn an_event_comes_back_from_its_entry() {
        let broker = "spiffe://st-marys/broker".parse().unwrap();
        assert_eq!(Event::decode(event().into_entry(&broker).octets()), Ok(event()));
    }
}
