//! Gives whole segments back to the disk. The new start is durable before the first file goes, so that a segment missing
//! at open is either before the start, or lost.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, write_all_at};
use super::frame::{u32_at, u64_at};
use super::log::LogState;
use super::segment::Segment;
use crate::{IoFault, ReadError};

const START_FILE: &str = "start";
const START_OCTETS: usize = 12;

/// Deletes the segments whose entries are all before `before`; never the last one.
pub(super) fn trim(log: &LogState, disk: &dyn Disk, before: u64) -> Result<(), ReadError> {
    let _alone = log.trimming.lock();
    let (gone, start) = {
        let view = log.view.read();
        let spent = view.segments.windows(2).take_while(|pair| pair[1].base <= before).count();
        let gone: Vec<Arc<Segment>> = view.segments[..spent].to_vec();
        (gone, view.segments.get(spent).map_or(view.end, |segment| segment.base))
    };
    if gone.is_empty() {
        return Ok(());
    }
    write_start(disk, &log.dir, start)?;
    log.view.write().segments.drain(..gone.len());
    for segment in gone {
        remove(&segment.path)?;
    }
    disk.sync_dir(&log.dir).map_err(|error| IoFault::new("fsync", &log.dir, error))?;
    Ok(())
}

/// Deletes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), IoFault> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IoFault::new("remove", path, error)),
        _ => Ok(()),
    }
}

fn write_start(disk: &dyn Disk, dir: &Path, start: u64) -> Result<(), IoFault> {
    let (path, new) = (dir.join(START_FILE), dir.join("start.new"));
    let mut octets = start.to_le_bytes().to_vec();
    octets.extend(crc32c::crc32c(&octets).to_le_bytes());
    remove(&new)?;
    let io = |operation| move |error| IoFault::new(operation, &dir.join("start.new"), error);
    let mut file = disk.create(&new).map_err(io("create"))?;
    write_all_at(file.as_mut(), &mut [IoSlice::new(&octets)], 0).map_err(io("write"))?;
    file.sync().map_err(io("fsync"))?;
    std::fs::rename(&new, &path).map_err(io("rename"))?;
    disk.sync_dir(dir).map_err(|error| IoFault::new("fsync", dir, error))
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
