//! `cargo xtask fuzz`: builds the targets of `tests/fuzz` with coverage counters, on the toolchain that builds all else, and
//! runs each for as long as wanted.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::step::{self, finish, root};

/// What LLVM adds for libFuzzer: a counter for each edge, and what comparisons compare.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
/// Seconds for each target where nobody says.
const SECONDS: u32 = 60;
/// libFuzzer's limits: memory of the process, seconds of one input, octets of one input.
const LIMITS: [&str; 3] = ["-rss_limit_mb=2048", "-timeout=20", "-max_len=8192"];

/// Runs `[TARGET...] [--seconds N]`: all targets where none is named.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let plan = plan(arguments, &targets()?)?;
    let binaries = build()?;
    let mut reports = Vec::new();
    for target in &plan.targets {
        println!("==> {target}, {} s", plan.seconds);
        reports.push(fuzz(&binaries, target, plan.seconds)?);
    }
    println!("{:<12} {:>13} {:>9} {:>9}  findings", "target", "executions", "coverage", "corpus");
    for Report { target, executions, coverage, corpus, findings } in &reports {
        println!("{target:<12} {executions:>13} {coverage:>9} {corpus:>9}  {}", findings.len());
    }
    let findings: Vec<_> = reports.into_iter().flat_map(|report| report.findings).collect();
    if findings.is_empty() {
        return Ok(());
    }
    let run = "run one alone with `target/fuzz/TRIPLE/release/TARGET FILE`";
    bail!("inputs were found that break a property; {run}:\n  {}", findings.join("\n  "))
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    targets: Vec<String>,
    seconds: u32,
}

fn plan(arguments: &[String], known: &[String]) -> anyhow::Result<Plan> {
    let (mut targets, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().context("`--seconds` needs a number")?;
            seconds = number.parse().with_context(|| format!("`--seconds {number}`"))?;
        } else if known.contains(argument) {
            targets.push(argument.clone());
        } else {
            bail!("there is no target `{argument}`; there are {}", known.join(", "));
        }
    }
    if seconds == 0 {
        bail!("`--seconds 0` would never end");
    }
    if targets.is_empty() {
        targets = known.to_vec();
    }
    Ok(Plan { targets, seconds })
}

fn package() -> PathBuf {
    root().join("tests/fuzz")
}

/// The names of the targets: one binary each.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = package().join("src/bin");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn output() -> PathBuf {
    step::target_directory().join("fuzz")
}

/// Builds all targets; where their binaries are.
fn build() -> anyhow::Result<PathBuf> {
    let about = step::output("rustc", &["-vV"]).context("`rustc -vV` says nothing")?;
    let triple = about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    // With a target named, build scripts and macros are compiled without the counters.
    command.args(["build", "--release", "--locked", "--target", triple, "--manifest-path"]);
    command.arg(package().join("Cargo.toml"));
    command.env("RUSTFLAGS", RUSTFLAGS).env("CARGO_TARGET_DIR", output());
    finish(&mut command)?;
    Ok(output().join(triple).join("release"))
}

/// What became of one target.
#[derive(Debug)]
struct Report {
    target: String,
    executions: u64,
    /// Edges that were reached.
    coverage: u64,
    /// Inputs that each reach something else.
    corpus: u64,
    /// Inputs that break a property.
    findings: Vec<String>,
}

fn fuzz(binaries: &Path, target: &str, seconds: u32) -> anyhow::Result<Report> {
    let folder = |name: &str| -> anyhow::Result<PathBuf> {
        let folder = output().join(name).join(target);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    };
    let (corpus, seeds, findings) = (folder("corpus")?, folder("seeds")?, folder("findings")?);
    let binary = binaries.join(target);
    finish(Command::new(&binary).env("HILUM_FUZZ_SEEDS", &seeds))?;
    let before = files(&findings)?;
    let log = folder("logs")?.join("log");
    let written = File::create(&log).with_context(|| log.display().to_string())?;
    let status = Command::new(&binary)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(LIMITS)
        .arg("-print_final_stats=1")
        .args([&corpus, &seeds])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(written)
        .status()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let mut found: Vec<String> = files(&findings)?.difference(&before).cloned().collect();
    if !status.success() && found.is_empty() {
        // It was found before, or libFuzzer itself gave up.
        found.push(format!("{target}: {status}, see {}", log.display()));
    }
    Ok(report(target, &text, found))
}

fn files(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path().display().to_string())).collect()
}

/// Reads what libFuzzer printed.
fn report(target: &str, log: &str, findings: Vec<String>) -> Report {
    let after = |line: &str, label: &str| -> Option<u64> {
        line.split_once(label)?.1.split_whitespace().next()?.split('/').next()?.parse().ok()
    };
    let last = |label: &str| log.lines().rev().find_map(|line| after(line, label)).unwrap_or(0);
    Report {
        target: target.to_owned(),
        executions: last("stat::number_of_executed_units:"),
        coverage: last(" cov: "),
        corpus: last(" corp: "),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(arguments: &[&str]) -> Option<(Vec<String>, u32)> {
        let known = ["hl7", "wire"].map(str::to_owned);
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        plan(&arguments, &known).ok().map(|plan| (plan.targets, plan.seconds))
    }

    #[test]
    fn targets_and_seconds_are_taken_and_all_else_refused() {
        assert_eq!(planned(&[]), Some((vec!["hl7".into(), "wire".into()], SECONDS)));
        assert_eq!(planned(&["wire", "--seconds", "600"]), Some((vec!["wire".into()], 600)));
        for wrong in [&["other"][..], &["--seconds"], &["--seconds", "0"], &["--seconds", "x"]] {
            assert_eq!(planned(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_module_that_checks_has_a_binary_and_is_in_the_list() {
        let source = package().join("src");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let list = read(&source.join("lib.rs"));
        let mut checking: Vec<String> = Vec::new();
        for entry in fs::read_dir(&source).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && read(&path).contains("\npub fn check(") {
                checking.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
        checking.sort();
        assert_eq!(targets().unwrap(), checking);
        for target in checking {
            let row = |line: &str| line.starts_with("//! | ") && line.contains(&format!("[`{target}`]"));
            assert!(list.lines().any(row), "`{target}` is not in the list of src/lib.rs");
        }
    }

    #[test]
    fn the_last_numbers_of_a_log_count() {
        let log = "#2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0\n#9 REDUCE cov: 12 ft: 13 corp: 5/29b lim: 9\n\
                   stat::number_of_executed_units: 96719\n";
        let report = report("wire", log, Vec::new());
        assert_eq!((report.executions, report.coverage, report.corpus), (96_719, 12, 5));
    }
}
