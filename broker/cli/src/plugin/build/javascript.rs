//! Plugins in JavaScript: componentize-js, installed with npm and called as a library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::project::Project;
use super::tool::{Tools, answer, openly, quietly};
use super::world::{self, WORLD, absolute};
use crate::output::Failure;

/// The compiler, at an exact version.
const COMPILER: &str = "componentize-js-0.23.0";
const PACKAGE: &str = "{\"private\": true, \"type\": \"module\", \
     \"dependencies\": {\"@bytecodealliance/componentize-js\": \"0.23.0\"}}\n";
/// Its command line looks for WIT in the wrong place where the path is relative, and cannot leave WASI out.
const DRIVER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/javascript/componentize.mjs"));
/// The module that is compiled, around the project's own.
const ENTRY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/javascript/entry.js"));
/// The oldest Node.js that has the test runner and the syntax that templates use.
const NODE_MAJOR_MIN: u32 = 20;

/// Compiles `plugin.js` of the project's directory, with what it imports.
pub(super) fn build(project: &Project, tools: &Tools, to: &Path) -> anyhow::Result<()> {
    let source = project.root.join("plugin.js");
    if !source.is_file() {
        let help = "a plugin in JavaScript is its module `plugin.js`, which exports `plugin` and the interface of its world";
        return Err(Failure::new("the project has no plugin.js", help).into());
    }
    ensure_node()?;
    let directory = tools.installed(project, COMPILER, install)?;
    let mut compiler = Command::new("node");
    compiler.current_dir(&project.root).arg(directory.join("componentize.mjs"));
    let wit = world::write(project)?;
    compiler.arg(write_entry(project)?).arg(wit).arg(WORLD).arg(std::path::absolute(to)?);
    quietly("compiling with componentize-js", &mut compiler)
}

fn write_entry(project: &Project) -> anyhow::Result<PathBuf> {
    let version = world::version(&project.contract()?)?;
    let text = ENTRY.replace("{{contract}}", &version).replace("{{interface}}", project.world.interface());
    let entry = project.work().join("entry.js");
    fs::write(&entry, text).with_context(|| format!("cannot write {}", entry.display()))?;
    absolute(&entry)
}

/// Runs `tests/*.test.js` with the test runner of Node.js.
pub(super) fn test(project: &Project) -> anyhow::Result<()> {
    ensure_node()?;
    let mut files = Vec::new();
    if let Ok(entries) = fs::read_dir(project.root.join("tests")) {
        for entry in entries {
            let name = entry?.file_name();
            if name.to_string_lossy().ends_with(".test.js") {
                files.push(Path::new("tests").join(name));
            }
        }
    }
    if files.is_empty() {
        eprintln!("note: there is no tests/*.test.js, so there are no native tests");
        return Ok(());
    }
    files.sort();
    openly(Command::new("node").current_dir(&project.root).arg("--test").args(files))
}

fn install(to: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let file = to.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    write("package.json", PACKAGE)?;
    write("componentize.mjs", DRIVER)?;
    let mut npm = Command::new("npm");
    npm.current_dir(to).args(["install", "--no-audit", "--no-fund", "--no-update-notifier"]);
    quietly(&format!("installing {COMPILER}"), &mut npm)
}

fn ensure_node() -> anyhow::Result<()> {
    let version = answer(Command::new("node").arg("--version"));
    let major =
        version.as_deref().and_then(|version| version.strip_prefix('v')?.split('.').next()?.parse().ok());
    if major.is_some_and(|major: u32| major >= NODE_MAJOR_MIN) {
        return Ok(());
    }
    let found =
        version.map_or_else(|| "which was not found".to_owned(), |version| format!("and here is {version}"));
    let what = format!("a plugin in JavaScript needs Node.js {NODE_MAJOR_MIN} or newer, {found}");
    Err(Failure::new(what, "install Node.js with npm, see https://nodejs.org").into())
}
