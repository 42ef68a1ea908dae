//! The broker's side.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::UnderWay;
use crate::limits::SEQUENCE_MAX;
use crate::record::Offset;
use crate::session::{Input, Machine, Received, Violation, put};
use crate::wire::publisher::{
    Ack, Durability, OpenPublisher, Opened, Publish, RecordRefused, ToBroker, ToClient,
};
use crate::wire::{CloseCode, Credit, Refusal, record_octets};

/// The broker's side of a publisher stream.
///
/// - `open` or `refuse` answers the opening.
/// - `poll_event` gives batches of records, checked for credit and sequence.
/// - `refuse_record` and `ack` answer them, in any order of time; a refusal must come before an ack that goes past it.
/// - `grant` lets more be under way; `refuse` ends the stream from the broker's side.
#[derive(Debug)]
pub struct PublisherServer {
    input: Input,
    request: OpenPublisher,
    state: State,
    credit: Credit,
    under_way: UnderWay,
    answers: VecDeque<ToClient>,
    /// Up to here everything is answered, perhaps not sent.
    acked_through: Option<u64>,
    began: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The broker has not answered the opening.
    Opening,
    Open,
    /// The client sends no more.
    Finished,
    /// The broker refused.
    Refused,
}

/// What happened on a publisher stream, for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublisherServerEvent {
    /// Records came; each one must get an answer.
    Records(Publish),
    /// Records came that are to be stored together or not at all; each one must get an answer.
    Batch(Publish),
    /// The client sends no more; it waits for the answers.
    Finished,
}

/// An answer to a record that waits for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no record with sequence {0} waits for an answer")]
pub struct NotUnderWay(pub u64);

impl PublisherServer {
    pub(in crate::session) fn new(request: OpenPublisher, input: Input) -> Self {
        Self {
            input,
            request,
            state: State::Opening,
            credit: Credit::default(),
            under_way: UnderWay::default(),
            answers: VecDeque::new(),
            acked_through: None,
            began: false,
        }
    }

    /// What the client wants.
    #[must_use]
    pub fn request(&self) -> &OpenPublisher {
        &self.request
    }

    /// Lets the client publish. The credit is cut to the limits.
    pub fn open(&mut self, opened: Opened) {
        if self.state != State::Opening {
            return;
        }
        self.state = State::Open;
        self.credit = opened.credit.bounded();
        self.answers.push_back(ToClient::Opened(Opened { credit: self.credit, ..opened }));
    }

    /// Does not let the client publish, or no longer. Records without an answer get none, also where it is known later.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.state != State::Refused {
            self.state = State::Refused;
            self.answers.push_back(ToClient::Refused(refusal));
        }
    }

    /// All records up to `through_sequence` are safe, except those refused before. `last_offset` is where the last of them is.
    /// Does nothing where an answer went that far before.
    pub fn ack(
        &mut self,
        through_sequence: u64,
        durability: Durability,
        last_offset: Option<Offset>,
    ) -> Result<(), NotUnderWay> {
        if !self.began || through_sequence >= self.under_way.next_sequence() {
            return Err(NotUnderWay(through_sequence));
        }
        if self.state == State::Refused || !self.is_unanswered(through_sequence) {
            return Ok(());
        }
        self.acked_through = Some(through_sequence);
        let ack = Ack { through_sequence, durability, last_offset };
        match self.answers.back_mut() {
            Some(ToClient::Ack(last)) if last.durability == durability => {
                *last = Ack { last_offset: last_offset.or(last.last_offset), ..ack };
            }
            _ => self.answers.push_back(ToClient::Ack(ack)),
        }
        Ok(())
    }

    /// One record is not taken.
    pub fn refuse_record(&mut self, sequence: u64, refusal: Refusal) -> Result<(), NotUnderWay> {
        if !self.is_unanswered(sequence) {
            return Err(NotUnderWay(sequence));
        }
        if self.state == State::Refused {
            return Ok(());
        }
        self.answers.push_back(ToClient::RecordRefused(RecordRefused { sequence, refusal }));
        Ok(())
    }

    /// Lets more be under way; does nothing where the sum would be over the limits.
    pub fn grant(&mut self, more: Credit) {
        if let (State::Open, Some(sum)) = (self.state, self.credit.checked_add(more)) {
            self.credit = sum;
            self.answers.push_back(ToClient::Grant(more));
        }
    }

    /// Records and octets that came and whose answer was not sent.
    #[must_use]
    pub fn under_way(&self) -> Credit {
        self.under_way.total
    }

    /// Octets of the frame whose beginning came; none where none has begun.
    #[must_use]
    pub fn frame_octets(&self) -> Option<usize> {
        self.input.decoder.frame_octets()
    }

    fn is_unanswered(&self, sequence: u64) -> bool {
        self.under_way.contains(sequence) && self.acked_through.is_none_or(|through| sequence > through)
    }

    /// Of records that go `together`, only the first needs credit.
    fn handle_publish(&mut self, publish: &Publish, together: bool) -> Result<(), Violation> {
        if self.state != State::Open || publish.records.is_empty() {
            return Err(Violation::unexpected("a publish frame"));
        }
        if !(1..=SEQUENCE_MAX).contains(&publish.first_sequence) {
            let reason = format!("sequence {} is not between 1 and {SEQUENCE_MAX}", publish.first_sequence);
            return Err(Violation::new(CloseCode::Sequence, reason));
        }
        if !self.began {
            self.began = true;
            self.under_way.first_sequence = publish.first_sequence;
        }
        let expected = self.under_way.next_sequence();
        if publish.first_sequence != expected {
            let reason = format!("sequence {} came where {expected} follows", publish.first_sequence);
            return Err(Violation::new(CloseCode::Sequence, reason));
        }
        for (index, record) in publish.records.iter().enumerate() {
            let asked = index == 0 || !together;
            if asked && !self.credit.allows_beyond(self.under_way.total) {
                return Err(Violation::new(CloseCode::Credit, "more records came than the credit allows"));
            }
            self.under_way.push(record_octets(&record.head, record.body.len()));
        }
        Ok(())
    }
}

impl Machine for PublisherServer {
    type Event = PublisherServerEvent;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<PublisherServerEvent>, Violation> {
        if self.state == State::Refused {
            // What was on its way when we refused is of no interest.
            return Ok(None);
        }
        match self.input.next::<ToBroker>()? {
            Received::Frame(ToBroker::Publish(publish)) => {
                self.handle_publish(&publish, false)?;
                Ok(Some(PublisherServerEvent::Records(publish)))
            }
            Received::Frame(ToBroker::Batch(publish)) => {
                self.handle_publish(&publish, true)?;
                Ok(Some(PublisherServerEvent::Batch(publish)))
            }
            Received::Finished => {
                self.state = State::Finished;
                Ok(Some(PublisherServerEvent::Finished))
            }
            Received::Nothing => Ok(None),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        for answer in self.answers.drain(..) {
            // An answer whose records were all answered by the ones before it is not sent.
            let says_something = match &answer {
                ToClient::Ack(ack) => self.under_way.ack_through(ack.through_sequence),
                ToClient::RecordRefused(refused) => self.under_way.refuse(refused.sequence),
                _ => true,
            };
            if says_something {
                put(&answer, out);
            }
        }
    }

    fn wants_finish(&self) -> bool {
        let all_sent = self.answers.is_empty();
        match self.state {
            State::Opening | State::Open => false,
            State::Finished => all_sent && self.under_way.slots.is_empty(),
            State::Refused => all_sent,
        }
    }
}
