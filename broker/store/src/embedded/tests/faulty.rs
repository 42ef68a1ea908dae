//! A disk that fails on demand, over the real one.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use parking_lot::Mutex;

use crate::embedded::disk::{Disk, DiskFile, RealDisk};

/// What goes wrong.
#[derive(Default)]
pub(super) struct Plan {
    /// Octets that may still be written before the disk is full.
    pub(super) room: Option<u64>,
    /// Writes fail with an input/output error.
    pub(super) writes_fail: bool,
    /// Syncs of files fail.
    pub(super) syncs_fail: bool,
    /// Truncations fail.
    pub(super) truncates_fail: bool,
    /// Syncs of files whose path has this in it do not come back.
    pub(super) stalled: Option<&'static str>,
    /// Syncs of files so far.
    pub(super) syncs: u32,
}

#[derive(Clone, Default)]
pub(super) struct FaultyDisk(pub(super) Arc<Mutex<Plan>>);

struct FaultyFile {
    path: PathBuf,
    plan: Arc<Mutex<Plan>>,
    file: Box<dyn DiskFile>,
}

impl FaultyDisk {
    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { path: path.to_owned(), plan: self.0.clone(), file })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(path, RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(path, RealDisk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
}

fn failed() -> io::Error {
    io::Error::other("injected")
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut plan = self.plan.lock();
        if plan.writes_fail {
            return Err(failed());
        }
        let Some(room) = &mut plan.room else { return self.file.write_at(slices, position) };
        let mut octets: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        octets.truncate(usize::try_from(*room).unwrap());
        if octets.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.file.write_at(&[IoSlice::new(&octets)], position)?;
        *room -= written as u64;
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        let path = self.path.to_string_lossy();
        while self.plan.lock().stalled.is_some_and(|stalled| path.contains(stalled)) {
            sleep(Duration::from_millis(1));
        }
        let mut plan = self.plan.lock();
        plan.syncs += 1;
        if plan.syncs_fail { Err(failed()) } else { self.file.sync() }
    }

    fn truncate(&mut self, octets: u64) -> io::Result<()> {
        if self.plan.lock().truncates_fail { Err(failed()) } else { self.file.truncate(octets) }
    }

    fn duplicate(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile {
            path: self.path.clone(),
            plan: self.plan.clone(),
            file: self.file.duplicate()?,
        }))
    }
}
