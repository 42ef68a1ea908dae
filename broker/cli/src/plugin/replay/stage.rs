//! The stage in question, the stages before it, and both versions of it, as a hospital directory has them.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_core::chain::World;
use hilum_core::{FlowName, Principal, SubscriptionName};
use hilum_sandbox::{ChainContext, Plugin, Sandbox, Settings};
use hilum_server::chains::{grants, limits, load_plugin};
use hilum_server::clock::Clock;
use hilum_server::config::{FlowConfig, Hospital, StageConfig, SubscriptionConfig};

use super::super::trial::records::Record;
use super::super::trial::runner::{Runner, Setting};
use crate::output::Failure;

/// A stage of a flow, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct StageName {
    /// The subscription whose egress chain it is in; none for the ingress chain.
    subscription: Option<SubscriptionName>,
    stage: String,
}

impl StageName {
    /// The subscription whose egress chain it is in; none for the ingress chain.
    pub(super) fn subscription(&self) -> Option<&SubscriptionName> {
        self.subscription.as_ref()
    }
}

impl FromStr for StageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (chain, stage) = text.split_once('/').ok_or("write ingress/STAGE or SUBSCRIPTION/STAGE")?;
        let subscription = match chain {
            "ingress" => None,
            name => Some(name.parse().map_err(|error| format!("{error}"))?),
        };
        Ok(Self { subscription, stage: stage.to_owned() })
    }
}

/// All that runs.
pub(super) struct Stages {
    before: Vec<Runner>,
    pub(super) current: Runner,
    pub(super) candidate: Runner,
    /// Name, version and digest.
    pub(super) current_plugin: String,
    pub(super) candidate_plugin: String,
}

impl Stages {
    /// Loads both versions, and the stages before; for records that come through a subscription, or from quarantine where none is named.
    pub(super) fn load(
        hospital: &Hospital,
        flow: &FlowName,
        through: Option<&SubscriptionName>,
        stage: &StageName,
        candidate: &Path,
    ) -> anyhow::Result<Self> {
        let flow = hospital.flows.get(flow).with_context(|| format!("there is no flow `{flow}`"))?;
        let of = stage.subscription.as_ref().map(|name| subscription(flow, name)).transpose()?;
        let chain = of.map_or(flow.ingress.as_slice(), |of| of.egress.as_slice());
        let place = place(chain, stage)?;
        let sandbox = sandbox(chain, 16)?;
        if let Some(through) = through {
            ensure_unchanged(hospital, &sandbox, subscription(flow, through)?)?;
        }
        let context = context(hospital, flow, of);
        let runner = |stage: &StageConfig, plugin: &Arc<Plugin>| {
            Runner::new(&sandbox, plugin, setting(&context, stage))
        };
        // What went into an ingress chain is kept only of records that it stopped: of others there is nothing that the stages before
        // could run on.
        let before = if of.is_some() || through.is_none() { &chain[..place] } else { &[] };
        let before = before
            .iter()
            .map(|stage| runner(stage, &plugin(hospital, &sandbox, stage)?))
            .collect::<Result<_, _>>()?;
        let current = plugin(hospital, &sandbox, &chain[place])?;
        let octets = fs::read(candidate).with_context(|| format!("cannot read {}", candidate.display()))?;
        let new = sandbox.load(&octets).with_context(|| candidate.display().to_string())?;
        if new.world() != current.world() {
            let help = "a stage keeps its world: build the candidate for the same one";
            return Err(
                Failure::new("the candidate is of another world than the current version", help).into()
            );
        }
        Ok(Self {
            before,
            current_plugin: named(&current),
            candidate_plugin: named(&new),
            current: runner(&chain[place], &current)?,
            candidate: runner(&chain[place], &new).context("the candidate")?,
        })
    }

    /// Two versions without a stage before them.
    #[cfg(test)]
    pub(super) fn of(current: Runner, candidate: Runner) -> Self {
        let (current_plugin, candidate_plugin) = ("current".to_owned(), "candidate".to_owned());
        Self { before: Vec::new(), current, candidate, current_plugin, candidate_plugin }
    }

    /// What a record is when it reaches the stage; nothing if it does not.
    pub(super) fn before(&self, record: &Record) -> anyhow::Result<Option<Vec<Record>>> {
        let mut records = vec![record.clone()];
        for stage in &self.before {
            let mut after = Vec::new();
            for record in &records {
                after.extend(stage.outputs(record)?);
            }
            records = after;
        }
        Ok((!records.is_empty()).then_some(records))
    }
}

/// One stage of a hospital's flow: where it runs, what it runs, and how that is set.
pub(in super::super) fn one(
    hospital: &Hospital,
    flow: &FlowName,
    stage: &StageName,
) -> anyhow::Result<(Sandbox, Arc<Plugin>, Setting)> {
    let flow = hospital.flows.get(flow).with_context(|| format!("there is no flow `{flow}`"))?;
    let of = stage.subscription.as_ref().map(|name| subscription(flow, name)).transpose()?;
    let chain = of.map_or(flow.ingress.as_slice(), |of| of.egress.as_slice());
    let found = &chain[place(chain, stage)?];
    let sandbox = sandbox(std::slice::from_ref(found), 4)?;
    let plugin = plugin(hospital, &sandbox, found)?;
    Ok((sandbox, plugin, setting(&context(hospital, flow, of), found)))
}

/// Where in its chain a stage is.
fn place(chain: &[StageConfig], stage: &StageName) -> anyhow::Result<usize> {
    let names = || chain.iter().map(|stage| stage.stage.as_str()).collect::<Vec<_>>().join(", ");
    let place = chain.iter().position(|found| found.stage.as_str() == stage.stage);
    place
        .with_context(|| format!("there is no stage `{}` in that chain, there are: {}", stage.stage, names()))
}

/// With room for the memory that each of these stages may have.
fn sandbox(chain: &[StageConfig], instances: u32) -> anyhow::Result<Sandbox> {
    let default = Settings::default();
    let memory_octets = chain.iter().map(|stage| limits(stage).memory_octets).max().unwrap_or_default();
    let memory_octets = memory_octets.max(default.memory_octets);
    Ok(Sandbox::new(Settings { instances, memory_octets, hash_seed: Some((1, 2)), ..default })?)
}

fn subscription<'a>(flow: &'a FlowConfig, name: &SubscriptionName) -> anyhow::Result<&'a SubscriptionConfig> {
    let found = flow.subscriptions.iter().find(|of| of.name == *name);
    found.with_context(|| format!("flow `{}` has no subscription `{name}`", flow.name))
}

fn plugin(hospital: &Hospital, sandbox: &Sandbox, stage: &StageConfig) -> anyhow::Result<Arc<Plugin>> {
    let file = hospital
        .plugins
        .get(&stage.plugin)
        .with_context(|| format!("there is no plugin `{}`", stage.plugin))?;
    Ok(load_plugin(sandbox, hospital, &stage.plugin, file, Clock::SYSTEM.now())?)
}

/// A subscription that changes records does not deliver what is stored.
fn ensure_unchanged(
    hospital: &Hospital,
    sandbox: &Sandbox,
    through: &SubscriptionConfig,
) -> anyhow::Result<()> {
    for stage in &through.egress {
        if plugin(hospital, sandbox, stage)?.world() == World::Transform {
            let what = format!(
                "subscription `{}` delivers what its stage `{}` makes, not what is stored",
                through.name, stage.stage
            );
            let help = "read through a subscription without stages of the world `transform`, as a reader who is cleared for it";
            return Err(Failure::new(what, help).into());
        }
    }
    Ok(())
}

fn context(hospital: &Hospital, flow: &FlowConfig, of: Option<&SubscriptionConfig>) -> ChainContext {
    let reads = |reader: &&Arc<Principal>| {
        of.is_some_and(|of| {
            reader.stakeholder == of.stakeholder
                && (of.roles.is_empty() || of.roles.iter().any(|role| reader.roles.contains(role)))
        })
    };
    ChainContext {
        flow: flow.name.clone(),
        class: flow.class.clone(),
        subscription: of.map(|of| of.name.clone()),
        recipient: hospital.identities.values().find(reads).cloned(),
        purpose: of.map(|of| of.purpose.clone()),
        break_glass: None,
    }
}

fn setting(context: &ChainContext, stage: &StageConfig) -> Setting {
    Setting {
        context: context.clone(),
        stage: stage.stage.clone(),
        config: stage.config.clone(),
        grants: grants(stage),
        limits: limits(stage),
        in_order: true,
        observed: std::collections::BTreeMap::new(),
    }
}

fn named(plugin: &Plugin) -> String {
    let of = plugin.description();
    format!("{} {}, {}", of.name, of.version, plugin.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_named_with_its_chain() {
        let name: StageName = "research/clean".parse().unwrap();
        assert_eq!((name.subscription.unwrap().as_str(), name.stage.as_str()), ("research", "clean"));
        assert_eq!("ingress/check".parse::<StageName>().unwrap().subscription, None);
        assert!("clean".parse::<StageName>().is_err());
    }
}
