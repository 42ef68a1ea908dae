//! `hilum plugin pull`: a package comes from a registry.

use std::path::PathBuf;
use std::process::ExitCode;

use hilum_core::Digest;
use serde_json::json;

use super::registry::{Connection, Registry};
use super::write_below;
use crate::output::{Exit, print, print_json};

/// What `hilum plugin pull` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every digest is checked, and nothing is written unless all fit. Who signed is not looked at: that is what `hilum plugin verify` \
and the broker do. With --digest, or with @sha256:... in the reference, it is this very artifact or none.

Example:
  hilum plugin pull registry.example.org/plugins/clean:1.2.0 --out st-marys/plugins")]
pub(in crate::plugin) struct Args {
    /// Where it is: HOST/NAME:TAG or HOST/NAME@sha256:...
    #[arg(value_name = "REF")]
    reference: String,
    /// Where NAME-VERSION/ is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// What the artifact must digest to, as `hilum plugin push` printed it
    #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
    digest: Option<Digest>,
    #[command(flatten)]
    connection: Connection,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn digest(text: &str) -> Result<Digest, String> {
    let digest = text.strip_prefix("sha256:").and_then(Digest::from_hex);
    digest.ok_or_else(|| "write `sha256:` and 64 hexadecimal digits".to_owned())
}

/// Gets a package and writes it.
pub(in crate::plugin) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let registry = Registry::at(&args.reference, &args.connection)?;
    let (package, digest) = registry.pull(args.digest).await?;
    let directory = write_below(&args.out, &package)?;
    if args.json {
        let digests = (format!("sha256:{digest}"), package.digest().to_string());
        print_json(&json!({"package": directory, "digest": digests.0, "sha256": digests.1}))?;
    } else {
        let (shown, pinned) = (directory.display(), registry.pinned(digest));
        print(format_args!(
            "{shown}\nfrom {pinned}\n\nnext: hilum plugin verify {shown} --trust HOSPITAL_DIR"
        ))?;
    }
    Ok(Exit::Ok.into())
}
