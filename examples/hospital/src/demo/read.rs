//! Reading one subscription: what came, when, and what can be told from its octets.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use hilum_client::sealed::{SealedError, is_sealed, open_sealed};
use hilum_client::{Client, Delivery, FlowName, Offset, SubscriptionName};
use hilum_core::Digest;
use hilum_core::cose::{OpenError, PrivateKey};
use tokio::sync::mpsc;

use super::plan::Reading;
use crate::connect::{CREDIT, read_body};
use crate::leak::Canaries;

/// Octets of a body made by a plugin that are kept.
const KEPT_OCTETS_MAX: usize = 64 * 1024;

/// One delivery, judged by its octets alone.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// Index into [`super::plan::READINGS`].
    pub(super) reading: usize,
    /// Position in the flow.
    pub(super) offset: Offset,
    /// SHA-256 of the body; of a sealed one, of what is inside.
    pub(super) digest: Digest,
    /// Whether it was sealed, and opened with the reader's key and not with another's.
    pub(super) sealed: bool,
    /// Planted identifiers found in what came over the wire: attributes, key and body.
    pub(super) canaries: usize,
    /// The trace it came in.
    pub(super) trace: Option<[u8; 16]>,
    /// When it was complete here.
    pub(super) at: Instant,
    /// The body, if it is small.
    pub(super) octets: Vec<u8>,
}

/// What a reader needs to judge.
#[derive(Debug)]
pub(super) struct Judge {
    /// What was planted.
    pub(super) canaries: Arc<Canaries>,
    /// The reader's own key.
    pub(super) key: PrivateKey,
    /// A key of somebody else, which must not open anything.
    pub(super) other_key: PrivateKey,
}

/// Reads until the receiver is gone. Each delivery is acked once it is judged.
pub(super) async fn read(
    client: Client,
    index: usize,
    reading: Reading,
    judge: Judge,
    received: mpsc::UnboundedSender<Received>,
) -> anyhow::Result<()> {
    let flow: FlowName = reading.flow.parse()?;
    let name: SubscriptionName = reading.subscription.parse()?;
    let mut subscription = client.subscribe(&flow, &name, CREDIT).await?;
    while let Some(delivery) = subscription.next().await? {
        let judged = judge_delivery(&delivery, index, &flow, &judge).await;
        let judged = judged.with_context(|| format!("{name} of {flow}, offset {}", delivery.offset()))?;
        delivery.ack();
        if received.send(judged).is_err() {
            break;
        }
    }
    Ok(())
}

async fn judge_delivery(
    delivery: &Delivery,
    index: usize,
    flow: &FlowName,
    judge: &Judge,
) -> anyhow::Result<Received> {
    let octets = read_body(delivery).await?;
    let at = Instant::now();
    let head = delivery.head();
    let attributes = head.attributes.iter().map(|attribute| attribute.value.as_str());
    let texts = attributes.chain(head.key.as_deref());
    let canaries = texts.map(|text| judge.canaries.found_in(text.as_bytes())).sum::<usize>()
        + judge.canaries.found_in(&octets);
    let sealed = is_sealed(head);
    let digest = if sealed { open(delivery, flow, &octets, judge)? } else { Digest::of(&octets) };
    let trace = head.trace.map(|trace| trace.trace);
    let octets = if octets.len() <= KEPT_OCTETS_MAX { octets } else { Vec::new() };
    Ok(Received { reading: index, offset: delivery.offset(), digest, sealed, canaries, trace, at, octets })
}

/// Opens a sealed body with the reader's key; the digest of what is inside. Another key must not open it.
fn open(delivery: &Delivery, flow: &FlowName, octets: &[u8], judge: &Judge) -> anyhow::Result<Digest> {
    match open_sealed(&judge.other_key, flow, delivery.head(), octets) {
        Err(SealedError::Open(OpenError::NotARecipient)) => {}
        Err(error) => bail!("another's key fails for another reason than that it is no recipient: {error}"),
        Ok(_) => bail!("another's key opens it"),
    }
    Ok(Digest::of(&open_sealed(&judge.key, flow, delivery.head(), octets)?.body))
}
