//! Bodies that are encrypted end to end: who can open them, from when on nobody can, and how much memory a long one takes.

use std::fs;
use std::time::{Duration, SystemTime};

use hilum_client::sealed::{
    SealedError, bound_attributes, has_sealed_fields, is_sealed, open_fields, open_sealed,
};
use hilum_client::{Attribute, Delivery, DeliveryBody, Record, Timestamp};
use hilum_core::cose::{OpenError, PrivateKey};
use hilum_core::jose::JweError;
use hilum_server::config::Directory;
use hilum_server::provision::{Request, Usage, Validity, read_authority};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription, hilum};

use crate::large::{MEMORY_OCTETS, memory, most_memory};
use crate::support::{body, done, name, next, nothing_comes, publish, said, says, subscribe};

const DEPUTY: &str =
    "\n[principals.deputy]\npath = \"service/deputy\"\nstakeholder = \"ward\"\nzone = \"clinic\"\n";
const DAY: Duration = Duration::from_secs(86_400);

/// Flow `records`, encrypted to all of stakeholder `ward` on its way out.
fn sealed() -> Flow {
    let stage = Stage::new("seal", "encrypt");
    let stage = stage.with("grants = [\"random\", \"recipient:ward\"]\nconfig = { recipients = [\"ward\"] }");
    Flow::new("records").subscription(Subscription::all().egress(stage))
}

struct Scene {
    hospital: Hospital,
    broker: Broker,
}

impl Scene {
    fn key(&self, identity: &str) -> PrivateKey {
        PrivateKey::from_pem(&self.read(&format!("identities/{identity}/key.pem"))).unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.hospital.file(file)).unwrap()
    }

    /// Gives an identity another key, with a certificate that is valid for a day from then on.
    fn renew(&self, identity: &str, from: SystemTime) {
        let directory = Directory::new(self.hospital.path());
        let id = format!("spiffe://test/service/{identity}").parse().unwrap();
        let request = Request { id: &id, usage: Usage::Client, validity: Validity::days(from, 1) };
        let issued = read_authority(&directory.authority()).unwrap().issue(&request).unwrap();
        let files = directory.identity(identity);
        fs::write(files.certificate, issued.certificate_pem).unwrap();
        fs::write(files.key, issued.key_pem.as_bytes()).unwrap();
    }

    /// What the broker says that changes.
    #[track_caller]
    fn reload(&self) -> String {
        let dir = self.hospital.path().to_str().unwrap();
        let output = hilum(["reload", dir, "--as", "operator", "--address", self.broker.address(), "--yes"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn opened(key: &PrivateKey, delivery: &Delivery) -> Result<Vec<u8>, SealedError> {
    let DeliveryBody::Inline(octets) = delivery.body() else { panic!("{delivery:?}") };
    assert!(is_sealed(delivery.head()));
    Ok(open_sealed(key, &name("records"), delivery.head(), octets)?.body)
}

#[track_caller]
fn is_not_for(key: &PrivateKey, delivery: &Delivery) {
    let error = opened(key, delivery).unwrap_err();
    assert!(matches!(error, SealedError::Open(OpenError::NotARecipient)), "{error}");
}

#[tokio::test]
async fn who_is_revoked_renewed_or_expired_is_sealed_to_accordingly_from_the_reload_on() {
    let hospital = Hospital::with(DEPUTY, &[sealed()]);
    let broker = Broker::start(hospital.path());
    let scene = Scene { hospital, broker };
    let scanner = scene.hospital.connect(scene.broker.address(), "scanner").await.unwrap();
    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let (ours, deputys) = (scene.key("reader"), scene.key("deputy"));

    publish(&scanner, &["one"]).await;
    let one = next(&mut subscription).await;
    assert_eq!((opened(&ours, &one).unwrap(), opened(&deputys, &one).unwrap()), ("one".into(), "one".into()));
    one.ack();

    // Revoked: taken out of the configuration.
    let main = scene.read("hilum.toml");
    fs::write(scene.hospital.file("hilum.toml"), main.replace(DEPUTY, "")).unwrap();
    says(&scene.reload(), &["- principals.deputy.path"]);
    publish(&scanner, &["two"]).await;
    let two = next(&mut subscription).await;
    assert_eq!(opened(&ours, &two).unwrap(), b"two");
    is_not_for(&deputys, &two);
    two.ack();

    // Renewed: another key and certificate in its folder. The connection, made with the old ones, stays.
    scene.renew("reader", SystemTime::now());
    says(&scene.reload(), &["identities.reader.certificate"]);
    publish(&scanner, &["three"]).await;
    let three = next(&mut subscription).await;
    assert_eq!(opened(&scene.key("reader"), &three).unwrap(), b"three");
    is_not_for(&ours, &three);
    three.ack();

    // Nobody is left who could open: nothing comes, and nothing in the clear.
    for from in [SystemTime::now() - 3 * DAY, SystemTime::now() + 3 * DAY] {
        scene.renew("reader", from);
        scene.reload();
        publish(&scanner, &["four"]).await;
        nothing_comes(&mut subscription).await;
    }
    says(&scene.broker.log(), &["a recipient's certificate is not valid now"]);
    subscription.close().await.unwrap();
}

#[tokio::test]
async fn a_body_opens_in_no_record_but_its_own() {
    let config = "recipients = [\"ward\"], keep_key = true, keep_attributes = [\"unit\"], keep_source = true";
    let stage = Stage::new("seal", "encrypt")
        .with(&format!("grants = [\"random\", \"recipient:ward\"]\nconfig = {{ {config} }}"));
    // Sealed before it is stored: what readers get is what lies there.
    let hospital = Hospital::new(&[Flow::new("records").ingress(stage).subscription(Subscription::all())]);
    let broker = Broker::start(hospital.path());
    let scene = Scene { hospital, broker };
    let scanner = scene.hospital.connect(scene.broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    for (body, unit) in [("one", "mri-1"), ("two", "mri-2")] {
        let record = Record::new("text/plain", body.into()).with_key("4711").with_attribute("unit", unit);
        let mut record = record.with_attribute("record-id", "00").with_attribute("patient", "4711");
        record.head.time = Timestamp(1_790_000_000_000);
        publisher.publish(record).await.unwrap();
    }
    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let mut sealed = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut subscription).await;
        let DeliveryBody::Inline(octets) = delivery.body() else { panic!("{delivery:?}") };
        sealed.push((delivery.head().clone(), octets.clone()));
        delivery.ack();
    }
    subscription.close().await.unwrap();

    let key = scene.key("reader");
    let open = |head: &_, octets: &[u8]| {
        let opened = open_sealed(&key, &name("records"), head, octets).map(|opened| opened.body);
        opened.map_err(|error| {
            assert!(
                matches!(error, SealedError::Open(OpenError::NotAuthentic) | SealedError::Bound(_)),
                "{error}"
            );
        })
    };
    let [(first, one), (second, two)] = &sealed[..] else { panic!("two records") };
    assert_eq!((open(first, one).unwrap(), open(second, two).unwrap()), (b"one".to_vec(), b"two".to_vec()));
    open(first, two).unwrap_err();
    open(second, one).unwrap_err();
    let names: Vec<_> = first.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
    assert_eq!(names, ["original-content-type", "unit", "record-source", "record-id"]);
    assert_eq!(first.attributes[2].value, "spiffe://test/device/scanner");
    // Whatever of the head is taken from the other record, or taken out, it opens no more.
    for at in 1..4 {
        let (mut exchanged, mut without) = (first.clone(), first.clone());
        exchanged.attributes[at].value = format!("{}0", second.attributes[at].value);
        without.attributes.remove(at);
        open(&exchanged, one).unwrap_err();
        open(&without, one).unwrap_err();
    }
    let mut keyless = first.clone();
    keyless.key = None;
    open(&keyless, one).unwrap_err();
    // What a later stage says behind the id is no part of it.
    let mut later = first.clone();
    later.attributes.push(Attribute { name: "unit".into(), value: "mri-3".into() });
    assert_eq!(open(&later, one).unwrap(), b"one");
    assert_eq!(bound_attributes(&later).unwrap(), first.attributes);
}

#[test]
fn a_body_of_any_size_is_sealed_and_opened_in_the_same_memory() {
    const SMALL: u64 = 600_000;
    const LARGE: u64 = 400 << 20;
    let hospital = Hospital::new(&[sealed()]);
    let broker = Broker::start(hospital.path());
    let dir = hospital.path().to_str().unwrap().to_owned();
    let file = hospital.file("body");
    let out = hospital.file("out");
    let connection = |identity: &'static str| {
        ["--dir", &dir, "--address", broker.address(), "--as", identity].map(String::from)
    };
    let run = |command: &str, identity: &'static str, rest: &[&str]| {
        let arguments: Vec<String> = [command.to_owned()]
            .into_iter()
            .chain(connection(identity))
            .chain(rest.iter().map(|text| (*text).to_owned()))
            .collect();
        most_memory(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let through = |octets: u64| {
        fs::File::create(&file).unwrap().set_len(octets).unwrap();
        run("publish", "scanner", &["--content-type", "image/x", "records", file.to_str().unwrap()]);
        let rest = ["--open", "--out", out.to_str().unwrap(), "--count", "1", "records", "all"];
        let most = run("subscribe", "reader", &rest);
        let opened: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(opened.len(), 1, "{opened:?}");
        assert!(fs::metadata(&opened[0]).unwrap().len() == octets);
        let first = fs::read(&opened[0]).unwrap();
        assert!(first.iter().all(|octet| *octet == 0));
        fs::remove_file(&opened[0]).unwrap();
        most
    };
    let small = through(SMALL);
    let broker_before = memory(broker.id(), "VmHWM");
    let large = through(LARGE);
    let broker_after = memory(broker.id(), "VmHWM");
    let report = format!("reading {small}, {large}; broker {broker_before}, {broker_after}");
    assert!(small > 0 && broker_before > 0, "{report}");
    assert!(large < small + MEMORY_OCTETS, "{report}");
    assert!(broker_after < broker_before + MEMORY_OCTETS, "{report}");
}

const ADT: &str =
    "MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^X^MR~12||Doe^Jane\rNTE|1||calls her \\T\\ Jane\r";
const PATIENT: &str =
    r#"{"resourceType":"Patient","name":[{"family":"Doe"}],"birthDate":"1950-02-03","weight":1.50}"#;

#[tokio::test]
async fn fields_are_sealed_in_their_places_and_open_there_alone() {
    let fields = r#"{ hl7v2 = ["PID-3", "PID-5", "NTE-3"], fhir = ["Patient.name", "Patient.birthDate"] }"#;
    let stage = format!(
        "grants = [\"random\", \"recipient:ward\"]\nconfig = {{ recipients = [\"ward\"], fields = {fields} }}"
    );
    let flow = Flow::new("records")
        .subscription(Subscription::all().egress(Stage::new("seal", "encrypt").with(&stage)));
    let hospital = Hospital::with(DEPUTY, &[flow]);
    let broker = Broker::start(hospital.path());
    let scene = Scene { hospital, broker };
    let scanner = scene.hospital.connect(scene.broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    // More than what is inline, so that the broker stores the body apart.
    let long = PATIENT.replace("\"weight\"", &format!("\"note\":\"{}\",\"weight\"", "n".repeat(400_000)));
    let sent = [("application/hl7-v2", ADT), ("application/fhir+json", PATIENT)];
    for (content_type, plain) in &sent {
        publisher.publish(Record::new(content_type, plain.as_bytes().to_vec().into())).await.unwrap();
    }
    publisher.publish(Record::new("application/hl7-v2", b"PID|1||4711".to_vec().into())).await.unwrap();

    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let flow = name("records");
    let mut sealed = Vec::new();
    for (content_type, plain) in &sent {
        let delivery = next(&mut subscription).await;
        assert!(delivery.head().content_type == *content_type && has_sealed_fields(delivery.head()));
        let text = body(&delivery);
        assert!(!text.contains("Doe") && !text.contains("4711") && !text.contains("1950"), "{text}");
        for identity in ["reader", "deputy"] {
            let opened = open_fields(&scene.key(identity), &flow, delivery.head(), text.as_bytes()).unwrap();
            assert_eq!((opened.closed, opened.opened), (0, if text.starts_with("MSH") { 3 } else { 2 }));
            assert_eq!(String::from_utf8(opened.body).unwrap(), *plain);
        }
        let others = open_fields(&scene.key("scanner"), &flow, delivery.head(), text.as_bytes()).unwrap();
        assert!(others.opened == 0 && others.closed > 1 && others.body == text.as_bytes(), "{others:?}");
        sealed.push((delivery.head().clone(), text));
        delivery.ack();
    }
    // What is no message does not go out at all.
    nothing_comes(&mut subscription).await;
    subscription.close().await.unwrap();

    // In another flow, of another time, in another record or in another field it does not open.
    let key = scene.key("reader");
    let (head, text) = &sealed[0];
    let is_refused = |head: &_, flow: &_, text: &str, place: &str| {
        let error = open_fields(&key, flow, head, text.as_bytes()).unwrap_err();
        assert!(
            matches!(&error, SealedError::Field { place: at, why: JweError::NotAuthentic } if at == place),
            "{error}"
        );
    };
    is_refused(head, &name("other"), text, "2/PID-3");
    let mut later = head.clone();
    later.time.0 += 1;
    is_refused(&later, &flow, text, "2/PID-3");
    let mut other = head.clone();
    other.attributes.clone_from(&sealed[1].0.attributes);
    is_refused(&other, &flow, text, "2/PID-3");
    let pid: Vec<&str> = text.split('\r').nth(1).unwrap().split('|').collect();
    let moved = text.replace(pid[5], "").replace(pid[3], pid[5]);
    is_refused(head, &flow, &moved, "2/PID-3");

    // The command does the same, also with a body that is large.
    let file = scene.hospital.file("patient.json");
    fs::write(&file, &long).unwrap();
    let publish = format!("publish records {} --content-type application/fhir+json", file.display());
    done(&scene.hospital, &scene.broker, "scanner", &publish);
    let out = scene.hospital.file("out");
    let read = format!("subscribe records all --open --count 1 --out {}", out.display());
    let lines = done(&scene.hospital, &scene.broker, "reader", &read);
    assert_eq!(lines[0]["fields"], serde_json::json!({ "opened": 2, "closed": 0 }));
    assert!(fs::read_to_string(lines[0]["file"].as_str().unwrap()).unwrap() == long);
}
