//! What is refused when it is loaded, and how it is said.

use hilum_core::chain::World;
use hilum_sandbox::{ChainError, Grants, LoadError};
use serde_json::json;

use crate::support::{Memory, behaving, component, load, plugin, sandbox, stage};

/// The component with the version of one interface changed everywhere.
fn with_version(guest: &str, interface: &str, version: &str) -> Vec<u8> {
    let mut octets = component(guest).to_vec();
    let (from, to) =
        (format!("hilum:plugin/{interface}@1.0.0"), format!("hilum:plugin/{interface}@{version}"));
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = octets
        .windows(from.len())
        .enumerate()
        .filter(|(_, at)| *at == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| octets[at..at + to.len()].copy_from_slice(to.as_bytes()));
    octets
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
    assert!(plugin("counter").imports().iter().any(|import| import.name == "hilum:plugin/emit@1.0.0"));
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
fn a_plugin_for_another_major_version_is_refused_by_name() {
    let error = refused(&with_version("hostile", "transformer", "2.0.0"));
    assert_eq!(error, LoadError::Newer("hilum:plugin/transformer@2.0.0".into()));
    let error = refused(&with_version("hostile", "keys", "2.0.0"));
    assert!(error.to_string().contains("hilum:plugin/keys@2.0.0"), "{error}");
}

#[test]
fn a_plugin_for_a_later_minor_version_loads_if_it_uses_nothing_new() {
    let later = sandbox().load(&with_version("hostile", "keys", "1.9.0")).unwrap();
    let mut spec = behaving("pass");
    spec.plugin = later;
    load(vec![spec], &Default::default()).unwrap();
}

#[test]
fn an_import_that_is_not_granted_is_named_with_its_grant() {
    let mut spec = behaving("pass");
    spec.grants = Grants::parse(["log", "time", "random"]).unwrap();
    let error = load(vec![spec], &Default::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stage `hostile`: the plugin imports `hilum:plugin/keys@1.0.0`, which is not granted: add the grant `keys:NAME` or \
         `recipient:NAME` to the stage"
    );
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
