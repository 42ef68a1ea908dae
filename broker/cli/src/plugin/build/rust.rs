//! Plugins in Rust: cargo, for wasm32-wasip2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use super::super::project::Project;
use super::tool::{answer, openly};
use crate::output::Failure;

/// What plugins are compiled for (WASI 0.2, the component model).
const TARGET: &str = "wasm32-wasip2";

/// Compiles the package of the project's directory.
pub(super) fn build(project: &Project, to: &Path) -> anyhow::Result<()> {
    project.contract()?;
    ensure_target(&project.root)?;
    let mut cargo = cargo(project);
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot run cargo: install Rust, see https://rustup.rs")?;
    if !output.status.success() {
        return Err(Failure::new("the plugin does not compile", "what cargo said is above").into());
    }
    let manifest = project.root.join("Cargo.toml").canonicalize().context("the project has no Cargo.toml")?;
    let component = component(&String::from_utf8_lossy(&output.stdout), &manifest).ok_or_else(|| {
        let help = "its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`";
        Failure::new("cargo made no component of the package", help)
    })?;
    fs::copy(&component, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

/// Runs the package's tests.
pub(super) fn test(project: &Project) -> anyhow::Result<()> {
    project.contract()?;
    openly(cargo(project).arg("test"))
}

fn cargo(project: &Project) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&project.root);
    cargo
}

/// Adds the target to the toolchain of the project if it is not there.
fn ensure_target(root: &Path) -> anyhow::Result<()> {
    let libraries = answer(Command::new("rustc").current_dir(root).args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]));
    if libraries.is_some_and(|path| Path::new(&path).is_dir()) {
        return Ok(());
    }
    eprintln!("adding the target {TARGET}");
    openly(Command::new("rustup").current_dir(root).args(["target", "add", TARGET])).map_err(|error| {
        let what = format!("the Rust toolchain has no target {TARGET}, and it was not added: {error}");
        let help =
            format!("run `rustup target add {TARGET}`, or install the target as the toolchain's vendor says");
        Failure::new(what, help).into()
    })
}

/// The component among what cargo says that it made (its `compiler-artifact` messages).
fn component(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let made = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
    });
    made.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_that_of_the_projects_own_package() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/v/Cargo.toml","filenames":["/t/other.wasm"]}
{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","filenames":["/t/libmine.rlib","/t/mine.wasm"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(component(messages, Path::new("/p/Cargo.toml")), Some("/t/mine.wasm".into()));
        assert_eq!(component(messages, Path::new("/q/Cargo.toml")), None);
    }
}
