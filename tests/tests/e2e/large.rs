//! Large bodies: they go on after a lost connection without being sent again, leave nothing behind when they are given up,
//! and take no more memory the longer they are.

use std::fs;
use std::io::{Cursor, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hilum_client::{Client, Config, Credit, Delivery, DeliveryBody, Digest, Publisher, Record, Subscription};
use hilum_tests::relay::{Relay, Way};
use hilum_tests::{Broker, Flow, Hospital, Subscription as Of, binary};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use crate::support::{name, next, subscribe};

const MIB: u64 = 1 << 20;
/// What may be under way when a connection is cut, and so has to be sent again: a stream's window and a chunk of the disk. And what
/// packets add to octets.
const AGAIN_OCTETS: u64 = 5 * MIB;
/// After so much silence, a connection of these tests is given up.
const SILENCE: Duration = Duration::from_millis(700);
/// What one body of any size may add to the memory of a process.
pub(crate) const MEMORY_OCTETS: u64 = 64 * MIB;

/// Octets that repeat nowhere near.
fn body(octets: u64) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()
    };
    std::iter::repeat_with(next).take(usize::try_from(octets / 8).unwrap()).flatten().collect()
}

struct Scene {
    hospital: Hospital,
    broker: Broker,
    relay: Relay,
}

impl Scene {
    fn new() -> Self {
        Self::of(&[Flow::plain()])
    }

    fn of(flows: &[Flow]) -> Self {
        let hospital = Hospital::new(flows);
        let broker = Broker::start(hospital.path());
        let relay = Relay::before(broker.address());
        Self { hospital, broker, relay }
    }

    /// Over the relay, and soon tired of silence.
    fn config(&self, identity: &str) -> Config {
        let mut config = self.hospital.config(&self.relay.address(), identity);
        config.silence = SILENCE;
        config
    }

    async fn connect(&self, identity: &str) -> Client {
        Client::connect(self.config(identity)).await.unwrap()
    }

    async fn publish(&self, client: &Client, body: &[u8]) {
        self.upload(client.publisher(&name("records")).await.unwrap(), body).await;
    }

    async fn upload(&self, publisher: Publisher, body: &[u8]) {
        let head = Record::new("application/dicom", Bytes::new()).head;
        publisher.publish_large(head, body.len() as u64, Cursor::new(body)).await.unwrap();
    }

    /// What the broker has of large bodies on its disk.
    fn blobs(&self) -> Vec<PathBuf> {
        blobs(self.hospital.path())
    }
}

fn blobs(hospital: &Path) -> Vec<PathBuf> {
    let folders = ["incoming", "staged", "committed"].map(|folder| hospital.join("data/blobs").join(folder));
    folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect()
}

async fn fetch(subscription: &mut Subscription, delivery: Delivery) -> (Delivery, Vec<u8>) {
    let mut fetched = Cursor::new(Vec::new());
    let delivery = subscription.fetch_large(delivery, &mut fetched, |_| {}).await.unwrap();
    (delivery, fetched.into_inner())
}

#[tokio::test]
async fn an_upload_goes_on_where_its_connection_was_cut() {
    let scene = Scene::new();
    let body = body(24 * MIB);
    let scanner = scene.connect("scanner").await;
    scene.relay.cut_after(Way::Up, 12 * MIB);
    scene.publish(&scanner, &body).await;
    assert_eq!(scene.relay.cuts(), 1);
    let carried = scene.relay.carried(Way::Up);
    assert!(carried < 24 * MIB + AGAIN_OCTETS, "{carried} octets were carried for 24 MiB");

    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    let DeliveryBody::Large { digest, .. } = *delivery.body() else { panic!("{delivery:?}") };
    assert_eq!(digest, Digest::of(&body));
    assert_eq!(fetch(&mut subscription, delivery).await.1, body);
}

#[tokio::test]
async fn a_download_goes_on_where_its_connection_was_cut() {
    let scene = Scene::new();
    let body = body(24 * MIB);
    let direct = scene.hospital.connect(scene.broker.address(), "scanner").await.unwrap();
    scene.publish(&direct, &body).await;
    let reader = scene.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    scene.relay.cut_after(Way::Down, 12 * MIB);
    let (delivery, fetched) = fetch(&mut subscription, delivery).await;
    assert_eq!(fetched, body);
    assert_eq!(scene.relay.cuts(), 1);
    let carried = scene.relay.carried(Way::Down);
    assert!(carried < 24 * MIB + AGAIN_OCTETS, "{carried} octets were carried for 24 MiB");

    // The ack goes over the new connection.
    delivery.ack();
    subscription.close().await.unwrap();
    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    crate::support::nothing_comes(&mut subscribe(&reader).await).await;
}

#[tokio::test]
async fn a_body_survives_cuts_anywhere_and_a_network_that_loses() {
    let scene = Scene::new();
    scene.relay.lose(1);
    scene.relay.delay(Duration::from_millis(2));
    let body = body(6 * MIB);
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let cutting = async {
        for after in [1, 700_000, 1_900_000, 300_000] {
            let before = scene.relay.cuts();
            scene.relay.cut_after(Way::Up, after);
            while scene.relay.cuts() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::join!(scene.upload(publisher, &body), cutting);
    assert_eq!(scene.relay.cuts(), 4);
    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(fetch(&mut subscription, delivery).await.1, body);
    crate::support::nothing_comes(&mut subscription).await;
}

#[tokio::test]
async fn an_upload_goes_on_after_its_broker_was_killed() {
    let scene = Scene::new();
    let body = body(8 * MIB);
    let scanner = scene.connect("scanner").await;
    let Scene { hospital, broker, relay } = scene;
    let address = broker.address().to_owned();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let head = Record::new("application/dicom", Bytes::new()).head;
    let publishing = publisher.publish_large(head, 8 * MIB, Cursor::new(&body));
    let restarting = async {
        while relay.carried(Way::Up) < 3 * MIB {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        broker.kill();
        // The same port, so that the relay finds it.
        let listen = ["--listen", &address];
        Broker::start_with_arguments(hospital.path(), &listen)
    };
    let (acked, broker) = tokio::join!(publishing, restarting);
    acked.unwrap();
    assert_eq!(blobs(hospital.path()).len(), 1, "what the killed broker had is gone");
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(fetch(&mut subscription, delivery).await.1, body);
}

/// Gives so many zeros, then nothing, for ever.
struct Stalling(u64);

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.0 == 0 {
            return Poll::Pending;
        }
        let octets = buffer.remaining().min(usize::try_from(self.0).unwrap());
        buffer.put_slice(&vec![0; octets]);
        self.0 -= octets as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Stalling {
    fn start_seek(self: Pin<&mut Self>, _: SeekFrom) -> std::io::Result<()> {
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<u64>> {
        Poll::Ready(Ok(0))
    }
}

/// Waits until the broker has so many large bodies on its disk.
async fn wait_for_blobs(hospital: &Path, count: usize) {
    let waiting = async {
        while blobs(hospital).len() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    waited.unwrap_or_else(|_| panic!("{:?}", blobs(hospital)));
}

#[tokio::test]
async fn what_is_given_up_leaves_no_space_behind() {
    let scene = Scene::new();
    let path = scene.hospital.path();
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let head = || Record::new("application/dicom", Bytes::new()).head;

    // Given up: deleted at once.
    let upload = publisher.publish_large(head(), 100 * MIB, Stalling(5 * MIB));
    let given_up = tokio::time::timeout(Duration::from_millis(300), upload).await;
    assert!(given_up.is_err(), "{given_up:?}");
    wait_for_blobs(path, 0).await;

    // Cut off: kept for a while, and deleted with the broker's end, good or bad.
    let begun = async {
        let upload = publisher.publish_large(head(), 100 * MIB, Stalling(5 * MIB));
        tokio::select! {
            ended = upload => panic!("{ended:?}"),
            () = wait_for_blobs(path, 1) => {}
            () = std::future::pending() => {}
        }
        scene.relay.cut();
    };
    begun.await;
    tokio::time::sleep(2 * SILENCE).await;
    assert_eq!(scene.blobs().len(), 1, "the broker keeps what it has");
    let Scene { hospital, broker, .. } = scene;
    broker.kill();
    assert_eq!(blobs(hospital.path()).len(), 1);
    let broker = Broker::start(hospital.path());
    assert_eq!(blobs(hospital.path()).len(), 0);

    let relay = Relay::before(broker.address());
    let mut config = hospital.config(&relay.address(), "scanner");
    config.silence = SILENCE;
    let scanner = Client::connect(config).await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    tokio::select! {
        ended = publisher.publish_large(head(), 100 * MIB, Stalling(5 * MIB)) => panic!("{ended:?}"),
        () = wait_for_blobs(hospital.path(), 1) => relay.cut(),
    }
    tokio::time::sleep(2 * SILENCE).await;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    assert_eq!(blobs(hospital.path()).len(), 0, "{log}");
}

/// A figure of a process in octets: `VmHWM`, the most memory that it had, or `VmRSS`, what it has.
pub(crate) fn memory(process: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Runs `hilum` to its end; the most memory that it had, as far as looking often shows.
pub(crate) fn most_memory(arguments: &[&str]) -> u64 {
    let mut command = Command::new(binary());
    let mut child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    loop {
        most = most.max(memory(child.id(), "VmHWM"));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{arguments:?}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_body_of_any_size_takes_the_same_memory() {
    const SMALL: u64 = 600_000;
    const LARGE: u64 = 1 << 30;
    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    let dir = hospital.path().to_str().unwrap().to_owned();
    let file = hospital.file("body");
    let publish = |octets: u64| {
        fs::File::create(&file).unwrap().set_len(octets).unwrap();
        let connection = ["--dir", &dir, "--address", broker.address(), "--as", "scanner"];
        let arguments = [&["publish"], &connection[..], &["--content-type", "image/x", "records"]].concat();
        most_memory(&[&arguments[..], &[file.to_str().unwrap()]].concat())
    };
    let subscribe = || {
        let connection = ["--dir", &dir, "--address", broker.address(), "--as", "reader"];
        most_memory(&[&["subscribe"], &connection[..], &["--count", "1", "records", "all"]].concat())
    };
    let small = (publish(SMALL), subscribe());
    let broker_before = memory(broker.id(), "VmHWM");
    let large = (publish(LARGE), subscribe());
    let broker_after = memory(broker.id(), "VmHWM");
    let report = format!("publish {small:?}, {large:?}; broker {broker_before}, {broker_after}");
    assert!(small.0 > 0 && small.1 > 0 && broker_before > 0, "{report}");
    assert!(large.0 < small.0 + MEMORY_OCTETS, "publishing: {report}");
    assert!(large.1 < small.1 + MEMORY_OCTETS, "reading: {report}");
    assert!(broker_after < broker_before + MEMORY_OCTETS, "the broker: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_delivery_does_not_lapse_while_its_body_is_read() {
    let subscription = Flow::new("records").subscription(Of::all().with("ack_wait = \"2s\""));
    let scene = Scene::of(&[subscription]);
    let body = body(24 * MIB);
    scene.publish(&scene.connect("scanner").await, &body).await;
    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    let mut fetched = Cursor::new(Vec::new());
    // It takes more than twice as long as a reader may be silent.
    let mut slept = 0;
    let slowly = |octets: u64| {
        if octets / (MIB / 2) > slept {
            slept += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let delivery = subscription.fetch_large(delivery, &mut fetched, slowly).await.unwrap();
    assert!(fetched.into_inner() == body);
    assert_eq!(delivery.attempt(), 1);
    delivery.ack();
    crate::support::nothing_comes(&mut subscription).await;
    subscription.close().await.unwrap();
    crate::support::nothing_comes(&mut subscribe(&reader).await).await;
}

#[tokio::test]
async fn a_download_of_a_shared_subscription_goes_on_behind_what_took_its_credit() {
    let scene = Scene::of(&[Flow::new("records").subscription(Of::all().with("shared = true"))]);
    let body = body(12 * MIB);
    let direct = scene.hospital.connect(scene.broker.address(), "scanner").await.unwrap();
    scene.publish(&direct, &body).await;
    crate::support::publish(&direct, &["a", "b", "c", "d"]).await;
    let reader = scene.connect("reader").await;
    let credit = Credit { records: 2, octets: MIB };
    let mut subscription = reader.subscribe(&name("records"), &name("all"), credit).await.unwrap();
    let delivery = next(&mut subscription).await;
    scene.relay.cut_after(Way::Down, 6 * MIB);
    let (delivery, fetched) = fetch(&mut subscription, delivery).await;
    assert!(fetched == body);
    assert_eq!(scene.relay.cuts(), 1);
    delivery.ack();
    let mut others = crate::support::take(&mut subscription, 4).await;
    others.sort();
    assert_eq!(others, ["a", "b", "c", "d"]);
    crate::support::nothing_comes(&mut subscription).await;
}

/// What bodies take at most beside records, as the broker has it.
const PACE_OCTETS: u64 = 60_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_go_on_beside_bodies_that_make_room_for_them() {
    const BODY: u64 = 64 * MIB;
    let scene = Scene::of(&[Flow::plain(), Flow::new("alarms").subscription(Of::all())]);
    let scanner = scene.hospital.connect(scene.broker.address(), "scanner").await.unwrap();
    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let alarms = scanner.publisher(&name("alarms")).await.unwrap();
    let mut subscription =
        reader.subscribe(&name("alarms"), &name("all"), crate::support::CREDIT).await.unwrap();
    let bodies = scanner.publisher(&name("records")).await.unwrap();
    let head = || Record::new("application/dicom", Bytes::new()).head;
    let body = body(BODY);
    alarms.publish(crate::support::text("first")).await.unwrap();
    next(&mut subscription).await.ack();

    let begun = Instant::now();
    let uploads = async {
        let both = tokio::join!(
            bodies.publish_large(head(), BODY, Cursor::new(&body)),
            bodies.publish_large(head(), BODY, Cursor::new(&body))
        );
        both.0.and(both.1).unwrap();
        begun.elapsed()
    };
    tokio::pin!(uploads);
    let mut times = Vec::new();
    let took = loop {
        let sent = Instant::now();
        let alarm = async {
            alarms.publish(crate::support::text("alarm")).await.unwrap();
            next(&mut subscription).await.ack();
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        tokio::select! {
            took = &mut uploads => break took,
            () = alarm => times.push(sent.elapsed()),
        }
    };
    times.sort();
    let (count, slowest) = (times.len(), times[times.len() - 1]);
    println!("{count} alarms beside bodies, p99 {:?}, at most {slowest:?}", times[(count - 1) * 99 / 100]);
    assert!(count > 20 && slowest < Duration::from_secs(5), "{times:?}");
    let least = Duration::from_secs_f64((2 * BODY) as f64 / PACE_OCTETS as f64) * 8 / 10;
    assert!(took > least, "bodies took {took:?}, and were to leave room");
}
