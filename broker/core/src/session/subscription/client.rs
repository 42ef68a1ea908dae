//! The reader's side.

use std::collections::{BTreeSet, VecDeque};

use bytes::BytesMut;

use super::flights::{Flight, Flights};
use super::server::delivery_octets;
use crate::limits;
use crate::name::ReasonCode;
use crate::record::Offset;
use crate::session::{Input, Machine, Received, Violation, put};
use crate::wire::subscription::{
    Delivery, DeliveryRange, Nak, OpenStating, OpenSubscription, Opened, Settle, Term, ToBroker, ToClient,
};
use crate::wire::{CloseCode, Credit, Open, Refusal};

/// The client's side of a subscription stream.
///
/// - `poll_event` gives deliveries, one by one, in the order of numbers and parts.
/// - `ack` is called once for each delivery when the reader is done with it, in any order; a record is settled when all its
///   parts are. What was acked together is sent together. `nak` and `term` answer a record as a whole. An answer to a delivery that
///   has one, or that was replaced by a newer one of the same record, does nothing.
/// - `in_progress` says that a delivery is still worked on.
/// - `grant` lets more be under way.
/// - `finish` ends the stream after the answers; the broker then finishes its direction.
#[derive(Debug)]
pub struct SubscriptionClient {
    input: Input,
    open: Option<Open>,
    state: State,
    credit: Credit,
    under_way: Flights,
    /// What may come next.
    next: Next,
    arrived: VecDeque<Delivery>,
    /// Deliveries that a later one of their record replaced and that may still be in `arrived`: the reader need not see what
    /// would be answered in vain.
    replaced: BTreeSet<u64>,
    acked: VecDeque<DeliveryRange>,
    /// Bounded by what was under way.
    refused: VecDeque<ToBroker>,
    in_progress: BTreeSet<u64>,
    grant: Option<Credit>,
    finishing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    /// The first part of the delivery with this number.
    Record(u64),
    /// This part of this delivery.
    Part { number: u64, offset: Offset, part: u16, parts: u16 },
}

/// What happened on a subscription stream, for the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost all are deliveries, and a box would cost each of them an allocation"
)]
pub enum SubscriptionClientEvent {
    /// Deliveries will come.
    Opened(Opened),
    /// One delivery; [`SubscriptionClient::ack`] or another answer is to be given for it.
    Delivered(Delivery),
    /// The stream is not opened, or ended by the broker.
    Refused(Refusal),
    /// The broker finished its direction: nothing more comes.
    Finished,
}

impl SubscriptionClient {
    /// Opens a stream; the credit is cut to the limits.
    #[must_use]
    pub fn new(open: OpenSubscription) -> Self {
        let credit = open.credit.bounded();
        Self {
            input: Input::default(),
            open: Some(Open::Subscription(OpenSubscription { credit, ..open })),
            state: State::Opening,
            credit,
            under_way: Flights::default(),
            next: Next::Record(1),
            arrived: VecDeque::new(),
            replaced: BTreeSet::new(),
            acked: VecDeque::new(),
            refused: VecDeque::new(),
            in_progress: BTreeSet::new(),
            grant: None,
            finishing: false,
        }
    }

    /// Opens it for a reader who states why it breaks the glass. To be called before anything is sent, and only where the broker speaks
    /// [`Version::STATING`](crate::wire::Version::STATING).
    #[must_use]
    pub fn stating(mut self, break_glass: &ReasonCode) -> Self {
        if let Some(Open::Subscription(open)) = self.open.take() {
            let break_glass = break_glass.to_string();
            self.open = Some(Open::StatingSubscription(OpenStating { open, break_glass }));
        }
        self
    }

    /// The reader is done with one part of a delivery. Does nothing for one that is not under way.
    pub fn ack(&mut self, number: u64) {
        if !self.under_way.settle_part(number) {
            return;
        }
        self.in_progress.remove(&number);
        match self.acked.back_mut() {
            Some(range) if range.last + 1 == number => range.last = number,
            _ => self.acked.push_back(only(number)),
        }
    }

    /// The reader does not take a record now; it may come again after `delay` milliseconds, or after the subscription's own.
    pub fn nak(&mut self, number: u64, delay: Option<u64>) {
        if self.end(number) {
            self.refused.push_back(ToBroker::Nak(Nak { deliveries: only(number), delay }));
        }
    }

    /// The reader never wants to see a record again.
    pub fn term(&mut self, number: u64, reason: ReasonCode) {
        if self.end(number) {
            self.refused.push_back(ToBroker::Term(Term { deliveries: only(number), reason }));
        }
    }

    /// The reader still works on a record.
    pub fn in_progress(&mut self, number: u64) {
        if self.under_way.contains(number) {
            self.in_progress.insert(number);
        }
    }

    /// Lets more be under way; does nothing where the sum would be over the limits.
    pub fn grant(&mut self, more: Credit) {
        if let Some(sum) = self.credit.checked_add(more) {
            self.credit = sum;
            let waiting = self.grant.unwrap_or_default();
            self.grant = waiting.checked_add(more);
        }
    }

    /// Ends the stream after the answers so far. Deliveries that come after that are not reported.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// A delivery is no longer under way. Whether it was.
    fn end(&mut self, number: u64) -> bool {
        self.in_progress.remove(&number);
        self.under_way.end(number)
    }

    fn handle_delivery(&mut self, delivery: &Delivery) -> Result<(), Violation> {
        let Delivery { number, offset, part, parts, .. } = *delivery;
        let octets = delivery_octets(delivery);
        match self.next {
            Next::Record(next) => {
                if number != next || part != 0 || parts == 0 || offset.0 >= limits::SEQUENCE_MAX {
                    return Err(broken(delivery, &format!("delivery {next}, part 0")));
                }
                self.replace_earlier(delivery);
                if !self.credit.allows_beyond(self.under_way.sum()) {
                    let reason = "more deliveries came than the credit allows";
                    return Err(Violation::new(CloseCode::Credit, reason));
                }
                self.under_way.insert(number, Flight { offset, octets: 0, unsettled_parts: parts });
            }
            Next::Part { number: record, offset: at, part: next, parts: all } => {
                if (number, offset, part, parts) != (record, at, next, all) {
                    return Err(broken(delivery, &format!("part {next} of {all} of delivery {record}")));
                }
            }
        }
        // It is not there any more where the reader gave the whole record up after its first part.
        self.under_way.add_octets(number, octets);
        self.next = if part + 1 == parts {
            Next::Record(number + 1)
        } else {
            Next::Part { number, offset, part: part + 1, parts }
        };
        Ok(())
    }

    /// A record that is delivered again ends its earlier delivery on this stream.
    fn replace_earlier(&mut self, delivery: &Delivery) {
        if delivery.attempt < 2 {
            return;
        }
        if let Some(number) = self.under_way.of(delivery.offset) {
            self.end(number);
            self.replaced.insert(number);
        }
    }

    /// The next delivery that the reader has not seen and that still counts.
    fn next_arrived(&mut self) -> Option<Delivery> {
        while let Some(delivery) = self.arrived.pop_front() {
            // They come in the order of their numbers.
            while self.replaced.first().is_some_and(|first| *first < delivery.number) {
                self.replaced.pop_first();
            }
            if self.replaced.first() != Some(&delivery.number) {
                return Some(delivery);
            }
        }
        None
    }

    fn handle_frame(&mut self, frame: ToClient) -> Result<Option<SubscriptionClientEvent>, Violation> {
        match (self.state, frame) {
            (State::Opening, ToClient::Opened(opened)) => {
                self.state = State::Open;
                Ok(Some(SubscriptionClientEvent::Opened(opened)))
            }
            (State::Opening | State::Open, ToClient::Refused(refusal)) => {
                self.state = State::Ended;
                Ok(Some(SubscriptionClientEvent::Refused(refusal)))
            }
            (State::Open, ToClient::Deliver(deliver)) => {
                if deliver.deliveries.is_empty() {
                    return Err(Violation::unexpected("a frame without deliveries"));
                }
                for delivery in deliver.deliveries {
                    self.handle_delivery(&delivery)?;
                    self.arrived.push_back(delivery);
                }
                Ok(None)
            }
            _ => Err(Violation::unexpected("a frame of the broker")),
        }
    }
}

fn only(number: u64) -> DeliveryRange {
    DeliveryRange { first: number, last: number }
}

fn broken(delivery: &Delivery, expected: &str) -> Violation {
    let Delivery { number, offset, part, parts, .. } = delivery;
    let reason = format!(
        "part {part} of {parts} of delivery {number}, offset {offset}, came where {expected} follows"
    );
    Violation::new(CloseCode::Sequence, reason)
}

impl Machine for SubscriptionClient {
    type Event = SubscriptionClientEvent;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<SubscriptionClientEvent>, Violation> {
        loop {
            if self.finishing {
                self.arrived.clear();
            }
            if let Some(delivery) = self.next_arrived() {
                return Ok(Some(SubscriptionClientEvent::Delivered(delivery)));
            }
            match self.input.next::<ToClient>()? {
                Received::Frame(frame) => {
                    if let Some(event) = self.handle_frame(frame)? {
                        return Ok(Some(event));
                    }
                }
                Received::Finished => {
                    self.state = State::Ended;
                    return Ok(Some(SubscriptionClientEvent::Finished));
                }
                Received::Nothing => return Ok(None),
            }
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(open) = self.open.take() {
            put(&open, out);
        }
        while !self.acked.is_empty() {
            let count = self.acked.len().min(limits::SETTLE_RANGES_MAX);
            let acked = self.acked.drain(..count).collect();
            put(&ToBroker::Settle(Settle { acked }), out);
        }
        for refused in self.refused.drain(..) {
            put(&refused, out);
        }
        for number in std::mem::take(&mut self.in_progress) {
            put(&ToBroker::InProgress(only(number)), out);
        }
        if let Some(more) = self.grant.take() {
            put(&ToBroker::Grant(more), out);
        }
    }

    fn wants_finish(&self) -> bool {
        self.finishing || self.state == State::Ended
    }
}
