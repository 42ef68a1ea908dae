//! A reader of one subscription: slow, forgetful, gone without a word, or back again.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hilum_client::{Client, Credit, Delivery, Subscription};
use tokio::time::timeout;

use super::hospital::Identity;
use super::ledger::{self, Ledger, Place, Session};
use super::random::Random;
use super::{Plant, Running, connect};

/// One reader.
pub(super) struct Reader {
    pub(super) number: u8,
    pub(super) place: Place,
    pub(super) identity: Identity,
    pub(super) random: Random,
    pub(super) running: Running,
    pub(super) ledger: Ledger,
}

/// How a reader ends a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Settles, closes and waits until the broker has counted.
    InGoodOrder,
    /// Lets the connection go.
    AtOnce,
    /// Does not read any more for a while, and lets the connection go then.
    AfterSilence,
}

/// How long a reader waits for the next record before it looks whether there is more to come.
const PATIENCE: Duration = Duration::from_secs(5);

impl Reader {
    /// The address it comes from.
    pub(super) fn address(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 2, number))
    }

    /// Reads until everything that will ever be there is settled.
    pub(super) async fn run(mut self) {
        while !self.is_done() {
            if let Some(client) = connect(&self.running, &self.identity, Self::address(self.number)).await {
                self.read(&client).await;
            }
            tokio::time::sleep(self.random.milliseconds(10..=1500)).await;
        }
        self.running.history.note(format_args!("reader {}/{}: done", self.place.0, self.place.1));
    }

    fn is_done(&self) -> bool {
        *self.running.ended.borrow() && self.ledger.is_read(&self.place)
    }

    /// Over one connection, as long as it is good.
    async fn read(&mut self, client: &Client) {
        let credit = Credit {
            records: u32::try_from(self.random.within(1..=24)).unwrap_or(1),
            octets: self.random.within(1..=8192),
        };
        let (flow, name) = &self.place;
        let mut subscription = match timeout(PATIENCE, client.subscribe(flow, name, credit)).await {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => {
                return self.running.history.note(format_args!("reader {flow}/{name}: {error}"));
            }
            Err(_) => return,
        };
        let session = self.ledger.opened(&self.place, subscription.cursor());
        let leaving = match self.random.within(0..=9) {
            _ if *self.running.healed.borrow() => None,
            0..=2 => Some(Leaving::InGoodOrder),
            3..=4 => Some(Leaving::AtOnce),
            5 => Some(Leaving::AfterSilence),
            _ => None,
        };
        let leaves_after = leaving.map(|_| self.random.within(0..=30));
        self.take(&mut subscription, session, leaves_after).await;
        if leaving == Some(Leaving::AfterSilence) {
            self.running.history.note(format_args!("reader {}/{}: falls silent", self.place.0, self.place.1));
            tokio::time::sleep(self.random.milliseconds(1000..=40_000)).await;
        }
        if leaving != Some(Leaving::InGoodOrder) && leaving.is_some() {
            return;
        }
        match timeout(PATIENCE, subscription.close()).await {
            Ok(Ok(())) => self.ledger.closed(&self.place, session),
            Ok(Err(error)) => self.running.history.note(format_args!("a reader: {error}")),
            Err(_) => {}
        }
    }

    /// Takes records and settles them, in order or not, at once or later.
    async fn take(&mut self, subscription: &mut Subscription, session: Session, leaves_after: Option<u64>) {
        let (mut held, mut taken): (Vec<Delivery>, u64) = (Vec::new(), 0);
        let slowness = if self.random.percent(30) { 400 } else { 5 };
        while leaves_after.is_none_or(|count| taken < count) {
            match timeout(PATIENCE, subscription.next()).await {
                Ok(Ok(Some(delivery))) => {
                    taken += 1;
                    self.ledger.delivered(&self.place, session, &delivery);
                    held.push(delivery);
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    self.running.history.note(format_args!("a reader: {error}"));
                    break;
                }
                Err(_) if held.is_empty() => break,
                Err(_) => {}
            }
            // Now and then it keeps some to itself; but never for ever, or it would run out of credit.
            let keeps = if self.random.percent(70) { 0 } else { held.len() / 2 };
            while held.len() > keeps {
                let at = usize::try_from(self.random.within(0..=held.len() as u64 - 1)).unwrap_or(0);
                self.answer(session, held.swap_remove(at));
            }
            tokio::time::sleep(self.random.milliseconds(0..=slowness)).await;
        }
    }

    /// Settles a record, mostly, or puts it off.
    fn answer(&mut self, session: Session, delivery: Delivery) {
        if let Some(wait) = ledger::spurned(&self.place, &delivery) {
            self.ledger.put_off(&self.place, session, delivery.offset(), wait);
            return delivery.nak(None);
        }
        match self.random.within(0..=99) {
            0..=5 => {
                let delay = self.random.milliseconds(0..=4000);
                self.ledger.put_off(&self.place, session, delivery.offset(), delay);
                let is_forgotten = self.running.plant == Some(Plant::ForgetDelay);
                return delivery.nak(Some(if is_forgotten { Duration::ZERO } else { delay }));
            }
            6..=8 => {
                self.ledger.settled(&self.place, session, delivery.offset());
                return delivery.term("unreadable".parse().expect("it is a code"));
            }
            9..=12 => delivery.in_progress(),
            _ => {}
        }
        self.ledger.settled(&self.place, session, delivery.offset());
        delivery.ack();
    }
}
