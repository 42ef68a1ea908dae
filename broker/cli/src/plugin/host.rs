//! A broker's services for one plugin run: keys that live as long as the run, large bodies in a temporary directory, and
//! state in memory. For tests everything that is otherwise chance is fixed: keys follow from their names, the clock stands still.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::rand;
use bytes::Bytes;
use hilum_core::cose::{PrivateKey, RecipientKey};
use hilum_core::digest::Hasher;
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::record::{BlobId, BlobRef, Timestamp};
use hilum_core::{Body, Digest, FlowName, Principal, PrincipalId, StageName};
use hilum_sandbox::{
    BlobSink, Limit, ServiceError, Services, Span, SpanStart, StageEvent, StageOf, StateChange, StateError,
    StateUsage, Versioned,
};
use tempfile::TempDir;

use super::spans::Spans;

/// An unencrypted PKCS#8 key (RFC 5958) on the curve P-256, up to the 32 octets of the key itself.
const PKCS8_P256: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
    0x20,
];

/// The services of one run.
pub(crate) struct Host {
    blobs: TempDir,
    next: AtomicU64,
    secrets: Mutex<BTreeMap<String, Arc<[u8]>>>,
    recipients: Mutex<BTreeMap<String, RecipientKey>>,
    state: Mutex<BTreeMap<String, Versioned>>,
    /// What stages of other flows keep, by `FLOW/STAGE`; nothing where nothing is here.
    observed: Mutex<BTreeMap<String, BTreeMap<String, Vec<u8>>>>,
    limited: Mutex<BTreeMap<Limit, (u64, u64)>>,
    /// What was traced, where that was asked for.
    pub(super) spans: Spans,
    fixed: Option<Fixed>,
}

/// What stands for chance and time where runs are to be alike.
struct Fixed {
    now: AtomicU64,
    drawn: AtomicU64,
}

impl Host {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            blobs: tempfile::tempdir()?,
            next: AtomicU64::new(0),
            secrets: Mutex::default(),
            recipients: Mutex::default(),
            state: Mutex::default(),
            observed: Mutex::default(),
            limited: Mutex::default(),
            spans: Spans::default(),
            fixed: None,
        })
    }

    /// Services of which each run is like the one before. Nothing that they seal is secret.
    pub(super) fn fixed() -> std::io::Result<Self> {
        let fixed = Fixed { now: AtomicU64::new(0), drawn: AtomicU64::new(0) };
        Ok(Self { fixed: Some(fixed), ..Self::new()? })
    }

    /// Sets a clock that stands still.
    pub(super) fn set_now(&self, now: Timestamp) {
        if let Some(fixed) = &self.fixed {
            fixed.now.store(now.0, Ordering::Relaxed);
        }
    }

    /// The keyed state, as it is now.
    pub(super) fn state(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.iter().map(|(key, of)| (key.clone(), of.value.clone())).collect()
    }

    /// What stages of other flows keep from now on.
    pub(super) fn set_observed(&self, kept: BTreeMap<String, BTreeMap<String, Vec<u8>>>) {
        *self.observed.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// The names of secrets and of recipients that were made up for this run.
    pub(super) fn made_up(&self) -> (Vec<String>, Vec<String>) {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let recipients =
            self.recipients.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        (secrets, recipients)
    }

    /// The limits that the plugin ran into: how large each is, and how often.
    pub(super) fn limited(&self) -> BTreeMap<Limit, (u64, u64)> {
        self.limited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A whole body of up to `max` octets.
    pub(super) fn octets(&self, body: &Body, max: u64) -> anyhow::Result<Vec<u8>> {
        let blob = match body {
            Body::Inline(octets) => return Ok(octets.to_vec()),
            Body::Blob(blob) => blob,
        };
        anyhow::ensure!(
            blob.size <= max,
            "the plugin made a body of {} octets, at most {max} are looked at",
            blob.size
        );
        let mut octets = Vec::new();
        loop {
            let chunk = self.read_blob(blob, octets.len() as u64, BLOB_CHUNK_OCTETS)?;
            if chunk.is_empty() {
                return Ok(octets);
            }
            octets.extend_from_slice(&chunk);
        }
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.blobs.path().join(id.to_string())
    }
}

/// Whose records are that nobody published: they come from the command line.
pub(crate) fn command_line() -> anyhow::Result<Principal> {
    Ok(Principal {
        id: PrincipalId::new("spiffe://local/command-line")?,
        stakeholder: "local".parse()?,
        zone: "local".parse()?,
        roles: Vec::new(),
    })
}

/// Octets that follow from a name, for one use of it.
fn fixed_octets(usage: &str, name: &str) -> Digest {
    Digest::of(format!("hilum plugin test, {usage} {name}").as_bytes())
}

/// The key of a recipient that follows from its name. It is none: everybody can make it.
pub(super) fn fixed_private_key(name: &str) -> Result<PrivateKey, ServiceError> {
    let mut der = PKCS8_P256.to_vec();
    der.extend_from_slice(&fixed_octets("recipient", name).0);
    PrivateKey::from_pkcs8_der(&der).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> ServiceError {
    ServiceError(error.to_string())
}

/// A large body on its way into a file.
struct Sink {
    id: BlobId,
    file: File,
    size: u64,
    hasher: Hasher,
}

impl BlobSink for Sink {
    fn write(&mut self, octets: Bytes) -> Result<(), ServiceError> {
        self.size += octets.len() as u64;
        self.hasher.update(&octets);
        self.file.write_all(&octets).map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<BlobRef, ServiceError> {
        Ok(BlobRef { id: self.id, size: self.size, digest: self.hasher.finish() })
    }
}

impl Services for Host {
    fn read_blob(&self, blob: &BlobRef, from: u64, max: usize) -> Result<Bytes, ServiceError> {
        let mut file = File::open(self.path(blob.id)).map_err(failed)?;
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut octets = Vec::new();
        file.take(max as u64).read_to_end(&mut octets).map_err(failed)?;
        Ok(octets.into())
    }

    fn create_blob(&self, _: &PrincipalId) -> Result<Box<dyn BlobSink>, ServiceError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = BlobId(u128::from(number).to_be_bytes());
        let file = File::create_new(self.path(id)).map_err(failed)?;
        Ok(Box::new(Sink { id, file, size: 0, hasher: Hasher::new() }))
    }

    fn discard_blob(&self, blob: &BlobRef) {
        // The whole directory goes at the end of the run.
        let _ = std::fs::remove_file(self.path(blob.id));
    }

    fn recipient_keys(&self, name: &str) -> Result<Vec<RecipientKey>, ServiceError> {
        if self.fixed.is_some() {
            return Ok(vec![fixed_private_key(name)?.public().clone()]);
        }
        let mut recipients = self.recipients.lock().map_err(failed)?;
        if let Some(key) = recipients.get(name) {
            return Ok(vec![key.clone()]);
        }
        let private = agreement::PrivateKey::generate(&ECDH_P256).map_err(failed)?;
        let public = private.compute_public_key().map_err(failed)?;
        let key = RecipientKey::new(public.as_ref()).map_err(failed)?;
        recipients.insert(name.to_owned(), key.clone());
        Ok(vec![key])
    }

    fn secret(&self, name: &str) -> Result<Option<Arc<[u8]>>, ServiceError> {
        if self.fixed.is_some() {
            return Ok(Some(fixed_octets("secret", name).0.as_slice().into()));
        }
        let mut secrets = self.secrets.lock().map_err(failed)?;
        if let Some(secret) = secrets.get(name) {
            return Ok(Some(Arc::clone(secret)));
        }
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(failed)?;
        let secret: Arc<[u8]> = secret.as_slice().into();
        secrets.insert(name.to_owned(), Arc::clone(&secret));
        Ok(Some(secret))
    }

    fn private_key(&self, name: &str) -> Result<Option<Arc<PrivateKey>>, ServiceError> {
        self.fixed.is_some().then(|| fixed_private_key(name).map(Arc::new)).transpose()
    }

    fn observed(
        &self,
        flow: &FlowName,
        stage: &StageName,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, ServiceError> {
        let observed = self.observed.lock().map_err(failed)?;
        let kept = observed.get(&format!("{flow}/{stage}"));
        let find = |key: &String| kept?.get(key).map(|value| Bytes::copy_from_slice(value));
        Ok(keys.iter().map(find).collect())
    }

    fn state_get(&self, _: &FlowName, _: &StageName, key: &str) -> Result<Option<Versioned>, StateError> {
        Ok(self.state.lock().map_err(failed)?.get(key).cloned())
    }

    fn state_usage(&self, _: &FlowName, _: &StageName) -> Result<StateUsage, StateError> {
        let state = self.state.lock().map_err(failed)?;
        let octets = state.iter().map(|(key, found)| key.len() + found.value.len()).sum::<usize>();
        Ok(StateUsage { keys: state.len() as u64, octets: octets as u64 })
    }

    fn state_commit(&self, _: &FlowName, _: &StageName, changes: Vec<StateChange>) -> Result<(), StateError> {
        let mut state = self.state.lock().map_err(failed)?;
        for StateChange { key, to, .. } in changes {
            match to {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        Ok(())
    }

    fn count(&self, _: &FlowName, _: &StageName, counter: &str, value: u64) {
        tracing::debug!(counter, value, "metric");
    }

    fn sample(&self, _: &FlowName, _: &StageName, histogram: &str, value: f64) {
        tracing::debug!(histogram, value, "metric");
    }

    fn stage_event(&self, _: StageOf<'_>, event: StageEvent) {
        if let StageEvent::Limited { limit, max, count } = event {
            let mut limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
            limited.entry(limit).or_insert((max, 0)).1 += count;
        }
    }

    fn span(&self, start: SpanStart<'_>) -> Option<Box<dyn Span>> {
        Some(self.spans.begin(start))
    }

    fn now(&self) -> Timestamp {
        if let Some(fixed) = &self.fixed {
            return Timestamp(fixed.now.load(Ordering::Relaxed));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn random(&self, octets: &mut [u8]) {
        if let Some(fixed) = &self.fixed {
            for chunk in octets.chunks_mut(32) {
                let number = fixed.drawn.fetch_add(1, Ordering::Relaxed).to_string();
                chunk.copy_from_slice(&fixed_octets("random", &number).0[..chunk.len()]);
            }
            return;
        }
        // aws-lc-rs fails only where the operating system has no randomness at all.
        rand::fill(octets).expect("the operating system has randomness");
    }
}

#[cfg(test)]
mod tests {
    use hilum_core::cose;

    use super::*;

    #[test]
    fn what_is_fixed_follows_from_names() {
        let drawn = |host: &Host| {
            let mut octets = [0; 40];
            host.random(&mut octets);
            octets
        };
        let (one, other) = (Host::fixed().unwrap(), Host::fixed().unwrap());
        assert_eq!(drawn(&one), drawn(&other));
        assert_ne!(drawn(&one), drawn(&Host::fixed().unwrap()), "the second draw is another one");
        assert_eq!(one.secret("a").unwrap(), other.secret("a").unwrap());
        assert_ne!(one.secret("a").unwrap(), one.secret("b").unwrap());
        one.set_now(Timestamp(7));
        assert_eq!(one.now(), Timestamp(7));
    }

    #[test]
    fn what_is_sealed_to_a_name_opens_with_the_key_of_that_name() {
        let host = Host::fixed().unwrap();
        let sealed = cose::seal(&host.recipient_keys("app").unwrap(), b"", b"body").unwrap();
        assert_eq!(cose::open(&fixed_private_key("app").unwrap(), b"", &sealed).unwrap(), b"body");
        assert!(cose::open(&fixed_private_key("other").unwrap(), b"", &sealed).is_err());
    }
}
