//! The task that owns a subscription stream.

use hilum_core::ReasonCode;
use hilum_core::session::{Machine, SubscriptionClient, SubscriptionClientEvent};
use hilum_core::wire::Credit;
use hilum_core::wire::subscription::Delivery;
use tokio::sync::mpsc;

use crate::connection::Client;
use crate::error::StreamError;
use crate::stream::Stream;

/// Commands taken at once, so that their settlements go out together.
const COMMANDS_AT_ONCE: usize = 1024;

/// What a reader wants.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// It is done with one part of a delivery.
    Ack(u64),
    /// It does not take a delivery now; milliseconds until it may come again.
    Nak(u64, Option<u64>),
    /// It never wants to see a delivery again.
    Term(u64, ReasonCode),
    /// It still works on a delivery.
    InProgress(u64),
    /// It takes more.
    Grant(Credit),
    /// It wants no more.
    Finish,
}

pub(super) struct Driver {
    client: Client,
    stream: Stream,
    machine: SubscriptionClient,
    deliver: mpsc::Sender<Delivery>,
    commands: mpsc::UnboundedReceiver<Command>,
}

impl Driver {
    pub(super) fn new(
        client: Client,
        stream: Stream,
        machine: SubscriptionClient,
        deliver: mpsc::Sender<Delivery>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self { client, stream, machine, deliver, commands }
    }

    pub(super) async fn run(mut self) -> Result<(), StreamError> {
        let result = self.drive().await;
        result.map_err(|error| self.client.closing_on_violation(error))
    }

    async fn drive(&mut self) -> Result<(), StreamError> {
        let mut batch = Vec::with_capacity(COMMANDS_AT_ONCE);
        // The delivery that waits for its turn to be taken by the reader.
        let mut next: Option<Delivery> = None;
        let (mut commanded, mut read) = (true, true);
        loop {
            if next.is_none() {
                match self.machine.poll_event()? {
                    Some(SubscriptionClientEvent::Delivered(delivery)) => next = Some(delivery),
                    Some(SubscriptionClientEvent::Refused(refusal)) => return Err(refusal.into()),
                    Some(SubscriptionClientEvent::Finished) => return Ok(()),
                    Some(SubscriptionClientEvent::Opened(_)) | None => {}
                }
            }
            self.stream.collect(&mut self.machine);
            let can_move = next.is_none() || self.stream.has_output();
            tokio::select! {
                biased;
                count = self.commands.recv_many(&mut batch, COMMANDS_AT_ONCE), if commanded => {
                    commanded = count > 0;
                    batch.drain(..).for_each(|command| obey(&mut self.machine, command));
                }
                () = self.deliver.closed(), if read => {
                    // The reader is gone. The machine drops what still comes.
                    read = false;
                    next = None;
                    self.machine.finish();
                }
                permit = self.deliver.reserve(), if read && next.is_some() => {
                    if let (Ok(permit), Some(delivery)) = (permit, next.take()) {
                        permit.send(delivery);
                    }
                }
                moved = self.stream.step(&mut self.machine), if can_move => {
                    if !moved? {
                        return Err(StreamError::Finished);
                    }
                }
            }
        }
    }
}

fn obey(machine: &mut SubscriptionClient, command: Command) {
    match command {
        Command::Ack(number) => machine.ack(number),
        Command::Nak(number, delay) => machine.nak(number, delay),
        Command::Term(number, reason) => machine.term(number, reason),
        Command::InProgress(number) => machine.in_progress(number),
        Command::Grant(more) => machine.grant(more),
        Command::Finish => machine.finish(),
    }
}
