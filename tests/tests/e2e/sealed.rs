//! Bodies that are encrypted end to end: who can open them, from when on nobody can, and how much memory a long one takes.

use std::fs;
use std::time::{Duration, SystemTime};

use hilum_client::sealed::{SealedError, is_sealed, open_sealed};
use hilum_client::{Delivery, DeliveryBody};
use hilum_core::cose::{OpenError, PrivateKey};
use hilum_server::config::Directory;
use hilum_server::provision::{Request, Usage, Validity, read_authority};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription, hilum};

use crate::large::{MEMORY_OCTETS, memory, most_memory};
use crate::support::{name, next, nothing_comes, publish, said, says, subscribe};

const DEPUTY: &str =
    "\n[principals.deputy]\npath = \"service/deputy\"\nstakeholder = \"ward\"\nzone = \"clinic\"\n";
const DAY: Duration = Duration::from_secs(86_400);

/// Flow `records`, encrypted to all of stakeholder `ward` on its way out.
fn sealed() -> Flow {
    let stage = Stage::new("seal", "encrypt");
    let stage = stage.with("grants = [\"recipient:ward\"]\nconfig = { recipients = [\"ward\"] }");
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
