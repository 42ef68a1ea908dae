//! Data keys: one for each log and source, wrapped by the key-encryption key, in a small append-only file.
//!
//! The file begins with magic `HILUMKEY`, a version and the store's own secret sealed under the key-encryption key: the key of
//! the metadata comes from it, and it tells at open whether this is the right key. Then, for each data key: the length of the
//! record, the CRC32C of the length, the record in postcard, its CRC32C, `0xff`. A data key is AES-256-GCM-wrapped with its
//! number, log and source as associated data. A record is fsynced before anything under its key is written:
//! [`Keyring::save`] comes first in every group commit. Each says how far the file was durable when it was written, so that a
//! torn end is told from damage as in a segment ([`tear`](super::tear)).
//!
//! No data key encrypts directly: each segment and each blob derives a key of its own from it (HKDF-Expand, RFC 5869,
//! section 2.3) with its own random salt. So there are no nonces to keep apart between them. The key-encryption key wraps and
//! nothing else, so changing it means writing this file anew, and nothing else ([`rotation`](super::rotation)).

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use hilum_core::LogName;
use hilum_core::identity::PrincipalId;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::OpenError;
use super::disk::{Disk, DiskFile, replace, write_all_at};
use super::frame::{Salt, TAG_OCTETS, u32_at};
use super::tear::has_hole;
use crate::{IoFault, MasterKey};

const MAGIC: [u8; 8] = *b"HILUMKEY";
const VERSION: u32 = 2;
const SECRET_AAD: &[u8] = b"hilum keys 2";
const KEY_OCTETS: usize = 32;
const HEADER_OCTETS: usize = 8 + 4 + NONCE_LEN + KEY_OCTETS + TAG_OCTETS + 4;
/// What stands around a record: its length, two checksums, a last octet.
const AROUND_RECORD_OCTETS: usize = 4 + 4 + 4 + 1;
/// As of a frame: not zero, so that it does not read as an octet that was not written.
const END: u8 = 0xff;
/// A record holds two names of bounded length and a wrapped key.
const RECORD_OCTETS_MAX: usize = 4096;

/// The key of one log and source.
pub(super) struct DataKey {
    pub(super) id: u32,
    pub(super) log: LogName,
    source: PrincipalId,
    secret: Prk,
    wrapped: Wrapped,
}

/// What a data key is derived for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Segment,
    Blob,
}

impl DataKey {
    /// The key of one segment or blob, which its salt names.
    pub(super) fn derive(&self, purpose: Purpose, salt: &Salt) -> Result<LessSafeKey, Unspecified> {
        let purpose: &[u8] = match purpose {
            Purpose::Segment => b"hilum segment 2",
            Purpose::Blob => b"hilum blob 2",
        };
        derive(&self.secret, &[purpose, salt])
    }
}

impl DataKey {
    fn record(&self, synced: u64) -> Record {
        let Self { id, log, source, wrapped, .. } = self;
        Record { id: *id, log: log.clone(), source: source.clone(), wrapped: wrapped.clone(), synced }
    }
}

fn derive(secret: &Prk, info: &[&[u8]]) -> Result<LessSafeKey, Unspecified> {
    Ok(LessSafeKey::new(UnboundKey::from(secret.expand(info, &AES_256_GCM)?)))
}

/// The key of one value of the metadata, whose salt it is stored with.
pub(super) struct MetaKey(Prk);

impl MetaKey {
    pub(super) fn derive(&self, salt: &Salt) -> Result<LessSafeKey, Unspecified> {
        derive(&self.0, &[b"hilum meta 2", salt])
    }
}

/// 32 secret octets, sealed under the key-encryption key.
#[derive(Clone, Serialize, Deserialize)]
struct Wrapped {
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

impl Wrapped {
    fn seal(master: &LessSafeKey, aad: &[u8], secret: &[u8; KEY_OCTETS]) -> Result<Self, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce)?;
        // The vector has room for the tag, so that no copy of the plain key is left behind when it grows.
        let mut sealed = Vec::with_capacity(KEY_OCTETS + TAG_OCTETS);
        sealed.extend_from_slice(secret);
        master.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed)?;
        Ok(Self { nonce, sealed })
    }

    fn open(&self, master: &LessSafeKey, aad: &[u8]) -> Option<Zeroizing<[u8; KEY_OCTETS]>> {
        let mut sealed = Zeroizing::new(self.sealed.clone());
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let secret = master.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?;
        Some(Zeroizing::new((&*secret).try_into().ok()?))
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: u32,
    log: LogName,
    source: PrincipalId,
    wrapped: Wrapped,
    /// Everything in the file before this position was durable when the record was written.
    synced: u64,
}

impl Record {
    /// What the wrapped key is bound to.
    fn aad(&self) -> Vec<u8> {
        wrap_data(self.id, &self.log, &self.source)
    }

    fn encode(&self) -> Vec<u8> {
        let record = postcard::to_allocvec(self).expect("plain data encodes into memory");
        let length = u32::try_from(record.len()).expect("names are bounded").to_le_bytes();
        let (length_crc, crc) =
            (crc32c::crc32c(&length).to_le_bytes(), crc32c::crc32c(&record).to_le_bytes());
        [&length, &length_crc, record.as_slice(), &crc, &[END]].concat()
    }

    /// The record that begins here and its octets with what stands around them, or what is wrong.
    fn decode(octets: &[u8]) -> Result<(Self, usize), &'static str> {
        const LENGTH: &str = "the length of a record is wrong";
        const RECORD: &str = "the checksum of a record is wrong";
        if octets.len() < 8 || crc32c::crc32c(&octets[..4]) != u32_at(octets, 4) {
            return Err(LENGTH);
        }
        let length = u32_at(octets, 0) as usize;
        let whole = length + AROUND_RECORD_OCTETS;
        if length > RECORD_OCTETS_MAX || octets.len() < whole {
            return Err(LENGTH);
        }
        let record = &octets[8..8 + length];
        if crc32c::crc32c(record) != u32_at(octets, 8 + length) || octets[whole - 1] != END {
            return Err(RECORD);
        }
        let record = postcard::from_bytes(record).map_err(|_| "a record does not decode")?;
        Ok((record, whole))
    }

    /// Where a record that begins here and cannot be read would end.
    fn extent(octets: &[u8], at: usize) -> usize {
        match octets.get(at..at + 8) {
            Some(head) if crc32c::crc32c(&head[..4]) == u32_at(head, 4) => {
                at + u32_at(head, 0) as usize + AROUND_RECORD_OCTETS
            }
            _ => at + 8,
        }
    }
}

/// All data keys of a store.
pub(super) struct Keyring {
    path: PathBuf,
    master: LessSafeKey,
    /// The store's own.
    secret: Prk,
    keys: RwLock<Keys>,
    has_unsaved: AtomicBool,
    file: Mutex<KeysFile>,
}

#[derive(Default)]
struct Keys {
    by_name: HashMap<LogName, HashMap<PrincipalId, Arc<DataKey>>>,
    by_id: HashMap<u32, Arc<DataKey>>,
    unsaved: Vec<Arc<DataKey>>,
    next_id: u32,
}

impl Keys {
    fn insert(&mut self, key: &Arc<DataKey>) {
        self.by_name.entry(key.log.clone()).or_default().insert(key.source.clone(), key.clone());
        self.by_id.insert(key.id, key.clone());
        self.next_id = self.next_id.max(key.id.saturating_add(1));
    }
}

struct KeysFile {
    file: Box<dyn DiskFile>,
    octets: u64,
    failed: Option<IoFault>,
}

/// Why new data keys are not on disk.
#[derive(Clone)]
pub(super) enum SaveError {
    /// The file is as it was before; the keys wait for the next try.
    DiskFull(IoFault),
    /// What the file holds is not known.
    Failed(IoFault),
}

/// What may be done to the keys file when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nothing is encrypted yet, so it is made where there is none.
    MayCreate,
    /// It must be there.
    Existing,
    /// It must be there, and a torn end stays on it.
    Untouched,
}

impl Keyring {
    /// Opens the keys file.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        master: &MasterKey,
        opening: Opening,
    ) -> Result<Self, OpenError> {
        let master = master_key(master);
        let io = |operation| move |source| IoFault::new(operation, path, source);
        let octets = match std::fs::read(path) {
            Ok(octets) if octets.len() >= HEADER_OCTETS => octets,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("read")(error).into()),
            // Absent, or torn while it was made.
            _ if opening == Opening::MayCreate => create(disk, path, &master)?,
            _ => return Err(OpenError::KeysMissing { path: path.to_owned() }),
        };
        let content = Content::parse(path, &master, &octets)?;
        let mut file = disk.open(path).map_err(io("open"))?;
        if content.octets < octets.len() && opening != Opening::Untouched {
            tracing::warn!("{} ends with a data key that was never used; it is cut off", path.display());
            file.truncate(content.octets as u64).map_err(io("truncate"))?;
            file.sync().map_err(io("fsync"))?;
        }
        let mut keys = Keys::default();
        for record in content.records {
            let key = unwrap_key(&master, record).ok_or_else(|| OpenError::KeysDamaged {
                path: path.to_owned(),
                what: "a data key does not unwrap".into(),
            })?;
            keys.insert(&Arc::new(key));
        }
        let file = KeysFile { file, octets: content.octets as u64, failed: None };
        Ok(Self {
            path: path.to_owned(),
            master,
            secret: Prk::new_less_safe(HKDF_SHA256, content.secret.as_slice()),
            keys: RwLock::new(keys),
            has_unsaved: AtomicBool::new(false),
            file: Mutex::new(file),
        })
    }

    /// The key of the metadata.
    pub(super) fn meta_key(&self) -> MetaKey {
        MetaKey(self.secret.clone())
    }

    /// Some key of a log, if it has any.
    pub(super) fn any_of(&self, log: &LogName) -> Option<Arc<DataKey>> {
        let keys = self.keys.read();
        keys.by_name.get(log).and_then(|sources| sources.values().min_by_key(|key| key.id)).cloned()
    }

    /// The key with a number.
    pub(super) fn by_id(&self, id: u32) -> Option<Arc<DataKey>> {
        self.keys.read().by_id.get(&id).cloned()
    }

    /// The key of a log and source, drawn now if there is none. It must be [saved](Self::save) before what it encrypts.
    pub(super) fn of(&self, log: &LogName, source: &PrincipalId) -> Result<Arc<DataKey>, IoFault> {
        let find = |keys: &Keys| keys.by_name.get(log).and_then(|sources| sources.get(source)).cloned();
        if let Some(key) = find(&self.keys.read()) {
            return Ok(key);
        }
        let mut keys = self.keys.write();
        if let Some(key) = find(&keys) {
            return Ok(key);
        }
        let fault = |_| IoFault::new("draw a data key for", &self.path, io::Error::other("no random octets"));
        let key = Arc::new(self.draw(keys.next_id, log, source).map_err(fault)?);
        keys.insert(&key);
        keys.unsaved.push(key.clone());
        self.has_unsaved.store(true, Ordering::Release);
        Ok(key)
    }

    fn draw(&self, id: u32, log: &LogName, source: &PrincipalId) -> Result<DataKey, Unspecified> {
        let mut secret = Zeroizing::new([0; KEY_OCTETS]);
        aws_lc_rs::rand::fill(secret.as_mut_slice())?;
        let wrapped = Wrapped::seal(&self.master, &wrap_data(id, log, source), &secret)?;
        let (log, source) = (log.clone(), source.clone());
        Ok(DataKey { id, log, source, secret: Prk::new_less_safe(HKDF_SHA256, secret.as_slice()), wrapped })
    }

    /// Makes all keys that were drawn so far durable. Nothing to do in almost every case.
    pub(super) fn save(&self) -> Result<(), SaveError> {
        if !self.has_unsaved.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut file = self.file.lock();
        if let Some(fault) = &file.failed {
            return Err(SaveError::Failed(fault.clone()));
        }
        let unsaved = self.keys.read().unsaved.clone();
        let synced = file.octets;
        let octets: Vec<u8> = unsaved.iter().flat_map(|key| key.record(synced).encode()).collect();
        self.write(&mut file, &octets)?;
        let mut keys = self.keys.write();
        keys.unsaved.drain(..unsaved.len());
        self.has_unsaved.store(!keys.unsaved.is_empty(), Ordering::Release);
        Ok(())
    }

    fn write(&self, keys: &mut KeysFile, octets: &[u8]) -> Result<(), SaveError> {
        let position = keys.octets;
        if let Err(error) = write_all_at(keys.file.as_mut(), &mut [IoSlice::new(octets)], position) {
            let fault = IoFault::new("write", &self.path, error);
            let cleaned = fault.is_disk_full() && keys.file.truncate(position).is_ok();
            if cleaned {
                return Err(SaveError::DiskFull(fault));
            }
            keys.failed = Some(fault.clone());
            return Err(SaveError::Failed(fault));
        }
        if let Err(error) = keys.file.sync() {
            let fault = IoFault::new("fsync", &self.path, error);
            keys.failed = Some(fault.clone());
            return Err(SaveError::Failed(fault));
        }
        keys.octets += octets.len() as u64;
        Ok(())
    }
}

fn master_key(master: &MasterKey) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, master.octets()).expect("AES-256 takes 32 octets");
    LessSafeKey::new(key)
}

/// What a wrapped key is bound to.
fn wrap_data(id: u32, log: &LogName, source: &PrincipalId) -> Vec<u8> {
    postcard::to_allocvec(&(id, log, source)).expect("plain data encodes into memory")
}

/// What a new file begins with.
fn header(master: &LessSafeKey, secret: &[u8; KEY_OCTETS]) -> Result<Vec<u8>, Unspecified> {
    let Wrapped { nonce, sealed } = Wrapped::seal(master, SECRET_AAD, secret)?;
    let mut octets = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &nonce, &sealed].concat();
    octets.extend(crc32c::crc32c(&octets).to_le_bytes());
    Ok(octets)
}

fn create(disk: &dyn Disk, path: &Path, master: &LessSafeKey) -> Result<Vec<u8>, OpenError> {
    let mut secret = Zeroizing::new([0; KEY_OCTETS]);
    let drawn = aws_lc_rs::rand::fill(secret.as_mut_slice()).and_then(|()| header(master, &secret));
    let none =
        |_| IoFault::new("draw random octets for", path, io::Error::other("the operating system gave none"));
    let octets = drawn.map_err(none)?;
    replace(disk, path, &octets)?;
    Ok(octets)
}

/// Whether a key-encryption key is the one that a file was written under.
pub(super) fn is_opened_by(path: &Path, octets: &[u8], master: &MasterKey) -> Result<bool, OpenError> {
    match open_header(path, &master_key(master), octets) {
        Ok(_) => Ok(true),
        Err(OpenError::WrongKey { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same file under another key-encryption key, and how many data keys it holds. A torn end is left out.
pub(super) fn rewrap(
    path: &Path,
    octets: &[u8],
    old: &MasterKey,
    new: &MasterKey,
) -> Result<(Vec<u8>, usize), OpenError> {
    let (old, new) = (master_key(old), master_key(new));
    let content = Content::parse(path, &old, octets)?;
    let none =
        |_| IoFault::new("draw random octets for", path, io::Error::other("the operating system gave none"));
    let damaged = |what: &str| OpenError::KeysDamaged { path: path.to_owned(), what: what.into() };
    let mut rewrapped = header(&new, &content.secret).map_err(none)?;
    let keys = content.records.len();
    for record in content.records {
        let aad = record.aad();
        let secret = record.wrapped.open(&old, &aad).ok_or_else(|| damaged("a data key does not unwrap"))?;
        let wrapped = Wrapped::seal(&new, &aad, &secret).map_err(none)?;
        let synced = rewrapped.len() as u64;
        rewrapped.extend(Record { wrapped, synced, ..record }.encode());
    }
    Ok((rewrapped, keys))
}

fn open_header(
    path: &Path,
    master: &LessSafeKey,
    octets: &[u8],
) -> Result<Zeroizing<[u8; KEY_OCTETS]>, OpenError> {
    let damaged = |what: &str| OpenError::KeysDamaged { path: path.to_owned(), what: what.into() };
    if octets.len() < HEADER_OCTETS {
        return Err(damaged("its header is cut short"));
    }
    if octets[..8] != MAGIC {
        return Err(damaged("it does not begin with HILUMKEY"));
    }
    if u32_at(octets, HEADER_OCTETS - 4) != crc32c::crc32c(&octets[..HEADER_OCTETS - 4]) {
        return Err(damaged("the checksum of its header is wrong"));
    }
    let version = u32_at(octets, 8);
    if version != VERSION {
        return Err(OpenError::Version { path: path.to_owned(), found: version, known: VERSION });
    }
    let nonce = octets[12..12 + NONCE_LEN].try_into().expect("a nonce's octets");
    let wrapped = Wrapped { nonce, sealed: octets[12 + NONCE_LEN..HEADER_OCTETS - 4].to_vec() };
    wrapped.open(master, SECRET_AAD).ok_or_else(|| OpenError::WrongKey { path: path.to_owned() })
}

/// What a keys file holds.
struct Content {
    secret: Zeroizing<[u8; KEY_OCTETS]>,
    records: Vec<Record>,
    /// How far it is whole.
    octets: usize,
}

impl Content {
    /// Reads a file. Only an end that a crash tore is left out: it was not fsynced, so nothing is encrypted under it.
    fn parse(path: &Path, master: &LessSafeKey, octets: &[u8]) -> Result<Self, OpenError> {
        let secret = open_header(path, master, octets)?;
        let mut content = Self { secret, records: Vec::new(), octets: HEADER_OCTETS };
        while content.octets < octets.len() {
            let at = content.octets;
            match Record::decode(&octets[at..]) {
                Ok((record, whole)) => {
                    content.records.push(record);
                    content.octets += whole;
                }
                Err(_) if is_torn(octets, at) => break,
                Err(what) => {
                    let what = format!("{what} at octet {at}");
                    return Err(OpenError::KeysDamaged { path: path.to_owned(), what });
                }
            }
        }
        Ok(content)
    }
}

/// Whether the record at a position may be the work of a crash, and no later one says that it was durable.
fn is_torn(octets: &[u8], at: usize) -> bool {
    let end = Record::extent(octets, at);
    let claims =
        |from: usize| Record::decode(&octets[from..]).is_ok_and(|(record, _)| record.synced > at as u64);
    (end > octets.len() || has_hole(octets, at, end)) && !(at + 1..octets.len()).any(claims)
}

fn unwrap_key(master: &LessSafeKey, record: Record) -> Option<DataKey> {
    let secret = record.wrapped.open(master, &record.aad())?;
    let secret = Prk::new_less_safe(HKDF_SHA256, secret.as_slice());
    let Record { id, log, source, wrapped, .. } = record;
    Some(DataKey { id, log, source, secret, wrapped })
}
