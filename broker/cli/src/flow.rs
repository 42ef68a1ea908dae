//! `hilum flow`: how flows stand.

use std::process::ExitCode;

use anyhow::Context as _;
use hilum_client::FlowName;
use hilum_core::wire::admin::FlowStatus;
use serde_json::{Value, json};

use crate::operate::{Operate, size};
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
    /// List flows: what they hold, and what is in quarantine
    #[command(after_help = "\
Example:
  hilum flow list --dir st-marys --as operator")]
    List {
        #[command(flatten)]
        operate: Operate,
    },
    /// Show one flow with its subscriptions
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
            for flow in admin.flows().await? {
                if operate.json {
                    print_json(&as_json(&flow))?;
                } else {
                    print(line(&flow))?;
                }
            }
            client.close().await;
        }
        Command::Show { flow, operate } => {
            let (client, mut admin) = operate.open().await?;
            let subscriptions = admin.subscriptions(&flow).await?;
            let status = admin.flows().await?.into_iter().find(|status| status.flow == flow);
            let status = status.with_context(|| format!("the broker does not list flow `{flow}`"))?;
            if operate.json {
                let mut object = as_json(&status);
                object["subscriptions"] = subscriptions.iter().map(subscription::as_json).collect();
                print_json(&object)?;
            } else {
                print(line(&status))?;
                for status in &subscriptions {
                    print(format_args!("  {}", subscription::line(status)))?;
                }
            }
            client.close().await;
        }
    }
    Ok(Exit::Ok.into())
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

fn as_json(flow: &FlowStatus) -> Value {
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
    })
}
