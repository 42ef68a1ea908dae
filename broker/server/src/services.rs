//! What the sandbox asks of the broker: keys, large bodies, state, clock, metrics.
//!
//! A [`Host`] has what all chains share; [`ChainServices`] adds whose chain it is. All of it is called on the blocking threads
//! that run chains, and waits for the store there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::rand;
use bytes::Bytes;
use hilum_core::cose::{PrivateKey, RecipientKey};
use hilum_core::originals::{Original, Pseudonym};
use hilum_core::record::{BlobRef, Timestamp};
use hilum_core::{FlowName, LogName, PrincipalId, StageName, SubscriptionName};
use hilum_sandbox::limits::METRIC_NAMES_MAX;
use hilum_sandbox::{
    BlobSink, ServiceError, Services, Span, SpanStart, StageEvent, StageOf, StateChange, StateError,
    StateUsage, Versioned,
};
use hilum_store::{BlobError, BlobWriter, Pending};
use parking_lot::Mutex;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::broker::Shared;
use crate::chains::watch::Watch;
use crate::clock::Clock;
use crate::config::{Hospital, HostGrant};
use crate::originals::{Keep, Room};
use crate::provision::{CredentialError, read_certificates, read_secret};
use crate::state::FlowState;
use crate::telemetry;

/// Chunks of a body that a plugin makes which may be on their way to the disk.
const WRITES_UNDER_WAY_MAX: usize = 4;

/// What all chains share.
pub(crate) struct Host {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    secrets: BTreeMap<String, Arc<[u8]>>,
    recipients: BTreeMap<String, Vec<Recipient>>,
    keeps: BTreeMap<String, (Keep, Vec<Recipient>)>,
}

impl Host {
    /// Reads the secrets and the recipients' certificates that the configuration names. To be called in the runtime.
    pub(crate) fn new(shared: Arc<Shared>, hospital: &Hospital) -> Result<Self, CredentialError> {
        let mut secrets = BTreeMap::new();
        for (name, key) in &hospital.keys {
            secrets.insert(name.clone(), Arc::from(read_secret(&key.path)?.as_slice()));
        }
        let mut recipients = BTreeMap::new();
        for grant in hospital.stages().flat_map(|(_, stage)| &stage.grants) {
            let HostGrant::Recipient { name, identities } = grant else { continue };
            let mut keys = Vec::new();
            for identity in identities {
                keys.extend(recipient(hospital, identity, shared.now())?);
            }
            recipients.insert(name.clone(), keys);
        }
        let mut keeps = BTreeMap::new();
        for (name, originals) in hospital.kept_keys() {
            let mut holders = Vec::new();
            for identity in &originals.holders {
                holders.extend(recipient(hospital, identity, shared.now())?);
            }
            let room = Room { count: originals.count_max, octets: originals.octets_max };
            let table = shared.originals.of(&name);
            let keep = Keep { table, domains: originals.domains.clone(), room };
            keeps.insert(name.to_string(), (keep, holders));
        }
        Ok(Self { shared, runtime: tokio::runtime::Handle::current(), secrets, recipients, keeps })
    }

    /// What every part of the broker shares.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Host {
    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.now()
    }
}

#[cfg(test)]
impl Host {
    /// Without secrets and recipients.
    pub(crate) fn bare(shared: Arc<Shared>) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self {
            shared,
            runtime,
            secrets: BTreeMap::new(),
            recipients: BTreeMap::new(),
            keeps: BTreeMap::new(),
        }
    }
}

/// Somebody who can be sealed to while its certificate is valid. Without a key the encrypting stage refuses: nothing is sent in clear
/// instead.
struct Recipient {
    identity: String,
    key: RecipientKey,
    /// The first and the last second of the certificate's validity, since 1970 (RFC 5280, section 4.1.2.5).
    valid: RangeInclusive<i64>,
    /// Whether it was told that the certificate is not valid.
    is_told: AtomicBool,
}

impl Recipient {
    /// None where the certificate is none with a key on P-256.
    fn new(identity: &str, certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let key = RecipientKey::new(certificate.public_key().raw).ok()?;
        let validity = certificate.validity();
        let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
        Some(Self { identity: identity.to_owned(), key, valid, is_told: AtomicBool::new(false) })
    }

    /// Its key, where the certificate is valid at this time.
    fn key_at(&self, now: Timestamp) -> Option<&RecipientKey> {
        let is_valid = i64::try_from(now.0 / 1000).is_ok_and(|now| self.valid.contains(&now));
        if !is_valid && !self.is_told.swap(true, Ordering::Relaxed) {
            let identity = &self.identity;
            tracing::warn!(
                identity,
                "a recipient's certificate is not valid now; nothing can be sealed to it"
            );
        }
        is_valid.then_some(&self.key)
    }
}

/// The owner of an identity's certificate, if it can be sealed to at all.
fn recipient(
    hospital: &Hospital,
    identity: &str,
    now: Timestamp,
) -> Result<Option<Recipient>, CredentialError> {
    let path = hospital.directory.identity(identity).certificate;
    let certificates = read_certificates(&path)?;
    let recipient = certificates.first().and_then(|leaf| Recipient::new(identity, leaf));
    if let Some(recipient) = &recipient {
        // For the warning: a start should tell what a record would only tell later.
        recipient.key_at(now);
    }
    Ok(recipient)
}

/// The services of one chain.
pub(crate) struct ChainServices {
    pub(crate) host: Arc<Host>,
    pub(crate) flow: FlowName,
    /// None for the ingress chain.
    subscription: Option<SubscriptionName>,
    /// None for a chain before delivery.
    state: Option<Arc<FlowState>>,
    metric_names: Mutex<BTreeMap<StageName, BTreeSet<String>>>,
    watch: Watch,
}

/// Writes behind: while some chunks are hashed, sealed and written, the next ones are made.
struct Sink {
    runtime: tokio::runtime::Handle,
    writer: Box<dyn BlobWriter>,
    under_way: VecDeque<Pending<(), BlobError>>,
}

impl Sink {
    /// Waits until so many writes or fewer are under way.
    fn wait(&mut self, at_most: usize) -> Result<(), ServiceError> {
        while self.under_way.len() > at_most {
            let Some(write) = self.under_way.pop_front() else { break };
            self.runtime.block_on(write).map_err(service)?;
        }
        Ok(())
    }
}

impl BlobSink for Sink {
    fn write(&mut self, octets: Bytes) -> Result<(), ServiceError> {
        self.wait(WRITES_UNDER_WAY_MAX - 1)?;
        self.under_way.push_back(self.writer.write(octets));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<BlobRef, ServiceError> {
        self.wait(0)?;
        self.runtime.block_on(self.writer.finish()).map_err(service)
    }
}

fn service(error: impl std::fmt::Display) -> ServiceError {
    ServiceError(error.to_string())
}

impl ChainServices {
    /// Of the flow's ingress chain, or of one of a subscription.
    pub(crate) fn new(host: Arc<Host>, flow: FlowName, subscription: Option<&SubscriptionName>) -> Self {
        let state = subscription.is_none().then(|| host.shared.states.of(&flow));
        let (metric_names, watch) = (Mutex::default(), Watch::default());
        Self { host, flow, subscription: subscription.cloned(), state, metric_names, watch }
    }

    /// Whether a stage may use a metric of this name: one of the first few that it named to any of the chain's readers. A name that is
    /// made of what a plugin read would otherwise give every patient a time series.
    fn knows_metric(&self, stage: &StageName, name: &str) -> bool {
        let mut by_stage = self.metric_names.lock();
        let names = by_stage.entry(stage.clone()).or_default();
        if names.contains(name) {
            return true;
        }
        if names.len() >= METRIC_NAMES_MAX {
            return false;
        }
        names.insert(name.to_owned());
        true
    }

    fn shared(&self) -> &Shared {
        &self.host.shared
    }

    /// What the stages of the flow keep. Those before delivery keep nothing: a configuration that grants it is refused.
    fn state(&self) -> Result<&FlowState, StateError> {
        let error = || ServiceError("only stages of an ingress chain keep state".into());
        self.state.as_deref().ok_or_else(|| error().into())
    }
}

impl Services for ChainServices {
    fn read_blob(&self, blob: &BlobRef, from: u64, max: usize) -> Result<Bytes, ServiceError> {
        self.host.runtime.block_on(self.shared().blobs.read(blob, from, max)).map_err(service)
    }

    fn create_blob(&self, source: &PrincipalId) -> Result<Box<dyn BlobSink>, ServiceError> {
        let log = LogName::Flow(self.flow.clone());
        let creating = self.shared().blobs.create(&log, source);
        let writer = self.host.runtime.block_on(creating).map_err(service)?;
        Ok(Box::new(Sink { runtime: self.host.runtime.clone(), writer, under_way: VecDeque::new() }))
    }

    fn discard_blob(&self, blob: &BlobRef) {
        if let Err(error) = self.host.runtime.block_on(self.shared().blobs.delete(blob.id)) {
            tracing::warn!(blob = %blob.id, %error, "a body that is not needed could not be deleted yet");
        }
    }

    fn recipient_keys(&self, name: &str) -> Result<Vec<RecipientKey>, ServiceError> {
        let now = self.shared().now();
        let recipients = self.host.recipients.get(name).into_iter().flatten();
        Ok(recipients.filter_map(|recipient| recipient.key_at(now).cloned()).collect())
    }

    fn secret(&self, name: &str) -> Result<Option<Arc<[u8]>>, ServiceError> {
        Ok(self.host.secrets.get(name).cloned())
    }

    fn private_key(&self, _name: &str) -> Result<Option<Arc<PrivateKey>>, ServiceError> {
        // A hospital's configuration has no private keys for plugins: what is sealed is opened by its recipient.
        Ok(None)
    }

    fn keeps_originals(&self, key: &str, domain: &str) -> bool {
        self.host.keeps.get(key).is_some_and(|(keep, _)| keep.wants(domain))
    }

    /// Waits for the disk where there is something new.
    fn keep_originals(&self, key: &str, originals: Vec<(Pseudonym, Original)>) -> Result<(), ServiceError> {
        let nothing = || ServiceError(format!("nothing is kept for key `{key}`"));
        let (keep, holders) = self.host.keeps.get(key).ok_or_else(nothing)?;
        let now = self.shared().now();
        let valid = || holders.iter().filter_map(|holder| holder.key_at(now).cloned()).collect();
        self.host.runtime.block_on(keep.keep(self.shared(), valid, originals)).map_err(service)
    }

    fn state_get(
        &self,
        _flow: &FlowName,
        stage: &StageName,
        key: &str,
    ) -> Result<Option<Versioned>, StateError> {
        self.state()?.find(stage, key)
    }

    fn state_usage(&self, _flow: &FlowName, stage: &StageName) -> Result<StateUsage, StateError> {
        self.state()?.usage(stage)
    }

    /// It becomes durable with the records that the call was about.
    fn state_commit(
        &self,
        _flow: &FlowName,
        stage: &StageName,
        changes: Vec<StateChange>,
    ) -> Result<(), StateError> {
        self.state()?.change(stage, changes)
    }

    fn observed(
        &self,
        flow: &FlowName,
        stage: &StageName,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, ServiceError> {
        self.shared().states.of(flow).committed(stage, keys)
    }

    fn count(&self, flow: &FlowName, stage: &StageName, counter: &str, value: u64) {
        if self.knows_metric(stage, counter) {
            self.shared().instruments.plugin_count(flow, stage, counter, value);
        }
    }

    fn span(&self, start: SpanStart<'_>) -> Option<Box<dyn Span>> {
        telemetry::inner_span(start)
    }

    fn sample(&self, flow: &FlowName, stage: &StageName, histogram: &str, value: f64) {
        if self.knows_metric(stage, histogram) {
            self.shared().instruments.plugin_sample(flow, stage, histogram, value);
        }
    }

    fn stage_event(&self, of: StageOf<'_>, event: StageEvent) {
        self.watch.event(self.shared(), self.subscription.as_ref(), of, event);
    }

    fn now(&self) -> Timestamp {
        self.shared().now()
    }

    fn random(&self, octets: &mut [u8]) {
        rand::fill(octets).expect("the system has random octets");
    }
}

/// For checking a configuration without a broker: a plugin that asks for something while it is configured is told that there is
/// nothing.
pub(crate) struct NoServices;

fn nothing() -> ServiceError {
    ServiceError("there is no broker while a configuration is checked".into())
}

impl Services for NoServices {
    fn read_blob(&self, _: &BlobRef, _: u64, _: usize) -> Result<Bytes, ServiceError> {
        Err(nothing())
    }

    fn create_blob(&self, _: &PrincipalId) -> Result<Box<dyn BlobSink>, ServiceError> {
        Err(nothing())
    }

    fn discard_blob(&self, _: &BlobRef) {}

    fn recipient_keys(&self, _: &str) -> Result<Vec<RecipientKey>, ServiceError> {
        Err(nothing())
    }

    fn secret(&self, _: &str) -> Result<Option<Arc<[u8]>>, ServiceError> {
        Err(nothing())
    }

    fn private_key(&self, _: &str) -> Result<Option<Arc<PrivateKey>>, ServiceError> {
        Err(nothing())
    }

    fn state_get(&self, _: &FlowName, _: &StageName, _: &str) -> Result<Option<Versioned>, StateError> {
        Err(nothing().into())
    }

    fn state_usage(&self, _: &FlowName, _: &StageName) -> Result<StateUsage, StateError> {
        Err(nothing().into())
    }

    fn state_commit(&self, _: &FlowName, _: &StageName, _: Vec<StateChange>) -> Result<(), StateError> {
        Err(nothing().into())
    }

    fn count(&self, _: &FlowName, _: &StageName, _: &str, _: u64) {}

    fn sample(&self, _: &FlowName, _: &StageName, _: &str, _: f64) {}

    /// A stage that does not start is told as what it is: a problem of the configuration.
    fn stage_event(&self, _: StageOf<'_>, _: StageEvent) {}

    fn now(&self) -> Timestamp {
        Clock::SYSTEM.now()
    }

    fn random(&self, octets: &mut [u8]) {
        rand::fill(octets).expect("the system has random octets");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use hilum_store::{MasterKey, embedded};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::fixture;
    use crate::provision::{Authority, Request, Usage, Validity};

    #[tokio::test(start_paused = true)]
    async fn who_can_be_sealed_to_goes_by_the_clock_at_each_seal() {
        const DAY: Duration = Duration::from_secs(86_400);
        let start = Timestamp(1_790_000_000_000);
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(start.0);
        let made = Authority::make("test", Validity::days(at, 365)).unwrap();
        let authority = Authority::from_pem(&made.certificate_pem, &made.key_pem).unwrap();
        let recipient = |name: &str, from: SystemTime, days: u64| {
            let id = format!("spiffe://test/{name}").parse().unwrap();
            let request = Request { id: &id, usage: Usage::Client, validity: Validity::days(from, days) };
            let issued = authority.issue(&request).unwrap().certificate_pem;
            let certificate = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
            Recipient::new(name, &certificate).unwrap()
        };
        let (ending, coming) = (recipient("ending", at, 2), recipient("coming", at + 5 * DAY, 10));
        let (first, second) = (ending.key.clone(), coming.key.clone());

        let memory = hilum_store::memory::Store::new();
        let shared = Arc::into_inner(fixture::shared(&memory)).unwrap();
        let shared = Arc::new(Shared { clock: Clock::following(start), ..shared });
        let recipients = BTreeMap::from([("ward".to_owned(), vec![ending, coming])]);
        let host = Arc::new(Host { recipients, ..Host::bare(shared) });
        let services = ChainServices::new(host, fixture::flow(), None);
        let keys = || services.recipient_keys("ward").unwrap();
        assert!(keys() == [first], "the other one is not valid yet");
        tokio::time::sleep(3 * DAY).await;
        assert!(keys().is_empty(), "the one has expired, the other is not valid yet");
        tokio::time::sleep(3 * DAY).await;
        assert!(keys() == [second]);
        assert!(services.recipient_keys("somebody").unwrap().is_empty());
    }

    /// The file of data keys names the log and source of each in clear, and the header of a blob the key's number.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_that_a_chain_makes_is_kept_under_the_key_of_the_records_source() {
        let directory = tempfile::tempdir().unwrap();
        let store =
            embedded::Store::open(directory.path(), MasterKey::new([7; 32]), Default::default()).unwrap();
        let memory = hilum_store::memory::Store::new();
        let shared =
            Arc::new(Shared { blobs: store.blobs(), ..Arc::into_inner(fixture::shared(&memory)).unwrap() });
        let broker = shared.identity.clone();
        let services = Arc::new(ChainServices::new(Arc::new(Host::bare(shared)), fixture::flow(), None));
        let source = fixture::principal("imaging").id.clone();
        let by = source.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut sink = services.create_blob(&by)?;
            sink.write(Bytes::from_static(b"pixels"))?;
            sink.finish()
        });
        assert_eq!(made.await.unwrap().unwrap().size, 6);
        let keys = std::fs::read(directory.path().join("keys")).unwrap();
        let names = |id: &PrincipalId| keys.windows(id.as_str().len()).any(|at| at == id.as_str().as_bytes());
        assert!(names(&source), "the source has a key of its own");
        assert!(!names(&broker), "nothing was written under the broker's");
    }
}
