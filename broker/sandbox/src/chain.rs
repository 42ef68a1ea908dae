//! Chains: the stages of a flow or a subscription, checked when they are loaded and run batch by batch.

use std::sync::Arc;

use hilum_core::chain::{FailsOn, Plan, PlannedStage, World};
use hilum_core::limits::CHAIN_STAGES_MAX;
use hilum_core::record::Output;
use hilum_core::{FlowName, Principal, ReasonCode, StageName, SubscriptionName, Timestamp};

use crate::breaker::Standing;
use crate::contract::VERSION;
use crate::engine::Sandbox;
use crate::grants::Grants;
use crate::limits::Limits;
use crate::plugin::Plugin;
use crate::run::{BatchRun, Emission, Failure, Input, Observation};
use crate::services::Services;
use crate::stage::{Effects, Stage};

mod batch;

/// What is the same for all records of a chain.
#[derive(Debug, Clone)]
pub struct ChainContext {
    /// The flow's name.
    pub flow: FlowName,
    /// The flow's class: `device`, `imaging` or `billing`.
    pub class: String,
    /// The subscription whose egress chain this is; none for the flow's ingress chain.
    pub subscription: Option<SubscriptionName>,
    /// Who receives the records at egress.
    pub recipient: Option<Arc<Principal>>,
    /// Purpose of use (HL7 v3 PurposeOfUse code), where one is stated.
    pub purpose: Option<String>,
    /// Why the recipient breaks the glass, if it stated that when it began to read.
    pub break_glass: Option<ReasonCode>,
}

/// One stage as a configuration has it.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Its name in the chain.
    pub name: StageName,
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The plugin's configuration.
    pub config: serde_json::Value,
    /// What the stage may ask for.
    pub grants: Grants,
    /// What it may use up.
    pub limits: Limits,
}

/// Why a chain is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More stages than [`CHAIN_STAGES_MAX`].
    #[error("the chain has {0} stages, at most {CHAIN_STAGES_MAX} are allowed")]
    TooLong(usize),
    /// Two stages of one name.
    #[error("stage `{0}` is there twice: give each stage of a chain a name of its own")]
    Twice(StageName),
    /// The plugin imports an interface that the stage was not granted.
    #[error(
        "stage `{stage}`: the plugin imports `{import}`, which is not granted: add the grant `{grant}` to the stage"
    )]
    NotGranted {
        /// The stage.
        stage: StageName,
        /// The interface, e.g. `hilum:plugin/keys@1.0.0`.
        import: String,
        /// How the grant is written.
        grant: &'static str,
    },
    /// The configuration is not one that the plugin takes.
    #[error("stage `{stage}`: the configuration at `{at}` is wrong: {reason}")]
    Config {
        /// The stage.
        stage: StageName,
        /// JSON Pointer (RFC 6901) to the value at fault; empty for the whole.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// The plugin imports known functions with other parameters or results: it was built for a changed copy of the package.
    #[error(
        "stage `{stage}`: the plugin was not built for the hilum:plugin {}.{} of this build of Hilum: {reason}; build it with the SDK of this \
         release",
        VERSION.0, VERSION.1
    )]
    Link {
        /// The stage.
        stage: StageName,
        /// The engine's words.
        reason: String,
    },
    /// The plugin failed while it was configured.
    #[error("stage `{stage}`: the plugin does not start: {reason}")]
    Start {
        /// The stage.
        stage: StageName,
        /// What happened.
        reason: String,
    },
}

/// A stage that is left alone, because its plugin fails on record after record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBreaker {
    /// The stage.
    pub stage: StageName,
    /// The plugin's own name.
    pub plugin: String,
    /// The plugin's own version.
    pub version: String,
    /// Whose records it fails on.
    pub on: FailsOn,
    /// Since when it is left alone.
    pub since: Timestamp,
    /// When it is tried again, with the next record.
    pub until: Timestamp,
    /// Faults one after another.
    pub faults: u32,
}

/// The loaded stages of a flow's ingress or of a subscription's egress.
pub struct Chain {
    context: ChainContext,
    stages: Arc<[Stage]>,
    plan: Plan,
    services: Arc<dyn Services>,
}

impl Chain {
    /// Checks every stage (grants, configuration against the plugin's schema) and configures one instance of each.
    ///
    /// # Errors
    ///
    /// [`ChainError`] for the first stage that is wrong.
    pub fn load(
        sandbox: &Sandbox,
        context: ChainContext,
        stages: Vec<StageSpec>,
        services: Arc<dyn Services>,
    ) -> Result<Self, ChainError> {
        if stages.len() > CHAIN_STAGES_MAX {
            return Err(ChainError::TooLong(stages.len()));
        }
        for (index, stage) in stages.iter().enumerate() {
            if stages[..index].iter().any(|before| before.name == stage.name) {
                return Err(ChainError::Twice(stage.name.clone()));
            }
        }
        let load = |spec| Stage::load(sandbox, &context, spec, &services);
        let stages = stages.into_iter().map(load).collect::<Result<Arc<[_]>, _>>()?;
        let plan = Plan::new(stages.iter().map(|stage| stage.planned.clone()).collect());
        Ok(Self { context, stages, plan, services })
    }

    /// The same chain, with the same instances and circuit breakers, for a recipient who breaks the glass for this reason, or for none.
    /// Plugins are told with each call.
    #[must_use]
    pub fn stating(&self, break_glass: Option<ReasonCode>) -> Self {
        Self {
            context: ChainContext { break_glass, ..self.context.clone() },
            stages: self.stages.clone(),
            plan: self.plan.clone(),
            services: self.services.clone(),
        }
    }

    /// Which plugins, by digest, with which configuration. Its digest is in every receipt.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs a batch through all stages; blocks. Where a stage fails on the batch as a whole, it gets the records one by one,
    /// each on an instance that has not failed, so that only the guilty ones fail.
    ///
    /// Keyed state of `observe` stages is committed with each call: a record whose batch is later not stored may be observed
    /// again. Emissions are not published: that is left to the caller, once the batch is durable.
    #[must_use]
    pub fn run(&self, inputs: Vec<Input>) -> BatchRun {
        batch::run(self, inputs, false)
    }

    /// As [`Chain::run`], but makes no receipts, whose digests take longer than most plugins do: for tools, which neither store nor deliver
    /// what comes out.
    #[must_use]
    pub fn outputs(&self, inputs: Vec<Input>) -> Vec<Result<Vec<Output>, Failure>> {
        batch::outputs(self, inputs)
    }

    /// As [`Chain::run`], but leaves out the `observe` stages: what they would have seen is in [`crate::Ran::observations`], for
    /// [`Chain::observe`], once it is known what is going to be stored. They change nothing, so that the receipts are the same.
    #[must_use]
    pub fn run_deferring(&self, inputs: Vec<Input>) -> BatchRun {
        batch::run(self, inputs, true)
    }

    /// Runs the `observe` stages on records, in order; blocks. Gives what they emitted. After a failure of any of them, what
    /// they have committed to keyed state since has to be taken back by the caller, who may try the records one by one.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub fn observe(&self, records: &[&[Observation]]) -> Result<Vec<Emission>, Failure> {
        batch::observe(self, records)
    }

    /// What the `observe` stages did last was taken back: their instances, which may remember it, are not used again.
    pub fn forget_observers(&self) {
        self.stages.iter().filter(|stage| stage.planned.world == World::Observe).for_each(Stage::forget);
    }

    /// The circuit breakers of its stages that are open.
    #[must_use]
    pub fn open_breakers(&self) -> Vec<OpenBreaker> {
        let of_stage = |stage: &Stage| {
            let PlannedStage { name, plugin, version, .. } = stage.planned.clone();
            stage.standing().into_iter().map(move |Standing { on, since, until, faults }| {
                let (stage, plugin, version) = (name.clone(), plugin.clone(), version.clone());
                OpenBreaker { stage, plugin, version, on, since, until, faults }
            })
        };
        self.stages.iter().flat_map(of_stage).collect()
    }

    /// Whether some stage observes.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.stages.iter().any(|stage| stage.planned.world == World::Observe)
    }

    /// Makes a configured instance of each stage and lets go of it, to measure how long that takes: as long as the first record after a
    /// fault has to wait.
    ///
    /// # Errors
    ///
    /// [`Failure`] of the first stage that does not start.
    pub fn start_afresh(&self) -> Result<(), Failure> {
        self.stages.iter().try_for_each(|stage| {
            stage.start().map(drop).map_err(|fault| Failure::Failed {
                stage: stage.planned.name.clone(),
                kind: fault.kind,
                limit: fault.limit.map(|over| over.limit),
                reason: fault.reason,
            })
        })
    }

    /// Tells the `observe` stages the time, about once a second; gives what they emitted, and the failures of stages.
    /// A stage that fails has done nothing.
    #[must_use]
    pub fn tick(&self) -> (Vec<Emission>, Vec<Failure>) {
        let (mut effects, mut failures) = (Effects::default(), Vec::new());
        for stage in self.stages.iter() {
            if let Err(fault) = stage.tick(&mut effects) {
                let limit = fault.limit.map(|over| over.limit);
                let (stage, reason) = (stage.planned.name.clone(), fault.reason);
                failures.push(Failure::Failed { stage, kind: fault.kind, limit, reason });
            }
        }
        effects.made.iter().for_each(|blob| self.services.discard_blob(blob));
        (effects.emitted, failures)
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("context", &self.context)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
