//! From stages in the configuration to chains that run: loads plugins, checks pins, configures, links.
//!
//! The same code answers `hilum check`: [`Catalog`] asks plugins which labels they remove.

pub(crate) mod guarded;
pub(crate) mod slot;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hilum_core::chain::Plan;
use hilum_core::{Digest, FlowName, Label, Principal, PrincipalId, SubscriptionName};
use hilum_sandbox::{
    Chain, ChainContext, ChainError, Grant, Grants, Limits, LoadError, Plugin, Sandbox, Settings, StageSpec,
};
use parking_lot::Mutex;

use crate::config::{
    FlowConfig, Hospital, HostGrant, Place, PluginCatalog, PluginFile, Problems, StageConfig, StageProblem,
    SubscriptionConfig, check_labels,
};
use crate::services::{ChainServices, Host, NoServices};

/// Octets of a component's file.
const COMPONENT_OCTETS_MAX: u64 = 64 << 20;

/// Why chains do not load.
#[derive(Debug, thiserror::Error)]
pub enum ChainsError {
    /// The sandbox cannot be set up on this machine.
    #[error("the sandbox cannot be set up: {0}")]
    Sandbox(String),
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
    /// It is not a plugin.
    #[error("plugin `{name}`: {path}: {source}")]
    Load {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
}

/// The plugins of a hospital, compiled.
pub struct Catalog {
    sandbox: Sandbox,
    plugins: BTreeMap<String, Arc<Plugin>>,
}

impl Catalog {
    /// Loads all plugins that some stage uses.
    pub fn load(hospital: &Hospital) -> Result<Self, ChainsError> {
        let sandbox =
            Sandbox::new(Settings::default()).map_err(|error| ChainsError::Sandbox(error.to_string()))?;
        let mut plugins = BTreeMap::new();
        for (_, stage) in hospital.stages() {
            if let (false, Some(file)) =
                (plugins.contains_key(&stage.plugin), hospital.plugins.get(&stage.plugin))
            {
                plugins.insert(stage.plugin.clone(), load_plugin(&sandbox, &stage.plugin, file)?);
            }
        }
        Ok(Self { sandbox, plugins })
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
            limits: limits(stage),
        }
    }
}

impl PluginCatalog for Catalog {
    fn removes(&self, stage: &StageConfig) -> Result<Vec<Label>, StageProblem> {
        let context = ChainContext {
            flow: FlowName::new("check").expect("it is a name"),
            class: "check".into(),
            subscription: None,
            recipient: None,
            purpose: None,
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
        Ok(chain.plan().stages().iter().flat_map(|stage| stage.removes.clone()).collect())
    }
}

/// Loads a plugin of a hospital, if its file is the one that is pinned.
///
/// # Errors
///
/// [`PluginError`].
pub fn load_plugin(sandbox: &Sandbox, name: &str, file: &PluginFile) -> Result<Arc<Plugin>, PluginError> {
    let (name, path) = (name.to_owned(), file.path.clone());
    let read = std::fs::metadata(&path).and_then(|metadata| Ok((metadata.len(), std::fs::read(&path)?)));
    let (octets, component) = match read {
        Ok(read) => read,
        Err(source) => return Err(PluginError::Read { name, path, source }),
    };
    if octets > COMPONENT_OCTETS_MAX {
        return Err(PluginError::TooLarge { name, path, octets });
    }
    let actual = Digest::of(&component);
    if let Some(pinned) = file.sha256.filter(|pinned| *pinned != actual) {
        return Err(PluginError::Pin { name, path, actual, pinned });
    }
    sandbox.load(&component).map_err(|source| PluginError::Load { name, path, source })
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
    };
    stage.grants.iter().map(grant).collect()
}

/// What a stage may use up.
#[must_use]
pub fn limits(stage: &StageConfig) -> Limits {
    let mut limits = Limits::default();
    let octets = |octets: u64| usize::try_from(octets).unwrap_or(usize::MAX);
    if let Some(memory) = stage.limits.memory_octets {
        limits.memory_octets = octets(memory);
    }
    if let Some(output) = stage.limits.output_octets {
        limits.output_octets = octets(output);
    }
    if let Some(call) = stage.limits.call_ms {
        limits.time = std::time::Duration::from_millis(call);
    }
    limits
}

/// The egress chain of a subscription: one for each of its readers, because plugins are told who receives.
pub struct EgressChain {
    sandbox: Sandbox,
    context: ChainContext,
    stages: Vec<StageSpec>,
    services: Arc<ChainServices>,
    plan: Plan,
    by_reader: Mutex<BTreeMap<PrincipalId, Arc<Chain>>>,
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
        Self { sandbox, context, stages, services, plan, by_reader: Mutex::default() }
    }

    /// Which plugins with which configuration: the same for all readers.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The chain for one reader, loaded at its first visit. Blocks.
    pub fn for_reader(&self, reader: &Arc<Principal>) -> Result<Arc<Chain>, ChainError> {
        let mut by_reader = self.by_reader.lock();
        if let Some(chain) = by_reader.get(&reader.id) {
            return Ok(chain.clone());
        }
        let context = ChainContext { recipient: Some(reader.clone()), ..self.context.clone() };
        let chain = Chain::load(&self.sandbox, context, self.stages.clone(), self.services.clone())?;
        let chain = Arc::new(chain);
        by_reader.insert(reader.id.clone(), chain.clone());
        Ok(chain)
    }
}

/// All chains of a hospital, by flow.
pub(crate) struct LoadedChains(BTreeMap<FlowName, FlowChains>);

pub(crate) struct FlowChains {
    pub(crate) ingress: Arc<Chain>,
    pub(crate) egress: BTreeMap<SubscriptionName, EgressChain>,
}

impl LoadedChains {
    /// Loads every chain, and refuses a configuration that would leak a label.
    pub(crate) fn load(hospital: &Hospital, host: &Arc<Host>) -> Result<Self, ChainsError> {
        let catalog = Catalog::load(hospital)?;
        catalog.check(hospital)?;
        let mut chains = BTreeMap::new();
        for flow in hospital.flows.values() {
            let loading = Loading { catalog: &catalog, host, flow };
            let mut egress = BTreeMap::new();
            for subscription in &flow.subscriptions {
                egress.insert(subscription.name.clone(), loading.egress(subscription)?);
            }
            chains.insert(flow.name.clone(), FlowChains { ingress: loading.ingress()?, egress });
        }
        Ok(Self(chains))
    }

    /// Every plan, with the subscription it belongs to; none for ingress.
    pub(crate) fn plans(&self) -> impl Iterator<Item = (&FlowName, Option<&SubscriptionName>, &Plan)> {
        self.0.iter().flat_map(|(flow, chains)| {
            let egress = chains.egress.iter().map(move |(name, chain)| (flow, Some(name), chain.plan()));
            std::iter::once((flow, None, chains.ingress.plan())).chain(egress)
        })
    }

    /// The chains of a flow.
    pub(crate) fn take(&mut self, flow: &FlowName) -> FlowChains {
        self.0.remove(flow).expect("every flow has its chains, once")
    }
}

struct Loading<'a> {
    catalog: &'a Catalog,
    host: &'a Arc<Host>,
    flow: &'a FlowConfig,
}

impl Loading<'_> {
    fn ingress(&self) -> Result<Arc<Chain>, ChainsError> {
        let chain = Chain::load(
            &self.catalog.sandbox,
            self.context(None),
            self.specs(&self.flow.ingress),
            self.services(None),
        );
        let place = self.flow.place.clone();
        chain.map(Arc::new).map_err(|source| ChainsError::Chain { place, source })
    }

    fn egress(&self, subscription: &SubscriptionConfig) -> Result<EgressChain, ChainsError> {
        let (sandbox, context) = (self.catalog.sandbox.clone(), self.context(Some(subscription)));
        let (stages, services) = (self.specs(&subscription.egress), self.services(Some(subscription)));
        // Loaded once without a reader: what is wrong shows at the start, not when somebody comes to read.
        let chain = Chain::load(&sandbox, context.clone(), stages.clone(), services.clone());
        let place = subscription.place.clone();
        let plan = chain.map_err(|source| ChainsError::Chain { place, source })?.plan().clone();
        Ok(EgressChain { sandbox, context, stages, services, plan, by_reader: Mutex::default() })
    }

    fn specs(&self, stages: &[StageConfig]) -> Vec<StageSpec> {
        stages.iter().map(|stage| self.catalog.spec(stage)).collect()
    }

    fn context(&self, subscription: Option<&SubscriptionConfig>) -> ChainContext {
        ChainContext {
            flow: self.flow.name.clone(),
            class: self.flow.class.clone(),
            subscription: subscription.map(|subscription| subscription.name.clone()),
            recipient: None,
            purpose: subscription.map(|subscription| subscription.purpose.clone()),
        }
    }

    fn services(&self, subscription: Option<&SubscriptionConfig>) -> Arc<ChainServices> {
        let subscription = subscription.map(|subscription| subscription.name.clone());
        Arc::new(ChainServices::new(self.host.clone(), self.flow.name.clone(), subscription))
    }
}
