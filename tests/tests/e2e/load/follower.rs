//! A reader that goes on over the ends of many brokers.

use std::collections::BTreeMap;
use std::convert::Infallible;

use hilum_client::{Client, Delivery};
use tokio::sync::watch;

use super::{Faults, Stage, Stopped, is_over, read_key};
use crate::support::{CREDIT, name, next};

/// Reads subscription `follow` while there is load, and acks what it has seen.
pub(super) struct Follower {
    seen: BTreeMap<u8, Vec<bool>>,
    faults: Faults,
}

impl Follower {
    pub(super) fn new(faults: Faults) -> Self {
        Self { seen: BTreeMap::new(), faults }
    }

    pub(super) async fn run(mut self, client: Client, stage: watch::Receiver<Stage>) -> Self {
        let following = async {
            let Err(stopped) = self.follow(&client).await;
            if let Some(what) = stopped.fault(*stage.borrow()) {
                self.faults.lock().unwrap().push(format!("the reader: {what}"));
            }
        };
        tokio::select! {
            () = following => {}
            () = is_over(stage.clone()) => {}
        }
        self
    }

    async fn follow(&mut self, client: &Client) -> Result<Infallible, Stopped> {
        let opened = client.subscribe(&name("records"), &name("follow"), CREDIT).await;
        let mut subscription = opened.map_err(Stopped::broken)?;
        let mut last = None;
        loop {
            let next = subscription.next().await.map_err(Stopped::broken)?;
            let delivery = next.ok_or_else(|| Stopped::broken("its stream ended"))?;
            let offset = delivery.offset();
            if last.is_some_and(|last| last >= offset) {
                return Err(Stopped::Wrong(format!("it got {offset} after {last:?}")));
            }
            last = Some(offset);
            self.note(&delivery);
            delivery.ack();
        }
    }

    fn note(&mut self, delivery: &Delivery) {
        let (number, sequence) = read_key(delivery);
        let seen = self.seen.entry(number).or_default();
        let index = usize::try_from(sequence).unwrap();
        if seen.len() <= index {
            seen.resize(index + 1, false);
        }
        seen[index] = true;
    }

    /// The first record of a publisher that was acked and not read.
    fn first_missing(&self, settled: &BTreeMap<u8, u64>) -> Option<(u8, u64)> {
        settled.iter().find_map(|(number, acked)| {
            let seen = self.seen.get(number).map_or(&[][..], Vec::as_slice);
            let is_missing =
                |sequence: &u64| !seen.get(usize::try_from(*sequence).unwrap()).is_some_and(|seen| *seen);
            (1..=*acked).find(is_missing).map(|sequence| (*number, sequence))
        })
    }

    /// Reads what is left.
    pub(super) async fn catch_up(&mut self, client: &Client, settled: &BTreeMap<u8, u64>) {
        let mut subscription = client.subscribe(&name("records"), &name("follow"), CREDIT).await.unwrap();
        let last = settled.iter().map(|(number, acked)| (*number, *acked)).collect::<Vec<_>>();
        let has_seen_the_last = |this: &Self| {
            last.iter()
                .all(|(number, acked)| this.seen.get(number).is_some_and(|seen| seen.len() as u64 > *acked))
        };
        while !has_seen_the_last(self) {
            let delivery = next(&mut subscription).await;
            self.note(&delivery);
            delivery.ack();
        }
        if let Some((number, sequence)) = self.first_missing(settled) {
            let what = format!(
                "the reader never got record {sequence} of publisher {number}, and its cursor is past it"
            );
            self.faults.lock().unwrap().push(what);
        }
    }
}
