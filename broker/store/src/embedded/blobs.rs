//! Large bodies as files: `incoming` while they are written, `staged` when finished, `committed` when a log entry names
//! them. A body moves by rename, so it is in one state at any time; what is `incoming` at open was never finished.
//!
//! | octets | what (integers are little-endian) |
//! |---|---|
//! | 8, 4 | magic `HILUMBLB`, format version |
//! | 16 | the blob's id: random, and the salt of its key |
//! | 4 | data key |
//! | 8 | *since*: where the log ended when the body was begun |
//! | 1 + 80 | octets of the log's name, and the name, filled up with zeros |
//! | 3, 4 | zeros, CRC32C of all above |
//! | chunks | [`BLOB_CHUNK_OCTETS`] plain octets each but for the last, sealed with AES-256-GCM |
//!
//! The nonce of a chunk is its index; associated data are the header (with the blob's id, its log and its data key), the
//! index and whether it is the last one. So chunks that were cut off, moved or exchanged do not open (the STREAM construction
//! of Hoang et al., CRYPTO 2015), and no field of the header can be changed unnoticed.

mod behind;
mod writer;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use bytes::Bytes;
use hilum_core::identity::PrincipalId;
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::record::{BlobId, BlobRef};
use hilum_core::{LogName, Offset};

use self::writer::FileWriter;
use super::disk::{Disk, remove};
use super::frame::{TAG_OCTETS, u32_at, u64_at};
use super::keyring::{Keyring, Purpose};
use super::log::SegmentLog;
use super::pool::Pool;
use super::recovery::log_name;
use crate::{BlobError, BlobWriter, Blobs, IoFault, Pending, StagedBlob};

const HEADER_OCTETS: usize = 128;
const MAGIC: [u8; 8] = *b"HILUMBLB";
const VERSION: u32 = 2;
const NAME_AT: usize = 41;
const CRC_AT: usize = HEADER_OCTETS - 4;
const INCOMING: &str = "incoming";
const STAGED: &str = "staged";
const COMMITTED: &str = "committed";

/// Large bodies in files.
pub(super) struct FileBlobs {
    files: Arc<Files>,
    pool: Arc<Pool>,
    sync_pool: Arc<Pool>,
    log: Arc<SegmentLog>,
}

/// What the operations need, on whatever thread.
struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    keyring: Arc<Keyring>,
}

/// What stands before the chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    id: BlobId,
    key_id: u32,
    since: u64,
    log: LogName,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_OCTETS] {
        let name = self.log.to_string();
        let mut octets = [0; HEADER_OCTETS];
        octets[..8].copy_from_slice(&MAGIC);
        octets[8..12].copy_from_slice(&VERSION.to_le_bytes());
        octets[12..28].copy_from_slice(&self.id.0);
        octets[28..32].copy_from_slice(&self.key_id.to_le_bytes());
        octets[32..40].copy_from_slice(&self.since.to_le_bytes());
        octets[NAME_AT - 1] = u8::try_from(name.len()).expect("names of logs are short");
        octets[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
        let crc = crc32c::crc32c(&octets[..CRC_AT]);
        octets[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    fn decode(octets: &[u8; HEADER_OCTETS]) -> Option<Self> {
        let is_whole = octets[..8] == MAGIC
            && u32_at(octets, 8) == VERSION
            && u32_at(octets, CRC_AT) == crc32c::crc32c(&octets[..CRC_AT]);
        let name = octets.get(NAME_AT..NAME_AT + usize::from(octets[NAME_AT - 1]))?;
        let log = log_name(std::str::from_utf8(name).ok()?)?;
        let id = BlobId(octets[12..28].try_into().expect("sixteen octets"));
        is_whole.then_some(Self { id, key_id: u32_at(octets, 28), since: u64_at(octets, 32), log })
    }
}

/// Where a chunk is, and whether it is the last one.
#[derive(Clone, Copy)]
struct Chunk {
    index: u64,
    is_last: bool,
}

impl Chunk {
    fn position(&self) -> u64 {
        HEADER_OCTETS as u64 + self.index * (BLOB_CHUNK_OCTETS + TAG_OCTETS) as u64
    }

    fn nonce(&self) -> Nonce {
        let mut octets = [0; NONCE_LEN];
        octets[NONCE_LEN - 8..].copy_from_slice(&self.index.to_be_bytes());
        Nonce::assume_unique_for_key(octets)
    }

    fn associated_data(&self, header: &[u8; HEADER_OCTETS]) -> Aad<[u8; HEADER_OCTETS + 9]> {
        let mut octets = [0; HEADER_OCTETS + 9];
        octets[..HEADER_OCTETS].copy_from_slice(header);
        octets[HEADER_OCTETS..HEADER_OCTETS + 8].copy_from_slice(&self.index.to_le_bytes());
        octets[HEADER_OCTETS + 8] = u8::from(self.is_last);
        Aad::from(octets)
    }
}

/// Makes the directories and deletes what was never finished.
pub(super) fn make_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), IoFault> {
    for part in [INCOMING, STAGED, COMMITTED] {
        super::make_dirs(&dir.join(part))?;
    }
    disk.sync_dir(dir).map_err(|error| IoFault::new("fsync", dir, error))?;
    for (path, _) in list(&dir.join(INCOMING))? {
        remove(disk, &path)?;
    }
    Ok(())
}

/// Whether there is no finished body.
pub(super) fn is_empty(dir: &Path) -> Result<bool, IoFault> {
    Ok(super::is_empty(&dir.join(STAGED))? && super::is_empty(&dir.join(COMMITTED))?)
}

/// The blobs in a directory.
fn list(dir: &Path) -> Result<Vec<(PathBuf, BlobId)>, IoFault> {
    let fault = |error| IoFault::new("list", dir, error);
    let mut blobs = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        match path.file_name().and_then(|name| name.to_str()).and_then(blob_id) {
            Some(id) => blobs.push((path, id)),
            None => tracing::warn!("{} is not a blob; it is left alone", path.display()),
        }
    }
    blobs.sort();
    Ok(blobs)
}

fn blob_id(name: &str) -> Option<BlobId> {
    let is_id = name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u128::from_str_radix(name, 16).ok().map(|id| BlobId(id.to_be_bytes())))?
}

impl FileBlobs {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        keyring: Arc<Keyring>,
        (pool, sync_pool): (Arc<Pool>, Arc<Pool>),
        log: Arc<SegmentLog>,
    ) -> Self {
        Self { files: Arc::new(Files { disk, dir, keyring }), pool, sync_pool, log }
    }
}

impl Files {
    fn path(&self, part: &str, blob: BlobId) -> PathBuf {
        self.dir.join(part).join(blob.to_string())
    }

    fn sync_dir(&self, part: &str) -> Result<(), BlobError> {
        let dir = self.dir.join(part);
        Ok(self.disk.sync_dir(&dir).map_err(|error| IoFault::new("fsync", &dir, error))?)
    }

    /// Moves a body to its next state, durably. False if it is not in the first one.
    fn advance(&self, blob: BlobId, from: &str, to: &str) -> Result<bool, BlobError> {
        let path = self.path(from, blob);
        match self.disk.rename(&path, &self.path(to, blob)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(IoFault::new("rename", &path, error).into()),
            Ok(()) => {}
        }
        self.sync_dir(to)?;
        self.sync_dir(from)?;
        Ok(true)
    }

    fn commit(&self, blob: BlobId) -> Result<(), BlobError> {
        if self.advance(blob, STAGED, COMMITTED)? || self.path(COMMITTED, blob).exists() {
            return Ok(());
        }
        Err(BlobError::NotFound(blob))
    }

    fn delete(&self, blob: BlobId) -> Result<(), BlobError> {
        for part in [STAGED, COMMITTED] {
            let path = self.path(part, blob);
            if path.exists() {
                remove(self.disk.as_ref(), &path)?;
                self.sync_dir(part)?;
            }
        }
        Ok(())
    }

    fn staged(&self) -> Result<Vec<StagedBlob>, BlobError> {
        let mut staged = Vec::new();
        for (path, id) in list(&self.dir.join(STAGED))? {
            let fault = |operation| move |error| IoFault::new(operation, &self.path(STAGED, id), error);
            let file = File::open(&path).map_err(fault("open"))?;
            let mut octets = [0; HEADER_OCTETS];
            let whole = read_exact_at(&file, &mut octets, 0).map_err(fault("read"))?;
            match Header::decode(&octets).filter(|header| whole && header.id == id) {
                Some(Header { log, since, .. }) => staged.push(StagedBlob { id, log, since: Offset(since) }),
                // Which log might name it cannot be told, so it is neither committed nor deleted.
                None => tracing::error!("{} has a damaged header; it is left alone", path.display()),
            }
        }
        Ok(staged)
    }

    /// A body moves from one state to the next while it is looked for, so the first state is looked at twice.
    fn open(&self, blob: BlobId) -> Result<(File, PathBuf), BlobError> {
        for part in [COMMITTED, STAGED, COMMITTED] {
            let path = self.path(part, blob);
            match File::open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(IoFault::new("open", &path, error).into()),
            }
        }
        Err(BlobError::NotFound(blob))
    }

    fn read(&self, blob: &BlobRef, from: u64, octets_max: usize) -> Result<Bytes, BlobError> {
        let (file, path) = self.open(blob.id)?;
        let corrupt = |what: &str| BlobError::Corrupt {
            blob: blob.id,
            what: format!("{what} in {}", path.display()).into(),
        };
        let fault = |error| IoFault::new("read", &path, error);
        let mut head = [0; HEADER_OCTETS];
        let whole = read_exact_at(&file, &mut head, 0).map_err(fault)?;
        let header = Header::decode(&head)
            .filter(|header| whole && header.id == blob.id)
            .ok_or_else(|| corrupt("a damaged header"))?;
        let chunks = blob.size.div_ceil(BLOB_CHUNK_OCTETS as u64).max(1);
        // What is asked for may come from an entry that was not written by us.
        let expected = (HEADER_OCTETS as u64 + chunks * TAG_OCTETS as u64).checked_add(blob.size);
        if Some(file.metadata().map_err(fault)?.len()) != expected {
            return Err(corrupt("another number of octets than was finished"));
        }
        let key = self.key(&header)?;
        let mut octets = Vec::new();
        let mut next = from;
        while next < blob.size && octets.len() < octets_max {
            let index = next / BLOB_CHUNK_OCTETS as u64;
            let chunk = Chunk { index, is_last: index + 1 == chunks };
            let start = index * BLOB_CHUNK_OCTETS as u64;
            let plain = blob.size.min(start + BLOB_CHUNK_OCTETS as u64) - start;
            let mut sealed = vec![0; to_usize(plain) + TAG_OCTETS];
            let whole = read_exact_at(&file, &mut sealed, chunk.position()).map_err(fault)?;
            let opened = key.open_in_place(chunk.nonce(), chunk.associated_data(&head), &mut sealed);
            if !whole || opened.is_err() {
                return Err(corrupt(&format!("chunk {index} is not authentic")));
            }
            let first = to_usize(next - start);
            let range = first..to_usize(plain).min(first.saturating_add(octets_max - octets.len()));
            next += range.len() as u64;
            if octets.is_empty() && (next >= blob.size || range.len() == octets_max) {
                return Ok(Bytes::from(sealed).slice(range));
            }
            octets.extend_from_slice(&sealed[range]);
        }
        Ok(octets.into())
    }

    fn key(&self, header: &Header) -> Result<LessSafeKey, BlobError> {
        let missing = || BlobError::KeyMissing { blob: header.id, key: header.key_id };
        let data_key =
            self.keyring.by_id(header.key_id).filter(|key| key.log == header.log).ok_or_else(missing)?;
        data_key.derive(Purpose::Blob, &header.id.0).map_err(|_| missing())
    }
}

/// A number of octets within a chunk.
fn to_usize(octets: u64) -> usize {
    usize::try_from(octets).expect("within a chunk")
}

fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl Blobs for FileBlobs {
    fn create(&self, log: &LogName, source: &PrincipalId) -> Pending<Box<dyn BlobWriter>, BlobError> {
        let (files, pools) = (self.files.clone(), (self.pool.clone(), self.sync_pool.clone()));
        let (log, source, since) = (log.clone(), source.clone(), self.log.end(log));
        self.pool.run(move || {
            let writer = FileWriter::create(files, pools, log, &source, since)?;
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        })
    }

    fn read(&self, blob: &BlobRef, from: u64, octets_max: usize) -> Pending<Bytes, BlobError> {
        let (files, blob) = (self.files.clone(), *blob);
        self.pool.run(move || files.read(&blob, from, octets_max))
    }

    fn commit(&self, blob: BlobId) -> Pending<(), BlobError> {
        let files = self.files.clone();
        self.pool.run(move || files.commit(blob))
    }

    fn staged(&self) -> Pending<Vec<StagedBlob>, BlobError> {
        let files = self.files.clone();
        self.pool.run(move || files.staged())
    }

    fn delete(&self, blob: BlobId) -> Pending<(), BlobError> {
        let files = self.files.clone();
        self.pool.run(move || files.delete(blob))
    }
}
