//! Whether a plugin's file may become a plugin: pins, packages, signatures, revocation, support, and what it says of itself.
//!
//! The octets are read once: what is verified is what is compiled.

use std::path::Path;
use std::sync::Arc;

use hilum_core::{Digest, Timestamp};
use hilum_sandbox::package::{COMPONENT_OCTETS_MAX, KeyError, Manifest, PublicKey};
use hilum_sandbox::trust::{Examined, Policy, TrustedKey};
use hilum_sandbox::{Plugin, Sandbox};

use super::PluginError;
use crate::config::{FlowConfig, Hospital, PluginFile, StageConfig};
use crate::package;

/// Octets of the file of a public key.
const KEY_OCTETS_MAX: u64 = 4096;

/// Why the hospital's keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("key `{name}` of `[trust]`: {path}: {what}")]
pub struct TrustError {
    /// The key.
    pub name: String,
    /// Its file, or that of the other key.
    pub path: std::path::PathBuf,
    /// What is wrong.
    pub what: String,
}

/// A plugin that was admitted, and on what grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Its version.
    pub version: String,
    /// SHA-256 of its component.
    pub component: Digest,
    /// SHA-256 of its package's manifest, and the manifest; none for a component without a package.
    pub package: Option<(Digest, Manifest)>,
    /// Who signed it, and what somebody should do something about.
    pub examined: Examined,
}

impl Admitted {
    /// One line for audit and log.
    #[must_use]
    pub fn grounds(&self, name: &str) -> String {
        let signers: Vec<_> = self.examined.signers.iter().map(ToString::to_string).collect();
        let signers = if signers.is_empty() { "nobody".to_owned() } else { signers.join("; ") };
        let support = self.package.as_ref().map(|(digest, manifest)| {
            format!(", package {digest}, by {:?}, support until {}", manifest.vendor, manifest.end_of_support)
        });
        let warnings: String = self.examined.warnings.iter().map(|warning| format!("; {warning}")).collect();
        let Self { version, component, .. } = self;
        let support = support.unwrap_or_default();
        format!("plugin `{name}` {version}, component {component}{support}, signed by {signers}{warnings}")
    }
}

/// What the hospital admits at this time.
pub(super) struct Admission<'h> {
    hospital: &'h Hospital,
    policy: Policy,
    now: Timestamp,
}

impl<'h> Admission<'h> {
    /// Reads the keys that the hospital knows.
    pub(super) fn of(hospital: &'h Hospital, now: Timestamp) -> Result<Self, TrustError> {
        Ok(Self { policy: policy(hospital)?, hospital, now })
    }

    /// Reads, verifies and compiles a plugin.
    pub(super) fn admit(
        &self,
        sandbox: &Sandbox,
        name: &str,
        file: &PluginFile,
    ) -> Result<(Arc<Plugin>, Admitted), PluginError> {
        if file.is_package() {
            self.admit_package(sandbox, name, file)
        } else {
            self.admit_bare(sandbox, name, file)
        }
    }

    /// Whether a plugin may run where this stage is.
    pub(super) fn permit(
        &self,
        flow: &FlowConfig,
        stage: &StageConfig,
        name: &str,
        plugin: &Plugin,
        admitted: &Admitted,
    ) -> Result<(), PluginError> {
        self.policy.permits(&admitted.examined, plugin.world(), &flow.zone).map_err(|source| {
            let path = self.hospital.plugins.get(name).map(|file| file.path.clone()).unwrap_or_default();
            PluginError::NotPermitted {
                name: name.to_owned(),
                path,
                place: stage.place.clone(),
                source: source.into(),
            }
        })
    }

    fn admit_package(
        &self,
        sandbox: &Sandbox,
        name: &str,
        file: &PluginFile,
    ) -> Result<(Arc<Plugin>, Admitted), PluginError> {
        let (name, path) = (name.to_owned(), file.path.clone());
        let package = match package::read(&path) {
            Ok(package) => package,
            Err(source) => return Err(PluginError::Package { name, path, source: source.into() }),
        };
        let (digest, manifest) = (package.digest(), package.manifest().clone());
        if let Some(pinned) =
            file.sha256.filter(|pinned| ![digest, manifest.component.sha256].contains(pinned))
        {
            return Err(PluginError::Pin { name, path, actual: digest, pinned });
        }
        let examined = match self.policy.examine(&package, self.now) {
            Ok(examined) => examined,
            Err(source) => return Err(PluginError::Refused { name, path, source: source.into() }),
        };
        let plugin = match sandbox.load(package.component()) {
            Ok(plugin) => plugin,
            Err(source) => return Err(PluginError::Load { name, path, source: source.into() }),
        };
        if let Err(source) = manifest.agrees_with(&plugin) {
            return Err(PluginError::Disagrees { name, path, source: source.into() });
        }
        let (version, component) = (manifest.version.clone(), manifest.component.sha256);
        Ok((plugin, Admitted { version, component, package: Some((digest, manifest)), examined }))
    }

    fn admit_bare(
        &self,
        sandbox: &Sandbox,
        name: &str,
        file: &PluginFile,
    ) -> Result<(Arc<Plugin>, Admitted), PluginError> {
        let (name, path) = (name.to_owned(), file.path.clone());
        let read = std::fs::metadata(&path).and_then(|metadata| match metadata.len() {
            octets if octets > COMPONENT_OCTETS_MAX as u64 => Ok((octets, Vec::new())),
            octets => Ok((octets, std::fs::read(&path)?)),
        });
        let (octets, component) = match read {
            Ok(read) => read,
            Err(source) => return Err(PluginError::Read { name, path, source }),
        };
        if octets > COMPONENT_OCTETS_MAX as u64 {
            return Err(PluginError::TooLarge { name, path, octets });
        }
        let actual = Digest::of(&component);
        if let Some(pinned) = file.sha256.filter(|pinned| *pinned != actual) {
            return Err(PluginError::Pin { name, path, actual, pinned });
        }
        let examined = match self.policy.examine_bare(actual) {
            Ok(examined) => examined,
            Err(source) => return Err(PluginError::Refused { name, path, source: source.into() }),
        };
        let plugin = match sandbox.load(&component) {
            Ok(plugin) => plugin,
            Err(source) => return Err(PluginError::Load { name, path, source: source.into() }),
        };
        let version = plugin.description().version.clone();
        Ok((plugin, Admitted { version, component: actual, package: None, examined }))
    }
}

/// The hospital's policy, with the keys read from their files.
pub fn policy(hospital: &Hospital) -> Result<Policy, TrustError> {
    let trust = &hospital.trust;
    let mut keys: Vec<TrustedKey> = Vec::new();
    for file in &trust.keys {
        let fault = |what: String| TrustError { name: file.name.clone(), path: file.path.clone(), what };
        let key = read_public_key(&file.path).map_err(fault)?;
        // With two names, one key could give two of the signatures that a rule wants.
        if let Some(other) = keys.iter().find(|other| other.key == key) {
            return Err(fault(format!(
                "this is the key that is called `{}` too; name each key once",
                other.name
            )));
        }
        keys.push(TrustedKey {
            name: file.name.clone(),
            key,
            not_after: file.not_after,
            revoked: file.revoked,
        });
    }
    Ok(Policy {
        keys,
        rules: trust.rules.clone(),
        revoked: trust.revoked.clone(),
        unsigned: trust.unsigned,
        end_of_support: trust.end_of_support,
    })
}

/// Reads the file of a public key; what is wrong with it where it is none.
pub fn read_public_key(path: &Path) -> Result<PublicKey, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > KEY_OCTETS_MAX {
        return Err(KeyError::NotPublic.to_string());
    }
    let octets = std::fs::read(path).map_err(|error| error.to_string())?;
    PublicKey::from_pem(&octets).map_err(|error| error.to_string())
}
