//! Reading one subscription: what came, when, and what can be told from its octets.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use hilum_client::{Client, Delivery, Offset};
use hilum_core::Digest;
use hilum_core::cose::{self, OpenError, PrivateKey};
use tokio::sync::mpsc;

use super::plan::Reading;
use crate::connect::{CREDIT, read_body};
use crate::leak::Canaries;

/// Media type of what is encrypted end to end (RFC 9052, section 11.3.3), without its parameter.
const SEALED: &str = "application/cose";
/// The attribute that holds the media type of what is inside.
const ORIGINAL_CONTENT_TYPE: &str = "original-content-type";
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
    let (flow, name) = (reading.flow.parse()?, reading.subscription.parse()?);
    let mut subscription = client.subscribe(&flow, &name, CREDIT).await?;
    while let Some(delivery) = subscription.next().await? {
        let judged = judge_delivery(&delivery, index, &reading, &judge).await;
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
    reading: &Reading,
    judge: &Judge,
) -> anyhow::Result<Received> {
    let octets = read_body(delivery).await?;
    let at = Instant::now();
    let head = delivery.head();
    let attributes = head.attributes.iter().map(|attribute| attribute.value.as_str());
    let texts = attributes.chain(head.key.as_deref());
    let canaries = texts.map(|text| judge.canaries.found_in(text.as_bytes())).sum::<usize>()
        + judge.canaries.found_in(&octets);
    let sealed = head.content_type.starts_with(SEALED);
    let digest = if sealed { open(delivery, reading.flow, &octets, judge)? } else { Digest::of(&octets) };
    let trace = head.trace.map(|trace| trace.trace);
    let octets = if octets.len() <= KEPT_OCTETS_MAX { octets } else { Vec::new() };
    Ok(Received { reading: index, offset: delivery.offset(), digest, sealed, canaries, trace, at, octets })
}

/// Opens a sealed body with the reader's key; the digest of what is inside. Another key must not open it.
fn open(delivery: &Delivery, flow: &str, octets: &[u8], judge: &Judge) -> anyhow::Result<Digest> {
    let head = delivery.head();
    let inside = head.attributes.iter().find(|attribute| attribute.name == ORIGINAL_CONTENT_TYPE);
    let inside = &inside.with_context(|| format!("no attribute {ORIGINAL_CONTENT_TYPE}"))?.value;
    // What the encrypt plugin binds a body to, so that it opens in no other place.
    let associated = format!("hilum-encrypt-v1\n{flow}\n{inside}\n{}", head.time.0);
    match cose::open(&judge.other_key, associated.as_bytes(), octets) {
        Err(OpenError::NotARecipient) => {}
        Err(error) => bail!("another's key fails for another reason than that it is no recipient: {error}"),
        Ok(_) => bail!("another's key opens it"),
    }
    let plain = cose::open(&judge.key, associated.as_bytes(), octets)?;
    Ok(Digest::of(&plain))
}
