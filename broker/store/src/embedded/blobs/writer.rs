//! A large body being written: its operations are queued in order and carried out on the store's threads one after the
//! other, each chunk sealed where it was collected.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;
use hilum_core::LogName;
use hilum_core::digest::Hasher;
use hilum_core::identity::PrincipalId;
use hilum_core::limits::{BLOB_CHUNK_OCTETS, BLOB_OCTETS_MAX};
use hilum_core::record::{BlobId, BlobRef};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::disk::{DiskFile, remove, write_all_at};
use super::super::frame::TAG_OCTETS;
use super::super::keyring::{Purpose, SaveError};
use super::super::pool::{Pool, Refusal};
use super::behind::SyncBehind;
use super::{Chunk, Files, HEADER_OCTETS, Header, INCOMING, STAGED};
use crate::limits::{BLOB_AHEAD_OCTETS_MAX, BLOB_DIRTY_OCTETS_MAX};
use crate::{BlobError, BlobWriter, IoFault, Pending};

/// The front: queues.
pub(super) struct FileWriter {
    strand: Arc<Strand>,
    is_finished: bool,
}

/// Operations of one body, in order.
struct Strand {
    queue: Mutex<Queue>,
    body: Mutex<Body>,
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<Operation>,
    octets: usize,
    /// Whether a thread is at it.
    is_running: bool,
}

enum Operation {
    Write(Bytes, oneshot::Sender<Result<(), BlobError>>),
    Park(oneshot::Sender<Result<u64, BlobError>>),
    Finish(oneshot::Sender<Result<BlobRef, BlobError>>),
    Abandon,
}

impl FileWriter {
    pub(super) fn create(
        files: Arc<Files>,
        (pool, sync_pool): (Arc<Pool>, Arc<Pool>),
        log: LogName,
        source: &PrincipalId,
        since: u64,
    ) -> Result<Self, BlobError> {
        let body = Body::create(files, sync_pool, log, source, since)?;
        let strand = Strand { queue: Mutex::default(), body: Mutex::new(body), pool };
        Ok(Self { strand: Arc::new(strand), is_finished: false })
    }
}

impl BlobWriter for FileWriter {
    fn write(&mut self, octets: Bytes) -> Pending<(), BlobError> {
        let (reply, result) = oneshot::channel();
        let queued = self.strand.push(Operation::Write(octets, reply));
        answer(queued, result)
    }

    fn park(&mut self) -> Pending<u64, BlobError> {
        let (reply, result) = oneshot::channel();
        let queued = self.strand.push(Operation::Park(reply));
        answer(queued, result)
    }

    fn finish(mut self: Box<Self>) -> Pending<BlobRef, BlobError> {
        let (reply, result) = oneshot::channel();
        let queued = self.strand.push(Operation::Finish(reply));
        self.is_finished = queued.is_ok();
        answer(queued, result)
    }
}

fn answer<T: Send + 'static>(
    queued: Result<(), BlobError>,
    result: oneshot::Receiver<Result<T, BlobError>>,
) -> Pending<T, BlobError> {
    Box::pin(async move {
        queued?;
        result.await.unwrap_or(Err(BlobError::Closed))
    })
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // Where the store is closed already, the next open deletes the file.
        if !self.is_finished {
            let _ = self.strand.push(Operation::Abandon);
        }
    }
}

impl Strand {
    fn push(self: &Arc<Self>, operation: Operation) -> Result<(), BlobError> {
        let mut queue = self.queue.lock();
        if let Operation::Write(octets, _) = &operation {
            if queue.octets > 0 && queue.octets + octets.len() > BLOB_AHEAD_OCTETS_MAX {
                return Err(BlobError::Overloaded(queue.octets));
            }
            queue.octets += octets.len();
        }
        queue.operations.push_back(operation);
        if queue.is_running {
            return Ok(());
        }
        let strand = self.clone();
        match self.pool.submit(move || strand.run()) {
            Ok(()) => queue.is_running = true,
            Err(refusal) => {
                let refused = queue.operations.pop_back();
                if let Some(Operation::Write(octets, _)) = &refused {
                    queue.octets -= octets.len();
                }
                return Err(Refusal::into(refusal));
            }
        }
        Ok(())
    }

    fn run(&self) {
        while let Some(operation) = self.next() {
            let mut body = self.body.lock();
            // Nobody may be waiting for an answer any more.
            match operation {
                Operation::Write(octets, reply) => drop(reply.send(body.write(&octets))),
                Operation::Park(reply) => drop(reply.send(body.park())),
                Operation::Finish(reply) => drop(reply.send(body.finish())),
                Operation::Abandon => body.abandon(),
            }
        }
    }

    fn next(&self) -> Option<Operation> {
        let mut queue = self.queue.lock();
        let operation = queue.operations.pop_front();
        match &operation {
            Some(Operation::Write(octets, _)) => queue.octets -= octets.len(),
            Some(_) => {}
            None => queue.is_running = false,
        }
        operation
    }
}

/// The file and what is not yet in it.
struct Body {
    files: Arc<Files>,
    path: PathBuf,
    id: BlobId,
    /// What the file begins with, and every chunk is bound to.
    header: [u8; HEADER_OCTETS],
    key: LessSafeKey,
    /// None after a failure or the end.
    file: Option<(Box<dyn DiskFile>, SyncBehind)>,
    /// Plain octets of the chunk being collected. A full one waits, since it may be the last.
    chunk: Vec<u8>,
    index: u64,
    size: u64,
    /// Of the chunks before `index`.
    hasher: Hasher,
    /// Octets written since a sync was last begun.
    dirty: usize,
}

impl Body {
    fn create(
        files: Arc<Files>,
        sync_pool: Arc<Pool>,
        log: LogName,
        source: &PrincipalId,
        since: u64,
    ) -> Result<Self, BlobError> {
        let no_random = |_| {
            let error = io::Error::other("the cryptographic library failed");
            BlobError::Io(IoFault::new("draw a key for a blob in", &files.dir, error))
        };
        let mut id = BlobId([0; 16]);
        aws_lc_rs::rand::fill(&mut id.0).map_err(no_random)?;
        let data_key = files.keyring.of(&log, source)?;
        let key = data_key.derive(Purpose::Blob, &id.0).map_err(no_random)?;
        let path = files.path(INCOMING, id);
        let fault = |operation| {
            let path = &path;
            move |error| IoFault::new(operation, path, error)
        };
        let mut file = files.disk.create(&path).map_err(fault("create"))?;
        let header = Header { id, key_id: data_key.id, since, log }.encode();
        let written = write_all_at(file.as_mut(), &mut [IoSlice::new(&header)], 0);
        let behind = match written.and_then(|()| SyncBehind::new(sync_pool, file.as_ref())) {
            Ok(behind) => behind,
            Err(error) => {
                remove(files.disk.as_ref(), &path)?;
                return Err(fault("write")(error).into());
            }
        };
        let chunk = Vec::with_capacity(BLOB_CHUNK_OCTETS + TAG_OCTETS);
        let (file, hasher) = (Some((file, behind)), Hasher::new());
        Ok(Self { files, path, id, header, key, file, chunk, index: 0, size: 0, hasher, dirty: 0 })
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), BlobError> {
        let written = self.try_write(octets);
        if written.is_err() {
            self.abandon();
        }
        written
    }

    fn try_write(&mut self, mut octets: &[u8]) -> Result<(), BlobError> {
        if self.file.is_none() {
            return Err(BlobError::WriterFailed);
        }
        self.size += octets.len() as u64;
        if self.size > BLOB_OCTETS_MAX {
            return Err(BlobError::TooLarge { limit: BLOB_OCTETS_MAX });
        }
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(BLOB_CHUNK_OCTETS + TAG_OCTETS);
        }
        while !octets.is_empty() {
            if self.chunk.len() == BLOB_CHUNK_OCTETS {
                self.flush(false)?;
            }
            let (now, later) = octets.split_at(octets.len().min(BLOB_CHUNK_OCTETS - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            octets = later;
        }
        Ok(())
    }

    /// Hashes the chunk, seals it and writes it. What is written goes to the disk in small portions, one while the next is filled: the
    /// fsync of a log has to wait for whatever of the file system's is on its way there.
    fn flush(&mut self, is_last: bool) -> Result<(), BlobError> {
        self.hasher.update(&self.chunk);
        let chunk = Chunk { index: self.index, is_last };
        let sealed = self.key.seal_in_place_append_tag(
            chunk.nonce(),
            chunk.associated_data(&self.header),
            &mut self.chunk,
        );
        let fault = |error| IoFault::new("write", &self.path, error);
        sealed.map_err(|_| fault(io::Error::other("the cryptographic library failed")))?;
        let (file, behind) = self.file.as_mut().ok_or(BlobError::WriterFailed)?;
        write_all_at(file.as_mut(), &mut [IoSlice::new(&self.chunk)], chunk.position()).map_err(fault)?;
        self.dirty += self.chunk.len();
        if self.dirty >= BLOB_DIRTY_OCTETS_MAX {
            behind.begin().map_err(|error| IoFault::new("fsync", &self.path, error))?;
            self.dirty = 0;
        }
        self.chunk.clear();
        self.index += 1;
        Ok(())
    }

    fn park(&mut self) -> Result<u64, BlobError> {
        if self.file.is_none() {
            return Err(BlobError::WriterFailed);
        }
        self.chunk = Vec::new();
        self.size = self.index * BLOB_CHUNK_OCTETS as u64;
        Ok(self.size)
    }

    fn finish(&mut self) -> Result<BlobRef, BlobError> {
        let finished = self.try_finish();
        if finished.is_err() {
            self.abandon();
        }
        finished
    }

    fn try_finish(&mut self) -> Result<BlobRef, BlobError> {
        self.flush(true)?;
        let (_, behind) = self.file.as_mut().ok_or(BlobError::WriterFailed)?;
        behind.finish().map_err(|error| IoFault::new("fsync", &self.path, error))?;
        self.files.keyring.save().map_err(|error| match error {
            SaveError::DiskFull(fault) => BlobError::DiskFull(fault),
            SaveError::Failed(fault) => BlobError::Io(fault),
        })?;
        if !self.files.advance(self.id, INCOMING, STAGED)? {
            return Err(BlobError::NotFound(self.id));
        }
        self.file = None;
        Ok(BlobRef { id: self.id, size: self.size, digest: self.hasher.clone().finish() })
    }

    /// Leaves nothing behind, in whichever state the file was.
    fn abandon(&mut self) {
        self.file = None;
        self.chunk.clear();
        for path in [self.path.clone(), self.files.path(STAGED, self.id)] {
            if let Err(fault) = remove(self.files.disk.as_ref(), &path) {
                tracing::warn!("{fault}; it is removed when the store is opened again");
            }
        }
    }
}
