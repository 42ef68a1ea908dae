//! `hilum plugin run`: one plugin on one body, in the real sandbox and without a broker.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_core::Body;
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_sandbox::{BatchRun, Emission, Failure as RunFailure, Ran, Services as _};

use super::host::Host;
use super::setup::Setup;
use super::spans;
use crate::output::{Exit, Failure};

mod lines;

/// What `hilum plugin run` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Standard output gets the body: as it was if the plugin lets it pass, otherwise the one that the plugin made. Where it makes \
several of one, their bodies follow each other without anything between. Everything else is on standard error: head, \
obligations, emitted records, refusals.

Without --config a bundled plugin gets a configuration that works, another plugin `{}`. Without --grant everything is \
granted, with keys that are made up for this run: pseudonyms differ from run to run, and nobody can open what is sealed.

With --lines each line is a body of its own. They go through in order, several in a call, and what the plugin keeps in its state is \
there for the next: a year of telemetry shows what `analytics` would have said.

Exit code 0 if the body passed or was replaced, 3 if the plugin refused it, 1 if something failed.

Examples:
  hilum plugin run deidentify --content-type application/dicom < scan.dcm > clean.dcm
  hilum plugin run ./mine.wasm --config mine.json --content-type text/plain --trace < in > out
  hilum plugin run analytics --config watch.json --content-type application/vnd.hilum.telemetry+json --lines < year.jsonl > same")]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,
    /// Show how long the stage took, and the spans that the plugin begins
    #[arg(long)]
    trace: bool,
    /// Take each line of standard input for a body
    #[arg(long, conflicts_with = "trace")]
    lines: bool,
}

/// Runs standard input through the plugin.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let host = Arc::new(Host::new().context("no temporary directory")?);
    let (mut from, mut to) = (io::stdin().lock(), io::stdout().lock());
    let exit = if args.lines {
        lines::run(args, &host, &mut from, &mut to)
    } else {
        run_on(args, &host, &mut from, &mut to)
    };
    for (limit, (max, count)) in host.limited() {
        eprintln!("warning: the plugin ran into the limit `{limit}` of {max} {count} times");
    }
    let exit = exit?;
    let (secrets, recipients) = host.made_up();
    if !secrets.is_empty() {
        eprintln!("note: made up for this run: a secret for {}", secrets.join(", "));
    }
    if !recipients.is_empty() {
        eprintln!(
            "note: made up for this run: a recipient {}, so nobody can open the result",
            recipients.join(", ")
        );
    }
    Ok(exit.into())
}

fn run_on(args: &Args, host: &Arc<Host>, from: &mut dyn Read, to: &mut dyn Write) -> anyhow::Result<Exit> {
    let (chain, _) = args.setup.chain(host)?;
    let mut input = args.setup.input(host, from, 0)?;
    input.head.trace = args.trace.then_some(spans::RUN);
    let run = chain.run(vec![input]);
    host.spans.lines().iter().for_each(|line| eprintln!("span: {line}"));
    finish(host, run, to)
}

fn finish(host: &Host, run: BatchRun, to: &mut dyn Write) -> anyhow::Result<Exit> {
    run.emitted.iter().for_each(show_emission);
    match run.records.into_iter().next().context("the sandbox gave no result")? {
        Ok(ran) => finish_one(host, &ran, to),
        Err(failure) => ended(failure),
    }
}

/// Shows and writes what became of a record that was not refused.
fn finish_one(host: &Host, ran: &Ran, to: &mut dyn Write) -> anyhow::Result<Exit> {
    for obligation in &ran.obligations {
        eprintln!("obligation: {} = {}", obligation.name, obligation.value);
    }
    if let [outcome] = ran.run.receipt.outcomes.as_slice() {
        eprintln!("outcome: {outcome:?}, {} of one", ran.run.outputs.len());
    }
    for output in &ran.run.outputs {
        eprintln!("content type: {}, {} octets", output.content_type, output.body.body().size());
        output.attributes.iter().for_each(|of| eprintln!("attribute: {} = {}", of.name, of.value));
        write_body(host, output.body.body(), to)?;
    }
    to.flush()?;
    Ok(Exit::Ok)
}

fn ended(failure: RunFailure) -> anyhow::Result<Exit> {
    match failure {
        RunFailure::Refused { code, reason, .. } => {
            eprintln!("refused: {reason} ({code})");
            Ok(Exit::Refused)
        }
        RunFailure::Failed { kind, reason, .. } => Err(Failure::new(
            format!("the plugin failed: {reason} ({kind})"),
            "this is a defect of the plugin, or a limit",
        )
        .into()),
    }
}

fn show_emission(emission: &Emission) {
    let Emission { flow, content_type, body, .. } = emission;
    eprintln!("emitted to {flow}: {content_type}, {} octets: {}", body.len(), String::from_utf8_lossy(body));
}

fn write_body(host: &Host, body: &Body, to: &mut dyn Write) -> anyhow::Result<()> {
    let blob = match body {
        Body::Inline(octets) => return Ok(to.write_all(octets)?),
        Body::Blob(blob) => blob,
    };
    let mut at = 0;
    while at < blob.size {
        let chunk = host.read_blob(blob, at, BLOB_CHUNK_OCTETS)?;
        anyhow::ensure!(!chunk.is_empty(), "the temporary file is shorter than it was");
        to.write_all(&chunk)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hilum_core::limits::INLINE_BODY_OCTETS_MAX;

    use super::*;

    fn args(component: &str, content_type: &str) -> Args {
        Args { setup: Setup::new(component, content_type), trace: false, lines: false }
    }

    fn run_plugin(args: &Args, body: &[u8]) -> (anyhow::Result<Exit>, Vec<u8>) {
        let host = Arc::new(Host::new().unwrap());
        let mut out = Vec::new();
        let exit = run_on(args, &host, &mut &body[..], &mut out);
        (exit, out)
    }

    #[test]
    fn access_and_analytics_let_a_body_pass_by_default() {
        for (plugin, content_type) in [("access", "text/plain"), ("analytics", "application/json")] {
            let (exit, out) = run_plugin(&args(plugin, content_type), b"{}");
            assert_eq!((exit.unwrap(), out.as_slice()), (Exit::Ok, &b"{}"[..]), "{plugin}");
        }
    }

    #[test]
    fn encrypt_seals_small_and_large_bodies_by_default() {
        for size in [10, INLINE_BODY_OCTETS_MAX + 1] {
            let (exit, out) = run_plugin(&args("encrypt", "text/plain"), &vec![b'x'; size]);
            assert_eq!(exit.unwrap(), Exit::Ok);
            assert!(out.len() > size && !out.windows(8).any(|window| window == b"xxxxxxxx"));
        }
    }

    #[test]
    fn deidentify_refuses_what_it_cannot_parse() {
        let (exit, out) = run_plugin(&args("deidentify", "application/dicom"), b"not DICOM at all");
        assert_eq!((exit.unwrap(), out.len()), (Exit::Refused, 0));
    }

    #[test]
    fn a_grant_that_is_missing_is_named() {
        let mut args = args("deidentify", "application/dicom");
        args.setup.grants = vec!["log".into()];
        let error = run_plugin(&args, b"").0.unwrap_err().to_string();
        assert!(error.contains("hilum:plugin/keys@1.1.0") && error.contains("keys:NAME"), "{error}");
    }
}
