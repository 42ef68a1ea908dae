//! The records of a run: each follows from its publisher and its number there, so that whoever meets one knows what it must be.

use bytes::Bytes;
use hilum_client::Record;
use hilum_core::record::{Body, ProducerId, Stored};
use hilum_core::{Head, Timestamp};

/// A record by its publisher and its number there.
pub(super) type Identified = (u8, u64);

/// What the clocks show at the start of a run.
pub(super) const EPOCH: Timestamp = Timestamp(1_800_000_000_000);
/// The record that a publisher gives a number to.
pub(super) fn record((publisher, sequence): Identified) -> Record {
    let body =
        format!("{publisher} {sequence} {}", "x".repeat(usize::try_from(sequence % 7).unwrap_or(0) * 150));
    let mut record = Record::new("text/plain", Bytes::from(body)).with_key(&key((publisher, sequence)));
    record.head.time = Timestamp(1_000 + sequence);
    record.head.deliver_after = (sequence % 8 == 5).then_some(Timestamp(EPOCH.0 + 700 * sequence));
    record.with_attribute("sequence", &sequence.to_string())
}

pub(super) fn key((publisher, sequence): Identified) -> String {
    format!("{publisher}/{}", sequence % 3)
}

pub(super) fn producer(publisher: u8) -> ProducerId {
    ProducerId([publisher; 16])
}

/// Which record a stored one is.
pub(super) fn of(stored: &Stored) -> Option<Identified> {
    let Body::Inline(body) = &stored.envelope().body else { return None };
    identify(&stored.envelope().head, body)
}

/// Which record a dead letter is; none where it does not say why it is one.
pub(super) fn dead(stored: &Stored, subscription: &str, deliveries: u32) -> Option<Identified> {
    let Body::Inline(body) = &stored.envelope().body else { return None };
    let mut head = stored.envelope().head.clone();
    let said = |name: &str| {
        head.attributes.iter().find(|attribute| attribute.name == name).map(|it| it.value.as_str())
    };
    let is_explained = said("hilum.dead.reason") == Some("max-deliveries")
        && said("hilum.dead.subscription") == Some(subscription)
        && said("hilum.dead.deliveries") == Some(deliveries.to_string().as_str());
    head.attributes.retain(|attribute| !attribute.name.starts_with("hilum.dead."));
    let (_, sequence) = numbers(body)?;
    head.deliver_after = record((0, sequence)).head.deliver_after;
    identify(&head, body).filter(|_| is_explained)
}

/// Gives a record a key of its own that ends as its key does.
pub(super) fn hide_key(head: &mut Head, sequence: u64) {
    head.key = head.key.take().map(|key| format!("{sequence}#{key}"));
}

fn shown_key(key: &str) -> String {
    key.rsplit('#').next().unwrap_or(key).to_owned()
}

fn numbers(body: &Bytes) -> Option<Identified> {
    let mut words = std::str::from_utf8(body).ok()?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Which record this is; none where it is not as it was published.
pub(super) fn identify(head: &Head, body: &Bytes) -> Option<Identified> {
    let identified = numbers(body)?;
    let expected = record(identified);
    let same = expected.body == *body
        && expected.head.time == head.time
        && expected.head.deliver_after == head.deliver_after
        && expected.head.key == head.key.as_deref().map(shown_key)
        && expected.head.content_type == head.content_type
        && expected.head.attributes == head.attributes;
    same.then_some(identified)
}
