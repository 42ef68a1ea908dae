//! What clients were told, held against what the broker stored and delivered: the design's "what must hold", as checks.
//!
//! - acked means durable, unless the disk lied about it: then the record may be gone after a crash, and only then;
//! - each record is stored once, whatever its publisher repeats, in the order of its publisher;
//! - what is delivered is what was published, and was durable; records of one key come in order;
//! - a subscription's cursor passes nothing that its reader has not settled, and comes back where it was left;
//! - what a reader gave back does not come before its delay, and what it settled not again while it is there;
//! - while one of several readers has a record of a key, no other one gets a later one;
//! - what a filter leaves out never comes, and nothing comes before its time;
//! - what was delivered too often is in the dead-letter flow with its reason, and comes no more;
//! - in the end each record has been delivered to every subscription, and was settled there or is a dead letter;
//! - no stored record is without principal and receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use hilum_client::{Ack, Delivery, DeliveryBody, Durability};
use hilum_core::record::{Body, Stored};
use hilum_core::{FlowName, Head, Offset, SubscriptionName};
use hilum_server::clock::Clock;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::history::History;
use super::records::{self, Identified, identify, key, producer};

/// A subscription of a flow.
pub(super) type Place = (FlowName, SubscriptionName);

/// The default `ack_wait`: what is not answered for so long comes again, whatever the reader says later.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Whether several readers share a subscription.
pub(super) fn is_shared(place: &Place) -> bool {
    place.1.as_str() == "crew"
}

/// Whether a subscription's filter lets a record through.
fn wants(place: &Place, (_, sequence): Identified) -> bool {
    place.1.as_str() != "few" || sequence % 3 == 1
}

/// Where records become dead letters, and after how many deliveries.
const LIMITED: (&str, u32) = ("fragile", 3);
/// How long a record waits there before its next delivery, if its reader does not say.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

fn is_limited(place: &Place) -> bool {
    place.1.as_str() == LIMITED.0
}

fn dead_letter(stored: &Stored) -> Option<Identified> {
    records::dead(stored, LIMITED.0, LIMITED.1)
}

/// How long a record has to wait that a reader never takes; none for one that it may take.
pub(super) fn spurned(place: &Place, delivery: &Delivery) -> Option<Duration> {
    let is_poison = is_limited(place) && delivery.head().time.0.is_multiple_of(4);
    let attempt = usize::try_from(delivery.attempt()).unwrap_or(usize::MAX);
    is_poison.then(|| BACKOFF[attempt.saturating_sub(1).min(BACKOFF.len() - 1)])
}

/// One opening of a subscription's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    /// The life of the broker that it is with.
    life: u64,
    number: u64,
}

/// All that clients know together.
#[derive(Clone)]
pub(super) struct Ledger {
    state: Arc<Mutex<State>>,
    acks: Arc<Notify>,
    clock: Clock,
    history: History,
}

#[derive(Default)]
struct State {
    sessions: u64,
    /// What is in each flow in the end.
    contents: BTreeMap<FlowName, BTreeMap<u64, Identified>>,
    acked: BTreeMap<Identified, Acked>,
    readings: BTreeMap<Place, Reading>,
    /// What a crash took although fsync had vouched for it.
    lied_about: BTreeSet<Identified>,
    /// Dead letters that are there, or that were and a lying disk lost.
    letters: BTreeSet<Identified>,
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
    /// Who had each record last, and since when.
    holders: BTreeMap<u64, (Session, Instant)>,
    /// Until when records were given back by their holders.
    put_off: BTreeMap<u64, Instant>,
}

impl Reading {
    /// The lowest offset that is known not to be settled.
    fn unsettled(&self, place: &Place) -> u64 {
        if is_limited(place) {
            // What became a dead letter is passed; only the end shows whether each did.
            return u64::MAX;
        }
        if place.1.as_str() == "few" {
            // What its filter leaves out is never settled, and nobody knows what that is.
            let mut delivered = self.delivered.keys();
            return delivered.find(|offset| !self.settled.contains(offset)).copied().unwrap_or(u64::MAX);
        }
        (0..).find(|offset| !self.settled.contains(offset)).expect("a range without end")
    }

    /// What is wrong about a record that comes now.
    fn faults(
        &self,
        place: &Place,
        session: Session,
        offset: u64,
        identified: Identified,
    ) -> impl Iterator<Item = String> + use<> {
        let mut faults = Vec::new();
        match self.delivered.get(&offset) {
            Some(before) if *before != identified => faults.push(format!("was {before:?}")),
            Some(_) => {}
            None => {
                let later = self.delivered.range(offset + 1..).map(|(_, other)| *other);
                let mut overtaken = later.filter(|other| key(*other) == key(identified));
                faults.extend(overtaken.next().map(|other| format!("comes after {other:?} of its key")));
            }
        }
        let now = Instant::now();
        let had = self.holders.get(&offset).filter(|(holder, _)| *holder == session);
        if had.is_some_and(|(_, since)| now < *since + ACK_WAIT) {
            match self.put_off.get(&offset) {
                Some(until) if now < *until => faults.push(format!("comes {:?} too early", *until - now)),
                None if self.settled.contains(&offset) => {
                    faults.push("comes again and is settled".to_owned());
                }
                _ => {}
            }
        }
        if is_shared(place) {
            let before = self.delivered.range(..offset).filter(|(_, other)| key(**other) == key(identified));
            let with_another = |at: &u64| {
                !self.settled.contains(at)
                    && self.holders.get(at).is_some_and(|(holder, _)| *holder != session)
            };
            let before = before.map(|(at, _)| *at).find(with_another);
            faults.extend(before.map(|at| format!("comes while another reader has {at} of its key")));
        }
        faults.into_iter()
    }
}

impl Ledger {
    pub(super) fn new(clock: Clock, history: History) -> Self {
        Self { state: Arc::default(), acks: Arc::default(), clock, history }
    }

    /// Waits until some publisher gets an ack.
    pub(super) async fn next_ack(&self) {
        self.acks.notified().await;
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
        self.acks.notify_waiters();
    }

    /// A publisher was told, when it came back, that all its records up to one are settled.
    pub(super) fn settled_before(
        &self,
        flow: &FlowName,
        publisher: u8,
        sequences: impl Iterator<Item = u64>,
        durability: Durability,
    ) {
        let mut state = self.state();
        for sequence in sequences {
            let acked = Acked { flow: flow.clone(), durability, through_offset: None };
            state.acked.entry((publisher, sequence)).or_insert(acked);
        }
    }

    /// The broker is gone, and everything that is not on its disk with it.
    pub(super) fn life_ended(&self) {
        self.state().life += 1;
    }

    /// A reader was told where it begins.
    pub(super) fn opened(&self, place: &Place, cursor: Offset) -> Session {
        self.history.note(format_args!("reader {}/{}: begins at {cursor}", place.0, place.1));
        let mut state = self.state();
        state.sessions += 1;
        let session = Session { life: state.life, number: state.sessions };
        let reading = state.readings.entry(place.clone()).or_default();
        let unsettled = reading.unsettled(place);
        if cursor.0 > unsettled {
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
        if !is_shared(place) {
            reading.cursor = cursor.0;
            reading.settled_now.clear();
        }
        session
    }

    /// A record came.
    pub(super) fn delivered(&self, place: &Place, session: Session, delivery: &Delivery) {
        let offset = delivery.offset();
        let Some(identified) = self.identify(delivery.head(), delivery.body()) else {
            self.history.violation(format_args!("{place:?}: nobody published what came at offset {offset}"));
            return;
        };
        self.history.note(format_args!("reader {}/{}: {identified:?} comes at {offset}", place.0, place.1));
        let mut state = self.state();
        if session.life != state.life {
            return;
        }
        if !wants(place, identified) || delivery.head().deliver_after > Some(self.clock.now()) {
            self.history.violation(format_args!("{place:?}: {identified:?} should not come, or later"));
        }
        if is_limited(place) && delivery.attempt() > LIMITED.1 {
            let attempt = delivery.attempt();
            self.history.violation(format_args!("{place:?}: {identified:?} is delivered {attempt} times"));
        }
        let reading = state.readings.entry(place.clone()).or_default();
        if offset.0 < reading.cursor {
            self.history.violation(format_args!("{place:?}: {offset} comes before the cursor"));
        }
        reading.faults(place, session, offset.0, identified).for_each(|what| {
            self.history.violation(format_args!("{place:?}: {identified:?} at {offset} {what}"));
        });
        reading.holders.insert(offset.0, (session, Instant::now()));
        reading.put_off.remove(&offset.0);
        reading.delivered.insert(offset.0, identified);
    }

    /// What a delivery is, if it is unchanged.
    fn identify(&self, head: &Head, body: &DeliveryBody) -> Option<Identified> {
        let DeliveryBody::Inline(body) = body else { return None };
        identify(head, body)
    }

    /// A reader is done with a record.
    pub(super) fn settled(&self, place: &Place, session: Session, offset: Offset) {
        self.history.note(format_args!("reader {}/{}: settles {offset}", place.0, place.1));
        let mut state = self.state();
        if session.life == state.life {
            let reading = state.readings.entry(place.clone()).or_default();
            reading.settled.insert(offset.0);
            reading.settled_now.insert(offset.0);
        }
    }

    /// A reader gives a record back for a while.
    pub(super) fn put_off(&self, place: &Place, session: Session, offset: Offset, delay: Duration) {
        self.history.note(format_args!("reader {}/{}: puts {offset} off by {delay:?}", place.0, place.1));
        let mut state = self.state();
        if session.life == state.life {
            let reading = state.readings.entry(place.clone()).or_default();
            reading.put_off.insert(offset.0, Instant::now() + delay);
        }
    }

    /// A reader closed its stream in good order: the broker has counted what it settled.
    pub(super) fn closed(&self, place: &Place, session: Session) {
        self.history.note(format_args!("reader {}/{}: closed in good order", place.0, place.1));
        let mut state = self.state();
        if session.life == state.life && !is_shared(place) {
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
                reading.holders.retain(|offset, _| *offset < end.0);
                reading.put_off.retain(|offset, _| *offset < end.0);
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

    /// What is in a flow in the end.
    pub(super) fn ends(&self, flow: &FlowName, contents: BTreeMap<u64, Identified>) {
        self.state().contents.insert(flow.clone(), contents);
    }

    /// Whether a subscription has delivered and settled everything that there will be.
    pub(super) fn is_read(&self, place: &Place) -> bool {
        let state = self.state();
        let Some(contents) = state.contents.get(&place.0) else { return false };
        let mut wanted = contents.iter().filter(|(_, identified)| wants(place, **identified));
        let settled = state.readings.get(place).map(|reading| &reading.settled);
        let is_dead = |identified| is_limited(place) && state.letters.contains(identified);
        wanted.all(|(offset, identified)| {
            is_dead(identified) || settled.is_some_and(|settled| settled.contains(offset))
        })
    }

    /// What is in the flow of dead letters.
    pub(super) fn letters(&self, letters: &[Stored]) {
        for letter in letters {
            let Some(identified) = dead_letter(letter) else {
                let offset = letter.offset();
                self.history.violation(format_args!("{offset} is no dead letter of a record that there was"));
                continue;
            };
            if self.state().letters.insert(identified) {
                self.history.note(format_args!("{identified:?} is a dead letter"));
            }
        }
    }

    /// A crash took dead letters that fsync had vouched for: their records may be settled and gone.
    pub(super) fn letters_lost<'a>(&self, letters: impl Iterator<Item = &'a Stored>) {
        self.state().letters.extend(letters.filter_map(dead_letter));
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
                let is_dead = is_limited(place) && state.letters.contains(identified);
                if wants(place, *identified) && !is_dead && !reading.delivered.contains_key(offset) {
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
