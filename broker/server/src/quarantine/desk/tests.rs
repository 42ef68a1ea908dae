//! The desk on a store that fails and crashes where the test wants it.

use std::collections::BTreeMap;

use hilum_core::PrincipalId;
use hilum_core::control::HoldScope;
use hilum_core::policy::{Grant, OperatorGrant, Policy, Right};
use hilum_core::record::Stored;
use hilum_sandbox::StageSpec;
use hilum_store::{Durability, memory};

use super::*;
use crate::broker::Shared;
use crate::fixture::{
    audit, bad, blob, chain, count, counting, flow, policy, principal, record, shared, text,
};
use crate::flows::Rules;
use crate::holds::Holds;
use crate::ingest::{Lane, LaneTasks, RefusalKind};
use crate::quarantine::{Quarantines, named_blobs};
use crate::reload::Reloader;

struct Bench {
    store: memory::Store,
    shared: Arc<Shared>,
    flows: Arc<Flows>,
    desk: QuarantineDesk,
    _tasks: LaneTasks,
}

/// The flow's policy, with an operator who may work its quarantine.
fn operated() -> Policy {
    let to = Grant { rule: "operators[0]".into(), stakeholder: "it".parse().unwrap(), roles: Vec::new() };
    Policy { operators: vec![OperatorGrant { to, may: [Right::Quarantine].into() }], ..policy() }
}

async fn open_with(store: memory::Store, stages: Vec<StageSpec>, policy: Policy, octets_max: u64) -> Bench {
    let mut parts = Arc::into_inner(shared(&store)).unwrap();
    let names = [flow()];
    parts.quarantine = Quarantines::load(&*parts.log, names.iter(), octets_max).await.unwrap();
    let shared = Arc::new(parts);
    let chain = chain(&shared, stages);
    let lane = Lane::open(shared.clone(), flow(), chain, Durability::Fsynced).await;
    let (lane, tasks) = lane.unwrap();
    let by_name = [(flow(), Flow { lane, outlets: BTreeMap::new() })].into();
    let rules = Rules { policy, ..Rules::default() };
    let flows = Arc::new(Flows::new(shared.clone(), by_name, 0, rules, Reloader::default()));
    Bench { store, shared, desk: QuarantineDesk::new(flows.clone()), flows, _tasks: tasks }
}

async fn open(store: memory::Store, stages: Vec<StageSpec>) -> Bench {
    open_with(store, stages, operated(), u64::MAX).await
}

/// A broker whose chain stopped these records, and was then mended.
async fn mended(bodies: Vec<Body>) -> Bench {
    let broken = open(memory::Store::new(), vec![counting()]).await;
    for (sequence, body) in (1..).zip(bodies) {
        broken.publish(bad(sequence, body)).await;
    }
    open(broken.store.crash(), Vec::new()).await
}

fn permit() -> OperatorPermit {
    operated().operate(&principal("it"), Right::Quarantine, Some(&flow())).unwrap()
}

impl Bench {
    fn lane(&self) -> &Lane {
        &self.flows.by_name[&flow()].lane
    }

    async fn publish(&self, item: Item) -> Settled {
        self.lane().submit(vec![item]).await.unwrap().await.unwrap().remove(0)
    }

    async fn release(&self, id: u64) -> Result<Released, DeskError> {
        self.desk.release(permit(), Offset(id), "ticket".into()).await
    }

    async fn destroy(&self, id: u64) -> Result<(), DeskError> {
        self.desk.destroy(permit(), Offset(id), "ticket".into()).await
    }

    async fn waiting(&self) -> Vec<u64> {
        let page = self.desk.list(&flow(), Offset(0), &Filter::default()).await.unwrap();
        page.records.iter().map(|(id, _)| id.0).collect()
    }

    async fn stored(&self) -> Vec<Stored> {
        let entries = self.shared.log.read(&LogName::Flow(flow()), Offset(0), 1 << 20).await.unwrap();
        entries.iter().map(|entry| Stored::decode(flow(), entry.offset, &entry.octets).unwrap()).collect()
    }

    async fn actions(&self) -> Vec<Action> {
        let ours = |action: &Action| matches!(action, Action::Released | Action::Destroyed | Action::Denied);
        audit(&self.shared).await.into_iter().map(|event| event.action).filter(ours).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_record_is_stored_as_its_sender_sent_it_and_leaves_the_quarantine() {
    let bench = mended(vec![text("a"), text("b")]).await;
    assert_eq!(bench.waiting().await, [0, 1]);
    let before = bench.shared.quarantine.usage(&flow());
    assert_eq!(bench.release(1).await.unwrap(), Released::Stored(Offset(0)));
    assert_eq!(bench.waiting().await, [0]);
    let [stored] = &bench.stored().await[..] else { panic!("one record is stored") };
    let envelope = stored.envelope();
    assert_eq!((&envelope.body, &envelope.principal.id), (&text("b"), &principal("imaging").id));
    assert_eq!(envelope.head.labels, ["phi".parse().unwrap()], "labelled as policy says");
    assert_eq!(&*envelope.rule, "imaging");
    assert_eq!(bench.actions().await, [Action::Released]);
    let after = bench.shared.quarantine.usage(&flow());
    assert_eq!(after.records, before.records - 1);
    assert!(matches!(bench.release(1).await, Err(DeskError::NotFound(..))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_storing_and_removing_stores_it_once() {
    for body in ["inline", "large"] {
        let broken = open(memory::Store::new(), vec![counting()]).await;
        let body = if body == "large" { Body::Blob(blob(&broken.shared).await) } else { text("a") };
        broken.publish(bad(1, body)).await;
        let bench = open(broken.store.crash(), Vec::new()).await;
        let record = bench.desk.find(&flow(), Offset(0)).await.unwrap();
        let stored = bench.desk.store_again(&permit(), Offset(0), &record, "").await.unwrap();
        assert_eq!(stored, Released::Stored(Offset(0)));

        let again = open(bench.store.crash(), Vec::new()).await;
        assert_eq!(again.waiting().await, [0], "it was not removed");
        assert_eq!(again.release(0).await.unwrap(), Released::Already);
        assert!(again.waiting().await.is_empty());
        let [stored] = &again.stored().await[..] else { panic!("it is stored once") };
        if let Body::Blob(copy) = &stored.envelope().body {
            let octets = again.shared.blobs.read(copy, 0, 100).await.unwrap();
            assert_eq!(&octets[..], b"a large body", "its body is its own");
            let original = record.own_blob().unwrap();
            assert_ne!(copy.id, original.id);
            assert!(again.shared.blobs.read(original, 0, 1).await.is_err(), "the other one is gone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_stays_and_is_stored_once_later() {
    let bench = mended(vec![text("a")]).await;
    bench.store.faults().set_disk_full(true);
    assert!(matches!(bench.release(0).await, Err(DeskError::Unavailable(_))), "not without its audit");
    bench.store.faults().set_disk_full(false);
    // The first append is the audit's, the second the flow's.
    bench.store.faults().fail_append(2);
    assert!(matches!(bench.release(0).await, Err(DeskError::Unavailable(_))));
    assert_eq!(bench.waiting().await, [0]);
    assert_eq!(bench.release(0).await.unwrap(), Released::Stored(Offset(0)));
    assert_eq!(bench.stored().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_stops_again_stays_where_it_is() {
    let bench = open(memory::Store::new(), vec![counting()]).await;
    let large = blob(&bench.shared).await;
    bench.publish(bad(1, Body::Blob(large))).await;
    for _ in 0..2 {
        assert!(matches!(bench.release(0).await, Err(DeskError::Stopped(_))));
        assert_eq!(bench.waiting().await, [0], "and no copy of it");
    }
    assert_eq!(bench.shared.blobs.staged().await.unwrap(), [], "nor of its body");
    assert!(bench.shared.blobs.read(&large, 0, 1).await.is_ok());
    let mended = open(bench.store.crash(), Vec::new()).await;
    assert_eq!(mended.release(0).await.unwrap(), Released::Stored(Offset(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_asked_again() {
    let bench = mended(vec![text("a")]).await;
    let mut closed = operated();
    closed.flows.get_mut(&flow()).unwrap().publishers.clear();
    let closed = open_with(bench.store.crash(), Vec::new(), closed, u64::MAX).await;
    assert!(matches!(closed.release(0).await, Err(DeskError::Denied(_))));
    assert_eq!((closed.waiting().await, closed.stored().await.len()), (vec![0], 0));
    assert_eq!(closed.actions().await, [Action::Denied]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_destroyed_is_gone_with_its_body_and_what_is_held_is_not() {
    let broken = open(memory::Store::new(), vec![counting()]).await;
    let large = blob(&broken.shared).await;
    broken.publish(bad(1, Body::Blob(large))).await;
    assert!(named_blobs(&*broken.shared.log, &flow()).await.unwrap().contains(&large.id));
    let (holds, by) = (Holds::new(broken.shared.clone()), PrincipalId::new("spiffe://st-marys/it").unwrap());
    let hold = holds.add(HoldScope { flow: flow(), key: None }, "case 12", &by).await.unwrap();
    assert!(matches!(broken.destroy(0).await, Err(DeskError::Held(..))));
    assert!(broken.shared.blobs.read(&large, 0, 1).await.is_ok());
    holds.remove(hold.id, &by).await.unwrap();
    broken.destroy(0).await.unwrap();
    assert!(broken.shared.blobs.read(&large, 0, 1).await.is_err());
    assert!(matches!(broken.desk.find(&flow(), Offset(0)).await, Err(DeskError::NotFound(..))));
    assert_eq!(broken.shared.quarantine.usage(&flow()), crate::quarantine::Usage::default());
    assert_eq!(broken.actions().await, [Action::Destroyed]);
    let again = open(broken.store.crash(), Vec::new()).await;
    assert!(again.waiting().await.is_empty(), "also after a crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_destroyed_that_is_not_audited() {
    let bench = mended(vec![text("a")]).await;
    bench.store.faults().fail_append(1);
    assert!(matches!(bench.destroy(0).await, Err(DeskError::Unavailable(_))));
    assert_eq!(bench.waiting().await, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quarantine_slows_its_publishers_and_drops_nothing() {
    let bench = open_with(memory::Store::new(), vec![counting()], operated(), 1).await;
    let kind = |settled: Settled| match settled {
        Settled::Refused(refusal) => Some(refusal.kind),
        _ => None,
    };
    assert_eq!(kind(bench.publish(bad(1, text("a"))).await), Some(RefusalKind::ChainFailed));
    assert_eq!(kind(bench.publish(bad(2, text("b"))).await), Some(RefusalKind::Unavailable));
    assert_eq!(
        kind(bench.publish(record(3, text("c"))).await),
        Some(RefusalKind::OutOfOrder),
        "2 comes first"
    );
    assert_eq!(bench.waiting().await, [0]);
    // Also after a restart.
    let bench = open_with(bench.store.crash(), vec![counting()], operated(), 1).await;
    assert_eq!(kind(bench.publish(bad(2, text("b"))).await), Some(RefusalKind::Unavailable));
    bench.destroy(0).await.unwrap();
    assert_eq!(kind(bench.publish(bad(2, text("b"))).await), Some(RefusalKind::ChainFailed));
    assert_eq!(bench.publish(record(3, text("c"))).await, Settled::Stored(Offset(0)));
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_quarantine_comes_in_pages() {
    let bodies = (0..limits::ADMIN_PAGE_ITEMS_MAX + 5).map(|_| text("a")).collect();
    let bench = mended(bodies).await;
    let list = |from| {
        let desk = bench.desk.clone();
        async move { desk.list(&flow(), from, &Filter::default()).await.unwrap() }
    };
    let first = list(Offset(0)).await;
    assert_eq!(first.records.len(), limits::ADMIN_PAGE_ITEMS_MAX);
    let rest = list(first.next.unwrap()).await;
    assert_eq!((rest.records.len(), rest.next), (5, None));
    let filter = Filter { code: Some("no such code".into()), ..Filter::default() };
    assert!(bench.desk.list(&flow(), Offset(0), &filter).await.unwrap().records.is_empty());
}
