//! SIGKILL under load, again and again: every acked record is there, in the order of its publisher, and none twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hilum_client::{Ack, Client, DeliveryBody, PendingAck, PublishError, Record, Resume};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_core::record::{ProducerId, ProducerPosition};
use hilum_tests::{Broker, Hospital};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{name, next, subscribe};

const CYCLES: u32 = 5;
/// How long the load lasts before the kill; a little longer in each cycle, so that each comes at another moment.
const LOAD: Duration = Duration::from_millis(700);
const LOAD_STEP: Duration = Duration::from_millis(73);
/// Records that a publisher has under way.
const WINDOW: usize = 64;
/// Publishers of small records, and of large ones.
const SMALL: u8 = 3;
const LARGE: u8 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acked_record_survives_sigkill_under_load_in_order_and_once() {
    let hospital = Hospital::plain();
    let mut sources: Vec<Source> = (0..SMALL + LARGE).map(Source::new).collect();
    for cycle in 0..CYCLES {
        let broker = Broker::start(hospital.path());
        let before: Vec<u64> = sources.iter().map(|source| source.acked).collect();
        let (kill, killed) = watch::channel(false);
        let mut running = JoinSet::new();
        for source in sources.drain(..) {
            let client = hospital.connect(broker.address(), "scanner").await.unwrap();
            running.spawn(source.run(client, killed.clone()));
        }
        tokio::time::sleep(LOAD + LOAD_STEP * cycle).await;
        broker.kill();
        kill.send_replace(true);
        sources = running.join_all().await;
        sources.sort_by_key(|source| source.number);
        for (source, before) in sources.iter().zip(before) {
            assert!(source.acked > before, "publisher {} got no ack in cycle {cycle}", source.number);
        }
    }

    let broker = Broker::start(hospital.path());
    for source in &mut sources {
        let client = hospital.connect(broker.address(), "scanner").await.unwrap();
        source.settle(&client).await;
    }
    let sent: u64 = sources.iter().map(|source| source.acked).sum();
    let mut counted: BTreeMap<u8, u64> = BTreeMap::new();
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    for offset in 0..sent {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.offset().0, offset);
        let (number, sequence) = read_key(delivery.head().key.as_deref().unwrap());
        let count = counted.entry(number).or_default();
        *count += 1;
        assert_eq!(sequence, *count, "publisher {number}: lost, doubled or out of order at offset {offset}");
        let expected = make(number, sequence).body;
        match delivery.body() {
            DeliveryBody::Inline(octets) => assert_eq!(*octets, expected),
            DeliveryBody::Large { size, .. } => {
                assert_eq!(*size, expected.len() as u64);
                let mut read = Vec::new();
                delivery.open_large(0).await.unwrap().write_to(&mut read).await.unwrap();
                assert!(read == expected, "publisher {number}, record {sequence}: another body");
            }
        }
        delivery.ack();
    }
    let settled: BTreeMap<u8, u64> = sources.iter().map(|source| (source.number, source.acked)).collect();
    assert_eq!(counted, settled);
    subscription.close().await.unwrap();
    let mut subscription = subscribe(&reader).await;
    crate::support::nothing_comes(&mut subscription).await;
}

/// One publisher over all its connections: it numbers its records from 1 and goes on where the last ack was.
struct Source {
    number: u8,
    acked: u64,
}

impl Source {
    fn new(number: u8) -> Self {
        Self { number, acked: 0 }
    }

    fn producer(&self) -> ProducerId {
        ProducerId([self.number + 1; 16])
    }

    /// Publishes until the broker is killed.
    async fn run(mut self, client: Client, mut killed: watch::Receiver<bool>) -> Self {
        let is_large = self.number >= SMALL;
        let publishing =
            async { if is_large { self.run_large(&client).await } else { self.run_small(&client).await } };
        tokio::select! {
            () = publishing => {}
            _ = killed.wait_for(|killed| *killed) => {}
        }
        self
    }

    async fn run_small(&mut self, client: &Client) {
        let resume = Resume { producer: self.producer(), next_sequence: self.acked + 1 };
        let publisher = client.publisher_resuming(&name("records"), resume).await.unwrap();
        assert!(publisher.last_sequence() >= self.acked, "the broker forgot what it acked");
        let mut under_way: VecDeque<PendingAck> = VecDeque::new();
        let mut sequence = self.acked;
        loop {
            while under_way.len() < WINDOW {
                sequence += 1;
                let Ok(pending) = publisher.enqueue(make(self.number, sequence)).await else { return };
                under_way.push_back(pending);
            }
            let Some(oldest) = under_way.front_mut() else { return };
            if !self.note(&oldest.await) {
                return;
            }
            under_way.pop_front();
            while let Some(answered) = under_way.front_mut().and_then(|oldest| oldest.now_or_never()) {
                under_way.pop_front();
                if !self.note(&answered) {
                    return;
                }
            }
        }
    }

    /// Acks come in the order of the records.
    fn note(&mut self, answered: &Result<Ack, PublishError>) -> bool {
        let Ok(ack) = answered else { return false };
        assert_eq!(ack.sequence, self.acked + 1);
        self.acked = ack.sequence;
        true
    }

    async fn run_large(&mut self, client: &Client) {
        let publisher = client.publisher(&name("records")).await.unwrap();
        loop {
            let record = make(self.number, self.acked + 1);
            let position = ProducerPosition { producer: self.producer(), sequence: self.acked + 1 };
            let size = record.body.len() as u64;
            let sent = publisher.publish_large_at(position, record.head, size, std::io::Cursor::new(&record.body));
            if sent.await.is_err() {
                return;
            }
            self.acked += 1;
        }
    }

    /// What the last broker may have stored and could not ack any more is sent again; then everything is acked.
    async fn settle(&mut self, client: &Client) {
        if self.number >= SMALL {
            let publisher = client.publisher(&name("records")).await.unwrap();
            let record = make(self.number, self.acked + 1);
            let position = ProducerPosition { producer: self.producer(), sequence: self.acked + 1 };
            let size = record.body.len() as u64;
            publisher.publish_large_at(position, record.head, size, std::io::Cursor::new(&record.body)).await.unwrap();
            self.acked += 1;
            return;
        }
        let resume = Resume { producer: self.producer(), next_sequence: self.acked + 1 };
        let publisher = client.publisher_resuming(&name("records"), resume).await.unwrap();
        let last = self.acked + WINDOW as u64;
        assert!((self.acked..=last).contains(&publisher.last_sequence()));
        for sequence in self.acked + 1..=last {
            let ack = publisher.publish(make(self.number, sequence)).await.unwrap();
            assert_eq!(ack.sequence, sequence);
        }
        self.acked = last;
    }
}

/// The record of a publisher with a number; the same at every try.
fn make(number: u8, sequence: u64) -> Record {
    let small = 100 + usize::try_from(sequence % 900).unwrap();
    let octets = if number < SMALL { small } else { INLINE_BODY_OCTETS_MAX + 12_345 };
    let mut body = format!("{number}:{sequence}:").into_bytes();
    body.resize(octets, number);
    let mut record = Record::new("application/octet-stream", Bytes::from(body));
    record.head.key = Some(format!("{number}:{sequence}"));
    record
}

fn read_key(key: &str) -> (u8, u64) {
    let (number, sequence) = key.split_once(':').unwrap();
    (number.parse().unwrap(), sequence.parse().unwrap())
}
