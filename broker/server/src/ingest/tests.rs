//! A lane on a store that fails where the test wants it.

mod idempotence;
mod observed;

use std::time::Duration;

use bytes::Bytes;
use hilum_core::audit::Action;
use hilum_core::record::Body;
use hilum_core::{Head, LogName, limits};
use hilum_store::{Durability, memory};
use tokio::time::timeout;

use super::*;
use crate::fixture::{
    audit, bad, blob, chain, count, counting, flow, producer, record, shared, text, with_head,
};

struct Bench {
    store: memory::Store,
    shared: Arc<Shared>,
    lane: Lane,
    tasks: LaneTasks,
}

async fn open(store: memory::Store, stages: Vec<hilum_sandbox::StageSpec>) -> Bench {
    let shared = shared(&store);
    let chain = chain(&shared, stages);
    let (lane, tasks) = Lane::open(shared.clone(), flow(), chain, Durability::Fsynced).await.unwrap();
    Bench { store, shared, lane, tasks }
}

impl Bench {
    async fn plain() -> Self {
        open(memory::Store::new(), Vec::new()).await
    }

    async fn submit(&self, items: Vec<Item>) -> oneshot::Receiver<Vec<Settled>> {
        self.lane.submit(items).await.unwrap()
    }

    /// Submits one record and waits for its answer.
    async fn settle(&self, item: Item) -> Settled {
        answer(self.submit(vec![item]).await).await.remove(0)
    }
}

async fn answer(reply: oneshot::Receiver<Vec<Settled>>) -> Vec<Settled> {
    timeout(Duration::from_secs(10), reply).await.expect("an answer comes").expect("the lane lives")
}

/// Lets the lane's tasks do all they can.
async fn idle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn kind(settled: &Settled) -> RefusalKind {
    let Settled::Refused(refusal) = settled else { panic!("{settled:?} is no refusal") };
    refusal.kind
}

fn log() -> LogName {
    LogName::Flow(flow())
}

#[tokio::test]
async fn an_ack_comes_when_the_record_is_durable_and_not_before() {
    let bench = Bench::plain().await;
    bench.store.faults().hold_syncs(true);
    let mut reply = bench.submit(vec![record(1, text("a")), record(2, text("b"))]).await;
    idle().await;
    assert!(reply.try_recv().is_err(), "nothing is durable");
    assert_eq!(*bench.lane.tail().borrow(), Offset(0), "nothing is shown to readers");
    bench.store.faults().hold_syncs(false);
    assert_eq!(answer(reply).await, [Settled::Stored(Offset(0)), Settled::Stored(Offset(1))]);
    assert_eq!(*bench.lane.tail().borrow(), Offset(2));
}

#[tokio::test]
async fn what_could_not_be_stored_comes_again_in_order_and_is_stored_once() {
    let bench = Bench::plain().await;
    bench.store.faults().fail_append(1);
    let failed = answer(bench.submit(vec![record(1, text("a")), record(2, text("b"))]).await).await;
    assert_eq!([kind(&failed[0]), kind(&failed[1])], [RefusalKind::Unavailable; 2]);
    assert_eq!(kind(&bench.settle(record(3, text("c"))).await), RefusalKind::OutOfOrder);
    assert_eq!(bench.settle(record(1, text("a"))).await, Settled::Stored(Offset(0)));
    assert_eq!(kind(&bench.settle(record(3, text("c"))).await), RefusalKind::OutOfOrder, "2 is missing");
    let rest = answer(bench.submit(vec![record(2, text("b")), record(3, text("c"))]).await).await;
    assert_eq!(rest, [Settled::Stored(Offset(1)), Settled::Stored(Offset(2))]);
    assert_eq!(bench.settle(record(3, text("c"))).await, Settled::Repeat);
    assert_eq!(count(&bench.shared, &log()).await, 3);
}

#[tokio::test]
async fn a_repetition_in_a_group_that_fails_is_not_acknowledged() {
    let bench = Bench::plain().await;
    bench.store.faults().hold_syncs(true);
    let first = bench.submit(vec![record(1, text("a"))]).await;
    idle().await;
    // A publisher that comes back sends again what its broken connection has brought already.
    let old = bench.submit(vec![record(2, text("b"))]).await;
    let new = bench.submit(vec![record(2, text("b"))]).await;
    idle().await;
    bench.store.faults().fail_append(1);
    bench.store.faults().hold_syncs(false);
    assert_eq!(answer(first).await, [Settled::Stored(Offset(0))]);
    assert_eq!(kind(&answer(old).await[0]), RefusalKind::Unavailable);
    assert_eq!(kind(&answer(new).await[0]), RefusalKind::Unavailable);
    assert_eq!(bench.settle(record(2, text("b"))).await, Settled::Stored(Offset(1)));
}

#[tokio::test]
async fn a_repetition_in_a_group_that_succeeds_is_stored_once() {
    let bench = Bench::plain().await;
    let both = answer(bench.submit(vec![record(1, text("a")), record(1, text("a"))]).await).await;
    assert_eq!(both, [Settled::Stored(Offset(0)), Settled::Repeat]);
    assert_eq!(count(&bench.shared, &log()).await, 1);
}

#[tokio::test]
async fn a_poisoned_log_acknowledges_nothing() {
    let bench = Bench::plain().await;
    bench.store.faults().fail_sync(1);
    for _ in 0..2 {
        let refused = bench.settle(record(1, text("a"))).await;
        assert_eq!(kind(&refused), RefusalKind::Unavailable);
        assert!(!format!("{refused:?}").contains("memory"), "paths stay here: {refused:?}");
    }
    assert_eq!(bench.lane.last_settled(producer()), 0);
}

#[tokio::test]
async fn a_restart_knows_what_was_stored() {
    let bench = Bench::plain().await;
    bench.settle(record(1, text("a"))).await;
    bench.settle(record(2, text("b"))).await;
    let again = open(bench.store.crash(), Vec::new()).await;
    assert_eq!(again.lane.last_settled(producer()), 2);
    assert_eq!(again.settle(record(2, text("b"))).await, Settled::Repeat);
    assert_eq!(again.settle(record(3, text("c"))).await, Settled::Stored(Offset(2)));
}

#[tokio::test]
async fn closing_answers_everything_that_was_submitted() {
    let bench = Bench::plain().await;
    let mut replies = Vec::new();
    for sequence in 1..=50 {
        replies.push(bench.submit(vec![record(sequence, text("a"))]).await);
    }
    replies.push(bench.submit(Vec::new()).await);
    timeout(Duration::from_secs(10), bench.tasks.close()).await.expect("the lane closes");
    for (at, mut reply) in (0..).zip(replies) {
        let settled = reply.try_recv().expect("it is answered");
        assert!(settled.is_empty() || settled == [Settled::Stored(Offset(at))], "{settled:?}");
    }
    assert!(bench.lane.submit(vec![record(51, text("a"))]).await.is_err());
}

#[tokio::test]
async fn a_long_queue_is_appended_in_parts_that_a_log_takes() {
    let bench = Bench::plain().await;
    bench.store.faults().hold_syncs(true);
    let mut replies = vec![bench.submit(vec![record(1, text("a"))]).await];
    idle().await;
    let body = Body::Inline(Bytes::from(vec![0; limits::INLINE_BODY_OCTETS_MAX]));
    for group in 0..40 {
        let items = (0..4).map(|at| record(2 + group * 4 + at, body.clone()));
        replies.push(bench.submit(items.collect()).await);
    }
    idle().await;
    bench.store.faults().hold_syncs(false);
    let mut offsets = Vec::new();
    for reply in replies {
        offsets.extend(answer(reply).await);
    }
    let expected: Vec<Settled> = (0..161).map(|at| Settled::Stored(Offset(at))).collect();
    assert_eq!(offsets, expected);
}

#[tokio::test]
async fn a_large_body_that_finds_no_room_leaves_nothing_behind() {
    let bench = Bench::plain().await;
    let refused = blob(&bench.shared).await;
    bench.store.faults().set_disk_full(true);
    assert_eq!(kind(&bench.settle(record(1, Body::Blob(refused))).await), RefusalKind::Unavailable);
    bench.store.faults().set_disk_full(false);
    assert_eq!(bench.shared.blobs.staged().await.unwrap(), []);
    assert!(bench.shared.blobs.read(&refused, 0, 1).await.is_err(), "it is gone");

    let stored = blob(&bench.shared).await;
    bench.settle(record(1, Body::Blob(stored))).await;
    let repeated = blob(&bench.shared).await;
    assert_eq!(bench.settle(record(1, Body::Blob(repeated))).await, Settled::Repeat);
    assert_eq!(bench.shared.blobs.staged().await.unwrap(), [], "one is committed, the other deleted");
    assert!(bench.shared.blobs.read(&stored, 0, 1).await.is_ok());
    assert!(bench.shared.blobs.read(&repeated, 0, 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_fails_on_goes_to_quarantine_and_the_rest_is_stored() {
    let bench = open(memory::Store::new(), vec![counting()]).await;
    let large = blob(&bench.shared).await;
    let items = vec![record(1, text("a")), bad(2, Body::Blob(large)), record(3, text("c"))];
    let settled = answer(bench.submit(items).await).await;
    assert_eq!([&settled[0], &settled[2]], [&Settled::Stored(Offset(0)), &Settled::Stored(Offset(1))]);
    assert_eq!(kind(&settled[1]), RefusalKind::ChainFailed);
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 1);
    assert!(audit(&bench.shared).await.iter().any(|event| event.action == Action::Quarantined));
    assert_eq!(bench.shared.blobs.staged().await.unwrap(), [], "the quarantine keeps the body");
    assert!(bench.shared.blobs.read(&large, 0, 1).await.is_ok());
    assert_eq!(bench.settle(bad(2, text("b"))).await, Settled::Repeat, "it is settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_whole_or_is_in_quarantine_whole() {
    let bench = open(memory::Store::new(), vec![counting()]).await;
    let batch =
        |items: Vec<Item>| async { answer(bench.lane.submit_batch(items, None).await.unwrap()).await };
    let settled = batch(vec![record(1, text("a")), record(2, text("b"))]).await;
    assert_eq!(settled, [Settled::Stored(Offset(0)), Settled::Stored(Offset(1))]);

    let guilty = || vec![record(3, text("c")), bad(4, text("d")), record(5, text("e"))];
    let settled = batch(guilty()).await;
    let kinds: Vec<_> = settled.iter().map(kind).collect();
    assert_eq!(kinds, [RefusalKind::Batch, RefusalKind::ChainFailed, RefusalKind::Batch]);
    assert_eq!(count(&bench.shared, &log()).await, 2);
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 3);
    assert_eq!(batch(guilty()).await, [Settled::Repeat, Settled::Repeat, Settled::Repeat]);
    assert_eq!(count(&bench.shared, &log()).await, 2, "a retry stores no part of it");

    let late = vec![record(6, text("f")), with_head(7, |head| Head { expires: Some(Timestamp(1)), ..head })];
    let kinds: Vec<_> = batch(late).await.iter().map(kind).collect();
    assert_eq!(kinds, [RefusalKind::Batch, RefusalKind::Expired]);
    assert_eq!(count(&bench.shared, &log()).await, 2);
    assert_eq!(bench.settle(record(8, text("g"))).await, Settled::Stored(Offset(2)), "the producer goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_for_which_quarantine_has_no_room_may_come_again_whole() {
    let bench = open(memory::Store::new(), vec![counting()]).await;
    assert!(bench.shared.quarantine.reserve(&flow(), 1, u64::MAX));
    let batch =
        |items: Vec<Item>| async { answer(bench.lane.submit_batch(items, None).await.unwrap()).await };
    let settled = batch(vec![record(1, text("a")), bad(2, text("b")), record(3, text("c"))]).await;
    assert!(settled.iter().all(Settled::is_retryable), "{settled:?}");
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 0);
    let settled = batch(vec![record(1, text("a")), record(2, text("b")), record(3, text("c"))]).await;
    assert_eq!(settled, (0..3).map(|at| Settled::Stored(Offset(at))).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_given_where_the_audit_cannot_be_written() {
    let bench = open(memory::Store::new(), vec![counting()]).await;
    // The first sync is the quarantine's, the second the audit's.
    bench.store.faults().fail_sync(2);
    let settled = answer(bench.submit(vec![record(1, text("a")), bad(2, text("b"))]).await).await;
    assert_eq!([kind(&settled[0]), kind(&settled[1])], [RefusalKind::Unavailable; 2]);
    assert_eq!(count(&bench.shared, &log()).await, 0);
    // What leaves no audit event goes on.
    assert_eq!(bench.settle(record(1, text("a"))).await, Settled::Stored(Offset(0)));
}
