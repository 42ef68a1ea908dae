//! The cursor against a plain model, and what holds deliveries back.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const CREDIT: Credit = Credit { records: 4, octets: 100 };

fn range(first: u64, last: u64) -> OffsetRange {
    OffsetRange { first: Offset(first), last: Offset(last) }
}

#[test]
fn the_cursor_is_the_lowest_offset_that_is_not_settled() {
    let mut deliveries = Deliveries::new(Offset(10), CREDIT);
    for offset in 10..13 {
        deliveries.delivered(Offset(offset), 1).unwrap();
    }
    assert_eq!(deliveries.settle(range(11, 12)), Ok(2));
    assert_eq!(deliveries.cursor(), Offset(10), "10 is under way");
    assert_eq!(deliveries.settle(range(10, 11)), Ok(1), "11 was settled before");
    assert_eq!(deliveries.cursor(), Offset(13));
    assert_eq!(deliveries.in_flight(), Credit::default());
}

#[test]
fn what_is_withheld_counts_as_settled() {
    let mut deliveries = Deliveries::new(Offset(0), CREDIT);
    deliveries.withheld(Offset(0)).unwrap();
    assert_eq!(deliveries.cursor(), Offset(1));
    deliveries.delivered(Offset(1), 1).unwrap();
    deliveries.withheld(Offset(99)).unwrap();
    assert_eq!((deliveries.cursor(), deliveries.next_offset()), (Offset(1), Offset(100)));
    deliveries.settle(range(1, 1)).unwrap();
    assert_eq!(deliveries.cursor(), Offset(100));
}

#[test]
fn a_reader_that_comes_again_gets_everything_from_the_cursor() {
    let mut deliveries = Deliveries::new(Offset(0), CREDIT);
    (0..4).for_each(|offset| deliveries.delivered(Offset(offset), 1).unwrap());
    deliveries.settle(range(0, 0)).unwrap();
    deliveries.settle(range(2, 2)).unwrap();
    let again = Deliveries::new(deliveries.cursor(), CREDIT);
    assert_eq!(again.next_offset(), Offset(1), "2 comes again although it was settled: at least once");
}

#[test]
fn credit_bounds_what_is_under_way() {
    let mut deliveries = Deliveries::new(Offset(0), CREDIT);
    deliveries.delivered(Offset(0), 99).unwrap();
    deliveries.delivered(Offset(1), 1000).unwrap();
    assert!(!deliveries.has_room(), "the last one may go over the octets, but none after it");
    assert_eq!(deliveries.delivered(Offset(2), 0), Err(DeliveryError::NoCredit));
    deliveries.grant(Credit { records: 0, octets: 1000 }).unwrap();
    deliveries.delivered(Offset(2), 0).unwrap();
    deliveries.delivered(Offset(3), 0).unwrap();
    assert_eq!(deliveries.delivered(Offset(4), 0), Err(DeliveryError::NoCredit), "four records");
    let more = Credit { records: 0, octets: crate::limits::CREDIT_OCTETS_MAX };
    assert_eq!(deliveries.grant(more), Err(DeliveryError::CreditLimit));
}

#[test]
fn refuses_steps_that_make_no_sense() {
    let mut deliveries = Deliveries::new(Offset(5), CREDIT);
    deliveries.delivered(Offset(5), 1).unwrap();
    let (offset, next) = (Offset(5), Offset(6));
    assert_eq!(deliveries.delivered(offset, 1), Err(DeliveryError::NotNext { offset, next }));
    assert!(deliveries.withheld(Offset(u64::MAX)).is_err());
    for (first, last) in [(5, 6), (6, 5), (0, u64::MAX)] {
        assert!(matches!(deliveries.settle(range(first, last)), Err(DeliveryError::NeverDelivered { .. })));
    }
    assert_eq!(deliveries.settle(range(0, 4)), Ok(0), "settled before this reader came");
}

proptest! {
    /// Against a model: the set of offsets delivered and not settled.
    #[test]
    fn agrees_with_a_plain_set(steps in proptest::collection::vec((0..4_u8, 0..40_u64, 0..8_u64), 1..120)) {
        let mut deliveries = Deliveries::new(Offset(0), Credit { records: 8, octets: 1000 });
        let mut open = BTreeSet::new();
        for (kind, a, b) in steps {
            let next = deliveries.next_offset().0;
            match kind {
                0 if deliveries.has_room() => {
                    deliveries.delivered(Offset(next + b), a).unwrap();
                    open.insert(next + b);
                }
                1 => deliveries.withheld(Offset(next + b)).unwrap(),
                _ if a + b < next => {
                    let before = open.len();
                    open.retain(|offset| !(a..=a + b).contains(offset));
                    prop_assert_eq!(deliveries.settle(range(a, a + b)), Ok(before - open.len()));
                }
                _ => {}
            }
            let cursor = open.first().copied().unwrap_or(deliveries.next_offset().0);
            prop_assert_eq!(deliveries.cursor(), Offset(cursor));
            prop_assert_eq!(deliveries.in_flight().records as usize, open.len());
        }
    }
}
