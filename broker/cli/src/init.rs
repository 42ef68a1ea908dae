//! `hilum init DIR`: makes a hospital directory, or what is missing in one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use hilum_server::provision;

use crate::bundled;
use crate::output::{Exit, print, print_json};

/// What `hilum init` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A new directory gets the configuration of the example hospital (one MRI machine and its stakeholders), a certificate \
authority, an identity for the broker and for each principal, a key-encryption key, a key to sign plugins with, and the plugins \
that come with Hilum, packed and signed with it. The private keys in authority/ may be kept offline afterwards.

In an existing hospital directory it makes only what is missing, e.g. the identity of a principal that was added to \
hilum.toml. It never overwrites.

Examples:
  hilum init st-marys                   the example hospital
  hilum init st-lukes --from ./config   a hospital with what is in ./config")]
pub struct Args {
    /// The directory to make or to complete
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A directory with hilum.toml, flows/ and policies/ to start from, instead of the example
    #[arg(long, value_name = "TEMPLATE_DIR")]
    from: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Makes what is missing and says what it made.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { directory, from, json } = &args;
    let report = provision::init(directory, from.as_deref(), bundled::PACKED, SystemTime::now())?;
    if *json {
        let made = report.made.iter().map(|made| serde_json::json!({"path": made.path, "what": made.what}));
        let made: Vec<_> = made.collect();
        print_json(&serde_json::json!({
            "hospital": report.hospital.name,
            "made": made,
            "plugins_missing": report.plugins_missing,
        }))?;
        return Ok(Exit::Ok.into());
    }
    let width = report.made.iter().map(|made| made.path.len()).max().unwrap_or(0);
    for made in &report.made {
        print(format_args!("made {:width$}  {}", made.path, made.what))?;
    }
    if report.made.is_empty() {
        print(format_args!("nothing is missing in {}", directory.display()))?;
    }
    for plugin in &report.plugins_missing {
        let path = &report.hospital.plugins[plugin].path;
        print(format_args!(
            "plugin `{plugin}` does not come with Hilum: put its component at {}",
            path.display()
        ))?;
    }
    let shown = directory.display();
    print(format_args!("\nnext: hilum check {shown}\n      hilum serve {shown}"))?;
    Ok(Exit::Ok.into())
}
