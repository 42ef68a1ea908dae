//! Where the broker is and who we are: from a hospital directory, or file by file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use hilum_client::{Client, Config};
use hilum_server::config::{Directory, Hospital};

/// How to reach the broker, and as whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The hospital directory: its address, authority and identities are used
    #[arg(long, env = "HILUM_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The identity to act as: a folder of DIR/identities
    #[arg(long = "as", env = "HILUM_AS", value_name = "IDENTITY")]
    identity: Option<String>,
    /// Where the broker is, instead of `broker.listen` of DIR/hilum.toml
    #[arg(long, env = "HILUM_ADDRESS", value_name = "HOST:PORT")]
    address: Option<String>,
    /// The hospital's name, where there is no DIR
    #[arg(long, env = "HILUM_HOSPITAL", value_name = "NAME")]
    hospital: Option<String>,
    /// The authority's certificates, where there is no DIR
    #[arg(long, env = "HILUM_CA", value_name = "PEM")]
    ca: Option<PathBuf>,
    /// Our certificate, where there is no DIR
    #[arg(long, env = "HILUM_CERT", value_name = "PEM")]
    cert: Option<PathBuf>,
    /// Our private key, where there is no DIR
    #[arg(long, env = "HILUM_KEY", value_name = "PEM")]
    key: Option<PathBuf>,
}

impl Connection {
    /// To the broker of a hospital directory, as one of its identities.
    #[must_use]
    pub fn of(directory: &Path, identity: &str, address: Option<&str>) -> Self {
        Self {
            dir: Some(directory.to_owned()),
            identity: Some(identity.to_owned()),
            address: address.map(str::to_owned),
            hospital: None,
            ca: None,
            cert: None,
            key: None,
        }
    }

    /// Connects.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.config()?).await?)
    }

    /// What the hospital directory says, for a command that needs more of it than its address.
    pub fn hospital(&self) -> anyhow::Result<Hospital> {
        let directory = self.dir.as_deref().context("say which hospital it is: --dir DIR")?;
        Ok(hilum_server::config::load(directory)?)
    }

    /// Our private key in PEM, to open what was sealed to us.
    pub fn private_key(&self) -> anyhow::Result<String> {
        let path = self.files()?.key;
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn config(&self) -> anyhow::Result<Config> {
        let files = self.files()?;
        let known = self.dir.as_deref().map(hilum_server::config::load).transpose()?;
        let address = match (&self.address, &known) {
            (Some(address), _) => address.clone(),
            (None, Some(hospital)) => hospital.listen.to_string(),
            (None, None) => bail!("say where the broker is: --dir DIR or --address HOST:PORT"),
        };
        let hospital = match (&self.hospital, &known) {
            (Some(name), _) => name.clone(),
            (None, Some(hospital)) => hospital.name.clone(),
            (None, None) => bail!("say which hospital it is: --dir DIR or --hospital NAME"),
        };
        let mut config =
            Config::new(&address, &hospital, read(&files.ca)?, read(&files.cert)?, read(&files.key)?);
        config.agent = concat!("hilum/", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(config)
    }

    fn files(&self) -> anyhow::Result<Files> {
        let directory = self.dir.as_ref().map(Directory::new);
        let identity = directory.as_ref().zip(self.identity.as_deref()).map(|(dir, name)| dir.identity(name));
        let given = |given: &Option<PathBuf>, known: Option<PathBuf>, option: &str| {
            given.clone().or(known).with_context(|| {
                format!("say who you are: --dir DIR --as IDENTITY, or the file with {option} PEM")
            })
        };
        Ok(Files {
            ca: given(&self.ca, directory.as_ref().map(|dir| dir.authority().certificate), "--ca")?,
            cert: given(&self.cert, identity.as_ref().map(|files| files.certificate.clone()), "--cert")?,
            key: given(&self.key, identity.as_ref().map(|files| files.key.clone()), "--key")?,
        })
    }
}

struct Files {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
