//! Puts what a plugin is written with into the binary: the guest SDK and the WIT package, as a project outside of this
//! repository can compile them.
//!
//! The manifests of this repository inherit from its workspace; those that are carried say everything themselves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use toml::{Table, Value};

/// What is carried, by its directory in the repository.
const PARTS: [&str; 3] = ["sdk/plugin", "sdk/formats", "wit"];
/// What a manifest has to say; lints, tests and benchmarks are for those who work on the SDK itself.
const SECTIONS: [&str; 5] = ["package", "lib", "features", "dependencies", "target"];
/// Directories that only serve the work on the SDK itself.
const LEFT_OUT: [&str; 4] = ["benches", "examples", "target", "tests"];

/// Writes `sdk.rs` into `OUT_DIR`: the constant `FILES`, with the path and the text of each file.
pub(crate) fn embed(root: &Path) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let manifest = root.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let workspace = read(&manifest);
    let workspace = workspace["workspace"].as_table().expect("the root manifest has a workspace");
    let mut source = String::from("pub(super) const FILES: &[(&str, &[u8])] = &[\n");
    for part in PARTS {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
        for file in files(&root.join(part)) {
            let path = file.strip_prefix(root).expect("it was found below the root");
            let name = path.display().to_string().replace('\\', "/");
            let carried = if path.ends_with("Cargo.toml") {
                let to = out.join(name.replace('/', "-"));
                let text = standalone(&read(&file), workspace);
                fs::write(&to, text).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
                to
            } else {
                file.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
            };
            let carried = carried.display().to_string();
            writeln!(source, "    ({name:?}, include_bytes!({carried:?})),").expect("a String takes it");
        }
    }
    source.push_str("];\n");
    let to = out.join("sdk.rs");
    fs::write(&to, source).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
}

fn read(manifest: &Path) -> Table {
    let text = fs::read_to_string(manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", manifest.display()))
}

/// The files below a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory that opened is read").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_left_out = LEFT_OUT.iter().any(|name| path.ends_with(name));
        match (path.is_dir(), is_left_out) {
            (true, false) => found.extend(files(&path)),
            (true, true) => {}
            (false, _) => found.push(path),
        }
    }
    found
}

/// The manifest without anything that it inherits.
fn standalone(manifest: &Table, workspace: &Table) -> String {
    let mut made = Table::new();
    for section in SECTIONS {
        let Some(Value::Table(table)) = manifest.get(section) else { continue };
        let table = match section {
            "package" => package(table, workspace),
            "dependencies" => dependencies(table, workspace),
            "target" => targets(table, workspace),
            _ => table.clone(),
        };
        made.insert(section.to_owned(), table.into());
    }
    toml::to_string(&made).expect("a table of tables is TOML")
}

fn package(table: &Table, workspace: &Table) -> Table {
    let inherited = &workspace["package"];
    let said = |(key, value): (&String, &Value)| {
        let value = if inherits(value) { inherited[key.as_str()].clone() } else { value.clone() };
        (key.clone(), value)
    };
    table.iter().map(said).collect()
}

fn targets(table: &Table, workspace: &Table) -> Table {
    let target = |(condition, of): (&String, &Value)| {
        let found = of.get("dependencies").and_then(Value::as_table).cloned().unwrap_or_default();
        let dependencies = Value::Table(dependencies(&found, workspace));
        (condition.clone(), Value::Table(Table::from_iter([("dependencies".to_owned(), dependencies)])))
    };
    table.iter().map(target).collect()
}

/// What the workspace says of each dependency, with the features that the package adds.
fn dependencies(table: &Table, workspace: &Table) -> Table {
    let said = |(name, value): (&String, &Value)| {
        if !inherits(value) {
            return (name.clone(), value.clone());
        }
        let mut whole = match &workspace["dependencies"][name.as_str()] {
            Value::Table(table) => table.clone(),
            version => Table::from_iter([("version".to_owned(), version.clone())]),
        };
        assert!(!whole.contains_key("path"), "the SDK depends on `{name}`, which it would have to carry too");
        if let Some(Value::Array(more)) = value.get("features") {
            let features = whole.entry("features").or_insert_with(|| Value::Array(Vec::new()));
            features.as_array_mut().expect("features are an array").extend(more.iter().cloned());
        }
        if let Some(optional) = value.get("optional") {
            whole.insert("optional".to_owned(), optional.clone());
        }
        (name.clone(), Value::Table(whole))
    };
    table.iter().map(said).collect()
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}
