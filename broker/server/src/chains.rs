//! From stages in the configuration to chains that run: admits plugins, configures, links.
//!
//! The same code answers `hilum check`: [`Catalog`] asks plugins which labels they remove.

mod admission;
pub(crate) mod guarded;
mod life;
mod route;
pub(crate) mod slot;
mod trial;
pub(crate) mod watch;

pub use slot::Slots;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hilum_core::canary::{Rules, StagePlace};
use hilum_core::chain::{Plan, World};
use hilum_core::{Digest, FlowName, Label, Principal, PrincipalId, SubscriptionName, Timestamp};
use hilum_sandbox::package::{COMPONENT_OCTETS_MAX, Disagreement};
use hilum_sandbox::trust::Refusal;
use hilum_sandbox::{
    Cache, Chain, ChainContext, ChainError, Grant, Grants, Limits, LoadError, Plugin, Sandbox, Settings,
    StageSpec,
};
use parking_lot::Mutex;

use crate::config::{
    FlowConfig, Hospital, HostGrant, Place, PluginCatalog, PluginFile, Problems, StageConfig, StageProblem,
    SubscriptionConfig, check_labels,
};
use crate::package::ReadError;
use crate::provision::read_secret;
use crate::score::Demand;
use crate::services::{ChainServices, Host, NoServices};
use admission::Admission;
pub use admission::{Admitted, TrustError, policy, read_public_key};
pub(crate) use life::{End, Life, Replaced};
pub use route::Route;
pub(crate) use route::{Tallies, Tally, Whose};
pub(crate) use trial::{Drawn, Lots, Trial};

/// Why chains do not load.
#[derive(Debug, thiserror::Error)]
pub enum ChainsError {
    /// The sandbox cannot be set up on this machine.
    #[error("the sandbox cannot be set up: {0}")]
    Sandbox(String),
    /// The keys that plugins are verified with cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A plugin does not load.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A stakeholder could receive what it is not cleared for, or a stage cannot run.
    #[error(transparent)]
    Labels(#[from] Problems),
    /// A chain does not load.
    #[error("{place}: {source}")]
    Chain {
        /// The flow or subscription.
        place: Place,
        /// Why.
        source: ChainError,
    },
}

/// Why a plugin does not load.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Its file cannot be read.
    #[error("plugin `{name}`: {path}: {source}")]
    Read {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its file is longer than a component may be.
    #[error("plugin `{name}`: {path}: {octets} octets are over the limit of {COMPONENT_OCTETS_MAX}")]
    TooLarge {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Its size.
        octets: u64,
    },
    /// Its file is not the one that the configuration pins.
    #[error(
        "plugin `{name}`: {path} has digest {actual}, hilum.toml pins {pinned}; restore the file or change `sha256`"
    )]
    Pin {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// As it is.
        actual: Digest,
        /// As it should be.
        pinned: Digest,
    },
    /// Its package cannot be read, or its parts do not fit together.
    #[error("plugin `{name}`: {path}: {source}")]
    Package {
        /// The plugin.
        name: String,
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: Box<ReadError>,
    },
    /// Nobody signed it, or it is revoked, or its support has ended.
    #[error("plugin `{name}`: {path}: {source}; {help}", help = source.help())]
    Refused {
        /// The plugin.
        name: String,
        /// Its file or directory.
        path: PathBuf,
        /// Why.
        source: Box<Refusal>,
    },
    /// It is not signed by those who must sign what runs there.
    #[error("{place}: plugin `{name}`: {path}: {source}; {help}", help = source.help())]
    NotPermitted {
        /// The plugin.
        name: String,
        /// Its file or directory.
        path: PathBuf,
        /// The stage.
        place: Place,
        /// Why.
        source: Box<Refusal>,
    },
    /// Its manifest says something else than it says itself.
    #[error("plugin `{name}`: {path}: {source}")]
    Disagrees {
        /// The plugin.
        name: String,
        /// Its directory.
        path: PathBuf,
        /// About what.
        source: Box<Disagreement>,
    },
    /// It is not a plugin.
    #[error("plugin `{name}`: {path}: {source}")]
    Load {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Box<LoadError>,
    },
}

/// The plugins of a hospital, compiled.
pub struct Catalog {
    sandbox: Sandbox,
    plugins: BTreeMap<String, Arc<Plugin>>,
    admitted: BTreeMap<String, Admitted>,
    /// What reports have to say of a plugin, by its name.
    demands: BTreeMap<String, Demand>,
}

impl Catalog {
    /// Loads all plugins that some stage uses, and that the hospital admits at this time.
    pub fn load(hospital: &Hospital, now: Timestamp) -> Result<Self, ChainsError> {
        Self::load_into(None, hospital, now)
    }

    /// Loads all plugins that some stage of another configuration uses, and compiles none again that is here.
    pub(crate) fn reload(&self, hospital: &Hospital, now: Timestamp) -> Result<Self, ChainsError> {
        Self::load_into(Some(self.sandbox.clone()), hospital, now)
    }

    /// In a sandbox of their own, if there is none.
    pub(crate) fn load_into(
        sandbox: Option<Sandbox>,
        hospital: &Hospital,
        now: Timestamp,
    ) -> Result<Self, ChainsError> {
        let sandbox = sandbox.map_or_else(|| own_sandbox(hospital), Ok)?;
        let demand = |(name, file): (&String, &PluginFile)| Some((name.clone(), file.score.clone()?));
        let demands = hospital.plugins.iter().filter_map(demand).collect();
        let mut catalog = Self { sandbox, plugins: BTreeMap::new(), admitted: BTreeMap::new(), demands };
        if hospital.stages().next().is_none() {
            return Ok(catalog); // so that a hospital without plugins needs no keys for them
        }
        let admission = Admission::of(hospital, now)?;
        for (flow, stage) in hospital.stages() {
            for name in stage.plugins() {
                if let (false, Some(file)) = (catalog.plugins.contains_key(name), hospital.plugins.get(name))
                {
                    let (plugin, admitted) = admission.admit(&catalog.sandbox, name, file)?;
                    catalog.plugins.insert(name.clone(), plugin);
                    catalog.admitted.insert(name.clone(), admitted);
                }
                let (plugin, admitted) = (&catalog.plugins[name], &catalog.admitted[name]);
                admission.permit(flow, stage, name, plugin, admitted)?;
            }
        }
        Ok(catalog)
    }

    /// The plugins that were loaded, and on what grounds.
    #[must_use]
    pub fn admitted(&self) -> &BTreeMap<String, Admitted> {
        &self.admitted
    }

    /// The loaded plugins, by the names that stages use.
    pub(crate) fn plugins(&self) -> &BTreeMap<String, Arc<Plugin>> {
        &self.plugins
    }

    /// Whether every label stays with those who are cleared for it, and every stage can run.
    pub fn check(&self, hospital: &Hospital) -> Result<(), Problems> {
        check_labels(hospital, self)
    }

    fn spec(&self, stage: &StageConfig) -> StageSpec {
        StageSpec {
            name: stage.stage.clone(),
            plugin: self.plugins[&stage.plugin].clone(),
            config: stage.config.clone(),
            grants: grants(stage),
            limits: stage.limits.clone(),
        }
    }
}

fn own_sandbox(hospital: &Hospital) -> Result<Sandbox, ChainsError> {
    let sandbox =
        Sandbox::new(settings(hospital)).map_err(|error| ChainsError::Sandbox(error.to_string()))?;
    Ok(match cache(hospital) {
        Some(cache) => sandbox.with_cache(cache),
        None => sandbox,
    })
}

impl PluginCatalog for Catalog {
    /// Of a stage at which a plugin is tried: what both versions remove.
    fn removes(&self, stage: &StageConfig) -> Result<Vec<Label>, StageProblem> {
        let (_, mut removed) = self.described(stage)?;
        if let Some(candidate) = stage.candidate() {
            let in_canary = |problem: StageProblem| StageProblem { key: "canary".into(), ..problem };
            let (world, too) = self.described(&candidate).map_err(in_canary)?;
            self.check_worlds(stage, world)?;
            removed.retain(|label| too.contains(label));
        }
        Ok(removed)
    }
}

impl Catalog {
    /// A candidate stands for the current version only where it is of the same kind. State of an observer is that of all records of
    /// its stage: two versions that write it cannot be told from each other.
    fn check_worlds(&self, stage: &StageConfig, candidate: World) -> Result<(), StageProblem> {
        let current = self.plugins[&stage.plugin].world();
        let (what, help) = if current == World::Observe {
            (
                "a plugin that observes cannot be tried on a share of the records: both versions would write the same state",
                "upgrade it whole: `hilum plugin upgrade DIR NAME --to FILE`",
            )
        } else if current != candidate {
            ("what is tried is of another world than the stage's plugin", "name a plugin of the same world")
        } else {
            return Ok(());
        };
        Err(StageProblem { key: "canary".into(), what: what.into(), help: help.into() })
    }

    /// Its world, and the labels that it removes.
    fn described(&self, stage: &StageConfig) -> Result<(World, Vec<Label>), StageProblem> {
        let context = ChainContext {
            flow: FlowName::new("check").expect("it is a name"),
            class: "check".into(),
            subscription: None,
            recipient: None,
            purpose: None,
            break_glass: None,
        };
        let chain = Chain::load(&self.sandbox, context, vec![self.spec(stage)], Arc::new(NoServices));
        let chain = chain.map_err(|error| {
            let key = match &error {
                ChainError::NotGranted { .. } => "grants",
                ChainError::Config { .. } => "config",
                _ => "plugin",
            };
            let help = format!("`hilum plugin inspect {}` shows what the plugin takes", stage.plugin);
            StageProblem { key: key.into(), what: error.to_string(), help }
        })?;
        if let (Some(demand), [planned]) = (self.demands.get(&stage.plugin), chain.plan().stages()) {
            demand.is_met(planned.component, planned.configuration).map_err(|unmet| StageProblem {
                key: "plugin".into(),
                what: format!("plugin `{}` may not run here: {unmet}", stage.plugin),
                help: format!(
                    "score it under this stage's configuration with `hilum plugin score {} --dir DIR --stage FLOW/CHAIN/{}`, and put the report into {}",
                    planned.plugin, stage.stage, demand.reports.display()
                ),
            })?;
        }
        let removes = chain.plan().stages().iter().flat_map(|stage| stage.removes.clone()).collect();
        Ok((self.plugins[&stage.plugin].world(), removes))
    }
}

/// Loads a plugin of a hospital, if the hospital admits it at this time.
///
/// # Errors
///
/// [`ChainsError`].
pub fn load_plugin(
    sandbox: &Sandbox,
    hospital: &Hospital,
    name: &str,
    file: &PluginFile,
    now: Timestamp,
) -> Result<Arc<Plugin>, ChainsError> {
    Ok(Admission::of(hospital, now)?.admit(sandbox, name, file)?.0)
}

/// What a stage may ask for.
#[must_use]
pub fn grants(stage: &StageConfig) -> Grants {
    let grant = |grant: &HostGrant| match grant {
        HostGrant::Log => Grant::Log,
        HostGrant::Metrics => Grant::Metrics,
        HostGrant::Trace => Grant::Trace,
        HostGrant::Time => Grant::Time,
        HostGrant::Random => Grant::Random,
        HostGrant::State => Grant::State,
        HostGrant::Key(name) => Grant::Key(name.clone()),
        HostGrant::Recipient { name, .. } => Grant::Recipient(name.clone()),
        HostGrant::Emit(flow) => Grant::Emit(flow.clone()),
        HostGrant::Observed(flow, stage) => Grant::Observed(flow.clone(), stage.clone()),
    };
    stage.grants.iter().map(grant).collect()
}

/// What a stage may use up.
#[must_use]
pub fn limits(stage: &StageConfig) -> Limits {
    stage.limits.clone()
}

/// A sandbox in which every stage finds room for the memory that it may have.
fn settings(hospital: &Hospital) -> Settings {
    let mut settings = Settings::default();
    for (_, stage) in hospital.stages() {
        settings.memory_octets = settings.memory_octets.max(stage.limits.memory_octets);
    }
    settings
}

/// What was compiled at an earlier start. Without it a start takes longer, and nothing else.
fn cache(hospital: &Hospital) -> Option<Cache> {
    let data = hospital.directory.data();
    // Who only checks a configuration has neither, and makes neither.
    let secret = read_secret(&hospital.directory.key_encryption_key()).ok()?;
    if !data.is_dir() {
        return None;
    }
    let folder = data.join("compiled");
    let opened = Cache::open(&folder, &*secret);
    opened
        .inspect_err(|error| {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "the cache of compiled plugins cannot be used; the start takes longer");
        })
        .ok()
}

/// The egress chain of a subscription: one for each of its readers, because plugins are told who receives.
pub struct EgressChain {
    sandbox: Sandbox,
    context: ChainContext,
    stages: Vec<StageSpec>,
    /// The stages with a plugin that is tried, and its trial.
    canary: Option<(Vec<StageSpec>, Arc<Trial>, Plan)>,
    services: Arc<ChainServices>,
    plan: Plan,
    tallies: Arc<Tallies>,
    life: Arc<Life>,
    by_reader: Mutex<BTreeMap<PrincipalId, Arc<Route>>>,
}

impl EgressChain {
    #[cfg(test)]
    pub(crate) fn of(
        sandbox: Sandbox,
        context: ChainContext,
        stages: Vec<StageSpec>,
        services: Arc<ChainServices>,
    ) -> Self {
        let chain = Chain::load(&sandbox, context.clone(), stages.clone(), services.clone());
        let plan = chain.expect("the test's chain loads").plan().clone();
        let (tallies, life, by_reader) = (Arc::default(), Arc::default(), Mutex::default());
        Self { sandbox, context, stages, canary: None, services, plan, tallies, life, by_reader }
    }

    /// Which plugins with which configuration: the same for all readers.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is tried, and how it does.
    pub(crate) fn canary(&self) -> Option<(&Plan, &Trial)> {
        self.canary.as_ref().map(|(_, trial, plan)| (plan, &**trial))
    }

    /// What the stages did for all readers.
    pub(crate) fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }

    /// The chains of the readers that were here, by reader. Blocks while another one is loaded.
    pub(crate) fn routes(&self) -> Vec<(PrincipalId, Arc<Route>)> {
        self.by_reader.lock().iter().map(|(reader, route)| (reader.clone(), route.clone())).collect()
    }

    /// Its plan, and that with a plugin that is tried; none where nothing runs.
    pub(crate) fn plans(&self) -> Vec<Digest> {
        route::plans(&self.plan, self.canary().map(|(plan, _)| plan))
    }

    /// When nothing runs on it any more, for any reader.
    pub(crate) fn end(&self) -> End {
        self.life.end()
    }

    /// The chain for one reader, loaded at its first visit. Blocks.
    pub fn for_reader(&self, reader: &Arc<Principal>) -> Result<Arc<Route>, ChainError> {
        let mut by_reader = self.by_reader.lock();
        if let Some(route) = by_reader.get(&reader.id) {
            return Ok(route.clone());
        }
        let load = |stages: &[StageSpec]| {
            let context = ChainContext { recipient: Some(reader.clone()), ..self.context.clone() };
            Chain::load(&self.sandbox, context, stages.to_vec(), self.services.clone()).map(Arc::new)
        };
        let canary = match &self.canary {
            Some((stages, trial, _)) => Some((load(stages)?, trial.clone())),
            None => None,
        };
        let route =
            Arc::new(Route::new(load(&self.stages)?, canary, self.tallies.clone(), self.life.clone()));
        by_reader.insert(reader.id.clone(), route.clone());
        Ok(route)
    }
}

/// What chains are loaded with.
pub(crate) struct Material<'a> {
    pub(crate) hospital: &'a Hospital,
    pub(crate) catalog: &'a Catalog,
    pub(crate) host: &'a Arc<Host>,
    /// Present where something is tried.
    pub(crate) lots: Option<&'a Arc<Lots>>,
}

/// Chains of a hospital, by flow.
pub(crate) struct LoadedChains {
    by_flow: BTreeMap<FlowName, FlowChains>,
    admitted: BTreeMap<String, Admitted>,
}

/// Chains of one flow; those that were wanted.
#[derive(Default)]
pub(crate) struct FlowChains {
    pub(crate) ingress: Option<Route>,
    pub(crate) egress: BTreeMap<SubscriptionName, EgressChain>,
}

impl LoadedChains {
    /// Loads the chains that `is_wanted`, of a subscription or else the flow's own, and refuses a configuration that would leak a
    /// label. Blocks.
    pub(crate) fn load(
        material: &Material<'_>,
        is_wanted: impl Fn(&FlowName, Option<&SubscriptionName>) -> bool,
    ) -> Result<Self, ChainsError> {
        material.catalog.check(material.hospital)?;
        let mut chains = BTreeMap::new();
        for flow in material.hospital.flows.values() {
            let loading = Loading { material, flow };
            let mut loaded = FlowChains::default();
            for subscription in &flow.subscriptions {
                if is_wanted(&flow.name, Some(&subscription.name)) {
                    loaded.egress.insert(subscription.name.clone(), loading.egress(subscription)?);
                }
            }
            if is_wanted(&flow.name, None) {
                loaded.ingress = Some(loading.ingress()?);
            }
            chains.insert(flow.name.clone(), loaded);
        }
        Ok(Self { by_flow: chains, admitted: material.catalog.admitted.clone() })
    }

    /// The plugins that run in them, and on what grounds.
    pub(crate) fn admitted(&self) -> &BTreeMap<String, Admitted> {
        &self.admitted
    }

    /// Every plan, with the subscription it belongs to; none for ingress. Those of what is tried are among them.
    pub(crate) fn plans(&self) -> impl Iterator<Item = (&FlowName, Option<&SubscriptionName>, &Plan)> {
        self.by_flow.iter().flat_map(|(flow, chains)| {
            let ingress = chains.ingress.iter().flat_map(move |route| {
                let plans = std::iter::once(route.plan()).chain(route.canary().map(|(plan, _)| plan));
                plans.map(move |plan| (flow, None, plan))
            });
            let egress = chains.egress.iter().flat_map(move |(name, chain)| {
                let plans = std::iter::once(chain.plan()).chain(chain.canary().map(|(plan, _)| plan));
                plans.map(move |plan| (flow, Some(name), plan))
            });
            ingress.chain(egress)
        })
    }

    /// The chains of a flow.
    pub(crate) fn take(&mut self, flow: &FlowName) -> FlowChains {
        self.by_flow.remove(flow).unwrap_or_default()
    }
}

struct Loading<'a> {
    material: &'a Material<'a>,
    flow: &'a FlowConfig,
}

impl Loading<'_> {
    fn ingress(&self) -> Result<Route, ChainsError> {
        let (stages, place) = (&self.flow.ingress, &self.flow.place);
        let services = self.services(None);
        let load = |stages: &[StageConfig]| {
            self.chain(self.context(None), &self.specs(stages), &services, place).map(Arc::new)
        };
        let canary = match tried(stages) {
            Some((index, with, rules)) => {
                let chain = load(&with)?;
                let trial = self.trial(None, index, chain.plan(), rules, &stages[index]);
                Some((chain, trial))
            }
            None => None,
        };
        Ok(Route::new(load(stages)?, canary, Arc::default(), Arc::default()))
    }

    fn egress(&self, subscription: &SubscriptionConfig) -> Result<EgressChain, ChainsError> {
        let (sandbox, context) = (self.material.catalog.sandbox.clone(), self.context(Some(subscription)));
        let (stages, services) = (self.specs(&subscription.egress), self.services(Some(subscription)));
        // Loaded once without a reader: what is wrong shows at the start, not when somebody comes to read.
        let load = |stages: &[StageSpec]| self.chain(context.clone(), stages, &services, &subscription.place);
        let canary = match tried(&subscription.egress) {
            Some((index, with, rules)) => {
                let with = self.specs(&with);
                let plan = load(&with)?.plan().clone();
                let at = &subscription.egress[index];
                let trial = self.trial(Some(&subscription.name), index, &plan, rules, at);
                Some((with, trial, plan))
            }
            None => None,
        };
        let plan = load(&stages)?.plan().clone();
        let (tallies, life, by_reader) = (Arc::default(), Arc::default(), Mutex::default());
        Ok(EgressChain { sandbox, context, stages, canary, services, plan, tallies, life, by_reader })
    }

    fn chain(
        &self,
        context: ChainContext,
        stages: &[StageSpec],
        services: &Arc<ChainServices>,
        place: &Place,
    ) -> Result<Chain, ChainsError> {
        let chain = Chain::load(&self.material.catalog.sandbox, context, stages.to_vec(), services.clone());
        chain.map_err(|source| ChainsError::Chain { place: place.clone(), source })
    }

    fn trial(
        &self,
        subscription: Option<&SubscriptionName>,
        index: usize,
        plan: &Plan,
        rules: Rules,
        stage: &StageConfig,
    ) -> Arc<Trial> {
        let (flow, stage) = (self.flow.name.clone(), stage.stage.clone());
        let place = StagePlace { flow, subscription: subscription.cloned(), stage };
        let lots = self.material.lots.expect("lots are drawn where something is tried").clone();
        Arc::new(Trial::new(self.material.host.shared(), lots, place, (index, plan), rules))
    }

    fn specs(&self, stages: &[StageConfig]) -> Vec<StageSpec> {
        stages.iter().map(|stage| self.material.catalog.spec(stage)).collect()
    }

    fn context(&self, subscription: Option<&SubscriptionConfig>) -> ChainContext {
        ChainContext {
            flow: self.flow.name.clone(),
            class: self.flow.class.clone(),
            subscription: subscription.map(|subscription| subscription.name.clone()),
            recipient: None,
            purpose: subscription.map(|subscription| subscription.purpose.clone()),
            break_glass: None,
        }
    }

    fn services(&self, subscription: Option<&SubscriptionConfig>) -> Arc<ChainServices> {
        let subscription = subscription.map(|subscription| &subscription.name);
        Arc::new(ChainServices::new(self.material.host.clone(), self.flow.name.clone(), subscription))
    }
}

/// The number of the stage at which something is tried, the stages with that in its place, and how it is tried. The configuration
/// has at most one in a chain.
fn tried(stages: &[StageConfig]) -> Option<(usize, Vec<StageConfig>, Rules)> {
    let index = stages.iter().position(|stage| stage.canary.is_some())?;
    let rules = stages[index].canary.as_ref()?.rules;
    let mut with = stages.to_vec();
    with[index] = stages[index].candidate()?;
    Some((index, with, rules))
}
