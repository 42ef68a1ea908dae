//! `hilum subscription`: how subscriptions stand; pause, resume and move them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use hilum_client::{FlowName, Offset, SubscriptionName};
use hilum_core::wire::admin::{SeekTo, SubscriptionStatus};
use hilum_server::config::units;
use serde_json::{Value, json};

use crate::operate::Operate;
use crate::output::{Exit, print, print_json};

/// What `hilum subscription` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show how a flow's subscriptions stand
    #[command(after_help = "\
Example:
  hilum subscription status --dir st-marys --as operator imaging radiology")]
    Status {
        /// The flow
        flow: FlowName,
        /// Only this one
        subscription: Option<SubscriptionName>,
        #[command(flatten)]
        operate: Operate,
    },
    /// Deliver no more until it is resumed, also after a restart; the note says why
    #[command(after_help = "\
Example:
  hilum subscription pause --dir st-marys --as operator imaging research --note 'archive is being moved'")]
    Pause {
        /// The flow
        flow: FlowName,
        /// The subscription
        subscription: SubscriptionName,
        #[command(flatten)]
        operate: Operate,
    },
    /// Deliver again
    #[command(after_help = "\
Example:
  hilum subscription resume --dir st-marys --as operator imaging research")]
    Resume {
        /// The flow
        flow: FlowName,
        /// The subscription
        subscription: SubscriptionName,
        #[command(flatten)]
        operate: Operate,
    },
    /// Go on from another place: replay, or skip
    #[command(after_help = "\
What is before the place counts as settled; what comes from it on is delivered, again or for the first time.

Examples:
  hilum subscription seek --dir st-marys --as operator imaging research start
  hilum subscription seek --dir st-marys --as operator imaging research 4711
  hilum subscription seek --dir st-marys --as operator imaging research 2026-11-23T22:00:00+01:00")]
    Seek {
        /// The flow
        flow: FlowName,
        /// The subscription
        subscription: SubscriptionName,
        /// `start`, `end`, an offset, or a time when the broker took the record
        #[arg(value_name = "PLACE", value_parser = place)]
        to: SeekTo,
        #[command(flatten)]
        operate: Operate,
    },
}

fn place(text: &str) -> Result<SeekTo, String> {
    match text {
        "start" => return Ok(SeekTo::Start),
        "end" => return Ok(SeekTo::End),
        _ => {}
    }
    if let Ok(offset) = text.parse() {
        return Ok(SeekTo::Offset(Offset(offset)));
    }
    units::time(text).map(SeekTo::Time).map_err(|_| {
        "write `start`, `end`, an offset, or a time such as 2026-11-23T22:00:00+01:00".to_owned()
    })
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Status { flow, subscription, operate } => {
            let (client, mut admin) = operate.open().await?;
            let mut all = admin.subscriptions(&flow).await?;
            if let Some(wanted) = &subscription {
                all.retain(|status| status.subscription == *wanted);
                all.first().with_context(|| format!("flow `{flow}` has no subscription `{wanted}`"))?;
            }
            for status in &all {
                if operate.json {
                    print_json(&as_json(status))?;
                } else {
                    print(line(status))?;
                }
            }
            client.close().await;
        }
        Command::Pause { flow, subscription, operate } => {
            let (client, mut admin) = operate.open().await?;
            admin.pause(&flow, &subscription).await?;
            said(&flow, &subscription, "paused", None, operate.json)?;
            client.close().await;
        }
        Command::Resume { flow, subscription, operate } => {
            let (client, mut admin) = operate.open().await?;
            admin.resume(&flow, &subscription).await?;
            said(&flow, &subscription, "resumed", None, operate.json)?;
            client.close().await;
        }
        Command::Seek { flow, subscription, to, operate } => {
            let (client, mut admin) = operate.open().await?;
            let offset = admin.seek(&flow, &subscription, to).await?;
            said(&flow, &subscription, "moved", Some(offset), operate.json)?;
            client.close().await;
        }
    }
    Ok(Exit::Ok.into())
}

fn said(
    flow: &FlowName,
    subscription: &SubscriptionName,
    outcome: &str,
    offset: Option<Offset>,
    json: bool,
) -> std::io::Result<()> {
    if json {
        return print_json(&json!({
            "flow": flow,
            "subscription": subscription,
            "outcome": outcome,
            "offset": offset,
        }));
    }
    let at = offset.map_or_else(String::new, |offset| format!(", goes on at offset {offset}"));
    print(format_args!("{flow}/{subscription}: {outcome}{at}"))
}

/// A line for people.
pub(crate) fn line(status: &SubscriptionStatus) -> String {
    let paused = if status.paused { ", paused" } else { "" };
    let oldest = status.oldest_milliseconds.map_or_else(String::new, |oldest| {
        format!(", the oldest for {} s", Duration::from_millis(oldest).as_secs())
    });
    format!(
        "{}: at offset {}, {} not settled{oldest}, {} under way, {} put off, {} readers{paused}",
        status.subscription, status.cursor, status.lag, status.in_flight, status.put_off, status.readers
    )
}

/// An object for scripts.
pub(crate) fn as_json(status: &SubscriptionStatus) -> Value {
    json!({
        "subscription": status.subscription,
        "cursor": status.cursor,
        "lag": status.lag,
        "oldest_milliseconds": status.oldest_milliseconds,
        "in_flight": status.in_flight,
        "put_off": status.put_off,
        "readers": status.readers,
        "paused": status.paused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_words_numbers_or_times() {
        assert_eq!(place("start"), Ok(SeekTo::Start));
        assert_eq!(place("end"), Ok(SeekTo::End));
        assert_eq!(place("12"), Ok(SeekTo::Offset(Offset(12))));
        assert!(matches!(place("2026-11-23T22:00:00+01:00"), Ok(SeekTo::Time(_))));
        assert!(place("yesterday").unwrap_err().contains("`start`"));
    }
}
