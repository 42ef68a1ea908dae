//! The log of what a flow's stages keep: a step in it is durable before the records that it is of, and declared void where
//! those are not stored.

use std::sync::Arc;
use std::time::Duration;

use hilum_core::entry::EntryError;
use hilum_core::state::{self, Item, Survey, Whole};
use hilum_core::{Entry, FlowName, LogName, Offset};
use hilum_store::{AppendError, Corruption, Durability, ReadError};
use tokio::sync::watch;

use super::FlowState;
use crate::broker::Shared;

/// Octets read from the log at once.
const READ_OCTETS: usize = 4 << 20;
/// Parts of a step or a snapshot that are appended together: with the largest items they fit one append.
const PARTS_TOGETHER: usize = 8;
/// Octets of steps after which a snapshot is written, where there is not much to write.
const SNAPSHOT_OCTETS: u64 = if cfg!(test) { 8 << 10 } else { 1 << 20 };
/// How long a snapshot waits until its records are durable, where publishers are answered before they are.
const DURABLE_WAIT: Duration = Duration::from_secs(1);
/// How long records wait until what was emitted has found its way, before their publisher is told to try again.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// Why it is not known what a flow's stages keep.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry is not what this build writes.
    #[error("offset {0}: {1}")]
    Entry(Offset, EntryError),
}

/// Keeps the state of one flow durable. There is one group under way at a time.
///
/// - [`Keeper::open`] finds out what counts.
/// - [`Keeper::begin`] makes durable what a group changes; then the group's records are appended.
/// - [`Keeper::end`] is told how that went.
/// - [`Keeper::compact`] keeps the log short.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    flow: FlowName,
    state: Arc<FlowState>,
    /// How far the flow is durable.
    tail: watch::Receiver<Offset>,
    /// From where on the log is to be declared void before anything else is stored.
    void: Option<Offset>,
    /// Why nothing more is stored.
    refusal: Option<AppendError>,
    /// Octets of the log since the last snapshot.
    logged: u64,
}

/// A step that is durable and does not count yet.
pub(crate) struct Begun {
    to: Offset,
    /// Where it is in the log, and what it has; none where nothing changes.
    step: Option<(Offset, Vec<Item>)>,
}

impl Keeper {
    /// Reads what was kept, of a flow whose end `tail` has. A flow that is damaged stores nothing until it is repaired: nothing is
    /// declared void for a part of it that is only out of reach.
    pub(crate) async fn open(
        shared: Arc<Shared>,
        flow: FlowName,
        tail: watch::Receiver<Offset>,
        damage: Option<Corruption>,
    ) -> Result<Self, KeeperError> {
        let state = shared.states.of(&flow);
        let end = if damage.is_some() { Offset(u64::MAX) } else { *tail.borrow() };
        let refusal = damage.map(AppendError::from);
        let mut keeper = Self { shared, flow, state, tail, void: None, refusal, logged: 0 };
        match keeper.read(end).await {
            Err(KeeperError::Read(ReadError::Corrupt(corruption))) => {
                tracing::error!(flow = %keeper.flow, %corruption, "what plugins keep is damaged: the flow takes no records");
                keeper.state.open(state::State::default());
                keeper.refusal.get_or_insert(corruption.into());
            }
            read => read?,
        }
        Ok(keeper)
    }

    async fn read(&mut self, end: Offset) -> Result<(), KeeperError> {
        let log = LogName::State(self.flow.clone());
        let mut survey = Survey::new(end);
        each(&self.shared, &log, |at, octets| survey.note(at, octets)).await?;
        let (void, mut replay) = survey.finish();
        self.logged = each(&self.shared, &log, |at, octets| replay.fold(at, octets)).await?;
        if let Some(void) = void {
            tracing::info!(flow = %self.flow, from = %void, "what plugins made of records that were not stored does not count");
        }
        self.void = void;
        self.state.open(replay.finish());
        Ok(())
    }

    /// Whether the flow stores nothing more.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusal.is_some()
    }

    /// Makes durable what the group changes, for a flow that ends at `to` with the group's records. These are appended next, and
    /// nothing else: how that went is for [`Keeper::end`]. After an error the group has changed nothing.
    pub(crate) async fn begin(&mut self, to: Offset) -> Result<Begun, AppendError> {
        let begun = self.try_begin(to).await;
        if begun.is_err() {
            self.state.drop_group();
        }
        begun
    }

    async fn try_begin(&mut self, to: Offset) -> Result<Begun, AppendError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.declare_void().await?;
        let Some(items) = self.state.step(to, self.shared.now()) else { return Ok(Begun { to, step: None }) };
        self.room().await?;
        let first = self.append(Whole::Step { to }, &items).await?;
        Ok(Begun { to, step: Some((first, items)) })
    }

    /// The group's records are stored, or not. When it is not known, it is not known of the step either, and only the next start
    /// finds out.
    pub(crate) async fn end(&mut self, begun: Begun, stored: Result<(), &AppendError>) {
        match (stored, begun.step) {
            (Ok(()), Some((_, items))) => self.state.take(items, begun.to),
            (Ok(()), None) => {}
            (Err(error), step) => {
                self.state.drop_group();
                if is_final(error) {
                    self.refusal = Some(error.clone());
                } else if let Some((first, _)) = step {
                    self.void = Some(first);
                    if let Err(error) = self.declare_void().await {
                        tracing::warn!(flow = %self.flow, %error, "nothing is stored until it is written what does not count");
                    }
                }
            }
        }
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.state.close();
    }

    async fn declare_void(&mut self) -> Result<(), AppendError> {
        let Some(from) = self.void else { return Ok(()) };
        let entry = state::void(&self.flow, &self.shared.identity, from);
        self.log(vec![entry]).await?;
        self.void = None;
        Ok(())
    }

    /// Waits until not too much of what was emitted waits for its flow.
    async fn room(&self) -> Result<(), AppendError> {
        let waiting = async {
            while !self.state.has_room() {
                self.state.settled.notified().await;
            }
        };
        tokio::time::timeout(ROOM_WAIT, waiting).await.map_err(|_| {
            tracing::warn!(flow = %self.flow, "records wait because what plugins emitted is not taken where it goes");
            AppendError::Overloaded(usize::try_from(super::PENDING_OCTETS_MAX).unwrap_or(usize::MAX))
        })
    }

    /// Where the log has become long, writes all that there is and lets go of what is before it. A snapshot rests on records that are
    /// durable, as there is no way back behind it: so this comes after those of the group are shown to readers.
    pub(crate) async fn compact(&mut self) {
        if self.logged < SNAPSHOT_OCTETS || self.refusal.is_some() || self.void.is_some() {
            return;
        }
        let Some((through, items)) = self.state.snapshot(self.logged / 2) else { return };
        let durable = self.tail.wait_for(|end| *end >= through);
        if !matches!(tokio::time::timeout(DURABLE_WAIT, durable).await, Ok(Ok(_))) {
            return;
        }
        let log = LogName::State(self.flow.clone());
        let written = self.append(Whole::Snapshot, &items).await;
        self.logged = 0;
        match written {
            Ok(first) => {
                if let Err(error) = self.shared.log.trim(&log, first).await {
                    tracing::warn!(flow = %self.flow, %error, "the log of what plugins keep could not be trimmed yet");
                }
            }
            Err(error) => {
                tracing::warn!(flow = %self.flow, %error, "the log of what plugins keep could not be compacted yet");
            }
        }
    }

    /// Appends all parts; gives where the first one is.
    async fn append(&mut self, of: Whole, items: &[Item]) -> Result<Offset, AppendError> {
        let mut parts = state::parts(&self.flow, &self.shared.identity, of, items).into_iter();
        let first = self.log(parts.by_ref().take(PARTS_TOGETHER).collect()).await?;
        loop {
            let more: Vec<Entry> = parts.by_ref().take(PARTS_TOGETHER).collect();
            if more.is_empty() {
                return Ok(first);
            }
            self.log(more).await?;
        }
    }

    async fn log(&mut self, entries: Vec<Entry>) -> Result<Offset, AppendError> {
        self.logged += entries.iter().map(|entry| entry.octets().len() as u64).sum::<u64>();
        let log = LogName::State(self.flow.clone());
        let appended = self.shared.log.append(&log, entries, Durability::Fsynced).await;
        if let Err(error) = &appended
            && is_final(error)
        {
            // Whether it is there is not known, so that nothing may be stored that it would speak of.
            self.refusal = Some(error.clone());
        }
        appended
    }
}

/// Whether only the next start finds out what is in the log, and what is not.
fn is_final(error: &AppendError) -> bool {
    matches!(error, AppendError::Poisoned { .. } | AppendError::Closed | AppendError::Corrupt(_))
}

/// Hands over every entry of a log; gives their octets.
async fn each(
    shared: &Shared,
    log: &LogName,
    mut take: impl FnMut(Offset, &[u8]) -> Result<(), EntryError> + Send,
) -> Result<u64, KeeperError> {
    let mut at = Offset(shared.log.bounds(log).await?.start);
    let mut octets = 0;
    loop {
        // Also at the end: a log that is damaged ends where the damage begins, and says so when it is read there.
        let entries = shared.log.read(log, at, READ_OCTETS).await?;
        let Some(last) = entries.last() else { return Ok(octets) };
        at = last.offset.next();
        for entry in &entries {
            octets += entry.octets.len() as u64;
            take(entry.offset, &entry.octets).map_err(|error| KeeperError::Entry(entry.offset, error))?;
        }
    }
}
