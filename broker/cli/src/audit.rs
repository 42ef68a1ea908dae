//! `hilum audit`: who did what, and what was refused to whom.

use std::process::ExitCode;
use std::time::Duration;

use hilum_client::{FlowName, Offset};
use hilum_core::audit::Action;
use hilum_core::wire::admin::{AuditEvent, ReadAudit, Short};
use hilum_core::{PrincipalId, Timestamp};
use hilum_server::config::units;
use serde_json::{Value, json};

use crate::operate::{Operate, ago, shown};
use crate::output::{Exit, print, print_json};

/// How often to look for new events.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// What `hilum audit` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows events of the flows that can be reached from the operator's zone, and those of no flow. None holds a key, an \
attribute value or a body.

Examples:
  hilum audit --dir st-marys --as operator --since 1d --action denied
  hilum audit --dir st-marys --as operator --flow imaging --principal spiffe://st-marys/device/mri-1 --json
  hilum audit --dir st-marys --as operator --since 1m --follow")]
pub struct Args {
    /// Not before: a time such as 2026-11-23T22:00:00+01:00, or how long ago, such as 1d
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment)]
    since: Option<Timestamp>,
    /// Before: a time, or how long ago
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment)]
    until: Option<Timestamp>,
    /// Of this flow
    #[arg(long)]
    flow: Option<FlowName>,
    /// Caused by this principal
    #[arg(long, value_name = "SPIFFE_ID")]
    principal: Option<PrincipalId>,
    /// Of this kind, e.g. denied, quarantined, released
    #[arg(long)]
    action: Option<Action>,
    /// Go on with what happens from now on, until SIGINT
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    operate: Operate,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let at = units::time(text).map_err(|_| ());
    at.or_else(|()| units::duration(text).map(ago)).map_err(|_| {
        "write a time, such as 2026-11-23T22:00:00+01:00, or how long ago, such as 1d".to_owned()
    })
}

/// Prints events until there are no more, or for ever.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (client, mut admin) = args.operate.open().await?;
    let mut wanted = ReadAudit {
        from: Offset(0),
        since: args.since,
        until: args.until,
        flow: args.flow.clone(),
        principal: args.principal.clone(),
        action: args.action.map(|action| Short::new(action.as_str())),
    };
    loop {
        let page = admin.audit(wanted.clone()).await?;
        wanted.from = page.next;
        for event in &page.events {
            if args.operate.json {
                print_json(&as_json(event))?;
            } else {
                print(line(event))?;
            }
        }
        if !page.at_end {
            continue;
        }
        if !args.follow {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    client.close().await;
    Ok(Exit::Ok.into())
}

fn line(event: &AuditEvent) -> String {
    let who = event.principal.as_ref().map_or("the broker", PrincipalId::as_str);
    let mut place = event.flow.as_ref().map_or_else(String::new, |flow| format!(" {flow}"));
    if let Some(subscription) = &event.subscription {
        place = format!("{place}/{subscription}");
    }
    if let Some(offset) = event.offset {
        place = format!("{place}@{offset}");
    }
    format!("{} {}  {}{place}  {who}: {}", event.number, shown(event.time), event.action.0, event.reason)
}

fn as_json(event: &AuditEvent) -> Value {
    json!({
        "number": event.number,
        "time": event.time,
        "action": event.action.0,
        "principal": event.principal,
        "flow": event.flow,
        "subscription": event.subscription,
        "offset": event.offset,
        "reason": event.reason,
    })
}
