//! The circuit breaker: a plugin that fails again and again is left alone for a while, and its records fail meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hilum_core::chain::FailsOn;
use hilum_sandbox::{Chain, Failure, FailureKind, Input, OpenBreaker, StageEvent};

use crate::support::{Memory, bad, behaving, from, from_another, load, text};

fn chain(services: &Arc<Memory>) -> Chain {
    let mut spec = behaving("panic-on-bad");
    spec.limits.breaker_faults = 3;
    spec.limits.breaker_time = Duration::from_secs(1);
    spec.limits.breaker_time_max = Duration::from_secs(3);
    load(vec![spec], services).unwrap()
}

/// What becomes of each record: none, or the kind of failure.
fn kinds(chain: &Chain, inputs: Vec<Input>) -> Vec<Option<FailureKind>> {
    let kind = |result: Result<_, Failure>| match result {
        Ok(_) => None,
        Err(Failure::Failed { kind, .. }) => Some(kind),
        Err(Failure::Refused { .. }) => panic!("the plugin refuses nothing"),
    };
    chain.run(inputs).records.into_iter().map(kind).collect()
}

fn events(services: &Memory) -> Vec<StageEvent> {
    std::mem::take(&mut *services.events.lock().unwrap()).into_iter().map(|(_, event)| event).collect()
}

/// The source of all records that say nothing else.
fn scanner() -> FailsOn {
    FailsOn::Source(text("").source.id.clone())
}

const TRAP: Option<FailureKind> = Some(FailureKind::Trap);
const OPEN: Option<FailureKind> = Some(FailureKind::BreakerOpen);

#[test]
fn after_faults_one_after_another_records_fail_at_once() {
    let services = Arc::<Memory>::default();
    let chain = chain(&services);
    // The batch fails, then two records alone; the good ones behind them are not shown to the plugin.
    assert_eq!(kinds(&chain, vec![bad("a"), bad("b"), text("c"), text("d")]), [TRAP, TRAP, OPEN, OPEN]);
    assert_eq!(
        events(&services),
        [StageEvent::BreakerOpened { on: scanner(), faults: 3, for_ms: 1000, again: false }]
    );
    let failure = chain.run(vec![text("e")]).records.remove(0).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "stage `hostile` failed on the record: plugin hostile 0.1.0 failed 3 times one after another on records of \
         spiffe://st-marys/device/mri-1, and is tried again in 1000 ms (breaker-open)"
    );
    assert!(events(&services).is_empty(), "what is not tried is no fault");
}

#[test]
fn one_record_shows_whether_it_works_again() {
    let services = Arc::<Memory>::default();
    let chain = chain(&services);
    let later = |ms| services.later_ms.fetch_add(ms, Ordering::Relaxed);
    assert_eq!(kinds(&chain, vec![bad("a"), bad("b")]), [TRAP, TRAP]);
    events(&services);
    for (waited, for_ms, faults) in [(1000, 2000, 4), (2000, 3000, 5), (3000, 3000, 6)] {
        later(waited - 1);
        assert_eq!(kinds(&chain, vec![text("x")]), [OPEN]);
        later(1);
        assert_eq!(kinds(&chain, vec![bad("a"), text("b"), text("c")]), [TRAP, OPEN, OPEN]);
        assert_eq!(
            events(&services),
            [StageEvent::BreakerOpened { on: scanner(), faults, for_ms, again: true }]
        );
    }
    later(3000);
    assert_eq!(kinds(&chain, vec![text("a"), bad("b"), text("c")]), [None, TRAP, None]);
    assert_eq!(events(&services), [StageEvent::BreakerClosed { on: scanner(), faults: 6, is_open: false }]);
}

#[test]
fn one_sources_poison_takes_no_other_sources_records_with_it() {
    let services = Arc::<Memory>::default();
    let chain = chain(&services);
    let mut batch: Vec<Input> = (0..20).map(|_| bad("DOE^JANE")).collect();
    batch.extend([from_another(text("a")), text("b"), from_another(text("c"))]);
    let kinds = kinds(&chain, batch);
    assert_eq!(kinds[..3], [TRAP, TRAP, OPEN]);
    assert!(kinds[3..20].iter().all(|kind| *kind == OPEN));
    assert_eq!(kinds[20..], [None, OPEN, None], "only the source of the poison waits");
    let now = 1_700_000_000_000;
    let open = OpenBreaker {
        stage: "hostile".parse().unwrap(),
        plugin: "hostile".into(),
        version: "0.1.0".into(),
        on: scanner(),
        since: hilum_core::Timestamp(now),
        until: hilum_core::Timestamp(now + 1000),
        faults: 3,
    };
    assert_eq!(chain.open_breakers(), [open]);
    services.later_ms.fetch_add(1000, Ordering::Relaxed);
    assert_eq!(self::kinds(&chain, vec![text("d")]), [None]);
    assert!(chain.open_breakers().is_empty());
}

#[test]
fn a_plugin_that_fails_on_everybody_is_left_alone_by_everybody() {
    let services = Arc::<Memory>::default();
    let chain = chain(&services);
    for (name, kinds) in
        [("a", [TRAP, TRAP, TRAP, OPEN]), ("b", [TRAP, TRAP, TRAP, OPEN]), ("c", [TRAP, OPEN, OPEN, OPEN])]
    {
        for kind in kinds {
            assert_eq!(self::kinds(&chain, vec![from(name, bad("x"))]), [kind], "{name}");
        }
    }
    let everybody: Vec<_> = chain.open_breakers().into_iter().map(|open| (open.on, open.faults)).collect();
    assert_eq!(everybody[0], (FailsOn::Everybody, 7));
    assert_eq!(everybody.len(), 3, "two of them by themselves too");
    // Another one is tried once a second, and if its records go well, all is well but for those who sent the bad ones.
    assert_eq!(kinds(&chain, vec![from("d", text("x"))]), [OPEN]);
    services.later_ms.fetch_add(999, Ordering::Relaxed);
    assert_eq!(kinds(&chain, vec![from("d", text("x"))]), [OPEN]);
    events(&services);
    services.later_ms.fetch_add(1, Ordering::Relaxed);
    assert_eq!(
        kinds(&chain, vec![from("d", text("x")), from("d", text("y")), from("c", text("z"))]),
        [None, None, None]
    );
    assert_eq!(
        events(&services),
        [StageEvent::BreakerClosed { on: FailsOn::Everybody, faults: 7, is_open: true }]
    );
}

#[test]
fn single_faults_open_nothing() {
    let services = Arc::<Memory>::default();
    let chain = chain(&services);
    for _ in 0..5 {
        assert_eq!(kinds(&chain, vec![bad("a"), text("b"), bad("c")]), [TRAP, None, TRAP]);
        assert_eq!(kinds(&chain, vec![text("d")]), [None]);
    }
    assert!(events(&services).is_empty());
}

#[test]
fn a_store_that_fails_is_not_the_plugins_fault() {
    let services = Arc::<Memory>::default();
    let mut spec = behaving("forward");
    spec.limits.breaker_faults = 1;
    let chain = load(vec![spec], &services).unwrap();
    let input = crate::support::record(services.blob(vec![7; 1 << 20]), &[]);
    services.broken.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(kinds(&chain, vec![input.clone()]), [Some(FailureKind::Host)]);
    }
    services.broken.store(false, Ordering::Relaxed);
    assert_eq!(kinds(&chain, vec![input]), [None]);
}
