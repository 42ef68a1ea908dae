//! `hilum serve DIR`: runs the broker of a hospital directory until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_server::lifecycle::Broker;
use hilum_server::telemetry::{LogFormat, Telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// What `hilum serve` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The hospital directory, made by `hilum init`
    dir: PathBuf,
    /// Listen here instead of at `broker.listen` of hilum.toml; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Pretty,
    /// One JSON object a line
    Json,
}

/// Runs until SIGINT or SIGTERM. The address is printed on standard output once the broker listens, so that scripts can
/// wait for it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let format = match args.log_format {
        Format::Pretty => LogFormat::Pretty,
        Format::Json => LogFormat::Json,
    };
    let telemetry = Telemetry::start(format)?;
    if let Some(endpoint) = telemetry.traces_endpoint() {
        tracing::info!(endpoint, "traces are sent over OTLP");
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let broker = Broker::start(&args.dir, args.listen).await?;
    crate::output::print(format_args!("listening on {}", broker.address()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await;
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    Ok(ExitCode::SUCCESS)
}
