//! Each record once, in order, whatever fails on the way; frames whole; and what the ack says.

use hilum_core::Head;
use hilum_core::record::Stored;
use proptest::prelude::*;

use super::*;
use crate::fixture::with_head;

/// Numbers of the publisher's records in the log.
async fn sequences(shared: &Shared) -> Vec<u64> {
    let entries = shared.log.read(&log(), Offset(0), usize::MAX).await.unwrap();
    let stored = entries.iter().map(|entry| Stored::decode(flow(), entry.offset, &entry.octets).unwrap());
    stored.filter_map(|stored| Some(stored.envelope().producer?.sequence)).collect()
}

/// Lets the lane's tasks do all they can where nothing waits for time.
async fn turn() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_start_reads_only_what_came_after_the_checkpoint() {
    let bench = Bench::plain().await;
    let since = bench.lane.producer(producer(), None).unwrap().known_since;
    bench.settle(record(1, text("a"))).await;
    let Bench { store, tasks, shared, .. } = bench;
    tasks.close().await;
    // What is before the checkpoint could not be read any more: a hole would make the producer unknown.
    shared.log.erase(&log(), vec![Offset(0)]).await.unwrap();
    let again = open(store.crash(), Vec::new()).await;
    assert_eq!(again.lane.producer(producer(), Some(since)).unwrap().last_settled, 1);
    again.settle(record(2, text("b"))).await;

    // Now it is after the checkpoint.
    again.store.faults().lose_meta();
    let lost = open(again.store.crash(), Vec::new()).await;
    assert_eq!(lost.lane.producer(producer(), Some(since)).unwrap().last_settled, 2, "the log is read");
}

#[tokio::test]
async fn what_a_start_had_to_read_counts_for_the_next_checkpoint() {
    let mut bench = Bench::plain().await;
    for sequence in 1..=3 {
        bench.settle(record(sequence, text("a"))).await;
        bench = open(bench.store.crash(), Vec::new()).await;
        let since = recover::recover(&bench.shared, &flow()).await.unwrap().since;
        assert_eq!(since.records, sequence, "no start forgets what those before it had to read");
        assert!(since.octets > sequence);
    }
    let Bench { tasks, shared, .. } = bench;
    tasks.close().await;
    assert_eq!(recover::recover(&shared, &flow()).await.unwrap().since.records, 0);
}

#[tokio::test]
async fn a_producer_whose_records_may_be_gone_is_refused() {
    let bench = Bench::plain().await;
    let since = bench.lane.producer(producer(), None).unwrap().known_since;
    bench.settle(record(1, text("a"))).await;
    bench.shared.log.erase(&log(), vec![Offset(0)]).await.unwrap();
    bench.store.faults().lose_meta();
    let again = open(bench.store.crash(), Vec::new()).await;
    assert_eq!(again.lane.producer(producer(), Some(since)).unwrap_err(), ProducerError::Unknown);
    let other = ProducerId([8; 16]);
    assert_eq!(again.lane.producer(other, None).unwrap().last_settled, 0, "a new one is welcome");
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_reading_the_log() {
    let bench = Bench::plain().await;
    bench.settle(record(1, text("a"))).await;
    let Bench { store, tasks, shared, .. } = bench;
    tasks.close().await;
    let pages = shared.meta.scan(b"producers/scans/", None, 10).await.unwrap();
    assert_eq!(pages.len(), 1);
    for (key, value) in pages {
        let mut bent = value.to_vec();
        bent[0] ^= 1;
        assert!(shared.meta.compare_and_set(&key, Some(&value), Some(&bent)).await.unwrap());
    }
    let again = open(store.crash(), Vec::new()).await;
    assert_eq!(again.lane.last_settled(producer()), 1);
}

#[tokio::test]
async fn a_frame_is_not_cut_by_the_size_of_an_append() {
    const RECORDS: u64 = 250;
    for keep in [0, 1] {
        let bench = Bench::plain().await;
        bench.store.faults().hold_syncs(true);
        drop(bench.submit(vec![record(1, text("a"))]).await);
        turn().await;
        for frame in 0..20 {
            let items = (0..RECORDS).map(|at| record(2 + frame * RECORDS + at, text("a")));
            drop(bench.submit(items.collect()).await);
        }
        turn().await;
        bench.store.faults().hold_syncs(false);
        bench.store.faults().hold_syncs(true);
        turn().await;
        let (store, _) = bench.store.power_cut(|_, batches| keep.min(batches));
        let found = open(store, Vec::new()).await;
        let end = count(&found.shared, &log()).await;
        assert_eq!((end - 1) % RECORDS, 0, "whole frames");
        assert_eq!(end > 1, keep > 0, "{end} of which {keep} groups were kept");
    }
}

#[tokio::test]
async fn a_frame_whose_append_fails_is_refused_as_a_whole() {
    let bench = Bench::plain().await;
    bench.store.faults().fail_append(1);
    let frame = || (1..=3).map(|sequence| record(sequence, text("a"))).collect();
    for settled in answer(bench.submit(frame()).await).await {
        assert_eq!(kind(&settled), RefusalKind::Unavailable);
    }
    assert_eq!(count(&bench.shared, &log()).await, 0);
    let stored: Vec<_> = (0..3).map(|at| Settled::Stored(Offset(at))).collect();
    assert_eq!(answer(bench.submit(frame()).await).await, stored);
}

#[tokio::test]
async fn what_has_expired_is_refused_and_a_retry_of_what_came_in_time_is_not() {
    let bench = Bench::plain().await;
    let expired = || with_head(1, |head| Head { expires: Some(Timestamp(1)), ..head });
    assert_eq!(kind(&bench.settle(expired()).await), RefusalKind::Expired);
    assert_eq!(count(&bench.shared, &log()).await, 0);
    let expires = Some(Timestamp(bench.shared.now().0 + 200));
    let soon = || with_head(2, |head| Head { expires, ..head });
    assert_eq!(bench.settle(soon()).await, Settled::Stored(Offset(0)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.settle(soon()).await, Settled::Repeat);
}

#[tokio::test]
async fn a_flow_may_answer_from_memory_and_still_shows_only_what_is_durable() {
    let store = memory::Store::new();
    let shared = shared(&store);
    let chain = chain(&shared, Vec::new());
    let opened = Lane::open(shared.clone(), flow(), chain, Durability::Memory).await;
    let (lane, _tasks) = opened.unwrap();
    store.faults().hold_syncs(true);
    let settled = answer(lane.submit(vec![record(1, text("a"))]).await.unwrap()).await;
    assert_eq!(settled, [Settled::Stored(Offset(0))]);
    let mut tail = lane.tail();
    assert_eq!(*tail.borrow(), Offset(0), "readers see nothing yet");
    store.faults().hold_syncs(false);
    let shown = timeout(Duration::from_secs(10), tail.wait_for(|tail| *tail == Offset(1))).await;
    assert!(shown.is_ok(), "readers see it when it is durable");
    // What a power cut may take away is what was not durable.
    store.faults().hold_syncs(true);
    answer(lane.submit(vec![record(2, text("b"))]).await.unwrap()).await;
    let found = open(store.crash(), Vec::new()).await;
    assert_eq!(sequences(&found.shared).await, [1]);
    assert_eq!(found.settle(record(2, text("b"))).await, Settled::Stored(Offset(1)));
}

/// What happens while a publisher sends one frame.
#[derive(Debug, Clone)]
enum Turn {
    Answered,
    /// The connection ends before the answer.
    AnswerLost,
    AppendFails,
    DiskFull,
    /// The log takes nothing more; the broker is started again.
    SyncFails,
    /// The power fails while the frame is under way; what was written may be there or not.
    PowerCut {
        kept: bool,
    },
    /// As before, and the metadata is lost.
    MetaLost {
        kept: bool,
    },
    /// The broker stops in good order after its answer.
    Restart,
}

fn any_turn() -> impl Strategy<Value = (u64, Turn)> {
    let turn = prop_oneof![
        3 => Just(Turn::Answered),
        2 => Just(Turn::AnswerLost),
        1 => Just(Turn::AppendFails),
        1 => Just(Turn::DiskFull),
        1 => Just(Turn::SyncFails),
        1 => any::<bool>().prop_map(|kept| Turn::PowerCut { kept }),
        1 => any::<bool>().prop_map(|kept| Turn::MetaLost { kept }),
        1 => Just(Turn::Restart),
    ];
    (1..4_u64, turn)
}

/// A publisher that sends again what has no answer, from the first such record on.
async fn publish(turns: Vec<(u64, Turn)>) -> Result<(), TestCaseError> {
    let mut bench = Bench::plain().await;
    let since = bench.lane.producer(producer(), None).unwrap().known_since;
    let mut next = 1;
    let last = (1, Turn::Answered);
    for (records, turn_of) in turns.into_iter().chain([last]) {
        let items = (next..next + records).map(|sequence| record(sequence, text("a"))).collect();
        let faults = bench.store.faults();
        match turn_of {
            Turn::AppendFails => faults.fail_append(1),
            Turn::DiskFull => faults.set_disk_full(true),
            Turn::SyncFails => faults.fail_sync(1),
            Turn::PowerCut { .. } | Turn::MetaLost { .. } => faults.hold_syncs(true),
            _ => {}
        }
        let reply = bench.submit(items).await;
        if let Turn::PowerCut { kept } | Turn::MetaLost { kept } = turn_of {
            turn().await;
            if matches!(turn_of, Turn::MetaLost { .. }) {
                faults.lose_meta();
            }
            let (store, _) = bench.store.power_cut(|_, batches| if kept { batches } else { 0 });
            bench = open(store, Vec::new()).await;
        } else {
            let settled = answer(reply).await;
            faults.set_disk_full(false);
            if !matches!(turn_of, Turn::AnswerLost) {
                next += settled.iter().take_while(|settled| !settled.is_retryable()).count() as u64;
            }
            if matches!(turn_of, Turn::SyncFails | Turn::Restart) {
                bench.tasks.close().await;
                bench = open(bench.store.crash(), Vec::new()).await;
            }
        }
        let known = bench.lane.producer(producer(), Some(since));
        let settled = known.map(|known| known.last_settled);
        prop_assert!(settled.is_ok_and(|settled| settled + 1 >= next), "{settled:?} where {next} is next");
    }
    let stored = sequences(&bench.shared).await;
    let expected: Vec<u64> = (1..=stored.len() as u64).collect();
    prop_assert_eq!(&stored, &expected, "each once, in order");
    prop_assert!(
        stored.len() as u64 + 1 >= next,
        "{} records of which all before {} were acked",
        stored.len(),
        next
    );
    Ok(())
}

proptest! {
    #[test]
    fn whatever_fails_each_record_is_stored_once_and_in_order(
        turns in proptest::collection::vec(any_turn(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(publish(turns))?;
    }
}
