//! Runs a chain so that a panic of the broker's own code stops the records at fault and nothing else.
//!
//! A record that went missing with a thread would leave a gap in its publisher's sequence that nobody notices, and one that is
//! read again would stop its subscription for ever. So each of them gets an answer like any other failure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hilum_core::chain::World;
use hilum_core::{FlowName, StageName, SubscriptionName};
use hilum_sandbox::{BatchRun, Chain, Emission, Failure, FailureKind, Input, Observation, Ran};

/// Runs `count` records, made by `input`; blocks. The chain has a stage.
pub(crate) fn run(chain: &Chain, count: usize, input: impl Fn(usize) -> Input) -> BatchRun {
    let Some(first) = chain.plan().stages().first() else {
        return chain.run((0..count).map(input).collect());
    };
    guard(&first.name, count, input, |inputs| chain.run(inputs))
}

/// As [`run`], and leaves out the stages that observe: see [`Chain::run_deferring`].
pub(crate) fn run_deferring(chain: &Chain, count: usize, input: impl Fn(usize) -> Input) -> BatchRun {
    let Some(first) = chain.plan().stages().first() else {
        return chain.run_deferring((0..count).map(input).collect());
    };
    guard(&first.name, count, input, |inputs| chain.run_deferring(inputs))
}

/// Runs the stages that observe; blocks.
pub(crate) fn observe(chain: &Chain, records: &[&[Observation]]) -> Result<Vec<Emission>, Failure> {
    catch_unwind(AssertUnwindSafe(|| chain.observe(records))).unwrap_or_else(|_| {
        let observing = chain.plan().stages().iter().rev().find(|stage| stage.world == World::Observe);
        let stage = observing.expect("a chain that observes has a stage that does").name.clone();
        Err(panicked(stage))
    })
}

fn panicked(stage: StageName) -> Failure {
    let reason = "the broker failed under the chain; its log says where".to_owned();
    Failure::Failed { stage, kind: FailureKind::Host, limit: None, reason }
}

fn guard<I>(
    stage: &StageName,
    count: usize,
    input: impl Fn(usize) -> I,
    run: impl Fn(Vec<I>) -> BatchRun,
) -> BatchRun {
    let attempt = |inputs| catch_unwind(AssertUnwindSafe(|| run(inputs)));
    if let Ok(done) = attempt((0..count).map(&input).collect()) {
        return done;
    }
    let mut all = BatchRun::default();
    for at in 0..count {
        match attempt(vec![input(at)]) {
            Ok(mut done) => {
                all.records.append(&mut done.records);
                all.emitted.append(&mut done.emitted);
            }
            Err(_) => all.records.push(Err(panicked(stage.clone()))),
        }
    }
    all
}

/// Tells operators which plugin failed and how, once for each stage and kind. A plugin's refusal is no failure, and that a stage is left
/// alone was told when it began.
pub(crate) fn report_failures(
    chain: &Chain,
    flow: &FlowName,
    subscription: Option<&SubscriptionName>,
    results: &[Result<Ran, Failure>],
) {
    let mut reported: Vec<(&StageName, FailureKind)> = Vec::new();
    for result in results {
        let Err(Failure::Failed { stage, kind, limit, reason }) = result else { continue };
        if *kind == FailureKind::BreakerOpen || reported.contains(&(stage, *kind)) {
            continue;
        }
        reported.push((stage, *kind));
        let planned = chain.plan().stages().iter().find(|planned| planned.name == *stage);
        tracing::warn!(
            %flow,
            subscription = subscription.map(SubscriptionName::as_str),
            %stage,
            plugin = planned.map(|planned| planned.plugin.as_str()),
            version = planned.map(|planned| planned.version.as_str()),
            %kind,
            limit = limit.map(|limit| limit.name()),
            reason,
            "a plugin failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_the_record_at_fault_alone() {
        let stage = StageName::new("check").unwrap();
        let refused = |at: usize| {
            let (stage, code) = (StageName::new("check").unwrap(), at.to_string());
            Err(Failure::Refused { stage, code, reason: String::new() })
        };
        let run = |inputs: Vec<usize>| {
            assert!(!inputs.contains(&1), "a defect");
            BatchRun { records: inputs.into_iter().map(refused).collect(), emitted: Vec::new() }
        };
        let done = guard(&stage, 3, |at| at, run);
        let codes: Vec<&str> =
            done.records.iter().map(|result| result.as_ref().unwrap_err().code()).collect();
        assert_eq!(codes, ["0", "host", "2"], "each record has its own answer, in order");
    }
}
