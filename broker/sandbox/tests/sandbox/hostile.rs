//! Plugins that loop, trap, recurse, hoard and flood: each is stopped in time, hurts only its own record, and the next
//! record is served by a fresh instance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hilum_sandbox::{Chain, Failure, FailureKind, StageSpec};

use crate::support::{Memory, bad, behaving, chain, load, text};

/// How long after its limit a plugin may still run.
const GRACE: Duration = Duration::from_millis(100);
/// A machine that does other work delays a thread now and then; it does not do so each time.
const ATTEMPTS: usize = 3;

fn short(behaviour: &str) -> StageSpec {
    let mut spec = behaving(behaviour);
    spec.limits.time = Duration::from_millis(300);
    spec
}

/// Runs one record through a stage that misbehaves, again and again; gives the kind and the reason of its failure. Each
/// time a fresh instance serves the record, so the next failure is the same as the first.
fn stopped(spec: StageSpec) -> (FailureKind, String) {
    let limit = spec.limits.time;
    let services = Arc::<Memory>::default();
    let chain = load(vec![spec], &services).unwrap();
    let (took, failures): (Vec<Duration>, Vec<_>) = (0..ATTEMPTS).map(|_| run_one(&chain)).unzip();
    assert!(failures.iter().all(|failure| *failure == failures[0]), "{failures:?}");
    assert!(services.blobs.lock().unwrap().is_empty(), "a body was left behind");
    let took = took.into_iter().min().unwrap();
    assert!(took < limit + GRACE, "stopped after {took:?} at a limit of {limit:?}");
    failures.into_iter().next().unwrap()
}

fn run_one(chain: &Chain) -> (Duration, (FailureKind, String)) {
    let started = Instant::now();
    let failure = chain.run(vec![text("DOE^JANE")]).records.remove(0).unwrap_err();
    let took = started.elapsed();
    assert!(!failure.to_string().contains("DOE"), "{failure}");
    match failure {
        Failure::Failed { kind, reason, .. } => (took, (kind, reason)),
        Failure::Refused { .. } => panic!("it is not a decision of the plugin: {failure}"),
    }
}

#[test]
fn a_loop_is_stopped_at_the_time_limit() {
    assert_eq!(stopped(short("spin")).0, FailureKind::Time);
}

#[test]
fn a_trap_is_a_trap() {
    assert_eq!(stopped(behaving("trap")).0, FailureKind::Trap);
}

#[test]
fn recursion_without_end_runs_out_of_stack() {
    assert_eq!(stopped(behaving("recurse")).0, FailureKind::Trap);
}

#[test]
fn allocation_without_end_runs_into_the_memory_limit() {
    let (kind, reason) = stopped(behaving("allocate"));
    assert_eq!(kind, FailureKind::Memory, "{reason}");
    assert!(reason.contains("67108864 octets"), "{reason}");
}

#[test]
fn a_body_that_is_written_without_end_is_cut_off() {
    // The plugin sees the error and lets the record pass; what it wrote is gone.
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("write-forever")], &services).unwrap();
    assert!(chain.run(vec![text("x")]).records[0].is_ok());
    assert!(services.blobs.lock().unwrap().is_empty());
}

#[test]
fn output_over_the_limit_is_not_taken() {
    let (kind, reason) = stopped(behaving("huge-body"));
    assert_eq!(
        (kind, reason.as_str()),
        (FailureKind::Output, "the plugin handed out more than 16777216 octets at once")
    );
    let (kind, reason) = stopped(behaving("split-many"));
    assert_eq!(kind, FailureKind::Output);
    assert_eq!(reason, "the plugin made 1000 records of one, 1 to 64 are allowed");
}

#[test]
fn an_outcome_is_owed_for_each_record() {
    assert_eq!(stopped(behaving("too-few")).1, "the plugin gave 0 outcomes for 1 records");
}

#[test]
fn logging_without_end_is_stopped_at_the_time_limit() {
    assert_eq!(stopped(short("log-forever")).0, FailureKind::Time);
}

#[test]
fn a_bad_record_fails_alone_and_its_place_is_told_without_its_body() {
    let chain = chain(vec![behaving("panic-on-bad")]);
    for _ in 0..3 {
        let records =
            chain.run(vec![text("a"), bad("DOE^JANE"), text("c"), bad("DOE^JANE"), text("e")]).records;
        let fine: Vec<bool> = records.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, true, false, true]);
        let failure = records[1].as_ref().unwrap_err().to_string();
        assert!(failure.contains("tests/guests/hostile/src/lib.rs:"), "{failure}");
        assert!(!failure.contains("DOE"), "{failure}");
    }
}

#[test]
fn a_spinning_stage_does_not_hold_up_another_chain() {
    let slow = chain(vec![short("spin")]);
    let quick = chain(vec![behaving("pass")]);
    std::thread::scope(|scope| {
        let spinning = scope.spawn(move || slow.run(vec![text("a")]).records.remove(0));
        let started = Instant::now();
        assert!(quick.run(vec![text("b")]).records[0].is_ok());
        assert!(started.elapsed() < Duration::from_millis(200));
        assert!(spinning.join().unwrap().is_err());
    });
}
