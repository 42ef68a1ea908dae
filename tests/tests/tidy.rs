//! The project's habits, held by a test: which crate may see which, what every module says, how long things get.

#![allow(clippy::unwrap_used, reason = "these are tests; their helpers are not marked as such")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hilum_tests::workspace;

/// Lines of one file. A file that grows past this has a seam in it.
const FILE_LINES_MAX: usize = 800;
/// Lines of one function. A ratchet: lower it when the longest one is gone.
const FUNCTION_LINES_MAX: usize = 80;

/// They are no part of what is shipped.
const MAY_SEE_ANYTHING: [&str; 3] = ["hilum-tests", "hilum-fuzz", "xtask"];

/// What each package may depend on inside the workspace. Anything else is refused: a gateway that saw the store could go
/// round policy, a plugin that saw the sandbox could not run in one.
fn allowed_edges() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("hilum-core", &[][..]),
        ("hilum-store", &["hilum-core"]),
        ("hilum-sandbox", &["hilum-core"]),
        ("hilum-client", &["hilum-core", "hilum-formats"]),
        ("hilum-server", &["hilum-core", "hilum-store", "hilum-sandbox"]),
        (
            "hilum",
            &[
                "hilum-core",
                "hilum-server",
                "hilum-client",
                "hilum-sandbox",
                "hilum-store",
                "hilum-plugin-build",
            ],
        ),
        ("hilum-plugin", &[]),
        ("hilum-formats", &[]),
        ("hilum-access", &["hilum-plugin", "hilum-formats"]),
        ("hilum-analytics", &["hilum-plugin", "hilum-formats"]),
        ("hilum-claims", &["hilum-plugin", "hilum-formats"]),
        ("hilum-deidentify", &["hilum-plugin", "hilum-formats"]),
        ("hilum-encrypt", &["hilum-plugin", "hilum-formats"]),
        ("hilum-relationships", &["hilum-plugin", "hilum-formats"]),
        ("hilum-rooms", &["hilum-plugin", "hilum-formats"]),
        ("hilum-security", &["hilum-plugin", "hilum-formats"]),
        ("hilum-guest-counter", &["hilum-plugin"]),
        ("hilum-guest-gate", &["hilum-plugin"]),
        ("hilum-guest-hostile", &["hilum-plugin"]),
        ("hilum-guest-pass", &["hilum-plugin"]),
        ("hilum-guest-tally", &["hilum-plugin"]),
        ("hilum-plugin-build", &[]),
        ("hilum-claim-duplicates", &["hilum-plugin", "hilum-formats"]),
        ("hilum-dicom-morph", &["hilum-plugin", "hilum-formats"]),
        ("hilum-dose-alert", &["hilum-plugin", "hilum-formats"]),
        ("hilum-fhir-observation", &["hilum-plugin", "hilum-formats"]),
        ("hilum-hl7-route", &["hilum-plugin", "hilum-formats"]),
        ("hilum-frozen", &[]),
        ("hilum-hospital", &["hilum-core", "hilum-client", "hilum-formats"]),
    ])
}

#[test]
fn crates_see_only_what_they_may() {
    let allowed = allowed_edges();
    let mut wrong = Vec::new();
    for manifest in files("Cargo.toml") {
        let text = fs::read_to_string(&manifest).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let Some(name) = table.get("package").and_then(|package| package["name"].as_str()) else { continue };
        let Some(may) = allowed.get(name) else {
            if !MAY_SEE_ANYTHING.contains(&name) {
                wrong.push(format!("nothing says what {name} may see"));
            }
            continue;
        };
        let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            let ours = dependency == "hilum" || dependency.starts_with("hilum-");
            if ours && !may.contains(&dependency.as_str()) {
                wrong.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "see `Layout` in broker/ARCHITECTURE.md");
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> =
        sources().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert_eq!(silent, Vec::<PathBuf>::new(), "a file begins with `//!` and its one idea");
}

#[test]
fn files_and_functions_can_be_held_in_the_head() {
    let mut long = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{} has {lines} lines", path.display()));
        }
        for (line, name, length) in functions(&text) {
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}:{line}: `{name}` has {length} lines", path.display()));
            }
        }
    }
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<String> = fs::read_dir(workspace().join("broker/decisions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}-", index + 1)), "{name} is number {}", index + 1);
        let text = fs::read_to_string(workspace().join("broker/decisions").join(name)).unwrap();
        for part in ["**Context.**", "**Choice.**", "**Cost.**"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn the_map_names_every_package() {
    let map = fs::read_to_string(workspace().join("broker/ARCHITECTURE.md")).unwrap();
    let root: toml::Table = fs::read_to_string(workspace().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = root["workspace"]["members"].as_array().unwrap();
    let missing: Vec<_> =
        members.iter().filter_map(toml::Value::as_str).filter(|member| !map.contains(*member)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "broker/ARCHITECTURE.md has a line for each");
}

/// What plugins' developers copy: blocks of TOML and JSON in the guide, the contract's page and the examples' pages.
#[test]
fn what_documents_for_plugins_show_can_be_copied() {
    let mut blocks = 0;
    let documents = files("README.md").into_iter().filter(|path| {
        let path = path.strip_prefix(workspace()).unwrap();
        ["sdk/plugin", "wit", "examples/plugins", "plugins"].iter().any(|folder| path.starts_with(folder))
    });
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (index, block) in text.split("\n```").enumerate().filter(|(index, _)| index % 2 == 1) {
            let (language, content) = block.split_once('\n').unwrap_or((block, ""));
            let place = format!("{}, block {}", document.display(), index / 2 + 1);
            match language {
                "toml" => {
                    drop(content.parse::<toml::Table>().unwrap_or_else(|error| panic!("{place}: {error}")));
                }
                "json" => drop(
                    serde_json::from_str::<serde_json::Value>(content)
                        .unwrap_or_else(|error| panic!("{place}: {error}")),
                ),
                "sh" | "rust" | "text" => continue,
                other => panic!("{place}: say which language it is, not `{other}`"),
            }
            blocks += 1;
        }
    }
    assert!(blocks >= 12, "{blocks} blocks were found");
}

/// Start line, name and length of the functions of a file, by indentation: rustfmt sees to that.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let first = lines[index..].iter().find(|line| line.ends_with(['{', ';', '}']));
        if first.is_some_and(|line| line.ends_with(';')) {
            // Declared in a trait, and without a body.
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        if let Some(end) = lines[index..].iter().position(|line| *line == closing) {
            found.push((index + 1, name, end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    let mut rest = line.split_whitespace().skip_while(|word| words.contains(word));
    (rest.next()? == "fn").then_some(())?;
    let name = rest.next()?;
    Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    files(".rs").into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(workspace()).unwrap().to_owned(), text)
    })
}

/// Files of the project whose name ends so.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(ending) && path.is_file() && !is_fixture(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Code that is meant to be wrong.
fn is_fixture(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "fixtures" || part.as_os_str() == "compile-fail")
}
