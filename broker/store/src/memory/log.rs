//! Logs in memory: what was appended, what was acknowledged, and what would outlive a crash.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::Range;

use bytes::Bytes;
use hilum_core::{Entry, LogName, Offset};
use tokio::sync::oneshot;

use super::{Loss, Plan, Shared, State, fault, is_due, ready};
use crate::embedded::measure;
use crate::{AppendError, Corruption, Durability, Log, LogEntry, Pending, ReadError, SpanUsage, Usage};

/// Entries that a log gives back together, as far as [`Log::usage`] says.
const SPAN_ENTRIES: u64 = 16;

/// One log.
#[derive(Default)]
pub(super) struct MemoryLog {
    start: u64,
    /// None where an entry was erased.
    entries: VecDeque<Option<Bytes>>,
    /// The offset after the last entry that was acknowledged, so that it is shown.
    acked: u64,
    /// The offset after the last entry that is durable.
    durable: u64,
    /// Where each batch ends that is written and not durable.
    written: Vec<u64>,
    waiting: Vec<Waiting>,
    refusal: Option<AppendError>,
    corruption: Option<Corruption>,
}

/// An append that is not yet durable.
struct Waiting {
    range: Range<u64>,
    /// None once it was answered.
    reply: Option<Reply>,
}

type Reply = oneshot::Sender<Result<Offset, AppendError>>;

impl Waiting {
    fn answer(self, answer: Result<Offset, AppendError>) {
        if let Some(reply) = self.reply {
            // Nobody may be waiting any more.
            let _ = reply.send(answer);
        }
    }
}

impl MemoryLog {
    fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    /// The next offset that will be acknowledged.
    pub(super) fn next(&self) -> Offset {
        Offset(self.acked)
    }

    /// What a power cut leaves: what is durable and, of the batches written after it, the first few, as `keep` says.
    pub(super) fn after_crash(mut self, keep: impl FnOnce(usize) -> usize) -> (Self, Loss) {
        let kept = keep(self.written.len()).checked_sub(1);
        let end = kept.map_or(self.durable, |last| self.written[last.min(self.written.len() - 1)]);
        self.truncate(end);
        let found = Self {
            start: self.start,
            acked: end,
            durable: end,
            written: Vec::new(),
            refusal: self.corruption.clone().map(AppendError::from),
            entries: self.entries,
            corruption: self.corruption,
            waiting: Vec::new(),
        };
        (found, Loss { end: Offset(end), told: Offset(self.acked) })
    }

    fn truncate(&mut self, end: u64) {
        while self.end() > end.max(self.start) {
            self.entries.pop_back();
        }
    }

    pub(super) fn corrupt(&mut self, corruption: Corruption) {
        self.refusal = Some(corruption.clone().into());
        self.corruption = Some(corruption);
    }

    pub(super) fn close(&mut self) {
        for waiting in self.waiting.drain(..) {
            waiting.answer(Err(AppendError::Closed));
        }
    }

    /// Makes what waits durable, as far as the plan lets it.
    pub(super) fn sync(&mut self, name: &LogName, plan: &mut Plan) {
        if self.waiting.is_empty() || plan.syncs_held {
            return;
        }
        if is_due(&mut plan.syncs_until_failure) {
            let cause = fault("fsync", ErrorKind::Other);
            let refusal = AppendError::Poisoned { log: name.clone(), cause };
            self.refusal = Some(refusal.clone());
            for waiting in self.waiting.drain(..) {
                waiting.answer(Err(refusal.clone()));
            }
            return;
        }
        for waiting in self.waiting.drain(..) {
            self.acked = waiting.range.end;
            let first = Offset(waiting.range.start);
            waiting.answer(Ok(first));
        }
        if !plan.syncs_lie {
            self.durable = self.acked;
            self.written.clear();
        }
    }

    fn append(&mut self, batch: Vec<Entry>, durability: Durability, reply: Reply) {
        let first = self.end();
        self.entries.extend(batch.into_iter().map(|entry| Some(Bytes::from(entry.into_octets()))));
        let mut waiting = Waiting { range: first..self.end(), reply: Some(reply) };
        if durability == Durability::Memory
            && let Some(reply) = waiting.reply.take()
        {
            let _ = reply.send(Ok(Offset(first)));
        }
        self.waiting.push(waiting);
        self.written.push(self.end());
    }

    /// What is there at an offset.
    fn entry(&self, offset: u64) -> Option<&Bytes> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.entries.get(at)?.as_ref()
    }

    fn read(&self, from: u64, octets_max: usize) -> Result<Vec<LogEntry>, ReadError> {
        let from = from.max(self.start);
        let stop =
            self.corruption.as_ref().map_or(self.acked, |corruption| self.acked.min(corruption.first.0));
        if let Some(corruption) = self.corruption.as_ref().filter(|corruption| from >= corruption.first.0) {
            return Err(corruption.clone().into());
        }
        let (mut entries, mut octets) = (Vec::new(), 0);
        for offset in from..stop {
            let Some(entry) = usize::try_from(offset - self.start).ok().and_then(|at| self.entries.get(at))
            else {
                break;
            };
            let Some(entry) = entry else { continue };
            octets += entry.len();
            if octets > octets_max && !entries.is_empty() {
                break;
            }
            entries.push(LogEntry { offset: Offset(offset), octets: entry.clone() });
        }
        Ok(entries)
    }

    fn erase(&mut self, offsets: &[Offset]) -> Result<(), ReadError> {
        if let Some(corruption) = &self.corruption {
            return Err(corruption.clone().into());
        }
        for offset in offsets.iter().filter(|offset| offset.0 < self.acked) {
            let at = offset.0.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
            if let Some(entry) = at.and_then(|at| self.entries.get_mut(at)) {
                *entry = None;
            }
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        // Parts as a store on disk has them, so that what is decided about them is tested here too.
        let (mut spans, mut first) = (Vec::new(), self.start);
        while first < self.acked {
            let end = (first / SPAN_ENTRIES + 1).saturating_mul(SPAN_ENTRIES).min(self.acked);
            let octets = (first..end).filter_map(|offset| self.entry(offset)).map(|entry| entry.len() as u64);
            spans.push(SpanUsage { first: Offset(first), end: Offset(end), octets: octets.sum() });
            first = end;
        }
        Usage { octets: spans.iter().map(|span| span.octets).sum(), spans }
    }

    fn trim(&mut self, before: u64) {
        while self.start < before.min(self.acked) && self.entries.pop_front().is_some() {
            self.start += 1;
        }
        self.durable = self.durable.max(self.start);
    }
}

/// The logs of a store.
pub(super) struct MemoryLogs(pub(super) Shared);

impl MemoryLogs {
    fn submit(
        &self,
        log: &LogName,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> Result<oneshot::Receiver<Result<Offset, AppendError>>, AppendError> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(AppendError::Closed);
        }
        measure(log, &batch)?;
        let State { logs, plan, .. } = &mut *state;
        let state = logs.entry(log.clone()).or_default();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        if plan.disk_full {
            return Err(AppendError::DiskFull(fault("write", ErrorKind::StorageFull)));
        }
        if is_due(&mut plan.appends_until_failure) {
            return Err(AppendError::Io(fault("write", ErrorKind::Other)));
        }
        let (reply, result) = oneshot::channel();
        state.append(batch, durability, reply);
        state.sync(log, plan);
        Ok(result)
    }

    fn with<T: Default>(
        &self,
        log: &LogName,
        operation: impl FnOnce(&mut MemoryLog) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(ReadError::Closed);
        }
        state.logs.get_mut(log).map_or(Ok(T::default()), operation)
    }
}

impl Log for MemoryLogs {
    fn append(
        &self,
        log: &LogName,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> Pending<Offset, AppendError> {
        match self.submit(log, batch, durability) {
            Ok(result) => Box::pin(async move { result.await.unwrap_or(Err(AppendError::Closed)) }),
            Err(error) => ready(Err(error)),
        }
    }

    fn read(&self, log: &LogName, from: Offset, octets_max: usize) -> Pending<Vec<LogEntry>, ReadError> {
        ready(self.with(log, |log| log.read(from.0, octets_max)))
    }

    fn bounds(&self, log: &LogName) -> Pending<Range<u64>, ReadError> {
        ready(self.with(log, |log| {
            let damage = log.corruption.as_ref().map_or(u64::MAX, |corruption| corruption.first.0);
            Ok(log.start..log.acked.min(damage.max(log.start)))
        }))
    }

    fn trim(&self, log: &LogName, before: Offset) -> Pending<(), ReadError> {
        ready(self.with(log, |log| {
            log.trim(before.0);
            Ok(())
        }))
    }

    fn erase(&self, log: &LogName, offsets: Vec<Offset>) -> Pending<(), ReadError> {
        ready(self.with(log, |log| log.erase(&offsets)))
    }

    fn usage(&self, log: &LogName) -> Pending<Usage, ReadError> {
        ready(self.with(log, |log| Ok(log.usage())))
    }
}
