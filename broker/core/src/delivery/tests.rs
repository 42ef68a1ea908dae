//! What a subscription does with what its readers do, step by step. [`model`] does it at random.

mod model;

use super::*;

const RULES: Rules =
    Rules { ack_wait: 1000, deliveries_max: 0, backoff: Vec::new(), in_flight_max: 100, shared: false };

fn deliveries(rules: Rules) -> Deliveries {
    Deliveries::new(rules, &Progress::from(Offset(0)))
}

fn key(key: &str) -> Option<Key> {
    Some(Key::of(key))
}

/// The newest claim of a record.
fn of(deliveries: &Deliveries, offset: u64) -> Claim {
    let of = deliveries.under_way[&offset];
    Claim { offset: Offset(offset), attempt: of.attempt, serial: of.serial }
}

/// Offers records of these keys from the next offset on; gives the offsets that were claimed.
fn offer(it: &mut Deliveries, reader: ReaderId, keys: &[Option<Key>], now: u64) -> Vec<u64> {
    let mut claimed = Vec::new();
    for &key in keys {
        if let Offered::Claimed(claim) = it.offer(reader, it.next_offset(), key, 0, now) {
            assert!(it.sent(claim, now));
            claimed.push(claim.offset.0);
        }
    }
    claimed
}

fn waiting(it: &mut Deliveries, reader: ReaderId, now: u64) -> Vec<(u64, u32)> {
    let claims = it.claim_waiting(reader, 100, 100, now);
    claims.iter().for_each(|claim| assert!(it.sent(*claim, now)));
    claims.iter().map(|claim| (claim.offset.0, claim.attempt)).collect()
}

#[test]
fn the_cursor_is_the_lowest_offset_that_is_not_settled() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    assert_eq!(offer(&mut it, reader, &[None; 3], 0), [0, 1, 2]);
    assert!(it.settle(of(&it, 1), 0) && it.settle(of(&it, 2), 0));
    assert_eq!((it.cursor(), it.lag(Offset(5))), (Offset(0), 3));
    let last = of(&it, 0);
    assert!(it.settle(last, 0));
    assert!(!it.settle(last, 0), "once");
    assert_eq!((it.cursor(), it.lag(Offset(5))), (Offset(3), 2));
    it.pass(Offset(3));
    assert_eq!(it.cursor(), Offset(4), "what is passed is settled");
}

#[test]
fn a_record_that_is_put_off_comes_after_its_delay_and_before_later_ones_of_its_key() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    assert_eq!(offer(&mut it, reader, &[key("a"), key("b")], 0), [0, 1]);
    assert!(it.nak(of(&it, 0), Some(500), 0));
    assert_eq!(offer(&mut it, reader, &[key("a"), key("b"), key("a"), None], 10), [3, 5], "a waits");
    assert_eq!(it.next_timeout(), Some(500));
    assert_eq!(it.handle_timeout(499), 0);
    assert_eq!(waiting(&mut it, reader, 499), []);
    it.handle_timeout(500);
    assert_eq!(waiting(&mut it, reader, 500), [(0, 2), (2, 1), (4, 1)]);
    assert_eq!(it.cursor(), Offset(0));
}

#[test]
fn an_answer_to_an_earlier_attempt_changes_nothing() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    offer(&mut it, reader, &[None], 0);
    let late = of(&it, 0);
    assert_eq!(it.handle_timeout(1000), 1);
    assert_eq!(waiting(&mut it, reader, 1000), [(0, 2)]);
    assert!(!it.settle(late, 1001) && !it.nak(late, None, 1001) && !it.extend(late, 1001));
    assert_eq!(it.cursor(), Offset(0));
    assert!(it.settle(of(&it, 0), 1002));
    assert_eq!(it.cursor(), Offset(1));
}

#[test]
fn a_late_ack_counts_while_nobody_got_the_record_since() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    offer(&mut it, reader, &[None], 0);
    let late = of(&it, 0);
    it.handle_timeout(1000);
    assert!(!it.settle(Claim { serial: 99, ..late }, 1001), "not this one");
    assert!(it.settle(late, 1001));
    assert_eq!(waiting(&mut it, reader, 1001), []);
    assert_eq!(it.cursor(), Offset(1));
}

#[test]
fn work_in_progress_does_not_lapse() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    offer(&mut it, reader, &[None, None], 0);
    assert!(it.extend(of(&it, 1), 900));
    assert_eq!(it.handle_timeout(1000), 1, "the other one");
    assert_eq!(it.next_timeout(), Some(1900));
    assert_eq!(it.handle_timeout(1900), 1);
}

#[test]
fn backoff_grows_and_its_last_step_repeats() {
    let mut it = deliveries(Rules { backoff: vec![10, 100], ..RULES });
    let reader = it.join();
    offer(&mut it, reader, &[None], 0);
    let mut now = 0;
    for (attempt, wait) in [(1, 10), (2, 100), (3, 100)] {
        assert!(it.nak(of(&it, 0), None, now));
        assert_eq!(it.next_timeout(), Some(now + wait));
        now += wait;
        it.handle_timeout(now);
        assert_eq!(waiting(&mut it, reader, now), [(0, attempt + 1)]);
    }
}

#[test]
fn a_record_delivered_too_often_waits_to_be_taken_elsewhere_and_holds_its_key() {
    let mut it = deliveries(Rules { deliveries_max: 2, ..RULES });
    let reader = it.join();
    offer(&mut it, reader, &[key("a"), key("a")], 0);
    assert!(it.nak(of(&it, 0), None, 0));
    assert_eq!(waiting(&mut it, reader, 0), [(0, 2)]);
    assert!(it.nak(of(&it, 0), None, 0));
    assert_eq!(waiting(&mut it, reader, 0), []);
    assert_eq!(it.exhausted(10), [(Offset(0), 2)]);
    assert_eq!(offer(&mut it, reader, &[key("a"), key("b")], 0), [3]);
    assert_eq!(it.cursor(), Offset(0), "not before it is safe elsewhere");
    it.conclude(Offset(0), 5);
    assert_eq!(it.exhausted(10), []);
    assert_eq!(waiting(&mut it, reader, 5), [(2, 1)]);
}

#[test]
fn a_key_is_at_one_reader_at_a_time() {
    let mut it = deliveries(Rules { shared: true, ..RULES });
    let (one, two) = (it.join(), it.join());
    assert_eq!(offer(&mut it, one, &[key("a")], 0), [0]);
    assert_eq!(offer(&mut it, two, &[key("a"), key("b"), None], 0), [2, 3]);
    assert_eq!(waiting(&mut it, two, 0), [], "a is at the first");
    assert_eq!(waiting(&mut it, one, 0), [(1, 1)], "who may have more of it");
    assert!(it.settle(of(&it, 0), 1));
    assert!(offer(&mut it, two, &[key("a")], 1).is_empty(), "1 is still there");
    assert!(it.settle(of(&it, 1), 2));
    assert_eq!(waiting(&mut it, two, 2), [(4, 1)], "now the key is free");
}

#[test]
fn what_a_vanished_reader_had_goes_to_the_others() {
    let mut it = deliveries(Rules { shared: true, ..RULES });
    let (one, two) = (it.join(), it.join());
    offer(&mut it, one, &[key("a"), key("b"), key("a")], 0);
    it.leave(one, false, 7);
    assert!(it.take_news());
    assert_eq!(waiting(&mut it, two, 7), [(0, 2), (1, 2), (2, 2)]);
    it.leave(two, true, 8);
    let three = it.join();
    assert_eq!(waiting(&mut it, three, 8), [(0, 2), (1, 2), (2, 2)], "who leaves in order has tried nothing");
}

#[test]
fn a_stuck_reader_does_not_get_back_what_it_let_lapse_while_there_is_another() {
    let mut it = deliveries(Rules { shared: true, ..RULES });
    let (stuck, other) = (it.join(), it.join());
    offer(&mut it, stuck, &[None], 0);
    it.handle_timeout(1000);
    assert_eq!(waiting(&mut it, stuck, 1000), []);
    assert_eq!(waiting(&mut it, other, 1000), [(0, 2)]);
    it.leave(other, false, 1001);
    assert_eq!(it.claim_waiting(stuck, 10, 1, 1001).len(), 1, "now there is nobody else");
    it.handle_timeout(3000);
    assert_eq!(it.claim_waiting(stuck, 10, 0, 3000).len(), 1, "its credit still counts for it");
}

#[test]
fn no_more_is_under_way_than_there_may_be() {
    let mut it = deliveries(Rules { in_flight_max: 2, ..RULES });
    let reader = it.join();
    assert_eq!(offer(&mut it, reader, &[None; 4], 0), [0, 1]);
    assert_eq!(it.next_offset(), Offset(2), "nothing was left out");
    it.take_news();
    it.settle(of(&it, 1), 0);
    assert!(it.take_news(), "somebody may get one now");
    assert_eq!(offer(&mut it, reader, &[None; 4], 0), [2]);
}

#[test]
fn what_is_for_later_waits_and_holds_nobody_but_its_key() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    assert_eq!(it.offer(reader, Offset(0), key("a"), 700, 0), Offered::PutOff);
    assert_eq!(offer(&mut it, reader, &[key("a"), key("b")], 0), [2]);
    it.handle_timeout(700);
    assert_eq!(waiting(&mut it, reader, 700), [(0, 1), (1, 1)]);
}

#[test]
fn a_restart_goes_on_without_what_was_settled_beyond_the_cursor() {
    let mut it = deliveries(Rules { deliveries_max: 3, ..RULES });
    let reader = it.join();
    offer(&mut it, reader, &[None; 8], 0);
    for offset in [1, 2, 5] {
        it.settle(of(&it, offset), 0);
    }
    it.nak(of(&it, 3), None, 0);
    let progress = it.progress();
    assert_eq!(progress.cursor, Offset(0));
    assert_eq!(progress.settled, [(Offset(1), Offset(2)), (Offset(5), Offset(5))]);
    assert_eq!(progress.attempts, [(Offset(3), 1)]);
    let again = Progress::decode(&progress.encode()).unwrap();
    assert_eq!(again, progress);
    let mut it = Deliveries::new(RULES, &again);
    assert_eq!((it.cursor(), it.lag(Offset(10))), (Offset(0), 7));
    assert_eq!(it.progress(), progress, "also before anything is read");
    let reader = it.join();
    let mut got = Vec::new();
    for offset in 0..10 {
        if let Offered::Claimed(claim) = it.offer(reader, Offset(offset), None, 0, 0) {
            got.push((claim.offset.0, claim.attempt));
        }
    }
    assert_eq!(got, [(0, 1), (3, 2), (4, 1), (6, 1), (7, 1), (8, 1), (9, 1)]);
}

#[test]
fn what_was_exhausted_before_a_restart_stays_so() {
    let mut it = deliveries(Rules { deliveries_max: 1, ..RULES });
    let reader = it.join();
    offer(&mut it, reader, &[None], 0);
    it.nak(of(&it, 0), None, 0);
    let mut it = Deliveries::new(Rules { deliveries_max: 1, ..RULES }, &it.progress());
    let reader = it.join();
    assert_eq!(it.offer(reader, Offset(0), None, 0, 0), Offered::PutOff);
    assert_eq!(it.exhausted(9), [(Offset(0), 1)]);
}

#[test]
fn what_is_kept_is_bounded_and_forgets_only_what_is_settled() {
    let mut it = deliveries(Rules { in_flight_max: 10_000, ..RULES });
    let reader = it.join();
    offer(&mut it, reader, &[None; 5000], 0);
    for offset in (1..5000).step_by(2) {
        it.settle(of(&it, offset), 0);
    }
    let progress = it.progress();
    assert_eq!(progress.settled.len(), crate::limits::PROGRESS_RANGES_MAX);
    assert!(progress.settled.iter().all(|(first, last)| first == last && first.0 % 2 == 1));
    assert!(progress.encode().len() < 32 << 10);
}

#[test]
fn what_could_not_have_been_kept_is_refused() {
    let good = Progress { settled: vec![(Offset(5), Offset(9))], ..Progress::from(Offset(3)) };
    assert!(Progress::decode(&good.encode()).is_ok());
    for settled in [
        vec![(Offset(3), Offset(9))],
        vec![(Offset(9), Offset(5))],
        vec![(Offset(5), Offset(u64::MAX))],
        vec![(Offset(5), Offset(9)), (Offset(7), Offset(8))],
    ] {
        let bad = Progress { settled, ..good.clone() };
        assert_eq!(Progress::decode(&bad.encode()), Err(ProgressError), "{bad:?}");
    }
    assert_eq!(Progress::decode(&[]), Err(ProgressError));
    assert_eq!(Progress::decode(&[9, 0, 0, 0]), Err(ProgressError));
}

#[test]
fn seeking_goes_back_and_forth() {
    let mut it = deliveries(RULES);
    let reader = it.join();
    offer(&mut it, reader, &[key("a"), None, None], 0);
    let before = of(&it, 2);
    it.settle(of(&it, 1), 0);
    it.nak(of(&it, 0), Some(100), 0);
    it.seek(Offset(0));
    assert_eq!(it.cursor(), Offset(0));
    assert_eq!(offer(&mut it, reader, &[key("a"), None, None], 0), [0, 1, 2], "all of it again");
    assert!(!it.settle(before, 0), "an answer from before");
    it.seek(Offset(10));
    assert_eq!((it.cursor(), it.lag(Offset(12))), (Offset(10), 2));
}
