//! Whose faults open it for whom, for how long, and how seldom what fails on everybody is called.

use std::time::Duration;

use super::*;

fn breaker() -> Breaker {
    Breaker::new(&Limits {
        breaker_faults: 3,
        breaker_time: Duration::from_millis(100),
        breaker_time_max: Duration::from_millis(350),
        ..Limits::default()
    })
}

fn source(name: &str) -> PrincipalId {
    PrincipalId::new(&format!("spiffe://st-marys/device/{name}")).unwrap()
}

fn on(name: &str) -> FailsOn {
    FailsOn::Source(source(name))
}

fn open(on: FailsOn, left_ms: u64, faults: u32) -> Admission {
    Admission::Open { on, left_ms, faults }
}

fn opened(on: FailsOn, faults: u32, for_ms: u64, again: bool) -> Vec<Change> {
    vec![Change::Opened { on, faults, for_ms, again }]
}

/// Each source fails so often at this time.
fn fail(breaker: &mut Breaker, names: &[&str], times: u32, now: u64) {
    for name in names {
        (0..times).for_each(|_| {
            breaker.fault(Some(&source(name)), Timestamp(now));
        });
    }
}

#[test]
fn it_opens_after_faults_one_after_another_and_for_twice_as_long_each_time() {
    let (mut breaker, mri) = (breaker(), source("mri-1"));
    let mut now = Timestamp(5_000);
    assert_eq!(breaker.fault(Some(&mri), now), []);
    assert_eq!(breaker.fault(Some(&mri), now), []);
    assert_eq!(breaker.admit(Some(&mri), now), Admission::Closed);
    assert_eq!(breaker.fault(Some(&mri), now), opened(on("mri-1"), 3, 100, false));
    for (faults, was_ms, for_ms) in [(4, 100, 200), (5, 200, 350), (6, 350, 350)] {
        assert_eq!(breaker.admit(Some(&mri), now), open(on("mri-1"), was_ms, faults - 1));
        now.0 += was_ms - 1;
        assert_eq!(breaker.admit(Some(&mri), now), open(on("mri-1"), 1, faults - 1));
        now.0 += 1;
        assert_eq!(breaker.admit(Some(&mri), now), Admission::Probe);
        assert_eq!(breaker.fault(Some(&mri), now), opened(on("mri-1"), faults, for_ms, true));
    }
    let standing = breaker.standing();
    let until = Timestamp(now.0 + 350);
    assert_eq!(standing, [Standing { on: on("mri-1"), since: Timestamp(5_000), until, faults: 6 }]);
}

#[test]
fn a_call_that_began_before_it_opened_does_not_keep_it_open_for_longer() {
    let (mut breaker, mri) = (breaker(), source("mri-1"));
    fail(&mut breaker, &["mri-1"], 3, 0);
    assert_eq!(breaker.fault(Some(&mri), Timestamp(50)), []);
    assert_eq!(breaker.admit(Some(&mri), Timestamp(100)), Admission::Probe);
}

#[test]
fn one_success_closes_it_and_what_was_before_is_forgotten() {
    let (mut breaker, mri) = (breaker(), source("mri-1"));
    assert_eq!(breaker.success(Some(&mri)), []);
    fail(&mut breaker, &["mri-1"], 2, 0);
    assert_eq!(breaker.success(Some(&mri)), []);
    fail(&mut breaker, &["mri-1"], 2, 0);
    assert!(!breaker.is_open());
    fail(&mut breaker, &["mri-1"], 1, 0);
    assert!(breaker.is_open());
    assert_eq!(breaker.success(Some(&mri)), [Change::Closed { on: on("mri-1"), faults: 3 }]);
    assert_eq!(breaker.admit(Some(&mri), Timestamp(0)), Admission::Closed);
    assert!(!breaker.is_open() && breaker.sources.is_empty());
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_it_open() {
    let (mut breaker, mri) = (breaker(), source("mri-1"));
    fail(&mut breaker, &["mri-1"], 3, 5_000);
    assert_eq!(breaker.admit(Some(&mri), Timestamp(5_050)), open(on("mri-1"), 50, 3));
    assert_eq!(breaker.admit(Some(&mri), Timestamp(4_999)), Admission::Probe);
}

#[test]
fn one_source_takes_no_other_with_it_however_much_it_sends() {
    let mut breaker = breaker();
    fail(&mut breaker, &["mri-1"], 1000, 0);
    assert!(matches!(breaker.admit(Some(&source("mri-1")), Timestamp(0)), Admission::Open { .. }));
    assert_eq!(breaker.admit(Some(&source("mri-2")), Timestamp(0)), Admission::Closed);
    // Nor do two, and what goes well from one says nothing about another.
    fail(&mut breaker, &["ct-1"], 1000, 0);
    assert_eq!(breaker.admit(Some(&source("mri-2")), Timestamp(0)), Admission::Closed);
    assert_eq!(breaker.success(Some(&source("mri-2"))), []);
    assert!(matches!(breaker.admit(Some(&source("ct-1")), Timestamp(0)), Admission::Open { .. }));
}

#[test]
fn where_several_fail_and_nobodys_records_go_well_it_opens_for_everybody() {
    let mut breaker = breaker();
    fail(&mut breaker, &["mri-1", "mri-2"], 3, 0);
    let changes = breaker.fault(Some(&source("mri-3")), Timestamp(0));
    assert_eq!(changes, opened(FailsOn::Everybody, 7, 100, false));
    // Those that are not left alone by themselves are tried once, one after another.
    assert_eq!(breaker.admit(Some(&source("mri-4")), Timestamp(0)), open(FailsOn::Everybody, 100, 7));
    assert_eq!(breaker.admit(Some(&source("mri-4")), Timestamp(99)), open(FailsOn::Everybody, 1, 7));
    fail(&mut breaker, &["mri-1"], 1, 200);
    assert_eq!(breaker.everybody.map(|open| open.left_ms(Timestamp(200))), Some(200), "its probe failed");
    assert_eq!(breaker.admit(Some(&source("mri-4")), Timestamp(299)), open(FailsOn::Everybody, 101, 8));
    assert_eq!(breaker.admit(Some(&source("mri-4")), Timestamp(300)), Admission::Probe);
    assert_eq!(breaker.admit(Some(&source("mri-5")), Timestamp(300)), open(FailsOn::Everybody, 100, 8));
    assert_eq!(breaker.fault(Some(&source("mri-4")), Timestamp(310)), []);
    assert_eq!(breaker.admit(Some(&source("mri-4")), Timestamp(399)), open(FailsOn::Everybody, 1, 9));
    // One that is left alone by itself is no proof of anything before its time.
    assert_eq!(breaker.admit(Some(&source("mri-1")), Timestamp(399)), open(on("mri-1"), 1, 4));
    assert_eq!(
        breaker.admit(None, Timestamp(1_000)),
        open(FailsOn::Everybody, 0, 9),
        "the clock proves nothing"
    );
    // A record that goes well shows that it was the others.
    assert_eq!(breaker.admit(Some(&source("mri-5")), Timestamp(399)), open(FailsOn::Everybody, 1, 9));
    let closed = breaker.success(Some(&source("mri-5")));
    assert_eq!(closed, [Change::Closed { on: FailsOn::Everybody, faults: 9 }]);
    assert_eq!(breaker.admit(Some(&source("mri-4")), Timestamp(399)), Admission::Closed);
    assert!(matches!(breaker.admit(Some(&source("mri-1")), Timestamp(390)), Admission::Open { .. }));
}

/// A plugin that fails on everybody costs a bounded number of calls, however many sources there are and however often they try.
#[test]
fn what_fails_on_everybody_is_seldom_called() {
    let mut breaker = breaker();
    let sources: Vec<PrincipalId> = (0..2_000).map(|n| source(&n.to_string())).collect();
    let mut calls = 0;
    for now in (0..10_000).step_by(10) {
        for id in &sources {
            if !matches!(breaker.admit(Some(id), Timestamp(now)), Admission::Open { .. }) {
                calls += 1;
                breaker.fault(Some(id), Timestamp(now));
            }
        }
    }
    // Two that fail three times, one that makes three of them; then one newcomer in 100 ms, and the probes.
    assert!((50..=7 + 100 + 10_000 / 100).contains(&calls), "{calls}");
}

#[test]
fn what_is_known_of_sources_is_bounded_and_those_without_a_place_share_one() {
    let mut breaker = breaker();
    // Somebody's records go well, so that it never opens for everybody.
    let good = source("good");
    for n in 0..BREAKER_SOURCES_MAX {
        fail(&mut breaker, &[&n.to_string()], 3, 0);
        breaker.success(Some(&good));
    }
    assert_eq!(breaker.sources.len(), BREAKER_SOURCES_MAX);
    let more = source("more");
    assert_eq!(breaker.admit(Some(&more), Timestamp(0)), Admission::Closed);
    fail(&mut breaker, &["more", "and-more"], 1, 0);
    assert_eq!(
        breaker.fault(Some(&source("still-more")), Timestamp(0)),
        opened(FailsOn::Others, 3, 100, false)
    );
    assert_eq!(breaker.admit(Some(&more), Timestamp(0)), open(FailsOn::Others, 100, 3));
    assert_eq!(breaker.sources.len(), BREAKER_SOURCES_MAX);
    assert_eq!(breaker.success(Some(&more)), [Change::Closed { on: FailsOn::Others, faults: 3 }]);
    // One that fails now and then gives its place to another one.
    breaker.success(Some(&source("7")));
    fail(&mut breaker, &["seldom"], 1, 0);
    breaker.success(Some(&good));
    assert_eq!(breaker.fault(Some(&more), Timestamp(1)), []);
    assert!(breaker.sources.contains_key(&more) && !breaker.sources.contains_key(&source("seldom")));
}

#[test]
fn the_clock_has_a_breaker_of_its_own() {
    let (mut breaker, mri) = (breaker(), source("mri-1"));
    (0..3).for_each(|_| {
        breaker.fault(None, Timestamp(0));
    });
    assert_eq!(breaker.admit(None, Timestamp(0)), open(FailsOn::Clock, 100, 3));
    assert_eq!(breaker.admit(Some(&mri), Timestamp(0)), Admission::Closed);
    assert_eq!(breaker.success(Some(&mri)), []);
    assert_eq!(breaker.admit(None, Timestamp(100)), Admission::Probe);
    assert_eq!(breaker.success(None), [Change::Closed { on: FailsOn::Clock, faults: 3 }]);
}
