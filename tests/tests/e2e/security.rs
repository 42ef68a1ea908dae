//! The audit as records of a flow, and the plugin that watches it: what really happens leads to alerts, once, and says nothing of patients.

use std::time::Duration;

use hilum_client::Subscription as Reading;
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{CREDIT, body, done, name, next, publish, text};

/// What a patient is called, where people and machines may write it.
const PLANTED: &str = "DOE-JANE-19610704";
/// How long it is looked whether anything feeds itself: several periods of statistics.
const QUIET: Duration = Duration::from_millis(2500);

fn hospital() -> Hospital {
    let more = "\n[audit]\nflow = \"audit\"\nstatistics = \"1s\"\n\n[plugins.security]\npath = \"plugins/security.wasm\"\n";
    let watch = Stage::new("guard", "security").with(
        "grants = [\"log\", \"metrics\", \"state\", \"emit:security\"]\nconfig.alerts_flow = \"security\"",
    );
    let flows = [
        Flow::plain(),
        Flow::new("audit").class("audit").unpublished().ingress(watch).subscription(Subscription::all()),
        Flow::new("security").class("audit").unpublished().subscription(Subscription::all()),
    ];
    Hospital::with(more, &flows)
}

/// Documents of a subscription, each acked, until one fits.
async fn until(reading: &mut Reading, mut fits: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let delivery = next(reading).await;
        let document: Value = serde_json::from_str(&body(&delivery)).unwrap();
        delivery.ack();
        found.push(document);
        if fits(&found[found.len() - 1]) {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denials_lead_to_one_alert_and_nothing_feeds_itself() {
    let hospital = hospital();
    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["one", "two"]).await;
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    publisher.publish(text(PLANTED).with_key(PLANTED)).await.unwrap();
    let note = format!("subscription pause records all --note {PLANTED}");
    done(&hospital, &broker, "operator", &note);

    // The reader may not publish, and tries again and again.
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    for _ in 0..12 {
        assert!(reader.publisher(&name("records")).await.is_err(), "it is denied");
    }
    let mut alerts = reader.subscribe(&name("security"), &name("all"), CREDIT).await.unwrap();
    let raised = until(&mut alerts, |_| true).await;
    assert_eq!((&raised[0]["status"], &raised[0]["cause"]), (&"raised".into(), &"denials".into()));
    assert_eq!(raised[0]["principal"], "spiffe://test/service/reader");

    // Who reads the audit sees all of it, and that reading it is no event of it.
    let mut audit = reader.subscribe(&name("audit"), &name("all"), CREDIT).await.unwrap();
    let mut denied = 0;
    let mut seen = until(&mut audit, |document| {
        denied += u32::from(document["action"] == "denied");
        denied == 12
    })
    .await;
    let has_line = |document: &Value| {
        let lines = document["lines"].as_array().into_iter().flatten();
        let fits =
            |line: &&Value| line["principal"] == "spiffe://test/device/scanner" && line["flow"] == "records";
        lines.filter(fits).count() > 0
    };
    if !seen.iter().any(has_line) {
        seen.extend(until(&mut audit, has_line).await);
    }
    let more = tokio::time::timeout(QUIET, alerts.next()).await;
    assert!(more.is_err(), "one alert for one cause: {more:?}");
    while let Ok(delivery) = tokio::time::timeout(QUIET, audit.next()).await {
        let delivery = delivery.unwrap().unwrap();
        seen.push(serde_json::from_str(&body(&delivery)).unwrap());
        delivery.ack();
        assert!(seen.len() < 200, "it feeds itself: {:?}", seen.last());
    }
    let numbers: Vec<u64> = seen.iter().filter_map(|document| document["event"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, each once: {numbers:?}");
    for action in ["lifecycle", "plugin-admitted", "paused", "denied"] {
        assert!(seen.iter().any(|document| document["action"] == action), "{action}");
    }
    let is_own = |document: &&Value| ["audit", "security"].iter().any(|flow| document["flow"] == **flow);
    let own: Vec<&Value> =
        seen.iter().filter(is_own).filter(|document| document["action"] != "denied").collect();
    assert!(own.is_empty(), "{own:?}");
    assert!(!seen.iter().chain(&raised).any(|document| document.to_string().contains(PLANTED)));
    audit.close().await.unwrap();
    alerts.close().await.unwrap();
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");

    // After another start what was fed is not fed again.
    let broker = Broker::start(hospital.path());
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut audit = reader.subscribe(&name("audit"), &name("all"), CREDIT).await.unwrap();
    let last = numbers.last().copied().unwrap_or_default();
    let again = until(&mut audit, |document| document["reason"] == "started").await;
    let again = again.iter().filter_map(|document| document["event"].as_u64());
    assert!(
        again.clone().count() > 0 && again.clone().all(|number| number > last),
        "{:?}",
        again.collect::<Vec<_>>()
    );
}
