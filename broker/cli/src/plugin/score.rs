//! `hilum plugin score`: plants synthetic identifiers into files, runs a stage on them in the real sandbox, and counts what is left of them
//! and of what should have stayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_core::canary::Millionths;
use hilum_core::{Attribute, FlowName, Head, Timestamp};
use hilum_sandbox::{ChainContext, Grants, Limits, Plugin, Sandbox};
use hilum_server::config;
use hilum_server::score::Report;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::host::command_line;
use super::replay::stage::{self, StageName};
use super::setup::{all_grants, read_config};
use super::trial::outcome::{Kind, Outcome};
use super::trial::records::Record;
use super::trial::runner::{Runner, Setting};
use crate::output::{Exit, Failure, print_json};

mod dicom;
mod document;
mod expect;
mod fhir;
mod hl7;
mod judge;
mod key;
mod make;
mod report;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod what;
mod x12;

use document::Document;
use expect::Stage;
use judge::{Judge, Seen};
use key::{Format, Planted};
use make::{Folder, Maker};
use report::Tally;
use table::Table;

/// What can be scored.
const DEIDENTIFY: &str = "deidentify";
/// When planted records are made: 2026-05-17T09:41:23.456Z, by its digits.
const TIME: Timestamp = Timestamp(1_779_010_883_456);
const TIME_DIGITS: &str = "20260517094123456";
/// What planted values are drawn from where nothing else is said.
const SEED_DEFAULT: u64 = 1;

/// What `hilum plugin score` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An identifier is planted into every attribute of DICOM PS3.15 Table E.1-1, at the top and in sequences, into private and unknown attributes, \
file names and pixels, and into fields of HL7v2, X12, FHIR and telemetry: into files that are built in, and with --from into copies of \
your own. DIR gets the planted files and the answer key; if it has them already, they are used again. Both hold what your files hold: keep \
them where those are.

The stage runs as a broker would run it, with keys that are made up. What should become of each identifier follows from the table (the one \
of the stage's configuration, if it brings one) and the stage's options. It is counted by the ten actions of the MIDI-B benchmark \
and by the identifiers of 45 CFR 164.514(b)(2)(i). What failed is named by its place, never by its value.

A real file that the plugin refuses before anything is planted is left out. Of one that it refuses afterwards nothing is left: removals \
pass, and what should have stayed fails, but for text in pixels, which may be refused.

Exit code 0 if all removals and --require of all actions went well, 1 if not. --report writes the report that `score` of \
[plugins.NAME] in hilum.toml may demand.

Examples:
  hilum plugin score deidentify --planted /tmp/planted
  hilum plugin score deidentify --planted planted --from studies --config stage.json --json
  hilum plugin score deidentify --planted planted --dir st-marys --stage imaging/research/clean --report st-marys/scores/research.json")]
pub(super) struct Args {
    /// What is scored: `deidentify`
    #[arg(value_name = "PLUGIN")]
    plugin: String,
    /// The folder of the planted files and their answer key
    #[arg(long, value_name = "DIR")]
    planted: PathBuf,
    /// Plant into copies of the files of this folder too
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// What the planted values are drawn from
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Score this component instead of the bundled one
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    component: Option<PathBuf>,
    /// A file with the plugin's configuration as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// Grant just this, e.g. `keys:research`; may be repeated
    #[arg(long = "grant", value_name = "GRANT", conflicts_with = "dir")]
    grants: Vec<String>,
    /// Take plugin, configuration, grants and limits of a stage of this hospital directory
    #[arg(long, value_name = "DIR", requires = "stage")]
    dir: Option<PathBuf>,
    /// The stage: FLOW/ingress/NAME or FLOW/SUBSCRIPTION/NAME
    #[arg(long, value_name = "STAGE", requires = "dir")]
    stage: Option<StageOf>,
    /// How much of all actions has to go well, in percent
    #[arg(long, value_name = "PERCENT", default_value = "99.9", value_parser = percent)]
    require: Millionths,
    /// Write the report here, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// A stage with its flow.
#[derive(Debug, Clone)]
struct StageOf {
    flow: FlowName,
    stage: StageName,
}

impl FromStr for StageOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (flow, stage) =
            text.split_once('/').ok_or("write FLOW/ingress/NAME or FLOW/SUBSCRIPTION/NAME")?;
        Ok(Self { flow: flow.parse().map_err(|error| format!("{error}"))?, stage: stage.parse()? })
    }
}

fn percent(text: &str) -> Result<Millionths, String> {
    let number = text.parse::<f64>().ok().and_then(|percent| Millionths::nearest(percent / 100.0));
    number.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

/// Plants, runs and reports.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.plugin != DEIDENTIFY {
        let what = format!("there is no score for `{}`", args.plugin);
        return Err(Failure::new(what, "write `deidentify`; --component scores another version of it").into());
    }
    let (sandbox, plugin, setting) = scored(args)?;
    let scoring = Scoring::new(&sandbox, &plugin, setting)?;
    let report = scoring.score(&args.planted, args.from.as_deref(), args.seed)?;
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        report::show(&report, args.require)?;
    }
    Ok(if report.reaches(args.require) { Exit::Ok } else { Exit::Failed }.into())
}

/// The plugin, and how its stage is set.
fn scored(args: &Args) -> anyhow::Result<(Sandbox, Arc<Plugin>, Setting)> {
    if let (Some(directory), Some(StageOf { flow, stage })) = (&args.dir, &args.stage) {
        let hospital = config::load(directory)?;
        return stage::one(&hospital, flow, stage);
    }
    let component = args.component.as_ref().map_or(DEIDENTIFY.into(), |file| file.to_string_lossy());
    let (sandbox, plugin) = super::load(&component)?;
    let config = args.config.as_ref().map_or_else(|| Ok(json!({})), read_config)?;
    let grants =
        if args.grants.is_empty() { all_grants(&plugin, &config) } else { Grants::parse(&args.grants)? };
    let context = ChainContext {
        flow: FlowName::new("local")?,
        class: "local".into(),
        subscription: None,
        recipient: None,
        purpose: None,
        break_glass: None,
    };
    let stage = "clean".parse()?;
    Ok((
        sandbox,
        plugin,
        Setting {
            context,
            stage,
            config,
            grants,
            limits: Limits::default(),
            in_order: true,
            observed: std::collections::BTreeMap::new(),
        },
    ))
}

/// A stage that is scored.
struct Scoring {
    runner: Runner,
    plugin: Arc<Plugin>,
    config: Value,
    table: Table,
}

impl Scoring {
    fn new(sandbox: &Sandbox, plugin: &Arc<Plugin>, setting: Setting) -> anyhow::Result<Self> {
        let config = setting.config.clone();
        let table = Table::read(config["table"].as_str())?;
        Ok(Self { runner: Runner::new(sandbox, plugin, setting)?, plugin: Arc::clone(plugin), config, table })
    }

    /// Plants into a folder, or takes what is planted there, and scores it.
    fn score(&self, root: &Path, from: Option<&Path>, seed: Option<u64>) -> anyhow::Result<Report> {
        let folder = self.folder(root, from, seed)?;
        let tally = judge_all(&folder, &Stage::new(&self.config, &self.table), &mut |file, octets| {
            self.outcome(file.format, octets, Some(&file.record_key), Some(&file.file))
        })?;
        tally.report(&self.plugin, self.runner.configuration()?, &self.table, folder.key.seed)
    }

    fn folder(&self, root: &Path, from: Option<&Path>, seed: Option<u64>) -> anyhow::Result<Folder> {
        let rules = self.config["pixel_rules"].as_str().unwrap_or_default();
        if let Some(folder) = Folder::open(root, seed, from, &make::digest_of_rules(rules))? {
            return Ok(folder);
        }
        let mut maker = Maker::new(root, &self.table, seed.unwrap_or(SEED_DEFAULT), rules)?;
        maker.built_in(rules)?;
        if let Some(from) = from {
            maker.real(from, !rules.is_empty(), &mut |format, octets| {
                let outcome = self.outcome(format, octets, None, None)?;
                let is_stopped = matches!(outcome.kind, Kind::Refused | Kind::Failed);
                Ok(if is_stopped { Err(outcome.code.unwrap_or_default()) } else { Ok(()) })
            })?;
        }
        maker.finish()
    }

    fn outcome(
        &self,
        format: Format,
        octets: &[u8],
        key: Option<&str>,
        file_name: Option<&str>,
    ) -> anyhow::Result<Outcome> {
        let attribute = |name: &str| Attribute { name: "file_name".into(), value: name.to_owned() };
        let head = Head {
            time: TIME,
            expires: None,
            deliver_after: None,
            key: key.map(str::to_owned),
            content_type: format.content_type().into(),
            attributes: file_name.map(attribute).into_iter().collect(),
            labels: Vec::new(),
            trace: None,
        };
        let source = command_line()?;
        let body = octets.to_vec().into();
        self.runner.run(&Record { name: String::new(), head, source, offset: None, body, expected: None })
    }
}

/// What becomes of a planted file.
type Run<'r> = &'r mut dyn FnMut(&Planted, &[u8]) -> anyhow::Result<Outcome>;

/// Runs all planted files, and judges what came out.
fn judge_all(folder: &Folder, stage: &Stage<'_>, run: Run<'_>) -> anyhow::Result<Tally> {
    let (mut judge, mut tally) = (Judge::default(), Tally::default());
    tally.files.left_out = folder.key.left_out.clone();
    let bar = progress(folder.key.files.len() as u64, "scoring");
    for file in &folder.key.files {
        bar.inc(1);
        if file.needs.as_ref().is_some_and(|option| !stage.has_option(option)) {
            continue;
        }
        tally.files.planted += 1;
        let octets = folder.read(file)?;
        let outcome = run(file, &octets).with_context(|| file.file.clone())?;
        if matches!(outcome.kind, Kind::Refused | Kind::Failed) {
            *tally.files.refused.entry(outcome.code.unwrap_or_default()).or_default() += 1;
            judge_one(&mut judge, &mut tally, stage, file, &Seen::Refused);
            continue;
        }
        let planted = Document::read(file.format, &octets, None, &[]);
        // All that goes on is looked at: it need not be one record.
        let outputs: Vec<Document> = match outcome.outputs.as_slice() {
            [] => {
                let attributes = [("file_name".to_owned(), file.file.clone()), time_attribute(None)?];
                vec![Document::read(file.format, &octets, Some(&file.record_key), &attributes)]
            }
            made => {
                let document = |made: &super::trial::outcome::Made| {
                    let body = made.octets.as_deref().unwrap_or(&octets);
                    let mut attributes = made.attributes.clone();
                    attributes.push(time_attribute(made.time)?);
                    Ok(Document::read(file.format, body, made.key.as_deref(), &attributes))
                };
                made.iter().map(document).collect::<anyhow::Result<_>>()?
            }
        };
        for output in &outputs {
            judge_one(&mut judge, &mut tally, stage, file, &Seen::WentOn { output, planted: &planted });
        }
    }
    bar.finish_and_clear();
    Ok(tally)
}

/// The time of a record's head as a document has it: the digits of its date and its time of day. None where it is as it was planted.
fn time_attribute(time: Option<u64>) -> anyhow::Result<(String, String)> {
    let nanoseconds = i128::from(time.unwrap_or(TIME.0)) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).context("no time of a record")?;
    let (hour, minute, second) = time.to_hms();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let digits =
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{:03}", time.millisecond());
    Ok(("time".into(), digits))
}

fn judge_one(judge: &mut Judge, tally: &mut Tally, stage: &Stage<'_>, file: &Planted, seen: &Seen<'_>) {
    for mark in &file.marks {
        for expectation in stage.expects(file.format, mark) {
            if let Some(verdict) = judge.judge(file, mark, expectation, seen) {
                tally.add(file, mark, expectation.action, &verdict);
            }
        }
    }
}

/// How far it is; nothing where nobody looks.
fn progress(count: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len} files, {eta}");
    ProgressBar::new(count)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
