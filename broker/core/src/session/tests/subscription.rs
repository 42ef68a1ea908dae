//! Both ends of a subscription stream: deliveries, answers, credit, and who breaks the rules.

use super::*;

pub(super) fn opening(credit: Credit) -> Pair<SubscriptionClient, SubscriptionServer> {
    let (flow, subscription) = ("device".parse().unwrap(), "manufacturer".parse().unwrap());
    let mut client = SubscriptionClient::new(OpenSubscription { flow, subscription, credit, from: None });
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

#[test]
fn a_reader_states_why_it_breaks_the_glass_or_nothing() {
    assert_eq!(opening(WIDE).server.break_glass(), Ok(None));
    let open = || opening(WIDE).server.request().clone();
    let mut client = SubscriptionClient::new(open()).stating(&"stroke".parse().unwrap());
    let Accepted::Subscription(server) = accept(&mut client) else { panic!("subscription") };
    assert_eq!(server.break_glass(), Ok(Some("stroke".parse().unwrap())));
    assert_eq!(server.request(), &open());
    for break_glass in ["", "Doe^Jane", "4711", &"x".repeat(65)] {
        let stating = OpenStating { open: open(), break_glass: break_glass.to_owned() };
        let octets = frame(&Open::StatingSubscription(stating));
        let Ok(Some(Accepted::Subscription(server))) = accept_octets(&octets) else { panic!() };
        let refusal = server.break_glass().unwrap_err();
        assert_eq!(refusal.code, RefusalCode::InvalidRecord);
        assert!(refusal.reason.contains("1 to 64 characters"));
        assert!(!refusal.reason.contains("Doe") && !refusal.reason.contains("4711"));
    }
}

const WIDE: Credit = Credit { records: 1000, octets: 1 << 20 };

/// Number, offset, attempt and part of each delivery.
fn arrived(events: &[SubscriptionClientEvent]) -> Vec<(u64, u64, u32, u16)> {
    let delivery = |event: &SubscriptionClientEvent| match event {
        SubscriptionClientEvent::Delivered(of) => Some((of.number, of.offset.0, of.attempt, of.part)),
        _ => None,
    };
    events.iter().filter_map(delivery).collect()
}

fn again(offset: u64, attempt: u32) -> Vec<wire::subscription::Delivery> {
    vec![wire::subscription::Delivery { attempt, ..delivery(offset, 0, 1, b"body") }]
}

#[test]
fn deliveries_are_acked_in_any_order_and_together() {
    let mut pair = opened(5, WIDE);
    for offset in 5..9 {
        pair.server.deliver(again(offset, 1)).unwrap();
    }
    let (events, _) = pair.drive().unwrap();
    assert_eq!(arrived(&events), [(1, 5, 1, 0), (2, 6, 1, 0), (3, 7, 1, 0), (4, 8, 1, 0)]);
    [2, 3, 1].iter().for_each(|number| pair.client.ack(*number));
    let (_, events) = pair.drive().unwrap();
    assert_eq!(events, [SubscriptionServerEvent::Acked(vec![2, 3, 1])], "in one frame");
    assert!(pair.server.is_in_flight(4) && !pair.server.is_in_flight(1));
    pair.client.ack(4);
    pair.client.finish();
    let (at_client, at_server) = pair.drive().unwrap();
    assert_eq!(at_server, [SubscriptionServerEvent::Acked(vec![4]), SubscriptionServerEvent::Finished]);
    assert_eq!(at_client, [SubscriptionClientEvent::Finished]);
    assert_eq!(pair.server.under_way(), Credit::default());
}

#[test]
fn a_record_in_parts_is_acked_when_all_are_and_refused_as_a_whole() {
    let mut pair = opened(0, WIDE);
    for offset in 0..2 {
        pair.server.deliver((0..3).map(|part| delivery(offset, part, 3, b"body")).collect()).unwrap();
    }
    let (events, _) = pair.drive().unwrap();
    assert_eq!(arrived(&events)[..4], [(1, 0, 1, 0), (1, 0, 1, 1), (1, 0, 1, 2), (2, 1, 1, 0)]);
    pair.client.ack(1);
    pair.client.ack(1);
    assert_eq!(pair.drive().unwrap().1, []);
    pair.client.ack(1);
    pair.client.ack(1);
    pair.client.ack(2);
    pair.client.nak(2, Some(70));
    pair.client.ack(2);
    let naked = SubscriptionServerEvent::Naked { numbers: vec![2], delay: Some(70) };
    assert_eq!(pair.drive().unwrap().1, [SubscriptionServerEvent::Acked(vec![1]), naked]);
    assert_eq!(pair.server.under_way(), Credit::default());
}

#[test]
fn a_delivery_that_ends_an_earlier_one_needs_credit_as_well() {
    let mut pair = opened(0, Credit { records: 10, octets: 400 });
    pair.server.deliver(again(0, 1)).unwrap();
    pair.server.deliver((0..3).map(|part| delivery(1, part, 3, &[7; 400])).collect()).unwrap();
    assert!(!pair.server.has_room_for(Offset(0), 2), "the other one takes up all credit");
    assert_eq!(pair.server.deliver(again(0, 2)), Err(DeliverError::NoCredit));
    assert!(pair.server.is_in_flight(1), "the earlier one is not over");
    assert!(pair.server.has_room_for(Offset(1), 2), "the end of this one makes room");
    pair.server.deliver(again(1, 2)).unwrap();
    pair.drive().unwrap();
}

#[test]
fn a_reader_refuses_gives_up_and_asks_for_time() {
    let mut pair = opened(0, WIDE);
    for offset in 0..3 {
        pair.server.deliver(again(offset, 1)).unwrap();
    }
    pair.drive().unwrap();
    pair.client.nak(1, None);
    pair.client.term(2, "unreadable".parse().unwrap());
    pair.client.in_progress(3);
    pair.client.in_progress(3);
    pair.client.in_progress(1);
    let (_, events) = pair.drive().unwrap();
    let terminated =
        SubscriptionServerEvent::Terminated { numbers: vec![2], reason: "unreadable".parse().unwrap() };
    assert_eq!(
        events,
        [
            SubscriptionServerEvent::Naked { numbers: vec![1], delay: None },
            terminated,
            SubscriptionServerEvent::InProgress(vec![3]),
        ]
    );
    assert_eq!(pair.server.under_way().records, 1);
}

#[test]
fn a_record_that_comes_again_ends_its_earlier_delivery_on_both_sides() {
    let one = Credit { records: 1, octets: 1 << 20 };
    let mut pair = opened(0, one);
    pair.server.deliver(again(7, 1)).unwrap();
    pair.drive().unwrap();
    assert!(!pair.server.has_room_for(Offset(8), 2) && pair.server.has_room_for(Offset(7), 2));
    let delivering = pair.server.deliver(again(7, 2)).unwrap();
    assert_eq!(delivering, Delivering { number: 2, replaced: Some(1) });
    assert_eq!(arrived(&pair.drive().unwrap().0), [(2, 7, 2, 0)]);
    pair.client.ack(1);
    assert_eq!(pair.drive().unwrap().1, [], "a late answer is none");
    pair.client.ack(2);
    assert_eq!(pair.drive().unwrap().1, [SubscriptionServerEvent::Acked(vec![2])]);
    let late =
        wire::subscription::ToBroker::Settle(Settle { acked: vec![DeliveryRange { first: 1, last: 1 }] });
    pair.server.deliver(again(7, 3)).unwrap();
    pair.server.handle_data(&frame(&late));
    assert_eq!(pair.server.poll_event(), Ok(Some(SubscriptionServerEvent::Acked(vec![]))), "nor from others");
}

#[test]
fn credit_holds_deliveries_back() {
    let mut pair = opened(0, Credit { records: 2, octets: 1 << 20 });
    pair.server.deliver(again(0, 1)).unwrap();
    assert_eq!(pair.server.room(), 1);
    pair.server.deliver(again(2, 1)).unwrap();
    assert!(!pair.server.has_room());
    assert_eq!(pair.server.deliver(again(3, 1)), Err(DeliverError::NoCredit));
    pair.drive().unwrap();
    pair.client.grant(Credit { records: 1, octets: 0 });
    pair.client.grant(Credit { records: 1, octets: 0 });
    assert_eq!(pair.drive().unwrap().1, [SubscriptionServerEvent::Granted]);
    for offset in [3, 4] {
        pair.server.deliver(again(offset, 1)).unwrap();
    }
    assert!(!pair.server.has_room());
    assert_eq!(arrived(&pair.drive().unwrap().0), [(3, 3, 1, 0), (4, 4, 1, 0)]);
}

#[test]
fn the_last_record_may_go_over_the_octets() {
    let mut pair = opened(0, Credit { records: 9, octets: 10 });
    pair.server.deliver(again(0, 1)).unwrap();
    assert_eq!((pair.server.room(), pair.server.has_room()), (0, false));
    pair.drive().unwrap();
}

#[test]
fn parts_must_belong_together() {
    let mut pair = opened(0, WIDE);
    let long = Bytes::from(vec![0; limits::FRAME_OCTETS_MAX]);
    let long = wire::subscription::Delivery {
        body: wire::subscription::DeliveredBody::Inline(long),
        ..delivery(0, 0, 1, b"")
    };
    let other_attempt = wire::subscription::Delivery { attempt: 2, ..delivery(0, 1, 2, b"") };
    for parts in [
        vec![],
        vec![delivery(0, 0, 2, b"")],
        vec![delivery(0, 1, 1, b"")],
        vec![delivery(0, 0, 2, b""), delivery(1, 1, 2, b"")],
        vec![delivery(0, 0, 2, b""), other_attempt],
        vec![long],
    ] {
        assert_eq!(pair.server.deliver(parts), Err(DeliverError::Parts));
    }
}

#[test]
fn a_reader_that_finishes_hears_no_more() {
    let mut pair = opened(0, WIDE);
    pair.server.deliver(again(0, 1)).unwrap();
    pair.client.finish();
    let (at_client, at_server) = pair.drive().unwrap();
    assert_eq!(at_server, [SubscriptionServerEvent::Finished]);
    assert_eq!(at_client, [SubscriptionClientEvent::Finished]);
    assert_eq!(pair.server.deliver(again(1, 1)), Err(DeliverError::NotOpen));
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
    use wire::subscription::{Nak, ToBroker};
    let range = |first, last| DeliveryRange { first, last };
    let settle = |first, last| ToBroker::Settle(Settle { acked: vec![range(first, last)] });
    let much = Credit { records: limits::CREDIT_RECORDS_MAX, octets: 0 };
    for (request, expected) in [
        (settle(1, 2), CloseCode::Sequence),
        (settle(2, 1), CloseCode::Sequence),
        (settle(0, 1), CloseCode::Sequence),
        (settle(1, u64::MAX), CloseCode::Sequence),
        (ToBroker::Nak(Nak { deliveries: range(2, 2), delay: None }), CloseCode::Sequence),
        (ToBroker::InProgress(range(2, 2)), CloseCode::Sequence),
        (ToBroker::Grant(much), CloseCode::Credit),
    ] {
        let mut pair = opened(0, WIDE);
        pair.server.deliver(again(0, 1)).unwrap();
        pair.drive().unwrap();
        pair.server.handle_data(&frame(&request));
        assert_eq!(code(pair.server.poll_event()), expected, "{request:?}");
    }
    let mut server = opening(WIDE).server;
    server.handle_data(&frame(&settle(1, 1)));
    assert_eq!(code(server.poll_event()), CloseCode::Unexpected, "before the broker opened");
}

#[test]
fn the_client_sees_what_breaks_the_protocol() {
    use wire::subscription::{Deliver, Delivery, ToClient};
    let deliver = |deliveries| ToClient::Deliver(Deliver { deliveries });
    let two = Credit { records: 2, octets: 1 << 20 };
    let numbered = |number, offset, part, parts| Delivery { number, ..delivery(offset, part, parts, b"") };
    for (deliveries, expected) in [
        (vec![], CloseCode::Unexpected),
        (vec![numbered(2, 5, 0, 1)], CloseCode::Sequence),
        (vec![numbered(1, 5, 0, 0)], CloseCode::Sequence),
        (vec![numbered(1, 5, 1, 2)], CloseCode::Sequence),
        (vec![numbered(1, u64::MAX, 0, 1)], CloseCode::Sequence),
        (vec![numbered(1, 5, 0, 1), numbered(1, 6, 0, 1)], CloseCode::Sequence),
        (vec![numbered(1, 5, 0, 2), numbered(2, 6, 0, 1)], CloseCode::Sequence),
        (vec![numbered(1, 5, 0, 2), numbered(1, 6, 1, 2)], CloseCode::Sequence),
        (vec![numbered(1, 5, 0, 2), numbered(1, 5, 1, 3)], CloseCode::Sequence),
        ((1..4).map(|number| numbered(number, number, 0, 1)).collect(), CloseCode::Credit),
    ] {
        let mut pair = opened(5, two);
        pair.client.handle_data(&frame(&deliver(deliveries.clone())));
        let violation = std::iter::from_fn(|| Some(pair.client.poll_event())).find_map(Result::err).unwrap();
        assert_eq!(violation.code, expected, "{violation}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is answered in whatever order and however often delivered, both sides agree on the credit that is left.
    #[test]
    fn both_sides_count_alike(
        steps in proptest::collection::vec((0_u8..6, any::<prop::sample::Index>(), 1_u16..4), 1..80),
    ) {
        let credit = Credit { records: 10, octets: 400 };
        let mut pair = opened(0, credit);
        let (mut next, mut open): (u64, Vec<(u64, u64, u32, u16)>) = (0, Vec::new());
        for (kind, at, parts) in steps {
            let picked = (!open.is_empty()).then(|| at.index(open.len()));
            match (kind, picked) {
                (0 | 1, _) if pair.server.has_room() => {
                    let parts = (0..parts).map(|part| delivery(next, part, parts, b"x")).collect();
                    pair.server.deliver(parts).unwrap();
                    next += 1;
                }
                (2, Some(picked)) => {
                    let (_, offset, attempt, _) = open[picked];
                    if pair.server.has_room_for(Offset(offset), attempt + 1) {
                        pair.server.deliver(again(offset, attempt + 1)).unwrap();
                        open.retain(|(_, other, _, _)| *other != offset);
                    }
                }
                (3 | 4, Some(picked)) => pair.client.ack(open.swap_remove(picked).0),
                (5, Some(picked)) => {
                    let (number, ..) = open[picked];
                    pair.client.nak(number, None);
                    open.retain(|(other, ..)| *other != number);
                }
                _ => {}
            }
            open.extend(arrived(&pair.drive().unwrap().0));
        }
        for (number, ..) in open {
            pair.client.ack(number);
        }
        pair.drive().unwrap();
        prop_assert_eq!(pair.server.under_way(), Credit::default());
    }
}
