//! The feed between the audit log and its flow, over a store in memory.

use hilum_core::audit::Action;
use hilum_core::policy::{FlowRules, Policy};
use hilum_store::{Durability, memory};
use serde_json::Value;

use super::*;
use crate::broker::{About, Shared};
use crate::fixture::{chain, shared};
use crate::flows::{Flow, Rules};
use crate::ingest::LaneTasks;
use crate::reload::Reloader;

struct Bench {
    store: memory::Store,
    shared: Arc<Shared>,
    lane: LaneTasks,
    feed: Feed,
}

fn target() -> FlowName {
    "audit".parse().unwrap()
}

fn audit_flow(statistics: Duration) -> AuditFlow {
    let place = crate::config::Place { file: "hilum.toml".into(), line: 1, column: 1 };
    AuditFlow { flow: target(), statistics, place }
}

async fn open(store: memory::Store, statistics: Duration) -> Bench {
    let shared = shared(&store);
    let opened = Lane::open(shared.clone(), target(), chain(&shared, Vec::new()), Durability::Fsynced).await;
    let (lane, tasks) = opened.unwrap();
    let zone = "clinical".parse().unwrap();
    let rules = FlowRules {
        zone: "clinical".parse().unwrap(),
        labels: Vec::new(),
        publishers: vec![audit_grant()],
        subscriptions: std::iter::empty().collect(),
    };
    let policy = Policy { flows: [(target(), rules)].into(), ..Policy::default() };
    let by_name = [(target(), Flow { lane, outlets: std::iter::empty().collect() })].into();
    let rules = Rules { policy, ..Rules::default() };
    let flows = Arc::new(Flows::new(shared.clone(), by_name, 0, rules, Reloader::default()));
    shared.traffic.begin();
    let (stopping, stop) = watch::channel(false);
    let principal = Arc::new(Principal {
        id: shared.identity.clone(),
        stakeholder: "plugin".parse().unwrap(),
        zone,
        roles: vec!["broker".parse().unwrap()],
    });
    let feeder = Feeder::new(flows, principal, audit_flow(statistics));
    Bench { store, shared, lane: tasks, feed: Feed { task: tokio::spawn(feeder.run(stop)), stopping } }
}

fn audit_grant() -> hilum_core::policy::Grant {
    hilum_core::policy::Grant {
        rule: "audit.flow".into(),
        stakeholder: "plugin".parse().unwrap(),
        roles: vec!["broker".parse().unwrap()],
    }
}

impl Bench {
    async fn happens(&self, action: Action, flow: &str, reason: &str) {
        let principal = Some("spiffe://st-marys/device/mri-1".parse().unwrap());
        let about = About { principal, flow: Some(flow.parse().unwrap()), ..About::default() };
        self.shared.audit(vec![about.event(self.shared.now(), action, reason)]).await.unwrap();
    }

    /// The bodies in the flow, when there are so many.
    async fn fed(&self, count: usize) -> Vec<Value> {
        let found = async {
            loop {
                let found = fed(&self.shared).await;
                if found.len() >= count {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect("they come")
    }

    async fn stop(self) -> memory::Store {
        self.feed.stop().await;
        self.lane.close().await;
        self.store
    }
}

async fn fed(shared: &Shared) -> Vec<Value> {
    let entries = shared.log.read(&LogName::Flow(target()), Offset(0), 1 << 30).await.unwrap();
    let body = |entry: &hilum_store::LogEntry| {
        let stored = hilum_core::record::Stored::decode(target(), entry.offset, &entry.octets).unwrap();
        let Body::Inline(body) = &stored.envelope().body else { panic!("it is small") };
        serde_json::from_slice(body).unwrap()
    };
    entries.iter().map(body).collect()
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_fed_once_and_in_order_whatever_happens() {
    let bench = open(memory::Store::new(), LONG).await;
    bench.happens(Action::Denied, "imaging", "1").await;
    bench.happens(Action::Delivered, "audit", "a consequence").await;
    bench.happens(Action::Denied, "imaging", "2").await;
    bench.fed(2).await;
    bench.store.faults().set_disk_full(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.store.faults().set_disk_full(false);
    bench.happens(Action::Denied, "imaging", "3").await;
    bench.fed(3).await;
    // It is stored, and then the broker crashes.
    let again = open(bench.store.crash(), LONG).await;
    again.happens(Action::Denied, "imaging", "4").await;
    again.fed(4).await;
    let store = again.stop().await;
    // Written while nobody feeds.
    let last = shared(&store);
    let event = About::default().event(last.now(), Action::Lifecycle, "5");
    last.audit(vec![event]).await.unwrap();
    let bench = open(store, LONG).await;
    let fed = bench.fed(5).await;
    let reasons: Vec<&str> = fed.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["1", "2", "3", "4", "5"]);
    let numbers: Vec<u64> = fed.iter().map(|event| event["event"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 6]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_is_a_record_when_the_period_is_over() {
    let bench = open(memory::Store::new(), Duration::from_millis(200)).await;
    let (flow, all) = ("imaging".parse().unwrap(), "all".parse().unwrap());
    let reader = "spiffe://st-marys/reader".parse().unwrap();
    bench.shared.traffic.delivered(&flow, &all, &reader, 3, 30);
    bench.shared.traffic.delivered(&target(), &all, &reader, 1, 1);
    let found = bench.fed(1).await;
    let line = serde_json::json!({
        "principal": "spiffe://st-marys/reader", "flow": "imaging", "subscription": "all", "records": 3, "octets": 30
    });
    assert_eq!(found[0]["lines"], serde_json::json!([line]));
    assert!(found[0]["from"].as_u64().unwrap() < found[0]["to"].as_u64().unwrap());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fed(&bench.shared).await.len(), 1, "nothing comes of nothing");
    bench.shared.traffic.delivered(&flow, &all, &reader, 1, 2);
    let store = bench.stop().await;
    assert_eq!(fed(&shared(&store)).await.len(), 2, "the last of it comes at the stop");
}
