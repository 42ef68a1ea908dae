//! `hilum plugin replay`: a candidate and the current version of a stage on records of a live flow's past. Nothing is delivered,
//! stored or emitted: both run here, with keys that are made up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hilum_core::{Offset, SubscriptionName};
use serde_json::{Value, json};

use super::slice::{Seen, Slice};
use super::trial::difference;
use super::trial::outcome::Kind;
use super::trial::records::Record;
use crate::output::{Exit, print, print_json};

pub(super) mod stage;

use stage::{StageName, Stages};

/// Offsets that are named of each kind of difference.
const OFFSETS_MAX: usize = 20;

/// What `hilum plugin replay` is given.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
#[command(after_help = "\
Records are read through a subscription that delivers them as they are stored, with the rights of its reader, who must be cleared \
for them; the reading is audited like any other. The stages before the one in question run first.

For an INGRESS stage this is not what it saw: what went into the chain is not kept. The records that came out of the chain stand in, and \
no stage runs before. What the chain stopped is kept in quarantine as it came in: --quarantine replays that, for an ingress stage through \
the stages before it. It needs the operator's right `bodies`, no subscription, and each record that is seen is in the audit; for an \
egress stage it replays what that chain failed on.

The current version, as the hospital directory has it, and the candidate get the same records, configuration and grants, in the \
same order, each with a state of its own. Keys are made up, the same for both; the clock shows the record's time; who published is \
known of records in quarantine only. An egress stage is told of a reader of its subscription. Of values only --show prints any.

Exit code 0 if all outcomes are the same, 1 if some differ.

Examples:
  hilum plugin replay --dir st-marys --as operations-1 device operations ingress/watch --candidate analytics-2.wasm
  hilum plugin replay --dir st-marys --as radiologist imaging radiology research/clean --candidate new.wasm --from start --show 3
  hilum plugin replay --dir st-marys --as privacy-officer imaging ingress/check --quarantine --candidate new.wasm")]
pub(super) struct Args {
    #[command(flatten)]
    slice: Slice,
    /// The subscription of it to read through, with the rights of its reader
    #[arg(required_unless_present = "quarantine", conflicts_with = "quarantine")]
    subscription: Option<SubscriptionName>,
    /// The stage: `ingress/NAME`, or SUBSCRIPTION/NAME for one of an egress chain
    stage: StageName,
    /// The component to compare with the current one
    #[arg(long, value_name = "FILE")]
    candidate: PathBuf,
    /// Read what the chain stopped, as it was before the chain, from the flow's quarantine
    #[arg(long, conflicts_with = "ack")]
    quarantine: bool,
    /// Print the differences of so many records, with the values in them
    #[arg(long, value_name = "N", default_value_t = 0)]
    show: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads the slice, and compares.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let hospital = args.slice.connection.hospital()?;
    let through = args.subscription.as_ref();
    let load = || Stages::load(&hospital, &args.slice.flow, through, &args.stage, &args.candidate);
    let stages = tokio::task::block_in_place(load)?;
    let mut comparison = Comparison::default();
    let seen = match through {
        Some(through) => {
            let take = |record: Record| {
                let offset = record.offset.unwrap_or_default();
                comparison.add(&stages, &record, offset, args.show)
            };
            args.slice.each(through, take).await?
        }
        None => {
            let take = |record: Record, number| comparison.add(&stages, &record, number, args.show);
            args.slice.each_stopped(args.stage.subscription(), &hospital, take).await?
        }
    };
    let input = Input::of(&args.stage, through);
    if args.json {
        print_json(&comparison.as_json(&stages, input, &seen))?;
    } else {
        comparison.print(&stages, input, &seen)?;
    }
    Ok(if comparison.different.is_empty() { Exit::Ok } else { Exit::Failed }.into())
}

/// What both versions got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// What the flow has, for an egress stage: what it sees.
    Stored,
    /// The same, for an ingress stage: what its chain made.
    MadeByChain,
    /// What an ingress chain stopped, as it came in.
    CameIn,
    /// What an egress chain failed on.
    FailedOn,
}

impl Input {
    fn of(stage: &StageName, through: Option<&SubscriptionName>) -> Self {
        match (through, stage.subscription()) {
            (Some(_), Some(_)) => Self::Stored,
            (Some(_), None) => Self::MadeByChain,
            (None, None) => Self::CameIn,
            (None, Some(_)) => Self::FailedOn,
        }
    }

    /// For scripts.
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::MadeByChain => "made-by-ingress-chain",
            Self::CameIn => "quarantined-at-ingress",
            Self::FailedOn => "quarantined-at-egress",
        }
    }

    /// For people.
    fn shown(self) -> &'static str {
        match self {
            Self::Stored => "records as the flow has them",
            Self::MadeByChain => {
                "what the ingress chain made of records, not what the stage saw: that is not kept. `--quarantine` replays what was \
                 stopped, as it came in"
            }
            Self::CameIn => {
                "what the ingress chain stopped, as it came in; offsets are numbers of the quarantine"
            }
            Self::FailedOn => {
                "what the chain failed on, as the flow has it; offsets are numbers of the quarantine"
            }
        }
    }
}

/// What was seen of both.
#[derive(Default)]
struct Comparison {
    /// Records that got as far as the stage.
    tried: u64,
    /// Records that a stage before it stopped.
    stopped: u64,
    same: u64,
    /// Offsets, by what became of the record under the current version and under the candidate.
    different: BTreeMap<(&'static str, &'static str), Different>,
    current: Duration,
    candidate: Duration,
    shown: usize,
    span: Option<(Offset, Offset)>,
}

#[derive(Default)]
struct Different {
    count: u64,
    offsets: Vec<Offset>,
}

impl Comparison {
    fn add(&mut self, stages: &Stages, record: &Record, offset: Offset, show: usize) -> anyhow::Result<()> {
        self.span = Some((self.span.map_or(offset, |(first, _)| first), offset));
        let Some(records) = stages.before(record)? else {
            self.stopped += 1;
            return Ok(());
        };
        for record in records {
            let began = Instant::now();
            let current = stages.current.run(&record)?;
            let between = Instant::now();
            let candidate = stages.candidate.run(&record)?;
            self.current += between - began;
            self.candidate += between.elapsed();
            self.tried += 1;
            let differences = difference::between(&current, &candidate);
            if differences.is_empty() {
                self.same += 1;
                continue;
            }
            let of = self.different.entry((current.kind.name(), candidate.kind.name())).or_default();
            of.count += 1;
            if of.offsets.len() < OFFSETS_MAX {
                of.offsets.push(offset);
            }
            if self.shown < show {
                self.shown += 1;
                // Standard output is for the result.
                eprintln!("offset {offset}");
                differences.iter().for_each(|difference| eprintln!("{}", difference.shown()));
            }
        }
        Ok(())
    }

    /// Records on which the candidate trapped or ran over a limit, and the current version did not.
    fn failed(&self) -> u64 {
        let failed = Kind::Failed.name();
        self.different
            .iter()
            .filter(|((before, after), _)| *after == failed && before != after)
            .map(|(_, of)| of.count)
            .sum()
    }

    fn microseconds(&self, of: Duration) -> f64 {
        if self.tried == 0 { 0.0 } else { of.as_secs_f64() * 1e6 / self.tried as f64 }
    }

    fn as_json(&self, stages: &Stages, input: Input, seen: &Seen) -> Value {
        let different = |((before, after), of): (&(&str, &str), &Different)| json!({ "current": before, "candidate": after, "records": of.count, "offsets": of.offsets });
        json!({
            "current": stages.current_plugin, "candidate": stages.candidate_plugin, "input": input.name(),
            "records": seen.records, "too_large": seen.too_large, "stopped_before": self.stopped, "same": self.same,
            "different": self.different.iter().map(different).collect::<Vec<_>>(),
            "candidate_failed": self.failed(),
            "current_us_per_record": self.microseconds(self.current),
            "candidate_us_per_record": self.microseconds(self.candidate),
        })
    }

    fn print(&self, stages: &Stages, input: Input, seen: &Seen) -> anyhow::Result<()> {
        print(format_args!("current    {}", stages.current_plugin))?;
        print(format_args!("candidate  {}", stages.candidate_plugin))?;
        print(format_args!("input      {}", input.shown()))?;
        let span = self.span.map_or_else(String::new, |(first, last)| format!(", offsets {first} to {last}"));
        print(format_args!("records    {}{span}", seen.records))?;
        for (count, what) in
            [(seen.too_large, "too large to be tried"), (self.stopped, "stopped by a stage before")]
        {
            if count > 0 {
                print(format_args!("left out   {count}, {what}"))?;
            }
        }
        print(format_args!("same       {}", self.same))?;
        for ((before, after), of) in &self.different {
            let offsets = of.offsets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let more = if of.count > of.offsets.len() as u64 { ", .." } else { "" };
            let what =
                if before == after { format!("{before}, otherwise") } else { format!("{before} -> {after}") };
            print(format_args!("different  {}, {what}: at {offsets}{more}", of.count))?;
        }
        let (current, candidate) = (self.microseconds(self.current), self.microseconds(self.candidate));
        print(format_args!("time       {current:.0} us a record, the candidate {candidate:.0} us"))?;
        Ok(print("nothing was delivered, stored or emitted")?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hilum_sandbox::{ChainContext, Grants, Limits};

    use super::super::load;
    use super::super::trial::records;
    use super::super::trial::runner::{Runner, Setting};
    use super::*;

    /// The bundled `deidentify` under a key.
    fn under(key: &str) -> Runner {
        let (sandbox, plugin) = load("deidentify").unwrap();
        let setting = Setting {
            context: ChainContext {
                flow: "results".parse().unwrap(),
                class: "device".into(),
                subscription: None,
                recipient: None,
                purpose: None,
                break_glass: None,
            },
            stage: "clean".parse().unwrap(),
            config: json!({ "key": key }),
            grants: Grants::parse([format!("keys:{key}")]).unwrap(),
            limits: Limits::default(),
            in_order: true,
            observed: BTreeMap::new(),
        };
        Runner::new(&sandbox, &plugin, setting).unwrap()
    }

    #[test]
    fn what_differs_is_counted_by_kind_and_named_by_offset() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, body: &str| {
            let head = "content_type = \"x-application/hl7-v2+er7\"\n";
            fs::write(folder.path().join(format!("{name}.toml")), head).unwrap();
            fs::write(folder.path().join(format!("{name}.body")), body).unwrap();
        };
        write("a", "no message");
        write("b", "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\rPID|1||4711^^^H||Doe^John\r");
        let stages = Stages::of(under("one"), under("other"));
        let mut comparison = Comparison::default();
        for (offset, mut record) in (7..).zip(records::read(folder.path()).unwrap()) {
            record.offset = Some(Offset(offset));
            comparison.add(&stages, &record, Offset(offset), 0).unwrap();
        }
        // Both refuse what is no message; pseudonyms under another key are others.
        assert_eq!((comparison.tried, comparison.same, comparison.failed()), (2, 1, 0));
        let found = comparison.as_json(&stages, Input::Stored, &Seen { records: 2, too_large: 0 });
        let different =
            json!([{ "current": "replaced", "candidate": "replaced", "records": 1, "offsets": [8] }]);
        assert_eq!(found["different"], different);
        assert!(!found.to_string().contains("Doe"), "{found}");
    }
}
