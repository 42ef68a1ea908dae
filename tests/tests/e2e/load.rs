//! A load of publishers and a reader that go on over the ends of many broker processes, and know afterwards what must be there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hilum_client::{Ack, Client, Delivery, DeliveryBody, PendingAck, PublishError, Record, Resume};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_core::record::{ProducerId, ProducerPosition};
use hilum_tests::{Broker, Flow, Hospital, Subscription};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{CREDIT, name, next, nothing_comes, subscribe};

/// Records that a publisher has under way.
const WINDOW: usize = 32;
/// Publishers of small records. One more publishes large ones.
const SMALL: u8 = 3;
/// The longest pause between two large records, so that a run does not fill the disk.
const LARGE_PAUSE: Duration = Duration::from_millis(60);
/// Every publisher has an ack, or the reader has read, by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// What went wrong so far, in words.
type Faults = Arc<Mutex<Vec<String>>>;

/// Publishers of flow `records`, and a reader of its subscription `follow`.
pub(crate) struct Load {
    sources: Vec<Source>,
    follower: Follower,
    faults: Faults,
}

impl Load {
    pub(crate) fn new() -> Self {
        let faults = Faults::default();
        let sources = (0..=SMALL).map(|number| Source::new(number, faults.clone())).collect();
        Self { sources, follower: Follower::new(faults.clone()), faults }
    }

    /// A hospital for it. No flow of it has a plugin, so its broker starts at once.
    pub(crate) fn hospital() -> Hospital {
        Hospital::new(&[Flow::plain().subscription(Subscription::new("follow"))])
    }

    /// Publishes and reads until every publisher got an ack of this broker and `time` has passed, then lets `end` be the end of
    /// the broker.
    pub(crate) async fn run(
        self,
        hospital: &Hospital,
        broker: Broker,
        time: Duration,
        end: impl FnOnce(Broker),
    ) -> Self {
        let Self { sources, follower, faults } = self;
        let (ending, ended) = watch::channel(false);
        let mut publishing = JoinSet::new();
        let mut progress = Vec::new();
        for source in sources {
            let client = connect(hospital, &broker, "scanner").await;
            progress.push(source.progress.subscribe());
            progress.last_mut().expect("it was just pushed").mark_unchanged();
            publishing.spawn(source.run(client, ended.clone()));
        }
        let reader = connect(hospital, &broker, "reader").await;
        let following = tokio::spawn(follower.run(reader, ended));
        for progress in &mut progress {
            let moved = timeout(PATIENCE, progress.changed()).await;
            if moved.is_err() {
                let said = broker.log();
                faults.lock().unwrap().push(format!("a publisher got no ack; the broker said:\n{said}"));
                break;
            }
        }
        sleep(time).await;
        end(broker);
        ending.send_replace(true);
        let mut sources = publishing.join_all().await;
        sources.sort_by_key(|source| source.number);
        Self { sources, follower: following.await.unwrap(), faults }
    }

    /// Publishes again what was not acked, and looks whether everything acked is there, in order and once, and whether the reader
    /// saw all of it. Gives how many records there are, or what was wrong.
    pub(crate) async fn check(mut self, hospital: &Hospital, broker: &Broker) -> Result<u64, Vec<String>> {
        self.none_so_far()?;
        for source in &mut self.sources {
            source.settle(&connect(hospital, broker, "scanner").await).await;
        }
        self.none_so_far()?;
        let settled: BTreeMap<u8, u64> = self.sources.iter().map(|s| (s.number, s.acked)).collect();
        let reader = connect(hospital, broker, "reader").await;
        let counted = self.count(&reader, settled.values().sum()).await;
        if counted != settled {
            self.fault(format!("{settled:?} were acked, {counted:?} are there"));
        }
        self.none_so_far()?;
        self.follower.catch_up(&reader, &settled).await;
        self.none_so_far()?;
        Ok(settled.values().sum())
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    pub(crate) fn none_so_far(&self) -> Result<(), Vec<String>> {
        let faults = self.faults.lock().unwrap();
        if faults.is_empty() { Ok(()) } else { Err(faults.clone()) }
    }

    /// Reads subscription `all` from its start to its end; how many records each publisher has there.
    async fn count(&self, reader: &Client, records: u64) -> BTreeMap<u8, u64> {
        let mut counted: BTreeMap<u8, u64> = BTreeMap::new();
        let mut subscription = subscribe(reader).await;
        let mut last = None;
        for _ in 0..records {
            let Ok(Ok(Some(delivery))) = timeout(PATIENCE, subscription.next()).await else {
                self.fault(format!("nothing more comes after {last:?}"));
                return counted;
            };
            let offset = delivery.offset();
            if last.is_some_and(|last| last >= offset) {
                self.fault(format!("{offset} comes after {last:?}"));
            }
            last = Some(offset);
            let (number, sequence) = read_key(&delivery);
            let count = counted.entry(number).or_default();
            *count += 1;
            if sequence != *count {
                self.fault(format!(
                    "publisher {number}: {sequence} at {offset}, which is its record {count}: lost, doubled or out of order"
                ));
                return counted;
            }
            if body(&delivery).await != make(number, sequence).body {
                self.fault(format!("publisher {number}, record {sequence}: another body"));
            }
            delivery.ack();
        }
        subscription.close().await.unwrap();
        nothing_comes(&mut subscribe(reader).await).await;
        counted
    }
}

async fn connect(hospital: &Hospital, broker: &Broker, identity: &str) -> Client {
    let connected = hospital.connect(broker.address(), identity).await;
    connected.unwrap_or_else(|error| panic!("{error}; the broker said:\n{}", broker.log()))
}

async fn body(delivery: &Delivery) -> Bytes {
    match delivery.body() {
        DeliveryBody::Inline(octets) => octets.clone(),
        DeliveryBody::Large { .. } => {
            let mut read = Vec::new();
            delivery.open_large(0).await.unwrap().write_to(&mut read).await.unwrap();
            read.into()
        }
    }
}

/// Waits for the end of the broker.
async fn is_over(mut ended: watch::Receiver<bool>) {
    // The sender goes only after it has said so.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// One publisher over all its connections: it numbers its records from 1 and goes on where the last ack was.
struct Source {
    number: u8,
    acked: u64,
    progress: watch::Sender<u64>,
    faults: Faults,
}

impl Source {
    fn new(number: u8, faults: Faults) -> Self {
        Self { number, acked: 0, progress: watch::Sender::new(0), faults }
    }

    fn producer(&self) -> ProducerId {
        ProducerId([self.number + 1; 16])
    }

    fn position(&self) -> ProducerPosition {
        ProducerPosition { producer: self.producer(), sequence: self.acked + 1 }
    }

    fn fault(&self, what: &str) {
        let said = format!("publisher {} after {}: {what}", self.number, self.acked);
        self.faults.lock().unwrap().push(said);
    }

    fn acked(&mut self, sequence: u64) {
        self.acked = sequence;
        self.progress.send_replace(sequence);
    }

    /// Publishes until the end of the broker.
    async fn run(mut self, client: Client, ended: watch::Receiver<bool>) -> Self {
        let is_large = self.number >= SMALL;
        let publishing =
            async { if is_large { self.run_large(&client).await } else { self.run_small(&client).await } };
        tokio::select! {
            () = publishing => {}
            () = is_over(ended) => {}
        }
        self
    }

    async fn run_small(&mut self, client: &Client) {
        let resume = Resume { producer: self.producer(), next_sequence: self.acked + 1, known_since: None };
        let Ok(publisher) = client.publisher_resuming(&name("records"), resume).await else { return };
        if publisher.last_sequence() < self.acked {
            self.fault(&format!("the broker knows of {} only", publisher.last_sequence()));
            return;
        }
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
        if ack.sequence != self.acked + 1 {
            self.fault(&format!("an ack of {}", ack.sequence));
            return false;
        }
        self.acked(ack.sequence);
        true
    }

    async fn run_large(&mut self, client: &Client) {
        let Ok(publisher) = client.publisher(&name("records")).await else { return };
        loop {
            let Record { head, body } = make(self.number, self.acked + 1);
            let sent = publisher.publish_large_at(
                self.position(),
                None,
                head,
                body.len() as u64,
                std::io::Cursor::new(&body),
            );
            if sent.await.is_err() {
                return;
            }
            self.acked(self.acked + 1);
            let thousandths = u32::try_from(self.acked * 37 % 1000).unwrap();
            sleep(LARGE_PAUSE * thousandths / 1000).await;
        }
    }

    /// What the last broker may have stored and could not ack any more is sent again; then everything is acked.
    async fn settle(&mut self, client: &Client) {
        if self.number >= SMALL {
            let publisher = client.publisher(&name("records")).await.unwrap();
            let Record { head, body } = make(self.number, self.acked + 1);
            let size = body.len() as u64;
            publisher
                .publish_large_at(self.position(), None, head, size, std::io::Cursor::new(&body))
                .await
                .unwrap();
            self.acked += 1;
            return;
        }
        let resume = Resume { producer: self.producer(), next_sequence: self.acked + 1, known_since: None };
        let publisher = client.publisher_resuming(&name("records"), resume).await.unwrap();
        let last = self.acked + WINDOW as u64;
        if !(self.acked..=last).contains(&publisher.last_sequence()) {
            self.fault(&format!("the broker knows of {}", publisher.last_sequence()));
            return;
        }
        for sequence in self.acked + 1..=last {
            let ack = publisher.publish(make(self.number, sequence)).await.unwrap();
            assert_eq!(ack.sequence, sequence);
        }
        self.acked = last;
    }
}

/// Reads subscription `follow` while there is load, and acks what it has seen.
struct Follower {
    seen: BTreeMap<u8, Vec<bool>>,
    faults: Faults,
}

impl Follower {
    fn new(faults: Faults) -> Self {
        Self { seen: BTreeMap::new(), faults }
    }

    async fn run(mut self, client: Client, ended: watch::Receiver<bool>) -> Self {
        tokio::select! {
            () = self.follow(&client) => {}
            () = is_over(ended) => {}
        }
        self
    }

    async fn follow(&mut self, client: &Client) {
        let opened = client.subscribe(&name("records"), &name("follow"), CREDIT).await;
        let Ok(mut subscription) = opened else { return };
        let mut last = None;
        while let Ok(Some(delivery)) = subscription.next().await {
            let offset = delivery.offset();
            if last.is_some_and(|last| last >= offset) {
                self.faults.lock().unwrap().push(format!("the reader got {offset} after {last:?}"));
            }
            last = Some(offset);
            self.note(&delivery);
            delivery.ack();
        }
    }

    fn note(&mut self, delivery: &Delivery) {
        let (number, sequence) = read_key(delivery);
        let seen = self.seen.entry(number).or_default();
        let index = usize::try_from(sequence).unwrap();
        if seen.len() <= index {
            seen.resize(index + 1, false);
        }
        seen[index] = true;
    }

    /// The first record of a publisher that was acked and not read.
    fn first_missing(&self, settled: &BTreeMap<u8, u64>) -> Option<(u8, u64)> {
        settled.iter().find_map(|(number, acked)| {
            let seen = self.seen.get(number).map_or(&[][..], Vec::as_slice);
            let is_missing =
                |sequence: &u64| !seen.get(usize::try_from(*sequence).unwrap()).is_some_and(|seen| *seen);
            (1..=*acked).find(is_missing).map(|sequence| (*number, sequence))
        })
    }

    /// Reads what is left.
    async fn catch_up(&mut self, client: &Client, settled: &BTreeMap<u8, u64>) {
        let mut subscription = client.subscribe(&name("records"), &name("follow"), CREDIT).await.unwrap();
        let last = settled.iter().map(|(number, acked)| (*number, *acked)).collect::<Vec<_>>();
        let has_seen_the_last = |this: &Self| {
            last.iter()
                .all(|(number, acked)| this.seen.get(number).is_some_and(|seen| seen.len() as u64 > *acked))
        };
        while !has_seen_the_last(self) {
            let delivery = next(&mut subscription).await;
            self.note(&delivery);
            delivery.ack();
        }
        if let Some((number, sequence)) = self.first_missing(settled) {
            let what = format!(
                "the reader never got record {sequence} of publisher {number}, and its cursor is past it"
            );
            self.faults.lock().unwrap().push(what);
        }
    }
}

/// The record of a publisher with a number; the same at every try.
fn make(number: u8, sequence: u64) -> Record {
    let small = 100 + usize::try_from(sequence % 900).unwrap();
    let octets = if number < SMALL { small } else { INLINE_BODY_OCTETS_MAX + 12_345 };
    let mut body = format!("{number}:{sequence}:").into_bytes();
    body.resize(octets, number);
    Record::new("application/octet-stream", Bytes::from(body)).with_key(&format!("{number}:{sequence}"))
}

fn read_key(delivery: &Delivery) -> (u8, u64) {
    let (number, sequence) = delivery.head().key.as_deref().unwrap().split_once(':').unwrap();
    (number.parse().unwrap(), sequence.parse().unwrap())
}
