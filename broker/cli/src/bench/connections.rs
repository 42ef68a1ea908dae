//! `hilum bench connections`: what a connection costs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hilum_client::{Client, Publisher};
use tokio::task::JoinSet;

use super::broker::{CONNECTIONS_MAX, ThrowAway};
use super::memory::resident_octets;
use super::report::Report;
use super::workload::Workload;

/// What `hilum bench connections` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Opens the connections, each with mutual TLS 1.3 and a publisher, keeps them all, and publishes one record on each, one after the
other. The broker's memory is its resident set (VmRSS) before the first connection and with all of them open.

Example:
  hilum bench connections --connections 2000")]
pub(super) struct Args {
    /// Connections in all
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Connections that are being opened at the same time
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    #[command(flatten)]
    workload: Workload,
}

struct Measured {
    opening: Duration,
    octets_each: f64,
    latencies: Vec<u64>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.connections > 0 && args.at_once > 0, "count from 1");
    ensure!(args.connections <= CONNECTIONS_MAX, "the broker takes {CONNECTIONS_MAX} connections at most");
    args.workload.check()?;
    let broker = ThrowAway::start(&args.workload.dir, 0).await?;
    let measured = args.measure(&broker).await;
    broker.stop().await?;
    args.report(&measured?);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    async fn measure(&self, broker: &ThrowAway) -> anyhow::Result<Measured> {
        let (flow, record) = (self.workload.flow()?, self.workload.record());
        // One that is not counted: plugin instances and keys are there then.
        let first = broker.connect().await?;
        first.publisher(&flow).await?.publish(record.clone()).await?;
        let process = broker.process()?;
        let before = resident_octets(process)?;
        let started = Instant::now();
        let mut opening: JoinSet<anyhow::Result<(Client, Publisher)>> = JoinSet::new();
        let mut open = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            if opening.len() >= self.at_once
                && let Some(opened) = opening.join_next().await
            {
                open.push(opened??);
            }
            let (connecting, flow) = (broker.connecting()?, flow.clone());
            opening.spawn(async move {
                let client = Client::connect(connecting).await?;
                let publisher = client.publisher(&flow).await?;
                Ok((client, publisher))
            });
        }
        while let Some(opened) = opening.join_next().await {
            open.push(opened??);
        }
        let elapsed = started.elapsed();
        let grown = resident_octets(process)?.saturating_sub(before);
        let mut latencies = Vec::with_capacity(open.len());
        for (_, publisher) in &open {
            let sent = Instant::now();
            publisher.publish(record.clone()).await?;
            latencies.push(u64::try_from(sent.elapsed().as_micros())?);
        }
        latencies.sort_unstable();
        Ok(Measured { opening: elapsed, octets_each: grown as f64 / open.len() as f64, latencies })
    }

    fn report(&self, measured: &Measured) {
        let Self { connections, at_once, workload } = self;
        let mut report = Report::new(format!("{connections} connections, {at_once} opened at once"));
        report.setting("connections", *connections);
        report.setting("at_once", *at_once);
        report.setting("chain", workload.chain);
        let rate = *connections as f64 / measured.opening.as_secs_f64();
        report.per_second("connections_per_second", "opened", rate, "connections/s");
        let each = (measured.octets_each / 1024.0).round();
        report.number("broker_kib_each", "broker's memory", each, "KiB a connection");
        report.latency("", "ack latency", &measured.latencies);
        report.print(workload.json);
    }
}
