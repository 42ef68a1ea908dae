//! A slice of a live flow, read as a reader of one of its subscriptions: what `record` and `replay` share. What chains stopped is read
//! from quarantine instead.

mod stopped;

use std::time::Duration;

use anyhow::Context as _;
use hilum_client::{Credit, Delivery, DeliveryBody, FlowName, SeekTo, SubscriptionName};
use hilum_core::limits::CREDIT_OCTETS_MAX;
use hilum_core::{Principal, PrincipalId};

use super::trial::records::{BODY_OCTETS_MAX, Record};
use crate::connect::Connection;
use crate::subscribe::place;

/// Records of one slice.
const RECORDS_MAX: i64 = 65_536;

/// Which records.
#[derive(Debug, clap::Args)]
pub(super) struct Slice {
    /// The flow
    pub(super) flow: FlowName,
    /// Begin at another place: `start`, `end`, an offset, or a time as RFC 3339 has it. The subscription needs `replay = true`, and goes
    /// on from there for everybody who reads it. Of a quarantine: a number, or a time at which records came there
    #[arg(long, value_name = "PLACE", value_parser = place)]
    from: Option<SeekTo>,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=RECORDS_MAX))]
    count: u32,
    /// Stop when nothing came for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    wait: u64,
    /// Acknowledge what was read, on a subscription that is there for this. Otherwise it all comes again, to whoever reads next
    #[arg(long)]
    ack: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) records: u64,
    /// Records with a body that is too large to be tried.
    pub(super) too_large: u64,
}

impl Slice {
    /// Reads through a subscription, and hands each record to `take`, in order of the flow. `take` may block.
    pub(super) async fn each(
        &self,
        through: &SubscriptionName,
        mut take: impl FnMut(Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<Seen> {
        let client = self.connection.connect().await?;
        let credit = Credit { records: self.count, octets: CREDIT_OCTETS_MAX };
        let opened = client.subscribe_from(&self.flow, through, credit, self.from).await;
        let mut subscription = opened?;
        let (mut seen, mut left, mut unanswered) = (Seen::default(), self.count, Vec::new());
        while left > 0 {
            let next = tokio::select! {
                next = tokio::time::timeout(Duration::from_secs(self.wait), subscription.next()) => next,
                _ = tokio::signal::ctrl_c() => break,
            };
            let Ok(next) = next else { break };
            let Some(delivery) = next? else { break };
            let offset = delivery.offset();
            match record(&delivery).await.with_context(|| format!("offset {offset}"))? {
                Some(record) => {
                    tokio::task::block_in_place(|| take(record))
                        .with_context(|| format!("offset {offset}"))?;
                    seen.records += 1;
                }
                None => seen.too_large += 1,
            }
            if self.ack {
                delivery.ack();
            } else {
                // Given back before the end it would come again at once.
                unanswered.push(delivery);
            }
            left -= 1;
        }
        subscription.close().await?;
        client.close().await;
        Ok(seen)
    }
}

/// A delivery as a record; none if its body is too large.
async fn record(delivery: &Delivery) -> anyhow::Result<Option<Record>> {
    let body = match delivery.body() {
        DeliveryBody::Inline(octets) => octets.clone(),
        DeliveryBody::Large { size, .. } if *size > BODY_OCTETS_MAX => return Ok(None),
        DeliveryBody::Large { .. } => {
            let mut octets = Vec::new();
            delivery.open_large(0).await?.write_to(&mut octets).await?;
            octets.into()
        }
    };
    let (part, parts) = delivery.part();
    let part = if parts > 1 { format!("-{part}") } else { String::new() };
    Ok(Some(Record {
        name: format!("{:012}{part}", delivery.offset().0),
        head: delivery.head().clone(),
        source: unknown_source()?,
        offset: Some(delivery.offset()),
        body,
        expected: None,
    }))
}

/// A reader is not told who published.
fn unknown_source() -> anyhow::Result<Principal> {
    Ok(Principal {
        id: PrincipalId::new("spiffe://local/unknown")?,
        stakeholder: "unknown".parse()?,
        zone: "unknown".parse()?,
        roles: Vec::new(),
    })
}
