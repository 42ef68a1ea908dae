//! The store in memory: deterministic, without threads, and faulty where a test wants it. Nothing outlives it.
//!
//! Every future is ready when it is made, unless [`Faults::hold_syncs`] keeps appends from becoming durable. So a whole
//! broker can run on it in one thread. [`Store::crash`] and [`Store::power_cut`] give what a power cut would leave.

mod blobs;
mod log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hilum_core::record::BlobId;
use hilum_core::{LogName, Offset};
use parking_lot::Mutex;

use self::blobs::{MemoryBlob, MemoryBlobs};
use self::log::{MemoryLog, MemoryLogs};
use crate::embedded::check_key_and_value;
use crate::limits::META_SCAN_ENTRIES_MAX;
use crate::{Blobs, Corruption, DamageKind, IoFault, Log, Meta, MetaError, Pending};

/// A store in memory.
#[derive(Clone, Default)]
pub struct Store {
    state: Shared,
}

type Shared = Arc<Mutex<State>>;

#[derive(Default)]
struct State {
    logs: BTreeMap<LogName, MemoryLog>,
    blobs: BTreeMap<BlobId, MemoryBlob>,
    blobs_made: u128,
    meta: BTreeMap<Vec<u8>, Bytes>,
    plan: Plan,
    is_closed: bool,
}

/// The faults to come.
#[derive(Default)]
struct Plan {
    appends_until_failure: Option<u32>,
    syncs_until_failure: Option<u32>,
    disk_full: bool,
    syncs_lie: bool,
    syncs_held: bool,
}

/// Counts down to the nth operation; true when this is the one.
fn is_due(countdown: &mut Option<u32>) -> bool {
    let Some(left) = countdown else { return false };
    *left = left.saturating_sub(1);
    let due = *left == 0;
    if due {
        *countdown = None;
    }
    due
}

fn fault(operation: &'static str, kind: io::ErrorKind) -> IoFault {
    IoFault::new(operation, Path::new("memory"), kind.into())
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("memory::Store")
    }
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The logs.
    #[must_use]
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::new(MemoryLogs(self.state.clone()))
    }

    /// The large bodies.
    #[must_use]
    pub fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(MemoryBlobs(self.state.clone()))
    }

    /// The metadata.
    #[must_use]
    pub fn meta(&self) -> Arc<dyn Meta> {
        Arc::new(MemoryMeta(self.state.clone()))
    }

    /// What goes wrong, from now on.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults { state: self.state.clone() }
    }

    /// A power cut: the store that is found afterwards, with what was durable, without faults to come. This one is closed.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.power_cut(|_, _| 0).0
    }

    /// As [`Store::crash`], where batches that were written and not yet durable may have reached the disk all the same:
    /// `keep` is told how many such batches a log has, and says how many of them, from the first on, are found. Also what
    /// became of each log.
    #[must_use]
    pub fn power_cut(
        &self,
        mut keep: impl FnMut(&LogName, usize) -> usize,
    ) -> (Self, BTreeMap<LogName, Loss>) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let (mut logs, mut losses) = (BTreeMap::new(), BTreeMap::new());
        for (name, log) in std::mem::take(&mut state.logs) {
            let (log, loss) = log.after_crash(|batches| keep(&name, batches));
            losses.insert(name.clone(), loss);
            logs.insert(name, log);
        }
        let found = State {
            logs,
            blobs: blobs::after_crash(std::mem::take(&mut state.blobs)),
            blobs_made: state.blobs_made,
            meta: std::mem::take(&mut state.meta),
            ..State::default()
        };
        (Self { state: Arc::new(Mutex::new(found)) }, losses)
    }

    /// Later operations are refused as closed.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.logs.values_mut().for_each(MemoryLog::close);
    }
}

/// What a power cut did to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Where the log ends now.
    pub end: Offset,
    /// Where it ended as far as fsync had vouched for it. Above `end` only where fsync lied.
    pub told: Offset,
}

/// Makes a memory store fail.
#[derive(Clone)]
pub struct Faults {
    state: Shared,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// The nth append from now (1: the next) is refused with an input/output error. Its log goes on.
    pub fn fail_append(&self, nth: u32) {
        self.state.lock().plan.appends_until_failure = Some(nth);
    }

    /// The nth fsync of a log from now (1: the next) fails and poisons the log. What it was for is lost in a crash.
    pub fn fail_sync(&self, nth: u32) {
        self.state.lock().plan.syncs_until_failure = Some(nth);
    }

    /// Whether appends and blobs are refused because the disk is full.
    pub fn set_disk_full(&self, full: bool) {
        self.state.lock().plan.disk_full = full;
    }

    /// Whether fsync says yes without doing anything: what is acknowledged meanwhile is lost in a crash.
    pub fn set_lying_sync(&self, lying: bool) {
        self.state.lock().plan.syncs_lie = lying;
    }

    /// Whether appends wait. When let go, they become durable in the order in which they were made.
    pub fn hold_syncs(&self, hold: bool) {
        let mut state = self.state.lock();
        state.plan.syncs_held = hold;
        if !hold {
            let State { logs, plan, .. } = &mut *state;
            logs.iter_mut().for_each(|(name, log)| log.sync(name, plan));
        }
    }

    /// A log is damaged from an offset on: it serves nothing from there and takes no appends.
    pub fn corrupt(&self, log: &LogName, first: Offset) {
        let what = "a test damaged it".into();
        let kind = DamageKind::Altered;
        let corruption = Corruption { log: log.clone(), kind, first, end: None, what };
        self.state.lock().logs.entry(log.clone()).or_default().corrupt(corruption);
    }

    /// All metadata is lost, as it may be at any time.
    pub fn lose_meta(&self) {
        self.state.lock().meta.clear();
    }
}

fn ready<T: Send + 'static, E: Send + 'static>(result: Result<T, E>) -> Pending<T, E> {
    Box::pin(std::future::ready(result))
}

struct MemoryMeta(Shared);

impl MemoryMeta {
    fn with<T>(&self, operation: impl FnOnce(&mut BTreeMap<Vec<u8>, Bytes>) -> T) -> Result<T, MetaError> {
        let mut state = self.0.lock();
        if state.is_closed { Err(MetaError::Closed) } else { Ok(operation(&mut state.meta)) }
    }
}

impl Meta for MemoryMeta {
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>, MetaError> {
        ready(self.with(|values| values.get(key).cloned()))
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Pending<bool, MetaError> {
        let set = |values: &mut BTreeMap<Vec<u8>, Bytes>| {
            if values.get(key).map(AsRef::as_ref) != expected {
                return false;
            }
            match new {
                Some(new) => drop(values.insert(key.to_vec(), Bytes::copy_from_slice(new))),
                None => drop(values.remove(key)),
            }
            true
        };
        ready(check_key_and_value(key, new).and_then(|()| self.with(set)))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Pending<Vec<(Bytes, Bytes)>, MetaError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        ready(self.with(|values| {
            values
                .range::<[u8], _>((from, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .take(entries_max.min(META_SCAN_ENTRIES_MAX))
                .map(|(key, value)| (Bytes::copy_from_slice(key), value.clone()))
                .collect()
        }))
    }
}
