//! Large bodies on one connection: sent, taken and fetched, several at a time.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use hilum_client::{Client, Delivery, FlowName, Publisher, Record, Subscription};
use tokio::task::JoinSet;

use super::body::Body;
use super::broker::THROUGH;
use super::reader;
use super::workload::noise;

/// A flow for large bodies.
pub(super) const PLAIN: &str = "bodies";
/// Another one, with a plugin that copies them on the host behind one octet of its own.
pub(super) const FORWARDED: &str = "forwarded";
/// Octets that repeat in a body.
const PATTERN_OCTETS: usize = 1 << 20;

/// A publisher and a reader of them.
pub(super) struct Bodies {
    publisher: Arc<Publisher>,
    subscription: Subscription,
    body: Body,
}

impl Bodies {
    /// Of `size` octets each, with room for `count` each way.
    pub(super) async fn new(client: &Client, flow: &str, size: u64, count: usize) -> anyhow::Result<Self> {
        let flow: FlowName = flow.parse()?;
        let publisher = Arc::new(client.publisher(&flow).await?);
        let subscription = reader::open(client, &flow, &THROUGH.parse()?, u32::try_from(2 * count)?).await?;
        let body = Body::new(noise(PATTERN_OCTETS), size);
        Ok(Self { publisher, subscription, body })
    }

    /// Sends so many at the same time, each from a task of its own.
    pub(super) fn upload(&self, count: usize) -> impl Future<Output = anyhow::Result<Vec<()>>> + use<> {
        let mut uploads = JoinSet::new();
        for _ in 0..count {
            let (publisher, body) = (self.publisher.clone(), self.body.clone());
            uploads.spawn(async move {
                let head = Record::new("application/octet-stream", Bytes::new()).head;
                publisher.publish_large(head, body.size(), body).await?;
                Ok(())
            });
        }
        all(uploads)
    }

    /// So many deliveries of those that were sent.
    pub(super) async fn take(&mut self, count: usize) -> anyhow::Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        while deliveries.len() < count {
            deliveries.push(self.subscription.next().await?.context("the subscription of the bodies ended")?);
        }
        Ok(deliveries)
    }
}

/// Fetches all bodies at the same time, each in a task of its own; size and digest are checked.
pub(super) fn download(deliveries: Vec<Delivery>) -> impl Future<Output = anyhow::Result<Vec<Delivery>>> {
    let mut downloads = JoinSet::new();
    for delivery in deliveries {
        downloads.spawn(async move {
            delivery.open_large(0).await?.write_to(&mut tokio::io::sink()).await?;
            Ok(delivery)
        });
    }
    all(downloads)
}

/// Waits for all, and fails with the first that does.
async fn all<T: 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(done) = tasks.join_next().await {
        results.push(done??);
    }
    Ok(results)
}
