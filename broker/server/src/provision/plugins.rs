//! The plugins that come with Hilum: packed, and signed by the hospital, which thereby says that it wants them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hilum_core::Timestamp;
use hilum_sandbox::package::{About, Algorithm, Date, Package, SigningKey};
use hilum_sandbox::{Sandbox, Settings};
use zeroize::Zeroizing;

use super::files::{Readable, make_folder};
use super::{InitError, Making};
use crate::config::{Hospital, PluginFile};
use crate::package;

/// A plugin that the binary carries.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// Its name, in configurations too.
    pub name: &'static str,
    /// A sentence for people.
    pub description: &'static str,
    /// The component.
    pub component: &'static [u8],
    /// What is in it, as CycloneDX.
    pub sbom: &'static [u8],
    /// Until when it is supported, as `2028-12-31`.
    pub end_of_support: &'static str,
}

/// Who made them, and how they are licensed.
const VENDOR: &str = "Hilum";
const LICENCE: &str = "Apache-2.0 OR MIT";

impl Making {
    /// Makes the hospital's own key for plugins, where the configuration trusts it.
    pub(super) fn signing_key(&mut self, hospital: &Hospital) -> Result<(), InitError> {
        let files = self.directory.plugin_signing();
        let trusted = hospital.trust.keys.iter().any(|key| key.path == files.public);
        if hospital.plugins.is_empty() || !trusted || files.public.exists() {
            return Ok(()); // where the public one is, the private one may be kept offline
        }
        let failed = |source| InitError::SigningKey { path: files.key.clone(), source };
        let key = if files.key.exists() {
            read_signing_key(&files.key)?
        } else {
            let key = SigningKey::generate(Algorithm::Ed25519).map_err(failed)?;
            let pem = key.to_pem().map_err(failed)?;
            self.file(&files.key, pem.as_bytes(), Readable::ByOwner, "private key to sign plugins with")?;
            key
        };
        let pem = key.public().to_pem();
        self.file(&files.public, pem.as_bytes(), Readable::ByAll, "public key that plugins are verified with")
    }

    /// Makes plugins that are missing; the names of those that are neither there nor bundled.
    pub(super) fn plugins(
        &mut self,
        hospital: &Hospital,
        bundled: &[Bundled],
    ) -> Result<Vec<String>, InitError> {
        let (mut missing, mut packing) = (Vec::new(), None);
        for (name, plugin) in hospital.plugins.iter().filter(|(_, plugin)| !plugin.path.exists()) {
            match bundled.iter().find(|bundled| bundled.name == name) {
                None => missing.push(name.clone()),
                Some(bundled) if plugin.is_package() => self.package(plugin, bundled, &mut packing)?,
                Some(Bundled { component, .. }) => {
                    self.file(
                        &plugin.path,
                        component,
                        Readable::ByAll,
                        "plugin that comes with Hilum, not signed",
                    )?;
                }
            }
        }
        Ok(missing)
    }

    fn package(
        &mut self,
        plugin: &PluginFile,
        bundled: &Bundled,
        packing: &mut Option<(Sandbox, SigningKey)>,
    ) -> Result<(), InitError> {
        let fault = |what: String| InitError::Pack { name: bundled.name.to_owned(), what };
        let (sandbox, key) = match packing {
            Some(packing) => packing,
            None => {
                let settings = Settings { instances: 4, ..Settings::default() };
                let sandbox = Sandbox::new(settings).map_err(|error| fault(error.to_string()))?;
                packing.insert((sandbox, read_signing_key(&self.directory.plugin_signing().key)?))
            }
        };
        let loaded = sandbox.load(bundled.component).map_err(|error| fault(error.to_string()))?;
        let about = About {
            licence: LICENCE.to_owned(),
            vendor: VENDOR.to_owned(),
            description: bundled.description.to_owned(),
            created: today(self.now),
            end_of_support: bundled
                .end_of_support
                .parse()
                .map_err(|_| fault("it has no end of support".into()))?,
        };
        let packed = Package::pack(&loaded, bundled.component.to_vec(), bundled.sbom.to_vec(), about);
        let mut packed = packed.map_err(|error| fault(error.to_string()))?;
        packed.sign(key).map_err(|error| fault(error.to_string()))?;
        let failed = |source| InitError::File { path: plugin.path.clone(), source };
        make_folder(plugin.path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        package::write(&plugin.path, &packed).map_err(failed)?;
        self.note(&plugin.path, "plugin that comes with Hilum, packed and signed");
        Ok(())
    }
}

fn read_signing_key(path: &Path) -> Result<SigningKey, InitError> {
    if !path.exists() {
        return Err(InitError::SigningKeyMissing { missing: path.to_owned() });
    }
    let read = std::fs::read(path).map(Zeroizing::new);
    let pem = read.map_err(|source| InitError::File { path: path.to_owned(), source })?;
    SigningKey::from_pem(&pem).map_err(|source| InitError::SigningKey { path: path.to_owned(), source })
}

fn today(now: SystemTime) -> Date {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Date::at(Timestamp(u64::try_from(since).unwrap_or(u64::MAX)))
}
