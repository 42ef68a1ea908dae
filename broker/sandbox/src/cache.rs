//! Compiled components on disk, so that a start does not compile for seconds what was compiled before.
//!
//! What lies in the cache is machine code, and the engine runs it as it is. So each entry carries a MAC (HMAC-SHA-256, FIPS 198-1) under a
//! key that is made of the hospital's own, over its name and its octets; the name is made of the component's digest and of everything about
//! the engine that the code depends on. An entry that is damaged, or was made by somebody else, for another component or by another
//! build, is not loaded: it is removed, and the component compiled again. Decision 30 says why.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::Hash as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::hmac;
use hilum_core::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Octets of all entries; the oldest go first.
const CACHE_OCTETS_MAX: u64 = 1 << 30;
/// Octets of one entry: machine code of the largest component is some times as long as that.
const ENTRY_OCTETS_MAX: u64 = 512 << 20;
/// Octets of a MAC.
const MAC_OCTETS: usize = 32;
/// What the key is made for, so that it is none that anything else has.
const PURPOSE: &[u8] = b"hilum compiled components v1";

/// A folder of compiled components.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    key: hmac::Key,
}

impl Cache {
    /// Opens a folder, which is made if it is not there, under a key that is made of this secret of the hospital's.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the folder cannot be made, or if others than its owner may write to it or read it.
    pub fn open(folder: &Path, secret: &[u8]) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mode = fs::metadata(folder)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let what = format!("its mode is {mode:o}: it must be for its owner alone");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE);
        Ok(Self { folder: folder.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()) })
    }

    /// The compiled component of this digest, from the cache or by way of `compile`.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        digest: Digest,
        compile: impl FnOnce() -> wasmtime::Result<Component>,
    ) -> wasmtime::Result<Component> {
        let name = name(engine, digest);
        match self.find(engine, &name) {
            Ok(Some(component)) => return Ok(component),
            Ok(None) => {}
            Err(reason) => {
                tracing::warn!(
                    entry = name,
                    reason,
                    "a compiled plugin in the cache is not used, and compiled again"
                );
                // One that cannot be removed is written over.
                let _ = fs::remove_file(self.folder.join(&name));
            }
        }
        let component = compile()?;
        if let Err(error) = self.keep(&name, &component.serialize()?) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "a compiled plugin is not kept, and will be compiled again");
        }
        Ok(component)
    }

    /// None if there is no entry; an error if there is one that is not to be trusted.
    fn find(&self, engine: &Engine, name: &str) -> Result<Option<Component>, String> {
        let octets = match self.read(name) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let Some((mac, artifact)) = octets.split_first_chunk::<MAC_OCTETS>() else {
            return Err("it is too short".into());
        };
        let mut signed = hmac::Context::with_key(&self.key);
        signed.update(name.as_bytes());
        signed.update(artifact);
        if aws_lc_rs::constant_time::verify_slices_are_equal(signed.sign().as_ref(), mac).is_err() {
            return Err("it was changed, or is not of this hospital".into());
        }
        load(engine, artifact).map(Some).map_err(|error| error.to_string())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = File::open(self.folder.join(name))?;
        let size = file.metadata()?.len();
        if size > ENTRY_OCTETS_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long"));
        }
        let mut octets = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(ENTRY_OCTETS_MAX).read_to_end(&mut octets)?;
        Ok(octets)
    }

    /// Writes an entry beside its place and moves it there, so that it is whole or not there.
    fn keep(&self, name: &str, artifact: &[u8]) -> io::Result<()> {
        let octets = (artifact.len() + MAC_OCTETS) as u64;
        if octets > ENTRY_OCTETS_MAX {
            return Ok(());
        }
        self.make_room(octets)?;
        let mut signed = hmac::Context::with_key(&self.key);
        signed.update(name.as_bytes());
        signed.update(artifact);
        let unfinished = self.folder.join(format!("{name}.{}.new", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(signed.sign().as_ref())?;
        file.write_all(artifact)?;
        fs::rename(&unfinished, self.folder.join(name))
    }

    /// Removes the oldest entries until there is room for one more, and what a start that was cut off has left.
    fn make_room(&self, octets: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let made = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push((made, metadata.len(), entry.path()));
        }
        entries.sort_unstable();
        let mut kept: u64 = entries.iter().map(|(_, octets, _)| octets).sum();
        for (_, size, path) in entries {
            if kept + octets <= CACHE_OCTETS_MAX {
                break;
            }
            fs::remove_file(path)?;
            kept -= size;
        }
        Ok(())
    }
}

/// An entry's name: the component, and all that its code depends on.
fn name(engine: &Engine, digest: Digest) -> String {
    let mut compatible = Compatible(Vec::new());
    engine.precompile_compatibility_hash().hash(&mut compatible);
    format!("{digest}-{}", Digest::of(&compatible.0))
}

/// Takes down what is hashed, to hash it with SHA-256.
struct Compatible(Vec<u8>);

impl std::hash::Hasher for Compatible {
    fn write(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn finish(&self) -> u64 {
        self.0.len() as u64
    }
}

/// The same component for an engine that differs in nothing that code depends on, as those do that differ in their stacks.
pub(crate) fn taken_over(component: &Component, engine: &Engine) -> wasmtime::Result<Component> {
    load(engine, &component.serialize()?)
}

/// Loads machine code that this broker has compiled before.
#[expect(unsafe_code, reason = "there is no safe way to load compiled code; see decision 30")]
fn load(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` asks for octets that `Component::serialize` made and that nobody has changed. The caller has
    // them from there this moment, or has checked their MAC, whose key only this hospital's broker has, and which it puts on nothing but
    // the output of `Component::serialize`. That they were made by this version and with these settings wasmtime checks by itself.
    unsafe { Component::deserialize(engine, artifact) }
}
