//! What a log finds at open. A write that a crash tore is cut off: it was never acknowledged. Everything else that is not
//! as it was written is damage: it is named with its offsets, and the log serves nothing from there on and takes nothing.
//! How the two are told apart is in [`tear`](super::tear).
//!
//! Only the last segment is read through. An older one must begin with its header and end with a mark at the offset where
//! the next begins; only where it does not is it read through to find what is lost. Damage inside an older segment is
//! found when it is read, or by [`verify`](super::verify).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hilum_core::{LogName, Offset};

use super::OpenError;
use super::disk::{Disk, remove, write_all_at};
use super::ends::Ends;
use super::frame::{self, Kind};
use super::log::{LogState, View};
use super::segment::{self, Segment};
use super::tear::{Piece, Walk};
use super::trim::read_start;
use crate::limits::{APPEND_ENTRIES_MAX, APPEND_OCTETS_MAX, SEGMENT_OCTETS};
use crate::{Corruption, DamageKind, IoFault};

/// Octets of the largest segment: one that was just short of its end took the largest frame.
fn segment_octets_max(segment_octets: u64) -> u64 {
    segment_octets.max(SEGMENT_OCTETS) + (APPEND_OCTETS_MAX + 32 * APPEND_ENTRIES_MAX) as u64 + 4096
}

/// Opens every log below a directory.
pub(super) fn open_logs(
    disk: &dyn Disk,
    dir: &Path,
    segment_octets: u64,
    ends: &Ends,
) -> Result<Vec<LogState>, OpenError> {
    let mut logs: Vec<LogState> = Vec::new();
    for entry in read_dir(dir)? {
        let Some(name) = entry.file_name().and_then(|name| name.to_str()).and_then(log_name) else {
            tracing::warn!("{} is not the directory of a log; it is left alone", entry.display());
            continue;
        };
        let known = ends.get(&name).cloned().unwrap_or(0..0);
        logs.push(open_log(disk, name, entry, segment_octets_max(segment_octets), known)?);
    }
    for (name, known) in ends {
        if !logs.iter().any(|log| log.name == *name) {
            let dir = dir.join(name.to_string());
            logs.push(open_log(disk, name.clone(), dir, segment_octets_max(segment_octets), known.clone())?);
        }
    }
    Ok(logs)
}

/// The log whose name reads so: `audit`, `control`, `flow.NAME`, `quarantine.NAME`, `state.NAME`,
/// `originals.KEY`.
#[must_use]
pub fn log_name(text: &str) -> Option<LogName> {
    let flow = |text: &str| text.parse().ok();
    match text.split_once('.') {
        None if text == "audit" => Some(LogName::Audit),
        None if text == "control" => Some(LogName::Control),
        Some(("flow", name)) => flow(name).map(LogName::Flow),
        Some(("quarantine", name)) => flow(name).map(LogName::Quarantine),
        Some(("state", name)) => flow(name).map(LogName::State),
        Some(("originals", name)) => name.parse().ok().map(LogName::Originals),
        _ => None,
    }
}

pub(super) fn read_dir(dir: &Path) -> Result<Vec<PathBuf>, IoFault> {
    let fault = |error| IoFault::new("list", dir, error);
    let entries = std::fs::read_dir(dir).map_err(fault)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(fault)?;
    paths.sort();
    Ok(paths)
}

fn open_log(
    disk: &dyn Disk,
    name: LogName,
    dir: PathBuf,
    octets_max: u64,
    known: Range<u64>,
) -> Result<LogState, OpenError> {
    let mut recovery = Recovery { disk, name: &name, octets_max, known, view: View::default() };
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
    /// What is known to have been durable.
    known: Range<u64>,
    view: View,
}

impl Recovery<'_> {
    fn run(&mut self, dir: &Path) -> Result<(), OpenError> {
        let files = self.segment_files(dir)?;
        self.view.end = files.start;
        for (number, (base, path)) in files.segments.iter().enumerate() {
            if *base != self.view.end {
                let what = format!("no segment before {}", path.display());
                self.corrupt(DamageKind::Missing, self.view.end, Some(*base), what);
                self.view.end = *base;
            }
            match files.segments.get(number + 1) {
                Some((next, _)) => self.older_segment(*base, path, *next)?,
                None => self.last_segment(*base, path)?,
            }
        }
        if self.view.end < self.known.end {
            let what = format!("no segment for it in {}", dir.display());
            self.corrupt(DamageKind::Missing, self.view.end, Some(self.known.end), what);
        }
        Ok(())
    }

    /// The newest generation of each segment from the log's start on. Deletes what a crash in the middle of a trim or an
    /// erasure left.
    fn segment_files(&self, dir: &Path) -> Result<Files, OpenError> {
        let found = find_segments(dir, &self.known)?;
        for path in &found.leftover {
            remove(self.disk, path)?;
        }
        Ok(found)
    }

    fn corrupt(&mut self, kind: DamageKind, first: u64, end: Option<u64>, what: String) {
        let found = Corruption {
            log: self.name.clone(),
            kind,
            first: Offset(first),
            end: end.map(Offset),
            what: what.into(),
        };
        self.view.mark(found);
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
                self.corrupt(lack_of(&header), base, Some(next), format!("{}: {what}", path.display()));
                return Ok(());
            }
        };
        segment.set_octets(octets);
        self.view.segments.push(segment.clone());
        let mut mark = [0; frame::MARK_OCTETS];
        if let Some(at) = octets.checked_sub(mark.len() as u64) {
            file.read_exact_at(&mut mark, at).map_err(fault)?;
            if mark == frame::mark(&segment.salt, next, at) {
                return Ok(());
            }
        }
        // Everything in it was durable before the next one was begun.
        let content = self.read_all(path, octets)?;
        let is_sound = self.examine(&segment, &content, next);
        if is_sound {
            tracing::warn!("{} has all its entries, but does not end as it should", path.display());
        }
        Ok(())
    }

    /// Goes through a segment whose entries up to `floor` were durable; whether they are all there.
    fn examine(&mut self, segment: &Segment, content: &[u8], floor: u64) -> bool {
        let ended = |piece: &Piece| matches!(piece, Piece::Frame(_, header) if header.kind == Kind::Mark);
        let mut is_ended = false;
        for piece in Walk::new(segment, content, floor) {
            match &piece {
                Piece::Damage(found) if !found.is_harmless() => {
                    // A segment that ends with its mark is all there: what is lost is a whole one after it.
                    let is_whole = is_ended && found.position == content.len();
                    let kind = if is_whole { DamageKind::Missing } else { found.kind };
                    let what = format!("at octet {} of {}", found.position, segment.path.display());
                    self.corrupt(kind, found.first, found.end, what);
                    return false;
                }
                _ => is_ended = ended(&piece),
            }
        }
        true
    }

    fn last_segment(&mut self, base: u64, path: &Path) -> Result<(), OpenError> {
        let (octets, _) = open_file(path)?;
        let content = self.read_all(path, octets)?;
        let is_new = self.known.end <= base;
        let segment = match Segment::parse(path, self.name, &content) {
            Ok(segment) => Arc::new(segment),
            // The header is fsynced before the first frame: a crash tore the making of the file.
            Err(_) if is_new && is_torn_header(&content) => return self.remove(path),
            Err(what) => {
                let end = (!is_new).then_some(self.known.end);
                self.corrupt(lack_of(&content), base, end, format!("{}: {what}", path.display()));
                return Ok(());
            }
        };
        segment.set_octets(octets);
        let known_end = self.known.end;
        if !self.examine(&segment, &content, known_end) {
            self.view.end = self.view.corruption.as_ref().map_or(base, |found| found.first.0.max(base));
            self.view.segments.push(segment);
            return Ok(());
        }
        let end = Ending::of(&segment, &content, known_end);
        self.view.end = end.next;
        if end.next == base {
            // No frame, so nothing that was acknowledged. The next segment will have the same name.
            return self.remove(path);
        }
        self.end(&segment, path, &end, content.len())?;
        self.view.segments.push(segment);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), OpenError> {
        tracing::info!("{} holds no entry and is removed", path.display());
        Ok(remove(self.disk, path)?)
    }

    /// Cuts off a torn tail and ends the segment with a durable mark, as every segment that is not the last one has.
    fn end(&self, segment: &Segment, path: &Path, end: &Ending, octets: usize) -> Result<(), OpenError> {
        if end.is_marked {
            return Ok(());
        }
        let io = |operation| move |error| IoFault::new(operation, path, error);
        let mut file = self.disk.open(path).map_err(io("open"))?;
        if end.position < octets {
            let (torn, at) = (octets - end.position, end.position);
            let path = path.display();
            tracing::warn!(
                "{path}: a crash tore the last write, which nobody was told of; cut {torn} octets at {at}"
            );
            file.truncate(end.position as u64).map_err(io("truncate"))?;
            file.sync().map_err(io("fsync"))?;
        }
        let mark = frame::mark(&segment.salt, end.next, end.position as u64);
        if let Err(error) = write_all_at(file.as_mut(), &mut [io::IoSlice::new(&mark)], end.position as u64) {
            let fault = io("write")(error);
            if !fault.is_disk_full() {
                return Err(fault.into());
            }
            // A full disk must not keep the broker from serving what it has; the segment is whole without the mark.
            tracing::warn!("{fault}");
            file.truncate(end.position as u64).map_err(io("truncate"))?;
            segment.set_octets(end.position as u64);
        } else {
            segment.set_octets((end.position + mark.len()) as u64);
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

/// How a segment without damage ends.
struct Ending {
    /// The offset after its last entry.
    next: u64,
    /// The position after its last whole frame.
    position: usize,
    /// Whether that is a mark, and the end of the file.
    is_marked: bool,
}

impl Ending {
    fn of(segment: &Segment, content: &[u8], floor: u64) -> Self {
        let mut end = Self { next: segment.base, position: segment::HEADER_OCTETS, is_marked: false };
        for piece in Walk::new(segment, content, floor) {
            if let Piece::Frame(at, header) = piece {
                end.next = header.end();
                end.position = at + usize::try_from(header.frame_octets()).expect("the frame is in memory");
                end.is_marked = header.kind == Kind::Mark && end.position == content.len();
            }
        }
        end
    }
}

/// Whether a file that does not begin with a segment's header is one whose making a crash tore: there is not all of the
/// header, and nothing behind it.
pub(super) fn is_torn_header(content: &[u8]) -> bool {
    content.len() < segment::HEADER_OCTETS || content.iter().all(|&octet| octet == 0)
}

pub(super) fn lack_of(content: &[u8]) -> DamageKind {
    if content.len() < segment::HEADER_OCTETS {
        DamageKind::Truncated
    } else if content[..segment::HEADER_OCTETS].iter().all(|&octet| octet == 0) {
        DamageKind::ZeroFilled
    } else {
        DamageKind::Altered
    }
}

/// The files of a log.
pub(super) struct Files {
    /// The offset that the log begins with.
    pub(super) start: u64,
    /// The newest generation of each segment, by its first offset.
    pub(super) segments: Vec<(u64, PathBuf)>,
    /// What has no place in the log any more.
    pub(super) leftover: Vec<PathBuf>,
}

/// Looks for a log's segments.
pub(super) fn find_segments(dir: &Path, known: &Range<u64>) -> Result<Files, IoFault> {
    let mut newest: BTreeMap<u64, (u32, PathBuf)> = BTreeMap::new();
    let mut leftover = Vec::new();
    let paths = if dir.is_dir() { read_dir(dir)? } else { Vec::new() };
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".new") {
            leftover.push(path);
        } else if let Some((base, generation)) = segment::place_of(name) {
            match newest.entry(base) {
                Entry::Occupied(mut held) if held.get().0 < generation => {
                    leftover.push(held.insert((generation, path)).1);
                }
                Entry::Occupied(_) => leftover.push(path),
                Entry::Vacant(place) => drop(place.insert((generation, path))),
            }
        }
    }
    // A damaged start file is no harm where there are segments: the first one is the start.
    let first = newest.first_key_value().map(|(base, _)| *base);
    let start = read_start(dir)?.or(first).unwrap_or(0).max(known.start);
    let kept = newest.split_off(&start);
    leftover.extend(newest.into_values().map(|(_, path)| path));
    let segments = kept.into_iter().map(|(base, (_, path))| (base, path)).collect();
    Ok(Files { start, segments, leftover })
}
