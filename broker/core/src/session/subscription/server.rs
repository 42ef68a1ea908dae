//! The broker's side.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::delivery::single::{Deliveries, DeliveryError};
use crate::limits;
use crate::record::Offset;
use crate::session::{Input, Machine, Received, Violation, put};
use crate::wire::subscription::{Deliver, Delivery, OpenSubscription, Opened, Settle, ToBroker, ToClient};
use crate::wire::{CloseCode, Credit, Refusal, encoded_octets_max, record_octets};

/// The broker's side of a subscription stream.
///
/// - `open` or `refuse` answers the opening.
/// - While `has_room`, the record at `next_offset` or after it is given to `deliver`, or its offset to `withhold`.
/// - `poll_event` says when the reader settled something: `cursor` is then what to keep.
/// - `refuse` ends the stream from the broker's side; `finish` ends it without an error.
#[derive(Debug)]
pub struct SubscriptionServer {
    input: Input,
    request: OpenSubscription,
    state: State,
    opening: Option<ToClient>,
    deliveries: Deliveries,
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

/// What happened on a subscription stream, for the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionServerEvent {
    /// So many records were settled; the cursor may have moved.
    Settled(usize),
    /// The reader allows more to be under way.
    Granted,
    /// The reader ended the stream: it wants no more, and everything that it settled is counted.
    Finished,
}

/// Why a record was not put in line for a reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// It is not its turn, or there is no credit.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The parts are not numbered 0, 1, ... of one offset, or none, or one is longer than a frame.
    #[error("the parts of a delivery do not belong together, or one is longer than a frame")]
    Parts,
    /// The stream is not open.
    #[error("the subscription stream is not open")]
    NotOpen,
}

impl SubscriptionServer {
    pub(in crate::session) fn new(request: OpenSubscription, input: Input) -> Self {
        let deliveries = Deliveries::new(Offset(0), Credit::default());
        Self {
            input,
            request,
            state: State::Opening,
            opening: None,
            deliveries,
            queue: VecDeque::new(),
            refusal: None,
        }
    }

    /// What the client wants.
    #[must_use]
    pub fn request(&self) -> &OpenSubscription {
        &self.request
    }

    /// Lets the client read from `cursor` on.
    pub fn open(&mut self, cursor: Offset) {
        if self.state == State::Opening {
            self.state = State::Open;
            self.deliveries = Deliveries::new(cursor, self.request.credit);
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

    /// What is under way, where to read on, and the cursor.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Whether the reader's credit allows one more record.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.state == State::Open && self.deliveries.has_room()
    }

    /// Puts all parts of one record in line.
    pub fn deliver(&mut self, parts: Vec<Delivery>) -> Result<(), DeliverError> {
        if self.state != State::Open {
            return Err(DeliverError::NotOpen);
        }
        let offset = check_parts(&parts).ok_or(DeliverError::Parts)?;
        self.deliveries.delivered(offset, parts.iter().map(delivery_octets).sum())?;
        self.queue.extend(parts);
        Ok(())
    }

    /// Goes past a record that is not for this reader.
    pub fn withhold(&mut self, offset: Offset) -> Result<(), DeliverError> {
        Ok(self.deliveries.withheld(offset)?)
    }

    fn handle_settle(&mut self, settle: &Settle) -> Result<usize, Violation> {
        let mut settled = 0;
        for range in &settle.acked {
            let result = self.deliveries.settle(*range);
            settled += result.map_err(|error| Violation::new(CloseCode::Sequence, error.to_string()))?;
        }
        Ok(settled)
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
    // Offset 10, part and parts 3 + 3, size and digest of a large body 10 + 32, receipt 3 * 32 + 1 and its outcomes.
    const FIXED: usize = 155;
    FIXED
        + delivery.receipt.outcomes.len()
        + encoded_octets_max(&delivery.head, delivery.body.inline_octets())
}

/// What a delivery takes of the credit.
pub(super) fn delivery_octets(delivery: &Delivery) -> u64 {
    record_octets(&delivery.head, delivery.body.inline_octets())
}

/// The offset of parts that belong together and fit into frames.
fn check_parts(parts: &[Delivery]) -> Option<Offset> {
    let first = parts.first()?;
    let is_nth = |(n, part): (usize, &Delivery)| {
        part.offset == first.offset
            && usize::from(part.part) == n
            && usize::from(part.parts) == parts.len()
            && part.head.attributes.len() <= limits::ATTRIBUTES_MAX
            && part.head.labels.len() <= limits::LABELS_MAX
            && part.receipt.outcomes.len() <= limits::CHAIN_STAGES_MAX
            && FRAME_FIXED_OCTETS_MAX + encoded_delivery_octets_max(part) <= limits::FRAME_OCTETS_MAX
    };
    parts.iter().enumerate().all(is_nth).then_some(first.offset)
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
            Received::Frame(ToBroker::Settle(settle)) => {
                Ok(Some(SubscriptionServerEvent::Settled(self.handle_settle(&settle)?)))
            }
            Received::Frame(ToBroker::Grant(more)) => {
                let granted = self.deliveries.grant(more);
                granted.map_err(|error| Violation::new(CloseCode::Credit, error.to_string()))?;
                Ok(Some(SubscriptionServerEvent::Granted))
            }
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
