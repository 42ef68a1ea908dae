//! The reader's side.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;

use super::server::delivery_octets;
use crate::limits;
use crate::record::Offset;
use crate::session::{Input, Machine, Received, Violation, put};
use crate::wire::subscription::{
    Delivery, OffsetRange, OpenSubscription, Opened, Settle, ToBroker, ToClient,
};
use crate::wire::{CloseCode, Credit, Open, Refusal};

/// The client's side of a subscription stream.
///
/// - `poll_event` gives deliveries, one by one, in the order of offsets and parts.
/// - `settle` is called once for each delivery when the reader is done with it, in any order; a record is settled when all its
///   parts are. What was settled together is sent together.
/// - `grant` lets more be under way.
/// - `finish` ends the stream after the settlements; the broker then finishes its direction.
#[derive(Debug)]
pub struct SubscriptionClient {
    input: Input,
    open: Option<OpenSubscription>,
    state: State,
    credit: Credit,
    under_way: BTreeMap<u64, Flight>,
    octets: u64,
    /// What may come next.
    next: Next,
    arrived: VecDeque<Delivery>,
    settled: VecDeque<OffsetRange>,
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
struct Flight {
    octets: u64,
    unsettled_parts: u16,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    /// Any offset from this one on, with its first part.
    From(u64),
    /// This part of this record.
    Part { offset: u64, part: u16, parts: u16 },
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
    /// One delivery; [`SubscriptionClient::settle`] is to be called for it.
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
            open: Some(OpenSubscription { credit, ..open }),
            state: State::Opening,
            credit,
            under_way: BTreeMap::new(),
            octets: 0,
            next: Next::From(0),
            arrived: VecDeque::new(),
            settled: VecDeque::new(),
            grant: None,
            finishing: false,
        }
    }

    /// The reader is done with one delivery of the record at `offset`. Does nothing for one that is not under way.
    pub fn settle(&mut self, offset: Offset) {
        let Some(flight) = self.under_way.get_mut(&offset.0) else { return };
        flight.unsettled_parts -= 1;
        if flight.unsettled_parts > 0 {
            return;
        }
        self.octets -= flight.octets;
        self.under_way.remove(&offset.0);
        match self.settled.back_mut() {
            Some(range) if range.last.next() == offset => range.last = offset,
            _ => self.settled.push_back(OffsetRange { first: offset, last: offset }),
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

    /// Ends the stream after the settlements so far. Deliveries that come after that are not reported.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    fn handle_delivery(&mut self, delivery: &Delivery) -> Result<(), Violation> {
        let Delivery { offset, part, parts, .. } = *delivery;
        let octets = delivery_octets(delivery);
        match self.next {
            Next::From(next) => {
                if !(next..limits::SEQUENCE_MAX).contains(&offset.0) || part != 0 || parts == 0 {
                    return Err(broken(delivery, &format!("offset {next} or a later one, part 0")));
                }
                let records = u32::try_from(self.under_way.len()).unwrap_or(u32::MAX);
                if !self.credit.allows_beyond(Credit { records, octets: self.octets }) {
                    let reason = "more deliveries came than the credit allows";
                    return Err(Violation::new(CloseCode::Credit, reason));
                }
                self.under_way.insert(offset.0, Flight { octets: 0, unsettled_parts: parts });
            }
            Next::Part { offset: record, part: next, parts: all } => {
                if (offset.0, part, parts) != (record, next, all) {
                    return Err(broken(delivery, &format!("part {next} of {all} of offset {record}")));
                }
            }
        }
        // A record is settled only after all its parts, so it is here until its last part came.
        if let Some(flight) = self.under_way.get_mut(&offset.0) {
            flight.octets += octets;
            self.octets += octets;
        }
        self.next = if part + 1 == parts {
            Next::From(offset.0 + 1)
        } else {
            Next::Part { offset: offset.0, part: part + 1, parts }
        };
        Ok(())
    }

    fn handle_frame(&mut self, frame: ToClient) -> Result<Option<SubscriptionClientEvent>, Violation> {
        match (self.state, frame) {
            (State::Opening, ToClient::Opened(opened)) => {
                self.state = State::Open;
                self.next = Next::From(opened.cursor.0);
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

fn broken(delivery: &Delivery, expected: &str) -> Violation {
    let Delivery { offset, part, parts, .. } = delivery;
    let reason = format!("part {part} of {parts} of offset {offset} came where {expected} follows");
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
            if let Some(delivery) = self.arrived.pop_front() {
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
            put(&Open::Subscription(open), out);
        }
        while !self.settled.is_empty() {
            let count = self.settled.len().min(limits::SETTLE_RANGES_MAX);
            let acked = self.settled.drain(..count).collect();
            put(&ToBroker::Settle(Settle { acked }), out);
        }
        if let Some(more) = self.grant.take() {
            put(&ToBroker::Grant(more), out);
        }
    }

    fn wants_finish(&self) -> bool {
        self.finishing || self.state == State::Ended
    }
}
