//! `hilum bench consume`: records a second that one reader takes and acks.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::broker::{SEALED, THROUGH, ThrowAway};
use super::reader;
use super::report::Report;
use super::workload::{self, PLAIN, Workload};

/// What `hilum bench consume` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The records are published before the measurement begins. One reader on one connection then takes and acks them all; the time ends
when the broker has counted the last ack. With --chain they go through an egress chain of access, deidentify and encrypt on
their way out.

Example:
  hilum bench consume --records 500000 --in-flight 4096")]
pub(super) struct Args {
    /// Records in all
    #[arg(long, default_value_t = 200_000)]
    records: u64,
    /// Records delivered and not acked at a time
    #[arg(long, default_value_t = 4096)]
    in_flight: u32,
    #[command(flatten)]
    workload: Workload,
}

/// Publishers that fill the flow, and what each has on its way.
const FILLERS: u64 = 2;
const FILL_IN_FLIGHT: usize = 1024;

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.records > 0 && args.in_flight > 0, "count from 1");
    args.workload.check()?;
    let broker = ThrowAway::start(&args.workload.dir, 0).await?;
    let measured = args.measure(&broker).await;
    broker.stop().await?;
    args.report(measured?);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<Duration> {
        let (flow, record) = (PLAIN.parse()?, self.workload.record());
        let mut tasks = Vec::new();
        for index in 0..FILLERS {
            let client = broker.connect().await?;
            let publisher = client.publisher(&flow).await?;
            let records = self.records / FILLERS + u64::from(index < self.records % FILLERS);
            let filling = workload::publish(client, publisher, record.clone(), records, FILL_IN_FLIGHT);
            tasks.push(tokio::spawn(filling));
        }
        for task in tasks {
            task.await??;
        }
        let client = broker.connect().await?;
        let name = if self.workload.chain { SEALED } else { THROUGH }.parse()?;
        let started = Instant::now();
        let subscription = reader::open(&client, &flow, &name, self.in_flight).await?;
        reader::drain(subscription, self.records, false).await?;
        Ok(started.elapsed())
    }

    fn report(&self, elapsed: Duration) {
        let Self { records, in_flight, workload } = self;
        let (size, words) = (workload.size, workload.words());
        let title =
            format!("{records} records of {size} octets, {words}, one reader with {in_flight} in flight");
        let mut report = Report::new(title);
        report.setting("records", *records);
        report.setting("size", size);
        report.setting("in_flight", *in_flight);
        report.setting("chain", workload.chain);
        let rate = *records as f64 / elapsed.as_secs_f64();
        report.per_second("records_per_second", "consumed and acked", rate, "records/s");
        report.print(workload.json);
    }
}
