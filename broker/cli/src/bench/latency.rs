//! `hilum bench latency`: how long a record takes from its publisher to its reader.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::MissedTickBehavior;

use super::broker::{THROUGH, ThrowAway};
use super::reader;
use super::report::Report;
use super::workload::Workload;

/// What `hilum bench latency` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Records are sent at a steady rate, whether earlier ones have arrived or not, so that a slow moment counts for each record that
it delays. The time of a record runs from the moment at which it was due to be sent until its reader, on another connection, has
it; in between it was encrypted, written and fsynced. With --chain it went through the four bundled plugins.

Example:
  hilum bench latency --rate 1000 --records 10000")]
pub(super) struct Args {
    /// Records in all
    #[arg(long, default_value_t = 10_000)]
    records: u64,
    /// Records a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    #[command(flatten)]
    workload: Workload,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.records > 0 && args.rate > 0, "count from 1");
    args.workload.check()?;
    let broker = ThrowAway::start(&args.workload.dir, 0).await?;
    let measured = args.measure(&broker).await;
    broker.stop().await?;
    args.report(&measured?);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Microseconds of each record, sorted.
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<Vec<u64>> {
        let (flow, record) = (self.workload.flow()?, self.workload.record());
        let (publishing, reading) = (broker.connect().await?, broker.connect().await?);
        let publisher = publishing.publisher(&flow).await?;
        let mut subscription = reader::open(&reading, &flow, &THROUGH.parse()?, 4096).await?;
        // One that is not counted: connection, plugin instances and keys are there then.
        publisher.publish(record.clone()).await?;
        if let Some(first) = subscription.next().await? {
            first.ack();
        }
        let reader = tokio::spawn(reader::drain(subscription, self.records, true));
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut due = Vec::with_capacity(usize::try_from(self.records)?);
        let mut acks = Vec::with_capacity(due.capacity());
        for _ in 0..self.records {
            let tick: Instant = ticks.tick().await.into_std();
            due.push(tick);
            acks.push(publisher.enqueue(record.clone()).await?);
        }
        for ack in acks {
            ack.await?;
        }
        let came = reader.await??;
        let micros = |(due, came): (&Instant, Instant)| u64::try_from((came - *due).as_micros());
        let mut latencies = due.iter().zip(came).map(micros).collect::<Result<Vec<_>, _>>()?;
        latencies.sort_unstable();
        Ok(latencies)
    }

    fn report(&self, latencies: &[u64]) {
        let Self { records, rate, workload } = self;
        let (size, words) = (workload.size, workload.words());
        let mut report = Report::new(format!("{records} records of {size} octets, {words}, {rate} a second"));
        report.setting("records", *records);
        report.setting("size", size);
        report.setting("rate", *rate);
        report.setting("chain", workload.chain);
        report.latency("", "publisher to reader", latencies);
        report.print(workload.json);
    }
}
