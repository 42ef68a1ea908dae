//! A small hospital for tests: one clinic, one zone, flows as the test needs them.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hilum_client::{Client, Config, ConnectError};
use hilum_server::config::Directory;
use hilum_server::provision::{Request, Usage, Validity, read_authority};
use tempfile::TempDir;

use crate::Flow;

/// Everything but flows. `scanner` publishes, `reader` reads, `operator` looks after flows, `steward` may see bodies too.
const MAIN: &str = r#"
[hospital]
name = "test"

[broker]
listen = "127.0.0.1:0"

[labels]
phi = { description = "identifies a patient" }

[zones]
clinic = { description = "where everything is" }

[stakeholders.clinic]
description = "publishes"
cleared = ["phi"]

[stakeholders.ward]
description = "reads"
cleared = ["phi"]

[principals.scanner]
path = "device/scanner"
stakeholder = "clinic"
zone = "clinic"
roles = ["scanner"]

[principals.reader]
path = "service/reader"
stakeholder = "ward"
zone = "clinic"
roles = ["reader"]

[stakeholders.it]
description = "looks after the broker, and sees nothing of patients"

[stakeholders.privacy]
description = "looks into what was stopped"
cleared = ["phi"]

[principals.operator]
path = "service/operator"
stakeholder = "it"
zone = "clinic"
roles = ["operator"]

[principals.steward]
path = "service/steward"
stakeholder = "privacy"
zone = "clinic"

[[operators]]
stakeholder = "it"
roles = ["operator"]
may = ["inspect", "quarantine", "subscriptions", "holds", "configure"]

[[operators]]
stakeholder = "privacy"
may = ["inspect", "bodies"]

[plugins.access]
path = "plugins/access.wasm"

[plugins.analytics]
path = "plugins/analytics.wasm"

[plugins.deidentify]
path = "plugins/deidentify.wasm"

[plugins.encrypt]
path = "plugins/encrypt.wasm"

[keys.research]
kind = "secret"
file = "keys/research"
"#;

/// What holds where a test says nothing of trust: it may put components of its own beside those of the hospital.
const UNSIGNED: &str = "\n[trust]\nunsigned = \"allow\"\n";

/// A hospital directory that goes when the test ends.
pub struct Hospital {
    directory: TempDir,
}

impl Hospital {
    /// A provisioned hospital with these flows: values of [`Flow`], or the text of their files.
    pub fn new<F: Display>(flows: &[F]) -> Self {
        Self::with("", flows)
    }

    /// As `new`, with more in `hilum.toml`. Plugins need no signatures, unless there is a `[trust]` in it.
    pub fn with<F: Display>(more: &str, flows: &[F]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("flows")).unwrap();
        let trust = if more.contains("[trust]") { "" } else { UNSIGNED };
        std::fs::write(directory.path().join("hilum.toml"), format!("{MAIN}{more}{trust}")).unwrap();
        for (index, flow) in flows.iter().enumerate() {
            std::fs::write(directory.path().join(format!("flows/{index}.toml")), flow.to_string()).unwrap();
        }
        let hospital = Self { directory };
        hospital.provision();
        hospital
    }

    /// A provisioned hospital with [`Flow::plain`].
    pub fn plain() -> Self {
        Self::new(&[Flow::plain()])
    }

    /// Issues a certificate of this hospital's authority for `path`, valid for `days` from `from` on, and gives what
    /// a client at `address` needs.
    pub fn issue(&self, address: &str, path: &str, from: SystemTime, days: u64) -> Config {
        let files = Directory::new(self.path()).authority();
        let id = format!("spiffe://test/{path}").parse().unwrap();
        let request = Request { id: &id, usage: Usage::Client, validity: Validity::days(from, days) };
        let issued = read_authority(&files).unwrap().issue(&request).unwrap();
        let (certificate, key) = (issued.certificate_pem.into_bytes(), issued.key_pem.as_bytes().to_vec());
        Config::new(address, "test", std::fs::read(files.certificate).unwrap(), certificate, key)
    }

    /// Makes what is missing.
    pub fn provision(&self) {
        let bundled = hilum::bundled::PACKED;
        hilum_server::provision::init(self.path(), None, bundled, SystemTime::now()).unwrap();
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file of it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// How `identity` reaches a broker at `address`.
    pub fn config(&self, address: &str, identity: &str) -> Config {
        let read = |path: String| std::fs::read(self.file(&path)).unwrap();
        Config::new(
            address,
            "test",
            read("authority/ca.pem".into()),
            read(format!("identities/{identity}/cert.pem")),
            read(format!("identities/{identity}/key.pem")),
        )
    }

    /// Connects as `identity`.
    pub async fn connect(&self, address: &str, identity: &str) -> Result<Client, ConnectError> {
        Client::connect(self.config(address, identity)).await
    }
}
