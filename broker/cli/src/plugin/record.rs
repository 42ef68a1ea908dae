//! `hilum plugin record`: records of a live flow as files, for `hilum plugin test`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_client::SubscriptionName;
use serde_json::json;

use super::slice::Slice;
use crate::output::{Exit, print, print_json};

/// What `hilum plugin record` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The records come as the subscription delivers them, with the reader's rights, and become NAME.toml and NAME.body in a folder that \
`hilum plugin test --records` reads. The files hold all that the reader may see, patients' data included, and nothing encrypts \
them: record from a test system, or through a subscription that de-identifies, and keep them out of repositories.

Examples:
  hilum plugin record --dir st-marys --as research-1 imaging research --out dose-check/records --count 5
  hilum plugin record --dir st-marys --as operations-1 device operations --out records --from 2026-11-23T08:00:00Z")]
pub(super) struct Args {
    #[command(flatten)]
    slice: Slice,
    /// The subscription of it to read through, with the rights of its reader
    subscription: SubscriptionName,
    /// The folder for the records; none that is there is written over
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes the slice down.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    eprintln!(
        "warning: {} gets what the reader may see, as it is: it may identify patients",
        args.out.display()
    );
    let seen = args.slice.each(&args.subscription, |record| record.write(&args.out)).await?;
    if args.json {
        print_json(&json!({ "records": seen.records, "too_large": seen.too_large, "out": args.out }))?;
    } else {
        print(format_args!("{} records in {}", seen.records, args.out.display()))?;
    }
    Ok(Exit::Ok.into())
}
