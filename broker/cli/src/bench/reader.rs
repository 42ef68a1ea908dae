//! A reader that acks everything as it comes.

use std::time::Instant;

use anyhow::bail;
use hilum_client::{Client, Credit, FlowName, Subscription, SubscriptionName};

/// Opens a subscription with room for so many records.
pub(super) async fn open(
    client: &Client,
    flow: &FlowName,
    name: &SubscriptionName,
    in_flight: u32,
) -> anyhow::Result<Subscription> {
    let credit = Credit { records: in_flight, octets: 64 << 20 };
    Ok(client.subscribe(flow, name, credit).await?)
}

/// Reads and acks so many records, and waits until the broker has counted the acks. When each came, if `each` is wanted.
pub(super) async fn drain(
    mut subscription: Subscription,
    records: u64,
    each: bool,
) -> anyhow::Result<Vec<Instant>> {
    let mut came = Vec::with_capacity(if each { usize::try_from(records)? } else { 0 });
    for read in 0..records {
        let Some(delivery) = subscription.next().await? else {
            bail!("the subscription ended after {read} of {records} records");
        };
        if each {
            came.push(Instant::now());
        }
        delivery.ack();
    }
    subscription.close().await?;
    Ok(came)
}
