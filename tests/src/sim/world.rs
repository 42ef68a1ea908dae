//! The broker's lives, and what befalls it and its network, by the seed. Then everything is mended, and has to come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::record::Stored;
use hilum_core::{FlowName, LogName, Offset};
use hilum_server::chains::Slots;
use hilum_server::clock::Clock;
use hilum_server::endpoint::EndpointError;
use hilum_server::lifecycle::{Broker, Listen, Parts, StartError};
use hilum_store::memory::Loss;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::disk::Disk;
use super::history::History;
use super::hospital::{Authority, Identity, hospital};
use super::ledger::{self, Ledger, Place};
use super::network::{BROKER, Network, Weather};
use super::publisher::Source;
use super::random::Random;
use super::reader::Reader;
use super::records::{self, EPOCH, Identified};
use super::tally::{self, Compiled};
use super::{Plant, Running};

/// Everything has to come to rest in this time after it was mended.
const REST: Duration = Duration::from_secs(900);
/// A stop in good order may take so long: streams have 5 seconds to finish, and QUIC then waits for its peers.
const STOP: Duration = Duration::from_secs(120);

/// Runs the world of a seed to its end.
pub(super) async fn run(seed: u64, plant: Option<Plant>) -> History {
    let history = History::new();
    let mut world = World::new(seed, plant, history.clone());
    world.start().await;
    let (healed, healing) = watch::channel(false);
    let (ends, ended) = watch::channel(false);
    let running =
        Running { network: world.network.clone(), history: history.clone(), healed: healing, ended, plant };
    let (mut publishers, mut readers) = world.clients(&running);
    world.suffer().await;
    world.mend().await;
    healed.send_replace(true);
    if timeout(REST, async { while publishers.join_next().await.is_some() {} }).await.is_err() {
        history.violation(format_args!("publishers still wait although everything is mended"));
    }
    world.tell_contents().await;
    ends.send_replace(true);
    if timeout(REST, world.watch(&mut readers)).await.is_err() {
        history.violation(format_args!("readers still wait although everything is mended"));
    }
    world.stop().await;
    world.check().await;
    history
}

struct World {
    random: Random,
    network: Network,
    disk: Disk,
    ledger: Ledger,
    history: History,
    clock: Clock,
    broker: Option<Broker>,
    server: Identity,
    device: Identity,
    service: Identity,
    /// Those that are published to.
    flows: Vec<FlowName>,
    /// Where dead letters go.
    letters: FlowName,
    /// The plugin that observes, in the runs that have it.
    observer: Option<Compiled>,
    /// Whether the disk claims to have synced what it has not.
    is_lying: bool,
    /// Flows of whose records, or of what is made of them, a lie took something that was vouched for.
    is_doubtful: BTreeSet<FlowName>,
}

/// One run of so many has a plugin that observes.
const OBSERVED_EVERY: u64 = 4;

impl World {
    fn new(seed: u64, plant: Option<Plant>, history: History) -> Self {
        let mut random = Random::new(seed);
        let authority = Authority::new();
        let clock = Clock::following(EPOCH);
        let letters: FlowName = "letters".parse().expect("it is a name");
        let observes = match plant {
            None => seed.is_multiple_of(OBSERVED_EVERY),
            // What another bug does to a plugin is not what shows that it is found.
            Some(plant) => plant == Plant::ForgetPosition,
        };
        let is_published = |flow: &FlowName| *flow != letters && flow.as_str() != tally::TALLIES;
        Self {
            observer: observes.then(Compiled::new),
            is_lying: false,
            is_doubtful: BTreeSet::new(),
            network: Network::new(random.split(), history.clone()),
            disk: Disk::new(random.split(), plant, history.clone()),
            ledger: Ledger::new(clock, history.clone()),
            clock,
            broker: None,
            server: authority.issue(2, "broker"),
            device: authority.issue(3, "device/scanner"),
            service: authority.issue(4, "service/reader"),
            flows: hospital(false).flows.into_keys().filter(is_published).collect(),
            letters,
            random,
            history,
        }
    }

    /// Publishers and readers, as many as the seed says.
    fn clients(&mut self, running: &Running) -> (JoinSet<()>, JoinSet<()>) {
        let (mut publishers, mut readers) = (JoinSet::new(), JoinSet::new());
        let count = u8::try_from(self.random.within(1..=3)).expect("it is small");
        for number in 1..=count {
            let which = self.random.within(0..=self.flows.len() as u64 - 1);
            let source = Source {
                number,
                flow: self.flows[usize::try_from(which).expect("it is small")].clone(),
                records: self.random.within(5..=40),
                identity: self.device.clone(),
                random: self.random.split(),
                running: running.clone(),
                ledger: self.ledger.clone(),
            };
            publishers.spawn(source.run());
        }
        let places = self.places().into_iter();
        let places =
            places.flat_map(|place| vec![place.clone(); if ledger::is_shared(&place) { 2 } else { 1 }]);
        for (number, place) in (1..).zip(places) {
            let reader = Reader {
                number,
                place,
                identity: self.service.clone(),
                random: self.random.split(),
                running: running.clone(),
                ledger: self.ledger.clone(),
            };
            readers.spawn(reader.run());
        }
        (publishers, readers)
    }

    fn places(&self) -> Vec<Place> {
        let hospital = hospital(false);
        let of = |flow: &FlowName| {
            let subscriptions = hospital.flows[flow].subscriptions.iter();
            subscriptions.map(|subscription| (flow.clone(), subscription.name.clone())).collect::<Vec<_>>()
        };
        self.flows.iter().flat_map(of).collect()
    }

    /// Starts the broker, again and again until it runs: its disk may be full.
    async fn start(&mut self) {
        loop {
            self.disk.starting(true);
            let (network, server) = (self.network.clone(), self.server.clone());
            let listen: Listen = Box::new(move |config| {
                let endpoint = Endpoint::new_with_abstract_socket(
                    EndpointConfig::default(),
                    Some(config),
                    network.bind(BROKER),
                    Arc::new(TokioRuntime),
                );
                endpoint.map_err(|source| EndpointError::Bind { address: BROKER, source })
            });
            let parts = Parts {
                hospital: hospital(self.observer.is_some()),
                identity: server.server(),
                store: self.disk.open(),
                clock: self.clock,
                chain_slots: Slots::in_place(),
                sandbox: self.observer.as_ref().map(|observer| observer.sandbox.clone()),
                listen,
            };
            let started = Broker::assemble(parts).await;
            self.disk.starting(false);
            match started {
                Ok(broker) => {
                    self.history.note(format_args!("the broker runs"));
                    self.broker = Some(broker);
                    return;
                }
                // No fault of the disk that goes over: it would not start for ever.
                Err(error @ (StartError::Config(_) | StartError::Chains(_))) => panic!("{error}"),
                Err(error) => {
                    self.history.note(format_args!("the broker does not start: {error}"));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// The process is killed, or its machine loses power.
    async fn crash(&mut self) {
        self.network.unplug(BROKER);
        let (before, letters) = (self.positions().await, self.disk.records(&self.letters).await);
        let losses = self.disk.crash().await;
        if let Some(loss) = losses.get(&LogName::Flow(self.letters.clone())) {
            let lost = letters.iter().filter(|letter| letter.offset() >= loss.end);
            self.ledger.letters_lost(lost);
        }
        if std::mem::take(&mut self.is_lying) {
            self.doubt(&losses);
        }
        // Its tasks live on, but hear from nobody and reach nobody; only the handle goes.
        self.broker = None;
        self.account(&before, &losses);
        if self.random.percent(10) {
            self.history.note(format_args!("the metadata is lost"));
            self.disk.faults().lose_meta();
            self.ledger.forget_cursors();
        }
        self.ledger.life_ended();
    }

    /// What a plugin made of records cannot be right where the disk lied about either.
    fn doubt(&mut self, losses: &BTreeMap<LogName, Loss>) {
        for (log, _) in losses.iter().filter(|(_, loss)| loss.end < loss.told) {
            match log {
                LogName::Flow(flow) if flow.as_str() == tally::TALLIES => {
                    self.is_doubtful.extend(self.flows.clone());
                }
                LogName::Flow(flow) | LogName::State(flow) => drop(self.is_doubtful.insert(flow.clone())),
                _ => {}
            }
        }
    }

    /// A stop in good order.
    async fn stop(&mut self) {
        let Some(broker) = self.broker.take() else { return };
        self.history.note(format_args!("the broker stops"));
        if timeout(STOP, broker.stop()).await.is_err() {
            self.history.violation(format_args!("the broker does not come to a stop"));
        }
        self.network.unplug(BROKER);
        self.disk.reopen();
        self.ledger.life_ended();
        self.history.note(format_args!("the broker has stopped"));
    }

    /// Which record is where, in each flow.
    async fn positions(&self) -> Positions {
        let mut positions = BTreeMap::new();
        for flow in &self.flows {
            let records = self.disk.records(flow).await;
            let of = |record: &Stored| Some((record.offset(), records::of(record)?));
            positions.insert(flow.clone(), records.iter().filter_map(of).collect());
        }
        positions
    }

    /// Writes down what a crash took.
    fn account(&self, before: &Positions, losses: &BTreeMap<LogName, Loss>) {
        for (flow, records) in before {
            let Some(loss) = losses.get(&LogName::Flow(flow.clone())) else { continue };
            self.history.note(format_args!("{flow}: ends at {}, was told to at {}", loss.end, loss.told));
            let lost = records.iter().filter(|(offset, _)| *offset >= loss.end);
            self.ledger.lost(flow, loss.end, lost.map(|(_, identified)| *identified).collect());
        }
    }

    /// One thing after the other goes wrong.
    async fn suffer(&mut self) {
        for _ in 0..self.random.within(1..=7) {
            self.wait(50..=8000).await;
            match self.random.within(0..=11) {
                0..=1 => self.crash_and_start().await,
                10..=11 => self.crash_after_an_ack().await,
                2 => {
                    self.stop().await;
                    self.start().await;
                }
                3 => self.bad_weather(),
                4 => self.cut_off().await,
                5 => {
                    self.history.note(format_args!("the disk is full"));
                    self.disk.faults().set_disk_full(true);
                    self.wait(200..=6000).await;
                    self.disk.faults().set_disk_full(false);
                }
                6 => {
                    let nth = u32::try_from(self.random.within(1..=6)).expect("it is small");
                    self.history.note(format_args!("fsync {nth} from now fails"));
                    self.disk.faults().fail_sync(nth);
                    self.wait(100..=5000).await;
                    self.crash_and_start().await;
                }
                7 => {
                    self.history.note(format_args!("fsync lies"));
                    self.disk.faults().set_lying_sync(true);
                    self.is_lying = true;
                    self.wait(100..=3000).await;
                    self.crash_and_start().await;
                }
                8 => {
                    let milliseconds = self.random.within(20..=3000);
                    self.history.note(format_args!("an fsync takes up to {milliseconds} ms"));
                    self.disk.slow_down(Some(milliseconds));
                }
                _ => {
                    let nth = u32::try_from(self.random.within(1..=6)).expect("it is small");
                    self.history.note(format_args!("append {nth} from now fails"));
                    self.disk.faults().fail_append(nth);
                }
            }
        }
    }

    async fn wait(&mut self, milliseconds: RangeInclusive<u64>) {
        let duration = self.random.milliseconds(milliseconds);
        tokio::time::sleep(duration).await;
    }

    async fn crash_and_start(&mut self) {
        self.crash().await;
        self.wait(1..=3000).await;
        self.start().await;
    }

    /// Power goes just when a publisher has heard that its record is safe, while the disk is slow.
    async fn crash_after_an_ack(&mut self) {
        let milliseconds = self.random.within(20..=1500);
        self.history
            .note(format_args!("an fsync takes up to {milliseconds} ms, until power goes after an ack"));
        self.disk.slow_down(Some(milliseconds));
        // There may be nobody left who publishes.
        let _ = timeout(Duration::from_secs(8), self.ledger.next_ack()).await;
        self.wait(0..=3).await;
        self.disk.slow_down(None);
        self.crash_and_start().await;
    }

    fn bad_weather(&mut self) {
        let weather = Weather {
            lost: self.random.within(0..=25),
            doubled: self.random.within(0..=10),
            delay_ms: self.random.within(1..=80),
            jitter_ms: self.random.within(0..=120),
        };
        self.history.note(format_args!("{weather:?}"));
        self.network.set_weather(weather);
    }

    /// Nothing reaches one client for a while.
    async fn cut_off(&mut self) {
        let number = u8::try_from(self.random.within(1..=4)).expect("it is small");
        let client = if self.random.percent(50) { Source::address(number) } else { Reader::address(number) };
        self.history.note(format_args!("{client} is cut off"));
        self.network.cut_off(client, true);
        self.wait(500..=40_000).await;
        self.network.cut_off(client, false);
    }

    /// From here on nothing goes wrong.
    async fn mend(&mut self) {
        self.wait(1..=5000).await;
        self.history.note(format_args!("everything is mended"));
        self.network.set_weather(Weather::FINE);
        self.disk.slow_down(None);
        self.crash().await;
        self.start().await;
    }

    /// What there is for readers to read, in the end.
    async fn tell_contents(&self) {
        for (flow, records) in self.positions().await {
            self.history.note(format_args!("{flow}: {} records in the end", records.len()));
            let contents = records.into_iter().map(|(offset, identified)| (offset.0, identified));
            self.ledger.ends(&flow, contents.collect());
        }
    }

    /// Waits for the readers, and looks which records go to dead letters meanwhile.
    async fn watch(&self, readers: &mut JoinSet<()>) {
        while !readers.is_empty() {
            self.ledger.letters(&self.disk.records(&self.letters).await);
            // Nobody needs to be told which one it was.
            let _ = timeout(Duration::from_secs(2), readers.join_next()).await;
        }
    }

    async fn check(&self) {
        for flow in &self.flows {
            self.ledger.check_log(flow, &self.disk.records(flow).await);
        }
        if self.observer.is_none() {
            return;
        }
        let tallies = self.disk.records(&tally::TALLIES.parse().expect("it is a name")).await;
        self.history.note(format_args!("{} tallies in the end", tallies.len()));
        let hospital = hospital(true);
        let is_observed = |flow: &&FlowName| !hospital.flows[*flow].ingress.is_empty();
        for flow in self.flows.iter().filter(is_observed).filter(|flow| !self.is_doubtful.contains(*flow)) {
            let (records, kept) = (self.disk.records(flow).await, self.disk.kept(flow).await);
            tally::check(&self.history, flow, &records, &kept, &tallies);
        }
    }
}

type Positions = BTreeMap<FlowName, Vec<(Offset, Identified)>>;
