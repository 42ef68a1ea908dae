//! A disk that is full: nothing is acked that is not safe, nothing that was acked is lost, and the broker goes on when
//! there is room.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use hilum_client::{PublishError, Record, RefusalCode};
use hilum_tests::{Broker, Hospital};

use crate::support::{name, next, nothing_comes, publish, says, subscribe};

const DISK_OCTETS: u64 = 8 << 20;
const BALLAST_OCTETS: usize = 2 << 20;
const BODY_OCTETS: usize = 100_000;

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let hospital = Hospital::plain();
    let broker = Broker::start_on_small_disk(hospital.path(), DISK_OCTETS);
    let ballast = on_its_disk(&broker, &hospital.file("data/ballast"));
    fs::write(&ballast, vec![0; BALLAST_OCTETS]).unwrap();
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let mut acked = 0_u8;
    let error = loop {
        match publisher.publish(record(acked)).await {
            Ok(_) => acked += 1,
            Err(error) => break error,
        }
        assert!(u64::from(acked) * (BODY_OCTETS as u64) < DISK_OCTETS, "the disk never fills");
    };
    assert!(acked > 10, "{acked}: {error}");
    says(&error.to_string(), &["flow `records`", "unavailable", "could not be stored", "disk is full"]);
    let PublishError::Refused { refusal, .. } = &error else { panic!("{error:?}") };
    assert_eq!((refusal.code, refusal.retryable), (RefusalCode::Unavailable, true));
    drop(publisher);

    // A large body does not fit either, and leaves nothing behind.
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let large = vec![0; 4 << 20];
    let head = record(0).head;
    let error =
        publisher.publish_large(head, large.len() as u64, std::io::Cursor::new(&large)).await.unwrap_err();
    says(&error.to_string(), &["unavailable", "the body could not be stored"]);

    // With room again, everything goes on where it was.
    fs::remove_file(&ballast).unwrap();
    publish(&scanner, &["after"]).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    for n in 0..acked {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.offset().0, u64::from(n));
        assert_eq!(*delivery.body(), hilum_client::DeliveryBody::Inline(record(n).body));
        delivery.ack();
    }
    assert_eq!(crate::support::take(&mut subscription, 1).await, ["after"]);
    nothing_comes(&mut subscription).await;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    says(&log, &["an append failed; its publishers were told to retry", "No space left"]);
}

fn record(n: u8) -> Record {
    let mut record = Record::new("application/octet-stream", Bytes::from(vec![n; BODY_OCTETS]));
    record.head.key = Some(n.to_string());
    record
}

/// A path as the broker's process sees it, whose `data/` is mounted for it alone.
fn on_its_disk(broker: &Broker, path: &std::path::Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", broker.id(), path.display()))
}
