//! What all benchmarks share: the records that are published, and where to.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use hilum_client::{Client, FlowName, PendingAck, Publisher, Record};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;

/// What every benchmark is given.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Workload {
    /// Octets of a record's body
    #[arg(long, default_value_t = 1024)]
    pub(super) size: usize,
    /// Through the bundled plugins instead of none; the bodies are HL7v2 messages then
    #[arg(long)]
    pub(super) chain: bool,
    /// Put the broker's directory there; the disk under it is what is measured
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    pub(super) dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// A flow without an ingress chain. Its subscription `sealed` has an egress chain, all others have none.
pub(super) const PLAIN: &str = "plain";
/// A flow whose records go through the four bundled plugins before they are stored.
const CHAINED: &str = "chained";

impl Workload {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.size <= INLINE_BODY_OCTETS_MAX,
            "an inline body has at most {INLINE_BODY_OCTETS_MAX} octets"
        );
        Ok(())
    }

    /// The flow to publish to where the chain is to run at ingress.
    pub(super) fn flow(&self) -> anyhow::Result<FlowName> {
        Ok(if self.chain { CHAINED } else { PLAIN }.parse()?)
    }

    pub(super) fn record(&self) -> Record {
        if self.chain {
            Record::new("x-application/hl7-v2+er7", hl7_message(self.size))
        } else {
            Record::new("application/octet-stream", noise(self.size))
        }
    }

    pub(super) fn words(&self) -> &'static str {
        if self.chain { "through plugins" } else { "no chain" }
    }
}

/// Publishes, and gives the latency of each record in microseconds.
pub(super) async fn publish(
    client: Client,
    publisher: Publisher,
    record: Record,
    records: u64,
    in_flight: usize,
) -> anyhow::Result<Vec<u64>> {
    let mut latencies = Vec::with_capacity(usize::try_from(records)?);
    let mut under_way: VecDeque<(Instant, PendingAck)> = VecDeque::with_capacity(in_flight);
    for _ in 0..records {
        if under_way.len() == in_flight {
            settle(&mut under_way, &mut latencies).await?;
        }
        under_way.push_back((Instant::now(), publisher.enqueue(record.clone()).await?));
    }
    while !under_way.is_empty() {
        settle(&mut under_way, &mut latencies).await?;
    }
    publisher.finish().await?;
    client.close().await;
    Ok(latencies)
}

async fn settle(
    under_way: &mut VecDeque<(Instant, PendingAck)>,
    latencies: &mut Vec<u64>,
) -> anyhow::Result<()> {
    if let Some((sent, ack)) = under_way.pop_front() {
        ack.await?;
        latencies.push(u64::try_from(sent.elapsed().as_micros())?);
    }
    Ok(())
}

/// Octets that do not compress.
pub(super) fn noise(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let octets = (0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    octets.collect()
}

/// An observation result of about `size` octets: a made-up patient and as many numbers as fit.
fn hl7_message(size: usize) -> Bytes {
    let mut message = String::from(
        "MSH|^~\\&|RIS|BENCH|HIS|BENCH|20261123120000||ORU^R01^ORU_R01|1|P|2.5.1\r\
         PID|1||123456^^^BENCH^MR||Doe^Jane^^^^^L||19700101|F|||1 Main St^^Springfield^IL^62701\r\
         OBR|1|1|1|24566-4^MR Brain^LN|||20261123115500\r",
    );
    for set in 1.. {
        let segment = format!("OBX|{set}|NM|{set}^Reading^L||{}|mm|||||F\r", 10 + set % 90);
        if message.len() + segment.len() > size && set > 1 {
            break;
        }
        message.push_str(&segment);
    }
    message.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_about_the_size_that_was_asked_for() {
        for size in [512, 1024, 65_536] {
            let length = hl7_message(size).len();
            assert!(length <= size && length + 64 > size, "{length} for {size}");
        }
    }
}
