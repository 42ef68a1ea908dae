//! Compiles plugin crates of a workspace to WebAssembly components, from a build script or from a test.
//!
//! ```no_run
//! let guests = hilum_plugin_build::Guests::in_build_script("../..");
//! let components = guests.build(&["hilum-access", "hilum-encrypt"]).unwrap_or_else(|error| panic!("{error}"));
//! ```
//!
//! The compilation is a cargo run of its own with a target directory of its own (`<target>/plugins`), so that it neither waits for
//! the outer cargo's lock nor rebuilds because of the outer cargo's flags. All packages of one call are one run.

mod sbom;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use sbom::{SbomError, sbom};

/// What plugins are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// Variables of an outer cargo that would change or break the inner one: flags for the host's target, clippy's wrapper, the outer
/// jobserver and the outer target directory. Those of `CARGO_CFG_`, `CARGO_PKG_` and the like do no harm.
const LEAKING: [&str; 15] = [
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

/// The release profile of a plugin: fast code, nothing that is not needed to run.
const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
];

/// Directories besides the guests' own whose change makes a plugin another one.
const SHARED_SOURCES: [&str; 3] = ["sdk/plugin", "sdk/formats", "wit"];

/// Why plugins were not compiled.
#[derive(Debug)]
pub enum BuildError {
    /// The standard library for [`TARGET`] is not installed.
    TargetMissing,
    /// Cargo could not be started.
    Cargo(std::io::Error),
    /// Cargo failed; what it said.
    Failed(String),
    /// Cargo succeeded and yet there is no component.
    NoComponent(PathBuf),
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TargetMissing => write!(
                f,
                "the plugins are compiled for {TARGET}, which is not installed: run `rustup target add {TARGET}`, or \
                 `cargo xtask demo`, which does so"
            ),
            Self::Cargo(error) => write!(f, "cargo could not be started to compile the plugins: {error}"),
            Self::Failed(output) => write!(f, "the plugins do not compile:\n{output}"),
            Self::NoComponent(path) => {
                write!(f, "{} was not made: is the package's crate-type `cdylib`?", path.display())
            }
        }
    }
}

impl std::error::Error for BuildError {}

/// The plugin crates of one workspace.
#[derive(Debug, Clone)]
pub struct Guests {
    workspace: PathBuf,
    target: PathBuf,
}

impl Guests {
    /// Guests of a workspace, compiled into a target directory.
    #[must_use]
    pub fn new(workspace: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { workspace: workspace.into(), target: target.into() }
    }

    /// Guests for a build script whose package is in the workspace at `workspace`, relative to its manifest. Tells cargo
    /// to run the script again when something that all guests share has changed.
    ///
    /// # Panics
    ///
    /// If it is not called from a build script.
    #[must_use]
    pub fn in_build_script(workspace: &str) -> Self {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
        let workspace = Path::new(&manifest).join(workspace);
        // OUT_DIR is <target>[/<triple>]/<profile>/build/<package>-<hash>/out.
        let target = out.ancestors().nth(4).expect("OUT_DIR is four levels below the target directory");
        for shared in SHARED_SOURCES {
            println!("cargo::rerun-if-changed={}", workspace.join(shared).display());
        }
        Self::new(&workspace, target.join("plugins"))
    }

    /// Tells cargo to run the build script again when a guest in this directory, relative to the workspace, has changed.
    #[must_use]
    pub fn watch(self, directory: &str) -> Self {
        println!("cargo::rerun-if-changed={}", self.workspace.join(directory).display());
        self
    }

    /// Compiles packages; gives the path of each one's component, in order.
    ///
    /// # Errors
    ///
    /// [`BuildError`], whose text says what to do.
    pub fn build(&self, packages: &[&str]) -> Result<Vec<PathBuf>, BuildError> {
        let output = self.command(packages).output().map_err(BuildError::Cargo)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let missing =
                said.contains("can't find crate for `core`") || said.contains("can't find crate for `std`");
            return Err(if missing { BuildError::TargetMissing } else { BuildError::Failed(said) });
        }
        packages.iter().map(|package| self.component(package)).collect()
    }

    fn command(&self, packages: &[&str]) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.workspace).args(["build", "--release", "--quiet", "--target", TARGET]);
        command.arg("--target-dir").arg(&self.target);
        for package in packages {
            command.args(["--package", package]);
        }
        without_leaks(&mut command).envs(PROFILE);
        command
    }

    fn component(&self, package: &str) -> Result<PathBuf, BuildError> {
        let file = format!("{}.wasm", package.replace('-', "_"));
        let path = self.target.join(TARGET).join("release").join(file);
        if path.is_file() { Ok(path) } else { Err(BuildError::NoComponent(path)) }
    }
}

/// Takes away what an outer cargo set.
fn without_leaks(command: &mut Command) -> &mut Command {
    LEAKING.iter().fold(command, |command, variable| command.env_remove(variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_cargo_gets_its_own_target_directory_and_none_of_the_outer_flags() {
        let command = Guests::new("/ws", "/ws/target/plugins").command(&["a", "b"]);
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(
            args[1..].join(" "),
            "--release --quiet --target wasm32-wasip2 --target-dir /ws/target/plugins --package a --package b"
        );
        let cleared: Vec<_> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(LEAKING.iter().all(|name| cleared.iter().any(|cleared| cleared == name)));
    }

    #[test]
    fn a_missing_component_is_named() {
        let error = Guests::new("/ws", "/nowhere").component("hilum-access").unwrap_err();
        assert!(
            error.to_string().starts_with("/nowhere/wasm32-wasip2/release/hilum_access.wasm was not made")
        );
    }
}
