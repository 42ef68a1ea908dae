//! `hilum plugin test`: a project's own tests, and its records through the real sandbox, compared with what is expected.

mod policies;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::build::{self, Built, Tools};
use super::project::{FILE, Project};
use super::trial::difference::{self, Difference};
use super::trial::outcome::Outcome;
use super::trial::records::{self, Record};
use super::trial::runner::{Runner, Setting};
use crate::output::{Exit, Failure, print, print_json};

/// What `hilum plugin test` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
First the tests of the project's language run (cargo test, unittest, node --test), then the project is built, and then each record \
of its folder `records` goes through the sandbox that a broker has, with configuration, grants and limits of hilum-plugin.toml. \
A record is NAME.toml, its head, and NAME.body; what should become of it is NAME.expected.toml, with bodies in files that it \
names. --accept writes down what came out; read it before you keep it.

Time and chance are fixed: the clock shows the record's time, keys follow from their names, hash maps have one order. A sealed body \
is compared by what is in it.

`access` tests the Cedar policies of a hospital: the cases in policies/NAME.cases.toml go through each stage that decides by \
policies/NAME.cedar, and a denial says what did not hold.

Exit code 0 if all is as expected, 1 if not.

Examples:
  hilum plugin test
  hilum plugin test access --dir st-marys
  hilum plugin test dose-check --accept
  hilum plugin test dose-check --component dose-check-1.1.wasm --json")]
pub(super) struct Args {
    /// The directory of the project; or `access`, for the policies of a hospital
    #[arg(value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// The hospital directory whose policies are tested
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Take the records of this folder instead of the project's
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,
    /// Test this component instead of building one; the native tests do not run
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Leave the native tests out
    #[arg(long)]
    sandbox_only: bool,
    /// Write down what came out as what is expected
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    tools: Tools,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Tests the project.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let is_project = args.project.join(FILE).exists();
    if args.project.as_os_str() == policies::PLUGIN && !is_project {
        return policies::run(&args.dir, args.json);
    }
    let project = Project::read(&args.project)?;
    if args.component.is_none() && !args.sandbox_only {
        build::test_natively(&project, &args.tools).context("the project's own tests")?;
    }
    let built = match &args.component {
        Some(file) => build::load(&project, file.clone())?,
        None => build::build(&project, &args.tools)?,
    };
    let folder = args.records.clone().unwrap_or_else(|| project.root.join("records"));
    let tested = test(&project, &built, &folder, args.accept)?;
    if args.json {
        print_json(&json!({
            "plugin": project.name,
            "version": built.plugin.description().version,
            "sha256": built.plugin.digest().to_string(),
            "records": tested.iter().map(Tested::as_json).collect::<Vec<_>>(),
        }))?;
    } else {
        show(&tested)?;
    }
    Ok(if tested.iter().all(Tested::is_good) { Exit::Ok } else { Exit::Failed }.into())
}

/// What one record showed.
struct Tested {
    name: String,
    outcome: Outcome,
    verdict: Verdict,
}

enum Verdict {
    AsExpected,
    Accepted,
    Unexpected(Vec<Difference>),
    NothingExpected,
}

impl Tested {
    fn is_good(&self) -> bool {
        matches!(self.verdict, Verdict::AsExpected | Verdict::Accepted)
    }

    fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::AsExpected => "as-expected",
            Verdict::Accepted => "accepted",
            Verdict::Unexpected(_) => "different",
            Verdict::NothingExpected => "nothing-expected",
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let differences = match &self.verdict {
            Verdict::Unexpected(differences) => differences.iter().map(Difference::as_json).collect(),
            _ => Vec::new(),
        };
        json!({
            "record": self.name, "verdict": self.word(), "outcome": self.outcome.kind.name(),
            "reason": self.outcome.reason, "differences": differences,
        })
    }
}

/// Runs all records of a folder.
fn test(project: &Project, built: &Built, folder: &Path, accept: bool) -> anyhow::Result<Vec<Tested>> {
    let records = records::read(folder)?;
    if records.is_empty() {
        let help = "write NAME.toml and NAME.body there, or name another folder with --records";
        return Err(Failure::new(format!("there is no record in {}", folder.display()), help).into());
    }
    let runner = Runner::new(&built.sandbox, &built.plugin, Setting::of(project)?)?;
    let mut tested = Vec::new();
    for record in records {
        let outcome = runner.run(&record).with_context(|| format!("record `{}`", record.name))?;
        let verdict = judge(folder, &record, &outcome, accept)?;
        tested.push(Tested { name: record.name, outcome, verdict });
    }
    Ok(tested)
}

fn judge(folder: &Path, record: &Record, outcome: &Outcome, accept: bool) -> anyhow::Result<Verdict> {
    let differences = match &record.expected {
        Some(expected) => difference::between(expected, outcome),
        None if accept => Vec::new(),
        None => return Ok(Verdict::NothingExpected),
    };
    if accept && (record.expected.is_none() || !differences.is_empty()) {
        outcome.write(folder, &record.name, record.expected.as_ref())?;
        return Ok(Verdict::Accepted);
    }
    Ok(if differences.is_empty() { Verdict::AsExpected } else { Verdict::Unexpected(differences) })
}

fn show(tested: &[Tested]) -> anyhow::Result<()> {
    for of in tested {
        let reason = of.outcome.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        print(format_args!("{:<16} {} ({}{reason})", of.word(), of.name, of.outcome.kind.name()))?;
        match &of.verdict {
            Verdict::Unexpected(differences) => {
                for difference in differences {
                    print(difference.shown())?;
                }
            }
            Verdict::NothingExpected => {
                print("  there is no file that says what is expected: look at it, then --accept")?;
            }
            Verdict::AsExpected | Verdict::Accepted => {}
        }
    }
    let good = tested.iter().filter(|of| of.is_good()).count();
    Ok(print(format_args!("{good} of {} records as expected, configured by {FILE}", tested.len()))?)
}

#[cfg(test)]
mod tests;
