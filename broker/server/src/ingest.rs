//! A record's way into a flow: chain, seal, append, acknowledge.
//!
//! Each flow has one [`Lane`]. Sessions hand it admitted records, a frame at a time; two tasks carry them on:
//!
//! 1. *process* gathers what is queued, runs the flow's ingress chain on it, but for the stages that observe, and seals what
//!    came out ([`process`]);
//! 2. *append* gathers what is processed, leaves out retries, lets the stages observe that do ([`grouping`]), appends one batch,
//!    waits until it is durable, and answers ([`append`]).
//!
//! There is one append under way for each flow. While it waits for the disk the next one gathers, so the size of a
//! group follows the load; and when it fails, everything queued behind it is in view and can be refused in order.

mod append;
mod checkpoint;
mod group;
mod grouping;
mod process;
mod recover;
mod written;

use std::sync::Arc;

use hilum_core::producers::ProducerError;
use hilum_core::record::{Admitted, ProducerId};
use hilum_core::state::Emitter;
use hilum_core::{FlowName, Offset, Timestamp, limits};
use hilum_store::Durability;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::broker::Shared;
use crate::chains::Route;
use crate::memory::{Account, Lease};
use crate::state::Keeper;
use crate::telemetry::RecordSpan;
use checkpoint::{Checkpoints, Known};
use grouping::Grouping;
use written::Written;

pub(crate) use recover::recover_blobs;
pub use recover::{RecoverBlobsError, RecoverError};

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Stored and durable; the offset of the first record that the chain made of it.
    Stored(Offset),
    /// A retry of a record that was settled before.
    Repeat,
    /// Not stored.
    Refused(Refusal),
}

impl Settled {
    /// Whether the same record may be taken if it comes again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind.is_retryable())
    }
}

/// Why a record was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of refusal.
    pub kind: RefusalKind,
    /// For the publisher: names stages and fields, never values.
    pub reason: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A plugin decided so; the record is in quarantine.
    Chain,
    /// A plugin failed; the record is in quarantine.
    ChainFailed,
    /// The store cannot take it now.
    Unavailable,
    /// An earlier record of the same publisher is missing.
    OutOfOrder,
    /// It had expired when it came.
    Expired,
    /// Another record of its batch was refused; it is in quarantine.
    Batch,
}

impl RefusalKind {
    /// Whether the same record may be taken if it comes again.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::OutOfOrder)
    }
}

/// One record on its way, with the span that follows it.
pub struct Item {
    /// The record.
    pub record: Admitted,
    /// Present if its trace is sampled.
    pub span: Option<RecordSpan>,
}

/// Where records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// What the chain stops goes to quarantine.
    Publisher,
    /// What the chain stops stays there.
    Quarantine,
}

/// Records that were submitted together and are answered together, in order.
struct Submission {
    items: Vec<Item>,
    origin: Origin,
    /// Whether they are stored together or not at all.
    together: bool,
    reply: Reply,
}

/// Where the answers go. What the records hold is given back with them.
struct Reply {
    settled: oneshot::Sender<Vec<Settled>>,
    lease: Option<Lease>,
}

impl Reply {
    /// A publisher that went away learns the answer by asking for its last number when it comes back.
    fn send(self, settled: Vec<Settled>) {
        let _ = self.settled.send(settled);
        drop(self.lease);
    }
}

/// What the records of one flow have for themselves of what may be under way: two frames of any size.
pub const RECORDS_OCTETS: u64 = 2 << 20;
/// What the uploads of one flow have: one of any size.
pub const UPLOADS_OCTETS: u64 = 9 << 20;

/// The way into one flow.
#[derive(Clone)]
pub struct Lane {
    flow: FlowName,
    durability: Durability,
    submissions: mpsc::Sender<Submission>,
    shared: Arc<Shared>,
    known: Arc<Mutex<Known>>,
    checkpoints: Arc<Checkpoints>,
    tail: watch::Receiver<Offset>,
    is_damaged: bool,
    records: Account,
    uploads: Account,
    route: Arc<watch::Sender<Arc<Route>>>,
}

/// A publisher's stream: as long as this lives, the flow remembers the publisher.
#[derive(Debug)]
pub struct ProducerStream {
    known: Arc<Mutex<Known>>,
    producer: ProducerId,
    /// The last number that was settled when the stream was opened.
    pub last_settled: u64,
    /// When it was opened.
    pub known_since: Timestamp,
}

impl Drop for ProducerStream {
    fn drop(&mut self) {
        self.known.lock().producers.close(self.producer);
    }
}

/// The flow is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flow is closed")]
pub struct Closed;

/// The two tasks of a lane, to be waited for at shutdown.
pub struct LaneTasks {
    close: oneshot::Sender<()>,
    process: tokio::task::JoinHandle<()>,
    append: tokio::task::JoinHandle<()>,
}

impl LaneTasks {
    /// Takes no more submissions and comes back when everything that was submitted is answered.
    pub async fn close(self) {
        // It fails only where the task has ended already.
        let _ = self.close.send(());
        for task in [self.process, self.append] {
            if let Err(error) = task.await {
                tracing::error!(%error, "an ingest task ended abnormally");
            }
        }
    }
}

impl Lane {
    /// Opens the way into a flow: finds its end and its publishers' positions in the log, then starts its tasks.
    /// What its plugins keep and emit is in [`Shared::states`]; publishers are answered when their records are as durable as
    /// `durability` says.
    pub async fn open(
        shared: Arc<Shared>,
        flow: FlowName,
        route: impl Into<Route>,
        durability: Durability,
    ) -> Result<(Self, LaneTasks), RecoverError> {
        let recovered = recover::recover(&shared, &flow).await?;
        let recover::Found { producers, kept_through, through, next_slot, since, damage } = recovered;
        let is_damaged = damage.is_some();
        let known = Arc::new(Mutex::new(Known { producers, through }));
        let checkpoints =
            Checkpoints::new(shared.clone(), flow.clone(), known.clone(), (next_slot, kept_through), since);
        let checkpoints = Arc::new(checkpoints);
        let (tail_sender, tail) = watch::channel(through);
        let keeper = Keeper::open(shared.clone(), flow.clone(), tail.clone(), damage)
            .await
            .map_err(|source| RecoverError::State { flow: flow.clone(), source })?;
        let written = Written::new(shared.clone(), &flow, durability, tail_sender);
        let (submissions, submitted) = mpsc::channel(limits::LANE_SUBMISSIONS_MAX);
        let (processed_sender, processed) = mpsc::channel(limits::LANE_SUBMISSIONS_MAX);
        let (route, routed) = watch::channel(Arc::new(route.into()));
        let process = process::Task { shared: shared.clone(), route: routed.clone(), flow: flow.clone() };
        let grouping = Grouping {
            shared: shared.clone(),
            flow: flow.clone(),
            known: known.clone(),
            state: shared.states.of(&flow),
        };
        let append = append::Task {
            shared: shared.clone(),
            flow: flow.clone(),
            known: known.clone(),
            checkpoints: checkpoints.clone(),
            written,
            durability,
            route: routed,
            grouping,
            keeper,
        };
        let (close, closing) = oneshot::channel();
        let tasks = LaneTasks {
            close,
            process: tokio::spawn(process.run(submitted, processed_sender, closing)),
            append: tokio::spawn(append.run(processed)),
        };
        let (records, uploads) =
            (shared.memory.account(RECORDS_OCTETS), shared.memory.account(UPLOADS_OCTETS));
        let route = Arc::new(route);
        let lane = Self {
            flow,
            durability,
            submissions,
            shared,
            known,
            checkpoints,
            tail,
            is_damaged,
            records,
            uploads,
            route,
        };
        Ok((lane, tasks))
    }

    /// What its records go through.
    #[must_use]
    pub fn route(&self) -> Arc<Route> {
        self.route.borrow().clone()
    }

    /// Lets records go another way, from the next batch on; gives the way that they went so far. The batch under way ends on the chain
    /// that it began on; with it that chain goes.
    pub fn set_route(&self, route: Route) -> Arc<Route> {
        self.route.send_replace(Arc::new(route))
    }

    /// The flow's name.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// Hands records over, in order. The receiver gets one answer for each record when all of them are settled. Waits
    /// while the flow has too much to do: that is what slows its publishers, and nobody else.
    pub async fn submit(&self, items: Vec<Item>) -> Result<oneshot::Receiver<Vec<Settled>>, Closed> {
        self.hand_over(items, Origin::Publisher, false, None).await
    }

    /// As [`Lane::submit`], of records that hold memory until they are settled, whether or not anybody waits for the answer.
    pub async fn submit_leased(
        &self,
        items: Vec<Item>,
        lease: Lease,
    ) -> Result<oneshot::Receiver<Vec<Settled>>, Closed> {
        self.hand_over(items, Origin::Publisher, false, Some(lease)).await
    }

    /// As [`Lane::submit_leased`], for records that are stored together or not at all: where the chain stops one of them, one had
    /// expired, or they became too large for one append, all of them go to quarantine.
    pub async fn submit_batch(
        &self,
        items: Vec<Item>,
        lease: Option<Lease>,
    ) -> Result<oneshot::Receiver<Vec<Settled>>, Closed> {
        self.hand_over(items, Origin::Publisher, true, lease).await
    }

    /// Where publishers take what their records hold until they are settled.
    #[must_use]
    pub fn records(&self) -> &Account {
        &self.records
    }

    /// Where uploads take what they hold.
    #[must_use]
    pub fn uploads(&self) -> &Account {
        &self.uploads
    }

    /// Hands over a record that an operator releases from quarantine. If the chain stops it again it is not put there
    /// again, its position is not settled, and the large body that was submitted with it is deleted.
    pub async fn release(&self, item: Item) -> Result<oneshot::Receiver<Vec<Settled>>, Closed> {
        self.hand_over(vec![item], Origin::Quarantine, false, None).await
    }

    async fn hand_over(
        &self,
        items: Vec<Item>,
        origin: Origin,
        together: bool,
        lease: Option<Lease>,
    ) -> Result<oneshot::Receiver<Vec<Settled>>, Closed> {
        let (settled, answer) = oneshot::channel();
        let reply = Reply { settled, lease };
        self.submissions.send(Submission { items, origin, together, reply }).await.map_err(|_| Closed)?;
        Ok(answer)
    }

    /// The last number of a publisher that is settled.
    #[must_use]
    pub fn last_settled(&self, producer: ProducerId) -> u64 {
        self.known.lock().producers.last_settled(producer)
    }

    /// Lets a publisher open a stream, if the flow still knows it; see [`hilum_core::producers::Producers::open`].
    pub fn producer(
        &self,
        producer: ProducerId,
        known_since: Option<Timestamp>,
    ) -> Result<ProducerStream, ProducerError> {
        let now = self.shared.now();
        let mut known = self.known.lock();
        known.producers.advance(now);
        let last_settled = known.producers.open(producer, known_since)?;
        Ok(ProducerStream { known: self.known.clone(), producer, last_settled, known_since: now })
    }

    /// As [`Lane::producer`], for a stage that emits to the flow: what is known of it is never forgotten to make room for publishers.
    pub(crate) fn emitter(&self, emitter: Emitter, is_new: bool) -> Result<ProducerStream, ProducerError> {
        self.known.lock().producers.exempt(emitter.producer);
        self.producer(emitter.producer, (!is_new).then_some(emitter.since))
    }

    /// Keeps what is known of publishers, if not all before `end` is counted in: a start cannot read what was deleted.
    pub(crate) async fn keep_known(&self, end: Offset) {
        if self.checkpoints.kept_through() < end {
            self.checkpoints.keep_or_warn().await;
        }
    }

    /// How safe records are when they are answered.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The next offset of the flow, which moves when records have become durable.
    #[must_use]
    pub fn tail(&self) -> watch::Receiver<Offset> {
        self.tail.clone()
    }

    /// The flow was found damaged where it ends now: what is behind cannot be read, and nothing is stored until an operator has
    /// repaired the log.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }
}

#[cfg(test)]
mod tests;
