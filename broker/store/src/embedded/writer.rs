//! Group commit: one thread takes whatever was queued while it last waited for the disk, writes it with one call for each
//! log, fsyncs each file once, and only then answers. The size of a group is set by the load; there is no timer.
//!
//! | what fails | what is done |
//! |---|---|
//! | write, disk full | the file is cut back to where the group began; the log's queued batches are refused, later ones go on |
//! | any other write, the cutting back, or fsync | the log is poisoned: after a failed fsync nobody knows what is on disk, and trying again may succeed without having written (PostgreSQL's "fsyncgate") |

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use hilum_core::{LogName, Offset};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::disk::{Disk, DiskFile, remove, write_all_at};
use super::frame::{self, Frame};
use super::keyring::{Keyring, SaveError};
use super::log::LogState;
use super::segment::{self, Segment};
use crate::limits::{GROUP_OCTETS_MAX, QUEUE_OCTETS_MAX};
use crate::{AppendError, Durability, IoFault};

/// A sealed batch that waits for the disk.
pub(super) struct Job {
    pub(super) log: Arc<LogState>,
    pub(super) generation: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) frame: Frame,
    pub(super) durability: Durability,
    /// None once it was answered.
    pub(super) reply: Option<oneshot::Sender<Result<Offset, AppendError>>>,
}

impl Job {
    fn answer(&mut self, answer: Result<Offset, AppendError>) {
        if let Some(reply) = self.reply.take() {
            // Nobody may be waiting any more.
            let _ = reply.send(answer);
        }
    }

    fn accept(&mut self) {
        self.answer(Ok(Offset(self.frame.header.first)));
    }

    fn refuse(mut self, error: AppendError) {
        self.answer(Err(error));
    }
}

/// What the writer is given to do, in order.
enum Task {
    Append(Job),
    /// Ends the segment that a log is written to, so that nobody writes into it any more.
    Roll(Arc<LogState>, oneshot::Sender<Result<(), AppendError>>),
}

impl Task {
    fn octets(&self) -> usize {
        if let Self::Append(job) = self { job.frame.octets().len() } else { 0 }
    }

    fn refuse(self, error: AppendError) {
        match self {
            Self::Append(job) => job.refuse(error),
            Self::Roll(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The writer thread's front.
pub(super) struct Writer {
    queue: Arc<Queue>,
    disk: Arc<dyn Disk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    octets: usize,
    closed: bool,
}

impl Writer {
    pub(super) fn start(disk: Arc<dyn Disk>, keyring: Arc<Keyring>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let committer = Committer { disk: disk.clone(), keyring, tails: HashMap::new() };
        let thread = std::thread::Builder::new().name("hilum-log-writer".into());
        let thread = thread.spawn({
            let queue = queue.clone();
            move || work(&queue, committer)
        })?;
        Ok(Self { queue, disk, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// Whether another batch may be queued.
    pub(super) fn check_room(&self) -> Result<(), AppendError> {
        let state = self.queue.state.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.octets >= QUEUE_OCTETS_MAX {
            return Err(AppendError::Overloaded(state.octets));
        }
        Ok(())
    }

    pub(super) fn push(&self, job: Job) {
        self.queue_up(Task::Append(job));
    }

    /// Ends the segment that a log is written to, after all batches that were pushed before.
    pub(super) fn roll(&self, log: Arc<LogState>) -> oneshot::Receiver<Result<(), AppendError>> {
        let (reply, result) = oneshot::channel();
        self.queue_up(Task::Roll(log, reply));
        result
    }

    fn queue_up(&self, task: Task) {
        let mut state = self.queue.state.lock();
        if state.closed {
            return task.refuse(AppendError::Closed);
        }
        state.octets += task.octets();
        state.tasks.push_back(task);
        drop(state);
        self.queue.changed.notify_one();
    }

    /// Takes no more batches and waits until those that were taken are answered.
    pub(super) fn close(&self) {
        self.queue.state.lock().closed = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log writer panicked; what it had not answered is not known to be durable");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    /// The next group, in order; none when closed and empty. A roll is a group of its own.
    fn take(&self) -> Option<Work> {
        let mut state = self.state.lock();
        while state.tasks.is_empty() {
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
        let (mut group, mut octets) = (Vec::with_capacity(state.tasks.len()), 0);
        while octets < GROUP_OCTETS_MAX {
            match state.tasks.pop_front() {
                Some(Task::Append(job)) => {
                    octets += job.frame.octets().len();
                    group.push(job);
                }
                Some(Task::Roll(log, reply)) if group.is_empty() => return Some(Work::Roll(log, reply)),
                Some(roll) => {
                    state.tasks.push_front(roll);
                    break;
                }
                None => break,
            }
        }
        state.octets -= octets;
        Some(Work::Group(group))
    }

    fn is_empty(&self) -> bool {
        self.state.lock().tasks.is_empty()
    }
}

enum Work {
    Group(Vec<Job>),
    Roll(Arc<LogState>, oneshot::Sender<Result<(), AppendError>>),
}

/// Refuses everything should the thread end by a panic, so that no caller waits for ever.
struct CloseOnExit<'a>(&'a Queue);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.tasks.drain(..).for_each(|task| task.refuse(AppendError::Closed));
    }
}

fn work(queue: &Queue, mut committer: Committer) {
    let _guard = CloseOnExit(queue);
    while let Some(work) = queue.take() {
        match work {
            Work::Group(group) => {
                let touched = committer.commit(group);
                if queue.is_empty() {
                    touched.iter().for_each(|log| committer.mark(log));
                }
            }
            // Nobody may be waiting any more.
            Work::Roll(log, reply) => drop(reply.send(committer.roll(&log))),
        }
    }
    committer.finish();
}

/// Batches of one group that go to one segment.
struct Run {
    log: Arc<LogState>,
    segment: Arc<Segment>,
    jobs: Vec<Job>,
}

fn runs(group: Vec<Job>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for job in group {
        let latest = runs.iter_mut().rev().find(|run| Arc::ptr_eq(&run.log, &job.log));
        match latest.filter(|run| Arc::ptr_eq(&run.segment, &job.segment)) {
            Some(run) => run.jobs.push(job),
            None => runs.push(Run { log: job.log.clone(), segment: job.segment.clone(), jobs: vec![job] }),
        }
    }
    runs
}

/// Owns the files being written.
struct Committer {
    disk: Arc<dyn Disk>,
    keyring: Arc<Keyring>,
    tails: HashMap<LogName, Tail>,
}

/// The end of one log, as the writer knows it.
#[derive(Default)]
struct Tail {
    open: Option<OpenSegment>,
    /// Why batches of an older generation are refused.
    refusal: Option<AppendError>,
}

impl Committer {
    /// Writes a group and answers it; gives the logs that it touched.
    fn commit(&mut self, group: Vec<Job>) -> Vec<Arc<LogState>> {
        if let Err(error) = self.keyring.save() {
            self.refuse_for_keys(group, &error);
            return Vec::new();
        }
        let mut touched: Vec<Arc<LogState>> = Vec::new();
        let mut waiting: Vec<Run> = Vec::new();
        // All writes come before the first fsync, which gives the disk more to do at once.
        for run in runs(group) {
            if let Some(before) = waiting.iter().position(|before| Arc::ptr_eq(&before.log, &run.log)) {
                // The log goes on in a new segment: the old one is durable before the new one exists.
                let before = waiting.swap_remove(before);
                self.settle(before);
            }
            if !touched.iter().any(|log| Arc::ptr_eq(log, &run.log)) {
                touched.push(run.log.clone());
            }
            waiting.extend(self.write(run));
        }
        waiting.into_iter().for_each(|run| self.settle(run));
        touched
    }

    fn tail(&mut self, log: &LogState) -> &mut Tail {
        self.tails.entry(log.name.clone()).or_default()
    }

    /// Writes a run; gives it back where it waits for the fsync, otherwise answers it.
    fn write(&mut self, mut run: Run) -> Option<Run> {
        self.refuse_stale(&mut run);
        if run.jobs.is_empty() {
            return None;
        }
        if let Err(fault) = self.try_write(&mut run) {
            let refusal = if fault.is_disk_full() {
                self.cut_back(&run.log, fault)
            } else {
                self.poison(&run.log, fault)
            };
            run.jobs.into_iter().for_each(|job| job.refuse(refusal.clone()));
            return None;
        }
        run.jobs.iter_mut().filter(|job| job.durability == Durability::Memory).for_each(Job::accept);
        Some(run)
    }

    /// Batches that were sealed before something was refused have the wrong offsets now.
    fn refuse_stale(&mut self, run: &mut Run) {
        let (generation, refusal) = run.log.generation();
        if run.jobs.iter().all(|job| job.generation == generation) {
            return;
        }
        let refusal = refusal.or_else(|| self.tail(&run.log).refusal.clone()).unwrap_or(AppendError::Closed);
        let (current, stale) = run.jobs.drain(..).partition(|job| job.generation == generation);
        run.jobs = current;
        Vec::into_iter(stale).for_each(|job: Job| job.refuse(refusal.clone()));
    }

    fn try_write(&mut self, run: &mut Run) -> Result<(), IoFault> {
        let disk = self.disk.clone();
        let tail = self.tail(&run.log);
        let is_open = tail.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.segment, &run.segment));
        if !is_open {
            if let Some(mut spent) = tail.open.take() {
                spent.close(run.segment.base)?;
            }
            tail.open = Some(OpenSegment::create(disk.as_ref(), &run.log, run.segment.clone())?);
        }
        let open = tail.open.as_mut().expect("set above");
        open.write(&mut run.jobs)
    }

    /// Makes a written run durable, shows it to readers and answers it.
    fn settle(&mut self, run: Run) {
        let Run { log, segment, jobs } = run;
        let synced = self.tail(&log).open.as_mut().map_or(Ok(()), OpenSegment::sync);
        if let Err(fault) = synced {
            let refusal = self.poison(&log, fault);
            return jobs.into_iter().for_each(|job| job.refuse(refusal.clone()));
        }
        let mut view = log.view.write();
        if view.segments.last().is_none_or(|last| !Arc::ptr_eq(last, &segment)) {
            view.segments.push(segment);
        }
        view.end = jobs.last().map_or(view.end, |job| job.frame.header.end());
        drop(view);
        jobs.into_iter().for_each(|mut job| job.accept());
    }

    fn refuse_for_keys(&mut self, group: Vec<Job>, error: &SaveError) {
        let mut refusals: Vec<(Arc<LogState>, AppendError)> = Vec::new();
        for job in group {
            let known =
                refusals.iter().find(|(log, _)| Arc::ptr_eq(log, &job.log)).map(|(_, known)| known.clone());
            let refusal = known.unwrap_or_else(|| {
                let refusal = match error {
                    SaveError::DiskFull(fault) => self.cut_back(&job.log, fault.clone()),
                    SaveError::Failed(fault) => self.poison(&job.log, fault.clone()),
                };
                refusals.push((job.log.clone(), refusal.clone()));
                refusal
            });
            job.refuse(refusal);
        }
    }

    /// The disk is full: leaves the file as it was before the group, and lets later batches try again.
    fn cut_back(&mut self, log: &LogState, fault: IoFault) -> AppendError {
        let tail = self.tail(log);
        if let Some(open) = &mut tail.open
            && let Err(cutting) = open.cut_back()
        {
            return self.poison(log, cutting);
        }
        tracing::warn!("log `{}`: {fault}", log.name);
        let refusal = AppendError::DiskFull(fault);
        tail.refusal = Some(refusal.clone());
        log.rewind(tail.open.as_ref().map(|open| (open.segment.clone(), open.octets)));
        refusal
    }

    fn poison(&mut self, log: &LogState, cause: IoFault) -> AppendError {
        let refusal = AppendError::Poisoned { log: log.name.clone(), cause };
        tracing::error!("{refusal}");
        let tail = self.tail(log);
        tail.open = None;
        tail.refusal = Some(refusal.clone());
        log.refuse(refusal.clone());
        refusal
    }

    /// Ends the segment that is being written, if there is one.
    fn roll(&mut self, log: &LogState) -> Result<(), AppendError> {
        let end = log.view.read().end;
        match self.tail(log).open.take().map_or(Ok(()), |mut open| open.close(end)) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.poison(log, fault)),
        }
    }

    /// The disk is idle: leaves word of what is durable.
    fn mark(&mut self, log: &LogState) {
        let end = log.view.read().end;
        let marked = self.tail(log).open.as_mut().map_or(Ok(()), |open| open.mark(end));
        if let Err(fault) = marked {
            self.poison(log, fault);
        }
    }

    /// The store is being closed: every mark becomes durable too.
    fn finish(&mut self) {
        for tail in self.tails.values_mut() {
            if let Some(open) = &mut tail.open
                && let Err(fault) = open.file.sync()
            {
                tracing::warn!("{}", open.fault("fsync")(fault));
            }
        }
    }
}

struct OpenSegment {
    segment: Arc<Segment>,
    file: Box<dyn DiskFile>,
    /// Octets of whole frames.
    octets: u64,
    /// Octets of whole frames that are durable.
    synced: u64,
    /// Whether the last frame is a mark.
    is_marked: bool,
}

impl OpenSegment {
    /// Makes the file. Its header is durable before a frame is written, so only a file without frames can lack it.
    fn create(disk: &dyn Disk, log: &LogState, segment: Arc<Segment>) -> Result<Self, IoFault> {
        make_dir(disk, &log.dir)?;
        let io = |operation| {
            let path = &segment.path;
            move |error| IoFault::new(operation, path, error)
        };
        let mut file = disk.create(&segment.path).map_err(io("create"))?;
        let mut begin = || -> Result<(), IoFault> {
            let header = segment.header(&log.name);
            write_all_at(file.as_mut(), &mut [IoSlice::new(&header)], 0).map_err(io("write"))?;
            file.sync().map_err(io("fsync"))?;
            disk.sync_dir(&log.dir).map_err(|error| IoFault::new("fsync", &log.dir, error))
        };
        if let Err(fault) = begin() {
            // So that the same offset can begin a segment again.
            return Err(remove(disk, &segment.path).err().unwrap_or(fault));
        }
        let octets = segment::HEADER_OCTETS as u64;
        segment.set_octets(octets);
        Ok(Self { segment, file, octets, synced: octets, is_marked: false })
    }

    fn fault(&self, operation: &'static str) -> impl FnOnce(std::io::Error) -> IoFault + use<> {
        let segment = self.segment.clone();
        move |error| IoFault::new(operation, &segment.path, error)
    }

    /// Writes frames at the end. Where it fails, [`OpenSegment::cut_back`] takes away what was written of them.
    fn write(&mut self, jobs: &mut [Job]) -> Result<(), IoFault> {
        let mut position = self.octets;
        for job in &mut *jobs {
            job.frame.stamp(&self.segment.salt, position, self.synced);
            position += job.frame.header.frame_octets();
        }
        let mut slices: Vec<IoSlice<'_>> = jobs.iter().map(|job| IoSlice::new(job.frame.octets())).collect();
        write_all_at(self.file.as_mut(), &mut slices, self.octets).map_err(self.fault("write"))?;
        for job in jobs {
            self.segment.note(job.frame.header.first, self.octets);
            self.octets += job.frame.header.frame_octets();
        }
        self.is_marked = false;
        self.segment.set_octets(self.octets);
        Ok(())
    }

    /// The cut is made durable: what was refused does not come back after a crash.
    fn cut_back(&mut self) -> Result<(), IoFault> {
        self.file.truncate(self.octets).map_err(self.fault("truncate"))?;
        self.file.sync().map_err(self.fault("fsync"))
    }

    fn sync(&mut self) -> Result<(), IoFault> {
        if self.synced < self.octets {
            self.file.sync().map_err(self.fault("fsync"))?;
            self.synced = self.octets;
        }
        Ok(())
    }

    /// Says behind the last frame that everything before is durable. A mark is a help for recovery and no promise: where
    /// there is no room, there is none.
    fn mark(&mut self, end: u64) -> Result<(), IoFault> {
        if self.is_marked || self.synced < self.octets {
            return Ok(());
        }
        let mark = frame::mark(&self.segment.salt, end, self.octets);
        match write_all_at(self.file.as_mut(), &mut [IoSlice::new(&mark)], self.octets) {
            Ok(()) => {
                self.octets += mark.len() as u64;
                self.is_marked = true;
                self.segment.set_octets(self.octets);
                Ok(())
            }
            Err(error) => {
                let fault = self.fault("write")(error);
                if fault.is_disk_full() { self.cut_back() } else { Err(fault) }
            }
        }
    }

    /// Ends the segment with a durable mark, before the next one begins at offset `end`.
    fn close(&mut self, end: u64) -> Result<(), IoFault> {
        self.sync()?;
        self.mark(end)?;
        self.sync()
    }
}

fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<(), IoFault> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(IoFault::new("create", dir, error)),
        Ok(()) => {
            let parent = dir.parent().unwrap_or(dir);
            disk.sync_dir(parent).map_err(|error| IoFault::new("fsync", parent, error))
        }
    }
}
