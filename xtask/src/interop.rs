//! `cargo xtask interop`: files that others wrote, through a live broker, checked with tools that others wrote.
//!
//! The files come as packages at exact versions, so that the expectation in `tests/interop/expected.tsv` can name each one.
//! `hospital interop` publishes and reads them; `tests/interop/check.py` looks at what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use hilum_plugin_build::Guests;

use crate::step::{binary, finish, output, program, root, target_directory};
use crate::{python, registry};

/// Packages of PyPI, installed together: a reader of DICOM and its files, what it decodes pixels with, and an engine that de-identifies.
const DICOM_PACKAGES: [&str; 10] = [
    "pydicom==3.0.2",
    "pydicom-data==1.0.0",
    "numpy==2.4.6",
    "pylibjpeg==2.1.0",
    "pylibjpeg-rle==2.2.0",
    "pylibjpeg-openjpeg==2.6.0",
    "pyjpegls==1.5.1",
    "pillow==13.0.0",
    "dicom-anonymizer==2.1.0",
    "tqdm==4.70.1",
];
/// A package of PyPI that pins what others need newer, and so gets a directory of its own.
const X12_PACKAGE: &str = "badx12==0.2.2";
/// Two readers of FHIR: one of R4 itself, and one of R4B, which is stricter about values; what an Observation is has not changed in
/// between. With all that they import.
const FHIR_PACKAGES: [&str; 8] = [
    "fhirclient==4.4.0",
    "fhir.resources==8.3.0",
    "fhir-core==1.1.12",
    "pydantic==2.14.4",
    "pydantic-core==2.50.5",
    "annotated-types==0.8.0",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
];
/// Grammars of X12 and HL7v2: what they accept before, they have to accept after. They use pydantic of the packages above.
const GRAMMAR_PACKAGES: [&str; 6] = [
    "pyx12==4.0.0",
    "defusedxml==0.7.1",
    "x12sdk==2.2.0",
    "pydantic-settings==2.16.3",
    "python-dotenv==1.2.4",
    "hl7apy==1.3.5",
];
/// A simulator of hospitals that writes FHIR R4, with all that it imports.
const CLINOSIM_PACKAGES: [&str; 16] = [
    "clinosim==0.6.5",
    "anyio==4.16.0",
    "certifi==2026.10.19.post1",
    "h11==0.16.0",
    "httpcore==1.0.9",
    "httpx==0.28.1",
    "idna==3.20",
    "mpmath==1.4.1",
    "numpy==2.4.6",
    "pydantic==2.14.4",
    "pydantic-core==2.50.5",
    "annotated-types==0.8.0",
    "pyyaml==6.0.4",
    "scipy==1.17.1",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
];
/// COSE, JWE, and Tink's streaming format, with all that they import. pycose does not decode what newer versions of cbor2 give it.
const SEALED_PACKAGES: [&str; 16] = [
    "pycose==1.1.0",
    "cbor2==5.9.0",
    "jwcrypto==1.6.1",
    "cryptography==50.0.2",
    "cffi==2.1.1",
    "pycparser==3.12",
    "ecdsa==0.19.2",
    "six==1.17.0",
    "attrs==26.1.0",
    "certvalidator==0.11.1",
    "oscrypto==1.3.0",
    "asn1crypto==1.5.1",
    "tink==1.16.1",
    "protobuf==7.36.2",
    "absl-py==2.5.1",
    "bazel-runfiles==2.4.6",
];
/// A package of npm.
const HL7_PACKAGE: &str = "simple-hl7@3.3.0";
/// The file that `npm pack` makes of it.
const HL7_ARCHIVE: &str = "simple-hl7-3.3.0.tgz";

/// The example plugins that third-party files go through, and their packages.
const EXAMPLES: [(&str, &str); 2] =
    [("dicom-morph", "hilum-dicom-morph"), ("fhir-observation", "hilum-fhir-observation")];

/// Where everything goes, below cargo's target directory.
struct Places {
    base: PathBuf,
}

impl Places {
    fn at(&self, name: &str) -> String {
        self.base.join(name).display().to_string()
    }
}

/// Runs it all; the only argument there may be is `--accept`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let accept = match arguments {
        [] => false,
        [flag] if flag == "--accept" => true,
        _ => bail!("the only argument is --accept"),
    };
    let places = Places { base: target_directory().join("interop") };
    fs::create_dir_all(&places.base).with_context(|| format!("cannot make {}", places.base.display()))?;
    let python = python::python()?;
    // DCMTK's `dcmdump` is one of the two readers that de-identified files must open in.
    ensure_program("dcmdump", "dcmtk")?;
    // Whether they are as valid as they were.
    ensure_program("dciodvfy", "dicom3tools")?;
    // Another engine that de-identifies.
    ensure_program("Orthanc", "orthanc")?;
    ensure_program(registry::PROGRAM, registry::PROGRAM)?;
    install(&places, &python)?;
    crate::build()?;
    build_examples(&places)?;
    registry::run()?;

    program(&python, &["tests/interop/collect.py", &places.base.display().to_string()])?;
    let (files, delivered, outcomes) =
        (places.at("files"), places.at("delivered"), places.at("outcomes.tsv"));
    program(
        &binary("hospital"),
        &[
            "interop",
            "--hilum",
            &binary("hilum"),
            "--examples",
            &places.at("examples"),
            "--files",
            &files,
            "--delivered",
            &delivered,
            "--outcomes",
            &outcomes,
        ],
    )?;
    let mut check = Command::new(&python);
    check.args([
        "tests/interop/check.py",
        "--files",
        &files,
        "--delivered",
        &delivered,
        "--outcomes",
        &outcomes,
    ]);
    check.args(["--expected", "tests/interop/expected.tsv", "--readme", "README.md"]).env(
        "PYTHONPATH",
        std::env::join_paths([places.at("python"), places.at("fhir"), places.at("grammars")])?,
    );
    check.env("PYTHONDONTWRITEBYTECODE", "1");
    if accept {
        check.arg("--accept");
    }
    finish(&mut check)?;
    check_differences(&places, &python, accept)?;
    check_pixels(&places, &python)?;
    score(&places)?;
    check_sealed(&places, &python)?;
    crate::languages::run(&places.base)
}

/// What other engines do otherwise, which has to be explained.
fn check_differences(places: &Places, python: &str, accept: bool) -> anyhow::Result<()> {
    let mut check = Command::new(python);
    check.arg("tests/interop/differences.py");
    for (flag, name) in [("--files", "files/dicom"), ("--delivered", "delivered/dicom"), ("--made", "others")]
    {
        check.args([flag, &places.at(name)]);
    }
    if accept {
        check.arg("--accept");
    }
    check.env("PYTHONPATH", places.at("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    finish(check.env("TMPDIR", &places.base))
}

/// Masks in pixels, held against what another reader decodes.
fn check_pixels(places: &Places, python: &str) -> anyhow::Result<()> {
    let mut check = Command::new(python);
    check.args(["tests/interop/pixels.py", "--hilum", &binary("hilum")]);
    check.args(["--files", &places.base.join("files").join("dicom").display().to_string()]);
    finish(check.env("PYTHONPATH", places.at("python")).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Identifiers planted into the DICOM files, and what is left of them.
fn score(places: &Places) -> anyhow::Result<()> {
    let (planted, files) = (places.base.join("planted"), places.base.join("files").join("dicom"));
    remove(&planted)?;
    let arguments = ["plugin", "score", "deidentify", "--require", "99.9"];
    let mut score = Command::new(binary("hilum"));
    score.args(arguments).arg("--planted").arg(&planted).arg("--from").arg(&files);
    finish(&mut score)
}

/// Bodies that are encrypted end to end, from Hilum to other libraries and back.
fn check_sealed(places: &Places, python: &str) -> anyhow::Result<()> {
    let mut check = Command::new(python);
    check.args(["tests/interop/sealed.py", "--hilum", &binary("hilum"), "--hospital", &binary("hospital")]);
    check.args(["--base", &places.at("sealed-bodies")]);
    finish(check.env("PYTHONPATH", places.at("sealed")).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Compiles the examples to components.
fn build_examples(places: &Places) -> anyhow::Result<()> {
    let guests = Guests::new(root(), target_directory().join("plugins"));
    let components = guests.build(&EXAMPLES.map(|(_, package)| package));
    let components = components.map_err(|error| anyhow::anyhow!("{error}"))?;
    let to = places.base.join("examples");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for ((name, _), component) in EXAMPLES.iter().zip(components) {
        fs::copy(&component, to.join(format!("{name}.wasm")))
            .with_context(|| format!("cannot copy {}", component.display()))?;
    }
    Ok(())
}

/// Installs a package of Debian, if it is not there and we may.
pub(crate) fn ensure_program(program_name: &str, package: &str) -> anyhow::Result<()> {
    // dicom3tools are older than the second hyphen.
    let is_here = || ["--version", "-version"].iter().any(|flag| output(program_name, &[flag]).is_some());
    if is_here() {
        return Ok(());
    }
    if output("id", &["-u"]).as_deref() == Some("0") && output("apt-get", &["--version"]).is_some() {
        println!("installing {package}");
        program("apt-get", &["update", "--quiet"])?;
        program("apt-get", &["install", "--yes", "--quiet", "--no-install-recommends", package])?;
    }
    if is_here() {
        return Ok(());
    }
    bail!(
        "the interop run needs `{program_name}`: install the package {package}, e.g. `apt-get install {package}`"
    )
}

/// Installs the packages once; a stamp says which versions are there.
fn install(places: &Places, python: &str) -> anyhow::Result<()> {
    let stamp = places.base.join("installed");
    let python_packages: [(&str, &[&str]); 6] = [
        ("python", &DICOM_PACKAGES),
        ("badx12", &[X12_PACKAGE]),
        ("fhir", &FHIR_PACKAGES),
        ("grammars", &GRAMMAR_PACKAGES),
        ("clinosim", &CLINOSIM_PACKAGES),
        ("sealed", &SEALED_PACKAGES),
    ];
    let lists: Vec<String> = python_packages.iter().map(|(_, packages)| packages.join(" ")).collect();
    let wanted = format!("{} {HL7_PACKAGE}\n", lists.join(" "));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    for directory in python_packages.iter().map(|(directory, _)| *directory).chain(["npm"]) {
        remove(&places.base.join(directory))?;
    }
    for (directory, packages) in python_packages {
        python::install(python, &places.base.join(directory), packages)?;
    }
    let npm = places.at("npm");
    fs::create_dir_all(&npm).with_context(|| format!("cannot make {npm}"))?;
    program("npm", &["pack", "--silent", "--pack-destination", &npm, HL7_PACKAGE])?;
    program("tar", &["-xzf", &format!("{npm}/{HL7_ARCHIVE}"), "-C", &npm])?;
    fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    println!("installed {} in {}", wanted.trim_end(), relative(&places.base));
    Ok(())
}

pub(crate) fn remove(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
