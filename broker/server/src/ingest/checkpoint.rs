//! What is known of a flow's publishers, kept in `Meta` from time to time, so that a start reads only the end of the log.
//!
//! `Meta` may lose it, or have an older one: the log is the truth, and a start reads it from where the checkpoint ends, or all of
//! it. A checkpoint is some pages and, written last, a head with their digest. Two sets of pages take turns, so that one that is cut
//! short leaves the one before it whole.

use std::sync::Arc;
use std::time::Duration;

use hilum_core::producers::Producers;
use hilum_core::{Digest, FlowName, LogName, Offset};
use hilum_store::{Corruption, Meta, MetaError};
use parking_lot::Mutex;

use crate::broker::Shared;

/// Octets of records between two checkpoints, which a start after a crash has to read: a second's work for a fast disk.
const CHECKPOINT_OCTETS: u64 = 256 << 20;
/// Records between two checkpoints.
const CHECKPOINT_RECORDS: u64 = 1 << 18;
/// Octets of one page.
const PAGE_OCTETS: usize = 48 << 10;
/// How often a value is tried to be written over one that is not the one expected.
const WRITES_MAX: u32 = 3;
/// How often it is asked whether the log is durable as far as the checkpoint goes, where acks do not wait for that.
const DURABLE_TRIES: u32 = 100;
const DURABLE_PAUSE: Duration = Duration::from_millis(20);

/// What is known of a flow's publishers, and of how much of its log.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) producers: Producers,
    /// All records before this are counted in.
    pub(super) through: Offset,
}

/// Keeps checkpoints of one flow.
pub(super) struct Checkpoints {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: FlowName,
    pub(super) known: Arc<Mutex<Known>>,
    progress: tokio::sync::Mutex<Progress>,
    /// How much of the log the last one counts in.
    kept_through: Mutex<Offset>,
    since: Mutex<Since>,
}

/// What was stored after the last checkpoint.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) octets: u64,
    pub(super) records: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// The pages to be written next.
    slot: u8,
}

/// Why a checkpoint was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("the log is not yet durable")]
    NotDurable,
}

impl Checkpoints {
    /// `next` is the pages to be written next, and how much of the log is counted in what is kept. `since` is what a start read after the checkpoint: it counts for the next one, or a broker that is killed again and again
    /// would read ever more.
    pub(super) fn new(
        shared: Arc<Shared>,
        flow: FlowName,
        known: Arc<Mutex<Known>>,
        (slot, kept_through): (u8, Offset),
        since: Since,
    ) -> Self {
        let (progress, since) = (tokio::sync::Mutex::new(Progress { slot }), Mutex::new(since));
        Self { shared, flow, known, progress, kept_through: Mutex::new(kept_through), since }
    }

    /// All records before this are counted in what is kept.
    pub(super) fn kept_through(&self) -> Offset {
        *self.kept_through.lock()
    }

    /// Counts what was stored. Every now and then a checkpoint is kept, beside the appends.
    pub(super) fn stored(self: &Arc<Self>, records: u64, octets: u64) {
        let mut since = self.since.lock();
        since.records += records;
        since.octets += octets;
        if since.octets < CHECKPOINT_OCTETS && since.records < CHECKPOINT_RECORDS {
            return;
        }
        *since = Since::default();
        let checkpoints = self.clone();
        tokio::spawn(async move { checkpoints.keep_or_warn().await });
    }

    pub(super) async fn keep_or_warn(&self) {
        if let Err(error) = self.keep().await {
            tracing::warn!(flow = %self.flow, %error, "what is known of publishers could not be kept: the next start reads more");
        }
    }

    /// Keeps what is known now. Gives the offset from which on a start would read.
    pub(super) async fn keep(&self) -> Result<Offset, CheckpointError> {
        let mut progress = self.progress.lock().await;
        let (octets, through) = {
            let known = self.known.lock();
            (known.producers.encode(), known.through)
        };
        self.wait_until_durable(through).await?;
        save(&*self.shared.meta, &self.flow, progress.slot, through, &octets).await?;
        progress.slot ^= 1;
        *self.kept_through.lock() = through;
        Ok(through)
    }

    /// A checkpoint beyond the end of the log would be about records that a power cut took away.
    async fn wait_until_durable(&self, through: Offset) -> Result<(), CheckpointError> {
        let log = LogName::Flow(self.flow.clone());
        for _ in 0..DURABLE_TRIES {
            match self.shared.log.bounds(&log).await {
                Ok(bounds) if bounds.end >= through.0 => return Ok(()),
                Ok(_) => tokio::time::sleep(DURABLE_PAUSE).await,
                Err(_) => return Err(CheckpointError::NotDurable),
            }
        }
        Err(CheckpointError::NotDurable)
    }
}

/// A checkpoint as it was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) producers: Producers,
    /// What the checkpoint counts in.
    pub(super) kept_through: Offset,
    pub(super) through: Offset,
    /// The pages that are not its own.
    pub(super) next_slot: u8,
    /// What had to be read after it.
    pub(super) since: Since,
    /// The log is damaged where it ends.
    pub(super) damage: Option<Corruption>,
}

fn head_key(flow: &FlowName) -> Vec<u8> {
    format!("producers/{flow}").into_bytes()
}

fn page_key(flow: &FlowName, slot: u8, page: u16) -> Vec<u8> {
    format!("producers/{flow}/{slot}/{page}").into_bytes()
}

/// Offset, slot and number of pages, and the digest of the pages.
const HEAD_OCTETS: usize = 8 + 1 + 2 + 32;

/// The checkpoint that was kept last; none where there is none, or it is not whole.
pub(super) async fn load(meta: &dyn Meta, flow: &FlowName) -> Option<Found> {
    let head = get(meta, flow, head_key(flow)).await?;
    let head: [u8; HEAD_OCTETS] = head.as_slice().try_into().ok()?;
    let (through, rest) = head.split_first_chunk::<8>()?;
    let (&[slot], rest) = rest.split_first_chunk::<1>()?;
    let (pages, digest) = rest.split_first_chunk::<2>()?;
    let mut octets = Vec::new();
    for page in 0..u16::from_be_bytes(*pages) {
        octets.extend(get(meta, flow, page_key(flow, slot, page)).await?);
    }
    if Digest::of(&octets).0 != *digest {
        tracing::warn!(%flow, "what was kept of publishers is damaged: the log is read instead");
        return None;
    }
    let producers = Producers::decode(&octets).ok()?;
    let through = Offset(u64::from_be_bytes(*through));
    let (kept_through, next_slot) = (through, (slot & 1) ^ 1);
    Some(Found { producers, kept_through, through, next_slot, since: Since::default(), damage: None })
}

async fn get(meta: &dyn Meta, flow: &FlowName, key: Vec<u8>) -> Option<Vec<u8>> {
    match meta.get(&key).await {
        Ok(value) => value.map(|value| value.to_vec()),
        Err(error) => {
            tracing::warn!(%flow, %error, "what was kept of publishers cannot be read: the log is read instead");
            None
        }
    }
}

async fn save(
    meta: &dyn Meta,
    flow: &FlowName,
    slot: u8,
    through: Offset,
    octets: &[u8],
) -> Result<(), MetaError> {
    let mut pages: u16 = 0;
    for page in octets.chunks(PAGE_OCTETS) {
        put(meta, &page_key(flow, slot, pages), page).await?;
        pages += 1;
    }
    let mut head = Vec::with_capacity(HEAD_OCTETS);
    head.extend(through.0.to_be_bytes());
    head.push(slot);
    head.extend(pages.to_be_bytes());
    head.extend(Digest::of(octets).0);
    put(meta, &head_key(flow), &head).await
}

/// Writes over whatever is there: the lane is the only one that writes.
async fn put(meta: &dyn Meta, key: &[u8], value: &[u8]) -> Result<(), MetaError> {
    for _ in 0..WRITES_MAX {
        let present = meta.get(key).await?;
        if meta.compare_and_set(key, present.as_deref(), Some(value)).await? {
            return Ok(());
        }
    }
    Err(MetaError::Database("another one keeps writing what is known of publishers".into()))
}
