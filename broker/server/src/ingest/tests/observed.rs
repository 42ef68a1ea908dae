//! What observing stages keep and emit is what they make of the records that are stored: no more, and no less.

use hilum_core::{StageName, Timestamp};
use hilum_sandbox::{Limits, StageSpec};

use super::*;

fn stage() -> StageName {
    "counter".parse().unwrap()
}

async fn counter(store: memory::Store) -> Bench {
    open(store, vec![counting()]).await
}

/// What the plugin has counted.
fn counted(bench: &Bench) -> u64 {
    let kept = bench.shared.states.of(&flow()).values(&stage(), None, 10, 1 << 20).unwrap_or_default();
    kept.first().map_or(0, |(key, value)| {
        assert_eq!(key, "count");
        u64::from_be_bytes(value.octets[..].try_into().unwrap())
    })
}

/// What it emitted at records and is not carried on, by number.
fn emitted(bench: &Bench) -> Vec<String> {
    let (outgoing, _) = bench.shared.states.of(&flow()).outgoing(Offset(u64::MAX));
    let bodies = outgoing.iter().map(|it| String::from_utf8(it.emitted.body.to_vec()).unwrap());
    bodies.filter(|body| !body.starts_with("tick")).collect()
}

/// Each stored record is counted once, and each count is emitted once.
async fn assert_exact(bench: &Bench, stored: u64) {
    assert_eq!(count(&bench.shared, &log()).await, stored);
    assert_eq!(counted(bench), stored);
    assert_eq!(emitted(bench), (1..=stored).map(|count| count.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_stored_is_observed() {
    let bench = counter(memory::Store::new()).await;
    let stored = answer(bench.submit(vec![record(1, text("a")), record(2, text("b"))]).await).await;
    assert_eq!(stored, [Settled::Stored(Offset(0)), Settled::Stored(Offset(1))]);
    let expired = with_head(3, |head| Head { expires: Some(Timestamp(1)), ..head });
    let mixed = vec![record(2, text("b")), expired, record(4, text("d")), record(4, text("d"))];
    let settled = answer(bench.submit(mixed).await).await;
    assert_eq!([&settled[0], &settled[3]], [&Settled::Repeat, &Settled::Repeat]);
    assert_eq!((kind(&settled[1]), &settled[2]), (RefusalKind::Expired, &Settled::Stored(Offset(2))));
    assert_exact(&bench, 3).await;
    assert_exact(&counter(bench.store.crash()).await, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_on_which_an_observer_fails_is_stopped_and_not_counted() {
    let bench = counter(memory::Store::new()).await;
    let items = vec![record(1, text("a")), bad(2, text("b")), record(3, text("c"))];
    let settled = answer(bench.submit(items).await).await;
    assert_eq!(kind(&settled[1]), RefusalKind::ChainFailed);
    assert_exact(&bench, 2).await;
    let batch = vec![record(4, text("d")), bad(5, text("e")), record(6, text("f"))];
    let settled = answer(bench.lane.submit_batch(batch, None).await.unwrap()).await;
    let kinds: Vec<_> = settled.iter().map(kind).collect();
    assert_eq!(kinds, [RefusalKind::Batch, RefusalKind::ChainFailed, RefusalKind::Batch]);
    assert_eq!(count(&bench.shared, &LogName::Quarantine(flow())).await, 4);
    assert_exact(&bench, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_observer_stops_without_room_in_quarantine_comes_again_first() {
    let bench = counter(memory::Store::new()).await;
    assert!(bench.shared.quarantine.reserve(&flow(), 1, u64::MAX));
    let items = vec![record(1, text("a")), bad(2, text("b")), record(3, text("c"))];
    let settled = answer(bench.submit(items).await).await;
    assert_eq!([kind(&settled[1]), kind(&settled[2])], [RefusalKind::Unavailable, RefusalKind::OutOfOrder]);
    assert_exact(&bench, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_append_is_not_counted_nor_after_a_restart() {
    let bench = counter(memory::Store::new()).await;
    bench.settle(record(1, text("a"))).await;
    // Of what the plugin keeps, of the records, and of the former again.
    for nth in [1, 2] {
        bench.store.faults().fail_append(nth);
        assert_eq!(kind(&bench.settle(record(2, text("b"))).await), RefusalKind::Unavailable);
        assert_exact(&bench, 1).await;
    }
    bench.settle(record(2, text("b"))).await;
    bench.settle(record(3, text("c"))).await;
    assert_exact(&bench, 3).await;
    assert_exact(&counter(bench.store.crash()).await, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_until_it_is_written_what_does_not_count() {
    let bench = counter(memory::Store::new()).await;
    bench.settle(record(1, text("a"))).await;
    // The step is written, and then the disk is full for its record and for the word that it does not count.
    bench.store.faults().hold_syncs(true);
    let reply = bench.submit(vec![record(2, text("b"))]).await;
    idle().await;
    bench.store.faults().set_disk_full(true);
    bench.store.faults().hold_syncs(false);
    assert_eq!(kind(&answer(reply).await[0]), RefusalKind::Unavailable);
    assert_eq!(kind(&bench.settle(record(2, text("b"))).await), RefusalKind::Unavailable);
    bench.store.faults().set_disk_full(false);
    bench.settle(record(2, text("b"))).await;
    assert_exact(&bench, 2).await;
    assert_exact(&counter(bench.store.crash()).await, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_between_what_is_kept_and_its_record_counts_neither() {
    let mut store = memory::Store::new();
    for round in 0..3 {
        let bench = counter(store).await;
        assert_exact(&bench, round).await;
        let held = |held| bench.store.faults().hold_syncs(held);
        let shared = &bench.shared;
        let end = |log: LogName| async move { shared.log.bounds(&log).await.unwrap().end };
        let before = end(LogName::State(flow())).await;
        held(true);
        let reply = bench.submit(vec![record(round + 1, text("a"))]).await;
        idle().await;
        // One fsync: that of the step.
        held(false);
        held(true);
        idle().await;
        assert!(end(LogName::State(flow())).await > before, "the step is durable");
        assert_eq!(end(log()).await, round, "its record is not");
        let again = counter(bench.store.crash()).await;
        drop(reply);
        assert_exact(&again, round).await;
        again.settle(record(round + 1, text("a"))).await;
        assert_exact(&again, round + 1).await;
        store = again.store.crash();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_leaves_it_to_the_next_start() {
    for nth in [1, 2] {
        let bench = counter(memory::Store::new()).await;
        bench.settle(record(1, text("a"))).await;
        bench.store.faults().fail_sync(nth);
        assert_eq!(kind(&bench.settle(record(2, text("b"))).await), RefusalKind::Unavailable);
        assert_eq!(kind(&bench.settle(record(2, text("b"))).await), RefusalKind::Unavailable);
        let again = counter(bench.store.crash()).await;
        let stored = count(&again.shared, &log()).await;
        assert_exact(&again, stored).await;
        again.settle(record(2, text("b"))).await;
        assert_exact(&again, 2).await;
    }
}

async fn open_memory(store: memory::Store) -> Bench {
    let shared = shared(&store);
    let chain = chain(&shared, vec![counting()]);
    let (lane, tasks) = Lane::open(shared.clone(), flow(), chain, Durability::Memory).await.unwrap();
    Bench { store, shared, lane, tasks }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_loses_its_end_forgets_what_was_made_of_it() {
    let bench = open_memory(memory::Store::new()).await;
    bench.settle(record(1, text("a"))).await;
    idle().await;
    bench.store.faults().hold_syncs(true);
    let reply = bench.submit(vec![record(2, text("b"))]).await;
    idle().await;
    // The step is durable, and the record is answered when it is written.
    bench.store.faults().hold_syncs(false);
    bench.store.faults().hold_syncs(true);
    assert_eq!(answer(reply).await, [Settled::Stored(Offset(1))]);
    let durable = *bench.lane.tail().borrow();
    let (outgoing, _) = bench.shared.states.of(&flow()).outgoing(durable);
    let counts = outgoing.iter().filter(|it| !it.emitted.body.starts_with(b"tick")).count();
    assert_eq!(counts as u64, durable.0, "nothing leaves before its record is durable");
    let again = open_memory(bench.store.crash()).await;
    let stored = count(&again.shared, &log()).await;
    assert_exact(&again, stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_written_anew_now_and_then() {
    let bench = counter(memory::Store::new()).await;
    for sequence in 1..=200 {
        bench.settle(record(sequence, text("a"))).await;
        let state = bench.shared.states.of(&flow());
        let (outgoing, _) = state.outgoing(Offset(u64::MAX));
        outgoing.iter().for_each(|it| state.settle(&it.stage, it.number));
    }
    let bounds = bench.shared.log.bounds(&LogName::State(flow())).await.unwrap();
    assert!(bounds.start > 100, "{bounds:?}: what is before a snapshot went");
    let again = counter(bench.store.crash()).await;
    assert_eq!((counted(&again), emitted(&again).len() <= 1), (200, true));
    again.settle(record(201, text("a"))).await;
    assert_eq!(counted(&again), 201);
    let kept = &again.shared.states.of(&flow()).list()[0];
    assert!(kept.emitted >= 201, "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_keeps_no_more_than_it_may() {
    for limits in
        [Limits { state_keys: 0, ..Limits::default() }, Limits { state_octets: 12, ..Limits::default() }]
    {
        let bench = open(memory::Store::new(), vec![StageSpec { limits, ..counting() }]).await;
        // The plugin is told that it is full, and panics.
        assert_eq!(kind(&bench.settle(record(1, text("a"))).await), RefusalKind::ChainFailed);
        assert_eq!(counted(&bench), 0);
    }
    let enough = Limits { state_keys: 1, state_octets: 13, ..Limits::default() };
    let bench = open(memory::Store::new(), vec![StageSpec { limits: enough, ..counting() }]).await;
    bench.settle(record(1, text("a"))).await;
    bench.settle(record(2, text("a"))).await;
    assert_exact(&bench, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_comes_back_goes_on_where_it_was() {
    let bench = counter(memory::Store::new()).await;
    bench.settle(record(1, text("a"))).await;
    let store = bench.store.crash();
    // Without the stage for a while: what it keeps stays.
    let without = open(store, Vec::new()).await;
    without.settle(record(2, text("b"))).await;
    let again = counter(without.store.crash()).await;
    again.settle(record(3, text("c"))).await;
    assert_eq!(counted(&again), 2, "it was not there for the second one");
}

#[tokio::test(flavor = "multi_thread")]
async fn observing_stages_are_told_the_time_until_the_lane_closes() {
    let bench = counter(memory::Store::new()).await;
    let state = bench.shared.states.of(&flow());
    let ticks = || state.outgoing(Offset(u64::MAX)).0.len();
    let ticked = async {
        while ticks() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), ticked).await.expect("it ticks");
    timeout(Duration::from_secs(10), bench.tasks.close()).await.expect("the lane closes");
    let at_end = ticks();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(ticks(), at_end);
}
