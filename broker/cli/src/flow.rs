//! `hilum flow`: how flows stand.

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_client::FlowName;
use hilum_core::chain::FailsOn;
use hilum_core::wire::admin::{BreakerStatus, FlowStatus};
use serde_json::{Value, json};

use crate::operate::{Operate, shown, size};
use crate::output::{Exit, print, print_json};
use crate::subscription;

/// What `hilum flow` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List flows: what they hold, what is in quarantine, and which stages are left alone because their plugins fail
    #[command(after_help = "\
Example:
  hilum flow list --dir st-marys --as operator")]
    List {
        #[command(flatten)]
        operate: Operate,
    },
    /// Show one flow with its subscriptions, and the stages that are left alone
    #[command(after_help = "\
Example:
  hilum flow show --dir st-marys --as operator imaging --json | jq '.subscriptions[].lag'")]
    Show {
        /// The flow
        flow: FlowName,
        #[command(flatten)]
        operate: Operate,
    },
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { operate } => {
            let (client, mut admin) = operate.open().await?;
            let flows = admin.flows().await?;
            let breakers = admin.breakers().await?;
            for flow in flows {
                if operate.json {
                    print_json(&as_json(&flow, &breakers))?;
                } else {
                    print_lines(&flow, &breakers)?;
                }
            }
            client.close().await;
        }
        Command::Show { flow, operate } => {
            let (client, mut admin) = operate.open().await?;
            let subscriptions = admin.subscriptions(&flow).await?;
            let status = admin.flows().await?.into_iter().find(|status| status.flow == flow);
            let status = status.with_context(|| format!("the broker does not list flow `{flow}`"))?;
            let breakers = admin.breakers().await?;
            if operate.json {
                let mut object = as_json(&status, &breakers);
                object["subscriptions"] = subscriptions.iter().map(subscription::as_json).collect();
                print_json(&object)?;
            } else {
                print_lines(&status, &breakers)?;
                for status in &subscriptions {
                    print(format_args!("  {}", subscription::line(status)))?;
                }
            }
            client.close().await;
        }
    }
    Ok(Exit::Ok.into())
}

fn print_lines(flow: &FlowStatus, breakers: &[BreakerStatus]) -> io::Result<()> {
    print(line(flow))?;
    for breaker in of(flow, breakers) {
        print(format_args!("  {}", breaker_line(breaker)))?;
    }
    Ok(())
}

fn line(flow: &FlowStatus) -> String {
    let records = flow.end.0.saturating_sub(flow.start.0);
    let fault = flow.fault.as_ref().map_or_else(String::new, |fault| format!("  FAULT: {}", fault.0));
    format!(
        "{}: offsets {} to {} ({records}), {}; quarantine {} records, {} of {}{fault}",
        flow.flow,
        flow.start,
        flow.end,
        size(flow.octets),
        flow.quarantined,
        size(flow.quarantine_octets),
        size(flow.quarantine_octets_max)
    )
}

/// The breakers of a flow that are open, its subscriptions' too.
fn of<'a>(flow: &'a FlowStatus, breakers: &'a [BreakerStatus]) -> impl Iterator<Item = &'a BreakerStatus> {
    breakers.iter().filter(|breaker| breaker.place.flow == flow.flow)
}

fn breaker_line(breaker: &BreakerStatus) -> String {
    let BreakerStatus { place, plugin, version, is_trial, reader, on, since, until, faults } = breaker;
    let stage = match (&place.subscription, reader) {
        (Some(subscription), Some(reader)) => format!("`{}` of {subscription} for {reader}", place.stage),
        _ => format!("`{}`", place.stage),
    };
    let trial = if *is_trial { " (on trial)" } else { "" };
    format!(
        "stage {stage} is left alone since {}: plugin {} {}{trial} failed {faults} times on {on}; tried again at {}",
        shown(*since),
        plugin.0,
        version.0,
        shown(*until)
    )
}

fn breaker_json(breaker: &BreakerStatus) -> Value {
    let (on, source) = match &breaker.on {
        FailsOn::Everybody => ("everybody", None),
        FailsOn::Source(id) => ("source", Some(id)),
        FailsOn::Others => ("others", None),
        FailsOn::Clock => ("clock", None),
    };
    json!({
        "subscription": breaker.place.subscription,
        "reader": breaker.reader,
        "stage": breaker.place.stage,
        "plugin": breaker.plugin.0,
        "version": breaker.version.0,
        "is_trial": breaker.is_trial,
        "on": on,
        "source": source,
        "since": breaker.since,
        "until": breaker.until,
        "faults": breaker.faults,
    })
}

fn as_json(flow: &FlowStatus, breakers: &[BreakerStatus]) -> Value {
    json!({
        "flow": flow.flow,
        "start": flow.start,
        "end": flow.end,
        "octets": flow.octets,
        "quarantine": {
            "records": flow.quarantined,
            "octets": flow.quarantine_octets,
            "octets_max": flow.quarantine_octets_max,
        },
        "fault": flow.fault.as_ref().map(|fault| &fault.0),
        "breakers": of(flow, breakers).map(breaker_json).collect::<Vec<_>>(),
    })
}
