//! `hilum hold`: legal holds. What is held is not deleted, whatever retention says.

use std::process::ExitCode;

use hilum_client::FlowName;
use hilum_core::control::HoldId;
use hilum_core::wire::admin::HoldStatus;
use serde_json::{Value, json};

use crate::operate::{Operate, shown};
use crate::output::{Exit, print, print_json};

/// What `hilum hold` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Keep a flow, or its records of one key, from being deleted; the note says why
    #[command(after_help = "\
Example:
  hilum hold add --dir st-marys --as operator imaging --record-key 4711 --note 'case 12/2026'")]
    Add {
        /// The flow
        flow: FlowName,
        /// Only records of this key
        #[arg(long, value_name = "KEY")]
        record_key: Option<String>,
        #[command(flatten)]
        operate: Operate,
    },
    /// List holds
    #[command(after_help = "\
Example:
  hilum hold list --dir st-marys --as operator --json")]
    List {
        #[command(flatten)]
        operate: Operate,
    },
    /// Lift a hold
    #[command(after_help = "\
Example:
  hilum hold remove --dir st-marys --as operator imaging 3 --note 'case closed'")]
    Remove {
        /// The flow
        flow: FlowName,
        /// The hold's number, as listed
        #[arg(value_name = "ID")]
        id: u64,
        #[command(flatten)]
        operate: Operate,
    },
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Add { flow, record_key, operate } => {
            let (client, mut admin) = operate.open().await?;
            let id = admin.add_hold(&flow, record_key.as_deref()).await?;
            if operate.json {
                print_json(&json!({"flow": flow, "id": id}))?;
            } else {
                print(format_args!("hold {id} on {flow}"))?;
            }
            client.close().await;
        }
        Command::List { operate } => {
            let (client, mut admin) = operate.open().await?;
            for hold in admin.holds().await? {
                if operate.json {
                    print_json(&as_json(&hold))?;
                } else {
                    print(line(&hold))?;
                }
            }
            client.close().await;
        }
        Command::Remove { flow, id, operate } => {
            let (client, mut admin) = operate.open().await?;
            admin.remove_hold(&flow, HoldId(id)).await?;
            if operate.json {
                print_json(&json!({"flow": flow, "id": id, "outcome": "removed"}))?;
            } else {
                print(format_args!("hold {id} on {flow} is lifted"))?;
            }
            client.close().await;
        }
    }
    Ok(Exit::Ok.into())
}

fn line(hold: &HoldStatus) -> String {
    let key = match (&hold.key, hold.has_key) {
        (Some(key), _) => format!(", key {key}"),
        (None, true) => ", one key (hidden)".to_owned(),
        (None, false) => String::new(),
    };
    format!("{}  {}{key}: {}  ({}, by {})", hold.id, hold.flow, hold.reason.0, shown(hold.time), hold.by)
}

fn as_json(hold: &HoldStatus) -> Value {
    json!({
        "id": hold.id,
        "flow": hold.flow,
        "has_key": hold.has_key,
        "key": hold.key,
        "reason": hold.reason.0,
        "by": hold.by,
        "time": hold.time,
    })
}
