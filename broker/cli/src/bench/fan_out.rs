//! `hilum bench fan-out`: one flow, many subscriptions.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::broker::{ThrowAway, fan};
use super::reader;
use super::report::Report;
use super::workload::{self, Workload};

/// What `hilum bench fan-out` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One publisher sends the records while each subscription has a reader on a connection of its own. The time ends when the last
reader has acked the last record.

Example:
  hilum bench fan-out --subscriptions 16 --records 50000")]
pub(super) struct Args {
    /// Records in all, each for every subscription
    #[arg(long, default_value_t = 50_000)]
    records: u64,
    /// Subscriptions of the flow
    #[arg(long, default_value_t = 8)]
    subscriptions: usize,
    /// Records on their way, from the publisher and to each reader
    #[arg(long, default_value_t = 1024)]
    in_flight: u32,
    #[command(flatten)]
    workload: Workload,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.records > 0 && args.subscriptions > 0 && args.in_flight > 0, "count from 1");
    ensure!(args.subscriptions <= 256, "there are 256 subscriptions at most");
    args.workload.check()?;
    let broker = ThrowAway::start(&args.workload.dir, args.subscriptions).await?;
    let measured = args.measure(&broker).await;
    broker.stop().await?;
    let (published, read) = measured?;
    args.report(published, read);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// How long the publisher had to wait for its last ack, and the slowest reader for its last record.
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<(Duration, Duration)> {
        let (flow, record) = (self.workload.flow()?, self.workload.record());
        let client = broker.connect().await?;
        let publisher = client.publisher(&flow).await?;
        let mut readers = Vec::new();
        for index in 0..self.subscriptions {
            let client = broker.connect().await?;
            let subscription = reader::open(&client, &flow, &fan(index).parse()?, self.in_flight).await?;
            readers.push((client, subscription));
        }
        let started = Instant::now();
        let mut tasks = Vec::new();
        for (client, subscription) in readers {
            let records = self.records;
            tasks.push(tokio::spawn(async move {
                let read = reader::drain(subscription, records, false).await;
                client.close().await;
                read
            }));
        }
        let in_flight = usize::try_from(self.in_flight)?;
        workload::publish(client, publisher, record, self.records, in_flight).await?;
        let published = started.elapsed();
        for task in tasks {
            task.await??;
        }
        Ok((published, started.elapsed()))
    }

    fn report(&self, published: Duration, read: Duration) {
        let Self { records, subscriptions, in_flight, workload } = self;
        let (size, words) = (workload.size, workload.words());
        let mut report = Report::new(format!(
            "{records} records of {size} octets, {words}, to each of {subscriptions} subscriptions"
        ));
        report.setting("records", *records);
        report.setting("size", size);
        report.setting("subscriptions", *subscriptions);
        report.setting("in_flight", *in_flight);
        report.setting("chain", workload.chain);
        let rate = |count: f64, time: Duration| count / time.as_secs_f64();
        let durable = rate(*records as f64, published);
        report.per_second("published_per_second", "durable acks", durable, "records/s");
        let delivered = rate(*records as f64 * *subscriptions as f64, read);
        report.per_second("delivered_per_second", "delivered and acked", delivered, "records/s, all readers");
        report.print(workload.json);
    }
}
