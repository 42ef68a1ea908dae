//! What clients were told, held against what the broker stored and delivered: the design's "what must hold", as checks.
//!
//! - acked means durable, unless the disk lied about it: then the record may be gone after a crash, and only then;
//! - each record is stored once, whatever its publisher repeats, in the order of its publisher;
//! - what is delivered is what was published, and was durable; records of one key come in order;
//! - a subscription's cursor passes nothing that its reader has not settled, and comes back where it was left;
//! - in the end each record has been delivered to every subscription;
//! - no stored record is without principal and receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use hilum_client::{Ack, Delivery, DeliveryBody, Durability, Record};
use hilum_core::record::{Body, ProducerId, Stored};
use hilum_core::{FlowName, Head, Offset, SubscriptionName, Timestamp};

use super::history::History;

/// A subscription of a flow.
pub(super) type Place = (FlowName, SubscriptionName);

/// A record by its publisher and its number there.
pub(super) type Identified = (u8, u64);

/// All that clients know together.
#[derive(Clone)]
pub(super) struct Ledger {
    state: Arc<Mutex<State>>,
    history: History,
}

#[derive(Default)]
struct State {
    acked: BTreeMap<Identified, Acked>,
    readings: BTreeMap<Place, Reading>,
    /// What a crash took although fsync had vouched for it.
    lied_about: BTreeSet<Identified>,
    /// Counts the broker's lives. What a reader still has from a life before is of no account: the broker that could hear
    /// of it is gone.
    life: u64,
}

struct Acked {
    flow: FlowName,
    durability: Durability,
    through_offset: Option<Offset>,
}

/// What the readers of one subscription know.
#[derive(Default)]
struct Reading {
    delivered: BTreeMap<u64, Identified>,
    settled: BTreeSet<u64>,
    /// No later reading may begin before it: what is below was settled, and the broker has said that it kept that.
    floor: u64,
    /// Where the present session began.
    cursor: u64,
    /// What was settled in the present session.
    settled_now: BTreeSet<u64>,
}

impl Reading {
    /// The lowest offset that was not settled.
    fn unsettled(&self) -> u64 {
        (0..).find(|offset| !self.settled.contains(offset)).expect("a range without end")
    }
}

/// The record that a publisher gives a number to.
pub(super) fn record((publisher, sequence): Identified) -> Record {
    let body =
        format!("{publisher} {sequence} {}", "x".repeat(usize::try_from(sequence % 7).unwrap_or(0) * 150));
    let mut record = Record::new("text/plain", Bytes::from(body)).with_key(&key((publisher, sequence)));
    record.head.time = Timestamp(1_000 + sequence);
    record.with_attribute("sequence", &sequence.to_string())
}

fn key((publisher, sequence): Identified) -> String {
    format!("{publisher}/{}", sequence % 3)
}

pub(super) fn producer(publisher: u8) -> ProducerId {
    ProducerId([publisher; 16])
}

impl Ledger {
    pub(super) fn new(history: History) -> Self {
        Self { state: Arc::default(), history }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the ledger")
    }

    /// A publisher got an ack.
    pub(super) fn acked(&self, flow: &FlowName, publisher: u8, expected: u64, ack: Ack) {
        let Ack { sequence, durability, through_offset } = ack;
        self.history.note(format_args!(
            "publisher {publisher}: record {sequence} is acked, {durability:?} through {through_offset:?}"
        ));
        if sequence != expected {
            self.history.violation(format_args!("publisher {publisher}: {expected} is acked as {sequence}"));
        }
        let acked = Acked { flow: flow.clone(), durability, through_offset };
        self.state().acked.insert((publisher, sequence), acked);
    }

    /// A publisher was told, when it came back, that all its records up to one are settled.
    pub(super) fn settled_before(
        &self,
        flow: &FlowName,
        publisher: u8,
        sequences: impl Iterator<Item = u64>,
    ) {
        let mut state = self.state();
        for sequence in sequences {
            let acked = Acked { flow: flow.clone(), durability: Durability::Fsynced, through_offset: None };
            state.acked.entry((publisher, sequence)).or_insert(acked);
        }
    }

    /// The broker is gone, and everything that is not on its disk with it.
    pub(super) fn life_ended(&self) {
        self.state().life += 1;
    }

    /// A reader was told where it begins. Gives the life of the broker that told it.
    pub(super) fn opened(&self, place: &Place, cursor: Offset) -> u64 {
        self.history.note(format_args!("reader {}/{}: begins at {cursor}", place.0, place.1));
        let mut state = self.state();
        let reading = state.readings.entry(place.clone()).or_default();
        if cursor.0 > reading.unsettled() {
            let unsettled = reading.unsettled();
            self.history.violation(format_args!(
                "{place:?}: the cursor {cursor} passed {unsettled}, which was not settled"
            ));
        }
        if cursor.0 < reading.floor {
            let floor = reading.floor;
            self.history.violation(format_args!(
                "{place:?}: the cursor {cursor} is before {floor}, where it was left"
            ));
        }
        reading.cursor = cursor.0;
        reading.settled_now.clear();
        state.life
    }

    /// A record came.
    pub(super) fn delivered(&self, place: &Place, life: u64, delivery: &Delivery) {
        let offset = delivery.offset();
        let Some(identified) = self.identify(delivery.head(), delivery.body()) else {
            self.history.violation(format_args!("{place:?}: nobody published what came at offset {offset}"));
            return;
        };
        self.history.note(format_args!("reader {}/{}: {identified:?} comes at {offset}", place.0, place.1));
        let mut state = self.state();
        if life != state.life {
            return;
        }
        let reading = state.readings.entry(place.clone()).or_default();
        if offset.0 < reading.cursor {
            self.history.violation(format_args!("{place:?}: {offset} comes before the cursor"));
        }
        match reading.delivered.insert(offset.0, identified) {
            Some(before) if before != identified => {
                self.history
                    .violation(format_args!("{place:?}: {offset} was {before:?} and is {identified:?}"));
            }
            Some(_) => {}
            None => {
                let later = reading.delivered.range(offset.0 + 1..).map(|(_, other)| *other);
                let mut overtaken = later.filter(|other| key(*other) == key(identified));
                if let Some(other) = overtaken.next() {
                    self.history.violation(format_args!(
                        "{place:?}: {other:?} came before {identified:?} of the same key"
                    ));
                }
            }
        }
    }

    /// What a delivery is, if it is unchanged.
    fn identify(&self, head: &Head, body: &DeliveryBody) -> Option<Identified> {
        let DeliveryBody::Inline(body) = body else { return None };
        identify(head, body)
    }

    /// A reader is done with a record.
    pub(super) fn settled(&self, place: &Place, life: u64, offset: Offset) {
        self.history.note(format_args!("reader {}/{}: settles {offset}", place.0, place.1));
        let mut state = self.state();
        if life == state.life {
            let reading = state.readings.entry(place.clone()).or_default();
            reading.settled.insert(offset.0);
            reading.settled_now.insert(offset.0);
        }
    }

    /// A reader closed its stream in good order: the broker has counted what it settled.
    pub(super) fn closed(&self, place: &Place, life: u64) {
        self.history.note(format_args!("reader {}/{}: closed in good order", place.0, place.1));
        let mut state = self.state();
        if life == state.life {
            let reading = state.readings.entry(place.clone()).or_default();
            let unsettled = (reading.cursor..).find(|offset| !reading.settled_now.contains(offset));
            reading.floor = unsettled.expect("a range without end");
        }
    }

    /// Cursors are gone, as they may be at any time.
    pub(super) fn forget_cursors(&self) {
        self.state().readings.values_mut().for_each(|reading| reading.floor = 0);
    }

    /// A crash made a flow end at `end`; these records had been vouched for.
    pub(super) fn lost(&self, flow: &FlowName, end: Offset, lied_about: Vec<Identified>) {
        let mut state = self.state();
        for (place, reading) in &mut state.readings {
            if place.0 == *flow {
                reading.delivered.retain(|offset, _| *offset < end.0);
                reading.settled.retain(|offset| *offset < end.0);
                if !lied_about.is_empty() {
                    // A cursor beyond the end of its flow is given up.
                    reading.floor = 0;
                }
            }
        }
        // An offset that a later record has by now is no answer any more.
        let acked = state.acked.values_mut().filter(|acked| acked.flow == *flow);
        acked.for_each(|acked| acked.through_offset = acked.through_offset.filter(|offset| *offset < end));
        state.lied_about.extend(lied_about);
    }

    /// Whether a subscription has delivered and settled everything up to `end`.
    pub(super) fn is_read(&self, place: &Place, end: u64) -> bool {
        self.state().readings.get(place).is_some_and(|reading| reading.unsettled() >= end)
    }

    /// Holds a flow's log, as it is in the end, against what publishers and readers were told.
    pub(super) fn check_log(&self, flow: &FlowName, records: &[Stored]) {
        let by_record = self.check_stored(flow, records);
        let state = self.state();
        for (identified, acked) in state.acked.iter().filter(|(_, acked)| acked.flow == *flow) {
            let Some(offset) = by_record.get(identified) else {
                if acked.durability == Durability::Fsynced && !state.lied_about.contains(identified) {
                    self.history.violation(format_args!("{flow}: {identified:?} was acked and is lost"));
                }
                continue;
            };
            if acked.through_offset.is_some_and(|through| through < *offset) {
                self.history.violation(format_args!(
                    "{flow}: {identified:?} is at {offset}, acked through {:?}",
                    acked.through_offset
                ));
            }
        }
        let by_offset: BTreeMap<u64, Identified> =
            by_record.iter().map(|(id, offset)| (offset.0, *id)).collect();
        for (place, reading) in state.readings.iter().filter(|(place, _)| place.0 == *flow) {
            for (offset, identified) in &reading.delivered {
                if by_offset.get(offset) != Some(identified) {
                    self.history.violation(format_args!(
                        "{place:?}: {identified:?} was delivered at {offset}, where {:?} is",
                        by_offset.get(offset)
                    ));
                }
            }
            for (offset, identified) in &by_offset {
                if !reading.delivered.contains_key(offset) {
                    self.history.violation(format_args!("{place:?}: {identified:?} at {offset} never came"));
                }
            }
        }
    }

    /// Each record once, in its publisher's order, with principal and receipt; where each one is.
    fn check_stored(&self, flow: &FlowName, records: &[Stored]) -> BTreeMap<Identified, Offset> {
        let mut by_record = BTreeMap::new();
        let mut last: BTreeMap<u8, u64> = BTreeMap::new();
        for stored in records {
            let (offset, envelope) = (stored.offset(), stored.envelope());
            let Body::Inline(body) = &envelope.body else {
                self.history.violation(format_args!("{flow} {offset}: a large body out of nowhere"));
                continue;
            };
            let position = envelope.producer;
            let Some((publisher, sequence)) = identify(&envelope.head, body)
                .filter(|id| position.is_some_and(|at| at.producer == producer(id.0) && at.sequence == id.1))
            else {
                self.history.violation(format_args!("{flow} {offset}: nobody published this"));
                continue;
            };
            if let Some(before) = by_record.insert((publisher, sequence), offset) {
                self.history.violation(format_args!(
                    "{flow}: record {sequence} of publisher {publisher} is stored at {before} and at {offset}"
                ));
            }
            if last.insert(publisher, sequence).is_some_and(|last| last >= sequence) {
                self.history.violation(format_args!(
                    "{flow} {offset}: record {sequence} of publisher {publisher} is out of order"
                ));
            }
            if envelope.principal.id.as_str() != "spiffe://sim/device/scanner" {
                self.history.violation(format_args!("{flow} {offset}: from {}", envelope.principal.id));
            }
            if envelope.receipt.input != stored.measured().digest() {
                self.history.violation(format_args!("{flow} {offset}: its receipt is for something else"));
            }
        }
        by_record
    }
}

/// Which record a stored one is.
pub(super) fn of(stored: &Stored) -> Option<Identified> {
    let Body::Inline(body) = &stored.envelope().body else { return None };
    identify(&stored.envelope().head, body)
}

/// Which record this is; none where it is not as it was published.
pub(super) fn identify(head: &Head, body: &Bytes) -> Option<Identified> {
    let text = std::str::from_utf8(body).ok()?;
    let mut words = text.split(' ');
    let identified = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let expected = record(identified);
    let same = expected.body == *body
        && expected.head.time == head.time
        && expected.head.key == head.key
        && expected.head.content_type == head.content_type
        && expected.head.attributes == head.attributes;
    same.then_some(identified)
}
