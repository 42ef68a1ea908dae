//! A publisher: keeps its records until each is acked, and sends them again with the same numbers after whatever went wrong.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hilum_client::{Client, PublishError, Publisher, Resume};
use hilum_core::FlowName;
use tokio::time::timeout;

use super::hospital::Identity;
use super::ledger::Ledger;
use super::random::Random;
use super::records;
use super::{Plant, Running, connect};

/// One publisher with its records.
pub(super) struct Source {
    pub(super) number: u8,
    pub(super) flow: FlowName,
    /// How many records it has.
    pub(super) records: u64,
    pub(super) identity: Identity,
    pub(super) random: Random,
    pub(super) running: Running,
    pub(super) ledger: Ledger,
}

/// How long a publisher waits for an answer before it gives a connection up.
const PATIENCE: Duration = Duration::from_secs(8);

impl Source {
    /// The address it comes from.
    pub(super) fn address(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 1, number))
    }

    /// Runs until everything is acked.
    pub(super) async fn run(mut self) {
        let mut acked = 0;
        while acked < self.records {
            if let Some(client) = connect(&self.running, &self.identity, Self::address(self.number)).await {
                self.publish(&client, &mut acked).await;
            }
            tokio::time::sleep(self.random.milliseconds(10..=1500)).await;
        }
        self.running.history.note(format_args!("publisher {}: done", self.number));
    }

    /// Over one connection, as long as it is good.
    async fn publish(&mut self, client: &Client, acked: &mut u64) {
        let Some(publisher) = self.open(client, *acked + 1).await else { return };
        let settled = publisher.last_sequence();
        if settled > self.records {
            self.running
                .history
                .violation(format_args!("publisher {}: {settled} was never sent", self.number));
        }
        if settled > *acked && self.random.percent(50) {
            // Goes on after what is settled, rather than to send it again.
            self.running.history.note(format_args!("publisher {}: settled through {settled}", self.number));
            let settled_now = *acked + 1..=settled;
            self.ledger.settled_before(&self.flow, self.number, settled_now, publisher.durability());
            *acked = settled;
            return;
        }
        let window = usize::try_from(self.random.within(1..=12)).unwrap_or(1);
        // Leaves without a word after so many acks: what the broker stored meanwhile it will hear of again.
        let leaves = self.random.percent(40).then(|| *acked + self.random.within(0..=15));
        let mut next = *acked + 1;
        let mut waiting = VecDeque::new();
        while *acked < self.records && leaves.is_none_or(|leaves| *acked < leaves) {
            while waiting.len() < window && next <= self.records {
                let mut record = records::record((self.number, next));
                if self.running.plant == Some(Plant::ForgetKeys) {
                    records::hide_key(&mut record.head, next);
                }
                let Ok(pending) = publisher.enqueue(record).await else { return };
                waiting.push_back(pending);
                next += 1;
            }
            let Some(pending) = waiting.pop_front() else { return };
            match timeout(PATIENCE, pending).await {
                Ok(Ok(ack)) => {
                    self.ledger.acked(&self.flow, self.number, *acked + 1, ack);
                    *acked += 1;
                }
                Ok(Err(error)) => return self.failed(*acked + 1, &error),
                Err(_) => {
                    let number = self.number;
                    self.running.history.note(format_args!("publisher {number}: waits no longer for an ack"));
                    return;
                }
            }
            if self.random.percent(10) {
                tokio::time::sleep(self.random.milliseconds(1..=3000)).await;
            }
        }
        if leaves.is_none() {
            // What it says was said before, record by record.
            let _ = timeout(PATIENCE, publisher.finish()).await;
        }
    }

    async fn open(&self, client: &Client, next_sequence: u64) -> Option<Publisher> {
        let resume = Resume { producer: records::producer(self.number), next_sequence, known_since: None };
        match timeout(PATIENCE, client.publisher_resuming(&self.flow, resume)).await {
            Ok(Ok(publisher)) => Some(publisher),
            Ok(Err(error)) => {
                self.running.history.note(format_args!("publisher {}: {error}", self.number));
                None
            }
            Err(_) => None,
        }
    }

    fn failed(&self, sequence: u64, error: &PublishError) {
        self.running.history.note(format_args!("publisher {}: record {sequence}: {error}", self.number));
        match error {
            PublishError::Unanswered { .. } => {}
            PublishError::Refused { refusal, .. } if refusal.retryable => {}
            _ => self.running.history.violation(format_args!(
                "publisher {}: record {sequence} is refused for good: {error}",
                self.number
            )),
        }
    }
}
