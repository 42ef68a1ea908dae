//! What documents for plugins' developers tell to type is what this program understands.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use crate::Cli;

#[test]
fn every_command_that_the_guide_names_is_one_with_these_arguments() {
    let mut checked = 0;
    for document in documents() {
        let text =
            fs::read_to_string(&document).unwrap_or_else(|error| panic!("{}: {error}", document.display()));
        for line in commands(&text) {
            match Cli::command().try_get_matches_from(words(line)) {
                Ok(_) => checked += 1,
                Err(error) => panic!(
                    "{}: `{line}`
{error}",
                    document.display()
                ),
            }
        }
    }
    assert!(checked >= 20, "only {checked} commands were found");
}

/// The guide, the page about projects, and what the example plugins say of themselves.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let examples = fs::read_dir(root.join("examples/plugins")).expect("the example plugins are there");
    let readmes =
        examples.filter_map(|entry| Some(entry.ok()?.path().join("README.md"))).filter(|path| path.is_file());
    let pages = ["sdk/plugin/README.md", "sdk/plugin/PROJECTS.md"].map(|page| root.join(page));
    pages.into_iter().chain(readmes).collect()
}

/// Lines of shell blocks that start this program.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let mut within = false;
    text.lines().filter(move |line| {
        if line.starts_with("```") {
            within = *line == "```sh";
        }
        within && line.starts_with("hilum ")
    })
}

/// The words of a line, up to a redirection, a pipe, another command or a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            '<' | '>' | '|' | '&' | '#' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().expect("there is always one").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn a_line_is_taken_apart_as_a_shell_does() {
    let line = "hilum plugin pack a.wasm --vendor 'Example GmbH' > out.txt";
    assert_eq!(words(line), ["hilum", "plugin", "pack", "a.wasm", "--vendor", "Example GmbH"]);
    let text = "```sh\nhilum check x\n```\n```text\nhilum nothing\n```\nhilum nothing";
    assert_eq!(commands(text).collect::<Vec<_>>(), ["hilum check x"]);
}
