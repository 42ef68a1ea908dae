//! Both ends of a subscription stream: deliveries, settling, credit, and who breaks the rules.

use super::*;

pub(super) fn opening(credit: Credit) -> Pair<SubscriptionClient, SubscriptionServer> {
    let (flow, subscription) = ("device".parse().unwrap(), "manufacturer".parse().unwrap());
    let mut client = SubscriptionClient::new(OpenSubscription { flow, subscription, credit });
    let Accepted::Subscription(server) = accept(&mut client) else { panic!("subscription") };
    Pair::new(client, server)
}

pub(super) fn opened(cursor: u64, credit: Credit) -> Pair<SubscriptionClient, SubscriptionServer> {
    let mut pair = opening(credit);
    pair.server.open(Offset(cursor));
    let (events, _) = pair.drive().unwrap();
    assert!(matches!(events[..], [SubscriptionClientEvent::Opened(_)]), "{events:?}");
    pair
}

const WIDE: Credit = Credit { records: 1000, octets: 1 << 20 };

fn arrived(events: &[SubscriptionClientEvent]) -> Vec<(u64, u16)> {
    let delivery = |event: &SubscriptionClientEvent| match event {
        SubscriptionClientEvent::Delivered(delivery) => Some((delivery.offset.0, delivery.part)),
        _ => None,
    };
    events.iter().filter_map(delivery).collect()
}

#[test]
fn deliveries_are_settled_and_move_the_cursor() {
    let mut pair = opened(5, WIDE);
    for offset in 5..9 {
        pair.server.deliver(vec![delivery(offset, 0, 1, b"body")]).unwrap();
    }
    let (events, _) = pair.drive().unwrap();
    assert_eq!(arrived(&events), [(5, 0), (6, 0), (7, 0), (8, 0)]);
    [6, 7, 5].iter().for_each(|offset| pair.client.settle(Offset(*offset)));
    let (_, events) = pair.drive().unwrap();
    assert_eq!(events, [SubscriptionServerEvent::Settled(3)], "in one frame");
    assert_eq!(pair.server.deliveries().cursor(), Offset(8));
    pair.client.settle(Offset(8));
    pair.client.finish();
    let (at_client, at_server) = pair.drive().unwrap();
    assert_eq!(at_server, [SubscriptionServerEvent::Settled(1), SubscriptionServerEvent::Finished]);
    assert_eq!(at_client, [SubscriptionClientEvent::Finished]);
    assert_eq!(pair.server.deliveries().cursor(), Offset(9));
}

#[test]
fn a_record_in_parts_is_settled_when_all_are() {
    let mut pair = opened(0, WIDE);
    pair.server.deliver((0..3).map(|part| delivery(0, part, 3, b"body")).collect()).unwrap();
    let (events, _) = pair.drive().unwrap();
    assert_eq!(arrived(&events), [(0, 0), (0, 1), (0, 2)]);
    pair.client.settle(Offset(0));
    pair.client.settle(Offset(0));
    assert_eq!(pair.drive().unwrap().1, []);
    pair.client.settle(Offset(0));
    pair.client.settle(Offset(0));
    assert_eq!(pair.drive().unwrap().1, [SubscriptionServerEvent::Settled(1)]);
}

#[test]
fn credit_holds_deliveries_back() {
    let mut pair = opened(0, Credit { records: 2, octets: 1 << 20 });
    pair.server.deliver(vec![delivery(0, 0, 1, b"")]).unwrap();
    pair.server.withhold(Offset(1)).unwrap();
    pair.server.deliver(vec![delivery(2, 0, 1, b"")]).unwrap();
    assert!(!pair.server.has_room());
    assert!(matches!(pair.server.deliver(vec![delivery(3, 0, 1, b"")]), Err(DeliverError::Delivery(_))));
    pair.drive().unwrap();
    pair.client.grant(Credit { records: 1, octets: 0 });
    pair.client.grant(Credit { records: 1, octets: 0 });
    assert_eq!(pair.drive().unwrap().1, [SubscriptionServerEvent::Granted]);
    for offset in [3, 4] {
        pair.server.deliver(vec![delivery(offset, 0, 1, b"")]).unwrap();
    }
    assert!(!pair.server.has_room());
    assert_eq!(arrived(&pair.drive().unwrap().0), [(3, 0), (4, 0)]);
}

#[test]
fn parts_must_belong_together() {
    let mut pair = opened(0, WIDE);
    let long = Bytes::from(vec![0; limits::FRAME_OCTETS_MAX]);
    let long = wire::subscription::Delivery {
        body: wire::subscription::DeliveredBody::Inline(long),
        ..delivery(0, 0, 1, b"")
    };
    for parts in [
        vec![],
        vec![delivery(0, 0, 2, b"")],
        vec![delivery(0, 1, 1, b"")],
        vec![delivery(0, 0, 2, b""), delivery(1, 1, 2, b"")],
        vec![long],
    ] {
        assert_eq!(pair.server.deliver(parts), Err(DeliverError::Parts));
    }
}

#[test]
fn a_reader_that_finishes_hears_no_more() {
    let mut pair = opened(0, WIDE);
    pair.server.deliver(vec![delivery(0, 0, 1, b"")]).unwrap();
    pair.client.finish();
    let (at_client, at_server) = pair.drive().unwrap();
    assert_eq!(at_server, [SubscriptionServerEvent::Finished]);
    assert_eq!(at_client, [SubscriptionClientEvent::Finished]);
    assert_eq!(pair.server.deliveries().cursor(), Offset(0));
    assert_eq!(pair.server.deliver(vec![delivery(1, 0, 1, b"")]), Err(DeliverError::NotOpen));
}

#[test]
fn the_broker_may_refuse_at_once_or_later() {
    for begin in [|| opening(WIDE), || opened(0, WIDE)] {
        let mut pair = begin();
        let refusal = Refusal::retryable(RefusalCode::Busy, "another reader");
        pair.server.refuse(refusal.clone());
        let (events, _) = pair.drive().unwrap();
        assert_eq!(events, [SubscriptionClientEvent::Refused(refusal), SubscriptionClientEvent::Finished]);
    }
}

#[test]
fn the_broker_sees_what_breaks_the_protocol() {
    use wire::subscription::ToBroker;
    let settle = |first, last| {
        ToBroker::Settle(Settle { acked: vec![OffsetRange { first: Offset(first), last: Offset(last) }] })
    };
    let much = Credit { records: limits::CREDIT_RECORDS_MAX, octets: 0 };
    for (request, expected) in [
        (settle(0, 1), CloseCode::Sequence),
        (settle(1, 0), CloseCode::Sequence),
        (settle(0, u64::MAX), CloseCode::Sequence),
        (ToBroker::Grant(much), CloseCode::Credit),
    ] {
        let mut pair = opened(0, WIDE);
        pair.server.deliver(vec![delivery(0, 0, 1, b"")]).unwrap();
        pair.drive().unwrap();
        pair.server.handle_data(&frame(&request));
        assert_eq!(code(pair.server.poll_event()), expected, "{request:?}");
    }
    let mut server = opening(WIDE).server;
    server.handle_data(&frame(&settle(0, 0)));
    assert_eq!(code(server.poll_event()), CloseCode::Unexpected, "before the broker opened");
}

#[test]
fn the_client_sees_what_breaks_the_protocol() {
    use wire::subscription::{Deliver, ToClient};
    let deliver = |deliveries| ToClient::Deliver(Deliver { deliveries });
    let two = Credit { records: 2, octets: 1 << 20 };
    for (deliveries, expected) in [
        (vec![], CloseCode::Unexpected),
        (vec![delivery(4, 0, 1, b"")], CloseCode::Sequence),
        (vec![delivery(5, 0, 0, b"")], CloseCode::Sequence),
        (vec![delivery(5, 1, 2, b"")], CloseCode::Sequence),
        (vec![delivery(u64::MAX, 0, 1, b"")], CloseCode::Sequence),
        (vec![delivery(5, 0, 2, b""), delivery(6, 0, 1, b"")], CloseCode::Sequence),
        (vec![delivery(5, 0, 2, b""), delivery(5, 1, 3, b"")], CloseCode::Sequence),
        ((5..8).map(|offset| delivery(offset, 0, 1, b"")).collect(), CloseCode::Credit),
    ] {
        let mut pair = opened(5, two);
        pair.client.handle_data(&frame(&deliver(deliveries.clone())));
        let violation = std::iter::from_fn(|| Some(pair.client.poll_event())).find_map(Result::err).unwrap();
        assert_eq!(violation.code, expected, "{violation}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is settled in whatever order, in the end the cursor is behind the last record and nothing is under way.
    #[test]
    fn everything_settled_means_nothing_under_way(
        records in proptest::collection::vec((1_u16..4, 0_u64..3), 1..40),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) {
        let mut pair = opened(0, Credit { records: 100, octets: 1 << 20 });
        let (mut offset, mut unsettled) = (0, Vec::new());
        for (parts, gap) in records {
            offset += gap;
            pair.server.deliver((0..parts).map(|part| delivery(offset, part, parts, b"x")).collect()).unwrap();
            unsettled.extend((0..parts).map(|_| offset));
            offset += 1;
        }
        let count = unsettled.len();
        prop_assert_eq!(arrived(&pair.drive().unwrap().0).len(), count);
        for at in order.iter().cycle().take(count) {
            let offset = unsettled.swap_remove(at.index(unsettled.len()));
            pair.client.settle(Offset(offset));
            if at.index(3) == 0 {
                pair.drive().unwrap();
            }
        }
        pair.drive().unwrap();
        prop_assert_eq!(pair.server.deliveries().cursor(), Offset(offset));
        prop_assert_eq!(pair.server.deliveries().in_flight(), Credit::default());
    }
}
