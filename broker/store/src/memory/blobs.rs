//! Large bodies in memory.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};
use hilum_core::digest::Digest;
use hilum_core::identity::PrincipalId;
use hilum_core::limits::BLOB_OCTETS_MAX;
use hilum_core::record::{BlobId, BlobRef};
use hilum_core::{LogName, Offset};

use super::{Shared, State, fault, ready};
use crate::{BlobError, BlobWriter, Blobs, Pending, StagedBlob};

/// A finished body.
#[derive(Clone)]
pub(super) struct MemoryBlob {
    octets: Bytes,
    log: LogName,
    since: Offset,
    is_committed: bool,
    /// Whether it, and its being committed, would outlive a crash.
    is_durable: bool,
    is_commit_durable: bool,
}

pub(super) fn after_crash(blobs: BTreeMap<BlobId, MemoryBlob>) -> BTreeMap<BlobId, MemoryBlob> {
    let found = |blob: MemoryBlob| MemoryBlob { is_committed: blob.is_commit_durable, ..blob };
    blobs.into_iter().filter(|(_, blob)| blob.is_durable).map(|(id, blob)| (id, found(blob))).collect()
}

/// The bodies of a store.
pub(super) struct MemoryBlobs(pub(super) Shared);

impl MemoryBlobs {
    fn with<T>(&self, operation: impl FnOnce(&mut State) -> Result<T, BlobError>) -> Result<T, BlobError> {
        let mut state = self.0.lock();
        if state.is_closed { Err(BlobError::Closed) } else { operation(&mut state) }
    }
}

impl Blobs for MemoryBlobs {
    fn create(&self, log: &LogName, _source: &PrincipalId) -> Pending<Box<dyn BlobWriter>, BlobError> {
        ready(self.with(|state| {
            let since = state.logs.get(log).map_or(Offset(0), super::log::MemoryLog::next);
            let writer = Writer {
                state: self.0.clone(),
                log: log.clone(),
                since,
                octets: BytesMut::new(),
                has_failed: false,
            };
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        }))
    }

    fn read(&self, blob: &BlobRef, from: u64, octets_max: usize) -> Pending<Bytes, BlobError> {
        ready(self.with(|state| {
            let found = state.blobs.get(&blob.id).ok_or(BlobError::NotFound(blob.id))?;
            if found.octets.len() as u64 != blob.size {
                return Err(BlobError::Corrupt {
                    blob: blob.id,
                    what: "another size than was finished".into(),
                });
            }
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(found.octets.len());
            Ok(found.octets.slice(from..from.saturating_add(octets_max).min(found.octets.len())))
        }))
    }

    fn commit(&self, blob: BlobId) -> Pending<(), BlobError> {
        ready(self.with(|state| {
            let found = state.blobs.get_mut(&blob).ok_or(BlobError::NotFound(blob))?;
            found.is_committed = true;
            found.is_commit_durable |= !state.plan.syncs_lie;
            Ok(())
        }))
    }

    fn staged(&self) -> Pending<Vec<StagedBlob>, BlobError> {
        let staged = |(id, blob): (&BlobId, &MemoryBlob)| StagedBlob {
            id: *id,
            log: blob.log.clone(),
            since: blob.since,
        };
        ready(self.with(|state| {
            Ok(state.blobs.iter().filter(|(_, blob)| !blob.is_committed).map(staged).collect())
        }))
    }

    fn delete(&self, blob: BlobId) -> Pending<(), BlobError> {
        ready(self.with(|state| {
            state.blobs.remove(&blob);
            Ok(())
        }))
    }
}

struct Writer {
    state: Shared,
    log: LogName,
    since: Offset,
    octets: BytesMut,
    has_failed: bool,
}

impl Writer {
    fn check(&self, added: usize) -> Result<(), BlobError> {
        let state = self.state.lock();
        if state.is_closed {
            return Err(BlobError::Closed);
        }
        if self.has_failed {
            return Err(BlobError::WriterFailed);
        }
        if state.plan.disk_full {
            return Err(BlobError::DiskFull(fault("write", ErrorKind::StorageFull)));
        }
        if (self.octets.len() + added) as u64 > BLOB_OCTETS_MAX {
            return Err(BlobError::TooLarge { limit: BLOB_OCTETS_MAX });
        }
        Ok(())
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, octets: Bytes) -> Pending<(), BlobError> {
        let checked = self.check(octets.len());
        self.has_failed |= checked.is_err();
        if checked.is_ok() {
            self.octets.extend_from_slice(&octets);
        }
        ready(checked)
    }

    fn park(&mut self) -> Pending<u64, BlobError> {
        let checked =
            if self.has_failed { Err(BlobError::WriterFailed) } else { Ok(self.octets.len() as u64) };
        ready(checked)
    }

    fn finish(self: Box<Self>) -> Pending<BlobRef, BlobError> {
        let checked = self.check(0);
        let Self { state, log, since, octets, .. } = *self;
        let finished = checked.map(|()| {
            let mut state = state.lock();
            state.blobs_made += 1;
            let id = BlobId(state.blobs_made.to_be_bytes());
            let octets = octets.freeze();
            let blob = BlobRef { id, size: octets.len() as u64, digest: Digest::of(&octets) };
            let is_durable = !state.plan.syncs_lie;
            let body =
                MemoryBlob { octets, log, since, is_committed: false, is_durable, is_commit_durable: false };
            state.blobs.insert(id, body);
            blob
        });
        ready(finished)
    }
}
