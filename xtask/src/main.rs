//! The project's own tasks: `cargo xtask demo | test | interop | anomalies | crash | power | sim | fuzz | tables | ci | bench`.
//!
//! Each does all its own set-up, so that a fresh machine needs a Rust toolchain and a C compiler and nothing else (`interop`,
//! `anomalies` and `bench deidentify` also need Python with pip, `interop` npm too).

mod anomalies;
mod endurance;
mod fuzz;
mod interop;
mod languages;
mod peers;
mod python;
mod registry;
mod sim;
mod step;
mod tables;
mod target;

use std::process::ExitCode;

use anyhow::bail;
use step::{Step, binary, cargo, run_steps};

const USAGE: &str = "usage: cargo xtask <task>

  demo [ARGS]        build everything and run the example hospital
  test [ARGS]        build everything and run all tests; ARGS go to `cargo test`
  interop [--accept] run third-party files through a live broker, and packages through a registry; --accept writes what happened
                     down as what is expected. Then make, build and test plugins in Rust, Python and JavaScript as a stranger would
  anomalies [--tune] run series that others labelled through plugin analytics, beside a threshold and a control chart; --tune looks at
                     the training files instead
  crash [--cycles N] kill a broker under load, N times; nothing acked may be lost, doubled or out of order
  power [--cuts N]   cut the power of a broker's disk under load, N times; nothing acked may be lost
  sim ARGS           run seeds of the simulation: --seeds N [--from S], or --seed S --events to see one
  fuzz [TARGET...] [--seconds N]
                     feed the parsers inputs that look for new paths, each target for N seconds; findings are kept as files
  tables             make the tables of plugins/deidentify/data anew that are made of packages
  ci                 test, formatting, clippy, interop; stops at the first failure
  bench ARGS         build with optimisation and run `hilum bench ARGS`
  bench deidentify [--files N] [--rounds N] [--dir FOLDER] [--json]
                     the same files through plugin deidentify and through engines that others wrote, in turn";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match run(&task, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &str, rest: &[String]) -> anyhow::Result<()> {
    match task {
        "demo" => demo(rest),
        "test" => test(rest),
        "interop" => interop::run(rest),
        "ci" if rest.is_empty() => ci(),
        "anomalies" => anomalies::run(rest),
        "bench" if rest.first().is_some_and(|what| what == "deidentify") => peers::run(&rest[1..]),
        "bench" => bench(rest),
        "crash" => endurance::run(&endurance::CRASH, rest),
        "power" => endurance::run(&endurance::POWER, rest),
        "sim" => sim::run(rest),
        "fuzz" => fuzz::run(rest),
        "tables" if rest.is_empty() => tables::run(),
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown task or arguments\n\n{USAGE}"),
    }
}

/// Everything, in one go: a narrower selection would resolve features differently and compile most crates twice.
fn build() -> anyhow::Result<()> {
    target::ensure_wasm()?;
    cargo(&["build", "--workspace", "--all-targets"])
}

fn demo(rest: &[String]) -> anyhow::Result<()> {
    build()?;
    let hilum = binary("hilum");
    let mut arguments = vec!["demo", "--hilum", hilum.as_str()];
    arguments.extend(rest.iter().map(String::as_str));
    step::program(&binary("hospital"), &arguments)
}

fn test(rest: &[String]) -> anyhow::Result<()> {
    // The end-to-end tests start the real binary, which `cargo test` alone would not build for another package.
    build()?;
    let mut arguments = vec!["test", "--workspace"];
    arguments.extend(rest.iter().map(String::as_str));
    cargo(&arguments)
}

fn ci() -> anyhow::Result<()> {
    run_steps(&[
        Step { name: "test", run: || test(&[]) },
        Step { name: "formatting", run: || cargo(&["fmt", "--all", "--check"]) },
        Step {
            name: "clippy",
            run: || cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        },
        Step { name: "interop", run: || interop::run(&[]) },
    ])
}

fn bench(rest: &[String]) -> anyhow::Result<()> {
    target::ensure_wasm()?;
    let mut arguments = vec!["run", "--release", "--package", "hilum", "--bin", "hilum", "--", "bench"];
    arguments.extend(rest.iter().map(String::as_str));
    cargo(&arguments)
}
