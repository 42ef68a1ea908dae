//! `hilum plugin keygen`: a key to sign packages with.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_sandbox::package::{Algorithm, SigningKey};
use serde_json::json;

use crate::output::{Exit, Failure, print, print_json};

/// What `hilum plugin keygen` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The private key is PKCS #8 in PEM, readable by its owner alone. The public key, beside it with the ending `.pub`, is what \
hospitals put into [[trust.keys]]. `openssl pkey` reads both. Keep the private key where no network is.

Example:
  hilum plugin keygen --algorithm p256 --out vendor.key")]
pub(in crate::plugin) struct Args {
    /// Where the private key goes; the public one goes beside it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How it signs: ed25519 or p256
    #[arg(long, default_value = "ed25519")]
    algorithm: Algorithm,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Draws a key and writes both of its files, neither over another one.
pub(in crate::plugin) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let public = args.out.with_extension("pub");
    if public == args.out {
        let help = "name it e.g. vendor.key";
        return Err(Failure::new("the private key would be called as the public one", help).into());
    }
    let key = SigningKey::generate(args.algorithm)?;
    write_new(&args.out, key.to_pem()?.as_bytes(), 0o600)?;
    write_new(&public, key.public().to_pem().as_bytes(), 0o644)?;
    let (id, algorithm) = (key.public().id().to_string(), args.algorithm.to_string());
    if args.json {
        print_json(&json!({"private": args.out, "public": public, "algorithm": algorithm, "id": id}))?;
    } else {
        let (private, public) = (args.out.display(), public.display());
        print(format_args!("private key  {private}\npublic key   {public}\nkey id       {id}"))?;
    }
    Ok(Exit::Ok.into())
}

fn write_new(path: &Path, octets: &[u8], mode: u32) -> anyhow::Result<()> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let write = open.and_then(|mut file| {
        file.write_all(octets)?;
        file.sync_all()
    });
    write.with_context(|| format!("{} cannot be written", path.display()))
}
