//! Both ends of a publisher stream: frames, acks, credit, and who breaks the rules.

use super::*;
use crate::record::Timestamp;
use crate::wire::publisher::Opened;

pub(super) fn opening() -> Pair<PublisherClient, PublisherServer> {
    let open =
        OpenPublisher { flow: "device".parse().unwrap(), producer: ProducerId([1; 16]), known_since: None };
    let mut client = PublisherClient::new(open.clone(), 1);
    let Accepted::Publisher(server) = accept(&mut client) else { panic!("publisher") };
    assert_eq!(server.request(), &open);
    Pair::new(client, server)
}

pub(super) fn opened(credit: Credit) -> Pair<PublisherClient, PublisherServer> {
    let mut pair = opening();
    let (known_since, durability) = (Timestamp(9), Durability::Fsynced);
    pair.server.open(Opened { last_sequence: 0, known_since, durability, credit });
    let (events, _) = pair.drive().unwrap();
    assert!(matches!(events[..], [PublisherClientEvent::Opened(_)]), "{events:?}");
    pair
}

const WIDE: Credit = Credit { records: 1000, octets: 1 << 20 };

fn publish(pair: &mut Pair<PublisherClient, PublisherServer>, count: usize) {
    for _ in 0..count {
        pair.client.publish(head(), Bytes::from_static(b"body")).unwrap();
    }
}

/// Sequence numbers that came, by frame.
fn batches(events: &[PublisherServerEvent]) -> Vec<(u64, usize)> {
    let batch = |event: &PublisherServerEvent| match event {
        PublisherServerEvent::Records(publish) => Some((publish.first_sequence, publish.records.len())),
        PublisherServerEvent::Batch(_) | PublisherServerEvent::Finished => None,
    };
    events.iter().filter_map(batch).collect()
}

fn acked(events: &[PublisherClientEvent]) -> Vec<u64> {
    let ack = |event: &PublisherClientEvent| match event {
        PublisherClientEvent::Acked(ack) => Some(ack.through_sequence),
        _ => None,
    };
    events.iter().filter_map(ack).collect()
}

#[test]
fn what_is_in_line_goes_in_few_frames_and_is_acked_in_bulk() {
    let mut pair = opened(WIDE);
    publish(&mut pair, limits::PUBLISH_RECORDS_MAX + 10);
    let (_, events) = pair.drive().unwrap();
    assert_eq!(batches(&events), [(1, limits::PUBLISH_RECORDS_MAX), (257, 10)]);
    for through in [1, 200, 266] {
        pair.server.ack(through, Durability::Fsynced, Some(Offset(through))).unwrap();
    }
    let (events, _) = pair.drive().unwrap();
    assert_eq!(acked(&events), [266], "acks that wait together are one");
    pair.client.finish();
    let (at_client, at_server) = pair.drive().unwrap();
    assert_eq!(at_server, [PublisherServerEvent::Finished]);
    assert_eq!(at_client, [PublisherClientEvent::Finished]);
}

#[test]
fn a_batch_goes_in_a_frame_of_its_own_and_with_any_credit() {
    let mut pair = opened(Credit { records: 2, octets: 1 << 20 });
    publish(&mut pair, 1);
    let record = || (head(), Bytes::from_static(b"body"));
    assert_eq!(pair.client.publish_batch(vec![record(); 3]), Ok(2));
    publish(&mut pair, 1);
    let (_, events) = pair.drive().unwrap();
    let [PublisherServerEvent::Records(first), PublisherServerEvent::Batch(batch)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((first.first_sequence, first.records.len()), (1, 1));
    assert_eq!((batch.first_sequence, batch.records.len()), (2, 3));
    pair.server.ack(4, Durability::Fsynced, None).unwrap();
    let (_, events) = pair.drive().unwrap();
    assert_eq!(batches(&events), [(5, 1)], "what is behind it waited for credit");
}

#[test]
fn a_batch_that_fits_no_frame_is_not_taken() {
    let mut pair = opened(WIDE);
    let record = |octets| (head(), Bytes::from(vec![0; octets]));
    let too_many = limits::PUBLISH_RECORDS_MAX + 1;
    assert_eq!(pair.client.publish_batch(Vec::new()), Err(PublishError::BatchRecords(0)));
    assert_eq!(
        pair.client.publish_batch(vec![record(1); too_many]),
        Err(PublishError::BatchRecords(too_many))
    );
    let large = vec![record(limits::INLINE_BODY_OCTETS_MAX); 4];
    assert!(matches!(pair.client.publish_batch(large), Err(PublishError::BatchOctets(_))));
    let invalid = vec![record(1), record(limits::INLINE_BODY_OCTETS_MAX + 1)];
    assert!(matches!(pair.client.publish_batch(invalid), Err(PublishError::Invalid(_))));
    assert_eq!(pair.client.publish_batch(vec![record(1)]), Ok(1), "none of them took a number");
}

#[test]
fn the_broker_finishes_only_after_the_last_answer() {
    let mut pair = opened(WIDE);
    publish(&mut pair, 2);
    pair.client.finish();
    let (at_client, _) = pair.drive().unwrap();
    assert_eq!(at_client, []);
    pair.server.ack(2, Durability::Fsynced, None).unwrap();
    let (at_client, _) = pair.drive().unwrap();
    assert!(matches!(at_client[..], [PublisherClientEvent::Acked(_), PublisherClientEvent::Finished]));
}

#[test]
fn credit_holds_records_back_until_answers_come() {
    let mut pair = opened(Credit { records: 3, octets: 1 << 20 });
    publish(&mut pair, 5);
    let (_, events) = pair.drive().unwrap();
    assert_eq!(batches(&events), [(1, 3)]);
    assert_eq!((pair.client.queued(), pair.server.under_way().records), (2, 3));
    pair.server.refuse_record(2, Refusal::new(RefusalCode::Denied, "")).unwrap();
    let (_, events) = pair.drive().unwrap();
    assert_eq!(batches(&events), [(4, 1)], "a refusal gives credit back");
    pair.server.grant(Credit { records: 1, octets: 0 });
    let (_, events) = pair.drive().unwrap();
    assert_eq!(batches(&events), [(5, 1)], "a grant adds to it");
    pair.server.ack(5, Durability::Memory, None).unwrap();
    pair.drive().unwrap();
    assert_eq!(pair.server.under_way(), Credit::default());
}

#[test]
fn octets_are_credit_too_and_the_last_record_may_go_over() {
    let mut pair = opened(Credit { records: 100, octets: 60 });
    publish(&mut pair, 4);
    // key 5, content type 10, attribute 5, body 4
    let (_, events) = pair.drive().unwrap();
    assert_eq!((batches(&events), pair.server.under_way().octets), (vec![(1, 3)], 72));
}

#[test]
fn answers_of_all_kinds_meet_their_records() {
    let mut pair = opened(WIDE);
    publish(&mut pair, 4);
    pair.drive().unwrap();
    let refusal = Refusal::new(RefusalCode::InvalidRecord, "no");
    pair.server.refuse_record(4, refusal.clone()).unwrap();
    pair.server.refuse_record(1, refusal.clone()).unwrap();
    pair.server.ack(3, Durability::Fsynced, Some(Offset(9))).unwrap();
    pair.server.ack(2, Durability::Fsynced, Some(Offset(8))).unwrap();
    assert_eq!(pair.server.refuse_record(3, refusal.clone()), Err(NotUnderWay(3)));
    assert_eq!(pair.server.refuse_record(5, refusal), Err(NotUnderWay(5)));
    assert_eq!(pair.server.ack(5, Durability::Fsynced, None), Err(NotUnderWay(5)));
    let (events, _) = pair.drive().unwrap();
    let refused = |event: &PublisherClientEvent| match event {
        PublisherClientEvent::RecordRefused(refused) => Some(refused.sequence),
        _ => None,
    };
    assert_eq!(events.iter().filter_map(refused).collect::<Vec<_>>(), [4, 1]);
    assert_eq!(acked(&events), [3]);
    assert_eq!(pair.server.under_way(), Credit::default());
    pair.client.finish();
    let (events, _) = pair.drive().unwrap();
    assert_eq!(events, [PublisherClientEvent::Finished]);
}

#[test]
fn an_ack_that_says_nothing_is_not_sent() {
    let mut pair = opened(WIDE);
    publish(&mut pair, 1);
    pair.drive().unwrap();
    pair.server.refuse_record(1, Refusal::new(RefusalCode::Denied, "")).unwrap();
    pair.server.ack(1, Durability::Fsynced, None).unwrap();
    let (events, _) = pair.drive().unwrap();
    assert!(matches!(events[..], [PublisherClientEvent::RecordRefused(_)]), "{events:?}");
}

#[test]
fn the_broker_may_refuse_at_once_or_later() {
    for begin in [opening, || opened(WIDE)] {
        let mut pair = begin();
        let refusal = Refusal::retryable(RefusalCode::Unavailable, "stopping");
        pair.server.refuse(refusal.clone());
        publish(&mut pair, 1);
        let (events, _) = pair.drive().unwrap();
        assert_eq!(events, [PublisherClientEvent::Refused(refusal), PublisherClientEvent::Finished]);
        assert_eq!(pair.client.publish(head(), Bytes::new()), Err(PublishError::Ended));
    }
}

#[test]
fn invalid_records_are_found_before_sending() {
    let mut pair = opened(WIDE);
    let body = Bytes::from(vec![0; limits::INLINE_BODY_OCTETS_MAX + 1]);
    assert!(matches!(pair.client.publish(head(), body), Err(PublishError::Invalid(_))));
    assert_eq!(pair.client.publish(head(), Bytes::new()), Ok(1), "it took no number");
}

#[test]
fn frames_hold_whole_records_of_any_size() {
    let mut pair = opened(Credit { records: 100, octets: 64 << 20 });
    pair.step = 4096;
    for _ in 0..9 {
        let body = Bytes::from(vec![7; limits::INLINE_BODY_OCTETS_MAX]);
        pair.client.publish(head(), body).unwrap();
    }
    let (_, events) = pair.drive().unwrap();
    assert_eq!(batches(&events), [(1, 3), (4, 3), (7, 3)]);
}

fn sent(first_sequence: u64, count: usize) -> BytesMut {
    let record = wire::publisher::PublishedRecord { head: head(), body: Bytes::from_static(b"body") };
    frame(&ToBroker::Publish(Publish { first_sequence, records: vec![record; count] }))
}

#[test]
fn the_broker_sees_what_breaks_the_protocol() {
    let credit = Credit { records: 3, octets: 1 << 20 };
    for (frames, expected) in [
        (vec![sent(0, 1)], CloseCode::Sequence),
        (vec![sent(u64::MAX, 1)], CloseCode::Sequence),
        (vec![sent(1, 1), sent(3, 1)], CloseCode::Sequence),
        (vec![sent(1, 1), sent(1, 1)], CloseCode::Sequence),
        (vec![sent(1, 4)], CloseCode::Credit),
        (vec![sent(1, 2), sent(3, 2)], CloseCode::Credit),
        (vec![sent(1, 0)], CloseCode::Unexpected),
        (vec![BytesMut::from(&[2, 0, 0, 0, 9, 9][..])], CloseCode::Malformed),
    ] {
        let mut server = opened(credit).server;
        frames.iter().for_each(|octets| server.handle_data(octets));
        let violation = std::iter::from_fn(|| Some(server.poll_event())).find_map(Result::err).unwrap();
        assert_eq!(violation.code, expected, "{violation}");
    }
    let mut server = opening().server;
    server.handle_data(&sent(1, 1));
    assert_eq!(code(server.poll_event()), CloseCode::Unexpected, "before the broker opened");
    let mut server = opened(credit).server;
    server.handle_data(&sent(1, 1)[..9]);
    server.handle_finish();
    assert_eq!(code(server.poll_event()), CloseCode::Unexpected, "an end in the middle of a frame");
}

#[test]
fn the_client_sees_what_breaks_the_protocol() {
    use wire::publisher::{Ack, RecordRefused, ToClient};
    let ack = |through_sequence| {
        ToClient::Ack(Ack { through_sequence, durability: Durability::Fsynced, last_offset: None })
    };
    let refused = |sequence| {
        ToClient::RecordRefused(RecordRefused { sequence, refusal: Refusal::new(RefusalCode::Denied, "") })
    };
    let much = Credit { records: limits::CREDIT_RECORDS_MAX, octets: 1 };
    for (frames, expected) in [
        (vec![ack(2)], CloseCode::Sequence),
        (vec![ack(0)], CloseCode::Sequence),
        (vec![ack(1), ack(1)], CloseCode::Sequence),
        (vec![refused(1), refused(1)], CloseCode::Sequence),
        (vec![ToClient::Grant(much)], CloseCode::Credit),
    ] {
        let mut pair = opened(WIDE);
        publish(&mut pair, 1);
        pair.drive().unwrap();
        frames.iter().for_each(|answer| pair.client.handle_data(&frame(answer)));
        let violation = std::iter::from_fn(|| Some(pair.client.poll_event())).find_map(Result::err).unwrap();
        assert_eq!(violation.code, expected, "{frames:?}");
    }
}

/// What becomes of records may be known only after the stream was ended: nothing may follow the refusal.
#[test]
fn what_is_answered_after_a_refusal_is_not_sent() {
    let mut pair = opened(WIDE);
    publish(&mut pair, 3);
    pair.drive().unwrap();
    pair.server.ack(1, Durability::Fsynced, None).unwrap();
    pair.server.refuse(Refusal::retryable(RefusalCode::Unavailable, "stopping"));
    pair.server.refuse_record(2, Refusal::new(RefusalCode::InvalidRecord, "late")).unwrap();
    pair.server.ack(3, Durability::Fsynced, None).unwrap();
    let (events, _) = pair.drive().unwrap();
    assert_eq!(acked(&events), [1]);
    assert!(
        matches!(events[1..], [PublisherClientEvent::Refused(_), PublisherClientEvent::Finished]),
        "{events:?}"
    );
}
