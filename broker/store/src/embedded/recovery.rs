//! What a log finds at open. A write that a crash tore is cut off: it was never acknowledged. Everything else that is not
//! as it was written is damage: it is named with its offsets, and the log serves nothing from there on and takes nothing.
//!
//! Only the last segment is read through. An older one must begin with its header and end with a mark at the offset where
//! the next begins; only where it does not is it read through to find what is lost. Damage inside an older segment is
//! found when it is read.
//!
//! What cannot be found from the files alone: that the last segment, or a whole log, was deleted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hilum_core::{LogName, Offset};

use super::OpenError;
use super::disk::{Disk, write_all_at};
use super::frame;
use super::log::{LogState, View};
use super::segment::{self, Scan, Segment, Tail, scan};
use super::trim::{read_start, remove};
use crate::limits::{APPEND_ENTRIES_MAX, APPEND_OCTETS_MAX, SEGMENT_OCTETS};
use crate::{Corruption, IoFault};

/// Octets of the largest segment: one that was just short of its end took the largest frame.
fn segment_octets_max(segment_octets: u64) -> u64 {
    segment_octets.max(SEGMENT_OCTETS) + (APPEND_OCTETS_MAX + 32 * APPEND_ENTRIES_MAX) as u64 + 4096
}

/// Opens every log below a directory.
pub(super) fn open_logs(
    disk: &dyn Disk,
    dir: &Path,
    segment_octets: u64,
) -> Result<Vec<LogState>, OpenError> {
    let mut logs = Vec::new();
    for entry in read_dir(dir)? {
        let Some(name) = entry.file_name().and_then(|name| name.to_str()).and_then(log_name) else {
            tracing::warn!("{} is not the directory of a log; it is left alone", entry.display());
            continue;
        };
        logs.push(open_log(disk, name, entry, segment_octets_max(segment_octets))?);
    }
    Ok(logs)
}

/// The log whose name reads so.
pub(super) fn log_name(text: &str) -> Option<LogName> {
    let flow = |text: &str| text.parse().ok();
    match text.split_once('.') {
        None if text == "audit" => Some(LogName::Audit),
        None if text == "control" => Some(LogName::Control),
        Some(("flow", name)) => flow(name).map(LogName::Flow),
        Some(("quarantine", name)) => flow(name).map(LogName::Quarantine),
        _ => None,
    }
}

fn read_dir(dir: &Path) -> Result<Vec<PathBuf>, IoFault> {
    let fault = |error| IoFault::new("list", dir, error);
    let entries = std::fs::read_dir(dir).map_err(fault)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(fault)?;
    paths.sort();
    Ok(paths)
}

fn open_log(disk: &dyn Disk, name: LogName, dir: PathBuf, octets_max: u64) -> Result<LogState, OpenError> {
    let mut recovery = Recovery { disk, name: &name, octets_max, view: View::default() };
    recovery.run(&dir)?;
    let view = recovery.view;
    if let Some(corruption) = &view.corruption {
        tracing::error!("{corruption}");
    }
    Ok(LogState::new(name, dir, view))
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    name: &'a LogName,
    octets_max: u64,
    view: View,
}

impl Recovery<'_> {
    fn run(&mut self, dir: &Path) -> Result<(), OpenError> {
        let mut files: Vec<(u64, PathBuf)> = Vec::new();
        for path in read_dir(dir)? {
            if let Some(base) = path.file_name().and_then(|name| name.to_str()).and_then(segment::base_of) {
                files.push((base, path));
            }
        }
        let start = read_start(dir)?;
        // A crash in the middle of a trim leaves files before the new start.
        let start = start.or(files.first().map(|(base, _)| *base)).unwrap_or(0);
        for (_, path) in files.extract_if(.., |(base, _)| *base < start) {
            remove(&path)?;
        }
        self.view.end = start;
        for (number, (base, path)) in files.iter().enumerate() {
            let next = files.get(number + 1).map(|(base, _)| *base);
            if *base != self.view.end {
                let what = format!("a segment is missing before {}", path.display());
                self.corrupt(self.view.end, Some(*base), what);
                self.view.end = *base;
            }
            match next {
                Some(next) => self.older_segment(*base, path, next)?,
                None => self.last_segment(*base, path)?,
            }
        }
        Ok(())
    }

    fn corrupt(&mut self, first: u64, end: Option<u64>, what: String) {
        let found = Corruption {
            log: self.name.clone(),
            first: Offset(first),
            end: end.map(Offset),
            what: what.into(),
        };
        self.view.corruption.get_or_insert(found);
    }

    fn older_segment(&mut self, base: u64, path: &Path, next: u64) -> Result<(), OpenError> {
        self.view.end = next;
        let (octets, file) = open_file(path)?;
        let fault = |error| IoFault::new("read", path, error);
        let mut header = vec![0; segment::HEADER_OCTETS.min(usize::try_from(octets).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut header, 0).map_err(fault)?;
        let segment = match Segment::parse(path, self.name, &header) {
            Ok(segment) => Arc::new(segment),
            Err(what) => {
                self.corrupt(base, Some(next), format!("{}: {what}", path.display()));
                return Ok(());
            }
        };
        segment.set_octets(octets);
        self.view.segments.push(segment.clone());
        let mut mark = [0; frame::HEADER_OCTETS];
        if let Some(at) = octets.checked_sub(mark.len() as u64) {
            file.read_exact_at(&mut mark, at).map_err(fault)?;
            if mark == frame::mark(&segment.salt, next, at) {
                return Ok(());
            }
        }
        let found = scan(&segment, &self.read_all(path, octets)?);
        if found.end == next {
            tracing::warn!("{} has all its entries, but does not end as it should", path.display());
        } else {
            // A segment that ends with its mark is all there: what is lost is a whole one after it.
            let is_ended = found.tail == Tail::Clean && found.marked;
            let what = if is_ended { "a segment is missing after" } else { "damaged or cut short:" };
            let what = format!("{what} {} at octet {}", path.display(), found.position);
            let intact = if let Tail::Damaged { intact } = found.tail { intact } else { None };
            self.corrupt(found.end.min(next), intact.or(Some(next)), what);
        }
        Ok(())
    }

    fn last_segment(&mut self, base: u64, path: &Path) -> Result<(), OpenError> {
        let (octets, _) = open_file(path)?;
        let content = self.read_all(path, octets)?;
        let segment = match Segment::parse(path, self.name, &content) {
            Ok(segment) => Arc::new(segment),
            // The header is fsynced before the first frame: a crash tore the making of the file.
            Err(_) if content.len() <= segment::HEADER_OCTETS => return self.remove(path),
            Err(what) => {
                self.corrupt(base, None, format!("{}: {what}", path.display()));
                return Ok(());
            }
        };
        segment.set_octets(octets);
        let found = scan(&segment, &content);
        self.view.end = found.end;
        match &found.tail {
            Tail::Damaged { intact } => {
                let what = format!("{} is damaged at octet {}", path.display(), found.position);
                self.corrupt(found.end, *intact, what);
            }
            // No frame, so nothing that was acknowledged. The next segment will have the same name.
            _ if found.end == base => return self.remove(path),
            _ => self.end(&segment, path, &found, content.len())?,
        }
        self.view.segments.push(segment);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), OpenError> {
        tracing::info!("{} holds no entry and is removed", path.display());
        Ok(remove(path)?)
    }

    /// Cuts off a torn tail and ends the segment with a durable mark, as every segment that is not the last one has.
    fn end(&self, segment: &Segment, path: &Path, found: &Scan, octets: usize) -> Result<(), OpenError> {
        if found.tail == Tail::Clean && found.marked {
            return Ok(());
        }
        let io = |operation| move |error| IoFault::new(operation, path, error);
        let mut file = self.disk.open(path).map_err(io("open"))?;
        if found.tail == Tail::Torn {
            let (torn, at) = (octets - found.position, found.position);
            let path = path.display();
            tracing::warn!(
                "{path}: a crash tore the last write, which nobody was told of; cut {torn} octets at {at}"
            );
            file.truncate(found.position as u64).map_err(io("truncate"))?;
            file.sync().map_err(io("fsync"))?;
        }
        let mark = frame::mark(&segment.salt, found.end, found.position as u64);
        if let Err(error) = write_all_at(file.as_mut(), &mut [io::IoSlice::new(&mark)], found.position as u64)
        {
            let fault = io("write")(error);
            if !fault.is_disk_full() {
                return Err(fault.into());
            }
            // A full disk must not keep the broker from serving what it has; the segment is whole without the mark.
            tracing::warn!("{fault}");
            file.truncate(found.position as u64).map_err(io("truncate"))?;
            segment.set_octets(found.position as u64);
        } else {
            segment.set_octets((found.position + mark.len()) as u64);
        }
        Ok(file.sync().map_err(io("fsync"))?)
    }

    fn read_all(&self, path: &Path, octets: u64) -> Result<Vec<u8>, OpenError> {
        if octets > self.octets_max {
            let error =
                io::Error::other(format!("it has {octets} octets, a segment has up to {}", self.octets_max));
            return Err(IoFault::new("read", path, error).into());
        }
        Ok(std::fs::read(path).map_err(|error| IoFault::new("read", path, error))?)
    }
}

fn open_file(path: &Path) -> Result<(u64, File), IoFault> {
    let fault = |error| IoFault::new("open", path, error);
    let file = File::open(path).map_err(fault)?;
    Ok((file.metadata().map_err(fault)?.len(), file))
}
