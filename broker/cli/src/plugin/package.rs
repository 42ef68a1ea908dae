//! Packages on the command line: `hilum plugin keygen | pack | sign | verify | push | pull`, and what `inspect` says of one.

pub(super) mod keygen;
pub(super) mod pack;
pub(super) mod pull;
pub(super) mod push;
mod registry;
pub(super) mod show;
pub(super) mod sign;
pub(super) mod verify;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hilum_sandbox::package::Package;
use hilum_server::package;

use crate::output::Failure;

/// Reads a package, or says what one is.
fn read(directory: &Path) -> anyhow::Result<Package> {
    let package = package::read(directory).map_err(|error| {
        let help = "give a package's directory: `hilum plugin pack` makes one, `hilum plugin pull` gets one";
        Failure::new(format!("{}: {error}", directory.display()), help)
    })?;
    Ok(package)
}

/// Writes a package below a directory, under its own name; where it is then.
fn write_below(parent: &Path, package: &Package) -> anyhow::Result<PathBuf> {
    let directory = parent.join(package.manifest().folder());
    match package::write(&directory, package) {
        Ok(()) => Ok(directory),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let help = "remove it, or name another directory with `--out`";
            Err(Failure::new(format!("{} is there already", directory.display()), help).into())
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be written", directory.display())),
    }
}
