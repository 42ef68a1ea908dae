//! `hilum plugin inspect`: what a plugin is, what it imports and how it is configured.

use std::path::Path;
use std::process::ExitCode;

use hilum_core::chain::World;
use hilum_sandbox::package::Package;
use hilum_sandbox::{Limits, Plugin, declared_memory};
use serde_json::json;

use super::load_octets;
use super::package::show;
use crate::operate::size;
use crate::output::{Exit, print, print_json};

/// What `hilum plugin inspect` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of a package it shows manifest, SBOM and signatures, without verifying who signed: see `hilum plugin verify`.

Examples:
  hilum plugin inspect clean-1.2.0
  hilum plugin inspect encrypt --json | jq .config_schema")]
pub(super) struct Args {
    /// The path of a package or component, or the name of a bundled plugin
    component: String,
    /// Print everything as JSON, the schema of the configuration included
    #[arg(long)]
    json: bool,
}

/// Compiles the component and shows what is known of it.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let directory = Path::new(&args.component);
    if directory.join(Package::MANIFEST).is_file() {
        show::run(directory, args.json)?;
        return Ok(Exit::Ok.into());
    }
    let (_, plugin, octets) = load_octets(&args.component)?;
    if args.json {
        print_json(&as_json(&plugin, &octets))?;
    } else {
        print(as_text(&plugin, &octets))?;
    }
    Ok(Exit::Ok.into())
}

fn world(plugin: &Plugin) -> &'static str {
    match plugin.world() {
        World::Transform => "transform",
        World::Authorize => "authorize",
        World::Observe => "observe",
    }
}

/// Its imports from `hilum:plugin`. Those from WASI give a plugin nothing.
pub(super) fn interfaces(plugin: &Plugin) -> Vec<&str> {
    let own = plugin.imports().iter().filter(|import| import.interface.is_some());
    own.map(|import| import.name.as_str()).collect()
}

/// What is known of it, for scripts.
pub(super) fn as_json(plugin: &Plugin, octets: &[u8]) -> serde_json::Value {
    let description = plugin.description();
    let memory = declared_memory(octets);
    json!({
        "name": description.name,
        "version": description.version,
        "world": world(plugin),
        "sha256": plugin.digest().to_string(),
        "octets": octets.len(),
        "memory_initial_octets": memory.map(|memory| memory.initial_octets),
        "memory_maximum_octets": memory.and_then(|memory| memory.maximum_octets),
        "imports": interfaces(plugin),
        "exports": plugin.exports(),
        "content_types": description.content_types,
        "removes": description.removes,
        "config_schema": description.config_schema,
    })
}

/// The memory that it starts with, and what holds its growth.
fn memory(octets: &[u8]) -> String {
    let Some(memory) = declared_memory(octets) else { return "none".to_owned() };
    let most = match memory.maximum_octets {
        Some(most) => format!("at most {}", size(most)),
        None => {
            format!("grows to the stage's limit, by default {}", size(Limits::default().memory_octets as u64))
        }
    };
    format!("{} at the start, {most}", size(memory.initial_octets))
}

fn as_text(plugin: &Plugin, octets: &[u8]) -> String {
    let description = plugin.description();
    let list =
        |items: Vec<&str>, none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let removes = description.removes.iter().map(|label| label.as_str()).collect();
    let content_types = description.content_types.iter().map(String::as_str).collect();
    format!(
        "name           {}\nversion        {}\nworld          {}\nsha256         {}\nsize           {}\nmemory         {}\n\
         imports        {}\nexports        {}\ncontent types  {}\nremoves        {}",
        description.name,
        description.version,
        world(plugin),
        plugin.digest(),
        size(octets.len() as u64),
        memory(octets),
        list(interfaces(plugin), "none"),
        list(plugin.exports().iter().map(String::as_str).collect(), "none"),
        list(content_types, "any"),
        list(removes, "no label, or as configured"),
    )
}
