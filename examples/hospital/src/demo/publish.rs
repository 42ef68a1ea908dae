//! Publishing the story, each record in a trace of its own, and remembering what went where.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use hilum_client::{Client, Offset, PublishError, Publisher, Record, RefusalCode};
use hilum_core::record::TraceContext;
use hilum_core::{Digest, FlowName};

use super::plan::{Item, Kind, Patient, Publication};
use crate::connect;
use crate::simulator::random::Random;

/// A record that the broker acked.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// What it is.
    pub(super) kind: Kind,
    /// Whose it is.
    pub(super) patient: Patient,
    /// Where it is.
    pub(super) flow: FlowName,
    /// Its position there.
    pub(super) offset: Offset,
    /// SHA-256 of its body.
    pub(super) digest: Digest,
    /// The trace it began.
    pub(super) trace: [u8; 16],
    /// When publishing it began.
    pub(super) at: Instant,
}

/// Publishes everything of one publication, one record at a time.
pub(super) async fn publish_all(
    client: Client,
    publication: Publication,
    mut random: Random,
) -> anyhow::Result<Vec<Published>> {
    let flow: FlowName = publication.flow.parse()?;
    let publisher = client.publisher(&flow).await?;
    let mut published = Vec::with_capacity(publication.items.len());
    for item in publication.items {
        let (kind, patient, digest) = (item.kind, item.patient, Digest::of(&item.octets));
        let trace = trace(&mut random);
        let at = Instant::now();
        let ack =
            send(&publisher, item, trace).await.with_context(|| format!("publishing {}", kind.label()))?;
        let offset = ack.context("the broker says that a new record was stored before")?;
        let flow = flow.clone();
        published.push(Published { kind, patient, flow, offset, digest, trace: trace.trace, at });
        tokio::time::sleep(Duration::from_millis(publication.pause_ms)).await;
    }
    publisher.finish().await?;
    Ok(published)
}

/// Publishes a record that must be refused by a plugin; the broker's reason.
pub(super) async fn publish_refused(client: &Client, flow: &str, item: Item) -> anyhow::Result<String> {
    let publisher = client.publisher(&flow.parse()?).await?;
    let answer = send(&publisher, item, trace(&mut Random::new(0))).await;
    publisher.finish().await?;
    match answer {
        Err(PublishError::Refused { refusal, .. }) if refusal.code == RefusalCode::RefusedByPlugin => {
            Ok(refusal.reason)
        }
        Err(error) => Err(error).context("it should have been refused by a plugin"),
        Ok(_) => bail!("it should have been refused by a plugin, and was taken"),
    }
}

/// Sends one record. With one record under way, the last offset that an ack covers is its.
async fn send(
    publisher: &Publisher,
    item: Item,
    trace: TraceContext,
) -> Result<Option<Offset>, PublishError> {
    let octets = Bytes::from(item.octets);
    let mut record = Record::new(item.content_type, octets).with_trace(trace);
    for (name, value) in &item.attributes {
        record = record.with_attribute(name, value);
    }
    Ok(connect::publish(publisher, record).await?.through_offset)
}

/// A trace that begins with a publisher, sampled (W3C Trace Context, section 3.2.2).
fn trace(random: &mut Random) -> TraceContext {
    let mut octets = [0; 24];
    for chunk in octets.chunks_mut(8) {
        chunk.copy_from_slice(&(random.bits() | 1).to_be_bytes());
    }
    let (trace, span) = octets.split_at(16);
    let fits = "24 octets are 16 and 8";
    TraceContext { trace: trace.try_into().expect(fits), span: span.try_into().expect(fits), flags: 1 }
}
