//! Plugins that were built against earlier versions of the package, kept as binaries: they load and run as they did.

use std::path::Path;
use std::sync::Arc;

use hilum_core::chain::{StageOutcome, World};
use hilum_core::{Body, StageName};
use hilum_sandbox::{Chain, Failure, Grants, Limits, Plugin, Ran, StageSpec};
use serde_json::json;

use crate::support::{Memory, inline, load, record, sandbox, text};

/// A binary of `hilum:plugin@1.0.0`.
fn frozen(world: &str) -> Arc<Plugin> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/frozen/1.0.0/{world}.wasm"));
    sandbox().load(&std::fs::read(file).unwrap()).unwrap()
}

fn loaded(world: &str, grants: &[&str], services: &Arc<Memory>) -> Chain {
    let spec = StageSpec {
        name: StageName::new("old").unwrap(),
        plugin: frozen(world),
        config: json!({}),
        grants: Grants::parse(grants).unwrap(),
        limits: Limits::default(),
    };
    load(vec![spec], services).unwrap()
}

#[test]
fn they_are_what_they_say() {
    for (world, is) in
        [("transform", World::Transform), ("authorize", World::Authorize), ("observe", World::Observe)]
    {
        let plugin = frozen(world);
        assert_eq!((plugin.world(), &*plugin.description().name), (is, &*format!("frozen-{world}")));
        let ours = plugin.imports().iter().filter(|import| import.interface.is_some());
        assert!(ours.clone().count() > 0 && ours.clone().all(|import| import.name.ends_with("@1.0.0")));
    }
}

#[test]
fn a_transform_of_1_0_gives_every_outcome() {
    let services = Arc::<Memory>::default();
    let grants = ["log", "metrics", "time", "random", "keys:research", "recipient:gp"];
    let chain = loaded("transform", &grants, &services);
    let wanted = ["pass", "annotate", "replace", "split", "refuse", "seal"];
    let mut records: Vec<_> =
        wanted.iter().map(|wanted| record(Body::Inline("abc".into()), &[("do", wanted)])).collect();
    records.push(record(services.blob(vec![7; 300_000]), &[("do", "copy")]));
    records.push(record(services.blob(vec![7; 300_000]), &[("do", "seal")]));
    let mut ran = chain.run(records).records.into_iter();
    let mut next = |outcome| -> Ran {
        let ran = ran.next().unwrap().unwrap();
        assert_eq!(ran.run.receipt.outcomes, [outcome]);
        ran
    };
    assert_eq!(inline(&next(StageOutcome::Passed).run.outputs[0].body), b"abc");
    let annotated = next(StageOutcome::Annotated);
    assert_eq!(
        annotated.run.outputs[0].attributes[0].value, "1700000000000 2",
        "the clock, and how many random octets"
    );
    // The same pseudonym as ever: `keys_are_used_on_the_host` has it in full.
    assert_eq!(inline(&next(StageOutcome::Replaced).run.outputs[0].body)[..4], [0x35, 0x05, 0x30, 0xad]);
    assert_eq!(next(StageOutcome::Split).run.outputs.len(), 2);
    let refused = ran.next().unwrap().unwrap_err();
    assert!(matches!(&refused, Failure::Refused { code, .. } if code == "refused"), "{refused}");
    let mut next = |outcome| -> Ran {
        let ran = ran.next().unwrap().unwrap();
        assert_eq!(ran.run.receipt.outcomes, [outcome]);
        ran
    };
    assert!(
        inline(&next(StageOutcome::Replaced).run.outputs[0].body).len() > 100,
        "COSE around three octets"
    );
    assert_eq!(
        next(StageOutcome::Replaced).run.outputs[0].body.body().size(),
        300_000,
        "one for `!`, one passed over"
    );
    assert!(next(StageOutcome::Replaced).run.outputs[0].body.body().size() > 300_000, "sealed as a reader");
    assert_eq!(services.counters.lock().unwrap()["frozen.records"], 8);
}

#[test]
fn an_authorize_of_1_0_gives_every_decision() {
    let chain = loaded("authorize", &[], &Arc::default());
    let mut ran = chain.run(vec![text("allow"), text("oblige"), text("deny")]).records.into_iter();
    assert!(ran.next().unwrap().unwrap().obligations.is_empty());
    let obliged = ran.next().unwrap().unwrap();
    assert_eq!((&*obliged.obligations[0].name, &*obliged.obligations[0].value), ("size", "6"));
    assert_eq!(ran.next().unwrap().unwrap_err().code(), "denied");
}

#[test]
fn an_observe_of_1_0_keeps_state_emits_and_is_told_the_time() {
    let services = Arc::<Memory>::default();
    let chain = loaded("observe", &["state", "emit:counts"], &services);
    let run = chain.run(vec![text("a"), text("b")]);
    assert!(run.records.iter().all(Result::is_ok));
    assert_eq!(run.emitted[0].body.as_ref(), b"2");
    assert_eq!(services.state.lock().unwrap()["count"].value, [2]);
    let (emitted, failures) = chain.tick();
    assert_eq!((emitted[0].body.as_ref(), failures.len()), (&b"0"[..], 0));
    assert!(services.state.lock().unwrap().is_empty());
}
