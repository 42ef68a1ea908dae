//! What a batch goes through: a chain, or for some of its records the chain with a plugin that is tried.
//!
//! A batch goes whole through one [`Route`]: another configuration comes into effect between two batches. What the two chains make of its
//! records is put together in their order. Where the chain that is tried fails on a record, the record goes through the current one:
//! nobody loses a record because something was tried. What it refuses stays refused: that was a decision, and it may be right.

use std::collections::BTreeMap;
use std::sync::Arc;

use hilum_core::chain::Plan;
use hilum_core::record::ChainRun;
use hilum_core::{Digest, FlowName, ReasonCode, StageName, SubscriptionName};
use hilum_sandbox::{BatchRun, Chain, Failure, Input, OpenBreaker, Ran};
use parking_lot::Mutex;

use super::guarded;
use super::life::Life;
use super::trial::{Drawn, Trial};
use crate::broker::Shared;

/// The chain of a flow, or of a subscription for one reader.
pub struct Route {
    current: Arc<Chain>,
    canary: Option<Canary>,
    tallies: Arc<Tallies>,
    life: Arc<Life>,
}

/// The chain with a plugin that is tried.
struct Canary {
    chain: Arc<Chain>,
    trial: Arc<Trial>,
}

/// What the stages of a route did since it was loaded, over all readers.
#[derive(Default)]
pub(crate) struct Tallies {
    pub(crate) current: Mutex<Tally>,
    pub(crate) candidate: Mutex<Tally>,
}

/// What the stages of one chain did.
#[derive(Default, Clone)]
pub(crate) struct Tally {
    /// Records that came to the chain.
    pub(crate) records: u64,
    /// Those that stages refused, and those that they failed on.
    pub(crate) stopped: BTreeMap<StageName, (u64, u64)>,
}

/// Which stages of a chain run.
#[derive(Debug, Clone, Copy)]
enum Stages {
    All,
    AllButObserving,
}

impl Stages {
    fn run(self, chain: &Chain, count: usize, input: impl Fn(usize) -> Input) -> BatchRun {
        match self {
            Self::All => guarded::run(chain, count, input),
            Self::AllButObserving => guarded::run_deferring(chain, count, input),
        }
    }
}

/// Where a route is.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) flow: &'a FlowName,
    pub(crate) subscription: Option<&'a SubscriptionName>,
}

impl From<Arc<Chain>> for Route {
    fn from(current: Arc<Chain>) -> Self {
        Self { current, canary: None, tallies: Arc::default(), life: Arc::default() }
    }
}

impl Route {
    pub(crate) fn new(
        current: Arc<Chain>,
        canary: Option<(Arc<Chain>, Arc<Trial>)>,
        tallies: Arc<Tallies>,
        life: Arc<Life>,
    ) -> Self {
        Self { current, canary: canary.map(|(chain, trial)| Canary { chain, trial }), tallies, life }
    }

    /// The same for a reader who breaks the glass for this reason: its plugins are told. Nothing is loaded for it.
    pub(crate) fn stating(&self, break_glass: &ReasonCode) -> Self {
        let stating = |chain: &Chain| Arc::new(chain.stating(Some(break_glass.clone())));
        let canary = self.canary.as_ref().map(|Canary { chain, trial }| (stating(chain), trial.clone()));
        Self::new(stating(&self.current), canary, self.tallies.clone(), self.life.clone())
    }

    /// The chain that is not tried.
    #[must_use]
    pub fn current(&self) -> &Arc<Chain> {
        &self.current
    }

    /// Held by what runs on it, and by what of that is not observed so far.
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Its plan, and that with a plugin that is tried; none where nothing runs.
    pub(crate) fn plans(&self) -> Vec<Digest> {
        plans(self.plan(), self.canary().map(|(plan, _)| plan))
    }

    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.current.plan()
    }

    /// The circuit breakers that are open, and whether each is in the chain with the plugin that is tried.
    pub(crate) fn open_breakers(&self) -> Vec<(bool, OpenBreaker)> {
        let tried = self.canary.iter().flat_map(|canary| canary.chain.open_breakers());
        let current = self.current.open_breakers().into_iter().map(|open| (false, open));
        current.chain(tried.map(|open| (true, open))).collect()
    }

    /// The plan by which a run was made. A run of neither is none that this proves.
    #[must_use]
    pub fn plan_of(&self, run: &ChainRun) -> &Plan {
        self.chain_of(run).plan()
    }

    /// The chain that made a run, by the plan that the run names.
    pub(crate) fn chain_of(&self, run: &ChainRun) -> &Arc<Chain> {
        let tried = self.canary.as_ref().map(|canary| &canary.chain);
        tried.filter(|chain| chain.plan().digest() == run.receipt.plan).unwrap_or(&self.current)
    }

    /// What the stages did.
    pub(crate) fn tallies(&self) -> &Arc<Tallies> {
        &self.tallies
    }

    /// What is tried, and how it does.
    pub(crate) fn canary(&self) -> Option<(&Plan, &Trial)> {
        self.canary.as_ref().map(|canary| (canary.chain.plan(), &*canary.trial))
    }

    /// Runs `count` records, made by `input`; blocks. `drawn` says by what their lots are drawn.
    pub(crate) fn run<'d>(
        &self,
        whose: Whose<'_>,
        count: usize,
        input: impl Fn(usize) -> Input,
        drawn: impl Fn(usize) -> Drawn<'d>,
    ) -> BatchRun {
        self.run_with(Stages::All, whose, count, input, drawn)
    }

    /// As [`Route::run`], and leaves out the stages that observe: see [`Chain::run_deferring`].
    pub(crate) fn run_deferring<'d>(
        &self,
        whose: Whose<'_>,
        count: usize,
        input: impl Fn(usize) -> Input,
        drawn: impl Fn(usize) -> Drawn<'d>,
    ) -> BatchRun {
        self.run_with(Stages::AllButObserving, whose, count, input, drawn)
    }

    fn run_with<'d>(
        &self,
        stages: Stages,
        whose: Whose<'_>,
        count: usize,
        input: impl Fn(usize) -> Input,
        drawn: impl Fn(usize) -> Drawn<'d>,
    ) -> BatchRun {
        match &self.canary {
            Some(canary) if !canary.trial.is_over() => {
                self.run_both(stages, canary, whose, count, input, drawn)
            }
            _ => {
                let run = stages.run(&self.current, count, input);
                self.seen(&self.tallies.current, &self.current, whose, &run);
                run
            }
        }
    }

    fn run_both<'d>(
        &self,
        stages: Stages,
        Canary { chain, trial }: &Canary,
        whose: Whose<'_>,
        count: usize,
        input: impl Fn(usize) -> Input,
        drawn: impl Fn(usize) -> Drawn<'d>,
    ) -> BatchRun {
        let (tried, mut others): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|at| trial.takes(&drawn(*at)));
        let mut results: Vec<Option<Result<Ran, Failure>>> = Vec::new();
        results.resize_with(count, || None);
        let mut emitted = Vec::new();
        let (mut of_candidate, mut again) = (Vec::new(), Vec::new());
        if !tried.is_empty() {
            let mut run = stages.run(chain, tried.len(), |at| input(tried[at]));
            self.seen(&self.tallies.candidate, chain, whose, &run);
            emitted.append(&mut run.emitted);
            for (at, result) in tried.iter().copied().zip(run.records) {
                if matches!(result, Err(Failure::Failed { .. })) {
                    again.push(at);
                    of_candidate.push((at, result));
                } else {
                    results[at] = Some(result);
                }
            }
        }
        let own = others.clone();
        others.extend(&again);
        others.sort_unstable();
        if !others.is_empty() {
            let mut run = stages.run(&self.current, others.len(), |at| input(others[at]));
            self.seen(&self.tallies.current, &self.current, whose, &run);
            emitted.append(&mut run.emitted);
            others.iter().zip(run.records).for_each(|(at, result)| results[*at] = Some(result));
        }
        // A record on which the current version fails as well says nothing about the candidate.
        let is_worse = |at: usize| results[at].as_ref().is_some_and(|result| !is_failed(result));
        let worse = of_candidate.iter().filter(|(at, _)| is_worse(*at)).map(|(_, result)| result);
        let stayed = tried.iter().filter(|at| !again.contains(at)).filter_map(|at| results[*at].as_ref());
        let candidate = trial.counts(chain.plan(), stayed.chain(worse));
        let current = trial.counts(self.plan(), own.iter().filter_map(|at| results[*at].as_ref()));
        trial.note(candidate, current);
        let records = results.into_iter().map(|result| result.expect("one of the chains answered")).collect();
        BatchRun { records, emitted }
    }

    /// Tells operators and instruments what a chain did.
    fn seen(&self, tally: &Mutex<Tally>, chain: &Chain, whose: Whose<'_>, run: &BatchRun) {
        let Whose { shared, flow, subscription } = whose;
        shared.instruments.stages(flow, subscription, chain.plan(), &run.records);
        guarded::report_failures(chain, flow, subscription, &run.records);
        let mut tally = tally.lock();
        tally.records += run.records.len() as u64;
        for failure in run.records.iter().filter_map(|result| result.as_ref().err()) {
            let (refused, failed) = tally.stopped.entry(failure.stage().clone()).or_default();
            match failure {
                Failure::Refused { .. } => *refused += 1,
                Failure::Failed { .. } => *failed += 1,
            }
        }
    }

    /// To be called after a run: writes down what it came to, if that ended a trial.
    pub(crate) async fn settle(&self, shared: &Arc<Shared>) {
        if let Some(canary) = &self.canary {
            canary.trial.settle(shared).await;
        }
    }
}

/// The digests of a chain's plans; none where it has no stages.
pub(super) fn plans(current: &Plan, tried: Option<&Plan>) -> Vec<Digest> {
    let with_stages = std::iter::once(current).chain(tried).filter(|plan| !plan.stages().is_empty());
    with_stages.map(Plan::digest).collect()
}

fn is_failed(result: &Result<Ran, Failure>) -> bool {
    matches!(result, Err(Failure::Failed { .. }))
}
