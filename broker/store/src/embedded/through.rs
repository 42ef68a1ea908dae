//! Opens the logs of a store as a start does and reads one through, without the metadata, which takes its time: for tests of
//! what a start makes of changed files.

use std::path::Path;

use hilum_core::LogName;

use super::disk::RealDisk;
use super::keyring::{Keyring, Opening};
use super::log::{LogState, View};
use super::{OpenError, ends, lock, reader, recovery};
use crate::limits::{APPEND_OCTETS_MAX, SEGMENT_OCTETS};
use crate::{LogEntry, MasterKey, ReadError};

/// The entries that the log serves, and what ends the reading before its end. The store must not be open.
#[doc(hidden)]
pub fn read_through(
    dir: &Path,
    key: &MasterKey,
    name: &LogName,
) -> Result<(Vec<LogEntry>, Option<ReadError>), OpenError> {
    let _lock = lock(dir)?;
    let keyring = Keyring::open(&RealDisk, &dir.join("keys"), key, Opening::Existing)?;
    let known = ends::read(&dir.join("ends"))?;
    let logs = recovery::open_logs(&RealDisk, &dir.join("log"), SEGMENT_OCTETS, &known)?;
    let found = logs.into_iter().find(|log| log.name == *name);
    let log = found.unwrap_or_else(|| LogState::new(name.clone(), dir.join("log"), View::default()));
    let (mut entries, mut next): (Vec<LogEntry>, u64) = (Vec::new(), 0);
    loop {
        match reader::read(&log, &keyring, next, APPEND_OCTETS_MAX) {
            Ok(more) if more.is_empty() => return Ok((entries, None)),
            Ok(more) => {
                next = more.last().map_or(next, |entry| entry.offset.0 + 1);
                entries.extend(more);
            }
            Err(error) => return Ok((entries, Some(error))),
        }
    }
}
