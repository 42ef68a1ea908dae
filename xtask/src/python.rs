//! Python and its packages: what tools of others are run with.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::step::{finish, output};

/// The name of a Python 3 that has pip.
pub(crate) fn python() -> anyhow::Result<String> {
    let found =
        ["python3", "python"].into_iter().find(|name| output(name, &["-m", "pip", "--version"]).is_some());
    found.map(str::to_owned).context("this needs Python 3 with pip")
}

/// Installs packages in a folder of their own: these and nothing that they want besides, over what is there.
pub(crate) fn install<S: AsRef<str>>(python: &str, to: &Path, packages: &[S]) -> anyhow::Result<()> {
    let packages = packages.iter().map(S::as_ref);
    pip(python, &mut ["install", "--upgrade"].into_iter().chain(packages), "--target", to)
}

/// Fetches a package as its source, to be read rather than run: whether it is for this version of Python does not matter.
pub(crate) fn download(python: &str, to: &Path, name: &str, package: &str) -> anyhow::Result<()> {
    pip(
        python,
        &mut ["download", "--ignore-requires-python", "--no-binary", name, package].into_iter(),
        "--dest",
        to,
    )
}

fn pip(python: &str, arguments: &mut dyn Iterator<Item = &str>, flag: &str, to: &Path) -> anyhow::Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip"]).args(arguments).args(["--quiet", "--disable-pip-version-check", "--no-deps"]);
    // An option of newer versions only; as a variable, older ones ignore it.
    finish(pip.arg(flag).arg(to).env("PIP_ROOT_USER_ACTION", "ignore"))
}
