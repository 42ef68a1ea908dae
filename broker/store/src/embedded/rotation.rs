//! Changes the key-encryption key: draws a new one and wraps every data key anew. No record is touched.
//!
//! | step | key file | beside it | `keys` opens with | a start after a crash here |
//! |---|---|---|---|---|
//! | | old | | old | |
//! | the new key is durable beside the old one | old | new | old | goes on with the old key, removes the new one |
//! | `keys` is replaced by one under the new key | old | new | new | goes on with the new key, gives it the file |
//! | the new key takes the place of the old one | new | | new | |
//!
//! [`settle`] is what a start does first. Who has a copy of the old key can still read old copies of `keys`, and whatever was
//! written under data keys in them: rotate after a key was exposed, and replace backups.

use std::io::{self, IoSlice};
use std::path::Path;

use super::OpenError;
use super::disk::{Disk, RealDisk, new_name, remove, replace, sync_dir, write_all_at};
use super::keyring;
use crate::{IoFault, KeyFileError, MasterKey};

/// Why the key-encryption key was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key file cannot be read.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// Gives the store in a directory a new key-encryption key, and writes it to the key file in place of the present one: how
/// many data keys were wrapped anew. The store must not be open.
pub fn rotate(dir: &Path, key_file: &Path) -> Result<usize, RotateError> {
    rotate_on(&RealDisk, dir, key_file)
}

pub(super) fn rotate_on(disk: &dyn Disk, dir: &Path, key_file: &Path) -> Result<usize, RotateError> {
    let _lock = super::lock(dir)?;
    settle_locked(disk, dir, key_file)?;
    let path = dir.join("keys");
    let Some(octets) = read(&path)? else { return Err(OpenError::KeysMissing { path }.into()) };
    let old = MasterKey::from_file(key_file)?;
    let random = |_| IoFault::new("draw a key for", key_file, io::Error::other("no random octets"));
    let new = MasterKey::generate().map_err(random)?;
    let (rewrapped, keys) = keyring::rewrap(&path, &octets, &old, &new)?;
    let beside = new_name(key_file);
    write_key(disk, &beside, &new)?;
    replace(disk, &path, &rewrapped)?;
    finish(disk, key_file)?;
    Ok(keys)
}

/// Ends a rotation that was interrupted, one way or the other. To be called before the key file is read. The store must not
/// be open.
pub fn settle(dir: &Path, key_file: &Path) -> Result<(), RotateError> {
    if !new_name(key_file).exists() {
        return Ok(());
    }
    super::make_dirs(dir)?;
    let _lock = super::lock(dir)?;
    settle_locked(&RealDisk, dir, key_file)
}

pub(super) fn settle_locked(disk: &dyn Disk, dir: &Path, key_file: &Path) -> Result<(), RotateError> {
    let beside = new_name(key_file);
    if !beside.exists() {
        return Ok(());
    }
    let path = dir.join("keys");
    if let Some(octets) = read(&path)? {
        // A new key that does not read was never written to its end, so nothing is wrapped under it.
        let is_new = match MasterKey::from_file(&beside) {
            Ok(new) => keyring::is_opened_by(&path, &octets, &new)?,
            Err(KeyFileError::Malformed { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if is_new {
            tracing::warn!(
                "a rotation of the key-encryption key was interrupted; the new key is put in place"
            );
            return Ok(finish(disk, key_file)?);
        }
        if !keyring::is_opened_by(&path, &octets, &MasterKey::from_file(key_file)?)? {
            return Err(OpenError::WrongKey { path }.into());
        }
    }
    tracing::warn!("a rotation of the key-encryption key was interrupted; the old key stays");
    remove(disk, &beside)?;
    Ok(sync_dir(disk, key_file.parent().unwrap_or(key_file))?)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, IoFault> {
    match std::fs::read(path) {
        Ok(octets) => Ok(Some(octets)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoFault::new("read", path, error)),
    }
}

fn write_key(disk: &dyn Disk, path: &Path, key: &MasterKey) -> Result<(), IoFault> {
    let text = key.to_hex();
    let io = |operation| move |error| IoFault::new(operation, path, error);
    let mut file = disk.create(path).map_err(io("create"))?;
    let mut slices = [IoSlice::new(text.as_bytes()), IoSlice::new(b"\n")];
    write_all_at(file.as_mut(), &mut slices, 0).map_err(io("write"))?;
    file.sync().map_err(io("fsync"))?;
    sync_dir(disk, path.parent().unwrap_or(path))
}

fn finish(disk: &dyn Disk, key_file: &Path) -> Result<(), IoFault> {
    disk.rename(&new_name(key_file), key_file).map_err(|error| IoFault::new("replace", key_file, error))?;
    sync_dir(disk, key_file.parent().unwrap_or(key_file))
}
