//! `hilum plugin build`: makes a project's component with the compiler of its language, and checks it in the sandbox.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use hilum_sandbox::{Plugin, Sandbox};
use serde_json::json;

use super::inspect;
use super::project::{FILE, Language, Project, World};
use crate::operate::size;
use crate::output::{Exit, Failure, print, print_json};

mod javascript;
mod python;
mod rust;
mod tool;
mod world;

pub(super) use tool::Tools;

/// What `hilum plugin build` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Which language it is and which world is in the project's `hilum-plugin.toml`. Rust is compiled with cargo for wasm32-wasip2. The \
compilers for Python and JavaScript are installed with pip and npm, at exact versions, the first time that they are needed.

The component is DIR/dist/NAME.wasm. It is loaded in the sandbox before it is called done: it has to be of the world that the \
project says, and to import nothing that a plugin does not get.

Examples:
  hilum plugin build
  hilum plugin build plugins/dose-check --json
  HILUM_PLUGIN_TOOLS=~/.cache/hilum hilum plugin build ward-gate")]
pub(super) struct Args {
    /// The directory of the project
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    tools: Tools,
    /// Print what `hilum plugin inspect --json` says of the component, and its path
    #[arg(long)]
    json: bool,
}

/// Builds the project.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let project = Project::read(&args.dir)?;
    let Built { path, octets, plugin, .. } = build(&project, &args.tools)?;
    if args.json {
        let mut of = inspect::as_json(&plugin, &octets);
        of["path"] = json!(path);
        print_json(&of)?;
    } else {
        let of = plugin.description();
        print(format_args!(
            "{}: {} {} ({}), {}, imports {}",
            path.display(),
            of.name,
            of.version,
            project.world.name(),
            size(octets.len() as u64),
            inspect::interfaces(&plugin).join(", "),
        ))?;
    }
    Ok(Exit::Ok.into())
}

/// A component, ready to run.
pub(super) struct Built {
    path: PathBuf,
    octets: Vec<u8>,
    pub(super) sandbox: Sandbox,
    pub(super) plugin: Arc<Plugin>,
}

/// Compiles, and loads what was made.
pub(super) fn build(project: &Project, tools: &Tools) -> anyhow::Result<Built> {
    let to = project.component();
    let dist = to.parent().context("a component is in a directory")?;
    fs::create_dir_all(dist).with_context(|| format!("cannot make {}", dist.display()))?;
    match project.language {
        Language::Rust => rust::build(project, &to)?,
        Language::Python => python::build(project, tools, &to)?,
        Language::Javascript => javascript::build(project, tools, &to)?,
    }
    load(project, to)
}

/// The project's own tests, without a sandbox.
pub(super) fn test_natively(project: &Project, tools: &Tools) -> anyhow::Result<()> {
    match project.language {
        Language::Rust => rust::test(project),
        Language::Python => python::test(project, tools),
        Language::Javascript => javascript::test(project),
    }
}

/// Loads a component as the project's.
pub(super) fn load(project: &Project, path: PathBuf) -> anyhow::Result<Built> {
    let octets = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let sandbox = Sandbox::new(project.stage.settings())?;
    let plugin = sandbox.load(&octets).with_context(|| path.display().to_string())?;
    let world = World::from(plugin.world());
    if world != project.world {
        let what = format!("{} is of the world `{}`", path.display(), world.name());
        let help = format!("export `{}`, or correct `world` in {FILE}", project.world.interface());
        return Err(Failure::new(what, help).into());
    }
    let name = &plugin.description().name;
    if *name != project.name {
        eprintln!("note: the plugin calls itself `{name}`, {FILE} calls it `{}`", project.name);
    }
    Ok(Built { path, octets, sandbox, plugin })
}
