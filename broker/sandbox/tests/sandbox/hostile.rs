//! Plugins that loop, trap, recurse, hoard and flood: each is stopped in time, hurts only its own record, and the next
//! record is served by a fresh instance.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hilum_sandbox::{Chain, Failure, FailureKind, Input, Limit, StageSpec};

use crate::support::{Memory, bad, behaving, chain, load, text};

/// How long after its limit a plugin may still run.
const GRACE: Duration = Duration::from_millis(100);
/// A machine that does other work delays a thread now and then; it does not do so each time.
const ATTEMPTS: usize = 8;

fn short(behaviour: &str) -> StageSpec {
    let mut spec = behaving(behaviour);
    spec.limits.time = Duration::from_millis(300);
    spec
}

/// Runs one record through a stage that misbehaves, again and again; gives the kind and the reason of its failure. Each
/// time a fresh instance serves the record, so the next failure is the same as the first.
fn stopped(spec: StageSpec) -> (FailureKind, String) {
    let (kind, _, reason) = stopped_on(spec, |_| text("DOE^JANE"));
    (kind, reason)
}

/// The same on any record, with the limit that was the cause; it has to be reported each time.
pub(crate) fn stopped_on(
    spec: StageSpec,
    record: impl Fn(&Memory) -> Input,
) -> (FailureKind, Option<Limit>, String) {
    // One at a time: they are to be stopped in time, not to stand in each other's way.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let services = Arc::<Memory>::default();
    let input = record(&services);
    let mebibytes = u32::try_from(input.body.body().size() >> 20).unwrap();
    let time = spec.limits.time + spec.limits.time_per_mebibyte * mebibytes;
    let chain = load(vec![spec], &services).unwrap();
    let before = services.blobs.lock().unwrap().len();
    let (mut best, mut first) = (Duration::MAX, None);
    for attempt in 0..ATTEMPTS {
        let (took, failure) = run_one(&chain, input.clone());
        let told: Vec<Limit> = services.limited().into_iter().map(|(limit, ..)| limit).collect();
        assert!(
            failure.1.is_none_or(|limit| told.contains(&limit)),
            "what it failed for is told, not {told:?}"
        );
        assert_eq!(first.get_or_insert_with(|| failure.clone()), &failure);
        best = best.min(took);
        if attempt > 0 && best < time + GRACE {
            break;
        }
    }
    assert_eq!(services.blobs.lock().unwrap().len(), before, "a body was left behind");
    assert!(best < time + GRACE, "stopped after {best:?} at a limit of {time:?}");
    first.unwrap()
}

/// How long this thread could have run and had no processor, because the machine does other work (`Documentation/scheduler/sched-stats.rst`
/// of the kernel); nothing where the kernel does not say.
fn waited_for_a_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').nth(1).and_then(|waited| waited.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn run_one(chain: &Chain, input: Input) -> (Duration, (FailureKind, Option<Limit>, String)) {
    let (started, waited) = (Instant::now(), waited_for_a_processor());
    let failure = chain.run(vec![input]).records.remove(0).unwrap_err();
    let took = started.elapsed().saturating_sub(waited_for_a_processor() - waited);
    assert!(!failure.to_string().contains("DOE"), "{failure}");
    match failure {
        Failure::Failed { kind, limit, reason, .. } => (took, (kind, limit, reason)),
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

/// It runs out of the stack that it has for itself, or out of the one that the host has for it: `crafted` has the second.
#[test]
fn recursion_without_end_is_a_trap() {
    let (kind, reason) = stopped(behaving("recurse"));
    assert!(matches!(kind, FailureKind::Trap | FailureKind::Stack), "{reason}");
}

#[test]
fn allocation_without_end_runs_into_the_memory_limit() {
    let (kind, reason) = stopped(behaving("allocate"));
    assert_eq!(kind, FailureKind::Memory, "{reason}");
    assert_eq!(reason, "the plugin ran over its memory limit: `memory_octets` is 67108864");
}

#[test]
fn a_body_that_is_written_without_end_is_cut_off() {
    // The plugin sees the error and lets the record pass; what it wrote is gone.
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("write-forever")], &services).unwrap();
    assert!(chain.run(vec![text("x")]).records[0].is_ok());
    assert_eq!(services.limited(), [(Limit::Written, (64 << 20) + 2, 1)]);
    assert!(services.blobs.lock().unwrap().is_empty());
}

#[test]
fn output_over_the_limit_is_not_taken() {
    let (kind, reason) = stopped(behaving("huge-body"));
    assert_eq!(
        (kind, reason.as_str()),
        (FailureKind::Output, "the plugin handed out too much at once: `output_octets` is 16777216")
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
