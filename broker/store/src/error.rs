//! Why a store refuses, one enum for each kind of operation. Every message says what happened, where, and what to do.
//!
//! The errors are `Clone`: one failed fsync answers every append of its group. None of them holds an octet of a record.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hilum_core::record::BlobId;
use hilum_core::{LogName, Offset};

/// A part of a log that cannot be trusted. Nothing from it on is served, and the log takes no appends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log `{log}` is corrupt from offset {first} {}: {kind}: {what}", Until(*.end))]
pub struct Corruption {
    /// The log.
    pub log: LogName,
    /// In which way.
    pub kind: DamageKind,
    /// The first offset that is lost or in doubt.
    pub first: Offset,
    /// The first offset after it that is intact; none where that is not known.
    pub end: Option<Offset>,
    /// What was found, with the file and the position in it.
    pub what: Arc<str>,
}

impl Corruption {
    /// Which log, and which of its offsets: what may be told to whoever publishes and reads, without paths.
    #[must_use]
    pub fn place(&self) -> String {
        format!("log `{}` is damaged from offset {} {}", self.log, self.first, Until(self.end))
    }
}

/// How what is found differs from what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// Octets are there, and others than were written, e.g. a flipped bit.
    Altered,
    /// A block that was durable reads as zeros.
    ZeroFilled,
    /// The file ends before what was durable.
    Truncated,
    /// A block lies where another one belongs.
    Reordered,
    /// A whole file is gone.
    Missing,
    /// The checksums are right and the seal is not: made by someone without the key, or moved from elsewhere.
    NotAuthentic,
    /// It is sealed under a data key that the keys file does not hold.
    KeyMissing,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Altered => "altered",
            Self::ZeroFilled => "zero-filled",
            Self::Truncated => "truncated",
            Self::Reordered => "reordered",
            Self::Missing => "missing",
            Self::NotAuthentic => "not authentic",
            Self::KeyMissing => "data key missing",
        })
    }
}

struct Until(Option<Offset>);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(end) => write!(f, "up to {end}"),
            None => f.write_str("on"),
        }
    }
}

/// An operation on a file that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct IoFault {
    /// What was tried, e.g. `fsync`.
    pub operation: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}

impl IoFault {
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the disk, the quota or the file-size limit is used up: the same call may succeed later.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }
}

/// Why a batch was not appended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Nothing of the batch is in the log. May be tried again when there is room.
    #[error("{0}; nothing was appended, and appends go on when there is room")]
    DiskFull(IoFault),
    /// Too much is waiting for the disk. Nothing of the batch is in the log; may be tried again.
    #[error("the store already has {0} octets waiting for the disk; slow down and try again")]
    Overloaded(usize),
    /// A write or fsync of this log failed, now or earlier: whether this batch is on disk is not known until the store is
    /// opened again, which finds out.
    #[error("log `{log}` takes no appends until the broker is restarted: {cause}")]
    Poisoned {
        /// The log.
        log: LogName,
        /// What failed first.
        cause: IoFault,
    },
    /// The log is damaged, so that what follows in it would follow a gap.
    #[error(
        "{0}; stop the broker, look with `hilum log verify`, then restore it or give it up with `hilum log repair`"
    )]
    Corrupt(#[from] Corruption),
    /// The batch holds an entry that was made for another log.
    #[error("an entry for log `{entry}` cannot be appended to log `{log}`")]
    WrongLog {
        /// Where it was to go.
        log: LogName,
        /// Where it belongs.
        entry: LogName,
    },
    /// The batch has no entry, so it would have no offset.
    #[error("an empty batch cannot be appended")]
    Empty,
    /// The batch is over a limit of the format.
    #[error("the batch has {actual} {unit}, the limit is {limit}")]
    TooLarge {
        /// What it has.
        actual: usize,
        /// What it may have.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// The batch could not be made ready for the disk. Nothing of it is in the log.
    #[error(transparent)]
    Io(IoFault),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl AppendError {
    /// Whether the same batch may be appended later without a restart. Nothing of it is in the log now.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull(_) | Self::Overloaded(_))
    }
}

/// Why a log could not be read, measured or trimmed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What was asked for is damaged.
    #[error(
        "{0}; stop the broker, look with `hilum log verify`, then restore it or give it up with `hilum log repair`"
    )]
    Corrupt(#[from] Corruption),
    /// The entry names a data key that the keys file does not hold.
    #[error(
        "offset {offset} of log `{log}` needs data key {key}, which the keys file does not hold; restore it"
    )]
    KeyMissing {
        /// The log.
        log: LogName,
        /// The entry.
        offset: Offset,
        /// The number of the key.
        key: u32,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// Too many operations are waiting. May be tried again.
    #[error("the store already has {0} operations waiting; slow down and try again")]
    Overloaded(usize),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why an operation on a large body failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There is no such body.
    #[error("there is no blob {0}")]
    NotFound(BlobId),
    /// The body is damaged, was cut short, or is not the one that the reference describes.
    #[error("blob {blob} is corrupt: {what}")]
    Corrupt {
        /// The body.
        blob: BlobId,
        /// What was found, and where.
        what: Arc<str>,
    },
    /// The body is encrypted under a data key that the keys file does not hold.
    #[error("blob {blob} needs data key {key}, which the keys file does not hold; restore it")]
    KeyMissing {
        /// The body.
        blob: BlobId,
        /// The number of the key.
        key: u32,
    },
    /// The writer has failed and will leave nothing behind. The body may be written again when there is room.
    #[error("{0}; nothing of the blob was kept, and blobs are taken again when there is room")]
    DiskFull(IoFault),
    /// The body is over [`BLOB_OCTETS_MAX`](hilum_core::limits::BLOB_OCTETS_MAX).
    #[error("the blob has more than {limit} octets")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(IoFault),
    /// Too many operations are waiting, or more was written ahead than a writer holds. May be tried again.
    #[error("the store already has {0} operations or octets waiting; slow down and try again")]
    Overloaded(usize),
    /// An earlier write of this writer failed.
    #[error("the blob's writer has already failed")]
    WriterFailed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl BlobError {
    /// Whether the same may be tried again later without a restart.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull(_) | Self::Overloaded(_))
    }
}

impl From<IoFault> for BlobError {
    fn from(fault: IoFault) -> Self {
        if fault.is_disk_full() { Self::DiskFull(fault) } else { Self::Io(fault) }
    }
}

/// Why a small value could not be read or set.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// The key or the value is over its limit.
    #[error("the {field} has {actual} octets, the limit is {limit}")]
    TooLarge {
        /// `key` or `value`.
        field: &'static str,
        /// What it has.
        actual: usize,
        /// What it may have.
        limit: usize,
    },
    /// The database refused. What it holds may be lost without harm: see [`Meta`](crate::Meta).
    #[error("the metadata database failed: {0}")]
    Database(Arc<str>),
    /// Too many operations are waiting. May be tried again.
    #[error("the store already has {0} operations waiting; slow down and try again")]
    Overloaded(usize),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
