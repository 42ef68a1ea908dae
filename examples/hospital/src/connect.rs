//! Connections to a broker under the identities that `hilum init` made.

use std::fs;
use std::path::Path;

use anyhow::Context;
use hilum_client::{Client, Config, Credit};

use crate::process::{Broker, Hospital};

/// The trust domain of the example.
pub const HOSPITAL_NAME: &str = "st-marys";
/// What a reader lets the broker send ahead.
pub const CREDIT: Credit = Credit { records: 256, octets: 16 << 20 };

/// Connects as `identity`, the name of a folder in `identities`.
pub async fn connect(hospital: &Hospital, broker: &Broker, identity: &str) -> anyhow::Result<Client> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let folder = hospital.path().join("identities").join(identity);
    let config = Config::new(
        &broker.address().to_string(),
        HOSPITAL_NAME,
        read(&hospital.path().join("authority/ca.pem"))?,
        read(&folder.join("cert.pem"))?,
        read(&folder.join("key.pem"))?,
    );
    Client::connect(config).await.with_context(|| format!("connecting as `{identity}`"))
}
