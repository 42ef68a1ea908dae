//! What goes in comes out: once, in order, and until it is acked.

use std::io::Cursor;

use bytes::Bytes;
use hilum_client::{DeliveryBody, Digest, ReadError, Record, RefusalCode, StreamError};
use hilum_tests::{Broker, Hospital};

use crate::support::{body, name, next, nothing_comes, publish, says, subscribe, take};

/// Over the limit of what travels in a record, and no multiple of a chunk.
const LARGE_OCTETS: usize = 5_000_003;

#[tokio::test]
async fn acked_is_settled_and_what_is_not_comes_again_after_a_restart() {
    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["one", "two", "three"]).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let first = next(&mut subscription).await;
    assert_eq!((body(&first), first.offset().0, first.part()), ("one".to_owned(), 0, (0, 1)));
    assert_eq!(first.head().labels, [name("phi")], "the flow's label, which no publisher sets");
    first.ack();
    let second = next(&mut subscription).await;
    let third = next(&mut subscription).await;
    assert_eq!(body(&third), "three");
    third.ack();
    drop(second);
    subscription.close().await.unwrap();
    drop(reader);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");

    let broker = Broker::start(hospital.path());
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    assert_eq!(subscription.cursor().0, 1, "the lowest that is not acked");
    assert_eq!(take(&mut subscription, 1).await, ["two"], "what was acked beyond it does not come again");
    subscription.close().await.unwrap();
    let mut subscription = subscribe(&reader).await;
    nothing_comes(&mut subscription).await;
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["four"]).await;
    assert_eq!(take(&mut subscription, 1).await, ["four"]);
}

#[tokio::test]
async fn a_large_body_comes_out_as_it_went_in_also_after_a_restart() {
    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    let octets: Vec<u8> = (0..LARGE_OCTETS).map(|n| u8::try_from(n % 65_537 % 251).unwrap()).collect();
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let head = Record::new("application/octet-stream", Bytes::new()).with_key("study").head;
    publisher.publish_large(head, LARGE_OCTETS as u64, Cursor::new(&octets)).await.unwrap();
    comes_out(&hospital, &broker, &octets).await;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    comes_out(&hospital, &Broker::start(hospital.path()), &octets).await;
}

/// Reads the one record without an ack: as a whole, and from near its end on.
async fn comes_out(hospital: &Hospital, broker: &Broker, octets: &[u8]) {
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.head().key.as_deref(), Some("study"));
    let DeliveryBody::Large { size, digest } = *delivery.body() else { panic!("{delivery:?}") };
    assert_eq!((size, digest), (octets.len() as u64, Digest::of(octets)));
    for from in [0, octets.len() - 1000] {
        let mut read = Vec::new();
        delivery.open_large(from as u64).await.unwrap().write_to(&mut read).await.unwrap();
        assert!(read == octets[from..], "from octet {from} on it is another body");
    }
}

#[tokio::test]
async fn a_new_reader_takes_the_place_of_the_first_who_hears_why() {
    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["one", "two"]).await;
    let first = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut of_first = subscribe(&first).await;
    next(&mut of_first).await.ack();
    next(&mut of_first).await;

    let second = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut of_second = subscribe(&second).await;
    let ended = of_first.next().await.unwrap_err();
    says(&ended.to_string(), &["subscription `all` of flow `records`", "busy", "another reader took"]);
    let ReadError::Stream { source: StreamError::Refused(refusal), .. } = ended else { panic!("{ended:?}") };
    assert_eq!((refusal.code, refusal.retryable), (RefusalCode::Busy, true));
    assert_eq!(take(&mut of_second, 1).await, ["two"], "the first reader's ack counts, and only that");
}
