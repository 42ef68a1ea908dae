//! `cargo xtask bench deidentify`: our plugin in the sandbox, the same code without one, and engines that others wrote, on the same
//! files in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::interop::ensure_program;
use crate::python::{install, python};
use crate::step::{cargo, finish, root, target_directory};

/// Packages of PyPI, installed together: three engines, and what they import.
const PACKAGES: [&str; 5] =
    ["dicom-anonymizer==2.1.0", "dicognito==0.19.0", "dcmanon==0.3.1", "pydicom==3.0.2", "tqdm==4.70.1"];
/// A CT image of 39 kB that comes with pydicom.
const SOURCE: &str = "pydicom/data/test_files/CT_small.dcm";
/// Processes or threads of an engine that is a program or a library.
const WORKERS: &str = "2";
/// Requests at a time where it is a server.
const CLIENTS: &str = "4";
/// The files of one call of the plugin.
const BATCH: &str = "16";
/// The slow ones get one file of so many.
const SLOW_SHARE: usize = 10;

const USAGE: &str = "usage: cargo xtask bench deidentify [--files N] [--rounds N] [--dir FOLDER] [--json]";
/// Where files are in memory, if the system has that: a disk would be all that is measured.
const MEMORY: &str = "/dev/shm";

/// What is measured, and how many times faster than it the plugin is to be. Below 1, how many times slower it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sandbox {
        /// Whether it makes a broker's receipts, with digests of what goes in and comes out, which none of the others has.
        receipts: bool,
    },
    Native,
    Peer {
        name: &'static str,
        workers: &'static str,
        is_slow: bool,
    },
}

/// All of them, with what the plugin's rate is to be of theirs, where something is asked.
const ENGINES: [(Engine, Option<f64>); 7] = [
    (Engine::Sandbox { receipts: false }, None),
    (Engine::Sandbox { receipts: true }, None),
    (Engine::Native, Some(1.0 / 1.6)),
    (Engine::Peer { name: "orthanc", workers: CLIENTS, is_slow: false }, Some(5.0)),
    (Engine::Peer { name: "dcmanon", workers: WORKERS, is_slow: false }, Some(3.0)),
    (Engine::Peer { name: "kitware", workers: WORKERS, is_slow: true }, None),
    (Engine::Peer { name: "dicognito", workers: WORKERS, is_slow: true }, None),
];

impl Engine {
    fn title(self) -> &'static str {
        match self {
            Self::Sandbox { receipts: false } => "deidentify, in the sandbox",
            Self::Sandbox { receipts: true } => "the same with a broker's receipts",
            Self::Native => "deidentify, without a sandbox",
            Self::Peer { name: "orthanc", .. } => "Orthanc, /instances/{id}/anonymize, 4 clients",
            Self::Peer { name: "kitware", .. } => "Kitware dicom-anonymizer",
            Self::Peer { name, .. } => name,
        }
    }
}

struct Arguments {
    files: usize,
    rounds: usize,
    /// Where the files go.
    dir: PathBuf,
    json: bool,
}

impl Arguments {
    fn read(given: &[String]) -> anyhow::Result<Self> {
        let dir = Some(PathBuf::from(MEMORY)).filter(|dir| dir.is_dir()).unwrap_or_else(std::env::temp_dir);
        let mut read = Self { files: 2000, rounds: 3, dir, json: false };
        let mut given = given.iter();
        while let Some(argument) = given.next() {
            if argument == "--json" {
                read.json = true;
                continue;
            }
            let value = given.next().context(USAGE)?;
            match argument.as_str() {
                "--files" => read.files = value.parse().context(USAGE)?,
                "--rounds" => read.rounds = value.parse().context(USAGE)?,
                "--dir" => read.dir = value.into(),
                _ => bail!(USAGE),
            }
        }
        ensure!((10..=100_000).contains(&read.files) && (1..=100).contains(&read.rounds), USAGE);
        Ok(read)
    }
}

/// Installs, builds, makes the files and measures.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let Arguments { files, rounds, dir, json } = Arguments::read(arguments)?;
    let base = target_directory().join("peers");
    fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
    ensure_program("Orthanc", "orthanc")?;
    let work = Work(dir.join(format!("hilum-bench-{}", std::process::id())));
    fs::create_dir_all(&work.0).with_context(|| format!("cannot make {}", work.0.display()))?;
    let bench = Bench { python: python()?, packages: base.join("python"), base, work };
    bench.install()?;
    cargo(&["build", "--release", "--package", "hilum", "--bin", "hilum"])?;
    cargo(&["build", "--release", "--package", "hilum-deidentify", "--example", "native"])?;
    bench.prepare("all", files)?;
    bench.prepare("some", (files / SLOW_SHARE).max(1))?;
    let mut rates = vec![Vec::new(); ENGINES.len()];
    for round in 1..=rounds {
        for ((engine, _), rates) in ENGINES.iter().zip(&mut rates) {
            let rate = bench.rate(*engine).with_context(|| engine.title())?;
            eprintln!("round {round} of {rounds}: {}: {rate:.0} files a second", engine.title());
            rates.push(rate);
        }
    }
    show(&rates, json);
    Ok(())
}

fn show(rates: &[Vec<f64>], json: bool) {
    let medians: Vec<f64> = rates.iter().map(|rates| median(rates)).collect();
    let ours = medians[0];
    if json {
        let line = |((engine, aim), median): (&(Engine, Option<f64>), &f64)| {
            let aim = aim.map_or("null".to_owned(), |aim| format!("{aim:.3}"));
            let (title, ratio) = (engine.title(), ours / median);
            format!(r#"{{"engine":"{title}","files_per_second":{median:.0},"ratio":{ratio:.3},"aim":{aim}}}"#)
        };
        let lines: Vec<String> = ENGINES.iter().zip(&medians).map(line).collect();
        println!("[{}]", lines.join(","));
        return;
    }
    println!("{:<48}{:>14}{:>24}{:>10}", "", "files a second", "ours is times as fast", "aim");
    for ((engine, aim), median) in ENGINES.iter().zip(&medians) {
        let aim = aim.map_or(String::new(), |aim| format!("{aim:.2}"));
        println!("{:<48}{median:>14.0}{:>24.2}{aim:>10}", engine.title(), ours / median);
    }
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Where everything is.
struct Bench {
    base: PathBuf,
    python: String,
    packages: PathBuf,
    work: Work,
}

/// The folder of files, which goes with it.
struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is still there: {error}", self.0.display());
        }
    }
}

impl Bench {
    /// Installs the packages once; a stamp says which are there.
    fn install(&self) -> anyhow::Result<()> {
        let (stamp, wanted) = (self.base.join("installed"), PACKAGES.join(" "));
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        crate::interop::remove(&self.packages)?;
        install(&self.python, &self.packages, &PACKAGES)?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }

    fn script(&self) -> Command {
        let mut script = Command::new(&self.python);
        script.arg("tests/peers/deidentify.py").env("PYTHONPATH", &self.packages);
        script.env("PYTHONDONTWRITEBYTECODE", "1").env("TMPDIR", &self.work.0);
        script
    }

    fn prepare(&self, name: &str, count: usize) -> anyhow::Result<()> {
        let to = self.work.0.join(name);
        crate::interop::remove(&to)?;
        let mut script = self.script();
        script.arg("prepare").arg(self.packages.join(SOURCE)).arg(count.to_string()).arg(to);
        finish(&mut script)
    }

    /// Files a second of an engine, which writes them all.
    fn rate(&self, engine: Engine) -> anyhow::Result<f64> {
        let to = self.work.0.join("made");
        crate::interop::remove(&to)?;
        let built = target_directory().join("release");
        let all = self.work.0.join("all");
        match engine {
            Engine::Sandbox { receipts } => {
                let mut hilum = Command::new(built.join("hilum"));
                hilum.args([
                    "plugin",
                    "bench",
                    "deidentify",
                    "--content-type",
                    "application/dicom",
                    "--json",
                ]);
                hilum.args(["--batch", BATCH, "--threads", WORKERS]).arg("--files").arg(&all);
                let printed = printed(hilum.arg("--out").arg(&to).args(receipts.then_some("--receipts")))?;
                ensure!(field(&printed, "refused")? == 0.0, "the plugin refused files");
                let rate = field(&printed, "files_per_second")?;
                self.whole(&to, &all).map(|()| rate)
            }
            Engine::Native => {
                let mut native = Command::new(built.join("examples/native"));
                let rate = printed(native.args([&all, &to]).arg(WORKERS))?.trim().parse()?;
                self.whole(&to, &all).map(|()| rate)
            }
            Engine::Peer { name, workers, is_slow } => {
                let from = if is_slow { self.work.0.join("some") } else { all };
                let rate = printed(self.script().args(["run", name]).args([&from, &to]).arg(workers))?;
                let rate = rate.trim().parse()?;
                self.whole(&to, &from).map(|()| rate)
            }
        }
    }

    /// Whether there is a file for each.
    fn whole(&self, made: &Path, from: &Path) -> anyhow::Result<()> {
        let count = |of: &Path| fs::read_dir(of).map(Iterator::count);
        let (made, from) = (count(made)?, count(from)?);
        ensure!(made == from, "it made {made} files of {from}");
        Ok(())
    }
}

fn printed(command: &mut Command) -> anyhow::Result<String> {
    command.current_dir(root()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// A number of a JSON object that `hilum` printed.
fn field(printed: &str, name: &str) -> anyhow::Result<f64> {
    let (_, after) = printed.split_once(&format!("\"{name}\":")).with_context(|| format!("no {name}"))?;
    let end = after.find([',', '}']).unwrap_or(after.len());
    after[..end].trim().parse().with_context(|| format!("{name} is no number"))
}
