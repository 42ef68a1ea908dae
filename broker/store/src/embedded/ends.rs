//! How far each log was durable when the store was last opened or closed, in one small file. What is missing before such
//! an end was not torn by a crash: it is lost, be it a part of a file, a file, or a whole log.
//!
//! Magic `HILUMEND`, a version, the entries in postcard, CRC32C of all before. The file only adds to what the logs say of
//! themselves, so a damaged one is left out with a warning.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use hilum_core::LogName;

use super::disk::{Disk, replace};
use super::frame::u32_at;
use crate::IoFault;

const MAGIC: [u8; 8] = *b"HILUMEND";
const VERSION: u32 = 1;
const HEADER_OCTETS: usize = 12;

/// First and last offset of each log.
pub(super) type Ends = HashMap<LogName, Range<u64>>;

/// What the file says; nothing where there is none.
pub(super) fn read(path: &Path) -> Result<Ends, IoFault> {
    let octets = match std::fs::read(path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ends::new()),
        Err(error) => return Err(IoFault::new("read", path, error)),
    };
    Ok(decode(&octets).unwrap_or_else(|| {
        tracing::warn!("{} is damaged and is left out: the ends of logs are taken as found", path.display());
        Ends::new()
    }))
}

fn decode(octets: &[u8]) -> Option<Ends> {
    let (content, crc) = octets.split_last_chunk::<4>()?;
    let is_whole = content.len() >= HEADER_OCTETS
        && content[..8] == MAGIC
        && u32_at(content, 8) == VERSION
        && u32::from_le_bytes(*crc) == crc32c::crc32c(content);
    let ends: Vec<(LogName, u64, u64)> = postcard::from_bytes(content.get(HEADER_OCTETS..)?).ok()?;
    is_whole.then(|| ends.into_iter().map(|(log, start, end)| (log, start..end)).collect())
}

/// Replaces the file.
pub(super) fn write(disk: &dyn Disk, path: &Path, ends: &Ends) -> Result<(), IoFault> {
    let mut ends: Vec<(&LogName, u64, u64)> =
        ends.iter().map(|(log, range)| (log, range.start, range.end)).collect();
    ends.sort();
    let mut octets = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    octets.extend(postcard::to_allocvec(&ends).expect("plain data encodes into memory"));
    octets.extend(crc32c::crc32c(&octets).to_le_bytes());
    replace(disk, path, &octets)
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;

    #[test]
    fn comes_back_and_any_change_leaves_it_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ends");
        assert_eq!(read(&path).unwrap(), Ends::new());
        let ends = Ends::from([(LogName::Audit, 3..9), (LogName::Flow("a".parse().unwrap()), 0..1)]);
        write(&RealDisk, &path, &ends).unwrap();
        assert_eq!(read(&path).unwrap(), ends);
        let octets = std::fs::read(&path).unwrap();
        for at in 0..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 4;
            assert_eq!(decode(&changed), None, "{at}");
            assert_eq!(decode(&octets[..at]), None, "{at}");
        }
    }
}
