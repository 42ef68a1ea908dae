//! A flipped bit in what was stored long ago: the flow serves what is before it and nothing behind, takes nothing, and says why;
//! other flows go on; an operator finds and repairs it.

use std::fs;
use std::path::PathBuf;

use hilum_tests::{Broker, Flow, Hospital, Subscription, hilum};

use crate::support::{CREDIT, body, name, nothing_comes, publish, says, subscribe, take, text};

#[tokio::test]
async fn a_bit_that_flipped_in_an_older_segment_stops_its_flow_there_and_no_other() {
    let hospital = Hospital::new(&[Flow::plain(), Flow::new("others").subscription(Subscription::all())]);
    // Each life of the broker begins a segment.
    for life in [["a0", "a1", "a2", "a3", "a4", "a5"].as_slice(), &["b0"]] {
        let broker = Broker::start(hospital.path());
        publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), life).await;
        assert!(broker.stop().0);
    }
    flip_in_the_middle(&segments(&hospital)[0]);
    // Without it the broker reads all of each log when it starts, and so comes upon the damage.
    fs::remove_dir_all(hospital.file("data/meta")).unwrap();

    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let error = publisher.publish(text("refused")).await.unwrap_err();
    says(&error.to_string(), &["unavailable", "log `flow.records` is damaged from offset", "repaired"]);
    let others = scanner.publisher(&name("others")).await.unwrap();
    others.publish(text("goes on")).await.unwrap();
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut undisturbed = reader.subscribe(&name("others"), &name("all"), CREDIT).await.unwrap();
    assert_eq!(take(&mut undisturbed, 1).await, ["goes on"]);
    let read = read_to_the_damage(&reader).await;
    assert!((1..6).contains(&read.len()), "{read:?}");
    assert_eq!(read, ["a0", "a1", "a2", "a3", "a4", "a5"][..read.len()]);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    says(&log, &["serves what is before the damage", "flow.records"]);

    let first = read.len().to_string();
    let verified = hilum(["log".as_ref(), "verify".as_ref(), hospital.path().as_os_str()]);
    let said =
        String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
    assert_eq!(verified.status.code(), Some(1), "{said}");
    says(&said, &["flow.records", &first]);
    let repair = ["log", "repair", hospital.path().to_str().unwrap(), "--flow", "records", "--accept-loss"];
    let repaired = hilum(repair);
    assert!(repaired.status.success(), "{}", String::from_utf8_lossy(&repaired.stderr));

    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["after"]).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let rest = take(&mut subscription, 5 - read.len() + 2).await;
    assert_eq!(rest[rest.len() - 2..], ["b0", "after"], "one record is lost: {rest:?}");
    nothing_comes(&mut subscription).await;
}

/// Reads and acks what there is, until the broker says that it is damaged from there on.
async fn read_to_the_damage(reader: &hilum_client::Client) -> Vec<String> {
    let mut subscription = subscribe(reader).await;
    let mut read = Vec::new();
    loop {
        match subscription.next().await {
            Ok(Some(delivery)) => {
                read.push(body(&delivery));
                delivery.ack();
            }
            Ok(None) => panic!("the stream ends without a word after {read:?}"),
            Err(error) => {
                says(
                    &error.to_string(),
                    &["log `flow.records` is damaged from offset", &read.len().to_string()],
                );
                return read;
            }
        }
    }
}

/// The segments of flow `records`, the oldest first.
fn segments(hospital: &Hospital) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(hospital.file("data/log/flow.records"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    assert!(found.len() >= 2, "{found:?}");
    found
}

/// Flips a bit of the fourth frame that holds entries: between frames there may be marks, which hold nothing that could be lost.
fn flip_in_the_middle(path: &PathBuf) {
    const ENTRIES: &[u8] = b"HFRM\0\0\0\0";
    const HEADER_OCTETS: usize = 56;
    let mut octets = fs::read(path).unwrap();
    let mut frames = octets.windows(ENTRIES.len()).enumerate().filter(|(_, octets)| *octets == ENTRIES);
    let (fourth, _) = frames.nth(3).expect("a frame for each record");
    octets[fourth + HEADER_OCTETS] ^= 0x10;
    fs::write(path, octets).unwrap();
}
