//! `hilum keys`: the key-encryption key of a hospital directory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_server::config::Directory;
use hilum_store::embedded;
use serde_json::json;

use crate::output::{Exit, print, print_json};

/// What `hilum keys` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Draw a new key-encryption key, and wrap every data key anew with it
    #[command(after_help = "\
The broker must be stopped. No record is rewritten: only the keys file is, and the key file. The old key is removed. At every \
moment either the old or the new key opens everything; if this is interrupted, the next start ends it one way or the other.

Copies of the keys file that were made earlier still open with the old key: replace backups.

Example:
  hilum keys rotate st-marys")]
    Rotate {
        /// The hospital directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Rotate { directory, json } = args.command;
    let directory = Directory::new(directory);
    let (data, key_file) = (directory.data(), directory.key_encryption_key());
    let shown = key_file.display().to_string();
    let rotated = tokio::task::spawn_blocking(move || embedded::rotate(&data, &key_file)).await;
    let data_keys = rotated.context("the rotation ended abnormally")??;
    if json {
        print_json(&json!({"data_keys": data_keys, "key_file": shown}))?;
    } else {
        print(format_args!("wrapped {data_keys} data keys anew; the new key is in {shown}"))?;
    }
    Ok(Exit::Ok.into())
}
