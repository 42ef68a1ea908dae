//! What goes into a chain and what comes out.

use std::sync::Arc;

use bytes::Bytes;
use hilum_core::record::{ChainRun, Measured};
use hilum_core::{Attribute, FlowName, Head, Offset, Principal, StageName};

use crate::limits::Limit;
use crate::stage::Item;

/// One record on its way into a chain.
#[derive(Debug, Clone)]
pub struct Input {
    /// What is known without the body, with the labels that the record carries before the chain. Where its trace is sampled, the
    /// spans of the stages are below the span that it names.
    pub head: Head,
    /// Who it comes from.
    pub source: Arc<Principal>,
    /// Its position in the flow; none before it is stored.
    pub offset: Option<Offset>,
    /// The body.
    pub body: Measured,
}

/// What a chain made of a batch.
#[derive(Debug, Default)]
pub struct BatchRun {
    /// One result for each input, in order.
    pub records: Vec<Result<Ran, Failure>>,
    /// What `observe` stages emitted, in order. To be published when the batch is durable.
    pub emitted: Vec<Emission>,
}

/// What a chain made of one record.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Outputs and receipt, ready to seal or to deliver.
    pub run: ChainRun,
    /// What has to be done because of a permission; to be audited.
    pub obligations: Vec<Obligation>,
    /// What `observe` stages have still to see, where they were put off.
    pub observations: Vec<Observation>,
}

/// Records as they stood before an `observe` stage that was put off: see [`crate::Chain::run_deferring`].
#[derive(Debug, Clone)]
pub struct Observation {
    /// The stage, by its place in the chain.
    pub(crate) stage: usize,
    pub(crate) items: Vec<Item>,
}

/// Something that an `authorize` stage demands in return for its permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// The stage that demands it.
    pub stage: StageName,
    /// E.g. `break-glass`.
    pub name: String,
    /// Never a value from a body.
    pub value: String,
}

impl Obligation {
    /// The name of the one that says by which policy a record passed, and demands no more than that this is known.
    pub const POLICY: &str = "policy";
}

/// A record that an `observe` stage made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The stage that made it.
    pub stage: StageName,
    /// Where it goes.
    pub flow: FlowName,
    /// As in [`Head`].
    pub key: Option<String>,
    /// As in [`Head`].
    pub content_type: String,
    /// As in [`Head`].
    pub attributes: Vec<Attribute>,
    /// The body.
    pub body: Bytes,
}

/// Why a record did not come out of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A plugin decided so.
    #[error("stage `{stage}` refused the record: {reason} ({code})")]
    Refused {
        /// The stage.
        stage: StageName,
        /// Short and stable, of `a-z`, `0-9` and `-`.
        code: String,
        /// The plugin's words, at most [`hilum_core::limits::REASON_CHARS_MAX`] characters without control characters.
        reason: String,
    },
    /// A plugin, or the broker under it, failed.
    #[error("stage `{stage}` failed on the record: {reason} ({kind})")]
    Failed {
        /// The stage.
        stage: StageName,
        /// What kind of failure.
        kind: FailureKind,
        /// The limit that the plugin ran into, where it was one.
        limit: Option<Limit>,
        /// The broker's words, for operators.
        reason: String,
    },
}

impl Failure {
    /// Short and stable, for [`hilum_core::quarantine::Cause`].
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Failed { kind, .. } => kind.code(),
        }
    }

    /// The stage that refused or failed.
    #[must_use]
    pub fn stage(&self) -> &StageName {
        match self {
            Self::Refused { stage, .. } | Self::Failed { stage, .. } => stage,
        }
    }

    /// Why, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } | Self::Failed { reason, .. } => reason,
        }
    }
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The plugin trapped: a panic, an unreachable instruction, too deep a stack.
    Trap,
    /// Recursion over the stack.
    Stack,
    /// Over the wall clock.
    Time,
    /// Over the linear memory, or over the tables.
    Memory,
    /// Over a limit of what it may hand out, or not what the world demands.
    Output,
    /// Over the number of host calls, or over what they may move.
    HostCalls,
    /// The stage failed too often and is left alone for a while: the record was not shown to it.
    BreakerOpen,
    /// The broker could not do what the plugin needed; the plugin is not at fault.
    Host,
}

impl FailureKind {
    /// Short and stable.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Stack => "stack-limit",
            Self::Time => "time-limit",
            Self::Memory => "memory-limit",
            Self::Output => "output-limit",
            Self::HostCalls => "host-call-limit",
            Self::BreakerOpen => "breaker-open",
            Self::Host => "host",
        }
    }

    /// Whether the plugin is to blame, so that it counts for the stage's circuit breaker.
    pub(crate) fn is_fault(self) -> bool {
        !matches!(self, Self::Host | Self::BreakerOpen)
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
