//! What a plugin asks of the host, and how long it takes for a large body: every limit stops it, or drops what is over, and is told by name
//! with how often.

use std::sync::Arc;
use std::time::Duration;

use hilum_core::Body;
use hilum_sandbox::limits::STACKS_OCTETS;
use hilum_sandbox::{
    Chain, ChainError, FailureKind, Limit, Limits, Sandbox, Settings, StageEvent, StageSpec,
};
use serde_json::json;

use crate::hostile::stopped_on;
use crate::support::{Memory, behaving, component, context, load, record, stage, text};

const MEBIBYTE: usize = 1 << 20;

fn limited(behaviour: &str, limit: impl Fn(&mut Limits)) -> StageSpec {
    let mut spec = behaving(behaviour);
    limit(&mut spec.limits);
    spec
}

/// How deep a plugin recurses until the stack of its stage is used up.
fn depth(octets: u64) -> u64 {
    let services = Arc::<Memory>::default();
    let spec = limited("count-depth", |limits| {
        limits.stack_octets = usize::try_from(octets).unwrap();
        limits.metric_values = 1 << 32;
    });
    let chain = load(vec![spec], &services).unwrap();
    let failure = chain.run(vec![text("DOE^JANE")]).records.remove(0).unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!(
            "stage `hostile` failed on the record: the plugin ran out of stack: `stack_octets` is {octets} (stack-limit)"
        )
    );
    let told = std::mem::take(&mut *services.events.lock().unwrap());
    assert_eq!(
        told,
        [("hostile".to_owned(), StageEvent::Limited { limit: Limit::Stack, max: octets, count: 1 })]
    );
    let counters = services.counters.lock().unwrap();
    counters["depth"]
}

#[test]
fn the_more_stack_a_stage_has_the_deeper_it_goes() {
    let depths = STACKS_OCTETS.map(depth);
    println!("{depths:?}");
    for (smaller, larger) in depths.iter().zip(&depths[1..]) {
        assert!(larger > smaller && *larger < 3 * smaller, "{depths:?}");
    }
    assert_eq!(depth(512 << 10), depths[3], "no stage has another's stack");
}

#[test]
fn a_stack_that_there_is_not_is_no_stage() {
    for octets in [1, 100_000, 4 << 20] {
        let error = load(vec![limited("pass", |limits| limits.stack_octets = octets)], &Arc::default());
        let reason = format!("`stack_octets` is {octets}: there are no stacks of {octets} octets");
        assert_eq!(error.unwrap_err(), ChainError::Start { stage: "hostile".parse().unwrap(), reason });
    }
}

#[test]
fn a_stage_with_another_stack_is_stopped_in_time_too() {
    let spec = limited("spin", |limits| {
        limits.stack_octets = 64 << 10;
        limits.time = Duration::from_millis(300);
    });
    let (kind, limit, _) = stopped_on(spec, |_| text("x"));
    assert_eq!((kind, limit), (FailureKind::Time, Some(Limit::Time)));
}

#[test]
fn stages_share_the_instances_whatever_their_stacks() {
    let sandbox = Sandbox::new(Settings { instances: 2, ..Settings::default() }).unwrap();
    let plugin = sandbox.load(component("hostile")).unwrap();
    let load = |stack_octets| {
        let mut spec = behaving("pass");
        spec.plugin = plugin.clone();
        spec.limits.stack_octets = stack_octets;
        Chain::load(&sandbox, context(), vec![spec], Arc::<Memory>::default())
    };
    let first = load(512 << 10).unwrap();
    let second = load(1 << 20).unwrap();
    let error = load(2 << 20).unwrap_err().to_string();
    assert!(error.ends_with("no room for another instance beside 2"), "{error}");
    drop(first);
    load(2 << 20).unwrap();
    drop(second);
}

#[test]
fn calls_to_the_host_are_counted() {
    let (kind, limit, reason) = stopped_on(behaving("ask-forever"), |_| text("x"));
    assert_eq!((kind, limit), (FailureKind::HostCalls, Some(Limit::HostCalls)));
    assert_eq!(reason, "the plugin called the host too often: `host_calls` is 100000");
    let (_, limit, _) = stopped_on(behaving("log-forever"), |_| text("x"));
    assert_eq!(limit, Some(Limit::HostOctets), "long lines are a burden before they are too many");
}

#[test]
fn what_the_host_makes_for_a_plugin_is_counted() {
    for behaviour in ["draw-forever", "name-forever"] {
        let spec = limited(behaviour, |limits| limits.host_octets = 1 << 20);
        let (kind, limit, reason) = stopped_on(spec, |_| text("x"));
        assert_eq!((kind, limit), (FailureKind::HostCalls, Some(Limit::HostOctets)), "{behaviour}");
        assert!(reason.ends_with("`host_octets` is 1048580"), "{reason}");
    }
}

#[test]
fn readers_and_writers_are_counted() {
    let (kind, limit, _) = stopped_on(behaving("hoard-writers"), |_| text("x"));
    assert_eq!((kind, limit), (FailureKind::HostCalls, Some(Limit::Handles)));
}

#[test]
fn log_lines_over_the_limits_are_dropped_and_counted() {
    let services = Arc::<Memory>::default();
    let chain =
        load(vec![limited("log-much", |limits| limits.log_lines_per_minute = 50)], &services).unwrap();
    assert!(chain.run(vec![text("x")]).records[0].is_ok());
    assert_eq!(services.limited(), [(Limit::LogLines, 32, 68)]);
    assert!(chain.run(vec![text("x")]).records[0].is_ok());
    assert_eq!(services.limited(), [(Limit::LogLines, 32, 68), (Limit::LogLinesPerMinute, 50, 14)]);
}

#[test]
fn metrics_over_the_limits_are_dropped_and_counted() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![behaving("count-much")], &services).unwrap();
    assert!(chain.run(vec![text("x")]).records[0].is_ok());
    let names = 4 * 32 + 32; // Of 4096 values every thousand has the 32 names, and so have the first of the last 96.
    assert_eq!(
        services.limited(),
        [(Limit::MetricValues, 4096, 10_000 - 4096), (Limit::MetricNames, 32, 4096 - names)]
    );
    let counters = services.counters.lock().unwrap();
    assert_eq!((counters.len(), counters.values().sum::<u64>()), (32, names));
}

#[test]
fn emitted_records_and_octets_are_counted() {
    let flood = |octets| {
        let services = Arc::<Memory>::default();
        let chain = load(vec![stage("counter", json!({}))], &services).unwrap();
        let run = chain.run(vec![record(Body::Inline(b"x".as_slice().into()), &[("flood", octets)])]);
        (services.limited(), run)
    };
    let (limited, run) = flood("65536");
    assert_eq!(limited, [(Limit::EmittedOctets, 1 << 20, 5)]);
    assert!(run.records[0].is_ok());
    assert_eq!(run.emitted.len(), 15 + 1, "fifteen of the flood, and its count");
    // Its count does not find room either, and the plugin takes that for a reason to fail.
    let (limited, run) = flood("1");
    assert_eq!(limited, [(Limit::EmittedRecords, 256, 6)]);
    assert!(
        run.records[0].is_err() && run.emitted.is_empty(),
        "what a call emitted that failed goes nowhere"
    );
}

/// Each octet is a call to the host, so that their number stops it; and where that is allowed, time does.
#[test]
fn a_body_that_is_read_octet_by_octet_is_stopped() {
    let body = |memory: &Memory| record(memory.blob(vec![7; 40 * MEBIBYTE]), &[]);
    let (kind, limit, reason) = stopped_on(behaving("drip"), body);
    assert_eq!((kind, limit), (FailureKind::HostCalls, Some(Limit::HostCalls)));
    assert!(reason.ends_with("`host_calls` is 263840"), "{reason}");
    let patient = limited("drip", |limits| {
        limits.host_calls = 1 << 40;
        limits.time = Duration::from_millis(300);
        limits.time_per_mebibyte = Duration::from_millis(1);
    });
    assert_eq!(stopped_on(patient, body).1, Some(Limit::Time));
}

/// 40 MiB are worth 4 s more, but not before they are read, and not in advance.
#[test]
fn a_large_body_gives_time_only_to_who_gets_on_with_it() {
    let body = |memory: &Memory| record(memory.blob(vec![7; 40 * MEBIBYTE]), &[]);
    for behaviour in ["stall", "read-and-stall", "dawdle"] {
        let (kind, limit, reason) = stopped_on(
            limited(behaviour, |limits| {
                limits.time = Duration::from_millis(700);
                limits.time_per_mebibyte = Duration::from_millis(10);
            }),
            body,
        );
        assert_eq!((kind, limit), (FailureKind::Time, Some(Limit::Time)), "{behaviour}");
        assert_eq!(reason, "the plugin ran over its time limit: `call_ms` is 700");
    }
}

#[test]
fn an_instance_that_is_larger_than_its_stage_allows_does_not_start() {
    let refused = |limit: fn(&mut Limits)| {
        let spec = limited("pass", limit);
        let limits = spec.limits.clone();
        match load(vec![spec], &Arc::default()) {
            Err(ChainError::Start { reason, .. }) => reason,
            other => panic!("{other:?} under {limits:?}"),
        }
    };
    let reason = refused(|limits| limits.core_instances = 1);
    assert!(reason.ends_with("`core_instances` is 1"), "{reason}");
    let reason = refused(|limits| limits.tables = 1);
    assert!(reason.ends_with("`tables` is 1"), "{reason}");
    let reason = refused(|limits| limits.table_elements = 2);
    assert!(reason.ends_with("`table_elements` is 2"), "{reason}");
    let reason = refused(|limits| limits.memory_octets = 65_536);
    assert!(reason.ends_with("`memory_octets` is 65536"), "{reason}");
}
