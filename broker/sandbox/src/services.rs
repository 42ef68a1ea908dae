//! What the sandbox needs of the broker. The server implements [`Services`] for each chain; `hilum plugin run` and the
//! tests have small ones of their own.
//!
//! All functions block and are called on the thread that runs the chain. Which stage may ask for what is checked before:
//! an implementation need not look at grants.

use std::sync::Arc;

use bytes::Bytes;
use hilum_core::chain::FailsOn;
use hilum_core::cose::{PrivateKey, RecipientKey};
use hilum_core::originals::{Original, Pseudonym};
use hilum_core::record::{BlobRef, Timestamp};
use hilum_core::{FlowName, PrincipalId, StageName};

use crate::limits::Limit;
use crate::trace::{Span, SpanStart};

/// Why the broker could not do what a plugin asked. The text goes to operators and names no value of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// A value of keyed state with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The octets.
    pub value: Vec<u8>,
    /// From 1, and larger with each change.
    pub version: u64,
}

/// One change of keyed state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// Which value.
    pub key: String,
    /// The version that the stage saw; 0 for absence.
    pub expected: u64,
    /// The new value with its version, or none where it is removed.
    pub to: Option<Versioned>,
}

/// How much keyed state a stage has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateUsage {
    /// Keys.
    pub keys: u64,
    /// Octets of keys and values.
    pub octets: u64,
}

/// Why keyed state was not read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A version is not the one expected; nothing was changed.
    #[error("the state changed in between")]
    Conflict,
    /// Over the stage's number of keys or octets; nothing was changed.
    #[error("the state of the stage is full")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A large body being written. Dropped without [`BlobSink::finish`] it leaves nothing behind.
pub trait BlobSink: Send {
    /// Adds octets, at most [`hilum_core::limits::BLOB_CHUNK_OCTETS`] at once. It may come back before they are written, and tell an
    /// error of these octets the next time.
    fn write(&mut self, octets: Bytes) -> Result<(), ServiceError>;
    /// Ends the body, when all of it is written.
    fn finish(self: Box<Self>) -> Result<BlobRef, ServiceError>;
}

/// A stage and its plugin, for whoever has to look after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageOf<'a> {
    /// The flow.
    pub flow: &'a FlowName,
    /// The stage.
    pub stage: &'a StageName,
    /// The plugin's own name.
    pub plugin: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// Something about a stage that operators should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageEvent {
    /// The plugin ran into a limit: it was stopped, or what was over was dropped.
    Limited {
        /// Which limit.
        limit: Limit,
        /// Its value, in its own unit.
        max: u64,
        /// How often in one call: 1 where the call was stopped.
        count: u64,
    },
    /// The circuit breaker opened, or stays open because the probe failed too.
    BreakerOpened {
        /// Whose records it fails on.
        on: FailsOn,
        /// Faults one after another.
        faults: u32,
        /// For how long, in milliseconds.
        for_ms: u64,
        /// It was open before.
        again: bool,
    },
    /// The circuit breaker closed: a record went well.
    BreakerClosed {
        /// Whose records it failed on.
        on: FailsOn,
        /// The faults before.
        faults: u32,
        /// Whether it is still open for others.
        is_open: bool,
    },
}

/// What the sandbox needs of the broker.
pub trait Services: Send + Sync {
    /// Octets of a large body from a position, at most `max` of them; empty only at or after its end.
    fn read_blob(&self, blob: &BlobRef, from: u64, max: usize) -> Result<Bytes, ServiceError>;
    /// Starts a large body that is made of a record of this source, under whose data key it is kept.
    fn create_blob(&self, source: &PrincipalId) -> Result<Box<dyn BlobSink>, ServiceError>;
    /// Drops a large body that a chain made and that nothing refers to.
    fn discard_blob(&self, blob: &BlobRef);

    /// The valid keys of a recipient, by the name in its grant; empty where it has none.
    fn recipient_keys(&self, name: &str) -> Result<Vec<RecipientKey>, ServiceError>;
    /// The octets of a secret for pseudonyms, by the name in its grant.
    fn secret(&self, name: &str) -> Result<Option<Arc<[u8]>>, ServiceError>;
    /// A private key to open with, by the name in its grant.
    fn private_key(&self, name: &str) -> Result<Option<Arc<PrivateKey>>, ServiceError>;

    /// Whether what pseudonyms of a domain under this key stand for is kept.
    fn keeps_originals(&self, key: &str, domain: &str) -> bool {
        let _ = (key, domain);
        false
    }
    /// Keeps what pseudonyms under a key stand for, durably. Called after a call that ended well, before anything of it goes on: where
    /// it fails, the call has failed. Those that are kept already cost nothing.
    fn keep_originals(&self, key: &str, originals: Vec<(Pseudonym, Original)>) -> Result<(), ServiceError> {
        let _ = originals;
        Err(ServiceError(format!("nothing is kept for key `{key}` here")))
    }

    /// Keyed state of a stage.
    fn state_get(
        &self,
        flow: &FlowName,
        stage: &StageName,
        key: &str,
    ) -> Result<Option<Versioned>, StateError>;
    /// How much keyed state a stage has: asked once in each call that changes it, to hold it to its limits.
    fn state_usage(&self, flow: &FlowName, stage: &StageName) -> Result<StateUsage, StateError>;
    /// Changes keyed state of a stage, all or nothing. Called once after each call that ended well.
    fn state_commit(
        &self,
        flow: &FlowName,
        stage: &StageName,
        changes: Vec<StateChange>,
    ) -> Result<(), StateError>;

    /// What a stage of a flow keeps under each of these keys, all of one moment: only what it made of records that are stored. Nobody's
    /// by default.
    fn observed(
        &self,
        flow: &FlowName,
        stage: &StageName,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, ServiceError> {
        let (_, _) = (stage, keys);
        Err(ServiceError(format!("nothing is kept of flow `{flow}` here")))
    }

    /// Adds to a counter that a plugin named.
    fn count(&self, flow: &FlowName, stage: &StageName, counter: &str, value: u64);
    /// Records one value of a histogram that a plugin named.
    fn sample(&self, flow: &FlowName, stage: &StageName, histogram: &str, value: f64);

    /// Something about a stage that operators should know. A plugin can bring it about with every call: an implementation that writes
    /// lines must limit them.
    fn stage_event(&self, of: StageOf<'_>, event: StageEvent);

    /// Begins a span below that of a record or of a stage; none where nobody records it, as nobody does by default.
    fn span(&self, start: SpanStart<'_>) -> Option<Box<dyn Span>> {
        let _ = start;
        None
    }

    /// The broker's clock.
    fn now(&self) -> Timestamp;
    /// Fills with cryptographically secure random octets.
    fn random(&self, octets: &mut [u8]);
}
