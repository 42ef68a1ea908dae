//! The task that owns a publisher stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hilum_core::FlowName;
use hilum_core::limits::PUBLISH_RECORDS_MAX;
use hilum_core::session::{self, Machine, PublisherClient, PublisherClientEvent};
use tokio::sync::{mpsc, oneshot};

use super::{Ack, Record};
use crate::connection::Client;
use crate::error::{PublishError, StreamError};
use crate::stream::Stream;

/// What is in line, and who waits for its acks.
#[derive(Debug)]
pub(super) enum Command {
    /// One record.
    Publish(Record, Answer),
    /// Records that go together.
    Batch(Vec<(Record, Answer)>),
}

/// Where an ack goes.
pub(super) type Answer = oneshot::Sender<Result<Ack, PublishError>>;

/// Those who wait, in the order of sequence numbers; none for a record that was refused.
type Waiting = VecDeque<Option<Answer>>;

/// Those who wait for what was put in line at once.
enum Answers {
    One(Answer),
    Many(Vec<Answer>),
}

impl Answers {
    /// Says why it was not put in line: of a batch, to who waits for the first record.
    fn refuse(self, error: PublishError) {
        let first = match self {
            Self::One(answer) => Some(answer),
            Self::Many(answers) => answers.into_iter().next(),
        };
        if let Some(answer) = first {
            // Whoever does not wait any more does not mind.
            drop(answer.send(Err(error)));
        }
    }
}

pub(super) struct Driver {
    client: Client,
    flow: FlowName,
    stream: Stream,
    machine: PublisherClient,
    commands: mpsc::Receiver<Command>,
    ended: Arc<Mutex<Option<StreamError>>>,
    waiting: Waiting,
    /// The number of the first one in `waiting`.
    first_waiting: u64,
}

impl Driver {
    pub(super) fn new(
        client: Client,
        flow: FlowName,
        stream: Stream,
        machine: PublisherClient,
        first_sequence: u64,
        commands: mpsc::Receiver<Command>,
        ended: Arc<Mutex<Option<StreamError>>>,
    ) -> Self {
        let (waiting, first_waiting) = (VecDeque::new(), first_sequence);
        Self { client, flow, stream, machine, commands, ended, waiting, first_waiting }
    }

    /// Runs to the end of the stream. Those who still wait then learn of it by `ended`.
    pub(super) async fn run(mut self) -> Result<(), StreamError> {
        let result = self.drive().await.map_err(|error| self.client.closing_on_violation(error));
        if let Err(error) = &result {
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
        result
    }

    async fn drive(&mut self) -> Result<(), StreamError> {
        let mut batch = Vec::with_capacity(PUBLISH_RECORDS_MAX);
        let mut line_open = true;
        loop {
            while let Some(event) = self.machine.poll_event()? {
                if self.handle_event(event)? {
                    return Ok(());
                }
            }
            self.stream.collect(&mut self.machine);
            // What is in line goes into one frame when its turn comes, so it waits here and not in the machine.
            let wants_more = line_open && self.machine.queued() == 0 && !self.stream.is_backed_up();
            tokio::select! {
                biased;
                moved = self.stream.step(&mut self.machine) => {
                    if !moved? {
                        return Err(StreamError::Finished);
                    }
                }
                count = self.commands.recv_many(&mut batch, PUBLISH_RECORDS_MAX), if wants_more => {
                    if count == 0 {
                        line_open = false;
                        self.machine.finish();
                    }
                    self.fill(&mut batch).await;
                    batch.drain(..).for_each(|command| self.publish(command));
                }
            }
        }
    }

    /// Lets those who publish run once before a frame goes out that is not full: a frame of many records costs the broker
    /// hardly more than a frame of one.
    async fn fill(&mut self, batch: &mut Vec<Command>) {
        if batch.is_empty() || batch.len() == PUBLISH_RECORDS_MAX {
            return;
        }
        tokio::task::yield_now().await;
        while batch.len() < PUBLISH_RECORDS_MAX {
            let Ok(command) = self.commands.try_recv() else { return };
            batch.push(command);
        }
    }

    fn publish(&mut self, command: Command) {
        let (published, answers) = match command {
            Command::Publish(record, answer) => {
                (self.machine.publish(record.head, record.body), Answers::One(answer))
            }
            Command::Batch(batch) => {
                let (records, answers) =
                    batch.into_iter().map(|(record, answer)| ((record.head, record.body), answer)).unzip();
                (self.machine.publish_batch(records), Answers::Many(answers))
            }
        };
        match (published, answers) {
            (Ok(_), Answers::One(answer)) => self.waiting.push_back(Some(answer)),
            (Ok(_), Answers::Many(answers)) => self.waiting.extend(answers.into_iter().map(Some)),
            // For an end, `ended` speaks.
            (Err(session::PublishError::QueueFull | session::PublishError::Ended), _) => {}
            (Err(session::PublishError::Invalid(error)), answers) => answers.refuse(error.into()),
            (Err(error), answers) => answers.refuse(PublishError::InvalidBatch(error)),
        }
    }

    /// Whether that was the end.
    fn handle_event(&mut self, event: PublisherClientEvent) -> Result<bool, StreamError> {
        match event {
            PublisherClientEvent::Opened(_) => {}
            PublisherClientEvent::Acked(ack) => {
                while self.first_waiting <= ack.through_sequence {
                    let Some(answer) = self.waiting.pop_front() else { break };
                    let sequence = self.first_waiting;
                    self.first_waiting += 1;
                    if let Some(answer) = answer {
                        let (durability, through_offset) = (ack.durability, ack.last_offset);
                        drop(answer.send(Ok(Ack { sequence, durability, through_offset })));
                    }
                }
            }
            PublisherClientEvent::RecordRefused(refused) => {
                let index = refused.sequence.checked_sub(self.first_waiting);
                let index = index.and_then(|index| usize::try_from(index).ok());
                let slot = index.and_then(|index| self.waiting.get_mut(index));
                if let Some(answer) = slot.and_then(Option::take) {
                    let (flow, refusal) = (self.flow.clone(), refused.refusal);
                    drop(answer.send(Err(PublishError::Refused { flow, refusal })));
                }
                while self.waiting.front().is_some_and(Option::is_none) {
                    self.waiting.pop_front();
                    self.first_waiting += 1;
                }
            }
            PublisherClientEvent::Refused(refusal) => return Err(refusal.into()),
            PublisherClientEvent::Finished => {
                let all_answered = self.waiting.iter().all(Option::is_none);
                return if all_answered { Ok(true) } else { Err(StreamError::Finished) };
            }
        }
        Ok(false)
    }
}
