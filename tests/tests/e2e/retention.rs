//! Retention of a running broker: space returns to the file system, and what an operator holds stays, also over a restart.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hilum_client::{Client, Record};
use hilum_tests::{Broker, Flow, Hospital};

use crate::support::{body, done, name, next, says, subscribe};

const MIB: u64 = 1 << 20;
/// Octets of a large body here.
const BODY_OCTETS: u64 = 2 * MIB;
/// What the flow may keep.
const KEEP_OCTETS: u64 = 8 * MIB;
/// Retention looks every few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn space_returns_and_what_is_held_stays_over_a_restart_until_it_is_released() {
    let limited = Flow::plain().table("[retention]\nmax_bytes = \"8MiB\"\nuntil_read = false");
    let hospital = Hospital::new(&[limited]);
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    publish(&scanner, "case-12", 1).await;
    let [hold] =
        &done(&hospital, &broker, "operator", "hold add records --record-key case-12 --note court")[..]
    else {
        panic!("not one line")
    };
    publish(&scanner, "other", 15).await;
    settles_at(hospital.path(), KEEP_OCTETS + BODY_OCTETS);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");

    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    publish(&scanner, "other", 8).await;
    settles_at(hospital.path(), KEEP_OCTETS + BODY_OCTETS);
    let deleted = done(&hospital, &broker, "operator", "audit --flow records --action deleted");
    assert!(!deleted.is_empty());
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let first = next(&mut subscription).await;
    assert_eq!((first.offset().0, first.head().key.as_deref()), (0, Some("case-12")), "it is still there");
    says(&body(&first), &["2097152 octets"]);
    first.ack();
    let second = next(&mut subscription).await;
    assert!(second.offset().0 > 16, "those between are gone");
    drop(second);
    subscription.close().await.unwrap();

    done(&hospital, &broker, "operator", &format!("hold remove records {}", hold["id"]));
    publish(&scanner, "other", 1).await;
    settles_at(hospital.path(), KEEP_OCTETS);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    assert!(!log.contains("case-12"), "{log}");
}

async fn publish(client: &Client, key: &str, bodies: u64) {
    let publisher = client.publisher(&name("records")).await.unwrap();
    let octets = vec![7; usize::try_from(BODY_OCTETS).unwrap()];
    for _ in 0..bodies {
        let head = Record::new("application/dicom", Bytes::new()).with_key(key).head;
        publisher.publish_large(head, BODY_OCTETS, Cursor::new(&octets)).await.unwrap();
    }
    publisher.finish().await.unwrap();
}

/// Waits until large bodies take no more than this of the disk.
#[track_caller]
fn settles_at(hospital: &Path, octets_max: u64) {
    let started = Instant::now();
    loop {
        let octets = octets_in(&hospital.join("data/blobs/committed"));
        // What stands around a body on disk is less than this.
        if octets <= octets_max + MIB / 16 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "large bodies take {octets} octets of the disk");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn octets_in(dir: &Path) -> u64 {
    // A file may go while it is looked at.
    let octets = |entry: fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
    fs::read_dir(dir).unwrap().map(|entry| octets(entry.unwrap())).sum()
}
