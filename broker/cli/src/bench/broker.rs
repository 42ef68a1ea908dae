//! A broker process of the benchmark's own, in a directory that goes with it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use hilum_client::{Client, Config};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::bundled;

const TEMPLATE: [(&str, &str); 6] = [
    ("hilum.toml", include_str!("hospital/hilum.toml")),
    ("flows/bodies.toml", include_str!("hospital/flows/bodies.toml")),
    ("flows/forwarded.toml", include_str!("hospital/flows/forwarded.toml")),
    ("flows/alerts.toml", include_str!("hospital/flows/alerts.toml")),
    ("flows/plain.toml", include_str!("hospital/flows/plain.toml")),
    ("flows/chained.toml", include_str!("hospital/flows/chained.toml")),
];
/// The hospital and the identity of the template.
const HOSPITAL: &str = "bench";

/// The subscription of each flow that has no chain.
pub(super) const THROUGH: &str = "through";
/// The subscription of the plain flow whose records are cleaned and sealed on their way out.
pub(super) const SEALED: &str = "sealed";
/// Connections that the template allows.
pub(super) const CONNECTIONS_MAX: usize = 20_000;

/// The name of a subscription that fans out.
pub(super) fn fan(index: usize) -> String {
    format!("fan-{index}")
}

/// How long the broker may take to listen: most of it is compiling plugins.
const START_TIME: Duration = Duration::from_secs(120);

/// A broker that runs until this is dropped.
pub(super) struct ThrowAway {
    directory: TempDir,
    child: Child,
    address: String,
}

impl ThrowAway {
    /// Makes a hospital below `parent`, whose flows have `fans` subscriptions to fan out to, and starts its broker.
    pub(super) async fn start(parent: &Path, fans: usize) -> anyhow::Result<Self> {
        Self::start_with(parent, fans, "").await
    }

    /// As `start`, where many readers share each of the subscriptions.
    pub(super) async fn start_shared(parent: &Path, fans: usize) -> anyhow::Result<Self> {
        Self::start_with(parent, fans, "shared = true\n").await
    }

    async fn start_with(parent: &Path, fans: usize, lines: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hilum-bench-").tempdir_in(parent)?;
        for (path, text) in TEMPLATE {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
            let fans = if path.ends_with("hilum.toml") { 0 } else { fans };
            let subscriptions = (0..fans).map(|index| {
                let name = fan(index);
                format!(
                    "\n[[subscription]]\nname = \"{name}\"\nstakeholder = \"bench\"\npurpose = \"TREAT\"\n{lines}"
                )
            });
            std::fs::write(path, text.to_owned() + &subscriptions.collect::<String>())?;
        }
        let bundled = [bundled::PACKED, &[bundled::PASS]].concat();
        hilum_server::provision::init(directory.path(), None, &bundled, SystemTime::now())?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(directory.path())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a broker")?;
        let stdout = child.stdout.take().context("the broker has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_TIME, lines.next_line()).await;
        let line = line.context("the broker took too long to start")??;
        let Some(address) = line.as_deref().and_then(|line| line.strip_prefix("listening on ")) else {
            bail!("the broker did not start; its own words are above");
        };
        Ok(Self { address: address.to_owned(), directory, child })
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.connecting()?).await?)
    }

    /// What a connection is made with.
    pub(super) fn connecting(&self) -> anyhow::Result<Config> {
        let read = |path: &str| std::fs::read(self.directory.path().join(path));
        Ok(Config::new(
            &self.address,
            HOSPITAL,
            read("authority/ca.pem")?,
            read("identities/bench/cert.pem")?,
            read("identities/bench/key.pem")?,
        ))
    }

    /// The broker's process.
    pub(super) fn process(&self) -> anyhow::Result<u32> {
        self.child.id().context("the broker has ended")
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends the broker. Its directory goes with it, so there is nothing to save.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}
