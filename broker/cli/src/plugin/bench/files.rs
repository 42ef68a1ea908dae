//! `hilum plugin bench --files`: each file of a folder through the plugin once, from file to file, on some threads.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hilum_core::Body;
use hilum_sandbox::{Chain, Failure as RunFailure, Input};
use serde_json::json;

use super::Args;
use crate::output::{Failure, print, print_json};
use crate::plugin::host::Host;

/// Octets of one body that are written to a file: what is larger is no file of a benchmark.
const BODY_OCTETS_MAX: u64 = 1 << 30;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Figures {
    passed: usize,
    refused: usize,
    octets: u64,
    took: Duration,
}

/// What one thread did.
type Done = anyhow::Result<Figures>;

/// Runs all files through the plugin.
pub(super) fn measure(args: &Args, folder: &Path, out: Option<&Path>) -> Done {
    let host = Arc::new(Host::new().context("no temporary directory")?);
    let (chain, _) = args.setup.chain(&host)?;
    let files = files(folder)?;
    if let Some(out) = out {
        fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    }
    let work = Work { args, host: &host, chain: &chain, files: &files, out, next: AtomicUsize::new(0) };
    // An instance for each thread, which a broker would have too.
    work.batch(&files[..1])?;
    let began = Instant::now();
    let done: Vec<Done> = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|_| scope.spawn(|| work.run())).collect();
        let done = |thread: thread::ScopedJoinHandle<'_, Done>| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread ended abnormally")))
        };
        threads.into_iter().map(done).collect()
    });
    let took = began.elapsed();
    done.into_iter().try_fold(Figures { took, ..Figures::default() }, |sum, done| Ok(sum.with(&done?)))
}

/// The files of a folder, by name.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files: Vec<PathBuf> = paths?.into_iter().filter(|path| path.is_file()).collect();
    files.sort();
    if files.is_empty() {
        let help = "give a folder with files of one content type";
        return Err(Failure::new(format!("there is no file in {}", folder.display()), help).into());
    }
    Ok(files)
}

/// What the threads share.
struct Work<'a> {
    args: &'a Args,
    host: &'a Host,
    chain: &'a Chain,
    files: &'a [PathBuf],
    out: Option<&'a Path>,
    next: AtomicUsize,
}

impl Work<'_> {
    fn run(&self) -> Done {
        let batch = usize::from(self.args.batch);
        let mut sum = Figures::default();
        loop {
            let at = self.next.fetch_add(batch, Ordering::Relaxed);
            let Some(left) = self.files.get(at..).filter(|left| !left.is_empty()) else { return Ok(sum) };
            sum = sum.with(&self.batch(&left[..batch.min(left.len())])?);
        }
    }

    fn batch(&self, files: &[PathBuf]) -> Done {
        let mut figures = Figures::default();
        let mut inputs = Vec::with_capacity(files.len());
        for path in files {
            let input = self.read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            figures.octets += input.body.body().size();
            inputs.push(input);
        }
        let records = self.args.outputs(self.chain, inputs);
        ensure!(records.len() == files.len(), "the sandbox gave {} results", records.len());
        for (path, record) in files.iter().zip(records) {
            match record {
                Ok(outputs) => {
                    figures.passed += 1;
                    let name = path.file_name().context("a file without a name")?;
                    for output in outputs {
                        self.write(name.as_ref(), output.body.body())?;
                    }
                }
                Err(RunFailure::Refused { .. }) => figures.refused += 1,
                Err(RunFailure::Failed { kind, reason, .. }) => {
                    let what = format!("the plugin failed on {}: {reason} ({kind})", path.display());
                    return Err(Failure::new(what, "this is a defect of the plugin, or a limit").into());
                }
            }
        }
        Ok(figures)
    }

    /// Small files with two calls of the system, whatever their size.
    fn read(&self, path: &Path) -> anyhow::Result<Input> {
        let mut file = File::open(path)?;
        let octets = file.metadata()?.len();
        self.args.setup.input(self.host, &mut file, octets)
    }

    fn write(&self, name: &Path, body: &Body) -> anyhow::Result<()> {
        let Some(out) = self.out else { return Ok(()) };
        let path = out.join(name);
        let octets = match body {
            Body::Inline(octets) => octets.clone(),
            Body::Blob(_) => self.host.octets(body, BODY_OCTETS_MAX)?.into(),
        };
        fs::write(&path, octets).with_context(|| format!("{} cannot be written", path.display()))
    }
}

impl Figures {
    fn with(mut self, other: &Self) -> Self {
        self.passed += other.passed;
        self.refused += other.refused;
        self.octets += other.octets;
        self
    }

    pub(super) fn show(&self, args: &Args) -> std::io::Result<()> {
        let seconds = self.took.as_secs_f64();
        let (rate, octets) = ((self.passed + self.refused) as f64 / seconds, self.octets as f64 / seconds);
        if args.json {
            return print_json(&json!({
                "threads": args.threads, "batch": args.batch, "passed": self.passed, "refused": self.refused,
                "files_per_second": rate, "octets_per_second": octets, "seconds": seconds,
            }));
        }
        print(format_args!(
            "{} files passed, {} were refused, {} threads\n  {rate:.0} files/s, {:.1} MB/s",
            self.passed,
            self.refused,
            args.threads,
            octets / 1e6
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Setup;
    use super::*;

    fn args(content_type: &str) -> Args {
        let setup = Setup::new("deidentify", content_type);
        Args { setup, batch: 3, seconds: 1, json: true, files: None, out: None, threads: 2, receipts: false }
    }

    #[test]
    fn each_file_goes_through_once_and_comes_out_under_its_name() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for number in 0..10 {
            let message =
                format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|{number}|P|2.5.1\rPID|1||{number}||DOE^JANE\r");
            fs::write(from.path().join(format!("{number}.hl7")), message).unwrap();
        }
        fs::write(from.path().join("other.hl7"), "no message").unwrap();
        for receipts in [false, true] {
            let args = Args { receipts, ..args("application/hl7-v2") };
            let done = measure(&args, from.path(), Some(to.path())).unwrap();
            assert_eq!((done.passed, done.refused), (10, 1));
            assert!(done.octets > 500);
        }
        let out = files(to.path()).unwrap();
        assert_eq!(out.len(), 10);
        assert!(out.iter().all(|path| !fs::read_to_string(path).unwrap().contains("DOE")));
    }

    #[test]
    fn an_empty_folder_is_said_to_be_one() {
        let from = tempfile::tempdir().unwrap();
        let error = measure(&args("application/hl7-v2"), from.path(), None).unwrap_err();
        assert!(error.to_string().contains("there is no file in"), "{error}");
    }
}
