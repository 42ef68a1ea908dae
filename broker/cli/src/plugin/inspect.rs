//! `hilum plugin inspect`: what a plugin is, what it imports and how it is configured.

use std::process::ExitCode;

use hilum_core::chain::World;
use hilum_sandbox::Plugin;
use serde_json::json;

use super::load;
use crate::output::{Exit, print, print_json};

/// What `hilum plugin inspect` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hilum plugin inspect encrypt --json | jq .config_schema")]
pub(super) struct Args {
    /// The path of a component, or the name of a bundled plugin
    component: String,
    /// Print everything as JSON, the schema of the configuration included
    #[arg(long)]
    json: bool,
}

/// Compiles the component and shows what is known of it.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (_, plugin) = load(&args.component)?;
    if args.json {
        print_json(&as_json(&plugin))?;
    } else {
        print(as_text(&plugin))?;
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
fn interfaces(plugin: &Plugin) -> Vec<&str> {
    let own = plugin.imports().iter().filter(|import| import.interface.is_some());
    own.map(|import| import.name.as_str()).collect()
}

fn as_json(plugin: &Plugin) -> serde_json::Value {
    let description = plugin.description();
    json!({
        "name": description.name,
        "version": description.version,
        "world": world(plugin),
        "sha256": plugin.digest().to_string(),
        "imports": interfaces(plugin),
        "content_types": description.content_types,
        "removes": description.removes,
        "config_schema": description.config_schema,
    })
}

fn as_text(plugin: &Plugin) -> String {
    let description = plugin.description();
    let list =
        |items: Vec<&str>, none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let removes = description.removes.iter().map(|label| label.as_str()).collect();
    let content_types = description.content_types.iter().map(String::as_str).collect();
    format!(
        "name           {}\nversion        {}\nworld          {}\nsha256         {}\nimports        {}\ncontent types  {}\n\
         removes        {}",
        description.name,
        description.version,
        world(plugin),
        plugin.digest(),
        list(interfaces(plugin), "none"),
        list(content_types, "any"),
        list(removes, "no label, or as configured"),
    )
}
