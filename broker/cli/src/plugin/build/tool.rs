//! Compilers: where they are installed, and how they are run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::project::Project;
use crate::output::Failure;

/// Lines of a failed tool that are shown: the last ones.
const LINES_MAX: usize = 60;

/// Where compilers go.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Tools {
    /// Where the compilers for Python and JavaScript are installed, instead of .hilum in the project
    #[arg(long, env = "HILUM_PLUGIN_TOOLS", value_name = "DIR")]
    tools: Option<PathBuf>,
}

impl Tools {
    /// The absolute path of a tool's directory; `install` fills it if it is not there. One that was not filled to the end is
    /// not there.
    pub(super) fn installed(
        &self,
        project: &Project,
        name: &str,
        install: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let tools = self.tools.clone().unwrap_or_else(|| project.work());
        fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
        let tools = tools.canonicalize().with_context(|| tools.display().to_string())?;
        let installed = tools.join(name);
        if installed.is_dir() {
            return Ok(installed);
        }
        let fresh = tempfile::Builder::new().prefix(".installing-").tempdir_in(&tools)?;
        install(fresh.path())?;
        // Where somebody else was faster, theirs is as good.
        if let Err(error) = fs::rename(fresh.path(), &installed)
            && !installed.is_dir()
        {
            return Err(error).with_context(|| format!("cannot make {}", installed.display()));
        }
        Ok(installed)
    }
}

/// Runs a tool that prints nothing worth seeing unless it fails; says what is under way.
pub(super) fn quietly(doing: &str, command: &mut Command) -> anyhow::Result<()> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}, {elapsed}").expect("the template is right"));
    bar.set_message(doing.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    let output = command.stdin(Stdio::null()).output();
    bar.finish_and_clear();
    let output = output.with_context(|| format!("cannot run `{}`", shown(command)))?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}", last_lines(&output));
    let what = format!("{doing} failed: `{}` ended with {}", shown(command), output.status);
    Err(Failure::new(what, "what it said is above").into())
}

/// Runs a tool whose words are for the user. They go to standard error: standard output is for our result.
pub(super) fn openly(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("cannot run `{}`", shown(command)))?;
    if status.success() {
        return Ok(());
    }
    let what = format!("`{}` ended with {status}", shown(command));
    Err(Failure::new(what, "what it said is above").into())
}

/// What a program prints, if it can be run and succeeds.
pub(super) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn last_lines(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}
