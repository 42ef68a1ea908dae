//! Retries, failures, what is forgotten, and checkpoints.

use proptest::prelude::*;

use super::*;

fn at(producer: u32, sequence: u64) -> ProducerPosition {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&producer.to_be_bytes());
    ProducerPosition { producer: ProducerId(id), sequence }
}

#[test]
fn recognises_a_retry() {
    let mut producers = Producers::default();
    assert_eq!(producers.standing(at(1, 1)), Standing::Fresh);
    producers.settle(at(1, 1));
    assert_eq!(producers.standing(at(1, 1)), Standing::Repeat);
    assert_eq!(producers.standing(at(1, 2)), Standing::Fresh);
    assert_eq!(producers.standing(at(2, 1)), Standing::Fresh);
    assert_eq!(producers.last_settled(at(1, 0).producer), 1);
}

#[test]
fn a_later_record_never_hides_a_missing_one() {
    let mut producers = Producers::default();
    producers.fail(at(1, 4));
    producers.fail(at(1, 5));
    assert_eq!(producers.standing(at(1, 6)), Standing::OutOfOrder { missing: 4 });
    assert_eq!(producers.standing(at(1, 4)), Standing::Fresh);
    producers.settle(at(1, 4));
    assert_eq!(producers.standing(at(1, 4)), Standing::Repeat);
    assert_eq!(producers.standing(at(1, 6)), Standing::OutOfOrder { missing: 5 }, "5 failed too");
    producers.settle(at(1, 5));
    assert_eq!(producers.standing(at(1, 6)), Standing::Fresh);
}

#[test]
fn a_failure_below_a_settled_number_is_still_missing() {
    let mut track = Track::default();
    track.settle(3);
    track.fail(5);
    track.settle(4);
    assert_eq!(track.standing(6), Standing::OutOfOrder { missing: 5 });
    track.settle(5);
    assert_eq!(track, Track { settled: 5, missing: None });
}

fn since(time: u64) -> Option<Timestamp> {
    Some(Timestamp(time))
}

/// So many more publishers of one record each.
fn crowd(producers: &mut Producers, from: u32, count: usize) {
    for n in (from..).take(count) {
        producers.settle(at(n, 1));
    }
}

#[test]
fn who_is_exempt_is_not_forgotten_however_long_it_is_silent() {
    let mut producers = Producers::default();
    producers.advance(Timestamp(10));
    producers.settle(at(0, 7));
    producers.exempt(at(0, 0).producer);
    producers.exempt(at(0, 0).producer);
    producers.advance(Timestamp(20));
    crowd(&mut producers, 1, 2 * PRODUCERS_MAX);
    assert_eq!(producers.open(at(0, 0).producer, since(5)), Ok(7));
    producers.close(at(0, 0).producer);
    // Nor after a start, where it is read from a checkpoint before it is known to be exempt.
    let mut again = Producers::decode(&producers.encode()).unwrap();
    again.exempt(at(0, 0).producer);
    crowd(&mut again, 1 << 20, PRODUCERS_MAX);
    assert_eq!(again.standing(at(0, 7)), Standing::Repeat);
    assert_eq!(again.tracks.len(), PRODUCERS_MAX + 1);
    assert_eq!(again.open(at(1, 0).producer, since(5)), Err(ProducerError::Unknown));
    // What nobody can know, an exempt one does not know either.
    again.forget_all(Timestamp(30));
    assert_eq!(again.open(at(0, 0).producer, since(5)), Err(ProducerError::Unknown));
    // Only so many are.
    for n in (0..).take(2 * EMITTERS_MAX) {
        again.exempt(at(u32::MAX - n, 0).producer);
    }
    assert_eq!(again.exempt.len(), EMITTERS_MAX);
}

#[test]
fn forgets_the_longest_silent_publisher_and_says_so_when_it_returns() {
    let mut producers = Producers::default();
    producers.advance(Timestamp(10));
    for n in [0, 1] {
        assert_eq!(producers.open(at(n, 0).producer, None), Ok(0));
        producers.settle(at(n, 1));
        producers.close(at(n, 0).producer);
    }
    producers.advance(Timestamp(20));
    producers.settle(at(0, 2));
    crowd(&mut producers, 2, PRODUCERS_MAX - 1);
    assert_eq!(producers.tracks.len(), PRODUCERS_MAX);
    assert_eq!(producers.idle.len(), PRODUCERS_MAX);
    assert_eq!(producers.forgotten_through(), since(10));
    assert_eq!(producers.standing(at(0, 2)), Standing::Repeat, "used since");
    assert_eq!(producers.open(at(0, 0).producer, since(10)), Ok(2));
    // It cannot be confused with one that is new, or that was first seen later and has nothing stored.
    assert_eq!(producers.open(at(1, 0).producer, since(10)), Err(ProducerError::Unknown));
    assert_eq!(producers.open(at(u32::MAX, 0).producer, None), Ok(0));
    assert_eq!(producers.open(at(u32::MAX - 1, 0).producer, since(11)), Ok(0));
}

#[test]
fn a_publisher_with_a_stream_is_not_forgotten() {
    let mut producers = Producers::default();
    assert_eq!(producers.open(at(0, 0).producer, None), Ok(0));
    producers.settle(at(0, 1));
    crowd(&mut producers, 1, 2 * PRODUCERS_MAX);
    assert_eq!(producers.standing(at(0, 1)), Standing::Repeat);
    assert_eq!(producers.tracks.len(), PRODUCERS_MAX);
    producers.close(at(0, 0).producer);
    crowd(&mut producers, 1, 2 * PRODUCERS_MAX);
    assert_eq!(producers.standing(at(0, 1)), Standing::Fresh, "forgotten");
}

#[test]
fn streams_are_bounded() {
    let mut producers = Producers::default();
    for n in (0..).take(PRODUCERS_MAX) {
        assert_eq!(producers.open(at(n, 0).producer, None), Ok(0));
    }
    assert_eq!(producers.open(at(u32::MAX, 0).producer, None), Err(ProducerError::TooMany));
    producers.close(at(0, 0).producer);
    assert_eq!(producers.open(at(u32::MAX, 0).producer, None), Ok(0));
}

#[test]
fn a_checkpoint_brings_everything_back_in_its_order() {
    let mut producers = Producers::default();
    producers.advance(Timestamp(5));
    crowd(&mut producers, 0, PRODUCERS_MAX);
    producers.settle(at(0, 9));
    producers.fail(at(0, 10));
    let octets = producers.encode();
    let mut again = Producers::decode(&octets).unwrap();
    assert_eq!(again.encode(), octets);
    assert_eq!(again.standing(at(0, 9)), Standing::Repeat);
    assert_eq!(again.standing(at(0, 11)), Standing::OutOfOrder { missing: 10 });
    again.settle(at(u32::MAX, 1));
    assert_eq!(again.standing(at(1, 1)), Standing::Fresh, "the longest silent one made room");
    assert_eq!(again.forgotten_through(), since(5));
    assert_eq!(Producers::decode(&[]).err(), Some(CheckpointError));
    assert_eq!(Producers::decode(&octets[..octets.len() - 1]).err(), Some(CheckpointError));
    assert_eq!(Producers::decode(&[&octets[..], b"x"].concat()).err(), Some(CheckpointError));
}

proptest! {
    #[test]
    fn any_octets_may_be_fed_to_the_checkpoint(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Producers::decode(&octets);
    }
}
