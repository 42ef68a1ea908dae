//! `hilum plugin`: makes plugins, looks at them and runs them in the real sandbox, without a broker; puts others in the place of
//! those that a running broker has, and shows what they keep there.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_sandbox::package::Package;
use hilum_sandbox::{Plugin, Sandbox, Settings};

use crate::bundled;
use crate::output::Failure;

mod bench;
mod build;
mod edit;
mod host;
mod inspect;
mod life;
mod new;
mod package;
mod project;
mod record;
mod replay;
mod run;
mod score;
mod sdk;
mod setup;
mod slice;
mod spans;
mod state;
mod test;
mod trial;

pub(crate) use host::{Host, command_line};

/// What `hilum plugin` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hilum plugin new dose-check --world transform && cd dose-check && hilum plugin test
  hilum plugin inspect deidentify
  hilum plugin run deidentify --content-type application/dicom < scan.dcm > clean.dcm
  hilum plugin state list --dir st-marys --as operator")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a project for a new plugin
    New(new::Args),
    /// Compile a project to a component
    Build(build::Args),
    /// Run a project's tests, and its records through the real sandbox
    Test(test::Args),
    /// Keep records of a live flow as files, for tests
    Record(record::Args),
    /// Compare a candidate with the current version of a stage on a live flow's past
    Replay(replay::Args),
    /// Measure how long a plugin takes for a record
    Bench(bench::Args),
    /// Score a plugin on files with planted identifiers
    Score(score::Args),
    /// Run one plugin on one body: standard input to standard output
    Run(run::Args),
    /// Show what a plugin is, what it imports and how it is configured
    Inspect(inspect::Args),
    /// Show what the stages of a running broker run, and how that does
    Status(life::Status),
    /// Put another version of a plugin in its place
    Upgrade(life::Upgrade),
    /// Try another version of a plugin on a share of the records
    Canary(life::Canary),
    /// Take what is tried, for all records
    #[command(after_help = "Example:\n  hilum plugin promote st-marys deidentify --as operator")]
    Promote(life::Named),
    /// End a trial, and go on with the version that is there
    #[command(after_help = "Example:\n  hilum plugin rollback st-marys deidentify --as operator")]
    Rollback(life::Named),
    /// Take out a plugin that no stage uses
    #[command(after_help = "Example:\n  hilum plugin retire st-marys deidentify --as operator")]
    Retire(life::Named),
    /// Make a key to sign packages with
    Keygen(package::keygen::Args),
    /// Make a package of a component: with manifest and SBOM
    Pack(package::pack::Args),
    /// Sign a package
    Sign(package::sign::Args),
    /// Verify a package, and whether those signed who must
    Verify(package::verify::Args),
    /// Send a package to an OCI registry
    Push(package::push::Args),
    /// Get a package from an OCI registry
    Pull(package::pull::Args),
    /// See what observing plugins of a running broker keep, and export it
    State(state::Args),
}

/// Runs one of the commands.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::New(args) => blocking(move || new::run(&args)).await,
        Command::Build(args) => blocking(move || build::run(&args)).await,
        Command::Test(args) => blocking(move || test::run(&args)).await,
        Command::Record(args) => record::run(&args).await,
        Command::Replay(args) => replay::run(&args).await,
        Command::Bench(args) => blocking(move || bench::run(&args)).await,
        Command::Score(args) => blocking(move || score::run(&args)).await,
        Command::Run(args) => blocking(move || run::run(&args)).await,
        Command::Inspect(args) => blocking(move || inspect::run(&args)).await,
        Command::Status(args) => life::status(&args).await,
        Command::Upgrade(args) => life::upgrade(&args).await,
        Command::Canary(args) => life::canary(&args).await,
        Command::Promote(args) => life::promote(&args).await,
        Command::Rollback(args) => life::roll_back(&args).await,
        Command::Retire(args) => life::retire(&args).await,
        Command::Keygen(args) => blocking(move || package::keygen::run(&args)).await,
        Command::Pack(args) => blocking(move || package::pack::run(&args)).await,
        Command::Sign(args) => blocking(move || package::sign::run(&args)).await,
        Command::Verify(args) => blocking(move || package::verify::run(&args)).await,
        Command::Push(args) => package::push::run(args).await,
        Command::Pull(args) => package::pull::run(args).await,
        Command::State(args) => state::run(args).await,
    }
}

/// On a thread that may block.
async fn blocking(
    command: impl FnOnce() -> anyhow::Result<ExitCode> + Send + 'static,
) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(command).await.context("the command ended abnormally")?
}

/// Compiles a component: a bundled one by its name, that of a package, or a file. A name wins over a file of that name.
fn load(component: &str) -> anyhow::Result<(Sandbox, Arc<Plugin>)> {
    let (sandbox, plugin, _) = load_octets(component)?;
    Ok((sandbox, plugin))
}

/// As [`load`], with the component's octets.
fn load_octets(component: &str) -> anyhow::Result<(Sandbox, Arc<Plugin>, Vec<u8>)> {
    let octets = octets(component)?;
    let sandbox = sandbox()?;
    let plugin = sandbox.load(&octets).with_context(|| component.to_owned())?;
    Ok((sandbox, plugin, octets))
}

/// Compiles octets that are known already.
fn load_component(octets: &[u8]) -> anyhow::Result<Arc<Plugin>> {
    Ok(sandbox()?.load(octets)?)
}

fn sandbox() -> anyhow::Result<Sandbox> {
    Ok(Sandbox::new(Settings { instances: 4, ..Settings::default() })?)
}

/// The octets of a component.
fn octets(component: &str) -> anyhow::Result<Vec<u8>> {
    match bundled::PLUGINS.iter().find(|(name, _)| *name == component) {
        Some((_, octets)) => Ok(octets.to_vec()),
        None => {
            let path = Path::new(component);
            let file = if path.is_dir() { path.join(Package::COMPONENT) } else { path.to_owned() };
            Ok(fs::read(file).map_err(|error| not_read(component, &error))?)
        }
    }
}

fn not_read(component: &str, error: &std::io::Error) -> Failure {
    let names: Vec<&str> = bundled::PLUGINS.iter().map(|(name, _)| *name).collect();
    let help = format!("give the path of a component, or the name of a bundled plugin: {}", names.join(", "));
    Failure::new(format!("{component} cannot be read: {error}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_plugin_loads_under_its_own_name() {
        for (name, _) in bundled::PLUGINS {
            let (_, plugin) = load(name).unwrap();
            assert_eq!(plugin.description().name, *name);
        }
    }

    #[test]
    fn a_component_that_is_not_there_is_told_with_the_bundled_names() {
        let error = load("no/such/plugin.wasm").unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert!(failure.what.starts_with("no/such/plugin.wasm cannot be read"), "{}", failure.what);
        assert!(
            failure
                .help
                .contains("access, analytics, claims, deidentify, encrypt, relationships, rooms, security"),
            "{}",
            failure.help
        );
    }
}
