//! Plugins in Python: componentize-py, installed with pip.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::project::Project;
use super::tool::{Tools, answer, openly, quietly};
use super::world::{self, WORLD, absolute};
use crate::output::Failure;

/// The compiler, which has no dependencies.
const COMPILER: &str = "componentize-py==0.25.0";
/// The module that the compiler begins with.
const MODULE: &str = "app";

/// Compiles the module `app` of the project's directory, with what it imports.
pub(super) fn build(project: &Project, tools: &Tools, to: &Path) -> anyhow::Result<()> {
    if !project.root.join("app.py").is_file() {
        let help = "a plugin in Python is its module `app`, with classes `Plugin` and that of its world";
        return Err(Failure::new("the project has no app.py", help).into());
    }
    let mut compiler = compiler(project, tools)?;
    compiler.arg("componentize").arg("--stub-wasi").arg("--python-path").arg(absolute(&project.root)?);
    compiler.arg("--output").arg(absolute_to(to)?).arg(MODULE);
    quietly("compiling with componentize-py", &mut compiler)
}

/// Runs the tests in `tests` with `unittest`. They may import `app`: the modules of the contract are generated for them.
pub(super) fn test(project: &Project, tools: &Tools) -> anyhow::Result<()> {
    if !project.root.join("tests").is_dir() {
        eprintln!("note: there is no folder `tests`, so there are no native tests");
        return Ok(());
    }
    let bindings = project.work().join("bindings");
    if bindings.exists() {
        std::fs::remove_dir_all(&bindings)?;
    }
    let mut compiler = compiler(project, tools)?;
    quietly("generating bindings", compiler.arg("bindings").arg(absolute_to(&bindings)?))?;
    let path = std::env::join_paths([absolute(&project.root)?, absolute(&bindings)?])?;
    let mut tests = Command::new(python()?);
    tests.current_dir(&project.root).args(["-m", "unittest", "discover", "--start-directory", "tests"]);
    openly(tests.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// componentize-py with the project's world.
fn compiler(project: &Project, tools: &Tools) -> anyhow::Result<Command> {
    let directory = tools.installed(project, &COMPILER.replace("==", "-"), install)?;
    let mut compiler = Command::new(directory.join("bin").join("componentize-py"));
    compiler.env("PYTHONPATH", &directory).current_dir(&project.root).arg("--quiet");
    compiler.arg("--wit-path").arg(world::write(project)?).args(["--world", WORLD]);
    Ok(compiler)
}

fn install(to: &Path) -> anyhow::Result<()> {
    let mut pip = Command::new(python()?);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    // An option of newer versions only; as a variable, older ones ignore it.
    pip.arg(to).arg(COMPILER).env("PIP_ROOT_USER_ACTION", "ignore");
    quietly(&format!("installing {COMPILER}"), &mut pip)
}

/// The name of a Python 3 that has pip.
fn python() -> anyhow::Result<&'static str> {
    let has_pip = |name: &&str| answer(Command::new(name).args(["-m", "pip", "--version"])).is_some();
    let found = ["python3", "python"].into_iter().find(has_pip);
    found.ok_or_else(|| {
        let help = "install Python 3 with pip, e.g. `apt-get install python3-pip`";
        Failure::new("a plugin in Python needs Python 3 with pip, which was not found", help).into()
    })
}

/// The absolute path of what will be made in a directory that exists.
fn absolute_to(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}
