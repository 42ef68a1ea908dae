//! `hilum bench publish`: durable acks a second, and how long one takes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use hilum_client::{Client, FlowName, PendingAck, Publisher, Record};
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;

use super::broker::ThrowAway;

/// What `hilum bench publish` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each connection keeps IN-FLIGHT records on their way and sends the next one when the oldest is acked. An ack means that the
record is encrypted, written and fsynced. The raw rate is that of one thread which writes records of the same size to a file on
the same disk, with fdatasync for every 256.

The broker is a process of its own in a directory of its own, and both go when the measurement is over.

Example:
  hilum bench publish --records 500000 --size 1024 --connections 4 --in-flight 1024 --chain")]
pub(super) struct Args {
    /// Records in all
    #[arg(long, default_value_t = 200_000)]
    records: u64,
    /// Octets of a record's body
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Connections at the same time
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Records on their way on each connection
    #[arg(long, default_value_t = 1024)]
    in_flight: usize,
    /// Through the four bundled plugins instead of none; the bodies are HL7v2 messages then
    #[arg(long)]
    chain: bool,
    /// Put the broker's directory there; the disk under it is what is measured
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Records that the raw rate is measured with.
const RAW_RECORDS: usize = 100_000;

struct Measured {
    records_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    raw_records_per_second: f64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.records > 0 && args.connections > 0 && args.in_flight > 0, "count from 1");
    ensure!(
        args.size <= INLINE_BODY_OCTETS_MAX,
        "an inline body has at most {INLINE_BODY_OCTETS_MAX} octets"
    );
    let broker = ThrowAway::start(&args.dir).await?;
    let measured = args.measure(&broker).await;
    let directory = broker.directory().to_owned();
    let raw = hilum_server::probe::raw_disk_rate(&directory, args.size, RAW_RECORDS);
    broker.stop().await?;
    let (elapsed, latencies) = measured?;
    let measured = Measured {
        records_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_us: percentile(&latencies, 50),
        p99_us: percentile(&latencies, 99),
        raw_records_per_second: raw?.records_per_second(),
    };
    args.report(&measured);
    Ok(ExitCode::SUCCESS)
}

/// Microseconds below which so many of a hundred are. `sorted` is not empty.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

impl Args {
    /// Time in all, and the latency of each record in microseconds, sorted.
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<(Duration, Vec<u64>)> {
        let flow: FlowName = if self.chain { "chained" } else { "plain" }.parse()?;
        let body = if self.chain { hl7_message(self.size) } else { noise(self.size) };
        let content_type = if self.chain { "x-application/hl7-v2+er7" } else { "application/octet-stream" };
        let record = Record::new(content_type, body);
        let mut publishers = Vec::new();
        for _ in 0..self.connections {
            let client = broker.connect().await?;
            let publisher = client.publisher(&flow).await?;
            // One that is not counted: connection, plugin instances and keys are there then.
            publisher.publish(record.clone()).await?;
            publishers.push((client, publisher));
        }
        let started = Instant::now();
        let mut tasks = Vec::new();
        for (index, (client, publisher)) in (0..).zip(publishers) {
            let more = u64::from(index < self.records % self.connections);
            let records = self.records / self.connections + more;
            tasks.push(tokio::spawn(publish(client, publisher, record.clone(), records, self.in_flight)));
        }
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await??);
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        Ok((elapsed, latencies))
    }

    fn report(&self, measured: &Measured) {
        let Measured { records_per_second, p50_us, p99_us, raw_records_per_second } = measured;
        if self.json {
            let line = serde_json::json!({
                "records": self.records,
                "size": self.size,
                "connections": self.connections,
                "in_flight": self.in_flight,
                "chain": self.chain,
                "records_per_second": records_per_second.round(),
                "p50_us": p50_us,
                "p99_us": p99_us,
                "raw_records_per_second": raw_records_per_second.round(),
                "ratio_to_raw": records_per_second / raw_records_per_second,
            });
            println!("{line}");
            return;
        }
        let chain = if self.chain { "four plugins" } else { "no chain" };
        println!(
            "{} records of {} octets, {chain}, {} connections with {} in flight",
            self.records, self.size, self.connections, self.in_flight
        );
        println!("  durable acks     {records_per_second:>12.0} records/s");
        println!("  ack latency      {p50_us:>12} us p50, {p99_us} us p99");
        println!(
            "  raw disk         {raw_records_per_second:>12.0} records/s (write, fdatasync for every 256)"
        );
        println!("  ratio to raw     {:>12.2}", records_per_second / raw_records_per_second);
    }
}

/// Publishes, and gives the latency of each record in microseconds.
async fn publish(
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
fn noise(size: usize) -> Bytes {
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
    fn percentiles_are_of_the_sorted_values() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (50, 99));
        assert_eq!(percentile(&[7], 99), 7);
    }

    #[test]
    fn messages_have_about_the_size_that_was_asked_for() {
        for size in [512, 1024, 65_536] {
            let length = hl7_message(size).len();
            assert!(length <= size && length + 64 > size, "{length} for {size}");
        }
    }
}
