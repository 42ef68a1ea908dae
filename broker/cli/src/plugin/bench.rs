//! `hilum plugin bench`: how long one plugin takes for a record, in the real sandbox and without a broker.

mod files;

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hilum_core::limits::{BATCH_RECORDS_MAX, INLINE_BODY_OCTETS_MAX};
use hilum_core::record::Output;
use hilum_sandbox::{Chain, Failure as RunFailure, Input};
use serde_json::json;

use super::host::Host;
use super::setup::Setup;
use crate::output::{Exit, Failure, print, print_json};

/// What `hilum plugin bench` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The body on standard input goes through the plugin again and again, on one thread, in calls of --batch records as a broker makes \
them under load. What the plugin makes of it is thrown away. Configuration and grants are as with `hilum plugin run`. The digests of a
broker's receipts are left out, unless --receipts asks for them: they are the broker's work and not the plugin's.

With --files every file of a folder goes through once, on --threads threads, and what becomes of it is written to the folder --out.

Exit code 0 if every record passed or was replaced, 3 if the plugin refuses the body, 1 if something failed.

Examples:
  hilum plugin bench deidentify --content-type application/dicom < scan.dcm
  hilum plugin bench ./mine.wasm --config mine.json --content-type text/plain --batch 1 --json < in
  hilum plugin bench deidentify --content-type application/dicom --batch 16 --files scans --out clean")]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,
    /// Records of one call, as far as their octets allow
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=BATCH_RECORDS_MAX as i64))]
    batch: u16,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Measure the files of this folder, each once, instead of standard input
    #[arg(long, value_name = "FOLDER", conflicts_with = "seconds")]
    files: Option<PathBuf>,
    /// Where to write what becomes of the files
    #[arg(long, value_name = "FOLDER", requires = "files")]
    out: Option<PathBuf>,
    /// Threads that take files
    #[arg(long, value_name = "N", default_value_t = 2, requires = "files", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Make the receipts that a broker makes, with a SHA-256 digest of what goes in and of what comes out
    #[arg(long)]
    receipts: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs standard input through the plugin until the time is over, or a folder's files.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.files {
        files::measure(args, folder, args.out.as_deref())?.show(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let host = Arc::new(Host::new().context("no temporary directory")?);
    measure(args, &host, &mut io::stdin().lock())?.show(args)?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// What the chain makes of a batch, with receipts if they are asked for.
    fn outputs(&self, chain: &Chain, inputs: Vec<Input>) -> Vec<Result<Vec<Output>, RunFailure>> {
        if !self.receipts {
            return chain.outputs(inputs);
        }
        let records = chain.run(inputs).records;
        records.into_iter().map(|result| result.map(|ran| ran.run.outputs)).collect()
    }
}

/// What was measured.
struct Figures {
    plugin: String,
    version: String,
    records: u64,
    octets: u64,
    took: Duration,
    /// For how long the thread had a processor, where the system tells.
    worked: Option<Duration>,
    /// Microseconds of each call, sorted.
    calls: Vec<u64>,
}

impl Figures {
    fn show(&self, args: &Args) -> io::Result<()> {
        let seconds = self.took.as_secs_f64();
        let rate = self.records as f64 / seconds;
        let each = 1e6 / rate;
        let rate_octets = self.octets as f64 / seconds;
        let (p50, p99) = (self.call(50), self.call(99));
        let rate_worked = self.worked.map(|worked| self.records as f64 / worked.as_secs_f64());
        if args.json {
            return print_json(&json!({
                "plugin": self.plugin, "version": self.version, "batch": args.batch, "records": self.records,
                "records_per_second": rate, "records_per_second_of_processor": rate_worked, "us_per_record": each, "octets_per_second": rate_octets,
                "call_p50_us": p50, "call_p99_us": p99,
            }));
        }
        print(format_args!(
            "{} {}, {} records a call, one thread\n  {rate:.0} records/s, {each:.2} us each, {:.1} MB/s\n  \
             {p50} us a call (p50), {p99} us (p99)",
            self.plugin,
            self.version,
            args.batch,
            rate_octets / 1e6
        ))?;
        match rate_worked {
            Some(rate) => {
                print(format_args!("  {rate:.0} records for each second that the thread had a processor"))
            }
            None => Ok(()),
        }
    }

    fn call(&self, percent: usize) -> u64 {
        self.calls.get(self.calls.len() * percent / 100).copied().unwrap_or_default()
    }
}

/// Calls the plugin until the time is over.
fn measure(args: &Args, host: &Arc<Host>, from: &mut dyn Read) -> anyhow::Result<Figures> {
    let (chain, plugin) = args.setup.chain(host)?;
    let input = args.setup.input(host, from, 0)?;
    let octets = input.body.body().size();
    if octets > INLINE_BODY_OCTETS_MAX as u64 {
        let help = format!("give a body of up to {INLINE_BODY_OCTETS_MAX} octets");
        return Err(Failure::new("large bodies are not measured here", help).into());
    }
    let batch: Vec<Input> = vec![input; usize::from(args.batch)];
    // The first call, which warms the instance up, is not counted.
    call(args, &chain, &batch)?;
    let time = Duration::from_secs(args.seconds);
    let (started, mut calls, had) = (Instant::now(), Vec::new(), processor_time());
    while started.elapsed() < time {
        let called = Instant::now();
        call(args, &chain, &batch)?;
        calls.push(u64::try_from(called.elapsed().as_micros())?);
    }
    let took = started.elapsed();
    let worked = had.zip(processor_time()).map(|(before, after)| after.saturating_sub(before));
    calls.sort_unstable();
    let records = calls.len() as u64 * batch.len() as u64;
    let of = plugin.description();
    let (plugin, version) = (of.name.clone(), of.version.clone());
    Ok(Figures { plugin, version, records, octets: octets * records, took, worked, calls })
}

/// For how long this thread has had a processor (Linux: the first number of `schedstat`), which is what counts where others work on
/// the same machine.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// One call, in which every record has to get through.
fn call(args: &Args, chain: &Chain, batch: &[Input]) -> Result<(), Failure> {
    let results = args.outputs(chain, batch.to_vec());
    match results.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(RunFailure::Refused { code, reason, .. }) => Err(Failure {
            exit: Exit::Refused,
            what: format!("the plugin refuses the body: {reason} ({code})"),
            help: "measure it on a body that it takes".to_owned(),
        }),
        Some(RunFailure::Failed { kind, reason, .. }) => Err(Failure::new(
            format!("the plugin failed: {reason} ({kind})"),
            "this is a defect of the plugin, or a limit",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(component: &str, body: &[u8]) -> anyhow::Result<Figures> {
        let setup = Setup::new(component, "x-application/hl7-v2+er7");
        let args = Args {
            setup,
            batch: 8,
            seconds: 1,
            json: true,
            files: None,
            out: None,
            threads: 1,
            receipts: false,
        };
        measure(&args, &Arc::new(Host::new()?), &mut &body[..])
    }

    #[test]
    fn every_record_of_every_call_is_counted() {
        let body = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5.1\r";
        let figures = figures("deidentify", body).unwrap();
        assert_eq!(figures.records, 8 * figures.calls.len() as u64);
        assert_eq!(figures.octets, figures.records * body.len() as u64);
        assert!(figures.worked.is_none_or(|worked| worked > Duration::ZERO && worked <= figures.took));
        assert!(figures.took >= Duration::from_secs(1) && figures.call(50) <= figures.call(99));
    }

    #[test]
    fn a_body_that_is_refused_is_not_measured() {
        let error = figures("deidentify", b"no message").err().unwrap();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::Refused);
    }
}
