//! The client against the protocol's server machines behind a real QUIC endpoint on loopback.

#![allow(clippy::unwrap_used, reason = "these are tests; their helpers are not marked as such")]

mod broker;

use std::io::Cursor;

use broker::{Authority, Broker};
use bytes::Bytes;
use hilum_client::{
    Client, ConnectError, Credit, DeliveryBody, Lost, PublishError, ReadError, Record, Resume, StreamError,
};
use hilum_core::wire::CloseCode;

const CREDIT: Credit = Credit { records: 4, octets: 1 << 20 };

fn record(body: impl Into<Bytes>) -> Record {
    Record::new("text/plain", body.into())
}

/// Octets that differ.
fn large(octets: usize) -> Vec<u8> {
    (0..octets).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_thousand_records_in_line_are_acked_in_their_order() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    assert_eq!(client.welcome().principal.as_str(), "spiffe://st-marys/device/mri-1");
    let publisher = client.publisher(&"device".parse().unwrap()).await.unwrap();
    let mut pending = Vec::new();
    for n in 0..1000 {
        pending.push(publisher.enqueue(record(format!("{n}"))).await.unwrap());
    }
    for (n, ack) in (1..).zip(pending) {
        assert_eq!(ack.await.unwrap().sequence, n);
    }
    publisher.finish().await.unwrap();
    let seen = broker.seen.lock().unwrap();
    let bodies: Vec<_> = seen.records.iter().map(|record| record.body.clone()).collect();
    assert_eq!(bodies, (0..1000).map(|n| Bytes::from(n.to_string())).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_record_gets_its_own_answer() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let publisher = client.publisher(&"device".parse().unwrap()).await.unwrap();
    let (first, refused, invalid, last) = tokio::join!(
        publisher.publish(record("first")),
        publisher.publish(record("refuse")),
        publisher.publish(Record::new("no type", Bytes::new())),
        publisher.publish(record("last")),
    );
    assert_eq!(
        (first.unwrap().sequence, last.unwrap().sequence),
        (1, 3),
        "an invalid record takes no number"
    );
    let message = "flow `device` does not take the record: refused by plugin: no unit";
    assert_eq!(refused.unwrap_err().to_string(), message);
    assert!(matches!(invalid, Err(PublishError::Invalid(_))));
    publisher.finish().await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_told_to_everybody_who_waits_and_the_sequence_goes_on() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let flow = "device".parse().unwrap();
    let publisher = client.publisher(&flow).await.unwrap();
    assert_eq!(publisher.publish(record("safe")).await.unwrap().sequence, 1);
    let lost = publisher.publish(record("hang up")).await.unwrap_err();
    let expected = Lost::ClosedByBroker { code: CloseCode::Stopping, reason: "restart".into() };
    let PublishError::Unanswered { source: StreamError::Lost(source), .. } = &lost else { panic!("{lost}") };
    assert_eq!(*source, expected);
    let later = publisher.publish(record("later")).await.unwrap_err();
    assert_eq!(later.to_string(), lost.to_string());

    let client = Client::connect(broker.mri()).await.unwrap();
    let resume = Resume {
        producer: publisher.producer(),
        next_sequence: 2,
        known_since: Some(publisher.known_since()),
    };
    let again = client.publisher_resuming(&flow, resume).await.unwrap();
    assert_eq!(again.publish(record("again")).await.unwrap().sequence, 2);
}

#[tokio::test]
async fn deliveries_are_read_acked_and_counted() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let publisher = client.publisher(&"device".parse().unwrap()).await.unwrap();
    for n in 0..20 {
        publisher.publish(record(format!("{n}"))).await.unwrap();
    }
    let mut subscription =
        client.subscribe(&"device".parse().unwrap(), &"all".parse().unwrap(), CREDIT).await.unwrap();
    for n in 0..20 {
        let delivery = subscription.next().await.unwrap().unwrap();
        assert_eq!(delivery.offset().0, n);
        assert_eq!(*delivery.body(), DeliveryBody::Inline(n.to_string().into()));
        delivery.ack();
    }
    subscription.close().await.unwrap();
    assert_eq!(broker.seen.lock().unwrap().acked, 20, "all acks were counted before `close` came back");
    client.close().await;
}

#[tokio::test]
async fn what_is_not_acked_uses_up_the_credit() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let publisher = client.publisher(&"device".parse().unwrap()).await.unwrap();
    for n in 0..5 {
        publisher.publish(record(format!("{n}"))).await.unwrap();
    }
    let mut subscription =
        client.subscribe(&"device".parse().unwrap(), &"all".parse().unwrap(), CREDIT).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..CREDIT.records {
        held.push(subscription.next().await.unwrap().unwrap());
    }
    let wait = std::time::Duration::from_millis(200);
    assert!(tokio::time::timeout(wait, subscription.next()).await.is_err(), "a fifth came without credit");
    subscription.grant(Credit { records: 1, octets: 0 });
    assert_eq!(subscription.next().await.unwrap().unwrap().offset().0, 4);
}

#[tokio::test]
async fn a_large_body_goes_up_and_comes_down() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let flow = "imaging".parse().unwrap();
    let publisher = client.publisher(&flow).await.unwrap();
    let body = large(3_000_000);
    let head = record("").head;
    publisher.publish_large(head, 3_000_000, Cursor::new(&body)).await.unwrap();
    assert_eq!(broker.seen.lock().unwrap().large[0], body);

    for (name, from) in [("whole", 0), ("rest", 1_000_000)] {
        let mut subscription = client.subscribe(&flow, &name.parse().unwrap(), CREDIT).await.unwrap();
        let delivery = subscription.next().await.unwrap().unwrap();
        assert!(matches!(delivery.body(), DeliveryBody::Large { size: 3_000_000, .. }));
        let mut read = Vec::new();
        delivery.open_large(from).await.unwrap().write_to(&mut read).await.unwrap();
        assert!(read == body[usize::try_from(from).unwrap()..], "{name}");
    }
    let mut subscription = client.subscribe(&flow, &"damaged".parse().unwrap(), CREDIT).await.unwrap();
    let delivery = subscription.next().await.unwrap().unwrap();
    let damaged = delivery.open_large(0).await.unwrap().write_to(&mut Vec::new()).await.unwrap_err();
    assert!(matches!(&damaged, ReadError::Body { source: StreamError::Protocol(_), .. }), "{damaged}");
    assert!(damaged.to_string().contains("digest"), "{damaged}");
}

#[tokio::test]
async fn a_large_body_of_another_size_is_given_up() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let publisher = client.publisher(&"imaging".parse().unwrap()).await.unwrap();
    let body = large(1_000_000);
    for announced in [999_999, 1_000_001] {
        let result = publisher.publish_large(record("").head, announced, Cursor::new(&body)).await;
        assert!(matches!(result, Err(PublishError::BodySize { announced: a, .. }) if a == announced));
    }
    assert!(broker.seen.lock().unwrap().large.is_empty());
}

#[tokio::test]
async fn an_unknown_flow_is_named_with_the_brokers_reason() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let nowhere = "nowhere".parse().unwrap();
    let error = client.publisher(&nowhere).await.unwrap_err();
    let message = "cannot publish to flow `nowhere`: unknown flow: there is no flow `nowhere`";
    assert_eq!(error.to_string(), message);
}

#[tokio::test]
async fn an_upload_that_is_refused_early_says_why() {
    let broker = Broker::start();
    let client = Client::connect(broker.mri()).await.unwrap();
    let publisher = client.publisher(&"full".parse().unwrap()).await.unwrap();
    let body = large(20_000_000);
    let error = publisher.publish_large(record("").head, 20_000_000, Cursor::new(&body)).await.unwrap_err();
    assert_eq!(error.to_string(), "flow `full` does not take the record: unavailable: the disk is full");
}

#[tokio::test]
async fn a_refused_welcome_and_a_goodbye_are_heard() {
    let broker = Broker::start();
    let mut config = broker.mri();
    config.agent = "unwelcome".into();
    let error = Client::connect(config).await.unwrap_err();
    let message = "the broker refuses spiffe://st-marys/device/mri-1: unknown principal: not in hilum.toml";
    assert_eq!(error.to_string(), message);
    let mut config = broker.mri();
    config.agent = "too-late".into();
    assert_eq!(Client::connect(config).await.unwrap().leaving().await, "restart");
}

#[tokio::test]
async fn a_broker_that_is_not_the_hospitals_is_not_spoken_to() {
    let name = ["spiffe://st-marys/device/mri-1"];
    // Right authority, wrong name.
    let broker = Broker::start_as("spiffe://st-marys/device/mri-1");
    let error = Client::connect(broker.mri()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    let message =
        "the server's certificate is for spiffe://st-marys/device/mri-1, not for spiffe://st-marys/broker";
    assert!(error.to_string().ends_with(message), "{error}");
    // Right name, wrong authority.
    let broker = Broker::start();
    let mut config = broker.mri();
    config.ca_pem = Authority::new().pem();
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    // A host name that its certificate does not have.
    let mut config = broker.config(broker.authority.issue(&name));
    config.server_name = Some("broker.st-marys.example".into());
    assert!(matches!(Client::connect(config).await, Err(ConnectError::Handshake { .. })));
}

#[tokio::test]
async fn a_certificate_that_the_broker_does_not_accept_is_named() {
    let broker = Broker::start();
    let name = ["spiffe://st-marys/device/mri-1"];
    let refused = |identity| {
        let config = broker.config(identity);
        async { Client::connect(config).await.unwrap_err().to_string() }
    };
    let of = "the broker does not accept the certificate of spiffe://st-marys/device/mri-1";
    let expired = refused(broker.authority.issue_until(&name, 2000)).await;
    assert_eq!(expired, format!("{of}: it is expired or not valid yet"));
    let foreign = refused(Authority::new().issue(&name)).await;
    assert!(foreign.starts_with(of), "{foreign}");
    let nameless = refused(broker.authority.issue(&[])).await;
    assert!(nameless.contains("SPIFFE ID"), "{nameless}");
    let twice = refused(broker.authority.issue(&[name[0], "spiffe://st-marys/broker"])).await;
    assert!(twice.contains("SPIFFE ID"), "{twice}");
    let mut unusable = broker.authority.issue(&name);
    unusable.key = broker.authority.issue(&name).key;
    assert!(refused(unusable).await.contains("our certificate with its private key"));
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let broker = Broker::start();
    let mut config = broker.mri();
    // A socket that does not answer.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    config.address = silent.local_addr().unwrap().to_string();
    assert!(matches!(Client::connect(config).await, Err(ConnectError::NoAnswer { .. })));
    let mut config = broker.mri();
    config.address = "not an address".into();
    assert!(matches!(Client::connect(config).await, Err(ConnectError::Address { .. })));
}
