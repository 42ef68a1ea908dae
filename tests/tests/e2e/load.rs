//! A load of publishers and a reader that go on over the ends of many broker processes, and know afterwards what must be there.

mod follower;
mod source;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hilum_client::{Client, Delivery, DeliveryBody, Record};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_tests::{Broker, Flow, Hospital, Subscription};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::follower::Follower;
use self::source::Source;
use crate::support::{nothing_comes, subscribe};

/// Publishers of small records. One more publishes large ones.
const SMALL: u8 = 3;
/// Every publisher has an ack, or the reader has read, by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// What went wrong so far, in words.
type Faults = Arc<Mutex<Vec<String>>>;

/// What the broker of a run is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// It may break off at any moment.
    Ending,
    Over,
}

/// Why somebody stopped before the broker was over.
enum Stopped {
    /// As the end of a broker does it to all; wrong at any other time.
    Broken(String),
    /// The broker said what is wrong at any time.
    Wrong(String),
}

impl Stopped {
    fn broken(error: impl Display) -> Self {
        Self::Broken(error.to_string())
    }

    /// What was wrong, if anything was.
    fn fault(self, stage: Stage) -> Option<String> {
        match self {
            Self::Broken(_) if stage != Stage::Serving => None,
            Self::Broken(what) | Self::Wrong(what) => Some(what),
        }
    }
}

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
        let (to, stage) = watch::channel(Stage::Serving);
        let mut publishing = JoinSet::new();
        let mut progress = Vec::new();
        for source in sources {
            let client = connect(hospital, &broker, "scanner").await;
            progress.push(source.progress.subscribe());
            progress.last_mut().expect("it was just pushed").mark_unchanged();
            publishing.spawn(source.run(client, stage.clone()));
        }
        let reader = connect(hospital, &broker, "reader").await;
        let following = tokio::spawn(follower.run(reader, stage));
        for progress in &mut progress {
            let moved = timeout(PATIENCE, progress.changed()).await;
            if moved.is_err() {
                let said = broker.log();
                faults.lock().unwrap().push(format!("a publisher got no ack; the broker said:\n{said}"));
                break;
            }
        }
        sleep(time).await;
        if let Some(first) = faults.lock().unwrap().first_mut() {
            first.push_str(&format!("; the broker said:\n{}", broker.log()));
        }
        to.send_replace(Stage::Ending);
        end(broker);
        to.send_replace(Stage::Over);
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
async fn is_over(mut stage: watch::Receiver<Stage>) {
    // The sender goes only after it has said so.
    let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
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
