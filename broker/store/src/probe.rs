//! The raw rate of a disk, to stand beside the broker's own.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::IoFault;
use crate::embedded::remove_file;

/// Records between two fsyncs.
pub const RECORDS_PER_SYNC: usize = 256;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskRate {
    /// Records written.
    pub records: usize,
    /// Octets of each.
    pub record_octets: usize,
    /// From the first write to the end of the last fsync.
    pub elapsed: Duration,
}

impl DiskRate {
    /// Durable records in a second.
    #[must_use]
    pub fn records_per_second(&self) -> f64 {
        let records = u32::try_from(self.records).unwrap_or(u32::MAX);
        f64::from(records) / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Writes records to a new file in `dir` with one `write` and one `fdatasync` for every [`RECORDS_PER_SYNC`], one after
/// the other, and removes the file. Blocks until done.
pub fn raw_disk_rate(dir: &Path, record_octets: usize, records: usize) -> Result<DiskRate, IoFault> {
    let path = dir.join(format!("probe-{}", std::process::id()));
    let measured = measure(&path, record_octets, records);
    let removed = remove_file(&path);
    let elapsed = measured?;
    removed?;
    Ok(DiskRate { records, record_octets, elapsed })
}

fn measure(path: &Path, record_octets: usize, records: usize) -> Result<Duration, IoFault> {
    let fault = |operation| move |error| IoFault::new(operation, path, error);
    let mut file = File::create_new(path).map_err(fault("create"))?;
    let group = vec![0xa5; record_octets * RECORDS_PER_SYNC.min(records)];
    let start = Instant::now();
    let mut left = records;
    while left > 0 {
        let now = left.min(RECORDS_PER_SYNC);
        file.write_all(&group[..now * record_octets]).map_err(fault("write"))?;
        file.sync_data().map_err(fault("fsync"))?;
        left -= now;
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let rate = raw_disk_rate(dir.path(), 100, 600).unwrap();
        assert_eq!((rate.records, rate.record_octets), (600, 100));
        assert!(rate.elapsed > Duration::ZERO && rate.records_per_second() > 0.0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = raw_disk_rate(&dir.path().join("none"), 1, 1).unwrap_err();
        assert!(missing.to_string().contains("cannot create"), "{missing}");
    }
}
