//! A broker's life: read the configuration, open the store, load plugins, open flows, listen; and the same backwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use hilum_core::audit::Action;
use hilum_core::{FlowName, SubscriptionName};
use hilum_sandbox::Sandbox;
use hilum_store::{Blobs, Durability, Log, MasterKey, Meta, embedded};
use quinn::{Endpoint, ServerConfig};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::aside::{self, Aside};
use crate::broker::{About, Shared};
use crate::chains::{
    Catalog, ChainsError, EgressChain, FlowChains, LoadedChains, Lots, Material, Slots, slot,
};
use crate::clock::Clock;
use crate::config::{Hospital, Problems};
use crate::control::{Control, ControlError};
use crate::deliver::{Outlet, OutletError, keeper};
use crate::emit::Emitter;
use crate::endpoint::{self, EndpointError, ServerIdentity};
use crate::feed::Feed;
use crate::flows::{Flow, Flows, Rules, Seat};
use crate::ingest::{Lane, LaneTasks, RecoverBlobsError, RecoverError, recover_blobs};
use crate::memory::Memory;
use crate::originals::Originals;
use crate::provision::{CredentialError, read_certificates, read_private_key, read_roots, read_secret};
use crate::quarantine::{QuarantineError, Quarantines};
use crate::quic;
use crate::reload::{self, Reloader, Running};
use crate::retention::{Ledgers, Retention};
use crate::services::Host;
use crate::state::States;
use crate::telemetry::Instruments;
use crate::traffic::Traffic;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong, or files that it names are missing.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] embedded::OpenError),
    /// A rotation of the key-encryption key was interrupted and cannot be ended.
    #[error(transparent)]
    Rotation(#[from] embedded::RotateError),
    /// A plugin or chain does not load.
    #[error(transparent)]
    Chains(#[from] ChainsError),
    /// A defect of the broker or of its engine.
    #[error("loading the plugins ended abnormally: {0}")]
    Loading(tokio::task::JoinError),
    /// A flow does not open.
    #[error(transparent)]
    Flow(#[from] RecoverError),
    /// It is not known where a subscription stands.
    #[error("flow {flow}, subscription {subscription}: where it stands cannot be found out: {source}")]
    Subscription {
        /// What it reads.
        flow: FlowName,
        /// Its name.
        subscription: SubscriptionName,
        /// Why.
        source: OutletError,
    },
    /// Large bodies cannot be recovered.
    #[error(transparent)]
    Blobs(#[from] RecoverBlobsError),
    /// What operators decided in former runs is not known.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It cannot be known how much is in quarantine.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The audit log cannot be written.
    #[error("the audit log cannot be written: {0}")]
    Audit(#[from] hilum_store::AppendError),
    /// What lots are drawn with cannot be kept.
    #[error("the secret by which records are chosen for a plugin that is tried cannot be kept: {0}")]
    Lots(#[from] hilum_store::MetaError),
    /// There is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// What a broker is put together from. [`Broker::start`] makes it of a hospital directory; who has another store, network or
/// clock hands them to [`Broker::assemble`].
pub struct Parts {
    /// Who and what there is.
    pub hospital: Hospital,
    /// What the broker shows its clients, and whom it trusts.
    pub identity: ServerIdentity,
    /// Where records are kept.
    pub store: OpenStore,
    /// What time it is.
    pub clock: Clock,
    /// On which threads plugins run.
    pub chain_slots: Slots,
    /// In which sandbox they run; in one of their own where there is none.
    pub sandbox: Option<Sandbox>,
    /// Called once, when everything else is there.
    pub listen: Listen,
}

/// Begins to listen.
pub type Listen = Box<dyn FnOnce(ServerConfig) -> Result<Endpoint, EndpointError> + Send>;

/// A store that is open.
pub struct OpenStore {
    /// The truth.
    pub log: Arc<dyn Log>,
    /// Large bodies.
    pub blobs: Arc<dyn Blobs>,
    /// Cursors, and what is known of publishers.
    pub meta: Arc<dyn Meta>,
    /// Awaited when nothing uses the store any more.
    pub close: BoxFuture<'static, ()>,
}

impl From<embedded::Store> for OpenStore {
    fn from(store: embedded::Store) -> Self {
        let (log, blobs, meta) = (store.log(), store.blobs(), store.meta());
        let close =
            async move { finished("store", tokio::task::spawn_blocking(move || store.close())).await };
        Self { log, blobs, meta, close: close.boxed() }
    }
}

/// A broker that runs.
pub struct Broker {
    address: SocketAddr,
    close_store: BoxFuture<'static, ()>,
    shared: Arc<Shared>,
    stopping: watch::Sender<bool>,
    serving: JoinHandle<()>,
    flows: Arc<Flows>,
    running: BTreeMap<FlowName, RunningFlow>,
    /// One for each subscription.
    keepers: Vec<JoinHandle<()>>,
    keepers_stop: watch::Sender<bool>,
    retention: Retention,
    /// Writes audit events that others have put aside.
    aside: aside::Writer,
    /// Carries the audit into a flow, where the configuration names one.
    feed: Option<Feed>,
}

struct RunningFlow {
    lane: LaneTasks,
    emitter: JoinHandle<()>,
}

impl Broker {
    /// Starts the broker of a hospital directory, listening on another address than the configured one if `listen` names
    /// one. When this comes back, it listens.
    pub async fn start(directory: &Path, listen: Option<SocketAddr>) -> Result<Self, StartError> {
        let mut hospital = crate::config::load(directory)?;
        hospital.listen = listen.unwrap_or(hospital.listen);
        crate::config::check_files(&hospital)?;
        let identity = server_identity(&hospital)?;
        let store = open_store(&hospital)?.into();
        let address = hospital.listen;
        let listen: Listen = Box::new(move |config| endpoint::bind(address, config));
        let (clock, chain_slots) = (Clock::SYSTEM, Slots::on_threads());
        Self::assemble(Parts { hospital, identity, store, clock, chain_slots, sandbox: None, listen }).await
    }

    /// Starts a broker from its parts. When this comes back, it listens.
    pub async fn assemble(parts: Parts) -> Result<Self, StartError> {
        let Parts { hospital, identity, store, clock, chain_slots, sandbox, listen } = parts;
        let OpenStore { log, blobs, meta, close } = store;
        let shared = Arc::new(share(&hospital, (log, blobs, meta), clock, chain_slots).await?);
        let host = host_of(&shared, &hospital).await?;
        let lots = reload::lots_for(&hospital, &shared).await?;
        // Plugins are compiled and configured: that blocks.
        let has_plugins = hospital.stages().next().is_some();
        let load = move || load(hospital, &host, lots, sandbox);
        let loaded = if has_plugins {
            slot::run(&shared.chain_slots, load).await.map_err(StartError::Loading)?
        } else {
            load()
        };
        let Loaded { hospital, catalog, lots, chains } = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return Err(refused(&shared, error).await),
        };
        announce(&shared, &chains).await?;
        recover_blobs(&shared).await?;

        let (by_name, opened) = open_flows(&shared, &hospital, chains).await?;
        recall_subscriptions(&by_name).await?;
        let (rules, octets_max) = (Rules::of(&hospital), hospital.limits.body_octets_max);
        let flows = Arc::new(Flows::new(shared.clone(), by_name, octets_max, rules, Reloader::default()));
        let emit = |opened: Opened| {
            let tail = flows.by_name[&opened.flow].lane.tail();
            let emitter = tokio::spawn(Emitter::new(&opened.flow, flows.clone()).run(tail));
            (opened.flow, RunningFlow { lane: opened.lane, emitter })
        };
        let running = opened.into_iter().map(emit).collect();
        let (keepers_stop, keepers_stopping) = watch::channel(false);
        let outlets = flows.by_name.values().flat_map(|flow| flow.outlets.values());
        let keep = |seat: &Seat| {
            tokio::spawn(keeper::run(seat.outlet.clone(), flows.clone(), keepers_stopping.clone()))
        };
        let keepers = outlets.map(keep).collect();
        let retention = Retention::start(&shared, &hospital, &flows);
        let aside = aside::Writer::start(&shared);
        let feed = hospital.audit_flow.clone().map(|audit| Feed::start(&flows, &hospital, audit));
        let endpoint = listen(endpoint::server_config(identity)?)?;
        let address = endpoint
            .local_addr()
            .map_err(|source| EndpointError::Bind { address: hospital.listen, source })?;
        let (stopping, stop) = watch::channel(false);
        let serving =
            tokio::spawn(quic::serve(endpoint, flows.clone(), hospital.limits.connections_max, stop));
        tracing::info!(hospital = hospital.name, %address, flows = hospital.flows.len(), "the broker listens");
        flows.reloader.set_running(Running { hospital, catalog, lots, policies: retention.policies() });
        Ok(Self {
            address,
            close_store: close,
            shared,
            stopping,
            serving,
            flows,
            running,
            keepers,
            keepers_stop,
            retention,
            aside,
            feed,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: tells clients, finishes what is under way, closes the store.
    pub async fn stop(mut self) {
        tracing::info!("the broker stops");
        self.stopping.send_replace(true);
        self.retention.stop().await;
        finished("connections", self.serving).await;
        // While the flows are open: what was delivered too often may be on its way into another one.
        self.keepers_stop.send_replace(true);
        for keeper in self.keepers {
            finished("keeper", keeper).await;
        }
        if let Some(feed) = self.feed {
            feed.stop().await;
        }
        // Each flow before those that its plugins emit to, as the configuration is now.
        let order = self.flows.reloader.running().map(|running| emission_order(&running.hospital));
        let ordered = order.into_iter().flatten().filter_map(|name| self.running.remove(&name));
        let ordered: Vec<_> = ordered.collect();
        for flow in ordered.into_iter().chain(self.running.into_values()) {
            // When the lane is closed its emitter ends; only then may the flows that it emits to be closed.
            flow.lane.close().await;
            finished("emitter", flow.emitter).await;
        }
        self.aside.stop().await;
        let event = About::default().event(self.shared.now(), Action::Lifecycle, "stopped");
        self.shared.audit_refusal(event).await;
        drop((self.shared, self.flows));
        self.close_store.await;
    }
}

/// What all chains share, with what is kept of what pseudonyms stand for. Where that cannot be read now it is tried again when it is
/// needed, and stages that need it fail until then.
async fn host_of(shared: &Arc<Shared>, hospital: &Hospital) -> Result<Arc<Host>, CredentialError> {
    for (key, _) in hospital.kept_keys() {
        if let Err(error) = shared.originals.of(&key).load(shared).await {
            tracing::error!(%key, %error, "what pseudonyms stand for is not known");
        }
    }
    Ok(Arc::new(Host::new(shared.clone(), hospital)?))
}

async fn finished(what: &str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(what, %error, "a task ended abnormally");
    }
}

fn server_identity(hospital: &Hospital) -> Result<ServerIdentity, CredentialError> {
    let files = hospital.directory.identity(Hospital::BROKER_IDENTITY);
    Ok(ServerIdentity {
        chain: read_certificates(&files.certificate)?,
        key: read_private_key(&files.key)?,
        roots: read_roots(&hospital.directory.authority().certificate)?,
    })
}

fn open_store(hospital: &Hospital) -> Result<embedded::Store, StartError> {
    embedded::settle(&hospital.directory.data(), &hospital.directory.key_encryption_key())?;
    let key = read_secret(&hospital.directory.key_encryption_key())?;
    let key = MasterKey::new(*key);
    Ok(embedded::Store::open(&hospital.directory.data(), key, embedded::Settings::default())?)
}

/// What every part of the broker shares, with what is known of former runs.
async fn share(
    hospital: &Hospital,
    (log, blobs, meta): (Arc<dyn Log>, Arc<dyn Blobs>, Arc<dyn Meta>),
    clock: Clock,
    chain_slots: Slots,
) -> Result<Shared, StartError> {
    let control = Control::load(&*log).await?;
    let quarantine = Quarantines::load(&*log, hospital.flows.keys(), hospital.quarantine_octets_max).await?;
    Ok(Shared {
        log,
        blobs,
        meta,
        instruments: Instruments::default(),
        identity: hospital.broker_id(),
        chain_slots,
        clock,
        memory: Memory::new(hospital.under_way_octets()),
        control,
        quarantine,
        ledgers: Ledgers::default(),
        states: States::default(),
        originals: Originals::default(),
        aside: Aside::default(),
        audited: Notify::new(),
        traffic: Traffic::default(),
    })
}

/// What plugins and chains a configuration has.
struct Loaded {
    hospital: Hospital,
    catalog: Arc<Catalog>,
    lots: Option<Arc<Lots>>,
    chains: LoadedChains,
}

/// Loads everything; blocks.
fn load(
    mut hospital: Hospital,
    host: &Arc<Host>,
    lots: Option<Arc<Lots>>,
    sandbox: Option<Sandbox>,
) -> Result<Loaded, ChainsError> {
    let catalog = Catalog::load_into(sandbox, &hospital, host.now())?;
    reload::describe_files(&mut hospital, &catalog);
    let material = Material { hospital: &hospital, catalog: &catalog, host, lots: lots.as_ref() };
    let chains = LoadedChains::load(&material, |_, _| true)?;
    Ok(Loaded { catalog: Arc::new(catalog), lots, chains, hospital })
}

/// Writes down that a plugin was refused, which is why the broker does not start.
async fn refused(shared: &Shared, error: ChainsError) -> StartError {
    if matches!(error, ChainsError::Plugin(_) | ChainsError::Trust(_)) {
        let event = About::default().event(shared.now(), Action::PluginRefused, error.to_string());
        shared.audit_refusal(event).await;
    }
    error.into()
}

/// Writes down the start, on what grounds each plugin was admitted, and every plan, so that receipts can be resolved.
async fn announce(shared: &Shared, chains: &LoadedChains) -> Result<(), hilum_store::AppendError> {
    let mut events = vec![About::default().event(shared.now(), Action::Lifecycle, "started")];
    events.extend(reload::admission_events(shared, chains));
    events.extend(reload::plan_events(shared, chains));
    shared.audit(events).await
}

struct Opened {
    flow: FlowName,
    lane: LaneTasks,
}

async fn open_flows(
    shared: &Arc<Shared>,
    hospital: &Hospital,
    mut chains: LoadedChains,
) -> Result<(BTreeMap<FlowName, Flow>, Vec<Opened>), RecoverError> {
    let mut by_name = BTreeMap::new();
    let mut opened = Vec::new();
    for flow in emission_order(hospital) {
        let FlowChains { ingress, egress } = chains.take(&flow);
        let ingress = ingress.expect("all chains are loaded at the start");
        let durability = hospital.flows.get(&flow).map_or_else(Durability::default, |flow| flow.ack);
        let (lane, tasks) = Lane::open(shared.clone(), flow.clone(), ingress, durability).await?;
        let subscriptions = hospital.flows.get(&flow).into_iter().flat_map(|flow| &flow.subscriptions);
        let settings: BTreeMap<_, _> = subscriptions.map(|s| (s.name.clone(), s.delivery.clone())).collect();
        let seat = |(name, chain): (SubscriptionName, EgressChain)| {
            let settings = settings.get(&name).cloned().unwrap_or_default();
            let outlet = Outlet::new(shared.clone(), &lane, name.clone(), chain, settings);
            (name, Seat::new(Arc::new(outlet)))
        };
        let outlets = egress.into_iter().map(seat).collect();
        by_name.insert(flow.clone(), Flow { lane, outlets });
        opened.push(Opened { flow, lane: tasks });
    }
    Ok((by_name, opened))
}

/// Finds out where each subscription stands before its flow takes anything: what is kept is held against the flow's end, which
/// must not have grown past a place that the flow lost.
async fn recall_subscriptions(flows: &BTreeMap<FlowName, Flow>) -> Result<(), StartError> {
    for (name, flow) in flows {
        for (subscription, seat) in &flow.outlets {
            match seat.outlet.recall().await {
                Ok(()) => {}
                // It takes nothing, so its end does not move; the others go on, and the keeper tries again.
                Err(error) if flow.lane.is_damaged() => {
                    tracing::error!(flow = %name, %subscription, %error, "the subscription cannot be opened yet");
                }
                Err(source) => {
                    return Err(StartError::Subscription {
                        flow: name.clone(),
                        subscription: subscription.clone(),
                        source,
                    });
                }
            }
        }
    }
    Ok(())
}

/// All flows, each before those that its plugins emit to. The configuration has no circle of them.
fn emission_order(hospital: &Hospital) -> Vec<FlowName> {
    fn visit(hospital: &Hospital, flow: &FlowName, order: &mut Vec<FlowName>) {
        if order.contains(flow) {
            return;
        }
        for target in
            hospital.flows.get(flow).into_iter().flat_map(|flow| flow.stages()).flat_map(|s| s.emits())
        {
            visit(hospital, target, order);
        }
        order.push(flow.clone());
    }
    let mut order = Vec::new();
    hospital.flows.keys().for_each(|flow| visit(hospital, flow, &mut order));
    order.reverse();
    order
}

#[cfg(test)]
mod tests;
