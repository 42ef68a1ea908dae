//! `hospital interop`: files that others wrote, through a live broker whose plugins de-identify or change them, one answer for each.
//!
//! Each plugin stands at ingress here, so that the broker's answer to each publication says what became of the file:
//! stored and then delivered, or refused with the plugin's reason. Nothing is judged here; `tests/interop/check.py` does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hilum_client::{Delivery, Offset, PublishError, Record, Refusal, RefusalCode, Subscription};
use tokio::time::timeout;

use crate::connect::{self, CREDIT, connect, read_body};
use crate::process::{Broker, Hospital, find_hilum};

/// Files that go the same way.
struct Lane {
    /// The flow that is added to the example hospital for them, its file, and who reads it.
    flow: &'static str,
    file: &'static str,
    subscription: &'static str,
    reader: &'static str,
    /// The first directories below the files that these are in, and the media type of what is there.
    kinds: &'static [(&'static str, &'static str)],
}

const LANES: [Lane; 3] = [
    Lane {
        flow: "interop",
        file: include_str!("interop/interop.toml"),
        subscription: "research",
        reader: "research-1",
        kinds: &[
            ("dicom", "application/dicom"),
            ("hl7", "application/hl7-v2"),
            ("x12", "application/EDI-X12"),
            ("fhir", "application/fhir+json"),
        ],
    },
    Lane {
        flow: "morph",
        file: include_str!("interop/morph.toml"),
        subscription: "checked",
        reader: "workstation-1",
        kinds: &[("morph", "application/dicom")],
    },
    Lane {
        flow: "observations",
        file: include_str!("interop/observations.toml"),
        subscription: "checked",
        reader: "workstation-1",
        kinds: &[("telemetry", crate::simulator::telemetry::CONTENT_TYPE)],
    },
];
/// Example plugins that do not come with the broker.
const EXAMPLES: [&str; 2] = ["dicom-morph", "fhir-observation"];
/// How long to wait for the next delivery.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The broker's binary; by default `hilum` beside this one.
    #[arg(long)]
    pub hilum: Option<PathBuf>,
    /// Directory of the components dicom-morph.wasm and fhir-observation.wasm.
    #[arg(long)]
    pub examples: PathBuf,
    /// Directory of the files; the first directory below it names their kind: dicom, hl7, x12, fhir, morph or telemetry.
    #[arg(long)]
    pub files: PathBuf,
    /// Directory for what is delivered, under the same names. Emptied first.
    #[arg(long)]
    pub delivered: PathBuf,
    /// File for the outcomes: path, `delivered` or `refused` or `failed` or `lost`, code, reason; separated by tabs.
    #[arg(long)]
    pub outcomes: PathBuf,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Stored at this position; `delivered` or `lost`, as the subscription says later.
    Stored(Offset),
    /// Refused or failed, with code and reason.
    Not(&'static str, String, String),
}

/// Runs all files through a broker and writes down what became of each.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run_files(arguments))
}

async fn run_files(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.delivered.exists() {
        fs::remove_dir_all(&arguments.delivered)?;
    }
    let hospital = Hospital::init(&find_hilum(arguments.hilum.as_deref())?)?;
    add_examples(&hospital, &arguments.examples)?;
    for lane in &LANES {
        hospital.write(&format!("flows/{}.toml", lane.flow), lane.file)?;
    }
    hospital.hilum(&["check"])?;
    let broker = hospital.serve(&[])?;
    let mut paths = Vec::new();
    list(&arguments.files, &mut paths)?;
    paths.sort_unstable();

    let (mut outcomes, mut arrived) = (BTreeMap::new(), HashSet::new());
    for lane in &LANES {
        let of_lane = publish(&hospital, &broker, lane, &arguments.files, &paths).await?;
        arrived.extend(read(&hospital, &broker, lane, arguments, &of_lane).await?);
        outcomes.extend(of_lane);
    }
    if outcomes.len() < paths.len() {
        bail!("some of the {} files are of no kind that is known", paths.len());
    }
    let log = broker.log()?;
    broker.stop()?;
    if log.contains("panicked at") {
        bail!("the broker or a plugin panicked:\n{log}");
    }
    fs::write(&arguments.outcomes, table(&outcomes, &arrived))
        .with_context(|| format!("cannot write {}", arguments.outcomes.display()))?;
    println!("{} files published, {} delivered", outcomes.len(), arrived.len());
    Ok(())
}

/// Puts the examples' components into the hospital. Nobody signed them; who signs what is not the matter here.
fn add_examples(hospital: &Hospital, directory: &Path) -> anyhow::Result<()> {
    let file = hospital.path().join("hilum.toml");
    let mut text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text = text.replacen("[trust]\n", "[trust]\nunsigned = \"allow\"\n", 1);
    for example in EXAMPLES {
        let component = format!("plugins/{example}.wasm");
        write!(text, "\n[plugins.{example}]\npath = \"{component}\"\n")?;
        let from = directory.join(format!("{example}.wasm"));
        fs::copy(&from, hospital.path().join(component))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    hospital.write("hilum.toml", &text)
}

/// All files below a directory.
fn list(directory: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// Publishes the files of a lane one by one; what the broker answered to each, by its name below the directory.
async fn publish(
    hospital: &Hospital,
    broker: &Broker,
    lane: &Lane,
    directory: &Path,
    paths: &[PathBuf],
) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let client = connect(hospital, broker, "mri-1").await?;
    let publisher = client.publisher(&lane.flow.parse()?).await?;
    let mut outcomes = BTreeMap::new();
    for path in paths {
        let name = path.strip_prefix(directory)?.to_str().context("a file's name is not UTF-8")?.to_owned();
        let Some(content_type) = lane.content_type(&name) else { continue };
        let octets = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let outcome = match connect::publish(&publisher, Record::new(content_type, octets.into())).await {
            // With one record under way, the last offset that an ack covers is its own.
            Ok(ack) => {
                Outcome::Stored(ack.through_offset.context("the broker says that it was stored before")?)
            }
            Err(PublishError::Refused { refusal, .. }) => refused(&refusal),
            Err(error) => return Err(error).with_context(|| format!("publishing {name}")),
        };
        outcomes.insert(name, outcome);
    }
    publisher.finish().await?;
    client.close().await;
    Ok(outcomes)
}

impl Lane {
    /// The media type of a file, if it goes this way.
    fn content_type(&self, name: &str) -> Option<&'static str> {
        let kind = name.split('/').next().unwrap_or_default();
        self.kinds.iter().find(|(directory, _)| *directory == kind).map(|(_, content_type)| *content_type)
    }
}

/// A plugin's refusal comes as ``stage `clean`: code: reason``. Everything else is a failure, which no file may cause.
fn refused(refusal: &Refusal) -> Outcome {
    let mut parts = refusal.reason.splitn(3, ": ");
    match (refusal.code, parts.next(), parts.next(), parts.next()) {
        (RefusalCode::RefusedByPlugin, Some(_stage), Some(code), Some(reason)) => {
            Outcome::Not("refused", code.to_owned(), reason.to_owned())
        }
        (code, ..) => Outcome::Not("failed", code.to_string(), refusal.reason.clone()),
    }
}

/// Reads until every stored file was delivered, and writes each under its name. The names of those that came.
async fn read(
    hospital: &Hospital,
    broker: &Broker,
    lane: &Lane,
    arguments: &Arguments,
    outcomes: &BTreeMap<String, Outcome>,
) -> anyhow::Result<HashSet<String>> {
    let stored = outcomes.iter().filter_map(|(name, outcome)| match outcome {
        Outcome::Stored(offset) => Some((*offset, name.as_str())),
        Outcome::Not(..) => None,
    });
    let stored: HashMap<Offset, &str> = stored.collect();
    let client = connect(hospital, broker, lane.reader).await?;
    let mut subscription = client.subscribe(&lane.flow.parse()?, &lane.subscription.parse()?, CREDIT).await?;
    let mut arrived = HashSet::new();
    while arrived.len() < stored.len() {
        let Some(delivery) = next(&mut subscription).await? else { break };
        let offset = delivery.offset();
        let name = *stored.get(&offset).with_context(|| format!("offset {offset} is of no file"))?;
        let path = arguments.delivered.join(name);
        fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
        fs::write(&path, read_body(&delivery).await?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        delivery.ack();
        arrived.insert(name.to_owned());
    }
    subscription.close().await?;
    client.close().await;
    Ok(arrived)
}

/// The next delivery; none if it takes too long, so that what is missing can be named.
async fn next(subscription: &mut Subscription) -> anyhow::Result<Option<Delivery>> {
    match timeout(DELIVERY_TIME_MAX, subscription.next()).await {
        Ok(delivery) => Ok(delivery?),
        Err(_) => Ok(None),
    }
}

fn table(outcomes: &BTreeMap<String, Outcome>, arrived: &HashSet<String>) -> String {
    let mut text = String::new();
    for (name, outcome) in outcomes {
        let (word, code, reason) = match outcome {
            Outcome::Stored(_) if arrived.contains(name) => ("delivered", "", ""),
            Outcome::Stored(_) => ("lost", "", "acked and not delivered"),
            Outcome::Not(word, code, reason) => (*word, code.as_str(), reason.as_str()),
        };
        writeln!(text, "{name}\t{word}\t{code}\t{reason}").expect("text takes text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_taken_apart_and_everything_else_is_a_failure() {
        let refusal =
            Refusal::new(RefusalCode::RefusedByPlugin, "stage `clean`: truncated: (7FE0,0010): early");
        let expected = Outcome::Not("refused", "truncated".into(), "(7FE0,0010): early".into());
        assert_eq!(refused(&refusal), expected);
        let failure = Refusal::new(RefusalCode::PluginFailed, "stage `clean`: trap: unreachable");
        assert!(matches!(refused(&failure), Outcome::Not("failed", ..)));
    }

    #[test]
    fn each_file_has_one_line_and_a_missing_delivery_is_lost() {
        let outcomes = BTreeMap::from([
            ("a".to_owned(), Outcome::Stored(Offset(0))),
            ("b".to_owned(), Outcome::Stored(Offset(1))),
            ("c".to_owned(), Outcome::Not("refused", "syntax".into(), "line 1".into())),
        ]);
        let arrived = HashSet::from(["a".to_owned()]);
        let expected = "a\tdelivered\t\t\nb\tlost\t\tacked and not delivered\nc\trefused\tsyntax\tline 1\n";
        assert_eq!(table(&outcomes, &arrived), expected);
    }
}
