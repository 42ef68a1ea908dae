//! An identifier of a patient, planted wherever a publisher can put one, is nowhere in the open: not in a file of the
//! store, not in the log at its most talkative, not in what a refusal says.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hilum_client::{Client, Record};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};

use crate::support::{CREDIT, body, name, next, says, subscribe};

/// As a name and as a number, so that no field is too choosy for it.
pub(crate) const CANARIES: [&str; 2] = ["ZEBEDIAHCANARY", "7731900442"];

/// Everything at its most talkative, but for the compiler of the plugins, which writes a hundred thousand lines.
const LOG: &str = "debug,cranelift_codegen=info,wasmtime_internal_cranelift=info";

#[tokio::test]
async fn a_planted_identifier_is_nowhere_in_the_open() {
    let hospital = Hospital::new(&flows());
    let broker = Broker::start_with(hospital.path(), &[("RUST_LOG", LOG)]);
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let mut errors = plant(&scanner).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    errors.push(read(&reader).await);
    assert_clean("the data of a running broker", &files(&hospital.file("data")));
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    let files = files(&hospital.file("data"));
    assert_clean("the data", &files);
    assert!(
        files.iter().map(|(_, octets)| octets.len()).sum::<usize>() > 500_000,
        "what was published is there"
    );
    says(&log, &["DEBUG", "flow=messages", "flow=closed", "records went to quarantine"]);
    assert_clean("the log", &[("log".into(), log.into_bytes())]);
    assert_clean("an error", &[("errors".into(), errors.join("\n").into_bytes())]);
    // A search that finds nothing proves nothing until it is seen to find something.
    assert!(found(&[("it".into(), b"... ZEBEDIAHCANARY ...".to_vec())]).is_some());
}

/// Flow `messages` is cleaned before it is stored, `closed` refuses everything by a rule that looks at an attribute, `watched`
/// keeps state about a machine and a sensor that are named after the patient and emits to `alerts`.
fn flows() -> [Flow; 5] {
    let closed = Stage::closed("check");
    let watch = Stage::new("watch", "analytics").with(
        r#"
grants = ["log", "metrics", "state", "emit:alerts"]
config.alerts_flow = "alerts"
config.watch = [{ sensor = "ZEBEDIAHCANARY", unit = "%", below = 60 }]"#,
    );
    let for_research = Subscription::all().purpose("HRESCH");
    [
        Flow::plain(),
        Flow::new("messages").class("messages").ingress(Stage::clean()).subscription(for_research),
        Flow::new("closed").ingress(closed).subscription(Subscription::all()),
        Flow::new("watched").ingress(watch).subscription(Subscription::all()),
        Flow::new("alerts").unpublished().subscription(Subscription::all()),
    ]
}

/// Publishes to every flow, with the identifier in key, attribute and body; gives what was refused.
async fn plant(scanner: &Client) -> Vec<String> {
    let [patient, number] = CANARIES;
    let mut errors = Vec::new();
    let records = scanner.publisher(&name("records")).await.unwrap();
    records.publish(planted("x-application/hl7-v2+er7", message())).await.unwrap();
    let large = format!("{patient} {number} ").repeat(20_000).into_bytes();
    let head = planted("text/plain", String::new()).head;
    records.publish_large(head, large.len() as u64, Cursor::new(&large)).await.unwrap();
    let messages = scanner.publisher(&name("messages")).await.unwrap();
    messages.publish(planted("x-application/hl7-v2+er7", message())).await.unwrap();
    for broken in [message().replace("PID|", "PXD|"), message()[4..].to_owned(), patient.into()] {
        let refused = messages.publish(planted("x-application/hl7-v2+er7", broken)).await;
        errors.push(refused.unwrap_err().to_string());
    }
    let refused = messages.publish(planted(&format!("application/{patient}"), message())).await;
    errors.push(refused.unwrap_err().to_string());
    let refused = messages.publish_large(
        planted("application/dicom", String::new()).head,
        large.len() as u64,
        Cursor::new(&large),
    );
    errors.push(refused.await.unwrap_err().to_string());
    let closed = scanner.publisher(&name("closed")).await.unwrap();
    errors.push(closed.publish(planted("text/plain", message())).await.unwrap_err().to_string());
    let watched = scanner.publisher(&name("watched")).await.unwrap();
    let reading = format!(
        r#"{{"machine": "{patient}", "readings": [{{"sensor": "{patient}", "unit": "%", "value": 55.5}}]}}"#
    );
    watched.publish(planted("application/vnd.hilum.telemetry+json", reading)).await.unwrap();
    let too_long = planted("text/plain", String::new()).with_attribute("long", &patient.repeat(200));
    errors.push(records.publish(too_long).await.unwrap_err().to_string());
    errors
}

/// Reads what may be read: the original is whole, the cleaned message is clean. Gives what went wrong on purpose.
async fn read(reader: &Client) -> String {
    let mut all = subscribe(reader).await;
    let original = next(&mut all).await;
    assert_eq!(body(&original), message());
    assert_eq!(original.head().key.as_deref(), Some(CANARIES[1]));
    let inline = original.open_large(0).await.unwrap_err();
    original.ack();
    next(&mut all).await.ack();
    all.close().await.unwrap();
    let mut cleaned = reader.subscribe(&name("messages"), &name("all"), CREDIT).await.unwrap();
    let delivery = next(&mut cleaned).await;
    assert!(body(&delivery).starts_with("MSH|"), "{}", body(&delivery));
    let seen = format!("{:?} {}", delivery.head(), body(&delivery));
    assert_clean("a de-identified message", &[("delivery".into(), seen.into_bytes())]);
    inline.to_string()
}

fn planted(content_type: &str, body: String) -> Record {
    let [patient, number] = CANARIES;
    let record = Record::new(content_type, Bytes::from(body)).with_key(number);
    record.with_attribute("patient", patient).with_attribute("purpose", number)
}

/// An admission (HL7v2, ADT^A01).
pub(crate) fn message() -> String {
    let [patient, number] = CANARIES;
    [
        "MSH|^~\\&|RIS|CLINIC|HILUM|CLINIC|20260901083000||ADT^A01^ADT_A01|1|P|2.5.1".to_owned(),
        "EVN||20260901083000".to_owned(),
        format!("PID|1||{number}^^^CLINIC^MR||{patient}^ANN||19700101|F|||1 {patient} ST^^TOWN||{number}"),
        format!("PV1|1|I|||||||||||||||||{number}"),
    ]
    .join("\r")
        + "\r"
}

#[track_caller]
pub(crate) fn assert_clean(what: &str, files: &[(PathBuf, Vec<u8>)]) {
    if let Some((path, position)) = found(files) {
        panic!("{what}: a planted identifier is in {} at octet {position}", path.display());
    }
}

/// The first place with a planted identifier, in a file or in its name.
fn found(files: &[(PathBuf, Vec<u8>)]) -> Option<(PathBuf, usize)> {
    files.iter().find_map(|(path, octets)| {
        let mut places = CANARIES.iter().filter_map(|canary| {
            let named = path.to_string_lossy().contains(canary).then_some(0);
            named.or_else(|| octets.windows(canary.len()).position(|window| window == canary.as_bytes()))
        });
        places.next().map(|position| (path.clone(), position))
    })
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        // What is only linked, tests share: compiled plugins, which were there before any patient.
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&path));
        } else if let Ok(octets) = fs::read(&path) {
            // Of a running broker, a file may be gone by now.
            all.push((path, octets));
        }
    }
    all
}
