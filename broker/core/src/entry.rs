//! What a log takes. An [`Entry`] has no public constructor: it is made of a [`Sealed`](crate::record::Sealed) record, of a
//! [`Quarantined`](crate::quarantine::Quarantined) one, of an audit [`Event`](crate::audit::Event), of an operator's
//! [`Decision`](crate::control::Decision), of what plugins keep ([`crate::state`]) or of what a pseudonym stood for
//! ([`crate::originals`]), and nothing else.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::identity::PrincipalId;
use crate::name::{FlowName, KeyName};

/// Names one log of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LogName {
    /// The records of a flow.
    Flow(FlowName),
    /// The records of a flow that its chain refused or failed on.
    Quarantine(FlowName),
    /// The hospital's audit events.
    Audit,
    /// What operators decided: see [`crate::control`].
    Control,
    /// What the observing stages of a flow keep: see [`crate::state`].
    State(FlowName),
    /// What the pseudonyms under a key stood for: see [`crate::originals`].
    Originals(KeyName),
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(flow) => write!(f, "flow.{flow}"),
            Self::Quarantine(flow) => write!(f, "quarantine.{flow}"),
            Self::Audit => f.write_str("audit"),
            Self::Control => f.write_str("control"),
            Self::State(flow) => write!(f, "state.{flow}"),
            Self::Originals(key) => write!(f, "originals.{key}"),
        }
    }
}

/// One entry of a log before it has an offset.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) log: LogName,
    pub(crate) source: PrincipalId,
    pub(crate) octets: Vec<u8>,
}

impl Entry {
    /// The log it belongs to.
    #[must_use]
    pub fn log(&self) -> &LogName {
        &self.log
    }

    /// Whose data key encrypts it.
    #[must_use]
    pub fn source(&self) -> &PrincipalId {
        &self.source
    }

    /// Its plain octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Gives its plain octets, to be encrypted in place.
    #[must_use]
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

/// First octet of every entry.
const ENTRY_VERSION: u8 = 1;

/// Why octets of a log are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Written by a newer Hilum.
    #[error("the entry has format version {0}, this build reads {ENTRY_VERSION}")]
    Version(u8),
    /// Not an entry at all.
    #[error("the entry does not decode")]
    Malformed,
}

/// A version octet, then the value in postcard.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![ENTRY_VERSION]).expect("plain data encodes into memory")
}

pub(crate) fn decode<T: DeserializeOwned>(octets: &[u8]) -> Result<T, EntryError> {
    let (&version, rest) = octets.split_first().ok_or(EntryError::Malformed)?;
    if version != ENTRY_VERSION {
        return Err(EntryError::Version(version));
    }
    postcard::from_bytes(rest).map_err(|_| EntryError::Malformed)
}
