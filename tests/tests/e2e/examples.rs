//! The example plugins in a broker: records as machines and systems send them go in over QUIC, and what should comes out.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use dicom_object::Tag;
use hilum_client::{
    Client, Delivery, DeliveryBody, PublishError, Publisher, Record, Subscription as Reading,
};
use hilum_core::Timestamp;
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_hospital::simulator::case::INSTITUTION;
use hilum_hospital::simulator::dicom::{self, DataSet, Value as Element};
use hilum_hospital::simulator::{Case, hl7, mr, telemetry, x12};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription, workspace};
use serde_json::{Value, json};

use crate::support::{CREDIT, body, done, name, next, nothing_comes, says};

/// The examples, and where their packages are.
const EXAMPLES: [&str; 5] =
    ["hl7-route", "fhir-observation", "dicom-morph", "dose-alert", "claim-duplicates"];
const DICOM: &str = "application/dicom";
/// X-Ray Radiation Dose SR Storage.
const DOSE_REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.67";

/// The component of each example, compiled once.
static COMPONENTS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let guests = hilum_plugin_build::Guests::new(workspace(), workspace().join("target/plugins"));
    let packages = EXAMPLES.map(|example| format!("hilum-{example}"));
    let packages = packages.each_ref().map(String::as_str);
    guests.build(&packages).unwrap_or_else(|error| panic!("{error}"))
});

/// A hospital of these flows, which has the examples' plugins, and secrets for those that keep something.
fn hospital(flows: &[Flow]) -> Hospital {
    let plugin = |example: &str| format!("[plugins.{example}]\npath = \"plugins/{example}.wasm\"\n");
    let secret = |name: &str| format!("[keys.{name}]\nkind = \"secret\"\nfile = \"keys/{name}\"\n");
    let plugins: String = EXAMPLES.into_iter().map(plugin).collect();
    let secrets: String = ["dose", "claims"].into_iter().map(secret).collect();
    let hospital = Hospital::with(&format!("\n{plugins}{secrets}"), flows);
    for (example, component) in EXAMPLES.iter().zip(COMPONENTS.iter()) {
        std::fs::copy(component, hospital.file(&format!("plugins/{example}.wasm"))).unwrap();
    }
    hospital
}

fn case(index: u64) -> Case {
    Case::new(5, index, Timestamp(1_790_000_000_000))
}

fn record(content_type: &str, octets: &[u8]) -> Record {
    Record::new(content_type, Bytes::copy_from_slice(octets))
}

/// Publishes octets the way that their number asks for.
async fn publish(publisher: &Publisher, content_type: &str, octets: &[u8]) -> Result<(), PublishError> {
    let record = record(content_type, octets);
    if octets.len() <= INLINE_BODY_OCTETS_MAX {
        publisher.publish(record).await?;
    } else {
        publisher.publish_large(record.head, octets.len() as u64, Cursor::new(octets)).await?;
    }
    Ok(())
}

async fn subscribe(client: &Client, flow: &str, subscription: &str) -> Reading {
    client.subscribe(&name(flow), &name(subscription), CREDIT).await.unwrap()
}

/// The octets of a delivery, which is acked.
async fn octets(delivery: Delivery) -> Vec<u8> {
    let mut read = Vec::new();
    match delivery.body() {
        DeliveryBody::Inline(octets) => read.extend_from_slice(octets),
        DeliveryBody::Large { .. } => {
            delivery.open_large(0).await.unwrap().write_to(&mut read).await.unwrap();
        }
    }
    delivery.ack();
    read
}

fn attribute(delivery: &Delivery, wanted: &str) -> Option<String> {
    let attributes = &delivery.head().attributes;
    attributes.iter().find(|attribute| attribute.name == wanted).map(|attribute| attribute.value.clone())
}

/// What stopped the records of a flow's quarantine, the oldest first: stage, code and reason.
fn stopped(hospital: &Hospital, broker: &Broker, flow: &str) -> Vec<[String; 3]> {
    let listed = done(hospital, broker, "operator", &format!("quarantine list {flow}"));
    let told = |entry: &Value| ["stage", "code", "reason"].map(|key| entry[key].as_str().unwrap().to_owned());
    listed.iter().map(told).collect()
}

/// Fails if anything that says who the patient is can be found.
#[track_caller]
fn names_nobody(case: &Case, text: &str) {
    let found = case.identifiers().into_iter().find(|identifier| text.contains(identifier.as_str()));
    assert_eq!(found, None, "is in {text}");
}

fn messages() -> Flow {
    let route = Stage::new("route", "hl7-route").with(
        r#"[ingress.config]
key = "visit"
rules = [
    { name = "results", when = { message = ["ORU^R01"], location = ["mri-*"] }, set = { route = "radiology" } },
    { name = "admissions", when = { message = ["ADT^*"], fields = [{ field = "PID-8", in = ["F", "M"] }] }, set = { route = "bed-board" } },
]"#,
    );
    Flow::new("messages")
        .ingress(route)
        .subscription(Subscription::all())
        .subscription(Subscription::new("radiology").with("filter = \"route = 'radiology'\""))
}

fn readings() -> Flow {
    let map = Stage::new("fhir", "fhir-observation").with(
        r#"[ingress.config]
device_system = "https://st-marys.example/machines"
identifier_system = "https://st-marys.example/readings"
[ingress.config.sensors]
helium-level = { code = { system = "https://st-marys.example/observations", code = "helium-level" }, unit = "%", ucum = "%", range = { low = 60 } }
cold-head-temperature = { code = { system = "https://st-marys.example/observations", code = "cold-head" }, unit = "K", ucum = "K", decimals = 1 }
vibration = { code = { system = "https://st-marys.example/observations", code = "vibration" }, ucum = "mm/s" }"#,
    );
    Flow::new("readings").ingress(map).subscription(Subscription::all())
}

fn images() -> Flow {
    let morph = Stage::new("morph", "dicom-morph").with(
        r#"[[ingress.config.rules]]
name = "simulator"
when = { principals = ["spiffe://test/device/scanner"], tags = [{ tag = "(0008,0060)", in = ["MR"] }] }
changes = [
    { action = "map", tag = "(0008,1030)", vr = "LO", from = "(0018,1030)", values = { "HEAD ROUTINE" = "MR Head" }, otherwise = "refuse" },
    { action = "add", tag = "(0008,1040)", vr = "LO", value = "Radiology" },
    { action = "remove", tag = "(0019,xx01,HILUM SIMULATOR 01)" },
]"#,
    );
    Flow::new("images").class("imaging").ingress(morph).subscription(Subscription::all())
}

#[tokio::test]
async fn messages_are_taken_apart_and_routed_and_what_is_malformed_is_kept() {
    let hospital = hospital(&[messages()]);
    let broker = Broker::start(hospital.path());
    let sender = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = sender.publisher(&name("messages")).await.unwrap();
    let case = case(0);
    let [admission, result, charge] = [hl7::admission(&case), hl7::result(&case), hl7::charge(&case)];
    let batch = |count: &str| {
        [b"BHS|^~\\&|HUB\r", &result[..], &charge, format!("BTS|{count}\r").as_bytes()].concat()
    };
    publish(&publisher, hl7::CONTENT_TYPE, &admission).await.unwrap();
    publish(&publisher, hl7::CONTENT_TYPE, &batch("2")).await.unwrap();
    let nameless = String::from_utf8(admission.clone()).unwrap();
    let nameless = nameless.replace(&format!("{}A|P", case.claim_number), "|P");
    for (octets, cause) in [
        (nameless.into_bytes(), "no-control-id: MSH-10, the message control identifier, is empty"),
        (batch("7"), "batch-count: BTS-1 in segment"),
        (mr::series(&case, 1, 64)[0].octets.clone(), "malformed: "),
    ] {
        let error = publish(&publisher, hl7::CONTENT_TYPE, &octets).await.unwrap_err().to_string();
        says(&error, &["refused by plugin", "stage `route`", cause]);
        names_nobody(&case, &error);
    }

    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut all = subscribe(&reader, "messages", "all").await;
    for (message, code, place, route) in [
        (&admission, "ADT", None, Some("bed-board")),
        (&result, "ORU", Some("1"), Some("radiology")),
        (&charge, "DFT", Some("2"), None),
    ] {
        let delivery = next(&mut all).await;
        assert_eq!(attribute(&delivery, "hl7-code").as_deref(), Some(code));
        assert_eq!(attribute(&delivery, "hl7-batch-place").as_deref(), place);
        assert_eq!(attribute(&delivery, "route").as_deref(), route);
        assert_eq!(delivery.head().key.as_deref(), Some(&case.visit_number[..]), "PV1-19 is its key");
        assert_eq!(&octets(delivery).await, message, "octet for octet");
    }
    nothing_comes(&mut all).await;
    let mut radiology = subscribe(&reader, "messages", "radiology").await;
    assert_eq!(octets(next(&mut radiology).await).await, result);
    nothing_comes(&mut radiology).await;

    let stopped = stopped(&hospital, &broker, "messages");
    let codes: Vec<_> = stopped.iter().map(|[stage, code, _]| (&stage[..], &code[..])).collect();
    assert_eq!(codes, [("route", "no-control-id"), ("route", "batch-count"), ("route", "malformed")]);
    says(&stopped[1][2], &["differs from the 2 messages there are"]);
    stopped.iter().for_each(|[_, _, reason]| names_nobody(&case, reason));
}

#[tokio::test]
async fn telemetry_becomes_observations_and_an_unknown_sensor_is_refused() {
    let hospital = hospital(&[readings()]);
    let broker = Broker::start(hospital.path());
    let sender = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = sender.publisher(&name("readings")).await.unwrap();
    let end = case(0).time;
    let machine = &telemetry::machine(3, 1, end)[0].octets;
    publish(&publisher, telemetry::CONTENT_TYPE, machine).await.unwrap();
    let room = &telemetry::room(3, 1, end)[0].octets;
    let error = publish(&publisher, telemetry::CONTENT_TYPE, room).await.unwrap_err().to_string();
    says(&error, &["stage `fhir`: unknown-sensor: reading 1 of the record: no code is configured for it"]);

    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut all = subscribe(&reader, "readings", "all").await;
    let sent: Value = serde_json::from_slice(machine).unwrap();
    for (reading, interpretation) in
        sent["readings"].as_array().unwrap().iter().zip([json!("N"), Value::Null, Value::Null])
    {
        let delivery = next(&mut all).await;
        assert_eq!(delivery.head().content_type, "application/fhir+json; fhirVersion=4.0");
        assert_eq!(delivery.head().key.as_deref(), Some("mri-1"), "the machine's readings stay in order");
        assert_eq!(attribute(&delivery, "sensor").as_deref(), reading["sensor"].as_str());
        let made: Value = serde_json::from_slice(&octets(delivery).await).unwrap();
        assert_eq!((&made["resourceType"], &made["status"]), (&json!("Observation"), &json!("final")));
        assert_eq!(made["device"]["reference"], "Device/mri-1");
        assert_eq!(made["interpretation"][0]["coding"][0]["code"], interpretation);
        let (value, measured) = (&made["valueQuantity"]["value"], reading["value"].as_f64().unwrap());
        assert!((value.as_f64().unwrap() - measured).abs() <= 0.05, "{value} of {reading}");
        assert_eq!(made["valueQuantity"]["unit"], reading["unit"]);
    }
    nothing_comes(&mut all).await;
    let [[stage, code, _]] = &stopped(&hospital, &broker, "readings")[..] else { panic!("one was stopped") };
    assert_eq!((&stage[..], &code[..]), ("fhir", "unknown-sensor"));
}

#[tokio::test]
async fn images_are_changed_by_rules_whatever_their_size_and_refused_where_no_rule_knows() {
    let hospital = hospital(&[images()]);
    let broker = Broker::start(hospital.path());
    let sender = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = sender.publisher(&name("images")).await.unwrap();
    let case = case(0);
    let (small, large) = (&mr::series(&case, 1, 64)[0].octets, &mr::series(&case, 1, 512)[0].octets);
    assert!(small.len() < INLINE_BODY_OCTETS_MAX && large.len() > INLINE_BODY_OCTETS_MAX);
    for image in [small, large] {
        publish(&publisher, DICOM, image).await.unwrap();
    }
    let mut knee = small.clone();
    let at = knee.windows(12).position(|window| window == b"HEAD ROUTINE").unwrap();
    knee[at..at + 4].copy_from_slice(b"KNEE");
    for (image, cause) in [
        (&knee[..], "unmapped: rule `simulator`: the value of (0018,1030) is not in the map"),
        (&large[..large.len() - 9], "truncated: "),
    ] {
        let error = publish(&publisher, DICOM, image).await.unwrap_err().to_string();
        says(&error, &["refused by plugin", "stage `morph`", cause]);
        names_nobody(&case, &error);
    }

    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut all = subscribe(&reader, "images", "all").await;
    for image in [small, large] {
        let made = octets(next(&mut all).await).await;
        let [read, sent] = [&made, image].map(|octets| dicom_object::from_reader(&octets[..]).unwrap());
        let text = |group, element| {
            let element = read.element(Tag(group, element)).unwrap();
            element.to_str().unwrap().trim_end().to_owned()
        };
        assert_eq!(text(0x0008, 0x1030), "MR Head");
        assert_eq!(text(0x0008, 0x1040), "Radiology");
        assert_eq!(text(0x0008, 0x0080), INSTITUTION, "no rule is about it");
        assert!(read.element(Tag(0x0019, 0x1001)).is_err(), "it was removed");
        let pixels = |of: &dicom_object::DefaultDicomObject| {
            of.element(Tag(0x7FE0, 0x0010)).unwrap().to_bytes().unwrap().into_owned()
        };
        assert!(pixels(&read) == pixels(&sent), "the pixels are the same");
    }
    nothing_comes(&mut all).await;
    let stopped = stopped(&hospital, &broker, "images");
    let codes: Vec<_> = stopped.iter().map(|[stage, code, _]| (&stage[..], &code[..])).collect();
    assert_eq!(codes, [("morph", "unmapped"), ("morph", "truncated")]);
}

/// A flow of alerts, which nobody publishes to.
fn alerts(flow: &str) -> Flow {
    Flow::new(flow).unpublished().subscription(Subscription::all())
}

/// The next alert of a flow, without anything that says whom it is about.
async fn alert(alerts: &mut Reading, kind: &str, about: &Case) -> Value {
    let delivery = next(alerts).await;
    assert_eq!(delivery.head().content_type, format!("application/vnd.hilum.{kind}+json"));
    names_nobody(about, &format!("{:?} {}", delivery.head(), body(&delivery)));
    serde_json::from_slice(&octets(delivery).await).unwrap()
}

#[tokio::test]
async fn a_dose_adds_up_over_a_crash_and_a_repetition_does_not_count() {
    let watch = Stage::new("dose", "dose-alert").with(
        r#"grants = ["log", "metrics", "state", "keys:dose", "emit:dose-alerts"]
config.alerts_flow = "dose-alerts"
config.key = "dose"
config.levels = [{ name = "ct-head", when = { procedures = ["C4:70450"] }, quantity = "dlp", limit = 1000 }]
config.cumulative = [{ name = "dlp-30-days", quantity = "dlp", limit = 2000, days = 30 }]"#,
    );
    let flows = [Flow::new("doses").class("imaging").ingress(watch), alerts("dose-alerts")];
    let hospital = hospital(&flows);
    let (one, other) = (case(0), case(1));
    let send = async |broker: &Broker, reports: &[(&Case, &str, &str)]| {
        let sender = hospital.connect(broker.address(), "scanner").await.unwrap();
        let publisher = sender.publisher(&name("doses")).await.unwrap();
        for (case, instance, dlp) in reports {
            publish(&publisher, DICOM, &dose_report(case, instance, dlp)).await.unwrap();
        }
        publisher.finish().await.unwrap();
    };
    let broker = Broker::start(hospital.path());
    send(&broker, &[(&one, "1.9.1", "800"), (&other, "1.9.2", "800"), (&one, "1.9.3", "800")]).await;
    broker.kill();

    let broker = Broker::start(hospital.path());
    // The second report of the first patient comes again, then the third; the other patient's second is over its level by itself.
    send(&broker, &[(&one, "1.9.3", "800"), (&one, "1.9.4", "800"), (&other, "1.9.5", "1100.5")]).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut told = subscribe(&reader, "dose-alerts", "all").await;
    let expected = json!({"kind": "cumulative", "level": "dlp-30-days", "quantity": "dlp", "unit": "mGy.cm",
        "dose": 2400.0, "limit": 2000.0, "days": 30, "examinations": 3, "procedures": ["C4:70450"]});
    assert_eq!(alert(&mut told, "dose-alert", &one).await, expected);
    let expected = json!({"kind": "examination", "level": "ct-head", "quantity": "dlp", "unit": "mGy.cm",
        "dose": 1100.5, "limit": 1000.0, "procedures": ["C4:70450"]});
    assert_eq!(alert(&mut told, "dose-alert", &other).await, expected);
    nothing_comes(&mut told).await;
    let values = done(&hospital, &broker, "steward", "plugin state export doses dose");
    assert_eq!(values.len(), 2, "one value for each patient");
    for value in &values {
        for case in [&one, &other] {
            names_nobody(case, &value.to_string());
        }
    }
}

/// A CT report (PS3.16 TID 10011) with its totals alone.
fn dose_report(case: &Case, instance: &str, dlp: &str) -> Vec<u8> {
    let code = |value: &str, scheme: &str| {
        let mut code = DataSet::new();
        code.text((0x0008, 0x0100), "SH", value).text((0x0008, 0x0102), "SH", scheme);
        Element::Sequence(vec![code])
    };
    let mut measured = DataSet::new();
    measured.set((0x0040, 0x08EA), code("mGy.cm", "UCUM")).text((0x0040, 0xA30A), "DS", dlp);
    let mut total = DataSet::new();
    total.text((0x0040, 0xA010), "CS", "CONTAINS").text((0x0040, 0xA040), "CS", "NUM");
    total.set((0x0040, 0xA043), code("113813", "DCM"));
    total.set((0x0040, 0xA300), Element::Sequence(vec![measured]));
    let mut totals = DataSet::new();
    totals.text((0x0040, 0xA010), "CS", "CONTAINS").text((0x0040, 0xA040), "CS", "CONTAINER");
    totals.set((0x0040, 0xA043), code("113811", "DCM"));
    totals.set((0x0040, 0xA730), Element::Sequence(vec![total]));
    let mut report = DataSet::new();
    report.uid((0x0008, 0x0016), DOSE_REPORT).uid((0x0008, 0x0018), instance);
    report.text((0x0008, 0x0060), "CS", "SR").set((0x0008, 0x1032), code("70450", "C4"));
    report.text((0x0010, 0x0010), "PN", format!("{}^{}", case.patient.family, case.patient.given));
    report.text((0x0010, 0x0020), "LO", case.patient.record_number.as_str());
    report.text((0x0010, 0x0021), "LO", INSTITUTION);
    report.text((0x0040, 0xA040), "CS", "CONTAINER");
    report.set((0x0040, 0xA730), Element::Sequence(vec![totals]));
    dicom::file(DOSE_REPORT, instance, &report)
}

#[tokio::test]
async fn a_claim_from_before_a_restart_is_found_again() {
    let find = Stage::new("duplicates", "claim-duplicates").with(
        r#"grants = ["log", "metrics", "state", "keys:claims", "emit:billing-alerts"]
config = { alerts_flow = "billing-alerts", key = "claims", window_days = 180 }"#,
    );
    let hospital = hospital(&[Flow::new("billing").ingress(find), alerts("billing-alerts")]);
    let (one, other) = (case(0), case(1));
    let send = async |broker: &Broker, claims: &[(&Case, u32)]| {
        let sender = hospital.connect(broker.address(), "scanner").await.unwrap();
        let publisher = sender.publisher(&name("billing")).await.unwrap();
        for (case, control) in claims {
            publish(&publisher, x12::CONTENT_TYPE, &x12::claim(case, *control)).await.unwrap();
        }
        publisher.finish().await.unwrap();
    };
    let broker = Broker::start(hospital.path());
    send(&broker, &[(&one, 42)]).await;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");

    let broker = Broker::start(hospital.path());
    send(&broker, &[(&other, 43), (&one, 44)]).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut told = subscribe(&reader, "billing-alerts", "all").await;
    let found = alert(&mut told, "claim-duplicates", &one).await;
    let [claim] = &found["claims"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&found["count"], &claim["times"]), (&json!(1), &json!(2)));
    assert_eq!((&claim["interchange"], &claim["transaction"]), (&json!("000000044"), &json!("0001")));
    nothing_comes(&mut told).await;
}
