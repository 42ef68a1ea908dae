//! `hilum bench publish`: durable acks a second, and how long one takes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::broker::ThrowAway;
use super::report::Report;
use super::workload::{self, Workload};

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
    /// Connections at the same time
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Records on their way on each connection
    #[arg(long, default_value_t = 1024)]
    in_flight: usize,
    #[command(flatten)]
    workload: Workload,
}

/// Records that the raw rate is measured with.
const RAW_RECORDS: usize = 100_000;

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.records > 0 && args.connections > 0 && args.in_flight > 0, "count from 1");
    args.workload.check()?;
    let broker = ThrowAway::start(&args.workload.dir, 0).await?;
    let measured = args.measure(&broker).await;
    let directory = broker.directory().to_owned();
    let raw = hilum_server::probe::raw_disk_rate(&directory, args.workload.size, RAW_RECORDS);
    broker.stop().await?;
    let (elapsed, latencies) = measured?;
    args.report(elapsed, &latencies, raw?.records_per_second());
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Time in all, and the latency of each record in microseconds, sorted.
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<(Duration, Vec<u64>)> {
        let (flow, record) = (self.workload.flow()?, self.workload.record());
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
            let publishing = workload::publish(client, publisher, record.clone(), records, self.in_flight);
            tasks.push(tokio::spawn(publishing));
        }
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await??);
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        Ok((elapsed, latencies))
    }

    fn report(&self, elapsed: Duration, latencies: &[u64], raw: f64) {
        let Self { records, connections, in_flight, workload } = self;
        let (size, words) = (workload.size, workload.words());
        let mut report = Report::new(format!(
            "{records} records of {size} octets, {words}, {connections} connections with {in_flight} in flight"
        ));
        report.setting("records", *records);
        report.setting("size", size);
        report.setting("connections", *connections);
        report.setting("in_flight", *in_flight);
        report.setting("chain", workload.chain);
        let rate = latencies.len() as f64 / elapsed.as_secs_f64();
        report.per_second("records_per_second", "durable acks", rate, "records/s");
        report.latency("", "ack latency", latencies);
        let raw_words = "records/s (write, fdatasync for every 256)";
        report.per_second("raw_records_per_second", "raw disk", raw, raw_words);
        report.number("ratio_to_raw", "ratio to raw", rate / raw, "");
        report.print(workload.json);
    }
}
