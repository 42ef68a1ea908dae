//! A publisher that goes on over the ends of many brokers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Cursor;
use std::time::Duration;

use futures_util::FutureExt as _;
use hilum_client::{Ack, Client, PendingAck, Record, Resume};
use hilum_core::record::{ProducerId, ProducerPosition};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Faults, SMALL, Stage, Stopped, is_over, make};
use crate::support::name;

/// Records that a publisher has under way.
const WINDOW: usize = 32;
/// The longest pause between two large records, so that a run does not fill the disk.
const LARGE_PAUSE: Duration = Duration::from_millis(60);

/// One publisher over all its connections: it numbers its records from 1 and goes on where the last ack was.
pub(super) struct Source {
    pub(super) number: u8,
    pub(super) acked: u64,
    pub(super) progress: watch::Sender<u64>,
    faults: Faults,
}

impl Source {
    pub(super) fn new(number: u8, faults: Faults) -> Self {
        Self { number, acked: 0, progress: watch::Sender::new(0), faults }
    }

    fn producer(&self) -> ProducerId {
        ProducerId([self.number + 1; 16])
    }

    fn position(&self) -> ProducerPosition {
        ProducerPosition { producer: self.producer(), sequence: self.acked + 1 }
    }

    fn fault(&self, what: &str) {
        let said = format!("publisher {} after {}: {what}", self.number, self.acked);
        self.faults.lock().unwrap().push(said);
        // Who waits for an ack need not wait any more.
        self.progress.send_modify(|_| {});
    }

    fn acked(&mut self, sequence: u64) {
        self.acked = sequence;
        self.progress.send_replace(sequence);
    }

    /// Publishes until the end of the broker.
    pub(super) async fn run(mut self, client: Client, stage: watch::Receiver<Stage>) -> Self {
        let is_large = self.number >= SMALL;
        let publishing = async {
            let published =
                if is_large { self.run_large(&client).await } else { self.run_small(&client).await };
            let Err(stopped) = published;
            if let Some(what) = stopped.fault(*stage.borrow()) {
                self.fault(&what);
            }
        };
        tokio::select! {
            () = publishing => {}
            () = is_over(stage.clone()) => {}
        }
        self
    }

    async fn run_small(&mut self, client: &Client) -> Result<Infallible, Stopped> {
        let resume = Resume { producer: self.producer(), next_sequence: self.acked + 1, known_since: None };
        let publisher = client.publisher_resuming(&name("records"), resume).await.map_err(Stopped::broken)?;
        if publisher.last_sequence() < self.acked {
            let what = format!("the broker knows of {} only", publisher.last_sequence());
            return Err(Stopped::Wrong(what));
        }
        let mut under_way: VecDeque<PendingAck> = VecDeque::new();
        let mut sequence = self.acked;
        loop {
            while under_way.len() < WINDOW {
                sequence += 1;
                let pending = publisher.enqueue(make(self.number, sequence)).await;
                under_way.push_back(pending.map_err(Stopped::broken)?);
            }
            if let Some(oldest) = under_way.front_mut() {
                let ack = oldest.await.map_err(Stopped::broken)?;
                under_way.pop_front();
                self.note(&ack)?;
            }
            while let Some(answered) = under_way.front_mut().and_then(|oldest| oldest.now_or_never()) {
                under_way.pop_front();
                self.note(&answered.map_err(Stopped::broken)?)?;
            }
        }
    }

    /// Acks come in the order of the records.
    fn note(&mut self, ack: &Ack) -> Result<(), Stopped> {
        if ack.sequence != self.acked + 1 {
            return Err(Stopped::Wrong(format!("an ack of {}", ack.sequence)));
        }
        self.acked(ack.sequence);
        Ok(())
    }

    async fn run_large(&mut self, client: &Client) -> Result<Infallible, Stopped> {
        let publisher = client.publisher(&name("records")).await.map_err(Stopped::broken)?;
        loop {
            let Record { head, body } = make(self.number, self.acked + 1);
            let (size, octets) = (body.len() as u64, Cursor::new(&body));
            let sent = publisher.publish_large_at(self.position(), None, head, size, octets);
            self.note(&sent.await.map_err(Stopped::broken)?)?;
            let thousandths = u32::try_from(self.acked * 37 % 1000).unwrap();
            sleep(LARGE_PAUSE * thousandths / 1000).await;
        }
    }

    /// What the last broker may have stored and could not ack any more is sent again; then everything is acked.
    pub(super) async fn settle(&mut self, client: &Client) {
        if self.number >= SMALL {
            let publisher = client.publisher(&name("records")).await.unwrap();
            let Record { head, body } = make(self.number, self.acked + 1);
            let size = body.len() as u64;
            publisher.publish_large_at(self.position(), None, head, size, Cursor::new(&body)).await.unwrap();
            self.acked += 1;
            return;
        }
        let resume = Resume { producer: self.producer(), next_sequence: self.acked + 1, known_since: None };
        let publisher = client.publisher_resuming(&name("records"), resume).await.unwrap();
        let last = self.acked + WINDOW as u64;
        if !(self.acked..=last).contains(&publisher.last_sequence()) {
            self.fault(&format!("the broker knows of {}", publisher.last_sequence()));
            return;
        }
        for sequence in self.acked + 1..=last {
            let ack = publisher.publish(make(self.number, sequence)).await.unwrap();
            assert_eq!(ack.sequence, sequence);
        }
        self.acked = last;
    }
}
