//! Part of `cargo xtask interop`: packages of plugins through an OCI registry that others wrote, once over plain HTTP and once over
//! TLS with a password; and what happens when what it keeps is changed.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::step::{binary, target_directory};

/// Debian's package of the Distribution project's registry, and its program.
pub(crate) const PROGRAM: &str = "docker-registry";

const START_TIME: Duration = Duration::from_secs(20);
const USER: &str = "vendor";
const PASSWORD: &str = "secret";
/// The user and the bcrypt hash of the password, as `htpasswd -B` writes it.
const HTPASSWD: &str = "vendor:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Pushes, pulls, verifies and tampers.
pub(crate) fn run() -> anyhow::Result<()> {
    let base = target_directory().join("interop/registry");
    if base.exists() {
        fs::remove_dir_all(&base).with_context(|| base.display().to_string())?;
    }
    fs::create_dir_all(&base)?;
    let desk = Desk::new(&base)?;
    let plain = Registry::start(&base.join("plain"), &[])?;
    let pinned = desk.travels(&plain, &["--plain-http"], &[])?;
    desk.is_found_when_changed(&plain, &pinned)?;
    let over_tls = desk.registry_over_tls(&base)?;
    let authority = desk.at("hospital/authority/ca.pem");
    let known = [("HILUM_REGISTRY_USER", USER), ("HILUM_REGISTRY_PASSWORD", PASSWORD)];
    desk.travels(&over_tls, &["--ca", &authority], &known)?;
    desk.is_refused_without(&over_tls, &authority)?;
    println!(
        "registry: a package went through {PROGRAM} over HTTP and over TLS unchanged, and changes were found"
    );
    Ok(())
}

/// Where packages are made and come back to.
struct Desk {
    base: PathBuf,
    package: String,
    digest: String,
}

impl Desk {
    /// The hospital of the example, and one of the packages that it made.
    fn new(base: &Path) -> anyhow::Result<Self> {
        let hospital = base.join("hospital");
        succeeds(&["init", &hospital.display().to_string()], &[])?;
        let package = hospital.join("plugins/deidentify").display().to_string();
        let shown = succeeds(&["plugin", "inspect", &package, "--json"], &[])?;
        let digest = field(&shown, "sha256").context("no digest")?;
        Ok(Self { base: base.to_owned(), package, digest })
    }

    fn at(&self, name: &str) -> String {
        self.base.join(name).display().to_string()
    }

    fn registry_over_tls(&self, base: &Path) -> anyhow::Result<Registry> {
        let passwords = self.at("htpasswd");
        fs::write(&passwords, HTPASSWD)?;
        let (certificate, key) =
            (self.at("hospital/identities/broker/cert.pem"), self.at("hospital/identities/broker/key.pem"));
        let settings = [
            ("REGISTRY_HTTP_TLS_CERTIFICATE", certificate.as_str()),
            ("REGISTRY_HTTP_TLS_KEY", &key),
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "interop"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", &passwords),
        ];
        Registry::start(&base.join("tls"), &settings)
    }

    /// A package goes there and comes back, by tag and by digest, octet by octet; the reference with its digest.
    fn travels(&self, registry: &Registry, how: &[&str], who: &[(&str, &str)]) -> anyhow::Result<String> {
        let reference = registry.place("plugins/deidentify:1");
        let arguments = ["plugin", "push", &self.package, &reference, "--json"];
        let pushed = succeeds(&[&arguments[..], how].concat(), who)?;
        let pinned = field(&pushed, "reference").context("no reference")?;
        let digest = field(&pushed, "digest").context("no digest")?;
        for (name, arguments) in [
            ("by-tag", vec![reference.as_str()]),
            ("by-digest", vec![pinned.as_str()]),
            ("by-both", vec![reference.as_str(), "--digest", &digest]),
        ] {
            let out = registry.storage.join(name).display().to_string();
            let arguments = [&["plugin", "pull", "--out", &out, "--json"], &arguments[..], how].concat();
            let pulled = succeeds(&arguments, who)?;
            ensure!(
                field(&pulled, "sha256").as_ref() == Some(&self.digest),
                "another package came: {pulled}"
            );
            let package = field(&pulled, "package").context("no package")?;
            same(Path::new(&self.package), Path::new(&package))?;
            let hospital = self.at("hospital");
            succeeds(&["plugin", "verify", &package, "--trust", &hospital, "--zone", "clinical"], &[])?;
        }
        let other = format!("sha256:{}", "0".repeat(64));
        let out = registry.storage.join("other").display().to_string();
        let arguments = ["plugin", "pull", &reference, "--digest", &other, "--out", &out];
        fails(&[&arguments[..], how].concat(), who, "")?;
        Ok(pinned)
    }

    /// Each blob that the registry keeps is changed in turn, and what it then hands out is refused.
    fn is_found_when_changed(&self, registry: &Registry, pinned: &str) -> anyhow::Result<()> {
        let blobs = registry.blobs()?;
        ensure!(blobs.len() == 5, "manifest, config, component, SBOM and one signature, not {}", blobs.len());
        for (count, blob) in blobs.iter().enumerate() {
            let good = fs::read(blob)?;
            let mut bad = good.clone();
            let at = bad.len() / 2;
            bad[at] ^= 1;
            fs::write(blob, bad)?;
            let out = registry.storage.join(format!("changed-{count}"));
            let shown = out.display().to_string();
            fails(&["plugin", "pull", pinned, "--out", &shown, "--plain-http"], &[], "")?;
            ensure!(!out.exists(), "something was written of what was changed");
            fs::write(blob, good)?;
        }
        let out = registry.storage.join("mended").display().to_string();
        succeeds(&["plugin", "pull", pinned, "--out", &out, "--plain-http"], &[])?;
        Ok(())
    }

    /// Neither strangers, nor those who do not know its authority, nor those who talk without TLS get anything.
    fn is_refused_without(&self, registry: &Registry, authority: &str) -> anyhow::Result<()> {
        let reference = registry.place("plugins/deidentify:1");
        let out = self.at("refused");
        let pull = ["plugin", "pull", &reference, "--out", &out];
        let known = [("HILUM_REGISTRY_USER", USER), ("HILUM_REGISTRY_PASSWORD", PASSWORD)];
        let wrong = [("HILUM_REGISTRY_USER", USER), ("HILUM_REGISTRY_PASSWORD", "guess")];
        fails(&[&pull[..], &["--ca", authority]].concat(), &[], "")?;
        fails(&[&pull[..], &["--ca", authority]].concat(), &wrong, "")?;
        fails(&pull, &known, "")?;
        fails(&[&pull[..], &["--plain-http"]].concat(), &known, "")
    }
}

/// A registry process. Killed when dropped.
struct Registry {
    child: Child,
    address: String,
    storage: PathBuf,
}

impl Registry {
    fn start(storage: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        fs::create_dir_all(storage)?;
        let config = storage.join("config.yml");
        fs::write(&config, "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem: {}\nhttp: {}\n")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = fs::File::create(storage.join("log"))?;
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .env("REGISTRY_HTTP_ADDR", &address)
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", storage.join("store"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let registry = Self { child, address, storage: storage.to_owned() };
        let start = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            ensure!(start.elapsed() < START_TIME, "{PROGRAM} does not listen, see {}/log", storage.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(registry)
    }

    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The files in which it keeps what it was sent.
    fn blobs(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let folder = self.storage.join("store/docker/registry/v2/blobs/sha256");
        for prefix in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            for digest in fs::read_dir(prefix?.path())? {
                found.push(digest?.path().join("data"));
            }
        }
        Ok(found)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `hilum`, knowing nothing of the user's own registries.
fn hilum(arguments: &[&str], who: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("hilum"));
    for variable in ["HILUM_REGISTRY_TOKEN", "HILUM_REGISTRY_USER", "HILUM_REGISTRY_PASSWORD"] {
        command.env_remove(variable);
    }
    let command = command.args(arguments).envs(who.iter().copied()).env("DOCKER_CONFIG", "/nonexistent");
    command.stdin(Stdio::null()).output().context("cannot run hilum")
}

fn succeeds(arguments: &[&str], who: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = hilum(arguments, who)?;
    if !output.status.success() {
        bail!("`hilum {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn fails(arguments: &[&str], who: &[(&str, &str)], word: &str) -> anyhow::Result<()> {
    let output = hilum(arguments, who)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "`hilum {}` did not fail: {said}", arguments.join(" "));
    ensure!(
        said.starts_with("error: ") && said.contains(word),
        "`hilum {}` said: {said}",
        arguments.join(" ")
    );
    println!("  refused: {}", said.lines().next().unwrap_or_default());
    Ok(())
}

/// A text in a line of JSON.
fn field(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.rsplit_once(&format!("\"{name}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Both directories have the same files with the same octets.
fn same(one: &Path, other: &Path) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(one)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        let twin = other.join(&name);
        if path.is_dir() {
            same(&path, &twin)?;
        } else {
            ensure!(fs::read(&path)? == fs::read(&twin)?, "{} differs", twin.display());
        }
        names.push(name);
    }
    ensure!(fs::read_dir(other)?.count() == names.len(), "{} has more files", other.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_where_it_is_last() {
        let json = r#"{"manifest":{"sha256":"a"},"sha256":"b","n":1}"#;
        assert_eq!(field(json, "sha256").as_deref(), Some("b"));
        assert_eq!(field(json, "other"), None);
    }
}
