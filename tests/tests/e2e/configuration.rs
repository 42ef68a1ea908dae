//! Brokers that must not start, and say why.

use std::fs;

use hilum_tests::{Broker, Flow, Hospital, Stage, hilum};
use serde_json::Value;

use crate::support::{Scene, publish, says, subscribe, take};

/// The octets of a WebAssembly component that has nothing in it.
const EMPTY_COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

#[tokio::test]
async fn a_second_broker_on_the_same_directory() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let second = hilum(["serve".as_ref(), scene.hospital.path().as_os_str()]);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&second.stdout), "", "it never listened");
    let said = String::from_utf8(second.stderr).unwrap();
    says(&said, &["error: ", &scene.hospital.file("data").display().to_string()]);
    says(&said, &["is in use by another broker; stop it first, or name another directory"]);
    scene.lost_nothing().await;
    scene.stop();
}

#[tokio::test]
async fn a_plugin_that_is_none_stops_the_start_and_costs_nothing() {
    let hospital = Hospital::new(&[Flow::plain().ingress(Stage::open("check"))]);
    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["before"]).await;
    assert!(broker.stop().0);

    let plugin = hospital.file("plugins/access.wasm");
    let good = fs::read(&plugin).unwrap();
    let half = good[..good.len() / 2].to_vec();
    let newer = replaced(&good, "hilum:plugin/authorizer@1.1.0", "hilum:plugin/authorizer@2.0.0");
    for bad in [b"not WebAssembly".to_vec(), EMPTY_COMPONENT.to_vec(), half, newer] {
        fs::write(&plugin, &bad).unwrap();
        let said = Broker::try_start(hospital.path()).err().expect("the broker started");
        says(&said, &["plugin `access`", "plugins/access.wasm"]);
        let problem = the_problem(&hospital);
        assert_eq!(problem["file"], "plugins/access.wasm");
        assert!(problem["what"].as_str().is_some_and(|what| !what.is_empty()), "{problem}");
        says(problem["help"].as_str().unwrap(), &["hilum:plugin", "hilum init"]);
    }

    fs::write(&plugin, &good).unwrap();
    let broker = Broker::start(hospital.path());
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    assert_eq!(take(&mut subscribe(&reader).await, 1).await, ["before"]);
}

#[test]
fn a_component_without_the_function_of_its_world() {
    let hospital = Hospital::new(&[Flow::plain().ingress(Stage::open("check"))]);
    let plugin = hospital.file("plugins/access.wasm");
    fs::write(&plugin, replaced(&fs::read(&plugin).unwrap(), "decide", "decade")).unwrap();
    let what = "the component lacks the function `decide` of `hilum:plugin/authorizer@1.0.0`";
    let said = Broker::try_start(hospital.path()).err().expect("the broker started");
    says(&said, &["flows/0.toml:", "stage `check`", what]);
    says(the_problem(&hospital)["what"].as_str().unwrap(), &[what]);
}

#[test]
fn a_component_that_imports_more_than_its_stage_is_granted() {
    let stage = Stage::new("watch", "analytics").with(
        r#"
grants = ["log", "metrics", "state"]
config.watch = [{ sensor = "helium", unit = "%", below = 60 }]"#,
    );
    let flow = Flow::plain().ingress(stage).to_string();
    let hospital = Hospital::new(&[&flow]);
    let line = 1 + flow.lines().position(|line| line.starts_with("stage =")).unwrap();
    let what = "stage `watch`: the plugin imports `hilum:plugin/emit@";
    let said = Broker::try_start(hospital.path()).err().expect("the broker started");
    says(&said, &[&format!("flows/0.toml:{line}:"), what, "hilum plugin inspect analytics"]);
    let problem = the_problem(&hospital);
    assert_eq!((&problem["file"], &problem["key"]), (&"flows/0.toml".into(), &"grants".into()));
    assert_eq!(problem["line"], line, "{problem}");
    says(problem["what"].as_str().unwrap(), &[what]);
}

/// The octets with a word replaced everywhere by another one of its length.
fn replaced(octets: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut octets = octets.to_vec();
    let is_there = |at: &usize| octets[*at..].starts_with(from.as_bytes());
    let places: Vec<usize> = (0..octets.len()).filter(is_there).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| octets[at..at + to.len()].copy_from_slice(to.as_bytes()));
    octets
}

/// What `hilum check --json` finds wrong; one thing.
#[track_caller]
fn the_problem(hospital: &Hospital) -> Value {
    let checked = hilum(["check".as_ref(), hospital.path().as_os_str(), "--json".as_ref()]);
    assert_eq!(checked.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(found["ok"], false);
    let problems = found["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{found}");
    problems[0].clone()
}
