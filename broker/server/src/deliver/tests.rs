//! An outlet on a store that fails where the test wants it.

use hilum_core::record::BlobRef;
use hilum_store::memory;
use tokio::sync::mpsc;

use super::*;
use crate::fixture::{
    audit, bad, blob, chain, context, count, counting, flow, policy, principal, record, sandbox, services,
    shared, text,
};
use crate::flows::Seat;
use crate::ingest::{Item, Lane, LaneTasks};

struct Bench {
    store: memory::Store,
    shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    reader: Arc<Principal>,
    permit: ReadPermit,
    /// Keeps the flow open.
    _lane: (Lane, LaneTasks),
}

/// A flow with records, which `reader` reads through a chain.
async fn open(
    subscription: &str,
    reader: &str,
    stages: Vec<hilum_sandbox::StageSpec>,
    items: Vec<Item>,
) -> Bench {
    let store = memory::Store::new();
    let shared = shared(&store);
    let (emissions, _) = mpsc::channel(1);
    let (lane, tasks) =
        Lane::open(shared.clone(), flow(), chain(&shared, Vec::new()), emissions).await.unwrap();
    lane.submit(items).await.unwrap().await.unwrap();
    let egress = EgressChain::of(sandbox(), context(), stages, services(&shared));
    let outlet = Outlet::new(shared.clone(), flow(), subscription.parse().unwrap(), egress, lane.tail());
    let reader = principal(reader);
    let permit = policy().read(&reader, &flow(), &outlet.subscription).unwrap();
    Bench { store, shared, outlet: Arc::new(outlet), reader, permit, _lane: (lane, tasks) }
}

impl Bench {
    async fn next(&self, from: u64) -> Result<Batch, OutletError> {
        let chain = self.outlet.chain_for(&self.reader).await.unwrap();
        self.outlet.next(&self.permit, &chain, Offset(from), 1 << 20).await
    }

    async fn actions(&self) -> Vec<Action> {
        audit(&self.shared).await.iter().map(|event| event.action).collect()
    }
}

fn offsets(batch: &Batch) -> Vec<u64> {
    batch.deliveries.iter().map(|prepared| prepared.offset.0).collect()
}

#[tokio::test]
async fn a_delivery_is_audited_first() {
    let bench =
        open("reading", "radiology", Vec::new(), vec![record(1, text("a")), record(2, text("b"))]).await;
    let batch = bench.next(0).await.unwrap();
    assert_eq!((offsets(&batch), batch.next), (vec![0, 1], Offset(2)));
    assert_eq!(bench.actions().await, [Action::Delivered]);
    let batch = bench.next(2).await.unwrap();
    assert_eq!((offsets(&batch), batch.next), (vec![], Offset(2)), "there is nothing more");
    assert_eq!(bench.actions().await, [Action::Delivered]);
}

#[tokio::test]
async fn nothing_is_delivered_where_the_audit_cannot_be_written() {
    let bench = open("reading", "radiology", Vec::new(), vec![record(1, text("a"))]).await;
    bench.store.faults().fail_sync(1);
    for _ in 0..2 {
        assert!(matches!(bench.next(0).await, Err(OutletError::Append(_))), "a poisoned audit stays so");
    }
}

#[tokio::test]
async fn who_is_not_cleared_for_a_label_gets_nothing_of_it() {
    let bench = open("service", "manufacturer", Vec::new(), vec![record(1, text("a"))]).await;
    let batch = bench.next(0).await.unwrap();
    assert_eq!((offsets(&batch), batch.next), (vec![], Offset(1)), "the reader goes on after it");
    assert_eq!(bench.actions().await, [Action::Withheld]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_quarantined_once_however_often_its_reader_comes_back() {
    let items = vec![record(1, text("a")), bad(2, text("b")), record(3, text("c"))];
    let bench = open("reading", "radiology", vec![counting()], items).await;
    for _ in 0..3 {
        let batch = bench.next(0).await.unwrap();
        assert_eq!((offsets(&batch), batch.next), (vec![0, 2], Offset(3)));
    }
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 1);
    let judged = bench.actions().await.iter().filter(|action| **action == Action::Quarantined).count();
    assert_eq!(judged, 3, "each time is in the audit");
}

#[tokio::test]
async fn what_was_trimmed_is_gone_past() {
    let bench =
        open("reading", "radiology", Vec::new(), vec![record(1, text("a")), record(2, text("b"))]).await;
    bench.shared.log.trim(&LogName::Flow(flow()), Offset(2)).await.unwrap();
    assert_eq!(bench.next(0).await.unwrap().next, Offset(2));
}

#[tokio::test]
async fn a_large_body_of_a_withheld_record_stays_in_its_flow() {
    let store = memory::Store::new();
    let body: BlobRef = blob(&shared(&store)).await;
    let other = open("service", "manufacturer", Vec::new(), Vec::new()).await;
    let head = &record(1, text("a")).record.head().clone();
    let measured = hilum_core::record::Measured::new(Body::Blob(body));
    let run = ChainRun::unprocessed(head, &measured, other.outlet.chain.plan());
    let sealed = record(1, Body::Blob(body))
        .record
        .seal(other.outlet.chain.plan(), run.clone(), other.shared.now())
        .unwrap();
    let octets = sealed.into_iter().next().unwrap().into_entry().into_octets();
    let stored = Stored::decode(flow(), Offset(0), &octets).unwrap();
    assert_eq!(made(&run, &stored), [], "it was not made for the delivery, so it is not deleted after it");
}

#[tokio::test]
async fn the_newest_reader_gets_the_seat_when_the_one_before_has_left() {
    let bench = open("reading", "radiology", Vec::new(), Vec::new()).await;
    let seat = Arc::new(Seat::new(bench.outlet.clone()));
    let mut first = seat.take().await;
    let second = tokio::spawn({
        let seat = seat.clone();
        async move { seat.take().await }
    });
    for _ in 0..2 {
        first.asked_to_leave().await;
    }
    assert!(!second.is_finished(), "the seat is still taken");
    drop(first);
    let mut second = second.await.unwrap();
    let asked = tokio::time::timeout(std::time::Duration::from_millis(20), second.asked_to_leave()).await;
    assert!(asked.is_err(), "nobody wants it");
}
