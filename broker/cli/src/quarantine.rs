//! `hilum quarantine`: what chains stopped; to be looked at, released or destroyed.

use std::process::ExitCode;
use std::time::Duration;

use hilum_client::admin::{Admin, AdminError};
use hilum_client::{FlowName, Offset, StreamError};
use hilum_core::wire::admin::{Disclosed, ListQuarantine, QuarantineEntry, Released, Short, Shown};
use hilum_server::config::units;
use serde_json::{Value, json};

use crate::operate::{Operate, ago, shown, size};
use crate::output::{Exit, explain, print, print_json};

/// What `hilum quarantine` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what is in quarantine, without what may identify a patient
    #[command(after_help = "\
Examples:
  hilum quarantine list --dir st-marys --as operator
  hilum quarantine list --dir st-marys --as operator imaging --code denied --newer-than 1d --json")]
    List {
        /// Of this flow; of all where there is none
        flow: Option<FlowName>,
        /// Stopped for this code
        #[arg(long, value_name = "CODE")]
        code: Option<String>,
        /// There for no longer than this, e.g. 12h
        #[arg(long, value_name = "DURATION", value_parser = units::duration)]
        newer_than: Option<Duration>,
        /// There for longer than this, e.g. 30d
        #[arg(long, value_name = "DURATION", value_parser = units::duration)]
        older_than: Option<Duration>,
        #[command(flatten)]
        operate: Operate,
    },
    /// Show one record and why it is there
    #[command(after_help = "\
Key, attributes and body may identify a patient: to see them needs the right `bodies`, and the audit has it.

Examples:
  hilum quarantine show --dir st-marys --as operator imaging 7
  hilum quarantine show --dir st-marys --as operator imaging 7 --body > scan.dcm")]
    Show {
        /// The flow
        flow: FlowName,
        /// The record's number, as listed
        #[arg(value_name = "ID", value_parser = number)]
        id: Offset,
        /// With key, attributes and content type
        #[arg(long)]
        disclose: bool,
        /// Write the body to standard output, and nothing else
        #[arg(long, conflicts_with_all = ["disclose", "json"])]
        body: bool,
        #[command(flatten)]
        operate: Operate,
    },
    /// Send records through their flow's chain again
    #[command(after_help = "\
A record is removed from quarantine when the flow has stored it. One that the chain stops again stays where it is. Policy is asked \
again, as it is now; sender and time stay as they were.

Example:
  hilum quarantine release --dir st-marys --as operator imaging 7 8 --note 'rule corrected, ticket 4711'")]
    Release {
        /// The flow
        flow: FlowName,
        /// The records' numbers, as listed
        #[arg(required = true, value_name = "ID", value_parser = number)]
        ids: Vec<Offset>,
        #[command(flatten)]
        operate: Operate,
    },
    /// Destroy records with their bodies, for good
    #[command(after_help = "\
Example:
  hilum quarantine destroy --dir st-marys --as operator imaging 7 --note 'test image, ticket 4711'")]
    Destroy {
        /// The flow
        flow: FlowName,
        /// The records' numbers, as listed
        #[arg(required = true, value_name = "ID", value_parser = number)]
        ids: Vec<Offset>,
        #[command(flatten)]
        operate: Operate,
    },
}

/// A record's number.
fn number(text: &str) -> Result<Offset, String> {
    text.parse().map(Offset).map_err(|_| "write the number that `hilum quarantine list` shows".to_owned())
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { flow, code, newer_than, older_than, operate } => {
            let (client, mut admin) = operate.open().await?;
            let flows = match flow {
                Some(flow) => vec![flow],
                None => admin.flows().await?.into_iter().map(|status| status.flow).collect(),
            };
            let filter = |flow| ListQuarantine {
                flow,
                from: Offset(0),
                since: newer_than.map(ago),
                until: older_than.map(ago),
                code: code.as_deref().map(Short::new),
            };
            for flow in flows {
                list(&mut admin, filter(flow), operate.json).await?;
            }
            client.close().await;
        }
        Command::Show { flow, id, disclose, body, operate } => {
            let (client, mut admin) = operate.open().await?;
            if body {
                admin.write_body(&flow, id, &mut tokio::io::stdout()).await?;
            } else {
                let (shown, disclosed) = if disclose {
                    let (shown, disclosed) = admin.disclose(&flow, id).await?;
                    (shown, Some(disclosed))
                } else {
                    (admin.show(&flow, id).await?, None)
                };
                show(&flow, &shown, disclosed.as_ref(), operate.json)?;
            }
            client.close().await;
        }
        Command::Release { flow, ids, operate } => {
            let (client, mut admin) = operate.open().await?;
            let mut exit = Exit::Ok;
            for id in ids {
                let released = admin.release(&flow, id).await;
                exit = said(exit, &flow, id, operate.json, released.map(outcome))?;
            }
            client.close().await;
            return Ok(exit.into());
        }
        Command::Destroy { flow, ids, operate } => {
            let (client, mut admin) = operate.open().await?;
            let mut exit = Exit::Ok;
            for id in ids {
                let destroyed = admin.destroy(&flow, id).await;
                exit = said(exit, &flow, id, operate.json, destroyed.map(|()| ("destroyed", None)))?;
            }
            client.close().await;
            return Ok(exit.into());
        }
    }
    Ok(Exit::Ok.into())
}

async fn list(admin: &mut Admin, mut wanted: ListQuarantine, json: bool) -> anyhow::Result<()> {
    loop {
        let page = admin.quarantine(wanted.clone()).await?;
        for entry in &page.entries {
            if json {
                print_json(&entry_json(&wanted.flow, entry))?;
            } else {
                print(line(&wanted.flow, entry))?;
            }
        }
        let Some(next) = page.next else { return Ok(()) };
        wanted.from = next;
    }
}

fn line(flow: &FlowName, entry: &QuarantineEntry) -> String {
    let stage = entry.stage.as_ref().map_or("the broker", |stage| stage.as_str());
    let at = entry.delivery.as_ref().map_or_else(String::new, |(subscription, offset)| {
        format!(", for subscription {subscription}, offset {offset}")
    });
    format!(
        "{flow} {}  {}  {stage}: {}: {}  ({}, from {}{at})",
        entry.id,
        shown(entry.time),
        entry.code.0,
        entry.reason.0,
        size(entry.octets),
        entry.source
    )
}

fn entry_json(flow: &FlowName, entry: &QuarantineEntry) -> Value {
    json!({
        "flow": flow,
        "id": entry.id,
        "time": entry.time,
        "subscription": entry.delivery.as_ref().map(|(subscription, _)| subscription),
        "offset": entry.delivery.as_ref().map(|(_, offset)| offset),
        "stage": entry.stage,
        "code": entry.code.0,
        "reason": entry.reason.0,
        "octets": entry.octets,
        "source": entry.source,
    })
}

fn show(flow: &FlowName, shown_: &Shown, disclosed: Option<&Disclosed>, json: bool) -> std::io::Result<()> {
    let Shown { entry, made, stakeholder, labels, is_large, .. } = shown_;
    if json {
        let mut all = entry_json(flow, entry);
        let more = json!({"made": made, "stakeholder": stakeholder, "labels": labels, "large": is_large});
        let head = disclosed.map(|disclosed| {
            let Disclosed { head, digest } = disclosed;
            let attributes: serde_json::Map<_, _> =
                head.attributes.iter().map(|a| (a.name.clone(), a.value.clone().into())).collect();
            json!({
                "key": head.key,
                "content_type": head.content_type,
                "attributes": attributes,
                "digest": digest.to_string(),
            })
        });
        for object in std::iter::once(more).chain(head) {
            let fields = object.as_object().cloned().unwrap_or_default();
            all.as_object_mut().expect("it is an object").extend(fields);
        }
        return print_json(&all);
    }
    print(line(flow, entry))?;
    let labels: Vec<_> = labels.iter().map(|label| label.as_str()).collect();
    print(format_args!("  made          {}", shown(*made)))?;
    print(format_args!("  stakeholder   {stakeholder}"))?;
    print(format_args!("  labels        {}", labels.join(", ")))?;
    let Some(Disclosed { head, digest }) = disclosed else {
        return print("  key, attributes and body are hidden: `--disclose` and `--body` show them");
    };
    print(format_args!("  key           {}", head.key.as_deref().unwrap_or("-")))?;
    print(format_args!("  content type  {}", head.content_type))?;
    for attribute in &head.attributes {
        print(format_args!("  attribute     {}={}", attribute.name, attribute.value))?;
    }
    print(format_args!("  body          {digest}"))
}

fn outcome(released: Released) -> (&'static str, Option<Offset>) {
    match released {
        Released::Stored(offset) => ("stored", Some(offset)),
        Released::Already => ("stored-before", None),
        Released::Redelivered => ("redelivered", None),
    }
}

/// Says what became of one record. What the broker refuses for one does not keep the others from being tried.
fn said(
    so_far: Exit,
    flow: &FlowName,
    id: Offset,
    json: bool,
    outcome: Result<(&str, Option<Offset>), AdminError>,
) -> anyhow::Result<Exit> {
    match outcome {
        Ok((what, offset)) if json => {
            print_json(&json!({"flow": flow, "id": id, "outcome": what, "offset": offset}))?;
            Ok(so_far)
        }
        Ok((what, offset)) => {
            let at = offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
            print(format_args!("{flow} {id}: {what}{at}"))?;
            Ok(so_far)
        }
        Err(AdminError { purpose, source: StreamError::Refused(refusal) }) => {
            if json {
                let code = u16::from(refusal.code);
                let object = json!({"flow": flow, "id": id, "outcome": "refused", "code": code, "reason": refusal.reason});
                print_json(&object)?;
            }
            let error = anyhow::Error::from(AdminError { purpose, source: StreamError::Refused(refusal) });
            eprintln!("{}", explain(&error.context(format!("{flow} {id}"))));
            Ok(Exit::Refused)
        }
        Err(error) => Err(error.into()),
    }
}
