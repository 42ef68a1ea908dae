//! What stalls slows its own publishers and nothing else: a disk, a plugin, a reader. And the broker's memory does not grow with
//! what they would like to send.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use hilum_client::{Client, Credit, PendingAck, Publisher, Record};
use hilum_tests::fuse::{FragileDisk, Sync};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};

use crate::support::{CREDIT, name, next, subscribe, take, text};

/// What may be under way in these tests, and its line of the configuration: little more than the flows have for themselves.
const UNDER_WAY_OCTETS: u64 = 64 << 20;
const MEMORY: &str = "[memory]\nunder_way = \"64MiB\"\n";
const BODY_OCTETS: usize = 16 << 10;
/// By how much the broker may grow: what is under way, and half as much that the allocator keeps of what has passed.
const GROWTH_OCTETS: u64 = UNDER_WAY_OCTETS / 2 * 3;
/// Records that each publisher would like to have under way, and publishers: twice what may be, and more than the broker may grow.
const RECORDS: usize = 700;
const PUBLISHERS: usize = 12;
/// Records that are timed.
const TIMED: usize = 40;

/// Two flows: `records`, and one that will stall.
fn flows(slow: Flow) -> [Flow; 2] {
    [Flow::plain().ingress(Stage::open("gate")), slow]
}

/// One publisher and one reader of flow `records`, and how long records take from one to the other.
struct Passage {
    publisher: Publisher,
    reader: hilum_client::Subscription,
    _client: Client,
}

impl Passage {
    async fn open(scanner: &Client, hospital: &Hospital, broker: &Broker) -> Self {
        let client = hospital.connect(broker.address(), "reader").await.unwrap();
        let reader = subscribe(&client).await;
        let mut passage =
            Self { publisher: scanner.publisher(&name("records")).await.unwrap(), reader, _client: client };
        passage.time().await;
        passage
    }

    /// The middle one of many times.
    async fn time(&mut self) -> Duration {
        let mut times = Vec::with_capacity(TIMED);
        for number in 0..TIMED {
            let began = Instant::now();
            self.publisher.publish(text(&number.to_string())).await.unwrap();
            assert_eq!(take(&mut self.reader, 1).await, [number.to_string()]);
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times[TIMED / 2]
    }
}

fn assert_as_ever(ever: Duration, now: Duration) {
    assert!(now < 3 * ever + Duration::from_millis(20), "{now:?}, and it was {ever:?}");
}

fn record(number: usize) -> Record {
    let mut body = vec![0; BODY_OCTETS];
    body[..8].copy_from_slice(&number.to_le_bytes());
    Record::new("application/octet-stream", Bytes::from(body))
}

/// Publishes as much as it can, and gives the acks that are still to come, once all is under way.
fn pump(client: Client) -> tokio::task::JoinHandle<(Client, Publisher, Vec<PendingAck>)> {
    tokio::spawn(async move {
        let publisher = client.publisher(&name("slow")).await.unwrap();
        let mut acks = Vec::with_capacity(RECORDS);
        for number in 0..RECORDS {
            acks.push(publisher.enqueue(record(number)).await.unwrap());
        }
        (client, publisher, acks)
    })
}

/// Memory of a process that is in use (VmRSS of proc(5)).
fn resident_octets(process: u32) -> u64 {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What it is when it has not grown for a while.
async fn settled_octets(process: u32) -> u64 {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let octets = resident_octets(process);
        if octets <= last + (1 << 20) {
            return octets;
        }
        last = octets;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_disk_slows_its_publishers_and_nothing_else() {
    let hospital = Hospital::with(MEMORY, &flows(Flow::new("slow")));
    let disk = FragileDisk::mount(&hospital.file("data"), Sync::Honest(Duration::from_micros(500)));
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let first = scanner.publisher(&name("slow")).await.unwrap();
    first.publish(record(0)).await.unwrap();
    let mut passage = Passage::open(&scanner, &hospital, &broker).await;
    let ever = passage.time().await;
    let before = settled_octets(broker.id()).await;

    let stalled = disk.stall("log/flow.slow");
    let mut pumps = vec![pump(scanner.clone())];
    for _ in 1..PUBLISHERS {
        pumps.push(pump(hospital.connect(broker.address(), "scanner").await.unwrap()));
    }
    let grown = settled_octets(broker.id()).await.saturating_sub(before);
    println!("{} MiB", grown >> 20);
    assert!(grown < GROWTH_OCTETS, "the broker has grown by {} MiB", grown >> 20);
    // On the very connection of one of those that are slowed.
    assert_as_ever(ever, passage.time().await);

    let mut waiting = Vec::new();
    for pump in pumps {
        let (client, publisher, mut acks) = pump.await.unwrap();
        assert!((&mut acks[0]).now_or_never().is_none(), "an ack came from a disk that stalls");
        waiting.push((client, publisher, acks));
    }
    drop(stalled);
    let mut end = 0;
    for (_client, publisher, acks) in waiting {
        let mut last = 0;
        for ack in acks {
            let through = ack.await.unwrap().through_offset.unwrap().0;
            assert!(through >= last, "{through} after {last}");
            last = through;
        }
        end = end.max(last);
        publisher.finish().await.unwrap();
    }
    assert_eq!(end, (PUBLISHERS * RECORDS) as u64, "each once");
    assert_as_ever(ever, passage.time().await);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_slows_nobody() {
    let slow = Flow::new("slow").subscription(Subscription::all()).subscription(Subscription::new("other"));
    let hospital = Hospital::with(MEMORY, &flows(slow));
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let mut passage = Passage::open(&scanner, &hospital, &broker).await;
    let ever = passage.time().await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let other = hospital.connect(broker.address(), "reader").await.unwrap();
    let most = Credit { records: 65_536, octets: 256 << 20 };
    let _unread = reader.subscribe(&name("slow"), &name("all"), most).await.unwrap();
    let mut read = other.subscribe(&name("slow"), &name("other"), CREDIT).await.unwrap();
    let before = settled_octets(broker.id()).await;

    let mut pumps = Vec::new();
    for _ in 0..PUBLISHERS {
        pumps.push(pump(hospital.connect(broker.address(), "scanner").await.unwrap()));
    }
    for _ in 0..PUBLISHERS * RECORDS {
        next(&mut read).await.ack();
    }
    for pump in pumps {
        for ack in pump.await.unwrap().2 {
            ack.await.unwrap();
        }
    }
    assert_as_ever(ever, passage.time().await);
    let grown = settled_octets(broker.id()).await.saturating_sub(before);
    println!("{} MiB", grown >> 20);
    assert!(grown < GROWTH_OCTETS, "the broker has grown by {} MiB", grown >> 20);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
}

/// Its chain is stopped at its limit at every batch, and goes on with the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_plugin_slows_its_publishers_and_nothing_else() {
    let plugin = format!("{MEMORY}\n[plugins.hostile]\npath = \"plugins/hostile.wasm\"\n");
    let spinning =
        Stage::new("spin", "hostile").with("grants = [\"keys:research\", \"time\", \"random\", \"log\", \"metrics\", \"trace\"]\nconfig = { behaviour = \"spin\" }");
    let hospital = Hospital::with(&plugin, &flows(Flow::new("slow").ingress(spinning)));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guests = hilum_plugin_build::Guests::new(workspace.clone(), workspace.join("target/plugins"));
    let built = guests.build(&["hilum-guest-hostile"]).unwrap_or_else(|error| panic!("{error}"));
    std::fs::copy(&built[0], hospital.file("plugins/hostile.wasm")).unwrap();
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let mut passage = Passage::open(&scanner, &hospital, &broker).await;
    let ever = passage.time().await;
    let before = settled_octets(broker.id()).await;

    let mut pumps = vec![pump(scanner.clone())];
    for _ in 1..PUBLISHERS {
        pumps.push(pump(hospital.connect(broker.address(), "scanner").await.unwrap()));
    }
    let grown = settled_octets(broker.id()).await.saturating_sub(before);
    println!("{} MiB", grown >> 20);
    // An instance of a plugin may have its part too.
    assert!(grown < GROWTH_OCTETS + (16 << 20), "the broker has grown by {} MiB", grown >> 20);
    assert_as_ever(ever, passage.time().await);
    // What was not stopped by its time is refused one by one, and nobody waits for the rest here.
    for pump in pumps {
        let (_client, _publisher, mut acks) = pump.await.unwrap();
        let last = acks.pop().unwrap().now_or_never();
        assert!(last.is_none(), "the plugin was not slow: {last:?}");
    }
    broker.kill();
}
