//! Gives whole segments back to the disk. The new start is durable before the first file goes, so that a segment missing
//! at open is either before the start, or lost.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, remove, replace, sync_dir};
use super::frame::{u32_at, u64_at};
use super::log::LogState;
use super::segment::Segment;
use super::writer::Writer;
use crate::{IoFault, ReadError};

const START_FILE: &str = "start";
const START_OCTETS: usize = 12;

/// Deletes the segments whose entries are all before `before`.
pub(super) fn trim(
    log: &Arc<LogState>,
    disk: &dyn Disk,
    writer: &Writer,
    before: u64,
) -> Result<(), ReadError> {
    let _alone = log.trimming.lock();
    if before >= log.view.read().end {
        // The last segment goes too, so nothing more may be written into it.
        log.roll(writer)?;
    }
    let (gone, start) = {
        let (view, active) = (log.view.read(), log.active());
        let end_of = |number: usize| view.segments.get(number + 1).map_or(view.end, |next| next.base);
        let is_spent = |number: &usize| {
            let is_active =
                active.as_ref().is_some_and(|active| Arc::ptr_eq(active, &view.segments[*number]));
            end_of(*number) <= before && !is_active
        };
        let spent = (0..view.segments.len()).take_while(is_spent).count();
        let gone: Vec<Arc<Segment>> = view.segments[..spent].to_vec();
        (gone, view.segments.get(spent).map_or(view.end, |segment| segment.base))
    };
    if gone.is_empty() {
        return Ok(());
    }
    write_start(disk, &log.dir, start)?;
    log.view.write().segments.drain(..gone.len());
    for segment in gone {
        remove(disk, &segment.path)?;
    }
    Ok(sync_dir(disk, &log.dir)?)
}

pub(super) fn write_start(disk: &dyn Disk, dir: &Path, start: u64) -> Result<(), IoFault> {
    let mut octets = start.to_le_bytes().to_vec();
    octets.extend(crc32c::crc32c(&octets).to_le_bytes());
    replace(disk, &dir.join(START_FILE), &octets)
}

/// The offset that a log was trimmed to: 0 if it never was, none where the file is damaged.
pub(super) fn read_start(dir: &Path) -> Result<Option<u64>, IoFault> {
    let path = dir.join(START_FILE);
    match std::fs::read(&path) {
        Ok(octets) => {
            let whole = octets.len() == START_OCTETS && u32_at(&octets, 8) == crc32c::crc32c(&octets[..8]);
            Ok(whole.then(|| u64_at(&octets, 0)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(0)),
        Err(error) => Err(IoFault::new("read", &path, error)),
    }
}
