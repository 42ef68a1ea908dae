//! `hilum plugin push`: a package goes to a registry as one OCI artifact.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::read;
use super::registry::{Connection, Registry};
use crate::output::{Exit, print, print_json};

/// What `hilum plugin push` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The artifact has type application/vnd.hilum.plugin.v1+json; its config is the manifest, its layers are component, SBOM and \
signatures. Any registry that speaks the OCI distribution protocol takes it.

Who we are is taken from HILUM_REGISTRY_TOKEN, from HILUM_REGISTRY_USER and HILUM_REGISTRY_PASSWORD, or from the `auths` of \
Docker's config.json; otherwise we are nobody.

Example:
  hilum plugin push dist/clean-1.2.0 registry.example.org/plugins/clean:1.2.0")]
pub(in crate::plugin) struct Args {
    /// The package
    #[arg(value_name = "DIR")]
    package: PathBuf,
    /// Where it goes: HOST/NAME:TAG
    #[arg(value_name = "REF")]
    reference: String,
    #[command(flatten)]
    connection: Connection,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Sends a package that fits together, signed or not.
pub(in crate::plugin) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let package = read(&args.package)?;
    if package.signatures().is_empty() {
        eprintln!("note: nobody signed this package, so hospitals will refuse it: see `hilum plugin sign`");
    }
    let registry = Registry::at(&args.reference, &args.connection)?;
    let digest = registry.push(&package).await?;
    let pinned = registry.pinned(digest);
    if args.json {
        let digests = (format!("sha256:{digest}"), package.digest().to_string());
        print_json(&json!({"reference": pinned, "digest": digests.0, "sha256": digests.1}))?;
    } else {
        print(format_args!("pushed {pinned}"))?;
    }
    Ok(Exit::Ok.into())
}
