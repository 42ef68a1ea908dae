//! What is refused when it is loaded, and how it is said.

use hilum_core::chain::World;
use hilum_sandbox::{ChainError, Grants, LoadError, StageSpec};
use serde_json::json;

use crate::support::{Memory, behaving, component, load, plugin, sandbox, stage, text};

/// The component with one text replaced everywhere by another one of its length.
fn with(guest: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = component(guest).to_vec();
    for (from, to) in changes {
        assert_eq!(from.len(), to.len());
        let is_there = |at: &usize| octets[*at..].starts_with(from.as_bytes());
        let places: Vec<usize> = (0..octets.len()).filter(is_there).collect();
        assert!(!places.is_empty(), "{from}");
        places.into_iter().for_each(|at| octets[at..at + to.len()].copy_from_slice(to.as_bytes()));
    }
    octets
}

/// The component with the version of one interface changed everywhere.
fn with_version(guest: &str, interface: &str, version: &str) -> Vec<u8> {
    with(guest, &[(&format!("plugin/{interface}@1.1.0"), &format!("plugin/{interface}@{version}"))])
}

fn refused(octets: &[u8]) -> LoadError {
    sandbox().load(octets).expect_err("this must not load")
}

#[test]
fn each_world_is_known_by_its_exports() {
    assert_eq!(plugin("hostile").world(), World::Transform);
    assert_eq!(plugin("gate").world(), World::Authorize);
    assert_eq!(plugin("counter").world(), World::Observe);
    assert_eq!(plugin("counter").description().name, "counter");
    assert!(plugin("counter").imports().iter().any(|import| import.name == "hilum:plugin/emit@1.1.0"));
}

#[test]
fn what_is_not_a_component_is_said_to_be_what_it_is() {
    assert_eq!(refused(b"#!/bin/sh"), LoadError::NotWasm);
    assert_eq!(refused(b"\0asm\x01\0\0\0"), LoadError::CoreModule);
    let mut cut = component("gate").to_vec();
    cut.truncate(cut.len() / 2);
    assert!(matches!(refused(&cut), LoadError::Invalid(_)));
}

#[test]
fn a_component_of_no_world_is_refused() {
    // The empty component.
    let error = refused(b"\0asm\x0d\0\x01\0");
    assert!(matches!(&error, LoadError::World(why) if why.contains("nothing")), "{error}");
}

#[test]
fn a_plugin_for_another_major_version_is_told_both_versions_and_what_to_do() {
    let error = refused(&with_version("hostile", "transformer", "2.0.0"));
    assert_eq!(
        error.to_string(),
        "the plugin needs hilum:plugin 2.0, and this build of Hilum has 1.1 (it exports `hilum:plugin/transformer@2.0.0`): \
         update Hilum to a release that has hilum:plugin 2.0, or build the plugin for hilum:plugin 1.1"
    );
    let error = refused(&with_version("hostile", "keys", "2.0.0")).to_string();
    assert!(
        error.contains("needs hilum:plugin 2.0") && error.contains("it imports `hilum:plugin/keys@2.0.0`"),
        "{error}"
    );
    let error = refused(&with_version("hostile", "keys", "0.9.0"));
    assert_eq!(
        error.to_string(),
        "the plugin needs hilum:plugin 0.9, and this build of Hilum has 1.1 (it imports `hilum:plugin/keys@0.9.0`): build the \
         plugin for hilum:plugin 1.1, with the SDK of this release of Hilum"
    );
}

#[test]
fn a_plugin_that_uses_something_of_a_later_minor_version_is_told_what_and_which() {
    // A function that is not there, an interface to import that is not there, and one to export.
    let function =
        with("hostile", &[("pseudonyms", "pseudonymy"), ("plugin/keys@1.1.0", "plugin/keys@1.2.0")]);
    assert_eq!(
        refused(&function).to_string(),
        "the plugin needs hilum:plugin 1.2, and this build of Hilum has 1.1 (it imports `pseudonymy` of \
         `hilum:plugin/keys@1.2.0`): update Hilum to a release that has hilum:plugin 1.2, or build the plugin for \
         hilum:plugin 1.1"
    );
    let import = refused(&with("hostile", &[("plugin/random@1.1.0", "plugin/rhymes@1.2.0")])).to_string();
    assert!(import.contains("1.2") && import.contains("it imports `hilum:plugin/rhymes@1.2.0`"), "{import}");
    let export =
        refused(&with("gate", &[("plugin/authorizer@1.1.0", "plugin/mesmerizer@1.2.0")])).to_string();
    assert!(
        export.contains("1.2") && export.contains("it exports `hilum:plugin/mesmerizer@1.2.0`"),
        "{export}"
    );
}

#[test]
fn a_plugin_for_a_changed_copy_of_the_package_is_told_so() {
    let error = refused(&with("hostile", &[("pseudonyms", "pseudonymy")]));
    assert!(
        matches!(&error, LoadError::Foreign(lacking) if lacking.function.as_deref() == Some("pseudonymy"))
    );
    assert!(
        error.to_string().contains("`pseudonymy` of `hilum:plugin/keys@1.1.0`, which there is not"),
        "{error}"
    );
}

#[test]
fn a_plugin_that_knows_a_function_otherwise_is_told_which() {
    let mut spec = behaving("pass");
    spec.plugin = sandbox().load(&with("hostile", &[("malformed", "malfurmed")])).unwrap();
    let error = load(vec![spec], &Default::default()).unwrap_err().to_string();
    assert!(error.contains("`hilum:plugin/keys@1.1.0`") && error.contains("hilum:plugin 1.1"), "{error}");
}

#[test]
fn a_plugin_for_a_later_minor_version_runs_if_it_uses_nothing_new() {
    let later = sandbox().load(&with("hostile", &[("@1.1.0", "@1.9.0")])).unwrap();
    assert!(later.imports().iter().any(|import| import.name == "hilum:plugin/keys@1.9.0"));
    let mut spec = behaving("keys");
    spec.plugin = later;
    assert!(load(vec![spec], &Default::default()).unwrap().run(vec![text("x")]).records[0].is_ok());
}

#[test]
fn an_import_that_is_not_granted_is_named_with_its_grant() {
    let mut spec = behaving("pass");
    spec.grants = Grants::parse(["log", "metrics", "trace", "time", "random"]).unwrap();
    let error = load(vec![spec], &Default::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stage `hostile`: the plugin imports `hilum:plugin/keys@1.1.0`, which is not granted: add the grant `keys:NAME` or \
         `recipient:NAME` to the stage"
    );
}

#[test]
fn each_interface_needs_its_grant() {
    let needs = |spec: &StageSpec, all: &[&str]| {
        for missing in all {
            let mut spec = spec.clone();
            spec.grants = Grants::parse(all.iter().filter(|grant| *grant != missing)).unwrap();
            let error = load(vec![spec], &Default::default()).unwrap_err();
            let interface = missing.split(':').next().unwrap();
            let named = format!("hilum:plugin/{interface}@1.1.0");
            assert!(
                matches!(&error, ChainError::NotGranted { import, .. } if *import == named),
                "{missing}: {error}"
            );
        }
        let mut spec = spec.clone();
        spec.grants = Grants::parse(all).unwrap();
        load(vec![spec], &Default::default()).unwrap();
    };
    needs(&behaving("pass"), &["trace", "keys:research", "time", "random", "metrics"]);
    needs(&stage("counter", json!({})), &["state", "emit:counts", "metrics"]);
    needs(&stage("gate", json!({})), &[]);
}

#[test]
fn a_key_or_a_flow_that_is_not_granted_by_its_name_is_not_there() {
    let mut spec = behaving("keys");
    spec.grants = Grants::parse(["trace", "keys:other", "time", "random", "metrics"]).unwrap();
    let failure =
        load(vec![spec], &Default::default()).unwrap().run(vec![text("x")]).records.remove(0).unwrap_err();
    assert_eq!(failure.reason(), "`research` is not granted to this stage");
    let mut spec = stage("counter", json!({}));
    spec.grants = Grants::parse(["state", "emit:other", "metrics"]).unwrap();
    let run = load(vec![spec], &Default::default()).unwrap().run(vec![text("x")]);
    assert!(run.records[0].is_err() && run.emitted.is_empty(), "the guest panics where it may not emit");
}

#[test]
fn a_configuration_is_checked_against_the_schema_and_by_the_plugin() {
    let services = std::sync::Arc::<Memory>::default();
    let error = load(vec![stage("hostile", json!({"behaviour": 1}))], &services).unwrap_err();
    assert!(matches!(&error, ChainError::Config { at, .. } if at == "/behaviour"), "{error}");
    let error = load(vec![stage("hostile", json!({"behaviour": "pass", "x": 1}))], &services).unwrap_err();
    assert!(error.to_string().contains("'x'"), "{error}");
    let error = load(vec![behaving("misconfigured")], &services).unwrap_err();
    assert!(
        matches!(&error, ChainError::Config { at, reason, .. } if at == "/behaviour" && reason.contains("never"))
    );
}

#[test]
fn a_stage_name_is_used_once() {
    let error = load(vec![behaving("pass"), behaving("pass")], &Default::default()).unwrap_err();
    assert!(matches!(error, ChainError::Twice(_)));
}

#[test]
fn a_plan_names_labels_that_this_configuration_removes() {
    let services = Default::default();
    let removes =
        |behaviour| load(vec![behaving(behaviour)], &services).unwrap().plan().stages()[0].removes.len();
    assert_eq!((removes("pass"), removes("reverse")), (0, 1));
}
