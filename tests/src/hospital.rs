//! A small hospital for tests: one clinic, one zone, flows as the test needs them.

use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
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

[plugins.relationships]
path = "plugins/relationships.wasm"

[keys.research]
kind = "secret"
file = "keys/research"

[keys.relationships]
kind = "secret"
file = "keys/relationships"
"#;

/// The key-encryption key of every hospital here, in hexadecimal: they share the components that were compiled before, which are sealed under a
/// key that is made of it.
const KEY_ENCRYPTION_KEY: &str = "5a6cbe3fd0c1f1b2708e4f0fd3a49a0c63f1c2a94be8d7561f20b7c98e54d31b";

/// Octets of compiled plugins that are shared.
const SHARED_OCTETS_MAX: u64 = 256 << 20;

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
        fs::create_dir(directory.path().join("flows")).unwrap();
        let trust = if more.contains("[trust]") { "" } else { UNSIGNED };
        fs::write(directory.path().join("hilum.toml"), format!("{MAIN}{more}{trust}")).unwrap();
        for (index, flow) in flows.iter().enumerate() {
            fs::write(directory.path().join(format!("flows/{index}.toml")), flow.to_string()).unwrap();
        }
        let hospital = Self { directory };
        hospital.share_compiled();
        hospital.provision();
        hospital
    }

    /// Compiled plugins are those of the hospitals before, instead of some seconds of compiling for each: the folder is in the target
    /// directory, and entries are verified as they are anywhere (decision 30).
    fn share_compiled(&self) {
        static SHARED: LazyLock<PathBuf> = LazyLock::new(shared_folder);
        fs::create_dir(self.file("data")).unwrap();
        symlink(&*SHARED, self.file("data/compiled")).unwrap();
        fs::create_dir(self.file("keys")).unwrap();
        let mut options = fs::OpenOptions::new();
        let mut key = options.write(true).create_new(true).mode(0o600).open(self.file("keys/kek")).unwrap();
        key.write_all(KEY_ENCRYPTION_KEY.as_bytes()).unwrap();
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
        Config::new(address, "test", fs::read(files.certificate).unwrap(), certificate, key)
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
        let read = |path: String| fs::read(self.file(&path)).unwrap();
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

/// Where compiled plugins are kept for all hospitals, emptied when builds of long ago have filled it.
fn shared_folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test binary>
    let folder = exe.ancestors().nth(2).unwrap().join("compiled-for-tests");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
    let entries: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
    let octets: u64 = entries.iter().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    if octets > SHARED_OCTETS_MAX {
        // Another run may do the same at this moment.
        entries.iter().for_each(|entry| drop(fs::remove_file(entry.path())));
    }
    folder
}
