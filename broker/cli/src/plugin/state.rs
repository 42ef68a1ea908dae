//! `hilum plugin state`: what the observing plugins of a running broker keep.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hilum_client::FlowName;
use hilum_client::admin::Admin;
use hilum_core::StageName;
use hilum_core::wire::admin::StateStatus;
use serde_json::{Value, json};

use crate::operate::{Operate, size};
use crate::output::{Exit, print, print_json};

/// What `hilum plugin state` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List how much stages keep, and how far they have come
    #[command(after_help = "\
What a stage keeps belongs to the flow and the stage, whichever version of the plugin runs there. It never says more, nor less, than \
the records that are stored: \"through\" is where the flow ended when it last changed. Needs the right `inspect`.

Example:
  hilum plugin state list --dir st-marys --as operator
  hilum plugin state list --dir st-marys --as operator device --json | jq .keys")]
    List {
        /// Only this flow
        flow: Option<FlowName>,
        #[command(flatten)]
        operate: Operate,
    },
    /// Write out what a stage keeps, a line of JSON for each value
    #[command(after_help = "\
Each line has the key, the version and the value in Base64 (RFC 4648). Keys and values may be made of what the plugin read, so this \
needs the right `bodies`, and is in the audit.

Example:
  hilum plugin state export --dir st-marys --as privacy-officer device forecast --out forecast.jsonl")]
    Export {
        /// The flow
        flow: FlowName,
        /// The stage
        stage: StageName,
        /// Where to, instead of standard output; must not be there yet
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        operate: Operate,
    },
}

/// Does what was asked.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { flow, operate } => {
            let (client, mut admin) = operate.open().await?;
            let flows = match flow {
                Some(flow) => vec![flow],
                None => admin.flows().await?.into_iter().map(|status| status.flow).collect(),
            };
            for flow in flows {
                for status in admin.states(&flow).await? {
                    if operate.json {
                        print_json(&as_json(&flow, &status))?;
                    } else {
                        print(line(&flow, &status))?;
                    }
                }
            }
            client.close().await;
        }
        Command::Export { flow, stage, out, operate } => {
            let (client, mut admin) = operate.open().await?;
            // What there is first, so that a refusal leaves no file behind.
            let first = values(&mut admin, &flow, &stage, None).await?;
            match &out {
                Some(path) => {
                    let failed = || format!("{} cannot be written", path.display());
                    let mut file = create(path).with_context(failed)?;
                    write_all(&mut admin, &flow, &stage, first, &mut file).await?;
                    file.sync_all().with_context(failed)?;
                }
                None => write_all(&mut admin, &flow, &stage, first, &mut io::stdout()).await?,
            }
            client.close().await;
        }
    }
    Ok(Exit::Ok.into())
}

/// A file that only its owner reads.
fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// A page of values: the key of the last one, and a line for each.
type Page = Option<(String, String)>;

async fn values(
    admin: &mut Admin,
    flow: &FlowName,
    stage: &StageName,
    after: Option<&str>,
) -> anyhow::Result<Page> {
    let values = admin.values(flow, stage, after).await?;
    let Some(last) = values.last().map(|value| value.key.clone()) else { return Ok(None) };
    let mut lines = String::new();
    for value in values {
        let octets = STANDARD.encode(&value.octets);
        let line = json!({ "key": value.key, "version": value.version, "value": octets });
        lines.push_str(&serde_json::to_string(&line)?);
        lines.push('\n');
    }
    Ok(Some((last, lines)))
}

async fn write_all(
    admin: &mut Admin,
    flow: &FlowName,
    stage: &StageName,
    mut page: Page,
    out: &mut (impl io::Write + Send),
) -> anyhow::Result<()> {
    while let Some((last, lines)) = page {
        out.write_all(lines.as_bytes())?;
        page = values(admin, flow, stage, Some(&last)).await?;
    }
    Ok(out.flush()?)
}

fn line(flow: &FlowName, status: &StateStatus) -> String {
    let StateStatus { stage, keys, octets, through, emitted, pending } = status;
    let octets = size(*octets);
    format!(
        "{flow} {stage}: {keys} keys, {octets}, through offset {through}; {emitted} records emitted, {pending} of them under way"
    )
}

fn as_json(flow: &FlowName, status: &StateStatus) -> Value {
    json!({
        "flow": flow,
        "stage": status.stage,
        "keys": status.keys,
        "octets": status.octets,
        "through": status.through,
        "emitted": status.emitted,
        "pending": status.pending,
    })
}
