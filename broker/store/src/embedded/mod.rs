//! The store on local disk: own segment files for logs, files for large bodies, sled for metadata.
//!
//! ```text
//! DIR/lock                    held while a broker uses DIR
//! DIR/keys                    wrapped data keys                                keyring
//! DIR/ends                    how far each log is known to be durable          ends
//! DIR/log/<log>/<offset>.seg  frames of sealed entries                         frame, segment, writer, reader, recovery, tear,
//!                                                                              trim, erase
//! DIR/blobs/{incoming,staged,committed}/<id>   sealed chunks                   blobs
//! DIR/meta                    sled: may be lost                                meta
//! ```
//!
//! Everything but file names, offsets, sizes and the keys of the metadata is encrypted with AES-256-GCM. All files and
//! directories are readable by their owner only.

mod blobs;
mod disk;
mod ends;
mod erase;
mod frame;
mod keyring;
mod log;
mod meta;
mod pool;
mod reader;
mod recovery;
mod repair;
mod rotation;
mod segment;
mod tear;
#[cfg(test)]
mod tests;
mod through;
mod trim;
mod verify;
mod writer;

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};

use self::blobs::FileBlobs;
use self::disk::{Disk, RealDisk};
use self::keyring::{Keyring, Opening};
use self::log::SegmentLog;
use self::meta::SledMeta;
use self::pool::Pool;
use self::writer::Writer;
use crate::limits::{BLOB_SYNC_THREADS, BLOB_THREADS, IO_THREADS, META_CACHE_OCTETS, SEGMENT_OCTETS};
use crate::{Blobs, IoFault, Log, MasterKey, Meta};

pub(crate) use self::log::measure;
pub(crate) use self::meta::check_key_and_value;
pub use self::recovery::log_name;
pub use self::repair::{RepairError, Repaired, repair};
pub use self::rotation::{RotateError, rotate, settle};
#[doc(hidden)]
pub use self::through::read_through;
pub use self::verify::{LogReport, Progress, verify};

/// What may be tuned.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Octets of a segment file, after which a log goes on in a new one. [`SEGMENT_OCTETS`] unless set.
    pub segment_octets: u64,
    /// Threads that read logs and metadata. [`IO_THREADS`] unless set.
    pub io_threads: usize,
    /// Octets of memory for sled's cache. [`META_CACHE_OCTETS`] unless set.
    pub meta_cache_octets: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_octets: SEGMENT_OCTETS, io_threads: IO_THREADS, meta_cache_octets: META_CACHE_OCTETS }
    }
}

/// Why a directory is not opened as a store. A damaged log is no reason: it opens, and says so when it is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another broker uses the directory.
    #[error("{} is in use by another broker; stop it first, or name another directory", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The key-encryption key is not the one that the store was made with.
    #[error("the key-encryption key does not open {}; use the key that this store was made with", path.display())]
    WrongKey {
        /// The keys file.
        path: PathBuf,
    },
    /// There are encrypted records, and no keys for them.
    #[error("{} is missing, and what is stored beside it cannot be read without it; restore it from a backup", path.display())]
    KeysMissing {
        /// The keys file.
        path: PathBuf,
    },
    /// The keys file is not as it was written.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    KeysDamaged {
        /// The keys file.
        path: PathBuf,
        /// What was found, and where.
        what: String,
    },
    /// Made by a newer Hilum.
    #[error("{} has format version {found}, this build reads {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version of this build.
        known: u32,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// A store on local disk. It ends with [`Store::close`] or when dropped; its parts then refuse everything.
pub struct Store {
    log: Arc<SegmentLog>,
    blobs: Arc<FileBlobs>,
    meta: Arc<SledMeta>,
    pool: Arc<Pool>,
    blob_pool: Arc<Pool>,
    blob_sync_pool: Arc<Pool>,
    lock: Mutex<Option<File>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.log.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a directory, or makes one where there is none. Reads the last segment of each log and cuts off
    /// what a crash tore, so it blocks for as long as that takes.
    // The key is taken by value so that the caller keeps no copy that outlives it.
    #[allow(clippy::needless_pass_by_value)]
    pub fn open(dir: &Path, key: MasterKey, settings: Settings) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(RealDisk), dir, &key, &settings)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        key: &MasterKey,
        settings: &Settings,
    ) -> Result<Self, OpenError> {
        make_dirs(dir)?;
        let lock = lock(dir)?;
        let (log_dir, blobs_dir) = (dir.join("log"), dir.join("blobs"));
        make_dirs(&log_dir)?;
        blobs::make_dirs(disk.as_ref(), &blobs_dir)?;
        disk.sync_dir(dir).map_err(|error| IoFault::new("fsync", dir, error))?;
        let is_new = is_empty(&log_dir)? && blobs::is_empty(&blobs_dir)?;
        let opening = if is_new { Opening::MayCreate } else { Opening::Existing };
        let keyring = Arc::new(Keyring::open(disk.as_ref(), &dir.join("keys"), key, opening)?);
        let known = ends::read(&dir.join("ends"))?;
        let logs = recovery::open_logs(disk.as_ref(), &log_dir, settings.segment_octets, &known)?;
        let logs: HashMap<_, _> = logs.into_iter().map(|log| (log.name.clone(), Arc::new(log))).collect();
        let start = |error| IoFault::new("start threads for", dir, error);
        let pool = Arc::new(Pool::start(settings.io_threads).map_err(start)?);
        let blob_pool = Arc::new(Pool::start(BLOB_THREADS).map_err(start)?);
        let blob_sync_pool = Arc::new(Pool::start(BLOB_SYNC_THREADS).map_err(start)?);
        let writer = Arc::new(Writer::start(disk.clone(), keyring.clone()).map_err(start)?);
        let log = Arc::new(SegmentLog {
            dir: log_dir,
            logs: RwLock::new(logs),
            keyring: keyring.clone(),
            writer,
            pool: pool.clone(),
            segment_octets: settings.segment_octets,
            ends: known.into(),
        });
        log.keep_ends()?;
        let meta_key = keyring.meta_key();
        let pools = (blob_pool.clone(), blob_sync_pool.clone());
        let blobs = Arc::new(FileBlobs::new(disk, blobs_dir, keyring, pools, log.clone()));
        let meta = SledMeta::open(&dir.join("meta"), meta_key, settings.meta_cache_octets, pool.clone())?;
        let (meta, lock) = (Arc::new(meta), Mutex::new(Some(lock)));
        Ok(Self { log, blobs, meta, pool, blob_pool, blob_sync_pool, lock })
    }

    /// The logs.
    #[must_use]
    pub fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    /// The large bodies.
    #[must_use]
    pub fn blobs(&self) -> Arc<dyn Blobs> {
        self.blobs.clone()
    }

    /// The metadata.
    #[must_use]
    pub fn meta(&self) -> Arc<dyn Meta> {
        self.meta.clone()
    }

    /// Waits for everything that is under way, syncs, and lets go of the directory. Later operations are refused as closed.
    pub fn close(self) {
        self.shut();
    }

    fn shut(&self) {
        self.log.writer.close();
        self.blob_pool.close();
        // After the other one: what is being written waits for it.
        self.blob_sync_pool.close();
        self.pool.close();
        self.meta.close();
        // The lock is there until the first time.
        if self.lock.lock().is_some()
            && let Err(fault) = self.log.keep_ends()
        {
            tracing::warn!("{fault}");
        }
        self.lock.lock().take();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Deletes a file of the operating system, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<(), IoFault> {
    disk::remove(&RealDisk, path)
}

fn make_dirs(dir: &Path) -> Result<(), IoFault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| IoFault::new("create", dir, error))
}

fn is_empty(dir: &Path) -> Result<bool, IoFault> {
    let mut entries = std::fs::read_dir(dir).map_err(|error| IoFault::new("list", dir, error))?;
    Ok(entries.next().is_none())
}

/// The lock goes with the process, however it ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(|error| IoFault::new("open", &path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(error) => Err(IoFault::new("lock", &path, io::Error::from(error)).into()),
    }
}
