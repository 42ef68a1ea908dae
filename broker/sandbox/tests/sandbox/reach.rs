//! What a plugin gets of the machine through its language's library: nothing. One test for each family of WASI's interfaces.

use hilum_sandbox::{Failure, FailureKind, LoadError, Sandbox, Settings};
use serde_json::json;

use crate::support::{chain, component, context, sandbox, stage, text};

/// What the guest got when it reached for something, or why it was stopped.
fn got(what: &str) -> Result<String, String> {
    let spec = stage("hostile", json!({"behaviour": {"reach": what}}));
    match chain(vec![spec]).run(vec![text("x")]).records.remove(0) {
        Ok(ran) => Ok(ran.run.outputs[0].attributes[0].value.clone()),
        Err(Failure::Failed { kind, reason, .. }) => {
            assert_eq!(kind, FailureKind::Trap, "{reason}");
            Err(reason)
        }
        Err(refused) => panic!("{refused}"),
    }
}

#[track_caller]
fn is_stopped(what: &str, at: &str) {
    let reason = got(what).expect_err("it got something");
    assert!(reason.contains(at) && reason.contains("is not there: a plugin has no WASI"), "{reason}");
}

/// A component that imports `interface` in place of another one of WASI whose name is as long.
#[track_caller]
fn is_not_loaded(interface: &str, in_place_of: &str) {
    assert_eq!(interface.len(), in_place_of.len());
    let mut octets = component("hostile").to_vec();
    let is_there = |at: &usize| octets[*at..].starts_with(in_place_of.as_bytes());
    let places: Vec<usize> = (0..octets.len()).filter(is_there).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| octets[at..at + interface.len()].copy_from_slice(interface.as_bytes()));
    let error = sandbox().load(&octets).unwrap_err();
    assert!(matches!(&error, LoadError::Import(name) if name.starts_with(interface)), "{error}");
    let said = error.to_string();
    assert!(
        said.contains(&format!("the component imports `{interface}")) && said.contains("no plugin gets"),
        "{said}"
    );
}

#[test]
fn there_is_no_file_system() {
    is_not_loaded("wasi:filesystem/preopens@", "wasi:cli/terminal-stdout@");
}

#[test]
fn there_are_no_sockets() {
    is_not_loaded("wasi:sockets/network@", "wasi:cli/environment@");
}

#[test]
fn there_is_no_http() {
    is_not_loaded("wasi:http/types@", "wasi:cli/stdout@");
}

#[test]
fn there_is_no_clock_but_the_granted_one() {
    // The stage has the grant `time`, which opens `hilum:plugin/time` and nothing of WASI.
    is_stopped("wall-clock", "wasi:clocks/wall-clock@");
    is_stopped("monotonic-clock", "wasi:clocks/monotonic-clock@");
}

#[test]
fn there_is_no_randomness_but_the_granted_one() {
    is_stopped("entropy", "wasi:random/random@");
}

#[test]
fn environment_and_arguments_are_empty() {
    assert_eq!(got("environment").unwrap(), "0 0");
}

#[test]
fn standard_streams_lead_nowhere_and_nothing_comes_from_them() {
    assert_eq!(got("streams").unwrap(), "written");
    is_stopped("input", "wasi:cli/stdin@");
}

#[test]
fn a_plugin_cannot_end_the_process() {
    is_stopped("exit", "wasi:cli/exit@");
}

#[test]
fn hash_maps_have_the_seed_of_the_sandbox() {
    let order = |hash_seed| {
        let settings = Settings { instances: 2, hash_seed, ..Settings::default() };
        let sandbox = Sandbox::new(settings).unwrap();
        let plugin = sandbox.load(component("hostile")).unwrap();
        let spec = hilum_sandbox::StageSpec {
            plugin,
            ..stage("hostile", json!({"behaviour": {"reach": "hash-order"}}))
        };
        let services = std::sync::Arc::<crate::support::Memory>::default();
        let chain = hilum_sandbox::Chain::load(&sandbox, context(), vec![spec], services).unwrap();
        let ran = chain.run(vec![text("x")]).records.remove(0).unwrap();
        ran.run.outputs[0].attributes[0].value.clone()
    };
    assert_eq!(order(Some((1, 2))), order(Some((1, 2))), "under a seed a plugin does the same again");
    assert_ne!(order(Some((1, 2))), order(Some((3, 4))));
    assert_ne!(order(None), order(None), "otherwise nobody who sends records knows it");
}
