//! Batches: stored whole or not at all, whatever becomes of one of their records or of their broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hilum_client::{PublishError, Publisher, Record, RefusalCode};
use hilum_core::limits::PUBLISH_RECORDS_MAX;
use hilum_tests::{Broker, Flow, Hospital, Stage};
use tokio::task::JoinSet;

use crate::support::{name, next, nothing_comes, says, subscribe, take, text};

/// A stage that refuses records with attribute `bad`.
fn check() -> Stage {
    let policies = r#"
        @id("bad") forbid(principal, action, resource) when { resource.hasTag("bad") };
        @id("others") permit(principal, action, resource);"#;
    Stage::access("check", policies)
}

#[tokio::test]
async fn a_batch_is_refused_whole_and_the_next_one_is_stored_whole() {
    let hospital = Hospital::new(&[Flow::plain().ingress(check())]);
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();

    let batch = vec![text("a"), text("b").with_attribute("bad", "yes"), text("c")];
    let error = publisher.publish_batch(batch).await.unwrap_err();
    says(&error.to_string(), &["flow `records`", "record 1", "stage `check`"]);
    let PublishError::BatchRefused { index, refusal, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*index, refusal.code), (1, RefusalCode::RefusedByPlugin));

    let acks = publisher.publish_batch(vec![text("d"), text("e")]).await.unwrap();
    assert_eq!(acks.iter().map(|ack| ack.sequence).collect::<Vec<_>>(), [4, 5]);
    let too_many = vec![text("x"); PUBLISH_RECORDS_MAX + 1];
    assert!(matches!(publisher.publish_batch(too_many).await, Err(PublishError::InvalidBatch(_))));
    assert!(matches!(publisher.publish_batch(Vec::new()).await, Err(PublishError::InvalidBatch(_))));

    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    assert_eq!(take(&mut subscription, 2).await, ["d", "e"]);
    nothing_comes(&mut subscription).await;
    let dir = hospital.path().to_str().unwrap();
    let list = [
        "quarantine",
        "list",
        "--dir",
        dir,
        "--address",
        broker.address(),
        "--as",
        "operator",
        "--json",
        "records",
    ];
    let list = hilum_tests::hilum(list);
    let listed = String::from_utf8(list.stdout).unwrap();
    assert_eq!(listed.matches("\"batch\"").count(), 2, "{listed}");
}

/// Publishes batches, each with its number as the bodies, and notes those that were acked.
async fn publish_batches(publisher: Publisher, of: u32, acked: Arc<Mutex<Vec<u32>>>) {
    for number in (0..).map(|count| 10 * count + of) {
        publisher.publish_batch(vec![text(&number.to_string()); BATCH]).await.unwrap();
        acked.lock().unwrap().push(number);
    }
}

const BATCH: usize = 40;

#[tokio::test]
async fn a_killed_broker_has_each_batch_whole_or_not_at_all() {
    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    let acked: Arc<Mutex<Vec<u32>>> = Arc::default();
    let mut publishing = JoinSet::new();
    for of in 0..4 {
        let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
        let publisher = scanner.publisher(&name("records")).await.unwrap();
        publishing.spawn(publish_batches(publisher, of, acked.clone()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.kill();
    // Their connections would be silent for long before they are given up.
    publishing.shutdown().await;
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let last = Record::new("text/plain", "last".into());
    scanner.publisher(&name("records")).await.unwrap().publish(last).await.unwrap();

    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let delivery = next(&mut subscription).await;
        let body = crate::support::body(&delivery);
        delivery.ack();
        if body == "last" {
            break;
        }
        *stored.entry(body).or_default() += 1;
    }
    assert!(stored.values().all(|count| *count == BATCH), "{stored:?}");
    let acked = acked.lock().unwrap();
    assert!(!acked.is_empty());
    assert!(acked.iter().all(|number| stored.contains_key(&number.to_string())), "{acked:?}, {stored:?}");
}
