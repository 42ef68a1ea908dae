//! The publishing side.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::UnderWay;
use crate::limits;
use crate::record::{DraftError, Head, check_inline};
use crate::session::{Input, Machine, Received, Violation, put};
use crate::wire::publisher::{
    Ack, OpenPublisher, Opened, Publish, PublishedRecord, RecordRefused, ToBroker, ToClient,
};
use crate::wire::{CloseCode, Credit, Open, Refusal, encoded_octets_max, record_octets};

/// The client's side of a publisher stream.
///
/// - `publish` numbers a record and puts it in line; `poll_transmit` sends as many as the credit allows, in as few frames as
///   possible. `publish_batch` puts records in line that go in a frame of their own, and are stored together or not at all.
/// - `poll_event` gives the answers.
/// - `finish` ends the stream after what is in line; the broker ends its direction after the last answer.
#[derive(Debug)]
pub struct PublisherClient {
    input: Input,
    open: Option<OpenPublisher>,
    state: State,
    credit: Credit,
    under_way: UnderWay,
    queue: VecDeque<Queued>,
    next_sequence: u64,
    finishing: bool,
}

/// What waits for credit.
#[derive(Debug)]
enum Queued {
    Record(PublishedRecord),
    Batch(Vec<PublishedRecord>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Ended,
}

/// What happened on a publisher stream, for the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublisherClientEvent {
    /// Records may be sent.
    Opened(Opened),
    /// All records up to one are safe, except those refused before.
    Acked(Ack),
    /// One record is not taken.
    RecordRefused(RecordRefused),
    /// The stream is not opened, or ended by the broker. What has no answer may or may not be stored.
    Refused(Refusal),
    /// The broker finished its direction: nothing more comes.
    Finished,
}

/// Why a record was not put in line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker would refuse it.
    #[error(transparent)]
    Invalid(#[from] DraftError),
    /// A batch of none, or of too many.
    #[error("a batch has 1 to {max} records, not {0}", max = limits::PUBLISH_RECORDS_MAX)]
    BatchRecords(usize),
    /// A batch is too large.
    #[error("the records of a batch take {0} octets, and a frame has {max}", max = limits::FRAME_OCTETS_MAX)]
    BatchOctets(usize),
    /// Too many wait for credit.
    #[error("{} records wait to be sent already", limits::PUBLISH_QUEUE_RECORDS_MAX)]
    QueueFull,
    /// The stream is finished or was refused.
    #[error("the publisher stream has ended")]
    Ended,
}

impl PublisherClient {
    /// Opens a stream. Its first record will have the number `first_sequence`: 1 for a new producer, for an old one any up to
    /// one after the last that it used. Numbers that the broker settled before are answered again and not stored again.
    #[must_use]
    pub fn new(open: OpenPublisher, first_sequence: u64) -> Self {
        let first_sequence = first_sequence.clamp(1, limits::SEQUENCE_MAX);
        Self {
            input: Input::default(),
            open: Some(open),
            state: State::Opening,
            credit: Credit::default(),
            under_way: UnderWay { first_sequence, ..UnderWay::default() },
            queue: VecDeque::new(),
            next_sequence: first_sequence,
            finishing: false,
        }
    }

    /// Records and batches that are in line and not sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Puts a record in line and gives its number. Labels are dropped: the flow sets them.
    pub fn publish(&mut self, mut head: Head, body: Bytes) -> Result<u64, PublishError> {
        self.check_line()?;
        check_inline(&head, &body)?;
        head.labels.clear();
        self.queue.push_back(Queued::Record(PublishedRecord { head, body }));
        self.next_sequence += 1;
        Ok(self.next_sequence - 1)
    }

    /// Puts records in line that are stored together or not at all, and gives the number of the first. They have to fit into one
    /// frame. Where one of them is not valid, none takes a number.
    pub fn publish_batch(&mut self, records: Vec<(Head, Bytes)>) -> Result<u64, PublishError> {
        self.check_line()?;
        if !(1..=limits::PUBLISH_RECORDS_MAX).contains(&records.len()) {
            return Err(PublishError::BatchRecords(records.len()));
        }
        let mut batch = Vec::with_capacity(records.len());
        let mut octets = FRAME_FIXED_OCTETS_MAX;
        for (mut head, body) in records {
            check_inline(&head, &body)?;
            head.labels.clear();
            octets += encoded_octets_max(&head, body.len());
            batch.push(PublishedRecord { head, body });
        }
        if octets > limits::FRAME_OCTETS_MAX {
            return Err(PublishError::BatchOctets(octets));
        }
        let first = self.next_sequence;
        self.next_sequence += batch.len() as u64;
        self.queue.push_back(Queued::Batch(batch));
        Ok(first)
    }

    fn check_line(&self) -> Result<(), PublishError> {
        if self.finishing || self.state == State::Ended {
            return Err(PublishError::Ended);
        }
        if self.queue.len() >= limits::PUBLISH_QUEUE_RECORDS_MAX {
            return Err(PublishError::QueueFull);
        }
        Ok(())
    }

    /// Ends the stream after what is in line.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    fn handle_frame(&mut self, frame: ToClient) -> Result<PublisherClientEvent, Violation> {
        match (self.state, frame) {
            (State::Opening, ToClient::Opened(opened)) => {
                self.add_credit(opened.credit)?;
                self.state = State::Open;
                Ok(PublisherClientEvent::Opened(opened))
            }
            (State::Opening | State::Open, ToClient::Refused(refusal)) => {
                self.state = State::Ended;
                self.queue.clear();
                Ok(PublisherClientEvent::Refused(refusal))
            }
            (State::Open, ToClient::Ack(ack)) => {
                if !self.under_way.ack_through(ack.through_sequence) {
                    return Err(not_under_way("an ack", ack.through_sequence));
                }
                Ok(PublisherClientEvent::Acked(ack))
            }
            (State::Open, ToClient::RecordRefused(refused)) => {
                if !self.under_way.refuse(refused.sequence) {
                    return Err(not_under_way("a refusal", refused.sequence));
                }
                Ok(PublisherClientEvent::RecordRefused(refused))
            }
            _ => Err(Violation::unexpected("a frame of the broker")),
        }
    }

    fn add_credit(&mut self, more: Credit) -> Result<(), Violation> {
        let sum = self.credit.checked_add(more);
        self.credit =
            sum.ok_or_else(|| Violation::new(CloseCode::Credit, "more credit than there may be"))?;
        Ok(())
    }

    /// The next frame: a batch, or the next records of the line that fit into a frame and into the credit.
    fn next_frame(&mut self) -> Option<ToBroker> {
        let first_sequence = self.under_way.next_sequence();
        if !self.credit.allows_beyond(self.under_way.total) {
            return None;
        }
        if let Some(Queued::Batch(batch)) = self.queue.pop_front_if(|next| matches!(next, Queued::Batch(_))) {
            batch.iter().for_each(|record| self.under_way.push(octets_of(record)));
            return Some(ToBroker::Batch(Publish { first_sequence, records: batch }));
        }
        let records = self.take_records();
        (!records.is_empty()).then_some(ToBroker::Publish(Publish { first_sequence, records }))
    }

    fn take_records(&mut self) -> Vec<PublishedRecord> {
        let mut records = Vec::new();
        let mut octets = FRAME_FIXED_OCTETS_MAX;
        while records.len() < limits::PUBLISH_RECORDS_MAX && self.credit.allows_beyond(self.under_way.total) {
            let Some(Queued::Record(next)) = self.queue.front() else { break };
            octets += encoded_octets_max(&next.head, next.body.len());
            if octets > limits::FRAME_OCTETS_MAX && !records.is_empty() {
                break;
            }
            let Some(Queued::Record(next)) = self.queue.pop_front() else { break };
            self.under_way.push(octets_of(&next));
            records.push(next);
        }
        records
    }
}

/// Octets of a publish frame without its records.
const FRAME_FIXED_OCTETS_MAX: usize = 16;

/// What a record takes of the credit.
fn octets_of(record: &PublishedRecord) -> u64 {
    record_octets(&record.head, record.body.len())
}

fn not_under_way(what: &str, sequence: u64) -> Violation {
    Violation::new(
        CloseCode::Sequence,
        format!("{what} came for sequence {sequence}, which waits for no answer"),
    )
}

impl Machine for PublisherClient {
    type Event = PublisherClientEvent;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<PublisherClientEvent>, Violation> {
        loop {
            match self.input.next::<ToClient>()? {
                Received::Frame(ToClient::Grant(more)) if self.state == State::Open => {
                    self.add_credit(more)?;
                }
                Received::Frame(frame) => return self.handle_frame(frame).map(Some),
                Received::Finished => {
                    self.state = State::Ended;
                    return Ok(Some(PublisherClientEvent::Finished));
                }
                Received::Nothing => return Ok(None),
            }
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(open) = self.open.take() {
            put(&Open::Publisher(open), out);
        }
        while self.state == State::Open {
            let Some(frame) = self.next_frame() else { break };
            put(&frame, out);
        }
    }

    fn wants_finish(&self) -> bool {
        self.state == State::Ended || (self.finishing && self.queue.is_empty() && self.state == State::Open)
    }
}
