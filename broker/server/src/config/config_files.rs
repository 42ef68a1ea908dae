//! `config_files`: settings of a plugin that are long texts, each in a file of its own in the hospital directory.
//!
//! They are configuration as the flow's file is: read with it, part of what two configurations are compared by, and given to the plugin as
//! the values of the keys that they are named under.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use hilum_core::Digest;
use serde_json::Value;

use super::directory::Directory;
use super::reader::{At, Sink, Table};

/// Octets of one file; a plugin's whole configuration may have as many.
const FILE_OCTETS_MAX: u64 = 256 << 10;

/// A setting that is a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The key of the plugin's configuration that it is the value of.
    pub key: String,
    /// Of the text that was read.
    pub digest: Digest,
}

/// Reads the files that a table names, and puts their texts into a plugin's configuration.
pub(super) fn read(table: Option<Table<'_>>, config: &mut Value, directory: &Directory) -> Vec<ConfigFile> {
    let Some(table) = table else { return Vec::new() };
    let sink = table.sink();
    let mut files = Vec::new();
    for (key, path) in table.every_text() {
        if config.get(&key).is_some() {
            let what = format!("`config.{key}` has a value already");
            sink.report(path.problem(what, "leave one of the two out"));
            continue;
        }
        let Some(text) = text(&path, directory, sink) else { continue };
        files.push(ConfigFile { key: key.clone(), digest: Digest::of(text.as_bytes()) });
        config[key] = Value::from(text);
    }
    files
}

fn text(path: &At<String>, directory: &Directory, sink: &Sink) -> Option<String> {
    let relative = Path::new(&path.value);
    let is_inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_inside || path.value.is_empty() {
        let what = "a file in the hospital directory is needed here";
        sink.report(path.problem(what, "write its path from there on, e.g. `tables/ps3.15-2027a.tsv`"));
        return None;
    }
    let mut text = String::new();
    let file = File::open(directory.join(relative));
    match file.and_then(|file| file.take(FILE_OCTETS_MAX + 1).read_to_string(&mut text)) {
        Ok(octets) if octets as u64 > FILE_OCTETS_MAX => {
            let what = format!("the file is larger than {FILE_OCTETS_MAX} octets");
            sink.report(path.problem(what, "plugins take no longer texts: leave out what nobody reads"));
            None
        }
        Ok(_) => Some(text),
        Err(error) => {
            let help = "put the file there, in UTF-8, or name another one";
            sink.report(path.problem(format!("the file cannot be read: {error}"), help));
            None
        }
    }
}
