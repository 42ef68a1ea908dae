//! `hilum pseudonym`: what pseudonyms stood for. It comes sealed from the broker and is opened here, with the holder's private key.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hilum_client::Client;
use hilum_client::admin::Admin;
use hilum_core::KeyName;
use hilum_core::cose::PrivateKey;
use hilum_core::limits::ASKED_MAX;
use hilum_core::originals::{self, Original, RevealError};
use hilum_core::wire::admin::{OriginalsStatus, Revealed};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::operate::{Operate, size};
use crate::output::{Exit, print, print_json};

/// What `hilum pseudonym` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell what pseudonyms stood for
    #[command(after_help = "\
The broker keeps it for keys with `originals` in hilum.toml, sealed to their holders. It gives it to a holder who has the right \
`pseudonyms` and says what for, when who asked, for which pseudonym and why is in the audit; it is opened here. A pseudonym is written as it \
stands in a record: hexadecimal digits, a UID that begins with 2.25., a UUID.

Exit code 1 if of one of them nothing is kept.

Examples:
  hilum pseudonym reveal --dir st-marys --as privacy-officer research 0C4E5F7A1B2D3E4F --reason 'incidental finding, ticket 4711'
  hilum pseudonym reveal --dir st-marys --as privacy-officer research 2.25.181395102399840214327402386829411286413 --reason 'recall' --json")]
    Reveal {
        /// The key, as hilum.toml calls it
        #[arg(id = "of", value_name = "KEY")]
        key: KeyName,
        /// The pseudonyms
        #[arg(required = true, value_name = "PSEUDONYM")]
        pseudonyms: Vec<String>,
        /// Our private key of before, for what was sealed before our certificate had another
        #[arg(long, value_name = "PEM")]
        earlier_key: Vec<PathBuf>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Destroy what is kept of what pseudonyms stood for, for good
    #[command(after_help = "\
For the end of a patient's part in a project, or of the project. What is made a pseudonym of again is kept again.

Examples:
  hilum pseudonym forget --dir st-marys --as privacy-officer research 0C4E5F7A1B2D3E4F --reason 'consent withdrawn, ticket 4712'
  hilum pseudonym forget --dir st-marys --as privacy-officer research --all --reason 'project has ended'")]
    Forget {
        /// The key, as hilum.toml calls it
        #[arg(id = "of", value_name = "KEY")]
        key: KeyName,
        /// The pseudonyms
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "PSEUDONYM")]
        pseudonyms: Vec<String>,
        /// All that is kept for the key
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        ask: Ask,
    },
    /// List the keys of which it is kept, and how much
    #[command(after_help = "\
Example:
  hilum pseudonym list --dir st-marys --as operator")]
    List {
        #[command(flatten)]
        operate: Operate,
    },
}

/// Options of those who reveal and forget.
#[derive(Debug, clap::Args)]
struct Ask {
    /// What for, e.g. a ticket: goes to the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print the result as lines of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Ask {
    async fn open(&self) -> anyhow::Result<(Client, Admin)> {
        let client = self.connection.connect().await?;
        let admin = client.admin(&self.reason).await?;
        Ok((client, admin))
    }
}

/// Does what was asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Reveal { key, pseudonyms, earlier_key, ask } => {
            reveal(&key, &pseudonyms, &earlier_key, &ask).await
        }
        Command::Forget { key, pseudonyms, all, ask } => {
            let (client, mut admin) = ask.open().await?;
            let mut count = 0;
            if all {
                count = admin.forget(&key, None).await?;
            }
            for some in pseudonyms.chunks(ASKED_MAX) {
                count += admin.forget(&key, Some(some)).await?;
            }
            client.close().await;
            if ask.json {
                print_json(&json!({"key": key, "forgotten": count}))?;
            } else {
                print(format_args!("{count} forgotten of key {key}"))?;
            }
            Ok(Exit::Ok.into())
        }
        Command::List { operate } => {
            let (client, mut admin) = operate.open().await?;
            for status in admin.originals().await? {
                if operate.json {
                    print_json(&status_json(&status))?;
                } else {
                    print(status_line(&status))?;
                }
            }
            client.close().await;
            Ok(Exit::Ok.into())
        }
    }
}

async fn reveal(
    key: &KeyName,
    pseudonyms: &[String],
    earlier: &[PathBuf],
    ask: &Ask,
) -> anyhow::Result<ExitCode> {
    let mut keys = vec![PrivateKey::from_pem(&ask.connection.private_key()?).context("our private key")?];
    for path in earlier {
        let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        keys.push(PrivateKey::from_pem(&pem).with_context(|| path.display().to_string())?);
    }
    let (client, mut admin) = ask.open().await?;
    let mut exit = Exit::Ok;
    for some in pseudonyms.chunks(ASKED_MAX) {
        let revealed = admin.reveal(key, some).await?;
        for (index, pseudonym) in (0..).zip(some) {
            let meant: Vec<&Revealed> = revealed.iter().filter(|one| one.asked == index).collect();
            if meant.is_empty() {
                exit = Exit::Failed;
                tell(ask, key, pseudonym, None)?;
            }
            for one in meant {
                tell(ask, key, pseudonym, Some(&opened(&keys, key, one)?))?;
            }
        }
    }
    client.close().await;
    Ok(exit.into())
}

fn opened(keys: &[PrivateKey], key: &KeyName, revealed: &Revealed) -> anyhow::Result<Original> {
    let open = |private| originals::open(private, key, &revealed.pseudonym, &revealed.sealed);
    let mut failure = None;
    for private in keys {
        match open(private) {
            Ok(original) => return Ok(original),
            Err(error) => failure = Some(error),
        }
    }
    let failure = failure.unwrap_or(RevealError::Malformed);
    bail!("{failure}; what was sealed before our certificate had its key opens with --earlier-key PEM")
}

fn tell(ask: &Ask, key: &KeyName, pseudonym: &str, original: Option<&Original>) -> anyhow::Result<()> {
    if !ask.json {
        return Ok(print(match original {
            Some(Original { domain, value }) => format!("{pseudonym} {domain}: {}", shown(value)),
            None => format!("{pseudonym}: nothing is kept"),
        })?);
    }
    let mut line =
        json!({"key": key, "pseudonym": pseudonym, "domain": Value::Null, "original": Value::Null});
    if let Some(Original { domain, value }) = original {
        line["domain"] = domain.as_str().into();
        match std::str::from_utf8(value) {
            Ok(text) => line["original"] = text.into(),
            Err(_) => line["original_base64"] = STANDARD.encode(value).into(),
        }
    }
    Ok(print_json(&line)?)
}

/// As a terminal may show it.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

fn status_line(status: &OriginalsStatus) -> String {
    let OriginalsStatus { key, count, count_max, octets, octets_max, fault } = status;
    let fault = fault.as_ref().map(|fault| format!("; {}", fault.0)).unwrap_or_default();
    format!("{key}: {count} of {count_max} originals, {} of {}{fault}", size(*octets), size(*octets_max))
}

fn status_json(status: &OriginalsStatus) -> Value {
    json!({
        "key": status.key,
        "count": status.count,
        "count_max": status.count_max,
        "octets": status.octets,
        "octets_max": status.octets_max,
        "fault": status.fault.as_ref().map(|fault| &fault.0),
    })
}
