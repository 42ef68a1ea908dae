//! Plugins of a running broker: how they stand, and putting others in their place.
//!
//! Each command edits the hospital's files first and then does what `hilum reload` does. Where that is refused, or somebody says no, the
//! files are put back. Where the answer is lost, what the broker runs decides (see [`crate::reload`]).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_core::wire::admin::{CanaryStatus, PluginStatus, StageStatus};
use hilum_server::package;
use serde_json::{Value, json};

use super::edit::{Edits, Only, Trial, Version};
use crate::operate::Operate;
use crate::output::{Exit, Failure, print, print_json};
use crate::reload::{Found, Lost, Options, Outcome, Place, exit, not_taken, reload, unknown};

/// Shows how stages stand.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One line for each stage: its flow (and subscription), what it runs, how many records came to its chain since that was loaded, and what is \
tried there.

Examples:
  hilum plugin status --dir st-marys --as operator
  hilum plugin status --dir st-marys --as operator --json | jq 'select(.canary.rolled_back)'")]
pub(super) struct Status {
    #[command(flatten)]
    operate: Operate,
}

/// Puts another version of a plugin in its place.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The package is put beside the old one, hilum.toml names it and pins its digest, and the broker is asked to reload.

Example:
  hilum plugin upgrade st-marys deidentify --to deidentify-1.1.0 --as operator")]
pub(super) struct Upgrade {
    #[command(flatten)]
    place: Place,
    /// The plugin, as hilum.toml calls it
    name: String,
    /// The package of the new version, or its component where unsigned ones are allowed
    #[arg(long, value_name = "PACKAGE")]
    to: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// Tries another version of a plugin on a share of the records.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Records are chosen by their keys: those of one key stay together. Where the new version fails on a record, the old one gets it. When it makes \
too many errors the broker takes it back by itself; `hilum plugin status` shows it.

Example:
  hilum plugin canary st-marys deidentify --to deidentify-1.1.0 --share 10% --as operator")]
pub(super) struct Canary {
    #[command(flatten)]
    place: Place,
    /// The plugin, as hilum.toml calls it
    name: String,
    /// The package of the new version, or its component where unsigned ones are allowed
    #[arg(long, value_name = "PACKAGE")]
    to: PathBuf,
    /// How much of the records it gets
    #[arg(long, value_name = "PERCENT", value_parser = part)]
    share: f64,
    /// More errors than this end the trial
    #[arg(long, value_name = "PERCENT", value_parser = part, default_value = "1%")]
    max_error_rate: f64,
    /// The rate is that of at least so many records
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..=1_000_000), default_value = "200")]
    min_records: i64,
    /// In this flow only
    #[arg(long)]
    flow: Option<String>,
    /// At this stage only
    #[arg(long)]
    stage: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// Ends what is done with a plugin.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    #[command(flatten)]
    place: Place,
    /// The plugin, as hilum.toml calls it
    name: String,
    #[command(flatten)]
    options: Options,
}

/// `10%` or `0.1`.
fn part(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("write a share such as 10% or 0.1".to_owned()),
    }
}

/// Lists stages.
pub(super) async fn status(args: &Status) -> anyhow::Result<ExitCode> {
    let (client, mut admin) = args.operate.open().await?;
    for stage in admin.stages().await? {
        if args.operate.json {
            print_json(&as_json(&stage))?;
        } else {
            print(line(&stage))?;
        }
    }
    client.close().await;
    Ok(Exit::Ok.into())
}

/// Puts another version in its place.
pub(super) async fn upgrade(args: &Upgrade) -> anyhow::Result<ExitCode> {
    let version = read(&args.to)?;
    let edit = |edits: &mut Edits| edits.upgrade(&args.name, version);
    apply(&args.place, &args.options, edit).await
}

/// Begins a trial.
pub(super) async fn canary(args: &Canary) -> anyhow::Result<ExitCode> {
    let version = read(&args.to)?;
    let Canary { share, max_error_rate: error_rate_max, min_records: records_min, .. } = *args;
    let trial = Trial { share, error_rate_max, records_min };
    let only = Only { flow: args.flow.clone(), stage: args.stage.clone() };
    let edit = |edits: &mut Edits| edits.canary(&args.name, version, &trial, &only);
    apply(&args.place, &args.options, edit).await
}

/// Ends a trial: what was tried stays.
pub(super) async fn promote(args: &Named) -> anyhow::Result<ExitCode> {
    let (client, mut admin) = args.place.open("").await?;
    let stages = admin.stages().await?;
    client.close().await;
    let is_rolled_back = |stage: &StageStatus| {
        stage.current.name.0 == args.name
            && stage.canary.as_ref().is_some_and(|canary| canary.rolled_back.is_some())
    };
    if let Some(stage) = stages.iter().find(|stage| is_rolled_back(stage)) {
        let what = format!("what was tried at {} made too many errors and was rolled back", stage.place);
        let help = format!("take it out with `hilum plugin rollback DIR {}`", args.name);
        return Err(Failure { exit: Exit::Refused, what, help }.into());
    }
    apply(&args.place, &args.options, |edits| edits.promote(&args.name)).await
}

/// Ends a trial: what was tried goes.
pub(super) async fn roll_back(args: &Named) -> anyhow::Result<ExitCode> {
    apply(&args.place, &args.options, |edits| edits.roll_back(&args.name)).await
}

/// Takes a plugin out.
pub(super) async fn retire(args: &Named) -> anyhow::Result<ExitCode> {
    apply(&args.place, &args.options, |edits| edits.retire(&args.name)).await
}

fn read(version: &Path) -> anyhow::Result<Version> {
    let unread = || format!("cannot read {}", version.display());
    if version.is_dir() {
        let package = package::read(version).with_context(unread)?;
        return Ok(Version::Package(Box::new(package)));
    }
    Ok(Version::Component(std::fs::read(version).with_context(unread)?))
}

/// Edits, and reloads; puts the files back where that comes to nothing.
async fn apply(
    place: &Place,
    options: &Options,
    edit: impl FnOnce(&mut Edits) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut edits = Edits::open(&place.directory)?;
    edit(&mut edits)?;
    edits.write()?;
    let outcome = reload(place, options).await;
    match &outcome {
        Ok(Outcome::Applied(_) | Outcome::Same) => edits.tidy()?,
        Ok(Outcome::Lost(lost)) => return settle(place, &mut edits, lost).await,
        _ => edits.restore(),
    }
    Ok(exit(&outcome?))
}

/// The answer to the order was lost. The files are to be what the broker runs; where that is not known, what it was told to take.
async fn settle(place: &Place, edits: &mut Edits, lost: &Lost) -> anyhow::Result<ExitCode> {
    if let Found::Unknown(why) = &lost.found {
        return Err(unknown(&lost.error, why, place));
    }
    edits.restore();
    // An order that is still on its way is refused from here on; one that was quicker than this shows when the broker is asked again.
    match lost.order.found(place).await {
        Found::Before => Err(not_taken(&lost.error, ", and the files are as they were")),
        Found::Unknown(why) => {
            let files = format!(
                ", and the files are as they were. It could not be asked once more: {why:#}; `hilum reload --dry-run` says whether they \
                 are what it runs"
            );
            Err(not_taken(&lost.error, &files))
        }
        Found::Wanted => {
            edits
                .write()
                .context("the broker took the changes after all, and the files could not be written again")?;
            print("the changes took effect")?;
            edits.tidy()?;
            Ok(Exit::Ok.into())
        }
    }
}

fn line(stage: &StageStatus) -> String {
    let StageStatus { place, current, canary } = stage;
    let canary = canary.as_ref().map_or_else(String::new, tried);
    format!("{place}: {}{canary}", plugin(current))
}

fn plugin(status: &PluginStatus) -> String {
    let PluginStatus { name, plugin, version, digest, records, refused, failed, .. } = status;
    let digits = &digest.to_string()[..12];
    format!(
        "{} ({} {}, {digits}), {records} records, {refused} refused, {failed} failed",
        name.0, plugin.0, version.0
    )
}

fn tried(canary: &CanaryStatus) -> String {
    let what = plugin(&canary.candidate);
    match &canary.rolled_back {
        Some(reason) => format!("\n  rolled back: {what}\n  because {}", reason.0),
        None => format!("\n  trying on {}: {what}", canary.share),
    }
}

fn as_json(stage: &StageStatus) -> Value {
    let plugin = |status: &PluginStatus| {
        json!({
            "name": status.name.0,
            "plugin": status.plugin.0,
            "version": status.version.0,
            "world": status.world,
            "sha256": status.digest.to_string(),
            "records": status.records,
            "refused": status.refused,
            "failed": status.failed,
        })
    };
    let part = |millionths: hilum_core::canary::Millionths| f64::from(millionths.0) / 1e6;
    let canary = stage.canary.as_ref().map(|canary| {
        json!({
            "candidate": plugin(&canary.candidate),
            "share": part(canary.share),
            "max_error_rate": part(canary.error_rate_max),
            "min_records": canary.records_min,
            "rolled_back": canary.rolled_back.as_ref().map(|reason| &reason.0),
        })
    });
    json!({
        "flow": stage.place.flow,
        "subscription": stage.place.subscription,
        "stage": stage.place.stage,
        "current": plugin(&stage.current),
        "canary": canary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_or_parts() {
        assert_eq!((part("10%"), part("0.25"), part("100%")), (Ok(0.1), Ok(0.25), Ok(1.0)));
        for wrong in ["", "%", "150%", "-1", "ten", "NaN"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
