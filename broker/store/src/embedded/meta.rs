//! Metadata on sled 0.34. It may be lost at any time: a database that does not open is moved aside, and the store begins
//! with an empty one. Losing it costs a rebuild or a redelivery, never a record.
//!
//! sled's `flush` does not fsync on Linux, and values above some size go to files of their own: so values are small, and
//! nothing durable is built on it. Values are sealed with AES-256-GCM, each under a key of its own salt, with the metadata's
//! key as associated data; a value that does not open counts as lost.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use bytes::Bytes;
use parking_lot::RwLock;

use super::OpenError;
use super::disk::{RealDisk, remove};
use super::frame::{Salt, TAG_OCTETS};
use super::keyring::MetaKey;
use super::pool::Pool;
use crate::limits::{META_KEY_OCTETS_MAX, META_SCAN_ENTRIES_MAX, META_VALUE_OCTETS_MAX};
use crate::{IoFault, Meta, MetaError, Pending};

const SALT_OCTETS: usize = size_of::<Salt>();
/// A database that was just closed gives its file up a little later.
const OPEN_TRIES: u32 = 40;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Small values in sled.
pub(super) struct SledMeta {
    inner: Arc<Inner>,
    pool: Arc<Pool>,
}

struct Inner {
    database: RwLock<Option<sled::Db>>,
    key: MetaKey,
}

impl SledMeta {
    pub(super) fn open(
        dir: &Path,
        key: MetaKey,
        cache_octets: u64,
        pool: Arc<Pool>,
    ) -> Result<Self, OpenError> {
        let database = match open(dir, cache_octets) {
            Ok(database) => database,
            Err(what) => {
                let aside = move_aside(dir)?;
                let (from, to) = (dir.display(), aside.display());
                tracing::warn!(
                    "{from} does not open ({what}): moved to {to} and begun anew; expect redeliveries"
                );
                open(dir, cache_octets)
                    .map_err(|what| IoFault::new("open", dir, std::io::Error::other(what)))?
            }
        };
        Ok(Self { inner: Arc::new(Inner { database: RwLock::new(Some(database)), key }), pool })
    }

    pub(super) fn close(&self) {
        if let Some(database) = self.inner.database.write().take()
            && let Err(error) = database.flush()
        {
            tracing::warn!("the metadata was not flushed: {error}");
        }
    }
}

/// sled panics on some damage, so a panic counts as damage too.
fn open(dir: &Path, cache_octets: u64) -> Result<sled::Db, String> {
    let config = || sled::Config::new().path(dir).cache_capacity(cache_octets);
    let mut tries = 0;
    loop {
        tries += 1;
        return match catch_unwind(AssertUnwindSafe(|| config().open())) {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(sled::Error::Io(error)))
                if error.to_string().contains("acquire lock") && tries < OPEN_TRIES =>
            {
                sleep(OPEN_PAUSE);
                continue;
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("sled panicked".into()),
        };
    }
}

/// The last database that did not open is kept, for whoever wants to know why.
fn move_aside(dir: &Path) -> Result<PathBuf, IoFault> {
    let aside = dir.with_extension("damaged");
    if aside.is_dir() {
        std::fs::remove_dir_all(&aside).map_err(|error| IoFault::new("remove", &aside, error))?;
    }
    remove(&RealDisk, &aside)?;
    std::fs::rename(dir, &aside).map_err(|error| IoFault::new("move aside", dir, error))?;
    Ok(aside)
}

fn check(field: &'static str, actual: usize, limit: usize) -> Result<(), MetaError> {
    if actual <= limit { Ok(()) } else { Err(MetaError::TooLarge { field, actual, limit }) }
}

/// Holds a key and a value to their limits.
pub(crate) fn check_key_and_value(key: &[u8], value: Option<&[u8]>) -> Result<(), MetaError> {
    check("key", key.len(), META_KEY_OCTETS_MAX)?;
    check("value", value.map_or(0, <[u8]>::len), META_VALUE_OCTETS_MAX)
}

fn failed(error: impl std::fmt::Display) -> MetaError {
    MetaError::Database(error.to_string().into())
}

impl Inner {
    fn with<T>(&self, operation: impl FnOnce(&sled::Db) -> Result<T, MetaError>) -> Result<T, MetaError> {
        let database = self.database.read();
        operation(database.as_ref().ok_or(MetaError::Closed)?)
    }

    fn seal(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, MetaError> {
        let unspecified = |_| failed("the cryptographic library failed");
        let mut octets = Vec::with_capacity(SALT_OCTETS + value.len() + TAG_OCTETS);
        let mut salt = Salt::default();
        aws_lc_rs::rand::fill(&mut salt).map_err(unspecified)?;
        octets.extend_from_slice(&salt);
        octets.extend_from_slice(value);
        let sealing = self.key.derive(&salt).map_err(unspecified)?;
        let plain = &mut octets[SALT_OCTETS..];
        let tag =
            sealing.seal_in_place_separate_tag(only_nonce(), Aad::from(key), plain).map_err(unspecified)?;
        octets.extend_from_slice(tag.as_ref());
        Ok(octets)
    }

    /// The value; none where it is damaged.
    fn open(&self, key: &[u8], octets: &[u8]) -> Option<Bytes> {
        let opened = octets.split_first_chunk::<SALT_OCTETS>().and_then(|(salt, sealed)| {
            let mut sealed = sealed.to_vec();
            let opening = self.key.derive(salt).ok()?;
            let plain = opening.open_in_place(only_nonce(), Aad::from(key), &mut sealed).ok()?.len();
            sealed.truncate(plain);
            Some(Bytes::from(sealed))
        });
        if opened.is_none() {
            tracing::warn!("a value of the metadata is damaged and counts as lost");
        }
        opened
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, MetaError> {
        let found = self.with(|database| database.get(key).map_err(failed))?;
        Ok(found.and_then(|octets| self.open(key, &octets)))
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, MetaError> {
        let new = new.map(|value| self.seal(key, value)).transpose()?;
        self.with(|database| {
            loop {
                let found = database.get(key).map_err(failed)?;
                let value = found.as_ref().and_then(|octets| self.open(key, octets));
                if value.as_deref() != expected {
                    return Ok(false);
                }
                // The sealed octets stand for the value: they differ each time it is set.
                if database.compare_and_swap(key, found, new.as_deref()).map_err(failed)?.is_ok() {
                    return Ok(true);
                }
            }
        })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, MetaError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut entries = Vec::new();
        self.with(|database| {
            for entry in database.range::<&[u8], _>((from, Bound::Unbounded)) {
                let (key, octets) = entry.map_err(failed)?;
                if !key.starts_with(prefix) || entries.len() >= entries_max.min(META_SCAN_ENTRIES_MAX) {
                    break;
                }
                if let Some(value) = self.open(&key, &octets) {
                    entries.push((Bytes::copy_from_slice(&key), value));
                }
            }
            Ok(())
        })?;
        Ok(entries)
    }
}

/// Each value has a key of its own, so it needs only one nonce.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl Meta for SledMeta {
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>, MetaError> {
        let (inner, key) = (self.inner.clone(), key.to_vec());
        self.pool.run(move || inner.get(&key))
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Pending<bool, MetaError> {
        if let Err(error) = check_key_and_value(key, new) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let (inner, key) = (self.inner.clone(), key.to_vec());
        let (expected, new) = (expected.map(<[u8]>::to_vec), new.map(<[u8]>::to_vec));
        self.pool.run(move || inner.compare_and_set(&key, expected.as_deref(), new.as_deref()))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Pending<Vec<(Bytes, Bytes)>, MetaError> {
        let (inner, prefix, after) = (self.inner.clone(), prefix.to_vec(), after.map(<[u8]>::to_vec));
        self.pool.run(move || inner.scan(&prefix, after.as_deref(), entries_max))
    }
}
