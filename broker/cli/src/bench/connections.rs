//! `hilum bench connections`: what a connection costs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hilum_client::{Client, ConnectError, Credit};
use hilum_core::limits::READERS_MAX;
use quinn::Endpoint;
use tokio::task::JoinSet;

use super::broker::{CONNECTIONS_MAX, ThrowAway, fan};
use super::memory::resident_octets;
use super::report::Report;
use super::workload::Workload;

/// What `hilum bench connections` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Opens the connections, each with mutual TLS 1.3, and keeps them all. Then opens a publisher on each and publishes one record on it,
one after the other; then opens a subscription stream on each. The broker's memory is its resident set (VmRSS) before the first
connection, with all of them open and idle, with a publisher on each that has published, and with a reader on each.

Example:
  hilum bench connections --connections 10000")]
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

/// Any port of ours.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Connections that share a socket of ours.
const SOCKET_CONNECTIONS: usize = 500;
/// What each reader takes: one record, so that no more than that is under way to it.
const READER_CREDIT: Credit = Credit { records: 1, octets: 64 << 10 };

struct Measured {
    opening: Duration,
    /// Of the broker, for each connection: idle, with a publisher, with a reader too.
    octets_each: [f64; 3],
    latencies: Vec<u64>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.connections > 0 && args.at_once > 0, "count from 1");
    ensure!(args.connections <= CONNECTIONS_MAX, "the broker takes {CONNECTIONS_MAX} connections at most");
    args.workload.check()?;
    let broker = ThrowAway::start_shared(&args.workload.dir, args.connections.div_ceil(READERS_MAX)).await?;
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
        let each = || -> anyhow::Result<f64> {
            Ok(resident_octets(process)?.saturating_sub(before) as f64 / self.connections as f64)
        };
        let started = Instant::now();
        let open = self.open(broker).await?;
        let opening = started.elapsed();
        let idle = each()?;
        let mut publishers = Vec::with_capacity(open.len());
        let mut latencies = Vec::with_capacity(open.len());
        for client in &open {
            let publisher = client.publisher(&flow).await?;
            let sent = Instant::now();
            publisher.publish(record.clone()).await?;
            latencies.push(u64::try_from(sent.elapsed().as_micros())?);
            publishers.push(publisher);
        }
        let published = each()?;
        let mut readers = Vec::with_capacity(open.len());
        for (index, client) in open.iter().enumerate() {
            let name = fan(index / READERS_MAX).parse()?;
            readers.push(client.subscribe(&flow, &name, READER_CREDIT).await?);
        }
        let octets_each = [idle, published, each()?];
        latencies.sort_unstable();
        Ok(Measured { opening, octets_each, latencies })
    }

    async fn open(&self, broker: &ThrowAway) -> anyhow::Result<Vec<Client>> {
        let mut opening: JoinSet<Result<Client, ConnectError>> = JoinSet::new();
        let mut open = Vec::with_capacity(self.connections);
        let mut endpoint = Endpoint::client(ANY)?;
        for index in 0..self.connections {
            if index % SOCKET_CONNECTIONS == 0 {
                endpoint = Endpoint::client(ANY)?;
            }
            if opening.len() >= self.at_once
                && let Some(opened) = opening.join_next().await
            {
                open.push(opened??);
            }
            opening.spawn(Client::connect_through(endpoint.clone(), broker.connecting()?));
        }
        while let Some(opened) = opening.join_next().await {
            open.push(opened??);
        }
        Ok(open)
    }

    fn report(&self, measured: &Measured) {
        let Self { connections, at_once, workload } = self;
        let mut report = Report::new(format!("{connections} connections, {at_once} opened at once"));
        report.setting("connections", *connections);
        report.setting("at_once", *at_once);
        report.setting("chain", workload.chain);
        let rate = *connections as f64 / measured.opening.as_secs_f64();
        report.per_second("connections_per_second", "opened", rate, "connections/s");
        let [idle, publishing, reading] = measured.octets_each.map(|octets| (octets / 1024.0).round());
        report.number("broker_kib_each", "broker's memory, idle", idle, "KiB a connection");
        report.number("broker_kib_each_publishing", "with a publisher", publishing, "KiB a connection");
        report.number("broker_kib_each_reading", "with a reader too", reading, "KiB a connection");
        report.latency("", "ack latency", &measured.latencies);
        report.print(workload.json);
    }
}
