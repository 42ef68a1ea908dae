//! Retention on a store in memory, which has spans of sixteen entries, and on one on disk.

use std::collections::BTreeSet;

use hilum_core::audit::Action;
use hilum_core::control::HoldScope;
use hilum_core::record::{BlobRef, Body, Head};
use hilum_core::{Offset, SubscriptionName, Timestamp};
use hilum_store::{Durability, MasterKey, embedded, memory};

use super::*;
use crate::chains::EgressChain;
use crate::clock::Clock;
use crate::config::DeliveryConfig;
use crate::deliver::Outlet;
use crate::fixture::{
    self, audit, chain, context, flow, principal, sandbox, services, text, with_attributes_and,
};
use crate::holds::Holds;
use crate::ingest::{Item, Lane, LaneTasks};

struct Bench {
    shared: Arc<Shared>,
    lane: Lane,
    _tasks: LaneTasks,
    sent: u64,
}

impl Bench {
    async fn open(shared: Arc<Shared>) -> Self {
        let lane = Lane::open(shared.clone(), flow(), chain(&shared, Vec::new()), Durability::Fsynced);
        let (lane, tasks) = lane.await.unwrap();
        Self { shared, lane, _tasks: tasks, sent: 0 }
    }

    async fn memory() -> (memory::Store, Self) {
        let store = memory::Store::new();
        let mut shared = Arc::into_inner(fixture::shared(&store)).unwrap();
        shared.clock = Clock::following(Timestamp(1_700_000_000_000));
        let bench = Self::open(Arc::new(shared)).await;
        (store, bench)
    }

    async fn submit(&mut self, items: Vec<Item>) {
        for settled in self.lane.submit(items).await.unwrap().await.unwrap() {
            assert!(matches!(settled, crate::ingest::Settled::Stored(_)), "{settled:?}");
        }
    }

    /// Publishes records of these keys, each with the same body.
    async fn publish(&mut self, keys: impl IntoIterator<Item = Option<&'static str>>, body: &str) {
        let mut items = Vec::new();
        for key in keys {
            self.sent += 1;
            items.push(keyed(self.sent, key, text(body)));
        }
        self.submit(items).await;
    }

    async fn publish_blob(&mut self, key: Option<&'static str>) -> BlobRef {
        let blob = fixture::blob(&self.shared).await;
        self.sent += 1;
        let item = keyed(self.sent, key, Body::Blob(blob));
        self.submit(vec![item]).await;
        blob
    }

    fn keeper(&self, policy: Policy, outlets: &[&Arc<Outlet>]) -> Keeper {
        let outlets = outlets.iter().map(|outlet| (*outlet).clone()).collect();
        Keeper::of_flow(self.shared.clone(), flow(), policy, outlets)
    }

    fn outlet(&self) -> Arc<Outlet> {
        let name: SubscriptionName = "reading".parse().unwrap();
        let egress = EgressChain::of(sandbox(), context(), Vec::new(), services(&self.shared));
        let settings = DeliveryConfig::default();
        Arc::new(Outlet::new(self.shared.clone(), &self.lane, name, egress, settings))
    }

    async fn left(&self) -> Vec<u64> {
        left(&self.shared, &LogName::Flow(flow())).await
    }

    async fn has(&self, blob: &BlobRef) -> bool {
        self.shared.blobs.read(blob, 0, 1).await.is_ok()
    }

    async fn deletions(&self) -> Vec<String> {
        let events = audit(&self.shared).await.into_iter();
        events.filter(|event| event.action == Action::Deleted).map(|event| event.reason).collect()
    }
}

fn keyed(sequence: u64, key: Option<&str>, body: Body) -> Item {
    let key = key.map(str::to_owned);
    with_attributes_and(sequence, body, Vec::new(), |head| Head { key, ..head })
}

async fn left(shared: &Shared, log: &LogName) -> Vec<u64> {
    let (mut offsets, mut at) = (Vec::new(), Offset(0));
    loop {
        let entries = shared.log.read(log, at, 1 << 20).await.unwrap();
        let Some(last) = entries.last() else { return offsets };
        at = last.offset.next();
        offsets.extend(entries.iter().map(|entry| entry.offset.0));
    }
}

fn at_most(records: u64) -> Policy {
    Policy { max_records: Some(records), ..Policy::default() }
}

fn hold(key: Option<&str>) -> HoldScope {
    HoldScope { flow: flow(), key: key.map(str::to_owned) }
}

#[tokio::test]
async fn a_flow_is_cut_to_its_count_and_says_so_before() {
    let (_, mut bench) = Bench::memory().await;
    bench.publish([None; 100], "x").await;
    let mut keeper = bench.keeper(at_most(40), &[]);
    keeper.look().await.unwrap();
    assert_eq!(bench.left().await, (60..100).collect::<Vec<_>>());
    let told = bench.deletions().await;
    assert_eq!(told[0], "log `flow.scans`, 16 entries from offset 0 through 15, by max_records");
    assert_eq!(bench.shared.ledgers.of(&flow()).records(), 40);
    keeper.look().await.unwrap();
    assert_eq!(bench.deletions().await, told, "there is nothing more to do");
}

#[tokio::test(start_paused = true)]
async fn records_go_when_they_are_too_old_and_what_is_young_stays() {
    let (_, mut bench) = Bench::memory().await;
    let policy = Policy { max_age: Some(Duration::from_secs(80)), ..Policy::default() };
    let mut keeper = bench.keeper(policy, &[]);
    bench.publish([None; 20], "x").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    bench.publish([None; 20], "x").await;
    keeper.look().await.unwrap();
    assert_eq!(bench.left().await.len(), 40);
    tokio::time::sleep(Duration::from_secs(31)).await;
    keeper.look().await.unwrap();
    assert_eq!(bench.left().await, (20..40).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(60)).await;
    keeper.look().await.unwrap();
    assert_eq!(bench.left().await, [] as [u64; 0], "the span that is written to is no exception");
}

#[tokio::test]
async fn nothing_goes_that_a_subscription_has_not_settled() {
    let (_, mut bench) = Bench::memory().await;
    bench.publish([None; 100], "x").await;
    let outlet = bench.outlet();
    let mut keeper = bench.keeper(at_most(10), &[&outlet]);
    keeper.look().await.unwrap();
    assert_eq!(bench.left().await.len(), 100);
    let policy = Policy { until_read: false, ..at_most(10) };
    bench.keeper(policy, &[&outlet]).look().await.unwrap();
    assert_eq!(bench.left().await, (90..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_hold_keeps_a_key_while_its_neighbours_go_until_it_is_released() {
    let (_, mut bench) = Bench::memory().await;
    let holds = Holds::new(bench.shared.clone());
    let operator = principal("imaging").id.clone();
    let hold = holds.add(hold(Some("ward-7")), "case 17", &operator).await.unwrap();
    let keys = (0..100).map(|n| Some(if n % 10 == 3 { "ward-7" } else { "ward-8" }));
    bench.publish(keys, "x").await;
    let mut keeper = bench.keeper(at_most(20), &[]);
    keeper.look().await.unwrap();
    let held: Vec<u64> = (0..80).filter(|n| n % 10 == 3).chain(80..100).collect();
    assert_eq!(bench.left().await, held);
    keeper.look().await.unwrap();
    assert_eq!(bench.left().await, held, "what is held does not count");
    holds.remove(hold.id, &operator).await.unwrap();
    keeper.look().await.unwrap();
    let left = bench.left().await;
    // A span is not written anew for less than an eighth over the limit.
    assert!((20..=22).contains(&left.len()) && left.ends_with(&held[8..]), "{left:?}");
    assert!(bench.deletions().await.iter().all(|told| !told.contains("ward")));
}

#[tokio::test]
async fn a_held_flow_loses_nothing() {
    let (_, mut bench) = Bench::memory().await;
    bench.publish([Some("a"); 100], "x").await;
    Holds::new(bench.shared.clone()).add(hold(None), "case 17", &principal("imaging").id).await.unwrap();
    bench.keeper(Policy { compact: true, ..at_most(1) }, &[]).look().await.unwrap();
    assert_eq!(bench.left().await.len(), 100);
}

#[tokio::test]
async fn large_bodies_go_with_their_records_and_count_as_octets() {
    let (_, mut bench) = Bench::memory().await;
    let held = bench.publish_blob(Some("ward-7")).await;
    let gone = bench.publish_blob(None).await;
    bench.publish([None; 40], "x").await;
    Holds::new(bench.shared.clone())
        .add(hold(Some("ward-7")), "case 17", &principal("imaging").id)
        .await
        .unwrap();
    assert_eq!(bench.shared.ledgers.of(&flow()).large_octets(), held.size + gone.size);
    bench.keeper(at_most(5), &[]).look().await.unwrap();
    assert!(bench.has(&held).await && !bench.has(&gone).await);
    assert_eq!(bench.shared.ledgers.of(&flow()).large_octets(), held.size);
}

#[tokio::test]
async fn what_a_crash_left_half_deleted_goes_at_the_next_look() {
    let (store, mut bench) = Bench::memory().await;
    let blob = bench.publish_blob(None).await;
    bench.publish([None; 40], "x").await;
    store.faults().fail_append(1);
    let mut keeper = bench.keeper(at_most(5), &[]);
    assert!(matches!(keeper.look().await, Err(PassError::Audit(_))));
    assert_eq!(bench.left().await.len(), 41, "without an audit event nothing goes");
    assert!(bench.has(&blob).await);
    // The crash came between the body and its entry.
    bench.shared.blobs.delete(blob.id).await.unwrap();
    let shared = fixture::shared(&store.crash());
    let bench = Bench::open(shared).await;
    bench.keeper(at_most(5), &[]).look().await.unwrap();
    assert_eq!(bench.left().await, (36..41).collect::<Vec<_>>());
    assert_eq!(bench.shared.ledgers.of(&flow()).records(), 5);
}

#[tokio::test]
async fn compaction_keeps_the_newest_of_each_key() {
    let (_, mut bench) = Bench::memory().await;
    let keys = (0..60).map(|n| ["a", "b", "c"].get(n % 4).copied());
    bench.publish(keys, "x").await;
    Holds::new(bench.shared.clone()).add(hold(Some("c")), "case 17", &principal("imaging").id).await.unwrap();
    let mut keeper = bench.keeper(Policy { compact: true, ..Policy::default() }, &[]);
    keeper.look().await.unwrap();
    let expected: Vec<u64> = (0..60).filter(|n| [2, 3].contains(&(n % 4)) || *n >= 56).collect();
    assert_eq!(bench.left().await, expected, "held ones and those without a key stay");
    assert_eq!(bench.shared.ledgers.of(&flow()).records(), expected.len() as u64);
    bench.publish([Some("a")], "").await;
    keeper.look().await.unwrap();
    assert!(bench.left().await.contains(&56), "too little to do");
}

#[tokio::test]
async fn space_returns_to_the_file_system() {
    let dir = tempfile::TempDir::new().unwrap();
    let settings = embedded::Settings { segment_octets: 64 << 10, ..embedded::Settings::default() };
    let store = embedded::Store::open(dir.path(), MasterKey::new([7; 32]), settings).unwrap();
    let mut shared = Arc::into_inner(fixture::shared(&memory::Store::new())).unwrap();
    (shared.log, shared.blobs, shared.meta) = (store.log(), store.blobs(), store.meta());
    let mut bench = Bench::open(Arc::new(shared)).await;
    let max = 256 << 10;
    let policy = Policy { max_octets: Some(max), ..Policy::default() };
    let mut keeper = bench.keeper(policy, &[]);
    let body = "x".repeat(1000);
    let mut largest = 0;
    for _ in 0..20 {
        bench.publish([None; 100], &body).await;
        keeper.look().await.unwrap();
        largest = largest.max(octets_in(&dir.path().join("log/flow.scans")));
    }
    assert!(largest <= max + 2 * (64 << 10), "{largest} octets");
    assert!(largest > max / 2, "{largest} octets: it keeps what it may");
    let blobs: BTreeSet<_> = [bench.publish_blob(None).await.id].into();
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/committed")).unwrap().count(), blobs.len());
    bench.keeper(at_most(1), &[]).look().await.unwrap();
    bench.publish([None], "x").await;
    bench.keeper(at_most(1), &[]).look().await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/committed")).unwrap().count(), 0);
    assert!(octets_in(&dir.path().join("log/flow.scans")) < 8 << 10);
}

fn octets_in(dir: &std::path::Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_has_an_age_of_its_own_and_waits_for_holds() {
    let (_, bench) = Bench::memory().await;
    let holds = Holds::new(bench.shared.clone());
    let operator = principal("imaging").id.clone();
    let hold = holds.add(hold(None), "case 17", &operator).await.unwrap();
    let policy = Policy { max_age: Some(Duration::from_secs(80)), until_read: false, ..Policy::default() };
    let mut keeper = Keeper::new(bench.shared.clone(), LogName::Audit, policy);
    tokio::time::sleep(Duration::from_secs(100)).await;
    keeper.look().await.unwrap();
    assert!(left(&bench.shared, &LogName::Audit).await.contains(&0));
    holds.remove(hold.id, &operator).await.unwrap();
    keeper.look().await.unwrap();
    assert!(!left(&bench.shared, &LogName::Audit).await.contains(&0));
    assert_eq!(bench.deletions().await.len(), 1);
}
