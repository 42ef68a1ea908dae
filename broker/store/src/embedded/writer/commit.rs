//! What is done with a group of one log's batches: written, made durable, shown to readers, answered.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::super::disk::{Disk, DiskFile, remove, write_all_at};
use super::super::frame;
use super::super::keyring::{Keyring, SaveError};
use super::super::log::LogState;
use super::super::segment::{self, Segment};
use super::Job;
use crate::{AppendError, Durability, IoFault};

/// Batches of one group that go to one segment.
struct Run {
    segment: Arc<Segment>,
    jobs: Vec<Job>,
}

fn runs(group: Vec<Job>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for job in group {
        match runs.last_mut().filter(|run| Arc::ptr_eq(&run.segment, &job.segment)) {
            Some(run) => run.jobs.push(job),
            None => runs.push(Run { segment: job.segment.clone(), jobs: vec![job] }),
        }
    }
    runs
}

/// The end of one log, as its writer knows it.
#[derive(Default)]
pub(super) struct Tail {
    open: Option<OpenSegment>,
    /// Why batches of an older generation are refused.
    refusal: Option<AppendError>,
}

impl Tail {
    /// The store is being closed: every mark becomes durable too.
    pub(super) fn finish(mut self) {
        if let Some(open) = &mut self.open
            && let Err(fault) = open.file.sync()
        {
            tracing::warn!("{}", open.fault("fsync")(fault));
        }
    }
}

/// Writes what one thread has taken for one log.
pub(super) struct Committer<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) keyring: &'a Keyring,
    pub(super) log: &'a Arc<LogState>,
}

impl Committer<'_> {
    /// Writes a group and answers it. Whether it came as far as the log's files.
    pub(super) fn commit(&self, tail: &mut Tail, group: Vec<Job>) -> bool {
        if let Err(error) = self.keyring.save() {
            let refusal = match error {
                SaveError::DiskFull(fault) => self.cut_back(tail, fault),
                SaveError::Failed(fault) => self.poison(tail, fault),
            };
            group.into_iter().for_each(|job| job.refuse(refusal.clone()));
            return false;
        }
        for run in runs(group) {
            // Where the log goes on in a new segment, the old one is durable before the new one exists.
            if let Some(written) = self.write(tail, run) {
                self.settle(tail, written);
            }
        }
        true
    }

    /// Writes a run; gives it back where it waits for the fsync, otherwise answers it.
    fn write(&self, tail: &mut Tail, mut run: Run) -> Option<Run> {
        self.refuse_stale(tail, &mut run);
        if run.jobs.is_empty() {
            return None;
        }
        if let Err(fault) = self.try_write(tail, &mut run) {
            let refusal =
                if fault.is_disk_full() { self.cut_back(tail, fault) } else { self.poison(tail, fault) };
            run.jobs.into_iter().for_each(|job| job.refuse(refusal.clone()));
            return None;
        }
        run.jobs.iter_mut().filter(|job| job.durability == Durability::Memory).for_each(Job::accept);
        Some(run)
    }

    /// Batches that were sealed before something was refused have the wrong offsets now.
    fn refuse_stale(&self, tail: &Tail, run: &mut Run) {
        let (generation, refusal) = self.log.generation();
        if run.jobs.iter().all(|job| job.generation == generation) {
            return;
        }
        let refusal = refusal.or_else(|| tail.refusal.clone()).unwrap_or(AppendError::Closed);
        let (current, stale) = run.jobs.drain(..).partition(|job| job.generation == generation);
        run.jobs = current;
        Vec::into_iter(stale).for_each(|job: Job| job.refuse(refusal.clone()));
    }

    fn try_write(&self, tail: &mut Tail, run: &mut Run) -> Result<(), IoFault> {
        let is_open = tail.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.segment, &run.segment));
        if !is_open {
            if let Some(mut spent) = tail.open.take() {
                spent.close(run.segment.base)?;
            }
            tail.open = Some(OpenSegment::create(self.disk, self.log, run.segment.clone())?);
        }
        let open = tail.open.as_mut().expect("set above");
        open.write(&mut run.jobs)
    }

    /// Makes a written run durable, shows it to readers and answers it.
    fn settle(&self, tail: &mut Tail, run: Run) {
        let Run { segment, jobs } = run;
        let synced = tail.open.as_mut().map_or(Ok(()), OpenSegment::sync);
        if let Err(fault) = synced {
            let refusal = self.poison(tail, fault);
            return jobs.into_iter().for_each(|job| job.refuse(refusal.clone()));
        }
        let mut view = self.log.view.write();
        if view.segments.last().is_none_or(|last| !Arc::ptr_eq(last, &segment)) {
            view.segments.push(segment);
        }
        view.end = jobs.last().map_or(view.end, |job| job.frame.header.end());
        drop(view);
        jobs.into_iter().for_each(|mut job| job.accept());
    }

    /// The disk is full: leaves the file as it was before the group, and lets later batches try again.
    fn cut_back(&self, tail: &mut Tail, fault: IoFault) -> AppendError {
        if let Some(open) = &mut tail.open
            && let Err(cutting) = open.cut_back()
        {
            return self.poison(tail, cutting);
        }
        tracing::warn!("log `{}`: {fault}", self.log.name);
        let refusal = AppendError::DiskFull(fault);
        tail.refusal = Some(refusal.clone());
        self.log.rewind(tail.open.as_ref().map(|open| (open.segment.clone(), open.octets)));
        refusal
    }

    fn poison(&self, tail: &mut Tail, cause: IoFault) -> AppendError {
        let refusal = AppendError::Poisoned { log: self.log.name.clone(), cause };
        tracing::error!("{refusal}");
        tail.open = None;
        tail.refusal = Some(refusal.clone());
        self.log.refuse(refusal.clone());
        refusal
    }

    /// Ends the segment that is being written, if there is one.
    pub(super) fn roll(&self, tail: &mut Tail) -> Result<(), AppendError> {
        let end = self.log.view.read().end;
        match tail.open.take().map_or(Ok(()), |mut open| open.close(end)) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.poison(tail, fault)),
        }
    }

    /// The log is idle: leaves word of what is durable.
    pub(super) fn mark(&self, tail: &mut Tail) {
        let end = self.log.view.read().end;
        let marked = tail.open.as_mut().map_or(Ok(()), |open| open.mark(end));
        if let Err(fault) = marked {
            self.poison(tail, fault);
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
