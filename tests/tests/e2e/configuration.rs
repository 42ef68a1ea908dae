//! Brokers that must not start, and say why.

use std::fs;

use hilum_tests::{Broker, Hospital, PLAIN_FLOW, hilum};
use serde_json::Value;

use crate::support::{Scene, publish, says, subscribe, take};

/// The octets of a WebAssembly component that has nothing in it.
const EMPTY_COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// Flow `records` with one stage, which lets everything pass.
const CHECKED_FLOW: &str = r#"
name = "records"
class = "device"
zone = "clinic"
labels = ["phi"]

[[publish]]
stakeholder = "clinic"

[[ingress]]
stage = "check"
plugin = "access"
config.rules = [{ name = "everything", effect = "allow" }]

[[subscription]]
name = "all"
stakeholder = "ward"
purpose = "TREAT"
"#;

#[tokio::test]
async fn a_second_broker_on_the_same_directory() {
    let scene = Scene::new(&[PLAIN_FLOW]).await;
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
    let hospital = Hospital::new(&[CHECKED_FLOW]);
    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["before"]).await;
    assert!(broker.stop().0);

    let plugin = hospital.file("plugins/access.wasm");
    let good = fs::read(&plugin).unwrap();
    let half = good[..good.len() / 2].to_vec();
    for bad in [b"not WebAssembly".to_vec(), EMPTY_COMPONENT.to_vec(), half] {
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
fn a_component_that_imports_more_than_its_stage_is_granted() {
    let stage = "\n[[ingress]]\nstage = \"watch\"\nplugin = \"analytics\"\n\
                 grants = [\"log\", \"metrics\", \"state\"]\n\
                 config.watch = [{ sensor = \"helium\", unit = \"%\", below = 60 }]\n";
    let flow = format!("{PLAIN_FLOW}{stage}");
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
