//! Developers at a live flow: records become files, and a candidate for a stage is compared on the flow's past, while nobody gets
//! anything of it.

use bytes::Bytes;
use hilum_client::Record;
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::json;

use crate::support::{Scene, done, name, nothing_comes, operate, printed, said, says, subscribe, take};

const CONTENT_TYPE: &str = "x-application/hl7-v2+er7";

fn message(patient: u32) -> String {
    format!(
        "MSH|^~\\&|RIS|C|H|C|20260901083000||ADT^A01^ADT_A01|{patient}|P|2.5.1\rPID|1||{patient}^^^C^MR||DOE^ANN\r"
    )
}

/// A flow with a reader who gets what is stored, and one who gets it de-identified. After one record of text there are three messages
/// in it.
async fn scene() -> Scene {
    let research = Subscription::new("research").purpose("HRESCH").egress(Stage::clean());
    let scene = Scene::new(&[Flow::plain().subscription(research)]).await;
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    for patient in 1..=3 {
        publisher.publish(Record::new(CONTENT_TYPE, Bytes::from(message(patient)))).await.unwrap();
    }
    publisher.finish().await.unwrap();
    scene
}

#[tokio::test]
async fn a_candidate_is_compared_on_what_is_stored_and_nobody_gets_anything() {
    let scene = scene().await;
    let (hospital, broker) = (&scene.hospital, &scene.broker);
    let candidate = hospital.file("plugins/deidentify.wasm");
    let replay =
        format!("plugin replay records all research/clean --wait 2 --candidate {}", candidate.display());
    let [found] = &done(hospital, broker, "reader", &replay)[..] else { panic!("not one line") };
    let counts = ["records", "same", "stopped_before", "candidate_failed"].map(|of| found[of].as_u64());
    // The first record is no message: both versions refuse it alike.
    assert_eq!(counts, [Some(4), Some(4), Some(0), Some(0)], "{found}");
    assert_eq!((&found["different"], &found["current"]), (&json!([]), &found["candidate"]));

    let through_itself = replay.replace("records all", "records research");
    let refused = operate(hospital, broker, "reader", &through_itself);
    assert_eq!(refused.status.code(), Some(1));
    says(&said(&refused), &["its stage `clean` makes, not what is stored", "help: "]);
    let other = replay.replace("deidentify.wasm", "encrypt.wasm");
    let other = operate(hospital, broker, "reader", &other);
    assert_eq!(other.status.code(), Some(1));
    says(&said(&other), &["the candidate", "add the grant `random` to the stage"]);
    let denied = operate(hospital, broker, "scanner", &replay);
    assert_eq!(denied.status.code(), Some(3), "{}", said(&denied));

    let reader = scene.connect("reader").await;
    let mut all = subscribe(&reader).await;
    let messages = [1, 2, 3].map(message);
    let expected = ["before", &messages[0], &messages[1], &messages[2]];
    assert_eq!(take(&mut all, 4).await, expected, "what was read for a comparison comes again");
    nothing_comes(&mut all).await;
}

/// For an ingress stage what the chain made stands in for what it saw, and that is said; what it stopped is there as it came in.
#[tokio::test]
async fn what_an_ingress_chain_stopped_is_compared_as_it_came_in() {
    let flow = Flow::plain().ingress(Stage::open("check")).ingress(Stage::clean());
    let hospital = Hospital::new(&[flow]);
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    publisher.publish(Record::new(CONTENT_TYPE, Bytes::from(message(1)))).await.unwrap();
    for body in ["no message", "none either"] {
        let refused = publisher.publish(Record::new(CONTENT_TYPE, Bytes::from(body))).await.unwrap_err();
        says(&refused.to_string(), &["stage `clean`"]);
    }
    let candidate = hospital.file("plugins/deidentify.wasm");
    let replay =
        |rest: &str| format!("plugin replay records {rest} --wait 2 --candidate {}", candidate.display());
    let stored = &done(&hospital, &broker, "reader", &replay("all ingress/clean"))[0];
    assert_eq!(
        (&stored["input"], &stored["records"]),
        (&json!("made-by-ingress-chain"), &json!(1)),
        "{stored}"
    );
    let plain = operate(&hospital, &broker, "reader", &replay("all ingress/clean"));
    says(
        &printed(&plain),
        &["input      what the ingress chain made of records, not what the stage saw", "--quarantine"],
    );

    let stopped = replay("ingress/clean --quarantine");
    let found = &done(&hospital, &broker, "steward", &stopped)[0];
    let counts = ["records", "same", "stopped_before"].map(|of| found[of].as_u64());
    assert_eq!(counts, [Some(2), Some(2), Some(0)], "{found}");
    assert_eq!(
        (&found["input"], &found["different"]),
        (&json!("quarantined-at-ingress"), &json!([])),
        "{found}"
    );
    let rest = &done(&hospital, &broker, "steward", &format!("{stopped} --from 1"))[0];
    assert_eq!(rest["records"], 1, "{rest}");
    // What a stage before it would stop does not come to it.
    let closed = Stage::closed("check");
    let flow = Flow::plain().ingress(closed).ingress(Stage::clean());
    std::fs::write(hospital.file("flows/0.toml"), flow.to_string()).unwrap();
    let found = &done(&hospital, &broker, "steward", &stopped)[0];
    assert_eq!((&found["records"], &found["stopped_before"]), (&json!(2), &json!(2)), "{found}");

    // Each record is in the audit, and who may not see bodies sees none.
    let disclosed = done(&hospital, &broker, "operator", "audit --action disclosed");
    says(disclosed[0]["reason"].as_str().unwrap(), &["quarantine record 0", "replayed on a candidate"]);
    let denied = operate(&hospital, &broker, "operator", &stopped);
    assert_eq!(denied.status.code(), Some(3), "{}", said(&denied));
    says(&said(&denied), &["`bodies`"]);
    let both = operate(&hospital, &broker, "steward", &replay("all ingress/clean --quarantine"));
    assert_eq!(both.status.code(), Some(2), "{}", said(&both));
}

#[tokio::test]
async fn records_of_a_flow_become_files_once() {
    let scene = scene().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("records");
    let record = format!("plugin record records all --wait 2 --count 2 --out {}", out.display());
    let recorded = operate(&scene.hospital, &scene.broker, "reader", &record);
    assert_eq!(recorded.status.code(), Some(0), "{}", said(&recorded));
    says(&said(&recorded), &["warning: ", "may identify patients"]);
    says(&printed(&recorded), &["2 records in "]);
    assert_eq!(std::fs::read(out.join("000000000001.body")).unwrap(), message(1).into_bytes());
    says(
        &std::fs::read_to_string(out.join("000000000001.toml")).unwrap(),
        &[CONTENT_TYPE, "labels = [\"phi\"]"],
    );
    let again = operate(&scene.hospital, &scene.broker, "reader", &record);
    assert_eq!(again.status.code(), Some(1));
    says(&said(&again), &["000000000000.toml"]);
}
