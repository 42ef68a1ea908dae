//! `hilum bench`: how fast the broker is on this machine, beside what its disk can do.

mod bodies;
mod body;
mod broker;
mod connections;
mod consume;
mod fan_out;
mod large;
mod latency;
mod memory;
mod plugin;
mod publish;
mod reader;
mod report;
mod workload;

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
    /// Reads stored records and acks them
    Consume(consume::Args),
    /// Times records from publisher to reader, at a steady rate
    Latency(latency::Args),
    /// Sends and fetches large bodies, and times small alarms on the same connection beside them
    Large(large::Args),
    /// Publishes to a flow that many subscriptions read at the same time
    FanOut(fan_out::Args),
    /// Opens many connections and keeps them
    Connections(connections::Args),
    /// Compares calling plugins with what the WebAssembly engine alone takes for it
    Plugin(plugin::Args),
}

/// Runs one benchmark.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Publish(args) => publish::run(args).await,
        What::Consume(args) => consume::run(args).await,
        What::Latency(args) => latency::run(args).await,
        What::Large(args) => large::run(args).await,
        What::FanOut(args) => fan_out::run(args).await,
        What::Connections(args) => connections::run(args).await,
        What::Plugin(args) => plugin::run(args).await,
    }
}
