//! Data keys: one for each log and source, wrapped by the key-encryption key, in a small append-only file.
//!
//! The file begins with magic `HILUMKEY`, a version and an empty message sealed under the key-encryption key, which tells
//! at open whether this is the right one. Then, for each data key: the length of the record, the CRC32C of the length, the
//! record in postcard, its CRC32C. A data key is AES-256-GCM-wrapped with its number, log and source as associated data.
//! A record is fsynced before anything under its key is written: [`Keyring::save`] comes first in every group commit.
//!
//! No data key encrypts directly: each segment and each blob derives a key of its own from it (HKDF-Expand, RFC 5869,
//! section 2.3) with its own random salt. So there are no nonces to keep apart between them.

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
use super::disk::{Disk, DiskFile, write_all_at};
use super::frame::{Salt, TAG_OCTETS, u32_at};
use crate::{IoFault, MasterKey};

const MAGIC: [u8; 8] = *b"HILUMKEY";
const VERSION: u32 = 1;
const CHECK_AAD: &[u8] = b"hilum keys 1";
const HEADER_OCTETS: usize = 8 + 4 + NONCE_LEN + TAG_OCTETS + 4;
const KEY_OCTETS: usize = 32;
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
            Purpose::Segment => b"hilum segment 1",
            Purpose::Blob => b"hilum blob 1",
        };
        derive(&self.secret, &[purpose, salt])
    }
}

fn derive(secret: &Prk, info: &[&[u8]]) -> Result<LessSafeKey, Unspecified> {
    Ok(LessSafeKey::new(UnboundKey::from(secret.expand(info, &AES_256_GCM)?)))
}

/// The key of one value of the metadata, whose salt it is stored with.
pub(super) struct MetaKey(Prk);

impl MetaKey {
    pub(super) fn new(master: &MasterKey) -> Self {
        Self(Prk::new_less_safe(HKDF_SHA256, master.octets()))
    }

    pub(super) fn derive(&self, salt: &Salt) -> Result<LessSafeKey, Unspecified> {
        derive(&self.0, &[b"hilum meta 1", salt])
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Wrapped {
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: u32,
    log: LogName,
    source: PrincipalId,
    wrapped: Wrapped,
}

/// All data keys of a store.
pub(super) struct Keyring {
    path: PathBuf,
    master: LessSafeKey,
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

impl Keyring {
    /// Opens the keys file, or makes one where `may_create` says that nothing is encrypted yet.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        master: &MasterKey,
        may_create: bool,
    ) -> Result<Self, OpenError> {
        let master = master_key(master);
        let io = |operation| move |source| IoFault::new(operation, path, source);
        let octets = match std::fs::read(path) {
            Ok(octets) if octets.len() >= HEADER_OCTETS => octets,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("read")(error).into()),
            // Absent, or torn while it was made.
            _ if may_create => create(disk, path, &master)?,
            _ => return Err(OpenError::KeysMissing { path: path.to_owned() }),
        };
        check_header(path, &master, &octets)?;
        let (keys, valid) = read_records(path, &master, &octets)?;
        let mut file = disk.open(path).map_err(io("open"))?;
        if valid < octets.len() {
            tracing::warn!("{} ends with a data key that was never used; it is cut off", path.display());
            file.truncate(valid as u64).map_err(io("truncate"))?;
            file.sync().map_err(io("fsync"))?;
        }
        let file = KeysFile { file, octets: valid as u64, failed: None };
        Ok(Self {
            path: path.to_owned(),
            master,
            keys: RwLock::new(keys),
            has_unsaved: AtomicBool::new(false),
            file: Mutex::new(file),
        })
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
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce)?;
        // The vector has room for the tag, so that no copy of the plain key is left behind when it grows.
        let mut sealed = Vec::with_capacity(KEY_OCTETS + TAG_OCTETS);
        sealed.extend_from_slice(secret.as_slice());
        let aad = Aad::from(wrap_data(id, log, source));
        self.master.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)?;
        Ok(DataKey {
            id,
            log: log.clone(),
            source: source.clone(),
            secret: Prk::new_less_safe(HKDF_SHA256, secret.as_slice()),
            wrapped: Wrapped { nonce, sealed },
        })
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
        let octets: Vec<u8> = unsaved.iter().flat_map(|key| encode_record(key)).collect();
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

fn create(disk: &dyn Disk, path: &Path, master: &LessSafeKey) -> Result<Vec<u8>, OpenError> {
    let io = |operation| move |source| IoFault::new(operation, path, source);
    let mut nonce = [0; NONCE_LEN];
    let mut sealed = Vec::new();
    aws_lc_rs::rand::fill(&mut nonce)
        .and_then(|()| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            master.seal_in_place_append_tag(nonce, Aad::from(CHECK_AAD), &mut sealed)
        })
        .map_err(|_| io("draw random octets for")(io::Error::other("the operating system gave none")))?;
    let mut octets = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &nonce, &sealed].concat();
    octets.extend(crc32c::crc32c(&octets).to_le_bytes());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove")(error).into()),
        _ => {}
    }
    let mut file = disk.create(path).map_err(io("create"))?;
    write_all_at(file.as_mut(), &mut [IoSlice::new(&octets)], 0).map_err(io("write"))?;
    file.sync().map_err(io("fsync"))?;
    if let Some(dir) = path.parent() {
        disk.sync_dir(dir).map_err(|source| IoFault::new("fsync", dir, source))?;
    }
    Ok(octets)
}

fn check_header(path: &Path, master: &LessSafeKey, octets: &[u8]) -> Result<(), OpenError> {
    let damaged = |what: &str| OpenError::KeysDamaged { path: path.to_owned(), what: what.into() };
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
    let nonce: [u8; NONCE_LEN] = octets[12..12 + NONCE_LEN].try_into().expect("a nonce's octets");
    let tag = &mut octets[12 + NONCE_LEN..HEADER_OCTETS - 4].to_vec();
    master
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(CHECK_AAD), tag)
        .map(drop)
        .map_err(|_| OpenError::WrongKey { path: path.to_owned() })
}

fn encode_record(key: &DataKey) -> Vec<u8> {
    let DataKey { id, log, source, wrapped, .. } = key;
    let record = Record { id: *id, log: log.clone(), source: source.clone(), wrapped: wrapped.clone() };
    let record = postcard::to_allocvec(&record).expect("plain data encodes into memory");
    let length = u32::try_from(record.len()).expect("names are bounded").to_le_bytes();
    let (length_crc, crc) = (crc32c::crc32c(&length).to_le_bytes(), crc32c::crc32c(&record).to_le_bytes());
    [&length, &length_crc, record.as_slice(), &crc].concat()
}

/// The keys of a file, and how far it is whole. Only a last record that was not written to its end is left out: it was
/// not fsynced, so nothing is encrypted under it.
fn read_records(path: &Path, master: &LessSafeKey, octets: &[u8]) -> Result<(Keys, usize), OpenError> {
    let mut keys = Keys::default();
    let mut at = HEADER_OCTETS;
    while at < octets.len() {
        let damaged =
            |what| OpenError::KeysDamaged { path: path.to_owned(), what: format!("{what} at octet {at}") };
        let rest = &octets[at..];
        if rest.len() < 8 || rest.iter().all(|&octet| octet == 0) {
            break;
        }
        let length = u32_at(rest, 0) as usize;
        if crc32c::crc32c(&rest[..4]) != u32_at(rest, 4) || length > RECORD_OCTETS_MAX {
            return Err(damaged("the length of a record is wrong"));
        }
        let Some(record) = rest.get(8..8 + length).filter(|_| rest.len() >= 12 + length) else { break };
        if crc32c::crc32c(record) != u32_at(rest, 8 + length) {
            return Err(damaged("the checksum of a record is wrong"));
        }
        let record: Record = postcard::from_bytes(record).map_err(|_| damaged("a record does not decode"))?;
        let key = unwrap_key(master, record).ok_or_else(|| damaged("a data key does not unwrap"))?;
        keys.insert(&Arc::new(key));
        at += 12 + length;
    }
    Ok((keys, at))
}

fn unwrap_key(master: &LessSafeKey, record: Record) -> Option<DataKey> {
    let Record { id, log, source, wrapped } = record;
    let mut sealed = Zeroizing::new(wrapped.sealed.clone());
    let aad = Aad::from(wrap_data(id, &log, &source));
    let secret = master.open_in_place(Nonce::assume_unique_for_key(wrapped.nonce), aad, &mut sealed).ok()?;
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    Some(DataKey { id, log, source, secret, wrapped })
}
