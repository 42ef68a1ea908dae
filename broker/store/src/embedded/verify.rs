//! Reads logs through, while no broker uses them: every checksum and every seal. Changes nothing.

use std::ops::Range;
use std::path::{Path, PathBuf};

use hilum_core::{LogName, Offset};

use super::disk::RealDisk;
use super::ends::{self, Ends};
use super::erase::{Opened, open_frame, payload};
use super::frame::{Kind, ROW_OCTETS, TAG_OCTETS};
use super::keyring::{Keyring, Opening};
use super::log::{LogState, View};
use super::reader::Keys;
use super::segment::{self, Segment};
use super::tear::{Piece, Walk};
use super::{OpenError, recovery};
use crate::{Corruption, DamageKind, IoFault, MasterKey};

/// What one log is found to be.
#[derive(Debug, Clone)]
pub struct LogReport {
    /// Its name.
    pub log: LogName,
    /// Entries that can be read.
    pub entries: u64,
    /// Octets of its files.
    pub octets: u64,
    /// The first offset, and the one after the last.
    pub offsets: Range<u64>,
    /// Offsets whose entries were erased.
    pub erased: u64,
    /// Offsets whose entries were given up by an earlier repair.
    pub given_up: u64,
    /// Octets of a write that a crash tore, which the next start cuts off. Nobody was told that they were durable.
    pub torn_octets: u64,
    /// Everything that is not as it was written. The last end may be missing: how many entries were there is not known.
    pub damage: Vec<Corruption>,
}

/// How far the reading is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The log being read.
    pub log: &'a LogName,
    /// Octets read so far, of all logs.
    pub octets_done: u64,
    /// Octets in all.
    pub octets: u64,
}

/// Reads the logs of the store in a directory, or one of them. The store must not be open.
pub fn verify(
    dir: &Path,
    key: &MasterKey,
    only: Option<&LogName>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<LogReport>, OpenError> {
    let stopped = Stopped::open(dir, key)?;
    let names: Vec<LogName> =
        stopped.names()?.into_iter().filter(|name| only.is_none_or(|only| only == name)).collect();
    let mut octets = 0;
    for name in &names {
        octets += stopped.octets(name)?;
    }
    let (mut reports, mut octets_done) = (Vec::new(), 0);
    for log in &names {
        let parts = stopped.parts(log, &mut |read| {
            octets_done += read;
            progress(Progress { log, octets_done, octets });
        })?;
        reports.push(report(log, &parts));
    }
    Ok(reports)
}

/// The logs of a store that no broker uses.
pub(super) struct Stopped {
    pub(super) dir: PathBuf,
    pub(super) keyring: Keyring,
    ends: Ends,
    _lock: std::fs::File,
}

impl Stopped {
    pub(super) fn open(dir: &Path, key: &MasterKey) -> Result<Self, OpenError> {
        // An empty directory must not become a store by being looked at.
        if !dir.join("log").is_dir() {
            let error = std::io::Error::other("it is not the directory of a store: it has no `log`");
            return Err(IoFault::new("open", dir, error).into());
        }
        let lock = super::lock(dir)?;
        let keyring = Keyring::open(&RealDisk, &dir.join("keys"), key, Opening::Untouched)?;
        Ok(Self { dir: dir.to_owned(), keyring, ends: ends::read(&dir.join("ends"))?, _lock: lock })
    }

    fn names(&self) -> Result<Vec<LogName>, IoFault> {
        let name = |path: &PathBuf| recovery::log_name(path.file_name()?.to_str()?);
        let mut names: Vec<LogName> =
            recovery::read_dir(&self.dir.join("log"))?.iter().filter_map(name).collect();
        names.extend(self.ends.keys().cloned());
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(super) fn state(&self, log: &LogName) -> LogState {
        LogState::new(log.clone(), self.dir.join("log").join(log.to_string()), View::default())
    }

    pub(super) fn known(&self, log: &LogName) -> Range<u64> {
        self.ends.get(log).cloned().unwrap_or(0..0)
    }

    fn octets(&self, log: &LogName) -> Result<u64, IoFault> {
        let files = recovery::find_segments(&self.state(log).dir, &self.known(log))?;
        let size = |(_, path): &(u64, PathBuf)| {
            std::fs::metadata(path)
                .map(|file| file.len())
                .map_err(|error| IoFault::new("measure", path, error))
        };
        files.segments.iter().map(size).sum()
    }

    /// What the log is made of, from its start to its end.
    pub(super) fn parts(&self, log: &LogName, read: &mut dyn FnMut(u64)) -> Result<Vec<Part>, OpenError> {
        let (state, known) = (self.state(log), self.known(log));
        let files = recovery::find_segments(&state.dir, &known)?;
        let (mut parts, mut end) = (Vec::new(), files.start);
        for (number, (base, path)) in files.segments.iter().enumerate() {
            if *base < end {
                let part = Part::misplaced(path, end)?;
                read(part.octets);
                parts.push(part);
                continue;
            }
            if *base > end {
                parts.push(Part::missing(end..*base));
            }
            let next = files.segments.get(number + 1).map(|(next, _)| *next);
            let part = self.part(&state, *base, path, next, known.end)?;
            read(part.octets);
            end = part.offsets.end;
            parts.push(part);
        }
        if end < known.end {
            parts.push(Part::missing(end..known.end));
        }
        Ok(parts)
    }

    fn part(
        &self,
        log: &LogState,
        base: u64,
        path: &Path,
        next: Option<u64>,
        known_end: u64,
    ) -> Result<Part, OpenError> {
        let content = std::fs::read(path).map_err(|error| IoFault::new("read", path, error))?;
        let mut part = Part { path: Some(path.to_owned()), octets: content.len() as u64, ..Part::default() };
        // At least as much as there was room for.
        let room = |from: usize| (content.len().saturating_sub(from) / (ROW_OCTETS + TAG_OCTETS)) as u64;
        part.offsets = base..base;
        let segment = match Segment::parse(path, &log.name, &content) {
            Ok(segment) => segment,
            Err(_) if next.is_none() && known_end <= base && recovery::is_torn_header(&content) => {
                part.torn_octets = part.octets;
                return Ok(part);
            }
            Err(_) => {
                let end = next.or((known_end > base).then_some(known_end));
                part.lose(recovery::lack_of(&content), base, end, 0);
                part.offsets.end = end.unwrap_or(base + room(0));
                return Ok(part);
            }
        };
        let mut keys = Keys { keyring: &self.keyring, log, segment: &segment, derived: Vec::new() };
        for piece in Walk::new(&segment, &content, next.unwrap_or(known_end)) {
            match piece {
                Piece::Frame(at, header) => {
                    let opened = open_frame(&header, payload(&content, at, &header), &mut keys);
                    let bad = || vec![Opened::Bad(header.first..header.end(), DamageKind::NotAuthentic)];
                    opened.unwrap_or_else(bad).into_iter().for_each(|opened| part.count(opened, at));
                    part.offsets.end = header.end();
                }
                Piece::Damage(found) if found.is_harmless() => {}
                Piece::Damage(found) => {
                    part.lose(found.kind, found.first, found.end, found.position);
                    part.offsets.end = found.end.unwrap_or(found.first + room(found.position));
                }
                Piece::Torn(at) => part.torn_octets = (content.len() - at) as u64,
            }
        }
        Ok(part)
    }
}

/// A segment of a log, or one that should be there.
#[derive(Default)]
pub(super) struct Part {
    /// None where it is missing.
    pub(super) path: Option<PathBuf>,
    pub(super) octets: u64,
    pub(super) offsets: Range<u64>,
    entries: u64,
    erased: u64,
    given_up: u64,
    torn_octets: u64,
    /// It lies where another file is: what is in it has no place.
    pub(super) is_misplaced: bool,
    /// Kind, first offset, end if known, position.
    pub(super) losses: Vec<(DamageKind, u64, Option<u64>, usize)>,
}

impl Part {
    fn missing(offsets: Range<u64>) -> Self {
        let losses = vec![(DamageKind::Missing, offsets.start, Some(offsets.end), 0)];
        Self { offsets, losses, ..Self::default() }
    }

    /// A file that says that it begins before `end`, where another one ends.
    fn misplaced(path: &Path, end: u64) -> Result<Self, IoFault> {
        let octets = std::fs::metadata(path).map_err(|error| IoFault::new("look at", path, error))?.len();
        let losses = vec![(DamageKind::Reordered, end, None, 0)];
        let path = Some(path.to_owned());
        Ok(Self { path, octets, offsets: end..end, losses, is_misplaced: true, ..Self::default() })
    }

    /// Adds a loss; entries side by side in one frame make one.
    fn lose(&mut self, kind: DamageKind, first: u64, end: Option<u64>, at: usize) {
        match self.losses.last_mut() {
            Some((same, _, so_far @ Some(_), place))
                if *same == kind && *so_far == Some(first) && *place == at =>
            {
                *so_far = end;
            }
            _ => self.losses.push((kind, first, end, at)),
        }
    }

    fn count(&mut self, opened: Opened, at: usize) {
        match opened {
            Opened::Entry(..) => self.entries += 1,
            Opened::Gap(Kind::Lost, range, _) => self.given_up += range.end - range.start,
            Opened::Gap(_, range, _) => self.erased += range.end - range.start,
            Opened::Bad(range, kind) => self.lose(kind, range.start, Some(range.end), at),
        }
    }

    pub(super) fn damage(&self, log: &LogName) -> impl Iterator<Item = Corruption> {
        let place = self.path.as_ref().map(|path| path.display().to_string());
        self.losses.iter().map(move |&(kind, first, end, at)| Corruption {
            log: log.clone(),
            kind,
            first: Offset(first),
            end: end.map(Offset),
            what: place
                .as_ref()
                .map_or("no segment for it".into(), |path| format!("at octet {at} of {path}").into()),
        })
    }

    /// How often the segment's file was written anew, by its name.
    pub(super) fn generation(&self) -> u32 {
        let name = self.path.as_ref().and_then(|path| path.file_name()?.to_str());
        name.and_then(segment::place_of).map_or(0, |(_, generation)| generation)
    }
}

fn report(log: &LogName, parts: &[Part]) -> LogReport {
    let sum = |of: fn(&Part) -> u64| parts.iter().map(of).sum();
    let start = parts.first().map_or(0, |part| part.offsets.start);
    LogReport {
        log: log.clone(),
        entries: sum(|part| part.entries),
        octets: sum(|part| part.octets),
        offsets: start..parts.last().map_or(start, |part| part.offsets.end),
        erased: sum(|part| part.erased),
        given_up: sum(|part| part.given_up),
        torn_octets: sum(|part| part.torn_octets),
        damage: parts.iter().flat_map(|part| part.damage(log)).collect(),
    }
}
