//! What the store asks of a file system when it writes, as a trait, so that tests can put a faulty one in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::IoFault;

/// Slices that one `pwritev` takes (`IOV_MAX` of Linux).
const SLICES_MAX: usize = 1024;

/// Makes and syncs files.
pub(super) trait Disk: Send + Sync + 'static {
    /// Makes a file that must not exist yet, readable by its owner only.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to write into it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of the one that has it now.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file being written.
pub(super) trait DiskFile: Send {
    /// Writes some of the slices at a position, like `pwritev`; how many octets.
    fn write_at(&mut self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Makes what was written durable, like `fdatasync`.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&mut self, octets: u64) -> io::Result<()>;
    /// The same open file once more, for another thread.
    fn duplicate(&self) -> io::Result<Box<dyn DiskFile>>;
}

/// Writes all of the slices.
pub(super) fn write_all_at(
    file: &mut dyn DiskFile,
    mut slices: &mut [IoSlice<'_>],
    mut position: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let batch = &slices[..slices.len().min(SLICES_MAX)];
        match file.write_at(batch, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Deletes a file, if it is there.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), IoFault> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IoFault::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), IoFault> {
    disk.sync_dir(dir).map_err(|error| IoFault::new("fsync", dir, error))
}

/// Puts a small file in the place of another, so that at any time one of them is there whole.
pub(super) fn replace(disk: &dyn Disk, path: &Path, octets: &[u8]) -> Result<(), IoFault> {
    let new = new_name(path);
    let io = |operation| move |error| IoFault::new(operation, path, error);
    remove(disk, &new)?;
    let written = disk.create(&new).and_then(|mut file| {
        write_all_at(file.as_mut(), &mut [IoSlice::new(octets)], 0)?;
        file.sync()
    });
    if let Err(error) = written {
        // What is left of it would be removed the next time.
        let _ = disk.remove(&new);
        return Err(IoFault::new("write", &new, error));
    }
    disk.rename(&new, path).map_err(io("replace"))?;
    sync_dir(disk, path.parent().unwrap_or(path))
}

/// What a file is called until it takes the place of the one at `path`.
pub(super) fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The file system of the operating system.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if let [one] = slices {
            return self.0.write_at(one, position);
        }
        Ok(rustix::io::pwritev(&self.0, slices, position)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, octets: u64) -> io::Result<()> {
        self.0.set_len(octets)
    }

    fn duplicate(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(self.0.try_clone()?)))
    }
}
