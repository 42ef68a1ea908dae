//! The broker's side.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::flights::{Flight, Flights};
use crate::limits;
use crate::name::ReasonCode;
use crate::record::Offset;
use crate::session::{Input, Machine, Received, Violation, put};
use crate::wire::subscription::{
    Deliver, Delivery, DeliveryRange, Nak, OpenSubscription, Opened, Settle, Term, ToBroker, ToClient,
};
use crate::wire::{CloseCode, Credit, Refusal, RefusalCode, encoded_octets_max, record_octets};

/// What a client is told whose reason for breaking the glass is none.
const NO_REASON: &str = "the reason for breaking the glass is no code: write 1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit, at least one of them a letter";

/// The broker's side of a subscription stream.
///
/// - `open` or `refuse` answers the opening.
/// - While `has_room`, records are given to `deliver`, in any order.
/// - `poll_event` says what the reader answered. What the broker delivered on this stream and has no answer to is its
///   `in_flight`; an answer to anything else is no event.
/// - `refuse` ends the stream from the broker's side; `finish` ends it without an error.
#[derive(Debug)]
pub struct SubscriptionServer {
    input: Input,
    request: OpenSubscription,
    /// As the client wrote it.
    break_glass: Option<String>,
    state: State,
    opening: Option<ToClient>,
    credit: Credit,
    /// Deliveries without an answer.
    in_flight: Flights,
    next_number: u64,
    queue: VecDeque<Delivery>,
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The broker has not answered the opening.
    Opening,
    Open,
    /// One of the two sides ended the stream.
    Ended,
}

/// What happened on a subscription stream, for the broker. Deliveries are named by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionServerEvent {
    /// The reader is done with these.
    Acked(Vec<u64>),
    /// The reader does not take these now.
    Naked {
        /// Which ones.
        numbers: Vec<u64>,
        /// Milliseconds until they may come again.
        delay: Option<u64>,
    },
    /// The reader never wants to see these again.
    Terminated {
        /// Which ones.
        numbers: Vec<u64>,
        /// Why.
        reason: ReasonCode,
    },
    /// The reader still works on these.
    InProgress(Vec<u64>),
    /// The reader allows more to be under way.
    Granted,
    /// The reader wants no more.
    Finished,
}

/// Why a record cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// The stream is not open.
    #[error("the subscription stream is not open")]
    NotOpen,
    /// The reader gave no more credit.
    #[error("the reader's credit is used up")]
    NoCredit,
    /// The parts do not belong together, or one is too large for a frame.
    #[error("the parts are not those of one record, or one is too large for a frame")]
    Parts,
}

/// What a delivery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivering {
    /// Its number.
    pub number: u64,
    /// The number of an earlier delivery of the same record on this stream, which is over without an answer.
    pub replaced: Option<u64>,
}

impl SubscriptionServer {
    pub(in crate::session) fn new(
        request: OpenSubscription,
        break_glass: Option<String>,
        input: Input,
    ) -> Self {
        Self {
            input,
            credit: request.credit.bounded(),
            request,
            break_glass,
            state: State::Opening,
            opening: None,
            in_flight: Flights::default(),
            next_number: 1,
            queue: VecDeque::new(),
            refusal: None,
        }
    }

    /// What the client wants.
    #[must_use]
    pub fn request(&self) -> &OpenSubscription {
        &self.request
    }

    /// Why the client breaks the glass; none where it states nothing.
    ///
    /// # Errors
    ///
    /// The refusal of a client whose reason is no code. It does not repeat what that wrote, which may be about a patient.
    pub fn break_glass(&self) -> Result<Option<ReasonCode>, Refusal> {
        let code = self.break_glass.as_deref().map(ReasonCode::new).transpose();
        code.map_err(|_| Refusal::new(RefusalCode::InvalidRecord, NO_REASON))
    }

    /// Lets the client read a subscription that stands at `cursor`.
    pub fn open(&mut self, cursor: Offset) {
        if self.state == State::Opening {
            self.state = State::Open;
            self.opening = Some(ToClient::Opened(Opened { cursor }));
        }
    }

    /// Does not let the client read, or no longer. What is in line is not sent.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.queue.clear();
            self.refusal = Some(refusal);
        }
    }

    /// Ends the stream after what is in line.
    pub fn finish(&mut self) {
        self.state = State::Ended;
    }

    /// Records and octets delivered on this stream and not answered.
    #[must_use]
    pub fn under_way(&self) -> Credit {
        self.in_flight.sum()
    }

    /// Whether a delivery has no answer.
    #[must_use]
    pub fn is_in_flight(&self, number: u64) -> bool {
        self.in_flight.contains(number)
    }

    /// Whether the reader's credit allows one more record.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.state == State::Open && self.credit.allows_beyond(self.under_way())
    }

    /// How many more records the reader's credit allows; none where its octets are used up.
    #[must_use]
    pub fn room(&self) -> u32 {
        let under_way = self.under_way();
        if self.has_room() { self.credit.records - under_way.records } else { 0 }
    }

    /// How many more octets the reader's credit allows.
    #[must_use]
    pub fn room_octets(&self) -> u64 {
        self.credit.octets.saturating_sub(self.under_way().octets)
    }

    /// Whether the record at `offset` may be delivered: there is room, or the end of an earlier delivery of it makes enough.
    #[must_use]
    pub fn has_room_for(&mut self, offset: Offset, attempt: u32) -> bool {
        let mut left = self.under_way();
        if let Some(earlier) = self.earlier(offset, attempt) {
            left.records -= 1;
            left.octets -= self.in_flight.octets_of(earlier);
        }
        self.state == State::Open && self.credit.allows_beyond(left)
    }

    /// Whether the broker lets the client read, and the client still does.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Puts all parts of one record in line and gives them their number. An earlier delivery of the same record is over.
    pub fn deliver(&mut self, mut parts: Vec<Delivery>) -> Result<Delivering, DeliverError> {
        if self.state != State::Open {
            return Err(DeliverError::NotOpen);
        }
        let (offset, attempt) = check_parts(&parts).ok_or(DeliverError::Parts)?;
        if !self.has_room_for(offset, attempt) {
            return Err(DeliverError::NoCredit);
        }
        let replaced = self.earlier(offset, attempt);
        if let Some(replaced) = replaced {
            self.in_flight.end(replaced);
        }
        let number = self.next_number;
        self.next_number += 1;
        let octets = parts.iter().map(delivery_octets).sum();
        self.in_flight.insert(number, Flight { offset, octets, unsettled_parts: 1 });
        parts.iter_mut().for_each(|part| part.number = number);
        self.queue.extend(parts);
        Ok(Delivering { number, replaced })
    }

    /// An earlier delivery of a record, which there can be only if this is not the first attempt.
    fn earlier(&mut self, offset: Offset, attempt: u32) -> Option<u64> {
        if attempt > 1 { self.in_flight.of(offset) } else { None }
    }

    /// The deliveries of a range that have no answer.
    fn open_in(&self, range: DeliveryRange) -> Result<Vec<u64>, Violation> {
        let DeliveryRange { first, last } = range;
        if first > last || first == 0 || last >= self.next_number {
            let next = self.next_number;
            let reason = format!("deliveries {first} to {last} are not a range of those before {next}");
            return Err(Violation::new(CloseCode::Sequence, reason));
        }
        Ok(self.in_flight.in_range(first..=last))
    }

    fn take(&mut self, range: DeliveryRange) -> Result<Vec<u64>, Violation> {
        let numbers = self.open_in(range)?;
        for &number in &numbers {
            self.in_flight.end(number);
        }
        Ok(numbers)
    }

    fn handle(&mut self, frame: ToBroker) -> Result<SubscriptionServerEvent, Violation> {
        Ok(match frame {
            ToBroker::Settle(Settle { acked }) => {
                let mut numbers = Vec::new();
                for range in acked {
                    numbers.append(&mut self.take(range)?);
                }
                SubscriptionServerEvent::Acked(numbers)
            }
            ToBroker::Nak(Nak { deliveries, delay }) => {
                SubscriptionServerEvent::Naked { numbers: self.take(deliveries)?, delay }
            }
            ToBroker::Term(Term { deliveries, reason }) => {
                SubscriptionServerEvent::Terminated { numbers: self.take(deliveries)?, reason }
            }
            ToBroker::InProgress(deliveries) => {
                SubscriptionServerEvent::InProgress(self.open_in(deliveries)?)
            }
            ToBroker::Grant(more) => {
                let reason = "the reader's credit goes over the limit";
                let granted = self.credit.checked_add(more);
                self.credit = granted.ok_or_else(|| Violation::new(CloseCode::Credit, reason))?;
                SubscriptionServerEvent::Granted
            }
        })
    }

    /// The next deliveries in line that fit into a frame.
    fn take_batch(&mut self) -> Vec<Delivery> {
        let mut batch = Vec::new();
        let mut octets = FRAME_FIXED_OCTETS_MAX;
        while let Some(next) = self.queue.front() {
            octets += encoded_delivery_octets_max(next);
            let full = octets > limits::FRAME_OCTETS_MAX || batch.len() == limits::DELIVER_RECORDS_MAX;
            if full && !batch.is_empty() {
                break;
            }
            batch.extend(self.queue.pop_front());
        }
        batch
    }
}

/// Octets of a deliver frame without its deliveries.
const FRAME_FIXED_OCTETS_MAX: usize = 16;

fn encoded_delivery_octets_max(delivery: &Delivery) -> usize {
    // Number and offset 10 + 10, attempt 5, part and parts 3 + 3, size and digest of a large body 10 + 32, receipt 3 * 32 + 1
    // and its outcomes.
    const FIXED: usize = 170;
    FIXED
        + delivery.receipt.outcomes.len()
        + encoded_octets_max(&delivery.head, delivery.body.inline_octets())
}

/// What a delivery takes of the credit.
pub(super) fn delivery_octets(delivery: &Delivery) -> u64 {
    record_octets(&delivery.head, delivery.body.inline_octets())
}

/// The offset and attempt of parts that belong together and fit into frames.
fn check_parts(parts: &[Delivery]) -> Option<(Offset, u32)> {
    let first = parts.first()?;
    let is_nth = |(n, part): (usize, &Delivery)| {
        (part.offset, part.attempt) == (first.offset, first.attempt)
            && usize::from(part.part) == n
            && usize::from(part.parts) == parts.len()
            && part.head.attributes.len() <= limits::ATTRIBUTES_MAX
            && part.head.labels.len() <= limits::LABELS_MAX
            && part.receipt.outcomes.len() <= limits::CHAIN_STAGES_MAX
            && FRAME_FIXED_OCTETS_MAX + encoded_delivery_octets_max(part) <= limits::FRAME_OCTETS_MAX
    };
    parts.iter().enumerate().all(is_nth).then_some((first.offset, first.attempt))
}

impl Machine for SubscriptionServer {
    type Event = SubscriptionServerEvent;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<SubscriptionServerEvent>, Violation> {
        match self.input.next::<ToBroker>()? {
            Received::Frame(_) if self.state == State::Opening => {
                Err(Violation::unexpected("a frame of a reader"))
            }
            Received::Frame(frame) => self.handle(frame).map(Some),
            Received::Finished => {
                self.state = State::Ended;
                self.queue.clear();
                Ok(Some(SubscriptionServerEvent::Finished))
            }
            Received::Nothing => Ok(None),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(opening) = self.opening.take() {
            put(&opening, out);
        }
        loop {
            let deliveries = self.take_batch();
            if deliveries.is_empty() {
                break;
            }
            put(&ToClient::Deliver(Deliver { deliveries }), out);
        }
        if let Some(refusal) = self.refusal.take() {
            put(&ToClient::<bytes::Bytes>::Refused(refusal), out);
        }
    }

    fn wants_finish(&self) -> bool {
        self.state == State::Ended && self.queue.is_empty() && self.refusal.is_none()
    }
}
