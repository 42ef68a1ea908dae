//! The log's front: gives offsets, seals batches on the caller's thread, and queues them for the [`writer`](super::writer).
//!
//! Each log has a *view*, which is what is durable and all that readers see, and an *appender*, which runs ahead of it.
//! When the writer must refuse a batch, everything queued behind it has the wrong offsets: the appender goes back to the
//! durable end and begins a new *generation*; batches of an older one are refused too.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use hilum_core::identity::PrincipalId;
use hilum_core::{Entry, LogName, Offset};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use super::ends::{self, Ends};
use super::erase;
use super::frame::{Builder, Frame};
use super::keyring::{Keyring, Purpose};
use super::pool::Pool;
use super::reader;
use super::segment::{self, Segment};
use super::trim;
use super::writer::{Job, Writer};
use crate::limits::{APPEND_ENTRIES_MAX, APPEND_OCTETS_MAX};
use crate::{
    AppendError, Corruption, Durability, IoFault, Log, LogEntry, Pending, ReadError, SpanUsage, Usage,
};

/// One log, shared by its callers, the writer and readers.
pub(super) struct LogState {
    pub(super) name: LogName,
    pub(super) dir: PathBuf,
    pub(super) view: RwLock<View>,
    pub(super) appender: Mutex<Appender>,
    /// Held while segments are deleted.
    pub(super) trimming: Mutex<()>,
}

/// What is durable.
#[derive(Default)]
pub(super) struct View {
    pub(super) segments: Vec<Arc<Segment>>,
    /// The offset after the last durable entry.
    pub(super) end: u64,
    pub(super) corruption: Option<Corruption>,
}

impl View {
    /// Nothing is served from the lowest damage on, whichever is found first.
    pub(super) fn mark(&mut self, found: Corruption) {
        if self.corruption.as_ref().is_none_or(|known| found.first < known.first) {
            self.corruption = Some(found);
        }
    }

    /// The first offset that is still there.
    pub(super) fn start(&self) -> u64 {
        self.segments.first().map_or(self.end, |segment| segment.base)
    }

    /// The offset after the last entry that is served.
    pub(super) fn sound_end(&self) -> u64 {
        let damage = self.corruption.as_ref().map_or(u64::MAX, |corruption| corruption.first.0);
        self.end.min(damage.max(self.start()))
    }
}

/// What comes next.
#[derive(Default)]
pub(super) struct Appender {
    pub(super) generation: u64,
    next: u64,
    active: Option<Active>,
    refusal: Option<AppendError>,
}

/// The segment that the next batch goes to.
struct Active {
    segment: Arc<Segment>,
    /// About how long it is when everything queued is written.
    octets: u64,
    keys: HashMap<PrincipalId, (u32, Arc<LessSafeKey>)>,
}

impl LogState {
    pub(super) fn new(name: LogName, dir: PathBuf, view: View) -> Self {
        let refusal = view.corruption.clone().map(AppendError::from);
        let appender = Appender { next: view.end, refusal, ..Appender::default() };
        Self { name, dir, view: view.into(), appender: appender.into(), trimming: Mutex::default() }
    }

    /// The generation of batches sealed now, and why there are none, if so.
    pub(super) fn generation(&self) -> (u64, Option<AppendError>) {
        let appender = self.appender.lock();
        (appender.generation, appender.refusal.clone())
    }

    /// Takes back everything that is not durable; `tail` is the segment being written and its length.
    pub(super) fn rewind(&self, tail: Option<(Arc<Segment>, u64)>) {
        let end = self.view.read().end;
        let mut appender = self.appender.lock();
        appender.generation += 1;
        appender.next = end;
        appender.active = tail.map(|(segment, octets)| Active { segment, octets, keys: HashMap::new() });
    }

    /// The segment that the next batch goes to, if one is open.
    pub(super) fn active(&self) -> Option<Arc<Segment>> {
        self.appender.lock().active.as_ref().map(|active| active.segment.clone())
    }

    /// Ends the segment that is being written, if there is one, and waits for that: what is in the view is then never
    /// written to again. The next batch begins a new one.
    pub(super) fn roll(self: &Arc<Self>, writer: &Writer) -> Result<(), ReadError> {
        let rolled = {
            let mut appender = self.appender.lock();
            if appender.active.take().is_none() {
                return Ok(());
            }
            // Queued while the lock is held: behind every batch for the segment, and before any for the next.
            writer.roll(self.clone())
        };
        match rolled.blocking_recv() {
            Ok(Ok(())) => Ok(()),
            // Poisoned: nothing more is written either.
            Ok(Err(AppendError::Poisoned { cause, .. })) => Err(cause.into()),
            _ => Err(ReadError::Closed),
        }
    }

    /// Takes no appends from now on.
    pub(super) fn refuse(&self, error: AppendError) {
        let mut appender = self.appender.lock();
        appender.generation += 1;
        appender.refusal.get_or_insert(error);
    }

    /// Serves nothing from the damage on, and takes no appends.
    pub(super) fn mark_corrupt(&self, found: &Corruption) {
        tracing::error!("{found}");
        self.view.write().mark(found.clone());
        self.refuse(found.clone().into());
    }
}

impl Appender {
    /// Seals a batch into a frame for the next offset.
    fn seal(
        &mut self,
        log: &Arc<LogState>,
        keyring: &Keyring,
        segment_octets: u64,
        batch: &[Entry],
    ) -> Result<(Arc<Segment>, Frame), AppendError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let (entries, plain_octets) = measure(&log.name, batch)?;
        let fault = |operation| move |_| sealing_fault(operation, &log.dir);
        if self.active.as_ref().is_none_or(|active| active.octets >= segment_octets) {
            let segment =
                Segment::plan(&log.dir, &log.name, self.next, 0).map_err(fault("draw a salt for"))?;
            let octets = segment::HEADER_OCTETS as u64;
            self.active = Some(Active { segment: Arc::new(segment), octets, keys: HashMap::new() });
        }
        let active = self.active.as_mut().expect("set above");
        let nonce = active.segment.take_nonces(entries);
        let mut builder = Builder::new(&active.segment.binding, self.next, nonce, entries, plain_octets);
        let mut of_last: Option<(&PrincipalId, u32, Arc<LessSafeKey>)> = None;
        for entry in batch {
            let (source, id, key) = match of_last {
                Some(same) if same.0 == entry.source() => same,
                _ => {
                    let (id, key) = active.key(log, keyring, entry.source())?;
                    (entry.source(), id, key)
                }
            };
            builder.push(&key, id, entry.octets()).map_err(fault("seal an entry for"))?;
            of_last = Some((source, id, key));
        }
        let frame = builder.finish();
        active.octets += frame.header.frame_octets();
        self.next += u64::from(entries);
        Ok((active.segment.clone(), frame))
    }
}

impl Active {
    fn key(
        &mut self,
        log: &LogState,
        keyring: &Keyring,
        source: &PrincipalId,
    ) -> Result<(u32, Arc<LessSafeKey>), AppendError> {
        if let Some((id, key)) = self.keys.get(source) {
            return Ok((*id, key.clone()));
        }
        let data_key = keyring.of(&log.name, source).map_err(AppendError::Io)?;
        let key = data_key
            .derive(Purpose::Segment, &self.segment.salt)
            .map_err(|_| sealing_fault("derive a key for", &log.dir))?;
        let key = Arc::new(key);
        self.keys.insert(source.clone(), (data_key.id, key.clone()));
        Ok((data_key.id, key))
    }
}

fn sealing_fault(operation: &'static str, path: &Path) -> AppendError {
    AppendError::Io(IoFault::new(operation, path, std::io::Error::other("the cryptographic library failed")))
}

/// Checks a batch against the limits: its entries and their plain octets.
pub(crate) fn measure(log: &LogName, batch: &[Entry]) -> Result<(u32, usize), AppendError> {
    if batch.is_empty() {
        return Err(AppendError::Empty);
    }
    let bound = |actual, limit, unit| {
        if actual <= limit { Ok(()) } else { Err(AppendError::TooLarge { actual, limit, unit }) }
    };
    bound(batch.len(), APPEND_ENTRIES_MAX, "entries")?;
    if let Some(stray) = batch.iter().find(|entry| entry.log() != log) {
        return Err(AppendError::WrongLog { log: log.clone(), entry: stray.log().clone() });
    }
    let octets = batch.iter().map(|entry| entry.octets().len()).sum();
    bound(octets, APPEND_OCTETS_MAX, "octets")?;
    Ok((u32::try_from(batch.len()).expect("bounded by APPEND_ENTRIES_MAX"), octets))
}

/// The logs of a directory.
pub(super) struct SegmentLog {
    pub(super) dir: PathBuf,
    pub(super) logs: RwLock<HashMap<LogName, Arc<LogState>>>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) writer: Arc<Writer>,
    pub(super) pool: Arc<Pool>,
    pub(super) segment_octets: u64,
    /// What the `ends` file says.
    pub(super) ends: Mutex<Ends>,
}

impl SegmentLog {
    /// The offset after the last durable entry.
    pub(super) fn end(&self, log: &LogName) -> u64 {
        self.find(log).map_or(0, |log| log.view.read().end)
    }

    /// Writes down how far the logs are durable, and no less than was known before. A full disk is no harm.
    pub(super) fn keep_ends(&self) -> Result<(), IoFault> {
        let mut ends = self.ends.lock();
        for (name, log) in self.logs.read().iter() {
            let view = log.view.read();
            let before = ends.get(name).map_or(0, |range| range.end);
            ends.insert(name.clone(), view.start()..view.end.max(before));
        }
        let path = self.dir.with_file_name("ends");
        match ends::write(self.writer.disk().as_ref(), &path, &ends) {
            Err(fault) if fault.is_disk_full() => {
                tracing::warn!("{fault}");
                Ok(())
            }
            written => written,
        }
    }

    fn find(&self, log: &LogName) -> Option<Arc<LogState>> {
        self.logs.read().get(log).cloned()
    }

    fn find_or_make(&self, log: &LogName) -> Arc<LogState> {
        if let Some(found) = self.find(log) {
            return found;
        }
        let make = || Arc::new(LogState::new(log.clone(), self.dir.join(log.to_string()), View::default()));
        self.logs.write().entry(log.clone()).or_insert_with(make).clone()
    }

    fn submit(
        &self,
        log: &LogName,
        batch: &[Entry],
        durability: Durability,
    ) -> Result<oneshot::Receiver<Result<Offset, AppendError>>, AppendError> {
        self.writer.check_room(log)?;
        let log = self.find_or_make(log);
        // The lock is held until the job is queued: that is what keeps offsets in the order of the calls.
        let mut appender = log.appender.lock();
        let (segment, frame) = appender.seal(&log, &self.keyring, self.segment_octets, batch)?;
        let (reply, result) = oneshot::channel();
        let generation = appender.generation;
        self.writer.push(Job {
            log: log.clone(),
            generation,
            segment,
            frame,
            durability,
            reply: Some(reply),
        });
        Ok(result)
    }
}

impl Log for SegmentLog {
    fn append(
        &self,
        log: &LogName,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> Pending<Offset, AppendError> {
        match self.submit(log, &batch, durability) {
            Ok(result) => Box::pin(async move { result.await.unwrap_or(Err(AppendError::Closed)) }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn read(&self, log: &LogName, from: Offset, octets_max: usize) -> Pending<Vec<LogEntry>, ReadError> {
        let Some(log) = self.find(log) else { return Box::pin(std::future::ready(Ok(Vec::new()))) };
        // Most reads of a live subscription are at the end: they need no thread.
        let view = log.view.read();
        if view.corruption.is_none() && from.0 >= view.end {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        drop(view);
        let keyring = self.keyring.clone();
        self.pool.run(move || reader::read(&log, &keyring, from.0, octets_max))
    }

    fn bounds(&self, log: &LogName) -> Pending<Range<u64>, ReadError> {
        let bounds = self.find(log).map_or(Ok(0..0), |log| {
            let view = log.view.read();
            Ok(view.start()..view.sound_end())
        });
        Box::pin(std::future::ready(bounds))
    }

    fn trim(&self, log: &LogName, before: Offset) -> Pending<(), ReadError> {
        let Some(log) = self.find(log) else { return Box::pin(std::future::ready(Ok(()))) };
        let (disk, writer) = (self.writer.disk(), self.writer.clone());
        self.pool.run(move || trim::trim(&log, disk.as_ref(), &writer, before.0))
    }

    fn erase(&self, log: &LogName, offsets: Vec<Offset>) -> Pending<(), ReadError> {
        let Some(log) = self.find(log) else { return Box::pin(std::future::ready(Ok(()))) };
        let (disk, writer, keyring) = (self.writer.disk(), self.writer.clone(), self.keyring.clone());
        self.pool.run(move || erase::erase(&log, &keyring, disk.as_ref(), &writer, &offsets))
    }

    fn usage(&self, log: &LogName) -> Pending<Usage, ReadError> {
        let usage = self.find(log).map_or_else(Usage::default, |log| {
            let view = log.view.read();
            let end_of = |number: usize| view.segments.get(number + 1).map_or(view.end, |next| next.base);
            let spans = view.segments.iter().enumerate().map(|(number, segment)| SpanUsage {
                first: Offset(segment.base),
                end: Offset(end_of(number)),
                octets: segment.octets(),
            });
            let spans: Vec<SpanUsage> = spans.collect();
            Usage { octets: spans.iter().map(|span| span.octets).sum(), spans }
        });
        Box::pin(std::future::ready(Ok(usage)))
    }
}
