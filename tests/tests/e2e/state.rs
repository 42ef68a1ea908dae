//! What a plugin keeps, and what it emits, is exact: also where the broker is killed again and again while records come in.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hilum_client::{Record, Resume};
use hilum_core::record::ProducerId;
use hilum_tests::{Broker, Flow, Hospital, Stage};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{done, name, operate, said, says};

/// How often the broker is killed.
const KILLS: u64 = 4;
/// The plugin emits at each record whose number is a multiple of this.
const EVERY: u64 = 4;

fn hospital() -> Hospital {
    let tally = Stage::new("tally", "tally")
        .with("grants = [\"state\", \"emit:tallies\"]\nconfig.to = \"tallies\"\nlimits.state_keys = 2");
    let flows = [Flow::new("records").ingress(tally), Flow::new("tallies").unpublished()];
    let hospital = Hospital::with("\n[plugins.tally]\npath = \"plugins/tally.wasm\"\n", &flows);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guests = hilum_plugin_build::Guests::new(workspace.clone(), workspace.join("target/plugins"));
    let built = guests.build(&["hilum-guest-tally"]).unwrap_or_else(|error| panic!("{error}"));
    std::fs::copy(&built[0], hospital.file("plugins/tally.wasm")).unwrap();
    hospital
}

/// Publishes for so long, goes on after what is stored, and waits for nothing; or publishes a few more, and waits for all.
async fn publish(hospital: &Hospital, broker: &Broker, time: Option<Duration>) {
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let resume = Resume { producer: ProducerId([9; 16]), next_sequence: 1, known_since: None };
    let publisher = scanner.publisher_resuming(&name("records"), resume).await.unwrap();
    let first = publisher.last_sequence() + 1;
    drop(publisher);
    let resume = Resume { producer: ProducerId([9; 16]), next_sequence: first, known_since: None };
    let publisher = scanner.publisher_resuming(&name("records"), resume).await.unwrap();
    let record = |number: u64| Record::new("text/plain", Bytes::from(format!("record {number}")));
    match time {
        Some(time) => {
            let endless = async {
                for number in first.. {
                    drop(publisher.enqueue(record(number)).await.unwrap());
                }
            };
            assert!(timeout(time, endless).await.is_err(), "it is cut short");
        }
        None => {
            for number in first..first + 5 {
                publisher.publish(record(number)).await.unwrap();
            }
            publisher.finish().await.unwrap();
        }
    }
}

/// Where a flow ends.
fn end(hospital: &Hospital, broker: &Broker, flow: &str) -> u64 {
    let flows = done(hospital, broker, "operator", "flow list");
    flows.iter().find(|status| status["flow"] == flow).unwrap()["end"].as_u64().unwrap()
}

/// How the stage stands, when all that it emitted is where it goes.
fn status(hospital: &Hospital, broker: &Broker) -> Value {
    let started = Instant::now();
    loop {
        let listed = done(hospital, broker, "operator", "plugin state list");
        let [status] = &listed[..] else { panic!("{listed:?}") };
        if status["pending"] == 0 {
            return status.clone();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_exact_however_often_the_broker_is_killed() {
    let hospital = hospital();
    for kill in 0..KILLS {
        let broker = Broker::start(hospital.path());
        publish(&hospital, &broker, Some(Duration::from_millis(150 + 170 * kill))).await;
        broker.kill();
    }
    let broker = Broker::start(hospital.path());
    publish(&hospital, &broker, None).await;
    let (status, stored) = (status(&hospital, &broker), end(&hospital, &broker, "records"));
    assert!(stored > 5, "something was stored before the last start");
    assert_eq!((&status["flow"], &status["stage"]), (&"records".into(), &"tally".into()));
    assert_eq!(status["through"], stored);
    assert_eq!(status["emitted"], stored / EVERY);
    assert_eq!(end(&hospital, &broker, "tallies"), stored / EVERY, "each is there once");

    let values = done(&hospital, &broker, "steward", "plugin state export records tally");
    let seen = values.iter().find(|value| value["key"] == "seen").unwrap();
    let octets = STANDARD.decode(seen["value"].as_str().unwrap()).unwrap();
    assert_eq!(u64::from_be_bytes(octets[..8].try_into().unwrap()), stored, "each record is counted once");

    let file = hospital.file("tally.jsonl");
    let export = format!("plugin state export records tally --out {}", file.display());
    done(&hospital, &broker, "steward", &export);
    let exported = std::fs::read_to_string(&file).unwrap();
    let mut lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(lines.any(|line| line == *seen), "the file has the same");
    let refused = operate(&hospital, &broker, "operator", "plugin state export records tally");
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let nothing = operate(&hospital, &broker, "steward", "plugin state export records other");
    says(&said(&nothing), &["keeps nothing"]);
    let disclosed = done(&hospital, &broker, "operator", "audit --flow records --action disclosed");
    says(&disclosed[0].to_string(), &["what stage `tally` keeps", "service/steward"]);
}
