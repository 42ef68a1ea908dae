//! Who holds a key comes back to a patient, and nobody else does: what a pseudonym stood for is told to its holder, by way of the
//! audit; it is there whatever the broker died of, and a record whose pseudonyms cannot be kept goes nowhere.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hilum_client::{Client, Record};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::canary::{CANARIES, assert_clean, files, message};
use crate::support::{CREDIT, body, done, name, next, nothing_comes, operate, printed, said, says};

/// The steward holds the key; the auditor may ask, and holds none.
const KEPT: &str = r#"
[stakeholders.auditors]
description = "see who did what"
cleared = ["phi"]

[principals.auditor]
path = "service/auditor"
stakeholder = "auditors"
zone = "clinic"

[[operators]]
stakeholder = "auditors"
may = ["pseudonyms"]

[[operators]]
stakeholder = "privacy"
may = ["pseudonyms"]

[keys.research.originals]
holders = ["steward"]
"#;

fn hl7(text: String) -> Record {
    Record::new("application/hl7-v2", Bytes::from(text))
}

async fn connect(hospital: &Hospital, broker: &Broker, identity: &str) -> Client {
    hospital.connect(broker.address(), identity).await.unwrap()
}

async fn publish(hospital: &Hospital, broker: &Broker, text: String) {
    let scanner = connect(hospital, broker, "scanner").await;
    scanner.publisher(&name("messages")).await.unwrap().publish(hl7(text)).await.unwrap();
}

/// PID-3 of so many deliveries.
async fn patients(hospital: &Hospital, broker: &Broker, count: usize) -> Vec<String> {
    let reader = connect(hospital, broker, "reader").await;
    let mut subscription = reader.subscribe(&name("messages"), &name("all"), CREDIT).await.unwrap();
    let mut patients = Vec::new();
    for _ in 0..count {
        let delivery = next(&mut subscription).await;
        let text = body(&delivery);
        let pid = text.split('\r').find(|segment| segment.starts_with("PID")).unwrap();
        patients.push(pid.split('|').nth(3).unwrap().split('^').next().unwrap().to_owned());
        delivery.ack();
    }
    subscription.close().await.unwrap();
    patients
}

fn kept(hospital: &Hospital, broker: &Broker) -> u64 {
    let listed = done(hospital, broker, "operator", "pseudonym list");
    assert_eq!((listed.len(), &listed[0]["key"]), (1, &"research".into()));
    listed[0]["count"].as_u64().unwrap()
}

#[tokio::test]
async fn a_holder_of_the_key_comes_back_to_the_patient_and_nobody_else_does() {
    let flow = Flow::new("messages").class("messages");
    let flow = flow.subscription(Subscription::all().purpose("HRESCH").egress(Stage::clean()));
    let hospital = Hospital::with(KEPT, &[flow]);
    let broker = Broker::start(hospital.path());
    publish(&hospital, &broker, message()).await;
    let pseudonym = patients(&hospital, &broker, 1).await.remove(0);
    let reveal = format!("pseudonym reveal research {pseudonym} --reason ticket-4711");

    let revealed = done(&hospital, &broker, "steward", &reveal);
    let expected = serde_json::json!({"key": "research", "pseudonym": pseudonym, "domain": "patient-id", "original": CANARIES[1]});
    assert_eq!(revealed, [expected]);
    let refused = |who: &str, command: &str, words: &[&str]| {
        let output = operate(&hospital, &broker, who, command);
        assert_eq!(output.status.code(), Some(3), "{who}: {}", said(&output));
        assert_eq!(printed(&output), "");
        says(&said(&output), words);
    };
    refused("operator", &reveal, &["operator's right `pseudonyms`"]);
    refused("reader", &reveal, &["denied"]);
    refused("auditor", &reveal, &["of which you are a holder"]);
    refused("steward", &reveal.replace("research", "other"), &["of which you are a holder"]);
    refused("steward", &reveal.replace(&pseudonym, "DOE^JANE"), &["not how a pseudonym is written"]);
    let mut silent = connect(&hospital, &broker, "steward").await.admin(" ").await.unwrap();
    let no_reason = silent.reveal(&name("research"), std::slice::from_ref(&pseudonym)).await.unwrap_err();
    says(&no_reason.to_string(), &["a reason is needed"]);
    let unknown = operate(&hospital, &broker, "steward", &reveal.replace(&pseudonym, "0123456789ABCDEF"));
    assert_eq!(unknown.status.code(), Some(1));
    says(&printed(&unknown), &["nothing is kept"]);

    let audited = done(&hospital, &broker, "operator", "audit --action revealed");
    assert_eq!(audited.len(), 2);
    assert_eq!(audited[0]["principal"], "spiffe://test/service/steward");
    says(&audited[0]["reason"].to_string(), &[&pseudonym, "`research`", "ticket-4711"]);
    says(&audited[1]["reason"].to_string(), &["of which nothing is kept"]);
    let denied = done(&hospital, &broker, "operator", "audit --action denied");
    assert_eq!(denied.len(), 5, "{denied:?}");
    let all = done(&hospital, &broker, "operator", "audit");
    assert_clean("the audit", &[("audit".into(), format!("{all:?}").into_bytes())]);
    assert_clean("the data", &files(&hospital.file("data")));

    // The same patient again, and a broker that was killed.
    let before = kept(&hospital, &broker);
    publish(&hospital, &broker, message()).await;
    assert_eq!(patients(&hospital, &broker, 1).await, std::slice::from_ref(&pseudonym));
    assert_eq!(kept(&hospital, &broker), before);
    broker.kill();
    let broker = Broker::start(hospital.path());
    assert_eq!(done(&hospital, &broker, "steward", &reveal), revealed);
    assert_eq!(kept(&hospital, &broker), before);
    assert_clean("the data", &files(&hospital.file("data")));

    let forget = format!("pseudonym forget research {pseudonym} --reason consent-withdrawn");
    let refused = operate(&hospital, &broker, "operator", &forget);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert_eq!(done(&hospital, &broker, "steward", &forget)[0]["forgotten"], 1);
    let gone = operate(&hospital, &broker, "steward", &reveal);
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(kept(&hospital, &broker), before - 1);
    let audited = done(&hospital, &broker, "operator", "audit --action forgotten");
    says(&audited[0]["reason"].to_string(), &[&pseudonym, "consent-withdrawn"]);
    done(&hospital, &broker, "steward", "pseudonym forget research --all --reason project-ended");
    assert_eq!(kept(&hospital, &broker), 0);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    assert_clean("the log", &[("log".into(), log.into_bytes())]);
}

#[tokio::test]
async fn a_record_whose_pseudonyms_cannot_be_kept_goes_nowhere() {
    let flow = Flow::new("messages").class("messages");
    let flow = flow.subscription(Subscription::all().purpose("HRESCH").egress(Stage::clean()));
    let hospital = Hospital::with(&format!("{KEPT}\nmax_entries = 1\n"), &[flow]);
    let broker = Broker::start(hospital.path());
    publish(&hospital, &broker, message()).await;
    let reader = connect(&hospital, &broker, "reader").await;
    let mut subscription = reader.subscribe(&name("messages"), &name("all"), CREDIT).await.unwrap();
    let started = Instant::now();
    let listed = loop {
        nothing_comes(&mut subscription).await;
        let listed = done(&hospital, &broker, "operator", "quarantine list");
        if !listed.is_empty() {
            break listed;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it is not in quarantine");
    };
    assert_eq!(kept(&hospital, &broker), 0, "all of a record's or nothing");
    says(&listed[0]["reason"].to_string(), &["keys.research.originals"]);
}

/// An admission of one patient.
fn admission(number: &str) -> String {
    message().replace(CANARIES[1], number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pseudonym_that_is_stored_is_kept_however_often_the_broker_is_killed() {
    let flow = Flow::new("messages").class("messages").ingress(Stage::clean());
    let flow = flow.subscription(Subscription::all().purpose("HRESCH"));
    let hospital = Hospital::with(KEPT, &[flow]);
    let mut published = BTreeSet::new();
    for round in 0..3_u64 {
        let broker = Broker::start(hospital.path());
        let scanner = connect(&hospital, &broker, "scanner").await;
        let publisher = scanner.publisher(&name("messages")).await.unwrap();
        let publishing = tokio::spawn(async move {
            let mut sent = Vec::new();
            for patient in 0..1000 {
                let number = format!("77{round}{patient:04}");
                sent.push(number.clone());
                if publisher.publish(hl7(admission(&number))).await.is_err() {
                    break;
                }
            }
            sent
        });
        tokio::time::sleep(Duration::from_millis(400 + 150 * round)).await;
        broker.kill();
        published.extend(publishing.await.unwrap());
    }
    let broker = Broker::start(hospital.path());
    let flows = done(&hospital, &broker, "operator", "flow list");
    let stored = usize::try_from(flows[0]["end"].as_u64().unwrap()).unwrap();
    assert!(stored > 3, "{stored}");
    let pseudonyms = patients(&hospital, &broker, stored).await;
    let mut originals = BTreeSet::new();
    for some in pseudonyms.chunks(100) {
        let reveal = format!("pseudonym reveal research {} --reason recall", some.join(" "));
        let revealed = done(&hospital, &broker, "steward", &reveal);
        let original = |line: &Value| line["original"].as_str().unwrap().to_owned();
        originals.extend(revealed.iter().map(original));
    }
    assert_eq!(originals.len(), stored);
    assert!(originals.is_subset(&published));
}
