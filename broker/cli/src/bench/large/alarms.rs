//! A steady flow of small records, timed.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hilum_client::{Client, FlowName, PendingAck, Publisher, Record, Subscription};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::super::broker::THROUGH;
use super::super::reader;

/// Deliveries that may be under way. More come only where hundreds of alarms wait.
const IN_FLIGHT: u32 = 4096;

/// A publisher and a reader of the same flow on one connection.
pub(super) struct Alarms {
    publisher: Publisher,
    subscription: Subscription,
    record: Record,
    rate: u32,
}

/// Microseconds from the moment at which each record was due to be sent.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    /// Until its reader had it.
    pub(super) delivered: Vec<u64>,
    /// Until its publisher had the ack.
    pub(super) acked: Vec<u64>,
}

impl Latencies {
    pub(super) fn extend(&mut self, more: Self) {
        self.delivered.extend(more.delivered);
        self.acked.extend(more.acked);
        self.delivered.sort_unstable();
        self.acked.sort_unstable();
    }
}

impl Alarms {
    /// So many a second; none yet.
    pub(super) async fn new(
        client: &Client,
        flow: &FlowName,
        record: Record,
        rate: u32,
    ) -> anyhow::Result<Self> {
        let publisher = client.publisher(flow).await?;
        let subscription = reader::open(client, flow, &THROUGH.parse()?, IN_FLIGHT).await?;
        Ok(Self { publisher, subscription, record, rate })
    }

    /// Sends alarms for as long as something else takes.
    pub(super) async fn beside<T>(
        &mut self,
        other: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Latencies)> {
        let Self { publisher, subscription, record, rate } = self;
        let (acks, acked) = mpsc::unbounded_channel();
        let (dues, delivered) = mpsc::unbounded_channel();
        let sending = async move {
            tokio::pin!(other);
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / *rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                let due = tokio::select! {
                    done = &mut other => return done,
                    tick = ticks.tick() => tick.into_std(),
                };
                let ack = publisher.enqueue(record.clone()).await?;
                // They end only where the whole measurement does.
                let _ = (acks.send((due, ack)), dues.send(due));
            }
        };
        let (done, acked, delivered) =
            tokio::try_join!(sending, wait_for_acks(acked), read(subscription, delivered))?;
        ensure!(!delivered.is_empty(), "the bodies were through before the first alarm");
        let mut latencies = Latencies::default();
        latencies.extend(Latencies { delivered, acked });
        Ok((done, latencies))
    }
}

async fn wait_for_acks(mut acks: mpsc::UnboundedReceiver<(Instant, PendingAck)>) -> anyhow::Result<Vec<u64>> {
    let mut latencies = Vec::new();
    while let Some((due, ack)) = acks.recv().await {
        ack.await?;
        latencies.push(u64::try_from(due.elapsed().as_micros())?);
    }
    Ok(latencies)
}

async fn read(
    subscription: &mut Subscription,
    mut dues: mpsc::UnboundedReceiver<Instant>,
) -> anyhow::Result<Vec<u64>> {
    let mut latencies = Vec::new();
    while let Some(due) = dues.recv().await {
        let delivery = subscription.next().await?.context("the subscription of the alarms ended")?;
        latencies.push(u64::try_from(due.elapsed().as_micros())?);
        delivery.ack();
    }
    Ok(latencies)
}
