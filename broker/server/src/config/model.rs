//! What a hospital directory says, once it is known to be right.
//!
//! There is no way to a [`Hospital`] but [`super::load`], so whoever holds one need not look anything up in vain: every
//! zone, stakeholder, plugin, key and flow that it names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::canary;
use hilum_core::policy::{FlowRules, Grant, OperatorGrant, Policy};
use hilum_core::retention::Policy as Retention;
use hilum_core::{
    Digest, FlowName, KeyName, Label, Principal, PrincipalId, RoleName, StageName, StakeholderName,
    SubscriptionName, ZoneName, limits,
};
use hilum_sandbox::Limits as StageLimits;
use hilum_store::Durability;

use super::audit::AuditFlow;
use super::config_files::ConfigFile;
use super::directory::Directory;
use super::originals::KeepOriginals;
use super::outline::Outline;
use super::subscription::DeliveryConfig;
use super::trust::Trust;
use crate::score::Demand;

/// A hospital: one directory, one trust domain, one broker.
#[derive(Debug, Clone)]
pub struct Hospital {
    /// Where its files are.
    pub directory: Directory,
    /// Its name, which is the SPIFFE trust domain of all its identities.
    pub name: String,
    /// Where the broker listens for QUIC.
    pub listen: SocketAddr,
    /// What it lets connections do.
    pub limits: Limits,
    /// What records may reveal, with a sentence about each.
    pub labels: BTreeMap<Label, String>,
    /// Network segments, with a sentence about each.
    pub zones: BTreeMap<ZoneName, String>,
    /// Allowed paths between zones, each in one direction (IEC 62443-3-2).
    pub conduits: BTreeSet<(ZoneName, ZoneName)>,
    /// Parties, with the labels that each is cleared for.
    pub stakeholders: BTreeMap<StakeholderName, Stakeholder>,
    /// Who may connect, by the name of the folder with the certificate.
    pub identities: BTreeMap<String, Arc<Principal>>,
    /// Who may look after flows.
    pub operators: Vec<OperatorGrant>,
    /// Octets of memory that may be under way; as many as [`Hospital::under_way_octets`] says where none is set.
    pub under_way: Option<u64>,
    /// Octets that the quarantine of each flow may hold.
    pub quarantine_octets_max: u64,
    /// How long a record may stay in quarantine; for ever where none is set.
    pub quarantine_max_age: Option<Duration>,
    /// How long audit events are kept; for ever where none is set.
    pub audit_max_age: Option<Duration>,
    /// Which flow gets them as records; none where none is named.
    pub audit_flow: Option<AuditFlow>,
    /// Plugins, by the name that stages use.
    pub plugins: BTreeMap<String, PluginFile>,
    /// Whose signatures are enough for which of them.
    pub trust: Trust,
    /// Secrets that stages may be granted, by name.
    pub keys: BTreeMap<String, KeyFile>,
    /// Flows, by name.
    pub flows: BTreeMap<FlowName, FlowConfig>,
    /// Everything that its files say, for comparing it with another one.
    pub outline: Outline,
}

/// What connections may do (`[limits]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: u32,
    /// Octets of a large body.
    pub body_octets_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 10_000, body_octets_max: limits::BLOB_OCTETS_MAX }
    }
}

/// A party (`[stakeholders.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stakeholder {
    /// A sentence for people.
    pub description: String,
    /// The labels that it may see.
    pub cleared: BTreeSet<Label>,
}

/// A plugin's component (`[plugins.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFile {
    /// The directory of its package; or, where it ends in `.wasm`, a component that nobody signed.
    pub path: PathBuf,
    /// What the component or the package's manifest must digest to, where the hospital pins it.
    pub sha256: Option<Digest>,
    /// What a report of `hilum plugin score` has to say of it before it may run, where the hospital demands one.
    pub score: Option<Demand>,
}

impl PluginFile {
    /// Whether it is a package, which has a manifest and may have signatures.
    #[must_use]
    pub fn is_package(&self) -> bool {
        self.path.extension().is_none_or(|extension| extension != "wasm")
    }
}

/// A named key (`[keys.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// What it is for.
    pub kind: KeyKind,
    /// Its file: 32 octets in hexadecimal.
    pub path: PathBuf,
    /// What is kept of what pseudonyms under it stand for; nothing, where there is none.
    pub originals: Option<KeepOriginals>,
}

/// What a named key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret for HMAC-SHA-256.
    Secret,
}

/// A flow (`flows/*.toml`).
#[derive(Debug, Clone)]
pub struct FlowConfig {
    /// Its name.
    pub name: FlowName,
    /// What kind of records it has: `device`, `imaging`, `billing`, ...
    pub class: String,
    /// When publishers are told that their records are safe.
    pub ack: Durability,
    /// The segment that it is in.
    pub zone: ZoneName,
    /// What its records may reveal as they come in.
    pub labels: Vec<Label>,
    /// How long its records are kept.
    pub retention: Retention,
    /// Who may publish. What plugins emit to the flow is not listed here: see [`StageConfig::emits_as`].
    pub publish: Vec<Grant>,
    /// The chain before records are stored.
    pub ingress: Vec<StageConfig>,
    /// Its readers.
    pub subscriptions: Vec<SubscriptionConfig>,
    /// Where its file names it.
    pub place: Place,
}

/// A reader of a flow (`[[subscription]]`).
#[derive(Debug, Clone)]
pub struct SubscriptionConfig {
    /// Its name.
    pub name: SubscriptionName,
    /// Whose principals may read.
    pub stakeholder: StakeholderName,
    /// Those who have any of these roles; all of the stakeholder's where empty.
    pub roles: Vec<RoleName>,
    /// What for: a code of HL7 v3 PurposeOfUse.
    pub purpose: String,
    /// The chain before records are delivered.
    pub egress: Vec<StageConfig>,
    /// How it delivers.
    pub delivery: DeliveryConfig,
    /// Where the file names it.
    pub place: Place,
}

/// One stage of a chain (`[[ingress]]`, `[[subscription.egress]]`).
#[derive(Debug, Clone)]
pub struct StageConfig {
    /// Its name in the chain.
    pub stage: StageName,
    /// The plugin's name in [`Hospital::plugins`].
    pub plugin: String,
    /// What the host lets it use.
    pub grants: Vec<HostGrant>,
    /// The plugin's configuration: a JSON object, with the texts of `config_files` in it.
    pub config: serde_json::Value,
    /// Which of its settings are files of their own.
    pub config_files: Vec<ConfigFile>,
    /// What it may use up; the sandbox's own limits hold where the file sets none.
    pub limits: StageLimits,
    /// Another plugin that is tried on a share of its records.
    pub canary: Option<CanaryConfig>,
    /// Who publishes what it emits: `spiffe://<hospital>/plugin/<stage>`. Present if it may emit.
    pub emits_as: Option<Arc<Principal>>,
    /// Where the file names it.
    pub place: Place,
}

/// A plugin that is tried at a stage (`canary = { ... }`). It has the stage's grants and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryConfig {
    /// The candidate's name in [`Hospital::plugins`].
    pub plugin: String,
    /// The candidate's configuration, where it is another than the stage's.
    pub config: Option<serde_json::Value>,
    /// How much it gets, and when the trial ends.
    pub rules: canary::Rules,
}

/// Something of the host that a stage may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostGrant {
    /// `log`: write to the broker's log.
    Log,
    /// `metrics`: count and sample.
    Metrics,
    /// `trace`: spans inside the records' traces.
    Trace,
    /// `time`: read the clock.
    Time,
    /// `random`: draw random octets.
    Random,
    /// `state`: keep state with the position in the flow.
    State,
    /// `keys:NAME`: use a key of [`Hospital::keys`].
    Key(String),
    /// `recipient:NAME`: encrypt to an identity, or to all identities of a stakeholder.
    Recipient {
        /// As the plugin calls it.
        name: String,
        /// Folders of the certificates, at least one.
        identities: Vec<String>,
    },
    /// `emit:FLOW`: publish records to another flow.
    Emit(FlowName),
    /// `observed:FLOW/STAGE`: read what that stage keeps.
    Observed(FlowName, StageName),
}

/// Where something is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, relative to the hospital directory.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Hospital {
    /// The stakeholder that plugins publish as. No hospital can name one of its own so.
    pub const PLUGIN_STAKEHOLDER: &'static str = "plugin";
    /// The name of the broker's own identity, and the path of its SPIFFE ID.
    pub const BROKER_IDENTITY: &'static str = "broker";

    /// `spiffe://<hospital>/broker`.
    #[must_use]
    pub fn broker_id(&self) -> PrincipalId {
        let id = format!("spiffe://{}/{}", self.name, Self::BROKER_IDENTITY);
        PrincipalId::new(&id).expect("the hospital's name is a trust domain")
    }

    /// Who a certificate's SPIFFE ID stands for; none if the hospital does not know it.
    #[must_use]
    pub fn principal(&self, id: &PrincipalId) -> Option<&Arc<Principal>> {
        self.identities.values().find(|principal| principal.id == *id)
    }

    /// All principals by SPIFFE ID, for the server to look up.
    #[must_use]
    pub fn principals(&self) -> BTreeMap<PrincipalId, Arc<Principal>> {
        self.identities.values().map(|principal| (principal.id.clone(), principal.clone())).collect()
    }

    /// All stages of all chains.
    pub fn stages(&self) -> impl Iterator<Item = (&FlowConfig, &StageConfig)> {
        self.flows.values().flat_map(|flow| flow.stages().map(move |stage| (flow, stage)))
    }

    /// The keys of which it is kept what pseudonyms stand for.
    pub fn kept_keys(&self) -> impl Iterator<Item = (KeyName, &KeepOriginals)> {
        self.keys.iter().filter_map(|(name, key)| Some((name.parse().ok()?, key.originals.as_ref()?)))
    }

    /// The flows with a stage that may use a key.
    pub fn flows_with_key(&self, key: &KeyName) -> impl Iterator<Item = &FlowName> {
        let uses = |stage: &StageConfig| {
            stage.grants.iter().any(|grant| matches!(grant, HostGrant::Key(name) if name == key.as_str()))
        };
        self.flows.values().filter(move |flow| flow.stages().any(uses)).map(|flow| &flow.name)
    }

    /// All subscriptions of all flows.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&FlowConfig, &SubscriptionConfig)> {
        self.flows
            .values()
            .flat_map(|flow| flow.subscriptions.iter().map(move |subscription| (flow, subscription)))
    }

    /// The rules that people and machines are held to: all but those about what plugins publish.
    pub(super) fn policy_without_plugins(&self) -> Policy {
        let clearances = self.stakeholders.iter().map(|(name, party)| (name.clone(), party.cleared.clone()));
        Policy {
            flows: self.flows.values().map(|flow| (flow.name.clone(), flow.rules())).collect(),
            conduits: self.conduits.clone(),
            clearances: clearances.collect(),
            operators: self.operators.clone(),
        }
    }

    /// The rules that publishers and readers are held to.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = self.policy_without_plugins();
        let flows = &mut policy.flows;
        for (from, stage) in self.stages() {
            for target in stage.emits() {
                let rules: &mut FlowRules =
                    flows.get_mut(target).expect("emit targets are checked in `load`");
                rules.publishers.extend(stage.emit_rule(&from.name));
            }
        }
        for (from, subscription) in self.subscriptions() {
            let Some(letter) = &subscription.delivery.dead_letter else { continue };
            let rules = flows.get_mut(&letter.flow).expect("targets of dead letters are checked in `load`");
            rules.publishers.push(Grant {
                rule: format!("flow.{}.subscription.{}.dead_letter", from.name, subscription.name).into(),
                stakeholder: letter.principal.stakeholder.clone(),
                roles: letter.principal.roles.clone(),
            });
        }
        if let Some(audit) = &self.audit_flow {
            let rules = flows.get_mut(&audit.flow).expect("the audit's flow is checked in `load`");
            rules.publishers.push(AuditFlow::grant());
        }
        policy
    }
}

impl FlowConfig {
    /// The stages of the ingress chain, then those of each subscription.
    pub fn stages(&self) -> impl Iterator<Item = &StageConfig> {
        self.ingress.iter().chain(self.subscriptions.iter().flat_map(|subscription| &subscription.egress))
    }

    fn rules(&self) -> FlowRules {
        let reader = |subscription: &SubscriptionConfig| Grant {
            rule: format!("flow.{}.subscription.{}", self.name, subscription.name).into(),
            stakeholder: subscription.stakeholder.clone(),
            roles: subscription.roles.clone(),
        };
        FlowRules {
            zone: self.zone.clone(),
            labels: self.labels.clone(),
            publishers: self.publish.clone(),
            subscriptions: self.subscriptions.iter().map(|s| (s.name.clone(), reader(s))).collect(),
        }
    }
}

impl StageConfig {
    /// The names of its plugin and of the one that is tried.
    pub fn plugins(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.plugin).chain(self.canary.as_ref().map(|canary| &canary.plugin))
    }

    /// The stage as it would be if what is tried were taken.
    #[must_use]
    pub fn candidate(&self) -> Option<Self> {
        let CanaryConfig { plugin, config, .. } = self.canary.clone()?;
        let config = config.unwrap_or_else(|| self.config.clone());
        Some(Self { plugin, config, canary: None, ..self.clone() })
    }

    /// The flows that it may emit to.
    pub fn emits(&self) -> impl Iterator<Item = &FlowName> {
        self.grants.iter().filter_map(|grant| match grant {
            HostGrant::Emit(flow) => Some(flow),
            _ => None,
        })
    }

    fn emit_rule(&self, from: &FlowName) -> Option<Grant> {
        self.emits_as.as_ref().map(|principal| Grant {
            rule: format!("flow.{from}.ingress.{}.emit", self.stage).into(),
            stakeholder: principal.stakeholder.clone(),
            roles: principal.roles.clone(),
        })
    }
}
