//! A broker process of the benchmark's own, in a directory that goes with it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use hilum_client::{Client, Config};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const TEMPLATE: [(&str, &str); 4] = [
    ("hilum.toml", include_str!("hospital/hilum.toml")),
    ("flows/alerts.toml", include_str!("hospital/flows/alerts.toml")),
    ("flows/plain.toml", include_str!("hospital/flows/plain.toml")),
    ("flows/chained.toml", include_str!("hospital/flows/chained.toml")),
];
/// The hospital and the identity of the template.
const HOSPITAL: &str = "bench";

/// How long the broker may take to listen: most of it is compiling plugins.
const START_TIME: Duration = Duration::from_secs(120);

/// A broker that runs until this is dropped.
pub(super) struct ThrowAway {
    directory: TempDir,
    child: Child,
    address: String,
}

impl ThrowAway {
    /// Makes a hospital below `parent` and starts its broker.
    pub(super) async fn start(parent: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hilum-bench-").tempdir_in(parent)?;
        for (path, text) in TEMPLATE {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
            std::fs::write(path, text)?;
        }
        let bundled = crate::bundled::PLUGINS;
        hilum_server::provision::init(directory.path(), None, bundled, SystemTime::now())?;
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
        let read = |path: &str| std::fs::read(self.directory.path().join(path));
        let config = Config::new(
            &self.address,
            HOSPITAL,
            read("authority/ca.pem")?,
            read("identities/bench/cert.pem")?,
            read("identities/bench/key.pem")?,
        );
        Ok(Client::connect(config).await?)
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
