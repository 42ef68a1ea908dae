//! `hilum log`: the logs of a hospital directory whose broker is stopped.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use hilum_client::FlowName;
use hilum_core::audit::{Action, Event};
use hilum_core::{LogName, Timestamp};
use hilum_server::config::{self, Directory};
use hilum_store::embedded::{self, LogReport, Progress, Repaired};
use hilum_store::{Corruption, Durability, MasterKey};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::output::{Exit, Failure, print, print_json};

/// What `hilum log` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read logs through, and say what is damaged
    #[command(after_help = "\
The broker must be stopped. Reads every entry of every log, its checksums and its seal, and changes nothing. A line for each \
log, with its damage below it. Exit code 1 if anything is damaged.

Examples:
  hilum log verify st-marys
  hilum log verify st-marys --flow scans --json | jq '.[].damage'")]
    Verify {
        /// The hospital directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Only this flow's log, its quarantine and its plugins' state
        #[arg(long)]
        flow: Option<FlowName>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give up what is damaged in a flow's logs, so that the flow goes on
    #[command(after_help = "\
The broker must be stopped. Without --accept-loss it only shows what would be lost. What is lost keeps its offsets, as a gap; \
the damaged files are kept beside, with `.damaged` behind their names; the audit log gets an event for each loss.

If there is a backup, restore it instead.

Examples:
  hilum log repair st-marys --flow scans
  hilum log repair st-marys --flow scans --accept-loss
  hilum log repair st-marys --log audit --accept-loss")]
    Repair {
        /// The hospital directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The flow, whose log, quarantine and plugins' state are repaired
        #[arg(long, required_unless_present = "log", conflicts_with = "log")]
        flow: Option<FlowName>,
        /// One log, by the name that `hilum log verify` shows, e.g. `audit`
        #[arg(long, value_parser = log_name)]
        log: Option<LogName>,
        /// Give up what is damaged
        #[arg(long)]
        accept_loss: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

fn log_name(text: &str) -> Result<LogName, String> {
    embedded::log_name(text)
        .ok_or_else(|| "a log is `audit`, `control`, `flow.NAME`, `quarantine.NAME` or `state.NAME`".into())
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let done = tokio::task::spawn_blocking(move || match args.command {
        Command::Verify { directory, flow, json } => verify(&directory, flow, json),
        Command::Repair { directory, flow, log, accept_loss, json } => {
            let logs = flow.map_or_else(|| log.into_iter().collect(), logs_of);
            repair(&directory, &logs, accept_loss, json)
        }
    });
    done.await.context("the command ended abnormally")?
}

fn logs_of(flow: FlowName) -> Vec<LogName> {
    vec![LogName::Flow(flow.clone()), LogName::Quarantine(flow.clone()), LogName::State(flow)]
}

/// Where a hospital's store is, and its key.
fn store(directory: &Path) -> anyhow::Result<(PathBuf, MasterKey)> {
    let directory = Directory::new(directory);
    let (data, key_file) = (directory.data(), directory.key_encryption_key());
    embedded::settle(&data, &key_file)?;
    Ok((data, MasterKey::from_file(&key_file)?))
}

fn read_through(data: &Path, key: &MasterKey, only: Option<&LogName>) -> anyhow::Result<Vec<LogReport>> {
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}")?);
    let mut show = |progress: Progress<'_>| {
        bar.set_length(progress.octets);
        bar.set_position(progress.octets_done);
        bar.set_message(progress.log.to_string());
    };
    let reports = embedded::verify(data, key, only, &mut show);
    bar.finish_and_clear();
    Ok(reports?)
}

fn verify(directory: &Path, flow: Option<FlowName>, json: bool) -> anyhow::Result<ExitCode> {
    let (data, key) = store(directory)?;
    let reports = match flow {
        None => read_through(&data, &key, None)?,
        Some(flow) => {
            let mut reports = Vec::new();
            for log in logs_of(flow.clone()) {
                reports.extend(read_through(&data, &key, Some(&log))?);
            }
            if reports.is_empty() {
                let what = format!("there is no log of flow `{flow}` in {}", data.display());
                return Err(Failure::new(what, "`hilum log verify DIR` lists all logs").into());
            }
            reports
        }
    };
    if json {
        print_json(&reports.iter().map(report_json).collect::<Vec<_>>())?;
    } else {
        let width = reports.iter().map(|report| report.log.to_string().len()).max().unwrap_or(0);
        for report in &reports {
            print(report_line(report, width))?;
            for damage in &report.damage {
                print(format_args!("  {}", damage_line(damage)))?;
            }
        }
    }
    let is_damaged = reports.iter().any(|report| !report.damage.is_empty());
    Ok(if is_damaged { Exit::Failed } else { Exit::Ok }.into())
}

fn report_line(report: &LogReport, width: usize) -> String {
    let LogReport { log, entries, octets, offsets, erased, given_up, torn_octets, damage } = report;
    let state = if damage.is_empty() { "ok" } else { "DAMAGED" };
    let mut line = format!(
        "{:width$}  {state}  {entries} entries  {octets} octets  {}",
        log.to_string(),
        range(offsets)
    );
    let mut note = |number: u64, what: &str| {
        if number > 0 {
            line.push_str(&format!("  {number} {what}"));
        }
    };
    note(*erased, "erased");
    note(*given_up, "given up by a repair");
    note(*torn_octets, "octets of a torn write, which the next start cuts off");
    line
}

fn range(offsets: &std::ops::Range<u64>) -> String {
    match offsets.end.checked_sub(1).filter(|_| !offsets.is_empty()) {
        Some(last) => format!("offsets {} to {last}", offsets.start),
        None => format!("empty at offset {}", offsets.start),
    }
}

fn damage_line(damage: &Corruption) -> String {
    let Corruption { kind, first, end, what, .. } = damage;
    match end {
        Some(end) => format!("{kind}: offsets {first} to {} ({what})", end.0.saturating_sub(1)),
        None => format!("{kind}: from offset {first} on ({what})"),
    }
}

fn damage_json(damage: &Corruption) -> Value {
    json!({
        "log": damage.log.to_string(),
        "kind": damage.kind.to_string(),
        "first": damage.first.0,
        "end": damage.end.map(|end| end.0),
        "what": &*damage.what,
    })
}

fn report_json(report: &LogReport) -> Value {
    json!({
        "log": report.log.to_string(),
        "ok": report.damage.is_empty(),
        "entries": report.entries,
        "octets": report.octets,
        "first": report.offsets.start,
        "end": report.offsets.end,
        "erased": report.erased,
        "given_up": report.given_up,
        "torn_octets": report.torn_octets,
        "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}

fn repair(directory: &Path, logs: &[LogName], accept_loss: bool, json: bool) -> anyhow::Result<ExitCode> {
    let hospital = config::load(directory)?;
    let (data, key) = store(directory)?;
    let mut damage = Vec::new();
    for log in logs {
        let reports = read_through(&data, &key, Some(log))?;
        damage.extend(reports.into_iter().flat_map(|report| report.damage));
    }
    if !json {
        for lost in &damage {
            let verb = if accept_loss { "giving up" } else { "would give up" };
            print(format_args!("{}: {verb} {}", lost.log, damage_line(lost)))?;
        }
    }
    if !accept_loss || damage.is_empty() {
        return show_only(&damage, json);
    }
    let mut repaired = Repaired { lost: Vec::new(), kept: Vec::new() };
    for log in logs {
        let one = embedded::repair(&data, &key, log, &hospital.broker_id())?;
        repaired.lost.extend(one.lost);
        repaired.kept.extend(one.kept);
    }
    audit(&data, key, &hospital, &repaired.lost)?;
    if json {
        let kept: Vec<String> = repaired.kept.iter().map(|path| path.display().to_string()).collect();
        let lost: Vec<Value> = repaired.lost.iter().map(damage_json).collect();
        print_json(&json!({"repaired": true, "lost": lost, "kept": kept}))?;
    } else {
        for kept in &repaired.kept {
            print(format_args!("kept {}", kept.display()))?;
        }
        print(format_args!("repaired; next: hilum serve {}", directory.display()))?;
    }
    Ok(Exit::Ok.into())
}

/// Nothing was changed: there is nothing to repair, or it was not yet said that it may be.
fn show_only(damage: &[Corruption], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let lost: Vec<Value> = damage.iter().map(damage_json).collect();
        print_json(&json!({"repaired": false, "lost": lost, "kept": []}))?;
    } else if damage.is_empty() {
        print("nothing is damaged")?;
    }
    if damage.is_empty() {
        return Ok(Exit::Ok.into());
    }
    let what = "nothing was changed: what is listed would be lost for good";
    Err(Failure::new(what, "restore a backup, or say --accept-loss").into())
}

/// Writes down what was given up, for as long as the audit log is kept.
fn audit(
    data: &Path,
    key: MasterKey,
    hospital: &config::Hospital,
    lost: &[Corruption],
) -> anyhow::Result<()> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    let event = |lost: &Corruption| Event {
        time,
        principal: None,
        flow: match &lost.log {
            LogName::Flow(flow) | LogName::Quarantine(flow) | LogName::State(flow) => Some(flow.clone()),
            _ => None,
        },
        subscription: None,
        offset: Some(lost.first),
        action: Action::Repaired,
        reason: format!("an operator gave up what was damaged in log `{}`: {}", lost.log, damage_line(lost)),
    };
    let entries = lost.iter().map(|lost| event(lost).into_entry(&hospital.broker_id())).collect();
    let store = embedded::Store::open(data, key, embedded::Settings::default())?;
    let written = tokio::runtime::Handle::current().block_on(store.log().append(
        &LogName::Audit,
        entries,
        Durability::Fsynced,
    ));
    store.close();
    written.context("the log is repaired, but the audit log could not be written; repair it too")?;
    Ok(())
}
