//! `hilum bench`: how fast the broker is on this machine, beside what its disk can do.

mod broker;
mod publish;

use std::process::ExitCode;

/// What `hilum bench` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Publishes records and waits for their durable acks
    Publish(publish::Args),
}

/// Runs one benchmark.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Publish(args) => publish::run(args).await,
    }
}
