//! Takes another configuration while the broker runs: reads the directory again, says what would change, and changes all of it or
//! nothing.
//!
//! 1. [`Reloader::prepare`] reads the files, checks them as a start would, and loads the chains that changed; plugins that are loaded
//!    already are not compiled again. What is wrong is said as `hilum check` says it.
//! 2. [`apply`] does the same once more, refuses where the files are not those that were shown or where something needs a restart,
//!    writes down what changes, and puts it in its place. From there on nothing can fail.
//!
//! A batch that is under way ends on the chain on which it began; the next one of its flow goes through the new chain. So no record is
//! left out, none goes twice, and their order stays. The old chain goes with its last batch, which [`drain`] tells of.

mod drain;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::audit::{Action, Event};
use hilum_core::control::Decision;
use hilum_core::policy::OperatorPermit;
use hilum_core::wire::admin::{ChainPlace, Standing};
use hilum_core::{Digest, FlowName, PrincipalId, SubscriptionName};
use hilum_store::AppendError;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::broker::{About, Shared};
use crate::chains::{Admitted, Catalog, ChainsError, FlowChains, LoadedChains, Lots, Material, Replaced};
use crate::config::{self, Change, Directory, Hospital, HostGrant, Outline, Problem, Problems, StageConfig};
use crate::deliver::Setup;
use crate::flows::{Flow, Flows, Rules};
use crate::retention::Policies;
use crate::services::Host;
use drain::Drains;

/// Changes that one audit event names; it says how many there are.
const NAMED_CHANGES_MAX: usize = 64;

/// Knows the configuration that the broker runs.
#[derive(Default)]
pub(crate) struct Reloader {
    /// None before the broker runs.
    running: Mutex<Option<Arc<Running>>>,
    /// Held while a configuration is prepared or applied.
    working: Arc<tokio::sync::Mutex<()>>,
    /// Compiled for the last preview: what is applied after it need not be compiled again.
    previewed: Mutex<Option<Arc<Catalog>>>,
    /// What the last reload replaced.
    drains: Drains,
}

/// What the broker runs.
pub(crate) struct Running {
    pub(crate) hospital: Hospital,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) lots: Option<Arc<Lots>>,
    pub(crate) policies: Policies,
}

/// A configuration that could be applied.
pub(crate) struct Prepared {
    hospital: Hospital,
    catalog: Arc<Catalog>,
    lots: Option<Arc<Lots>>,
    chains: LoadedChains,
    /// What would change, by path.
    pub(crate) changes: Vec<Change>,
    /// Names the configuration.
    pub(crate) digest: Digest,
}

/// Why a configuration does not take effect. Nothing changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// Something is wrong with it.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// It was edited after it was shown.
    #[error(
        "the configuration in the directory is not the one that was shown: look at what would change again"
    )]
    Changed,
    /// Something in it needs a restart.
    #[error("`{0}` cannot be changed while the broker runs: restart it, or take the change back")]
    NeedsRestart(String),
    /// It cannot be written down.
    #[error("the audit cannot be written, so nothing was changed: {0}")]
    Audit(#[from] AppendError),
    /// The broker has a defect, or is only about to run.
    #[error("the reload was given up")]
    GivenUp,
}

impl Reloader {
    /// The broker runs this from now on.
    pub(crate) fn set_running(&self, running: Running) {
        *self.running.lock() = Some(Arc::new(running));
    }

    /// What the broker runs; none before it does.
    pub(crate) fn running(&self) -> Option<Arc<Running>> {
        self.running.lock().clone()
    }

    /// Which configuration the broker runs, when no reload is under way; and how far the chains are that the last one replaced. For
    /// those it waits as long as it is told to, but for its own limit. None before the broker runs.
    pub(crate) async fn standing(&self, wait: Duration) -> Option<Standing> {
        let alone = self.working.lock().await;
        let digest = self.running()?.hospital.outline.digest();
        drop(alone);
        Some(self.drains.standing(digest, wait).await)
    }

    /// Reads the directory again and checks everything.
    pub(crate) async fn prepare(&self, shared: &Arc<Shared>) -> Result<Prepared, ReloadError> {
        let _alone = self.working.lock().await;
        self.prepare_alone(shared).await
    }

    async fn prepare_alone(&self, shared: &Arc<Shared>) -> Result<Prepared, ReloadError> {
        let running = self.running().ok_or(ReloadError::GivenUp)?;
        let known = self.previewed.lock().clone().unwrap_or_else(|| running.catalog.clone());
        let shared = shared.clone();
        let prepare = move || prepare(&running, &known, &shared);
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(|_| ReloadError::GivenUp)??;
        *self.previewed.lock() = Some(prepared.catalog.clone());
        Ok(prepared)
    }
}

/// Blocks.
fn prepare(running: &Running, known: &Catalog, shared: &Arc<Shared>) -> Result<Prepared, Problems> {
    let mut hospital = config::load(running.hospital.directory.path())?;
    config::check_files(&hospital)?;
    let main_file =
        |what: String| Problem::of_file(Directory::MAIN_FILE, what, "`hilum check DIR` says more");
    let host = Host::new(shared.clone(), &hospital).map_err(|error| main_file(error.to_string()))?;
    let catalog = known.reload(&hospital, shared.now()).map_err(problems)?;
    describe_files(&mut hospital, &catalog);
    let changes = running.hospital.outline.changes(&hospital.outline);
    let lots = match &running.lots {
        Some(lots) => Some(lots.clone()),
        None => {
            let lots = tokio::runtime::Handle::current().block_on(lots_for(&hospital, shared));
            lots.map_err(|error| main_file(error.to_string()))?
        }
    };
    let host = Arc::new(host);
    let material = Material { hospital: &hospital, catalog: &catalog, host: &host, lots: lots.as_ref() };
    let is_wanted = |flow: &FlowName, subscription: Option<&SubscriptionName>| {
        is_touched(&running.hospital, &hospital, &changes, flow, subscription)
    };
    let chains = LoadedChains::load(&material, is_wanted).map_err(problems)?;
    let digest = hospital.outline.digest();
    Ok(Prepared { catalog: Arc::new(catalog), lots, chains, changes, digest, hospital })
}

/// What lots are drawn with, where something is tried.
pub(crate) async fn lots_for(
    hospital: &Hospital,
    shared: &Shared,
) -> Result<Option<Arc<Lots>>, hilum_store::MetaError> {
    if !hospital.stages().any(|(_, stage)| stage.canary.is_some()) {
        return Ok(None);
    }
    Ok(Some(Arc::new(Lots::load(&*shared.meta).await?)))
}

fn problems(error: ChainsError) -> Problems {
    let help = "`hilum check DIR` and `hilum plugin inspect FILE` say more";
    match error {
        ChainsError::Labels(problems) => problems,
        ChainsError::Chain { place, source } => Problem::at(&place, "", source.to_string(), help).into(),
        other => Problem::of_file(Directory::MAIN_FILE, other.to_string(), help).into(),
    }
}

/// Adds to the outline what the named files contain, as far as chains depend on it.
pub(crate) fn describe_files(hospital: &mut Hospital, catalog: &Catalog) {
    let mut outline = std::mem::take(&mut hospital.outline);
    for (name, plugin) in catalog.plugins() {
        let described = plugin.description();
        let text = format!("{} {}, sha256 {}", described.name, described.version, plugin.digest());
        outline.set(format!("plugins.{name}.component"), text);
    }
    for (name, key) in &hospital.keys {
        set_mark(&mut outline, format!("keys.{name}.content"), &key.path);
    }
    let grants = hospital.stages().flat_map(|(_, stage)| &stage.grants);
    let recipients = grants.filter_map(|grant| match grant {
        HostGrant::Recipient { identities, .. } => Some(identities),
        _ => None,
    });
    let holders = hospital.kept_keys().flat_map(|(_, originals)| &originals.holders);
    for identity in recipients.flatten().chain(holders) {
        let certificate = hospital.directory.identity(identity).certificate;
        set_mark(&mut outline, format!("identities.{identity}.certificate"), &certificate);
    }
    hospital.outline = outline;
}

/// A mark by which another content is told, and nothing is learnt of a secret.
fn set_mark(outline: &mut Outline, path: String, file: &Path) {
    if let Ok(content) = std::fs::read(file) {
        let digest = Digest::of(&content).to_string();
        outline.set(path, format!("its SHA-256 begins with {}", &digest[..8]));
    }
}

/// Whether a chain has to be loaded again.
fn is_touched(
    before: &Hospital,
    after: &Hospital,
    changes: &[Change],
    flow: &FlowName,
    subscription: Option<&SubscriptionName>,
) -> bool {
    let (Some(old), Some(new)) = (stages(before, flow, subscription), stages(after, flow, subscription))
    else {
        return true;
    };
    let own = match subscription {
        Some(subscription) => format!("flows.{flow}.subscription.{subscription}"),
        None => format!("flows.{flow}"),
    };
    let mut depends = vec![format!("flows.{flow}.class")];
    depends.push(format!("{own}.{}", if subscription.is_some() { "egress" } else { "ingress" }));
    depends.push(format!("{own}.purpose"));
    if subscription.is_some() && !new.is_empty() {
        // Plugins are told who receives.
        depends.push("principals".into());
    }
    for stage in new {
        depends.extend(stage.plugins().map(|plugin| format!("plugins.{plugin}")));
        for grant in &stage.grants {
            match grant {
                HostGrant::Key(key) => {
                    depends.push(format!("keys.{key}"));
                    let originals = after.keys.get(key).and_then(|key| key.originals.as_ref());
                    let holders = originals.iter().flat_map(|originals| &originals.holders);
                    depends.extend(holders.map(|identity| format!("identities.{identity}")));
                }
                HostGrant::Recipient { identities, .. } => {
                    depends.extend(identities.iter().map(|identity| format!("identities.{identity}")));
                }
                _ => {}
            }
        }
    }
    let same_grants =
        old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.grants == new.grants);
    !same_grants || changes.iter().any(|change| depends.iter().any(|path| change.is_under(path)))
}

fn stages<'h>(
    hospital: &'h Hospital,
    flow: &FlowName,
    subscription: Option<&SubscriptionName>,
) -> Option<&'h [StageConfig]> {
    let flow = hospital.flows.get(flow)?;
    match subscription {
        None => Some(&flow.ingress),
        Some(name) => {
            flow.subscriptions.iter().find(|other| other.name == *name).map(|found| found.egress.as_slice())
        }
    }
}

/// Takes the configuration of this digest, if it is the one in the directory; gives how many things changed. It goes its way to the
/// end, whether this future is polled or not.
pub(crate) async fn apply(
    flows: &Arc<Flows>,
    digest: Digest,
    permit: &OperatorPermit,
    note: &str,
) -> Result<u64, ReloadError> {
    let alone = flows.reloader.working.clone().lock_owned().await;
    let prepared = flows.reloader.prepare_alone(&flows.shared).await?;
    if prepared.digest != digest {
        return Err(ReloadError::Changed);
    }
    if let Some(change) = prepared.changes.iter().find(|change| change.needs_restart()) {
        return Err(ReloadError::NeedsRestart(change.path.clone()));
    }
    let by = permit.principal().id.clone();
    let event = reloaded(&flows.shared, &prepared, permit, note);
    let carrying = tokio::spawn(carry_out(flows.clone(), prepared, by, event, alone));
    carrying.await.map_err(|_| ReloadError::GivenUp)?
}

fn reloaded(shared: &Shared, prepared: &Prepared, permit: &OperatorPermit, note: &str) -> Event {
    // Paths only: values of a plugin's configuration are the plugin's own.
    let named: Vec<&str> =
        prepared.changes.iter().take(NAMED_CHANGES_MAX).map(|change| change.path.as_str()).collect();
    let note = if note.is_empty() { String::new() } else { format!("; note: {note}") };
    let reason = format!(
        "configuration {}, {} changes: {}, by rule `{}`{note}",
        prepared.digest,
        prepared.changes.len(),
        named.join(", "),
        permit.rule()
    );
    let about = About { principal: Some(permit.principal().id.clone()), ..About::default() };
    about.event(shared.now(), Action::Reloaded, reason)
}

async fn carry_out(
    flows: Arc<Flows>,
    prepared: Prepared,
    by: PrincipalId,
    event: Event,
    _alone: OwnedMutexGuard<()>,
) -> Result<u64, ReloadError> {
    let Prepared { hospital, catalog, lots, mut chains, changes, digest } = prepared;
    let shared = &flows.shared;
    let mut events = vec![event];
    events.extend(admission_events(shared, &chains));
    events.extend(plan_events(shared, &chains));
    shared.audit(events).await?;
    // What the plans promise is announced: from here on nothing can fail.
    let mut replaced = Vec::new();
    for (name, flow) in &flows.by_name {
        replaced.extend(change_flow(name, flow, &hospital, chains.take(name), &changes).await);
    }
    flows.set_rules(Rules::of(&hospital));
    let running = flows.reloader.running().ok_or(ReloadError::GivenUp)?;
    running.policies.set(&hospital);
    let policies = running.policies.clone();
    flows.reloader.set_running(Running { hospital, catalog, lots, policies });
    *flows.reloader.previewed.lock() = None;
    flows.reloader.drains.follow(shared, digest, replaced);
    forget_rollbacks(&flows, &by).await;
    tracing::info!(configuration = %digest, changes = changes.len(), "the broker took another configuration");
    Ok(changes.len() as u64)
}

/// Gives the chains with stages that were replaced.
async fn change_flow(
    name: &FlowName,
    flow: &Flow,
    hospital: &Hospital,
    new: FlowChains,
    changes: &[Change],
) -> Vec<Replaced> {
    let FlowChains { ingress, mut egress } = new;
    let mut replaced = Vec::new();
    if let Some(route) = ingress {
        let old = flow.lane.set_route(route);
        let place = ChainPlace { flow: name.clone(), subscription: None };
        replaced.push(Replaced { place, plans: old.plans(), end: old.life().end() });
    }
    let config = hospital.flows.get(name);
    for subscription in config.into_iter().flat_map(|flow| &flow.subscriptions) {
        let Some(seat) = flow.outlets.get(&subscription.name) else { continue };
        let chain = egress.remove(&subscription.name);
        let path = format!("flows.{name}.subscription.{}", subscription.name);
        if chain.is_none() && !changes.iter().any(|change| change.is_under(&path)) {
            continue;
        }
        let is_new = chain.is_some();
        let chain = chain.map_or_else(|| seat.outlet.setup().chain.clone(), Arc::new);
        let old = seat.outlet.set_up(Setup { chain, settings: subscription.delivery.clone() }).await;
        if is_new {
            let place = ChainPlace { flow: name.clone(), subscription: Some(subscription.name.clone()) };
            replaced.push(Replaced { place, plans: old.chain.plans(), end: old.chain.end() });
        }
    }
    replaced.retain(|chain| !chain.plans.is_empty());
    replaced
}

/// What was rolled back and is not in the configuration any more may be tried again some day.
async fn forget_rollbacks(flows: &Flows, by: &PrincipalId) {
    let Some(running) = flows.reloader.running() else { return };
    for place in flows.shared.control.rollbacks() {
        let stages = stages(&running.hospital, &place.flow, place.subscription.as_ref());
        let is_tried = |stage: &StageConfig| stage.stage == place.stage && stage.canary.is_some();
        if stages.is_some_and(|stages| stages.iter().any(is_tried)) {
            continue;
        }
        let decided = flows
            .shared
            .decide(|_, time| Ok(Decision::TryAgain { place: place.clone(), by: by.clone(), time }));
        if let Err(error) = decided.await {
            tracing::warn!(%place, %error, "a trial that was rolled back could not be forgotten yet");
        }
    }
}

/// On what grounds each plugin was admitted. Warns of those that need attention.
pub(crate) fn admission_events(shared: &Shared, chains: &LoadedChains) -> Vec<Event> {
    let admitted = chains.admitted().iter();
    for (name, admitted) in admitted.clone() {
        for warning in &admitted.examined.warnings {
            tracing::warn!(plugin = name, version = admitted.version, %warning, "a plugin needs attention");
        }
    }
    let event = |(name, admitted): (&String, &Admitted)| {
        About::default().event(shared.now(), Action::PluginAdmitted, admitted.grounds(name))
    };
    admitted.map(event).collect()
}

/// Every plan, so that receipts can be resolved.
pub(crate) fn plan_events(shared: &Shared, chains: &LoadedChains) -> Vec<Event> {
    let plans = chains.plans().filter(|(_, _, plan)| !plan.stages().is_empty());
    let event =
        |(flow, subscription, plan): (&FlowName, Option<&SubscriptionName>, &hilum_core::chain::Plan)| {
            let about =
                About { flow: Some(flow.clone()), subscription: subscription.cloned(), ..About::default() };
            let stages = serde_json::to_string(plan.stages()).unwrap_or_default();
            about.event(shared.now(), Action::PlanLoaded, format!("{} {stages}", plan.digest()))
        };
    plans.map(event).collect()
}
