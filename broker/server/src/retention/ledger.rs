//! How many records a flow has and what their large bodies take up, counted as records come and go.
//!
//! Kept in `Meta` with the offset that it was counted through. What came after is counted again at the next start; where `Meta` is
//! lost, everything is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hilum_core::{FlowName, Offset};
use hilum_store::{Meta, MetaError};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Octets after which retention looks at a flow that grows, before its time.
const LOOK_OCTETS: u64 = 8 << 20;
/// How often a value is tried to be written over one that is not the one expected.
const WRITES_MAX: u32 = 3;

/// The ledgers of all flows.
#[derive(Default)]
pub struct Ledgers {
    flows: Mutex<BTreeMap<FlowName, Arc<Ledger>>>,
}

impl Ledgers {
    /// That of a flow.
    #[must_use]
    pub fn of(&self, flow: &FlowName) -> Arc<Ledger> {
        self.flows.lock().entry(flow.clone()).or_default().clone()
    }
}

/// What one flow has.
#[derive(Debug, Default)]
pub struct Ledger {
    records: AtomicU64,
    large_octets: AtomicU64,
    /// The offset after the last record that was counted as it came.
    through: AtomicU64,
    /// Where the flow ended when it was opened, and one more; 0 before.
    opened: AtomicU64,
    since_look: AtomicU64,
    grown: Notify,
}

/// What is kept of a ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Everything before is counted.
    pub(super) through: u64,
    pub(super) records: u64,
    pub(super) large_octets: u64,
    /// Everything before was compacted.
    pub(super) compacted: u64,
}

impl Ledger {
    /// The flow is open and ends at `end`: what comes after is counted as it comes.
    pub fn open(&self, end: Offset) {
        self.opened.store(end.0 + 1, Ordering::Relaxed);
    }

    /// Records from `first` on became durable, with bodies of so many octets, of which so many are in large ones.
    pub fn stored(&self, first: Offset, records: u64, octets: u64, large_octets: u64) {
        self.add(records, large_octets);
        self.through.store(first.0 + records, Ordering::Relaxed);
        if self.since_look.fetch_add(octets, Ordering::Relaxed) + octets >= LOOK_OCTETS {
            self.grown.notify_one();
        }
    }

    pub(super) fn add(&self, records: u64, large_octets: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.large_octets.fetch_add(large_octets, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, records: u64, large_octets: u64) {
        let lower = |number: &AtomicU64, by: u64| {
            let lowered = |value: u64| Some(value.saturating_sub(by));
            number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lowered).is_ok()
        };
        lower(&self.records, records);
        lower(&self.large_octets, large_octets);
    }

    /// Records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Octets of large bodies.
    #[must_use]
    pub fn large_octets(&self) -> u64 {
        self.large_octets.load(Ordering::Relaxed)
    }

    /// Where the flow ended when it was opened.
    pub(super) fn opened(&self) -> Option<u64> {
        self.opened.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Everything before this offset is counted.
    pub(super) fn counted_through(&self, end: Offset) {
        self.through.fetch_max(end.0, Ordering::Relaxed);
    }

    /// Through which offset how many records and octets of large bodies are counted.
    pub(super) fn now(&self) -> (u64, u64, u64) {
        (self.through.load(Ordering::Relaxed), self.records(), self.large_octets())
    }

    /// Comes when the flow has grown much since the last look.
    pub(super) async fn grown(&self) {
        self.grown.notified().await;
    }

    pub(super) fn looked(&self) {
        self.since_look.store(0, Ordering::Relaxed);
    }
}

impl Written {
    pub(super) async fn load(meta: &dyn Meta, flow: &FlowName) -> Result<Self, MetaError> {
        let octets = meta.get(&key(flow)).await?;
        Ok(octets.and_then(|octets| Self::decode(&octets)).unwrap_or_default())
    }

    pub(super) async fn write(&self, meta: &dyn Meta, flow: &FlowName) -> Result<(), MetaError> {
        let (key, new) = (key(flow), self.encode());
        for _ in 0..WRITES_MAX {
            let there = meta.get(&key).await?;
            if meta.compare_and_set(&key, there.as_deref(), Some(&new)).await? {
                return Ok(());
            }
        }
        Err(MetaError::Database("another one keeps writing the ledger".into()))
    }

    fn encode(&self) -> Vec<u8> {
        [self.through, self.records, self.large_octets, self.compacted].map(u64::to_be_bytes).concat()
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let octets: &[u8; 32] = octets.try_into().ok()?;
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|n| octets[at * 8 + n]));
        Some(Self { through: number(0), records: number(1), large_octets: number(2), compacted: number(3) })
    }

    /// The end of a flow is `end`: what was counted beyond it belongs to a log that is gone.
    pub(super) fn fitting(self, end: Offset) -> Self {
        if self.through > end.0 { Self::default() } else { self }
    }
}

fn key(flow: &FlowName) -> Vec<u8> {
    format!("retention/{flow}").into_bytes()
}
