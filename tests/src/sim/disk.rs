//! The disk: the memory store, whose fsyncs take virtual time and fail, lie or never come as the seed wants it.
//!
//! Some of the planted bugs are planted here, where the broker meets its store: see [`Plant`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hilum_core::delivery::Progress;
use hilum_core::record::Stored;
use hilum_core::state::{State as Kept, Survey};
use hilum_core::{Entry, FlowName, LogName, Offset};
use hilum_server::lifecycle::OpenStore;
use hilum_store::memory::{Faults, Loss, Store};
use hilum_store::{AppendError, Durability, Log, LogEntry, Pending, ReadError, Usage};

use super::Plant;
use super::history::History;
use super::random::Random;

/// What there is of the broker when its process is gone.
#[derive(Clone)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
    /// Milliseconds that an fsync takes, at most.
    slowness_ms: Arc<AtomicU64>,
    /// Whether the broker is starting.
    is_starting: Arc<AtomicBool>,
    plant: Option<Plant>,
    history: History,
}

struct State {
    store: Store,
    random: Random,
}

/// How long an fsync takes where nothing is said about it.
const FSYNC_MS: u64 = 4;

impl Disk {
    pub(super) fn new(random: Random, plant: Option<Plant>, history: History) -> Self {
        let store = Store::new();
        store.faults().hold_syncs(true);
        Self {
            state: Arc::new(Mutex::new(State { store, random })),
            slowness_ms: Arc::new(AtomicU64::new(FSYNC_MS)),
            is_starting: Arc::default(),
            plant,
            history,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the disk")
    }

    pub(super) fn faults(&self) -> Faults {
        self.state().store.faults()
    }

    /// Fsyncs take up to so long from now on; none: as long as they should.
    pub(super) fn slow_down(&self, milliseconds: Option<u64>) {
        self.slowness_ms.store(milliseconds.unwrap_or(FSYNC_MS), Ordering::Relaxed);
    }

    pub(super) fn starting(&self, is_starting: bool) {
        self.is_starting.store(is_starting, Ordering::Relaxed);
    }

    /// What the broker gets.
    pub(super) fn open(&self) -> OpenStore {
        let store = self.state().store.clone();
        let log = SimulatedLog {
            inner: store.log(),
            faults: store.faults(),
            is_scheduled: Arc::default(),
            disk: self.clone(),
        };
        let (blobs, meta) = (store.blobs(), store.meta());
        let close = Box::pin(async move { store.close() });
        OpenStore { log: Arc::new(log), blobs, meta, close }
    }

    /// What is found after a good stop: everything.
    pub(super) fn reopen(&self) -> BTreeMap<LogName, Loss> {
        self.replace(|_, batches| batches)
    }

    /// A power cut. Of what was written and not synced, some batches may be there.
    pub(super) async fn crash(&self) -> BTreeMap<LogName, Loss> {
        let mut random = self.state().random.split();
        let keep =
            |_: &LogName, batches| usize::try_from(random.within(0..=batches as u64)).unwrap_or(batches);
        let losses = self.replace(keep);
        if self.plant == Some(Plant::CursorBeforeDelivery) {
            self.run_ahead(&losses).await;
        }
        losses
    }

    /// Leaves each cursor where the end of its flow is.
    async fn run_ahead(&self, losses: &BTreeMap<LogName, Loss>) {
        let meta = self.state().store.meta();
        let cursors = meta.scan(b"cursor/", None, 100).await.expect("the simulated metadata is there");
        for (key, value) in cursors {
            let name = String::from_utf8_lossy(&key).into_owned();
            let flow = name.split('/').nth(1).and_then(|flow| flow.parse().ok()).expect("it names a flow");
            let Some(loss) = losses.get(&LogName::Flow(flow)) else { continue };
            let ahead = Progress::from(loss.end).encode();
            let set = meta.compare_and_set(&key, Some(&value), Some(&ahead)).await;
            assert!(set.expect("the simulated metadata is there"), "nobody else changes it");
        }
    }

    fn replace(&self, keep: impl FnMut(&LogName, usize) -> usize) -> BTreeMap<LogName, Loss> {
        let mut state = self.state();
        let (found, losses) = state.store.power_cut(keep);
        found.faults().hold_syncs(true);
        state.store = found;
        losses
    }

    /// The records of a flow, as far as they are shown to readers.
    pub(super) async fn records(&self, flow: &FlowName) -> Vec<Stored> {
        let log = self.state().store.log();
        let name = LogName::Flow(flow.clone());
        let entries = log.read(&name, Offset(0), usize::MAX).await.expect("the simulated disk reads");
        let decode = |entry: LogEntry| {
            Stored::decode(flow.clone(), entry.offset, &entry.octets).unwrap_or_else(|error| {
                self.history.violation(format_args!("{flow} offset {}: {error}", entry.offset));
                panic!("what is stored cannot be read");
            })
        };
        entries.into_iter().map(decode).collect()
    }
}

impl Disk {
    /// What the stages of a flow keep, as a start would find it.
    pub(super) async fn kept(&self, flow: &FlowName) -> Kept {
        let (log, name) = (self.state().store.log(), LogName::State(flow.clone()));
        let end = log.bounds(&LogName::Flow(flow.clone())).await.expect("the simulated disk reads").end;
        let entries = log.read(&name, Offset(0), usize::MAX).await.expect("the simulated disk reads");
        let entries = self.misread(&name, entries);
        let mut survey = Survey::new(Offset(end));
        for entry in &entries {
            survey.note(entry.offset, &entry.octets).expect("the broker reads what it wrote");
        }
        let (_, mut replay) = survey.finish();
        for entry in &entries {
            replay.fold(entry.offset, &entry.octets).expect("the broker reads what it wrote");
        }
        replay.finish()
    }

    /// What the broker reads of a log, with the bug that is planted there.
    fn misread(&self, log: &LogName, mut entries: Vec<LogEntry>) -> Vec<LogEntry> {
        // An entry of such a log begins with the format's version and the number of the variant: 0 is a part, of a step where
        // the next one is 0, with the flow's end.
        if self.plant == Some(Plant::ForgetPosition) && matches!(log, LogName::State(_)) {
            for entry in entries.iter_mut().filter(|entry| entry.octets.get(1..3) == Some(&[0, 0])) {
                let position = entry.octets[3..].iter().take_while(|octet| **octet >= 0x80).count() + 1;
                entry.octets = [&entry.octets[..3], &[0], &entry.octets[3 + position..]].concat().into();
            }
        }
        entries
    }
}

struct SimulatedLog {
    inner: Arc<dyn Log>,
    faults: Faults,
    is_scheduled: Arc<AtomicBool>,
    disk: Disk,
}

impl SimulatedLog {
    /// One fsync for all that waits when it comes.
    fn schedule_sync(&self) {
        if self.is_scheduled.swap(true, Ordering::Relaxed) {
            return;
        }
        let slowness = self.disk.slowness_ms.load(Ordering::Relaxed);
        let takes = Duration::from_millis(self.disk.state().random.within(1..=slowness));
        let (faults, is_scheduled) = (self.faults.clone(), self.is_scheduled.clone());
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            is_scheduled.store(false, Ordering::Relaxed);
            faults.hold_syncs(false);
            faults.hold_syncs(true);
        });
    }
}

impl Log for SimulatedLog {
    fn append(
        &self,
        log: &LogName,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> Pending<Offset, AppendError> {
        let durability = match self.disk.plant {
            Some(Plant::AckBeforeFsync) => Durability::Memory,
            _ => durability,
        };
        let pending = self.inner.append(log, batch, durability);
        self.schedule_sync();
        pending
    }

    fn read(&self, log: &LogName, from: Offset, octets_max: usize) -> Pending<Vec<LogEntry>, ReadError> {
        let is_starting = self.disk.is_starting.load(Ordering::Relaxed);
        if self.disk.plant == Some(Plant::ForgetProducers) && is_starting && matches!(log, LogName::Flow(_)) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let (reading, disk, log) = (self.inner.read(log, from, octets_max), self.disk.clone(), log.clone());
        Box::pin(async move { Ok(disk.misread(&log, reading.await?)) })
    }

    fn bounds(&self, log: &LogName) -> Pending<Range<u64>, ReadError> {
        self.inner.bounds(log)
    }

    fn trim(&self, log: &LogName, before: Offset) -> Pending<(), ReadError> {
        self.inner.trim(log, before)
    }

    fn erase(&self, log: &LogName, offsets: Vec<Offset>) -> Pending<(), ReadError> {
        self.inner.erase(log, offsets)
    }

    fn usage(&self, log: &LogName) -> Pending<Usage, ReadError> {
        self.inner.usage(log)
    }
}
