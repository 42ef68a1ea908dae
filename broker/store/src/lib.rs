//! Durable log, blobs and metadata behind three small traits.
//!
//! | trait | holds | truth? |
//! |---|---|---|
//! | [`Log`] | entries of named logs, in order, from offset 0 | yes |
//! | [`Blobs`] | large bodies, in chunks | yes, once a log entry names them |
//! | [`Meta`] | cursors, checkpoints and the like: small values | no: it may be lost and costs a rebuild or a redelivery |
//!
//! Nothing in a trait leaks a file: the next backend is a cluster. There are two: [`embedded::Store`] on local disk, and
//! [`memory::Store`] for tests, which can be made to fail. Both pass the same conformance tests. [`probe`] measures the
//! disk that the first one is on.

#[cfg(test)]
mod conformance;
pub mod embedded;
mod error;
mod key;
pub mod limits;
pub mod memory;
pub mod probe;

pub use error::{AppendError, BlobError, Corruption, DamageKind, IoFault, MetaError, ReadError};
pub use key::{KeyFileError, KeyTextError, MasterKey};

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use hilum_core::identity::PrincipalId;
use hilum_core::record::{BlobId, BlobRef};
use hilum_core::{Entry, LogName, Offset};

/// Something that a store is doing. It is under way whether polled or not.
pub type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'static>>;

/// Named logs of entries.
///
/// A log takes a record only after its chain ran: [`Entry`] is made of a `Sealed` record and has no other door.
///
/// ```
/// # use {hilum_core::{LogName, record::Sealed}, hilum_store::{Durability, Log}};
/// fn append(log: &dyn Log, name: &LogName, record: Sealed) {
///     drop(log.append(name, vec![record.into_entry()], Durability::Fsynced));
/// }
/// ```
///
/// ```compile_fail,E0599
/// # use {hilum_core::{LogName, record::Admitted}, hilum_store::{Durability, Log}};
/// fn append(log: &dyn Log, name: &LogName, record: Admitted) {
///     drop(log.append(name, vec![record.into_entry()], Durability::Fsynced)); // an admitted record was not sealed: it has no `into_entry`
/// }
/// ```
pub trait Log: Send + Sync + 'static {
    /// Appends a batch to one log, all or nothing. Calls take effect in the order in which they are made; the result is the
    /// offset of the batch's first entry, and comes when the batch is as durable as `durability` asks.
    fn append(
        &self,
        log: &LogName,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> Pending<Offset, AppendError>;

    /// Reads durable entries from `from` on, or from the first one that is still there: at least one where there is one, then
    /// about as many as fit into `octets_max`. Entries that were erased are left out, so offsets may have gaps. Empty at the
    /// end of the log, and for a log that nothing was appended to. Refused from where the log is damaged.
    fn read(&self, log: &LogName, from: Offset, octets_max: usize) -> Pending<Vec<LogEntry>, ReadError>;

    /// The first offset that is still there and the one after the last durable entry that is served: that of a damaged log
    /// is where the damage begins.
    fn bounds(&self, log: &LogName) -> Pending<Range<u64>, ReadError>;

    /// Lets go of entries before `before`. What is not yet given back to the disk may still be read.
    fn trim(&self, log: &LogName, before: Offset) -> Pending<(), ReadError>;

    /// Removes single entries for good: their offsets stay unused, and no octet of them is left in the log's files when this
    /// comes back. Offsets that are not there, or not any more, are no error.
    fn erase(&self, log: &LogName, offsets: Vec<Offset>) -> Pending<(), ReadError>;

    /// What a log takes up.
    fn usage(&self, log: &LogName) -> Pending<Usage, ReadError>;
}

/// When an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the batch is fsynced with its group. What was answered outlives a power cut.
    #[default]
    Fsynced,
    /// When the operating system has the batch. It is fsynced with the same group right after, and readers see it only
    /// then; a power cut or a failed fsync before that loses what was answered. A crash of the broker alone does not.
    Memory,
}

/// What a log takes up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets on disk, with everything that stands around the entries. Large bodies are not counted.
    pub octets: u64,
    /// The parts that [`Log::trim`] gives back one by one, in order and without gaps. The last one is still written.
    pub spans: Vec<SpanUsage>,
}

/// What a part of a log takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanUsage {
    /// The offset of its first entry, which may be erased.
    pub first: Offset,
    /// The offset after its last entry.
    pub end: Offset,
    /// Octets on disk.
    pub octets: u64,
}

/// An entry as it was read: plain octets for `Stored::decode`, `Quarantined::decode` or `Event::decode`.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Its position.
    pub offset: Offset,
    /// Its plain octets.
    pub octets: Bytes,
}

/// Large bodies. A body becomes visible with [`BlobWriter::finish`] as *staged*; [`Blobs::commit`] makes it permanent after
/// the log entry that names it is durable. What is still staged at the next start is either named by its log (then it is
/// committed) or deleted.
pub trait Blobs: Send + Sync + 'static {
    /// Begins a body for an entry of `log` that comes from `source`, whose data key encrypts it.
    fn create(&self, log: &LogName, source: &PrincipalId) -> Pending<Box<dyn BlobWriter>, BlobError>;

    /// Reads up to `octets_max` plain octets from `from` on; empty at the end.
    fn read(&self, blob: &BlobRef, from: u64, octets_max: usize) -> Pending<Bytes, BlobError>;

    /// A log entry that names the body is durable.
    fn commit(&self, blob: BlobId) -> Pending<(), BlobError>;

    /// Bodies that were staged and not committed, with the log they are meant for and where that log ended when they were
    /// begun. For the start.
    fn staged(&self) -> Pending<Vec<StagedBlob>, BlobError>;

    /// Deletes a body, staged or committed. No error if there is none.
    fn delete(&self, blob: BlobId) -> Pending<(), BlobError>;
}

/// A body that was not committed when the store was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedBlob {
    /// Its name.
    pub id: BlobId,
    /// The log whose entry was to name it.
    pub log: LogName,
    /// No entry before this offset names it.
    pub since: Offset,
}

/// A large body being written. Dropping it leaves nothing behind.
pub trait BlobWriter: Send {
    /// Adds octets. Calls take effect in order; wait for one before the next, or the writer refuses as overloaded.
    fn write(&mut self, octets: Bytes) -> Pending<(), BlobError>;

    /// Lets go of memory, for a pause of unknown length: octets that do not fill a chunk are forgotten. Gives how many
    /// octets are left; the next `write` follows those.
    fn park(&mut self) -> Pending<u64, BlobError>;

    /// Ends the body: its octets are on disk, fsynced, when this comes back.
    fn finish(self: Box<Self>) -> Pending<BlobRef, BlobError>;
}

/// Small values by key. Not the truth: see the table above. Values are encrypted at rest, keys are not: a key is made of
/// names, never of what a record holds.
pub trait Meta: Send + Sync + 'static {
    /// The value of a key; none where there is none, or it was lost.
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>, MetaError>;

    /// Sets or removes (`new` is none) the value of a key if it is `expected` (none: absent). Whether it was.
    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Pending<bool, MetaError>;

    /// Up to `entries_max` keys that start with `prefix`, in order, from after `after` on.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Pending<Vec<(Bytes, Bytes)>, MetaError>;
}
