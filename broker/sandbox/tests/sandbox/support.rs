//! What the tests share: the guests, compiled once, a sandbox, and a broker's services in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::agreement::{self, ECDH_P256};
use bytes::Bytes;
use hilum_core::cose::{PrivateKey, RecipientKey};
use hilum_core::originals::{Original, Pseudonym};
use hilum_core::record::{BlobId, BlobRef, Measured, Timestamp};
use hilum_core::{Attribute, Body, Digest, FlowName, Head, Label, Principal, PrincipalId, StageName};
use hilum_plugin_build::Guests;
use hilum_sandbox::services::{
    BlobSink, ServiceError, Services, StageEvent, StageOf, StateChange, StateError, StateUsage, Versioned,
};
use hilum_sandbox::{
    Chain, ChainContext, ChainError, Grants, Input, Limit, Limits, Plugin, Sandbox, Settings, Span,
    SpanStart, StageSpec,
};
use serde_json::{Value, json};

use crate::traces::Recorder;

/// The component of each guest.
static COMPONENTS: LazyLock<BTreeMap<&str, Vec<u8>>> = LazyLock::new(|| {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = workspace.join("target/plugins");
    let packages = ["hilum-guest-hostile", "hilum-guest-gate", "hilum-guest-counter"];
    let paths = Guests::new(workspace, target).build(&packages).unwrap_or_else(|error| panic!("{error}"));
    let read = |path| std::fs::read(path).unwrap();
    ["hostile", "gate", "counter"].into_iter().zip(paths.iter().map(read)).collect()
});

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(Settings::default()).unwrap());

static PLUGINS: LazyLock<BTreeMap<&str, Arc<Plugin>>> = LazyLock::new(|| {
    COMPONENTS.iter().map(|(name, octets)| (*name, SANDBOX.load(octets).unwrap())).collect()
});

/// The octets of a guest's component.
pub(crate) fn component(guest: &str) -> &'static [u8] {
    &COMPONENTS[guest]
}

/// The sandbox of all tests.
pub(crate) fn sandbox() -> &'static Sandbox {
    &SANDBOX
}

/// A loaded guest.
pub(crate) fn plugin(guest: &str) -> Arc<Plugin> {
    PLUGINS[guest].clone()
}

/// A stage of a guest.
pub(crate) fn stage(guest: &str, config: Value) -> StageSpec {
    let grants = match guest {
        "hostile" => vec!["log", "trace", "keys:research", "time", "random", "metrics"],
        "counter" => vec!["state", "emit:counts", "metrics"],
        _ => vec![],
    };
    StageSpec {
        name: StageName::new(guest).unwrap(),
        plugin: plugin(guest),
        config,
        grants: Grants::parse(grants).unwrap(),
        limits: Limits::default(),
    }
}

/// A stage of the hostile guest.
pub(crate) fn behaving(behaviour: &str) -> StageSpec {
    stage("hostile", json!({"behaviour": behaviour}))
}

/// The context of an ingress chain.
pub(crate) fn context() -> ChainContext {
    ChainContext {
        flow: FlowName::new("imaging").unwrap(),
        class: "imaging".into(),
        subscription: None,
        recipient: None,
        purpose: None,
        break_glass: None,
    }
}

/// Loads a chain over services in memory.
pub(crate) fn load(stages: Vec<StageSpec>, services: &Arc<Memory>) -> Result<Chain, ChainError> {
    Chain::load(sandbox(), context(), stages, services.clone())
}

/// A chain over services of its own.
pub(crate) fn chain(stages: Vec<StageSpec>) -> Chain {
    load(stages, &Arc::default()).unwrap()
}

/// A record of a scanner.
pub(crate) fn record(body: Body, attributes: &[(&str, &str)]) -> Input {
    static SCANNER: LazyLock<Arc<Principal>> = LazyLock::new(|| {
        Arc::new(Principal {
            id: PrincipalId::new("spiffe://st-marys/device/mri-1").unwrap(),
            stakeholder: "imaging-dept".parse().unwrap(),
            zone: "device".parse().unwrap(),
            roles: vec!["scanner".parse().unwrap()],
        })
    });
    let attribute = |(name, value): &(&str, &str)| Attribute { name: (*name).into(), value: (*value).into() };
    let head = Head {
        time: Timestamp(1_700_000_000_000),
        expires: None,
        deliver_after: None,
        key: Some("study-1".into()),
        content_type: "text/plain".into(),
        attributes: attributes.iter().map(attribute).collect(),
        labels: vec![Label::new("phi").unwrap()],
        trace: None,
    };
    Input { head, source: SCANNER.clone(), offset: None, body: Measured::new(body) }
}

/// The same from another scanner.
pub(crate) fn from_another(input: Input) -> Input {
    from("mri-2", input)
}

/// The same from the scanner of this name.
pub(crate) fn from(name: &str, mut input: Input) -> Input {
    let id = PrincipalId::new(&format!("spiffe://st-marys/device/{name}")).unwrap();
    input.source = Arc::new(Principal { id, ..(*input.source).clone() });
    input
}

/// A record with a short body.
pub(crate) fn text(body: &str) -> Input {
    record(Body::Inline(Bytes::copy_from_slice(body.as_bytes())), &[])
}

/// A record that a guest finds bad.
pub(crate) fn bad(body: &str) -> Input {
    record(Body::Inline(Bytes::copy_from_slice(body.as_bytes())), &[("bad", "yes")])
}

/// The octets of an inline body.
pub(crate) fn inline(body: &Measured) -> &[u8] {
    match body.body() {
        Body::Inline(octets) => octets,
        Body::Blob(_) => panic!("the body is large"),
    }
}

/// A broker's services in memory.
#[derive(Default)]
pub(crate) struct Memory {
    /// Whose data key each blob that a chain made would be kept under.
    pub(crate) sources: Mutex<Vec<PrincipalId>>,
    pub(crate) blobs: Arc<Mutex<BTreeMap<BlobId, Vec<u8>>>>,
    pub(crate) state: Mutex<BTreeMap<String, Versioned>>,
    /// What stages of other flows keep, by `FLOW/STAGE`.
    pub(crate) observed: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    pub(crate) counters: Mutex<BTreeMap<String, u64>>,
    /// What was told of which plugin.
    pub(crate) events: Mutex<Vec<(String, StageEvent)>>,
    /// Milliseconds since the beginning.
    pub(crate) later_ms: std::sync::atomic::AtomicU64,
    pub(crate) traces: Recorder,
    /// Whether blobs cannot be read or written, nor originals kept.
    pub(crate) broken: std::sync::atomic::AtomicBool,
    /// Whether originals are kept.
    pub(crate) keeps: bool,
    /// What pseudonyms stand for.
    pub(crate) originals: Mutex<Vec<(Pseudonym, Original)>>,
}

impl Memory {
    /// Stores a large body.
    pub(crate) fn blob(&self, octets: Vec<u8>) -> Body {
        Body::Blob(store(&self.blobs, octets))
    }

    /// The limits that were reported, with their values and how often in one call; and no longer.
    pub(crate) fn limited(&self) -> Vec<(Limit, u64, u64)> {
        let limited = |(_, event): (String, StageEvent)| match event {
            StageEvent::Limited { limit, max, count } => Some((limit, max, count)),
            _ => None,
        };
        std::mem::take(&mut *self.events.lock().unwrap()).into_iter().filter_map(limited).collect()
    }

    fn check(&self) -> Result<(), ServiceError> {
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ServiceError("the disk is gone".into()));
        }
        Ok(())
    }
}

fn store(blobs: &Mutex<BTreeMap<BlobId, Vec<u8>>>, octets: Vec<u8>) -> BlobRef {
    let mut blobs = blobs.lock().unwrap();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(blobs.len() as u64 + 1).to_be_bytes());
    let blob = BlobRef { id: BlobId(id), size: octets.len() as u64, digest: Digest::of(&octets) };
    blobs.insert(blob.id, octets);
    blob
}

struct Sink {
    blobs: Arc<Mutex<BTreeMap<BlobId, Vec<u8>>>>,
    octets: Vec<u8>,
}

impl BlobSink for Sink {
    fn write(&mut self, octets: Bytes) -> Result<(), ServiceError> {
        self.octets.extend_from_slice(&octets);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<BlobRef, ServiceError> {
        Ok(store(&self.blobs, self.octets))
    }
}

impl Services for Memory {
    fn read_blob(&self, blob: &BlobRef, from: u64, max: usize) -> Result<Bytes, ServiceError> {
        self.check()?;
        let blobs = self.blobs.lock().unwrap();
        let rest = &blobs[&blob.id][usize::try_from(from).unwrap()..];
        Ok(Bytes::copy_from_slice(&rest[..rest.len().min(max)]))
    }

    fn create_blob(&self, source: &PrincipalId) -> Result<Box<dyn BlobSink>, ServiceError> {
        self.check()?;
        self.sources.lock().unwrap().push(source.clone());
        Ok(Box::new(Sink { blobs: self.blobs.clone(), octets: Vec::new() }))
    }

    fn discard_blob(&self, blob: &BlobRef) {
        self.blobs.lock().unwrap().remove(&blob.id);
    }

    fn recipient_keys(&self, name: &str) -> Result<Vec<RecipientKey>, ServiceError> {
        let key = || {
            RecipientKey::new(
                agreement::PrivateKey::generate(&ECDH_P256).ok()?.compute_public_key().ok()?.as_ref(),
            )
            .ok()
        };
        Ok((name == "gp").then(key).flatten().into_iter().collect())
    }

    fn span(&self, start: SpanStart<'_>) -> Option<Box<dyn Span>> {
        Some(self.traces.begin(start))
    }

    fn secret(&self, name: &str) -> Result<Option<Arc<[u8]>>, ServiceError> {
        Ok((name == "research").then(|| b"a secret".as_slice().into()))
    }

    fn private_key(&self, _: &str) -> Result<Option<Arc<PrivateKey>>, ServiceError> {
        Ok(None)
    }

    fn keeps_originals(&self, key: &str, domain: &str) -> bool {
        self.keeps && key == "research" && domain == "test"
    }

    fn keep_originals(&self, _: &str, originals: Vec<(Pseudonym, Original)>) -> Result<(), ServiceError> {
        self.check()?;
        self.originals.lock().unwrap().extend(originals);
        Ok(())
    }

    fn state_get(&self, _: &FlowName, _: &StageName, key: &str) -> Result<Option<Versioned>, StateError> {
        Ok(self.state.lock().unwrap().get(key).cloned())
    }

    fn state_usage(&self, _: &FlowName, _: &StageName) -> Result<StateUsage, StateError> {
        let state = self.state.lock().unwrap();
        let octets = state.iter().map(|(key, found)| key.len() + found.value.len()).sum::<usize>();
        Ok(StateUsage { keys: state.len() as u64, octets: octets as u64 })
    }

    fn state_commit(&self, _: &FlowName, _: &StageName, changes: Vec<StateChange>) -> Result<(), StateError> {
        let mut state = self.state.lock().unwrap();
        for StateChange { key, expected, to } in changes {
            if state.get(&key).map_or(0, |found| found.version) != expected {
                return Err(StateError::Conflict);
            }
            match to {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        Ok(())
    }

    fn observed(
        &self,
        flow: &FlowName,
        stage: &StageName,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, ServiceError> {
        let observed = self.observed.lock().unwrap();
        let kept = observed.get(&format!("{flow}/{stage}"));
        let kept = kept.ok_or_else(|| ServiceError("it is not there".into()))?;
        Ok(keys.iter().map(|key| kept.get(key).map(|value| Bytes::from(value.clone()))).collect())
    }

    fn count(&self, _: &FlowName, _: &StageName, counter: &str, value: u64) {
        *self.counters.lock().unwrap().entry(counter.to_owned()).or_default() += value;
    }

    fn sample(&self, _: &FlowName, _: &StageName, _: &str, _: f64) {}

    fn stage_event(&self, of: StageOf<'_>, event: StageEvent) {
        assert_eq!((of.flow.as_str(), of.version), ("imaging", "0.1.0"));
        self.events.lock().unwrap().push((of.plugin.to_owned(), event));
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.later_ms.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn random(&self, octets: &mut [u8]) {
        octets.fill(7);
    }
}
