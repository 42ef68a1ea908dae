//! An outlet on a store that fails where the test wants it.

use hilum_core::Timestamp;
use hilum_core::filter::Filter;
use hilum_core::record::{BlobRef, Head};
use hilum_core::wire::admin::SeekTo;
use hilum_store::{Durability, memory};

use super::*;
use crate::fixture::{
    audit, bad, blob, chain, context, count, counting, flow, policy, principal, record, sandbox, services,
    shared, text, with_head,
};
use crate::flows::Seat;
use crate::ingest::{Item, Lane, LaneTasks};

struct Bench {
    store: memory::Store,
    shared: Arc<Shared>,
    outlet: Arc<Outlet>,
    reader: Arc<Principal>,
    id: ReaderId,
    permit: ReadPermit,
    /// Keeps the flow open.
    _lane: (Lane, LaneTasks),
}

fn room(records: u32) -> Credit {
    Credit { records, octets: u64::MAX }
}

/// A flow with records, which `reader` reads through a chain.
async fn open(
    subscription: &str,
    reader: &str,
    stages: Vec<hilum_sandbox::StageSpec>,
    items: Vec<Item>,
) -> Bench {
    open_with(subscription, reader, stages, items, DeliveryConfig::default()).await
}

async fn open_with(
    subscription: &str,
    reader: &str,
    stages: Vec<hilum_sandbox::StageSpec>,
    items: Vec<Item>,
    settings: DeliveryConfig,
) -> Bench {
    let store = memory::Store::new();
    let shared = shared(&store);
    let (lane, tasks) =
        Lane::open(shared.clone(), flow(), chain(&shared, Vec::new()), Durability::Fsynced).await.unwrap();
    lane.submit(items).await.unwrap().await.unwrap();
    let egress = EgressChain::of(sandbox(), context(), stages, services(&shared));
    let name = subscription.parse().unwrap();
    let outlet = Outlet::new(shared.clone(), &lane, name, egress, settings);
    let reader = principal(reader);
    let permit = policy().read(&reader, &flow(), &outlet.subscription).unwrap();
    let id = outlet.join().await.unwrap();
    Bench { store, shared, outlet: Arc::new(outlet), reader, id, permit, _lane: (lane, tasks) }
}

impl Bench {
    async fn next(&self) -> Result<Batch, OutletError> {
        let chain = self.outlet.chain_for(&self.reader).await.unwrap();
        self.outlet.next(&self.permit, &chain, self.id, room(1000)).await
    }

    /// Everything from the start comes once more, with its claims.
    async fn again(&self) -> Result<Batch, OutletError> {
        self.outlet.seek(SeekTo::Start, &self.reader.id, "").await.unwrap();
        self.next().await
    }

    async fn cursor(&self) -> u64 {
        self.outlet.cursor().await.unwrap().0
    }

    /// The same subscription of a broker that starts again.
    fn restart(&self) -> Arc<Outlet> {
        self.restart_with(DeliveryConfig::default())
    }

    fn restart_with(&self, settings: DeliveryConfig) -> Arc<Outlet> {
        let egress = EgressChain::of(sandbox(), context(), Vec::new(), services(&self.shared));
        let (shared, name) = (self.shared.clone(), self.outlet.subscription.clone());
        Arc::new(Outlet::new(shared, &self._lane.0, name, egress, settings))
    }

    async fn actions(&self) -> Vec<Action> {
        audit(&self.shared).await.iter().map(|event| event.action).collect()
    }
}

fn offsets(batch: &Batch) -> Vec<u64> {
    batch.deliveries.iter().map(|prepared| prepared.claim.offset.0).collect()
}

fn claims(batch: &Batch) -> Vec<Claim> {
    batch.deliveries.iter().map(|prepared| prepared.claim).collect()
}

fn two() -> Vec<Item> {
    vec![record(1, text("a")), record(2, text("b"))]
}

#[tokio::test]
async fn a_delivery_is_audited_first() {
    let bench = open("reading", "radiology", Vec::new(), two()).await;
    let batch = bench.next().await.unwrap();
    assert_eq!((offsets(&batch), batch.records), (vec![0, 1], 2));
    assert_eq!(bench.actions().await, [Action::Delivered]);
    assert_eq!(bench.next().await.unwrap().records, 0, "there is nothing more");
    assert_eq!(bench.actions().await, [Action::Delivered]);
    assert_eq!(bench.cursor().await, 0);
    bench.outlet.settle(&claims(&batch));
    assert_eq!(bench.cursor().await, 2);
}

#[tokio::test]
async fn nothing_is_delivered_where_the_audit_cannot_be_written() {
    let bench = open("reading", "radiology", Vec::new(), vec![record(1, text("a"))]).await;
    bench.store.faults().fail_sync(1);
    assert!(matches!(bench.next().await, Err(OutletError::Append(_))));
    bench.outlet.leave(bench.id, true).await;
    let chain = bench.outlet.chain_for(&bench.reader).await.unwrap();
    let id = bench.outlet.join().await.unwrap();
    let again = bench.outlet.next(&bench.permit, &chain, id, room(10)).await;
    assert!(matches!(again, Err(OutletError::Append(_))), "a poisoned audit stays so");
    assert_eq!(bench.cursor().await, 0);
}

#[tokio::test]
async fn who_is_not_cleared_for_a_label_gets_nothing_of_it() {
    let bench = open("service", "manufacturer", Vec::new(), vec![record(1, text("a"))]).await;
    let batch = bench.next().await.unwrap();
    assert_eq!((offsets(&batch), batch.records), (vec![], 1));
    assert_eq!(bench.cursor().await, 1, "the subscription goes on after it");
    assert_eq!(bench.actions().await, [Action::Withheld]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_quarantined_once_however_often_it_is_judged() {
    let items = vec![record(1, text("a")), bad(2, text("b")), record(3, text("c"))];
    let bench = open("reading", "radiology", vec![counting()], items).await;
    assert_eq!(offsets(&bench.next().await.unwrap()), [0, 2]);
    bench.outlet.leave(bench.id, false).await;
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 1);
    let judged = bench.actions().await.iter().filter(|action| **action == Action::Quarantined).count();
    assert_eq!(judged, 1, "it is settled then");
}

#[tokio::test]
async fn what_was_trimmed_is_gone_past() {
    let bench = open("reading", "radiology", Vec::new(), two()).await;
    bench.shared.log.trim(&LogName::Flow(flow()), Offset(2)).await.unwrap();
    assert_eq!(bench.next().await.unwrap().records, 0);
    assert_eq!(bench.cursor().await, 2);
}

#[tokio::test]
async fn what_is_trimmed_while_it_waits_to_come_again_is_settled() {
    let bench = open("reading", "radiology", Vec::new(), two()).await;
    let batch = bench.next().await.unwrap();
    bench.outlet.nak(&claims(&batch), Some(0));
    bench.shared.log.trim(&LogName::Flow(flow()), Offset(1)).await.unwrap();
    let batch = bench.next().await.unwrap();
    assert_eq!((offsets(&batch), batch.deliveries[0].claim.attempt), (vec![1], 2));
    assert_eq!(bench.cursor().await, 1);
}

#[tokio::test]
async fn an_expired_record_is_not_delivered_and_that_is_audited() {
    let expires = Some(Timestamp(bench_now() + 300));
    let items = vec![with_head(1, |head| Head { expires, ..head }), record(2, text("b"))];
    let bench = open("reading", "radiology", Vec::new(), items).await;
    tokio::time::sleep(std::time::Duration::from_millis(350)).await;
    assert_eq!(offsets(&bench.next().await.unwrap()), [1]);
    assert_eq!(bench.actions().await, [Action::Expired, Action::Delivered]);
    assert_eq!(bench.cursor().await, 1);
}

#[tokio::test]
async fn a_record_for_later_waits_without_holding_up_the_others() {
    let deliver_after = Some(Timestamp(bench_now() + 150));
    let items = vec![with_head(1, |head| Head { deliver_after, ..head }), record(2, text("b"))];
    let bench = open("reading", "radiology", Vec::new(), items).await;
    assert_eq!(offsets(&bench.next().await.unwrap()), [1]);
    assert_eq!(bench.next().await.unwrap().records, 0);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    bench.outlet.state().await.unwrap().change(|it, now| it.handle_timeout(now));
    assert_eq!(offsets(&bench.next().await.unwrap()), [0]);
}

fn bench_now() -> u64 {
    crate::clock::Clock::SYSTEM.now().0
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_settled() {
    let filter = Some(Filter::parse("unit = 'K'").unwrap());
    let unit = |head: Head| {
        let attributes = vec![hilum_core::Attribute { name: "unit".into(), value: "K".into() }];
        Head { attributes, ..head }
    };
    let items = vec![record(1, text("a")), with_head(2, unit), record(3, text("c"))];
    let settings = DeliveryConfig { filter, ..DeliveryConfig::default() };
    let bench = open_with("reading", "radiology", Vec::new(), items, settings).await;
    let batch = bench.next().await.unwrap();
    assert_eq!(offsets(&batch), [1]);
    bench.outlet.settle(&claims(&batch));
    assert_eq!(bench.cursor().await, 3);
}

#[tokio::test]
async fn a_terminated_record_is_in_the_audit_with_its_code() {
    let bench = open("reading", "radiology", Vec::new(), two()).await;
    let batch = bench.next().await.unwrap();
    let code = "unreadable".parse().unwrap();
    bench.outlet.terminate(&bench.permit, &claims(&batch)[..1], &code).await.unwrap();
    assert_eq!(bench.cursor().await, 1);
    let events = audit(&bench.shared).await;
    let last = events.last().unwrap();
    assert_eq!(
        (last.action, &*last.reason, last.offset),
        (Action::Terminated, "unreadable", Some(Offset(0)))
    );
    bench.store.faults().fail_sync(1);
    assert!(bench.outlet.terminate(&bench.permit, &claims(&batch)[1..], &code).await.is_err());
    assert_eq!(bench.cursor().await, 1, "not without the audit");
}

#[tokio::test]
async fn what_is_settled_beyond_the_cursor_does_not_come_again_after_a_restart() {
    let items = (1..=4).map(|sequence| record(sequence, text("x"))).collect();
    let bench = open("reading", "radiology", Vec::new(), items).await;
    let batch = bench.next().await.unwrap();
    bench.outlet.settle(&claims(&batch)[1..3]);
    bench.outlet.leave(bench.id, true).await;
    let restarted = bench.restart();
    let id = restarted.join().await.unwrap();
    let chain = restarted.chain_for(&bench.reader).await.unwrap();
    let batch = restarted.next(&bench.permit, &chain, id, room(1000)).await.unwrap();
    assert_eq!(offsets(&batch), [0, 3]);
    bench.store.faults().lose_meta();
    let restarted = bench.restart();
    let id = restarted.join().await.unwrap();
    let batch = restarted.next(&bench.permit, &chain, id, room(1000)).await.unwrap();
    assert_eq!(offsets(&batch), [0, 1, 2, 3], "metadata that is lost costs a redelivery");
}

#[tokio::test]
async fn a_subscription_that_begins_with_the_latest_keeps_its_beginning() {
    let settings = || DeliveryConfig { start: Start::Latest, ..DeliveryConfig::default() };
    let bench = open_with("reading", "radiology", Vec::new(), two(), settings()).await;
    assert_eq!(bench.cursor().await, 2);
    bench._lane.0.submit(vec![record(3, text("c"))]).await.unwrap().await.unwrap();
    bench.store.faults().lose_meta();
    let restarted = bench.restart_with(settings());
    assert_eq!(restarted.cursor().await.unwrap(), Offset(2), "not where the flow ends now");
}

#[tokio::test]
async fn a_time_finds_the_first_record_that_was_taken_then() {
    let bench = open("reading", "radiology", Vec::new(), two()).await;
    let all = bench.outlet.seek(SeekTo::Time(Timestamp(0)), &bench.reader.id, "").await.unwrap();
    assert_eq!(all, Offset(0));
    let none = bench.outlet.seek(SeekTo::Time(Timestamp(u64::MAX)), &bench.reader.id, "").await.unwrap();
    assert_eq!(none, Offset(2));
    assert_eq!(bench.next().await.unwrap().records, 0);
    assert_eq!(offsets(&bench.again().await.unwrap()), [0, 1]);
    let status = bench.outlet.status().await.unwrap();
    assert_eq!((status.cursor, status.end, status.lag), (Offset(0), Offset(2), 2));
    assert_eq!((status.in_flight, status.readers, status.paused), (2, 1, false));
    assert!(status.oldest.is_some());
}

#[tokio::test]
async fn a_paused_subscription_delivers_nothing() {
    let bench = open("reading", "radiology", Vec::new(), two()).await;
    bench.outlet.pause("maintenance", &bench.reader.id).await.unwrap();
    assert_eq!(bench.next().await.unwrap().records, 0);
    assert!(bench.outlet.status().await.unwrap().paused);
    bench.outlet.resume(&bench.reader.id).await.unwrap();
    assert_eq!(offsets(&bench.next().await.unwrap()), [0, 1]);
}

#[tokio::test]
async fn a_large_body_of_a_withheld_record_stays_in_its_flow() {
    let store = memory::Store::new();
    let body: BlobRef = blob(&shared(&store)).await;
    let other = open("service", "manufacturer", Vec::new(), Vec::new()).await;
    let head = &record(1, text("a")).record.head().clone();
    let measured = hilum_core::record::Measured::new(Body::Blob(body));
    let run = ChainRun::unprocessed(head, &measured, other.outlet.setup().chain.plan());
    let sealed = record(1, Body::Blob(body))
        .record
        .seal(other.outlet.setup().chain.plan(), run.clone(), other.shared.now())
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

/// Of a flow that is acked from memory a crash may take the end. What was settled there must not count for what comes in its place, though
/// nobody reads before the next crash.
#[tokio::test]
async fn what_a_crash_took_is_forgotten_before_the_flow_grows_past_it() {
    let store = memory::Store::new();
    let shared = shared(&store);
    let settled = Progress { settled: vec![(Offset(6), Offset(8))], ..Progress::from(Offset(4)) };
    let name: SubscriptionName = "radiology".parse().unwrap();
    let fixed = FlowEnd::Fixed(Offset(10));
    let (mut kept, _) = Kept::load(&*shared.meta, &flow(), &name, fixed).await.unwrap();
    kept.write(&*shared.meta, &settled).await.unwrap();

    let opened = Lane::open(shared.clone(), flow(), chain(&shared, Vec::new()), Durability::Memory).await;
    let (lane, _tasks) = opened.unwrap();
    let egress = EgressChain::of(sandbox(), context(), Vec::new(), services(&shared));
    let outlet = Outlet::new(shared.clone(), &lane, name.clone(), egress, DeliveryConfig::default());
    assert_eq!(outlet.cursor().await.unwrap(), Offset(0), "the flow has no records any more");

    let (_, found) = Kept::load(&*shared.meta, &flow(), &name, fixed).await.unwrap();
    assert_eq!(found, Some(Progress::from(Offset(0))));
}
