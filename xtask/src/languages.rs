//! Plugins in each language, made as a stranger would make them: new projects that build and pass their tests at once, and
//! the examples in Python and JavaScript.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::step::{binary, finish, root};

/// The worlds and the languages that a project may be of. Each pair is made anew: what is in a template for one world is not in that
/// for another.
const WORLDS: [&str; 3] = ["transform", "authorize", "observe"];
const LANGUAGES: [&str; 3] = ["rust", "python", "javascript"];
/// Plugins of the repository that are not compiled with the others.
const EXAMPLES: [&str; 2] = ["examples/plugins/python-readings", "examples/plugins/javascript-observation"];

/// Makes, builds and tests them all; what is installed and made goes below `base`.
pub(crate) fn run(base: &Path) -> anyhow::Result<()> {
    let projects = base.join("projects");
    if projects.exists() {
        fs::remove_dir_all(&projects).with_context(|| format!("cannot remove {}", projects.display()))?;
    }
    let pairs = LANGUAGES.into_iter().flat_map(|lang| WORLDS.map(|world| (lang, world)));
    for (lang, world) in pairs {
        let project = projects.join(format!("{lang}-{world}"));
        println!("==> a new plugin in {lang}, world {world}");
        let mut new = Command::new(binary("hilum"));
        new.args(["plugin", "new", &format!("new-{world}"), "--lang", lang, "--world", world, "--path"]);
        finish(new.arg(&project))?;
        if lang == "rust" {
            // The versions that the repository was tested with, and not what came out since.
            fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).context("Cargo.lock")?;
        }
        test(base, &project)?;
    }
    for example in EXAMPLES {
        println!("==> {example}");
        test(base, &root().join(example))?;
    }
    Ok(())
}

fn test(base: &Path, project: &Path) -> anyhow::Result<()> {
    let mut test = Command::new(binary("hilum"));
    test.args(["plugin", "test"]).arg(project).arg("--tools").arg(base.join("compilers"));
    // One directory for all projects, so that the SDK is compiled once.
    finish(test.env("CARGO_TARGET_DIR", base.join("projects-target")))
}
