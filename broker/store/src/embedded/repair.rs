//! Gives up what is damaged in a log, while no broker uses it, so that the log serves the rest and takes appends again. Each
//! damaged segment is written anew with a gap for what is lost: offsets stay, and the gap says under a key of the log that an
//! operator accepted it. The damaged file is kept beside, with `.damaged` behind its name.

use std::path::{Path, PathBuf};

use hilum_core::identity::PrincipalId;
use hilum_core::{LogName, Offset};

use super::disk::{RealDisk, remove, sync_dir};
use super::erase::{Output, Source, payload};
use super::frame::Kind;
use super::keyring::SaveError;
use super::log::LogState;
use super::reader::Keys;
use super::segment::Segment;
use super::tear::{Piece, Walk};
use super::verify::{Part, Stopped};
use super::{OpenError, make_dirs};
use crate::limits::GENERATION_MAX;
use crate::{Corruption, IoFault, MasterKey, ReadError};

/// Offsets that one piece of a log can have lost: more than are appended in a hundred years. A gap frame says so of 2³² at most.
const LOST_OFFSETS_MAX: u64 = 1 << 40;

/// What a repair gave up.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// What was damaged. Where it was not known how many entries were lost, `end` is as many as there was room for.
    pub lost: Vec<Corruption>,
    /// The damaged files, kept for whoever can make more of them.
    pub kept: Vec<PathBuf>,
}

/// Why a log was not repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A file says that more is lost than can have been there.
    #[error(
        "log `{log}` would lose offsets {first} to {end}, more than it can have held, because {} says so: move that file out of the \
         store if it does not belong to the log, then repair again", path.display()
    )]
    TooFar {
        /// The log.
        log: LogName,
        /// The first offset that would be lost.
        first: Offset,
        /// The first after it that would not.
        end: Offset,
        /// The file.
        path: PathBuf,
    },
    /// A file says that it was written anew as often as no segment was, so that there is no generation after it.
    #[error(
        "log `{log}` cannot be repaired because {} says that it was written anew {GENERATION_MAX} times: move that file out of \
         the store, then repair again", path.display()
    )]
    TooOften {
        /// The log.
        log: LogName,
        /// The file.
        path: PathBuf,
    },
}

impl From<IoFault> for RepairError {
    fn from(fault: IoFault) -> Self {
        Self::Open(fault.into())
    }
}

/// Gives up what is damaged in one log of the store in a directory, under a key of `broker`'s where the log has none. The
/// store must not be open. Nothing is changed where nothing is damaged.
pub fn repair(
    dir: &Path,
    key: &MasterKey,
    log: &LogName,
    broker: &PrincipalId,
) -> Result<Repaired, RepairError> {
    let stopped = Stopped::open(dir, key)?;
    let state = stopped.state(log);
    let parts = stopped.parts(log, &mut |_| {})?;
    let damaged: Vec<&Part> = parts.iter().filter(|part| !part.losses.is_empty()).collect();
    let mut repaired = Repaired { lost: Vec::new(), kept: Vec::new() };
    if damaged.is_empty() {
        return Ok(repaired);
    }
    let is_too_long = |part: &&&Part| part.offsets.end.saturating_sub(part.offsets.start) > LOST_OFFSETS_MAX;
    if let Some(part) = damaged.iter().find(is_too_long) {
        let (first, end) = (part.offsets.start, part.offsets.end);
        let next = parts.iter().find(|next| next.offsets.start == end);
        let path = next.and_then(|next| next.path.as_ref()).or(part.path.as_ref());
        let path = path.cloned().unwrap_or_else(|| dir.join("ends"));
        return Err(RepairError::TooFar { log: log.clone(), first: Offset(first), end: Offset(end), path });
    }
    let is_too_often = |part: &&&Part| part.generation() >= GENERATION_MAX && !part.is_misplaced;
    if let Some(path) = damaged.iter().find(is_too_often).and_then(|part| part.path.clone()) {
        return Err(RepairError::TooOften { log: log.clone(), path });
    }
    make_dirs(&state.dir)?;
    sync_dir(&RealDisk, state.dir.parent().unwrap_or(&state.dir))?;
    let key_id = match stopped.keyring.any_of(log) {
        Some(key) => key.id,
        None => stopped.keyring.of(log, broker)?.id,
    };
    stopped.keyring.save().map_err(|(SaveError::DiskFull(fault) | SaveError::Failed(fault))| fault)?;
    for part in damaged {
        let repair = Repair { stopped: &stopped, log: &state, part, key_id };
        repaired.kept.extend(repair.run()?);
        let end = Some(Offset(part.offsets.end));
        let known = |lost: Corruption| Corruption { end: lost.end.or(end), ..lost };
        repaired.lost.extend(part.damage(log).map(known));
    }
    Ok(repaired)
}

struct Repair<'a> {
    stopped: &'a Stopped,
    log: &'a LogState,
    part: &'a Part,
    /// The data key of gaps.
    key_id: u32,
}

impl Repair<'_> {
    /// Writes the segment anew; the damaged file, if there is one.
    fn run(&self) -> Result<Option<PathBuf>, RepairError> {
        let keyring = &self.stopped.keyring;
        let (base, end) = (self.part.offsets.start, self.part.offsets.end);
        let Some(path) = &self.part.path else {
            let mut output = Output::begin(self.log, keyring, &RealDisk, base, 0)?;
            output.gap(Kind::Lost, base, end, self.key_id)?;
            output.finish(&RealDisk, end)?;
            return Ok(None);
        };
        let kept = keep(path)?;
        sync_dir(&RealDisk, &self.log.dir)?;
        if self.part.is_misplaced {
            remove(&RealDisk, path)?;
            sync_dir(&RealDisk, &self.log.dir)?;
            return Ok(Some(kept));
        }
        let content = std::fs::read(path).map_err(|error| IoFault::new("read", path, error))?;
        let mut output = Output::begin(self.log, keyring, &RealDisk, base, self.part.generation() + 1)?;
        match Segment::parse(path, &self.log.name, &content) {
            Ok(segment) => self.salvage(&segment, &content, &mut output)?,
            Err(_) => output.gap(Kind::Lost, base, end, self.key_id)?,
        }
        output.finish(&RealDisk, end)?;
        remove(&RealDisk, path)?;
        sync_dir(&RealDisk, &self.log.dir)?;
        Ok(Some(kept))
    }

    fn salvage(&self, segment: &Segment, content: &[u8], output: &mut Output<'_>) -> Result<(), ReadError> {
        let (keyring, end) = (&self.stopped.keyring, self.part.offsets.end);
        let source = Source { log: self.log, keyring, segment, end };
        let mut keys = Keys { keyring, log: self.log, segment, derived: Vec::new() };
        let mut next = segment.base;
        for piece in Walk::new(segment, content, end) {
            match piece {
                Piece::Frame(at, header) => {
                    let payload = payload(content, at, &header);
                    source.copy_frame(&header, payload, &mut keys, &|_| false, output, Some(self.key_id))?;
                    next = header.end();
                }
                Piece::Damage(found) if found.is_harmless() => {}
                Piece::Damage(found) => {
                    next = found.end.unwrap_or(end);
                    output.gap(Kind::Lost, found.first, next, self.key_id)?;
                }
                Piece::Torn(_) => break,
            }
        }
        if next < end {
            output.gap(Kind::Lost, next, end, self.key_id)?;
        }
        Ok(())
    }
}

/// Gives a file another name beside its own, which no earlier repair used.
fn keep(path: &Path) -> Result<PathBuf, IoFault> {
    for number in 1_u32.. {
        let suffix = if number == 1 { "damaged".to_owned() } else { format!("damaged-{number}") };
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        let kept = PathBuf::from(name);
        match std::fs::hard_link(path, &kept) {
            Ok(()) => return Ok(kept),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(IoFault::new("keep a copy of", path, error)),
        }
    }
    unreachable!("a directory has fewer files than there are numbers")
}
