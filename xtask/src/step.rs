//! Running programs, and lists of steps that say how long each took.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

/// The root of the working tree.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

/// Where cargo builds to.
pub(crate) fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// The path of a binary of the `dev` profile.
pub(crate) fn binary(name: &str) -> String {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    target_directory().join("debug").join(file).display().to_string()
}

/// Runs cargo in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    program(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

/// Runs a program in the workspace's root, its output going where ours goes, its input empty.
pub(crate) fn program(path: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(path);
    command.args(arguments);
    finish(&mut command)
}

/// Runs a prepared command in the workspace's root and makes a failure an error that names it.
pub(crate) fn finish(command: &mut Command) -> anyhow::Result<()> {
    command.current_dir(root()).stdin(Stdio::null());
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// What a program prints, if it can be run and succeeds.
pub(crate) fn output(path: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(path).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// One step of a list.
pub(crate) struct Step {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: fn() -> anyhow::Result<()>,
}

/// Runs steps in order up to the first failure, with a line for each.
pub(crate) fn run_steps(steps: &[Step]) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let outcome = steps.iter().try_for_each(|step| {
        println!("==> {}", step.name);
        let start = Instant::now();
        let outcome = (step.run)();
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        lines.push(format!("==> {:<12} {word:<6} {:>7.1} s", step.name, start.elapsed().as_secs_f64()));
        outcome.with_context(|| format!("step `{}`", step.name))
    });
    for line in lines {
        println!("{line}");
    }
    outcome
}
