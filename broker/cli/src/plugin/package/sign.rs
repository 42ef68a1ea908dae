//! `hilum plugin sign`: adds a signature to a package.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_sandbox::package::SigningKey;
use hilum_server::package::write_signatures;
use serde_json::json;
use zeroize::Zeroizing;

use super::read;
use crate::output::{Exit, Failure, print, print_json};

/// What `hilum plugin sign` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The signature is over the manifest, which names component and SBOM by digest, so it covers all of the package. Several may sign: \
each signature is a file of its own. Needs no network.

Example:
  hilum plugin sign dist/clean-1.2.0 --key vendor.key")]
pub(in crate::plugin) struct Args {
    /// The package
    #[arg(value_name = "DIR")]
    package: PathBuf,
    /// The private key, PKCS #8 in PEM, of Ed25519 or P-256
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Signs a package that fits together.
pub(in crate::plugin) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut package = read(&args.package)?;
    let pem = std::fs::read(&args.key).map(Zeroizing::new);
    let pem = pem.with_context(|| format!("{} cannot be read", args.key.display()))?;
    let key = SigningKey::from_pem(&pem).map_err(|error| {
        Failure::new(format!("{}: {error}", args.key.display()), "`hilum plugin keygen` makes such a key")
    })?;
    let id = package.sign(&key)?.key().to_string();
    write_signatures(&args.package, &package).with_context(|| args.package.display().to_string())?;
    if args.json {
        print_json(&json!({"package": args.package, "key": id, "sha256": package.digest().to_string()}))?;
    } else {
        let manifest = package.manifest();
        print(format_args!("signed {} {} with key {id}", manifest.name, manifest.version))?;
    }
    Ok(Exit::Ok.into())
}
