//! Makes a hospital directory: configuration, certificate authority, identities, keys, plugins.
//!
//! [`init`] makes what is missing and touches nothing that is there, so it may run again after the configuration named a
//! new principal, key or plugin. [`Authority`] issues the identities. The functions of `credentials` read back what was
//! made, for the server and for whoever connects to it.

mod authority;
mod credentials;
mod files;
mod plugins;
mod template;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::rand;
use hilum_core::PrincipalId;
use zeroize::Zeroizing;

pub use authority::{
    AUTHORITY_DAYS, Authority, AuthorityError, IDENTITY_DAYS, Issued, Request, Usage, Validity,
};
pub use credentials::{
    CredentialError, PeerError, SECRET_OCTETS, read_certificates, read_private_key, read_roots, read_secret,
    spiffe_id,
};

pub use plugins::Bundled;

use crate::config::{self, Directory, Hospital, IdentityFiles, Problems};
use files::{Readable, make_file, make_folder_of};
use template::Template;

/// Why a hospital directory cannot be made. What was made until then stays.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something else in the directory.
    #[error("{0} is not empty and not a hospital directory: there is no hilum.toml in it")]
    NotAHospital(PathBuf),
    /// A template was named, but there is a configuration already.
    #[error("{0} has a configuration already, and it is not overwritten")]
    HasConfiguration(PathBuf),
    /// The configuration is wrong.
    #[error(transparent)]
    Configuration(#[from] Problems),
    /// The authority's certificate or its private key is gone.
    #[error("{missing} is missing, so no identity can be issued")]
    AuthorityIncomplete {
        /// The file that is needed.
        missing: PathBuf,
    },
    /// The authority's certificate or private key cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The hospital's private key for plugins is gone.
    #[error("{missing} is missing, so plugins that come with Hilum cannot be signed")]
    SigningKeyMissing {
        /// The file that is needed.
        missing: PathBuf,
    },
    /// The hospital's private key for plugins cannot be used.
    #[error("{path}: {source}")]
    SigningKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: hilum_sandbox::package::KeyError,
    },
    /// A plugin that comes with Hilum cannot be packed.
    #[error("plugin `{name}` cannot be packed: {what}")]
    Pack {
        /// The plugin.
        name: String,
        /// Why.
        what: String,
    },
    /// No randomness.
    #[error("the system gives no random octets")]
    Random,
    /// A file cannot be made or read.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl InitError {
    /// What to do about it; none where the message says it.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NotAHospital(_) => Some("name a directory that does not exist yet, or an empty one"),
            Self::HasConfiguration(_) => Some("leave out `--from`, or name a new directory"),
            Self::AuthorityIncomplete { .. } | Self::SigningKeyMissing { .. } => {
                Some("restore it from your backup, or from where you keep it offline, and run this again")
            }
            Self::File { .. } => Some("see that the directory can be written, and run this again"),
            Self::SigningKey { .. } => {
                Some("restore it from your backup, or make a new one with `hilum plugin keygen`")
            }
            Self::Configuration(_)
            | Self::Credential(_)
            | Self::Authority(_)
            | Self::Pack { .. }
            | Self::Random => None,
        }
    }
}

/// What [`init`] did.
#[derive(Debug)]
pub struct Report {
    /// The hospital as it is now.
    pub hospital: Hospital,
    /// What was made, relative to the directory, with a word about each.
    pub made: Vec<Made>,
    /// Plugins that the configuration names, and whose component is neither there nor bundled.
    pub plugins_missing: Vec<String>,
}

/// Something that was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Made {
    /// Relative to the hospital directory.
    pub path: String,
    /// What it is.
    pub what: String,
}

/// Makes what is missing in a hospital directory. `template` names the configuration of a new one (none: the example);
/// `bundled` are the plugins that the binary carries: they are packed, and signed with the hospital's own key.
pub fn init(
    directory: &Path,
    template: Option<&Path>,
    bundled: &[Bundled],
    now: SystemTime,
) -> Result<Report, InitError> {
    let mut making = Making { directory: Directory::new(directory), made: Vec::new(), now };
    making.configuration(template)?;
    let hospital = config::load(directory)?;
    making.identities(&hospital)?;
    making.secrets(&hospital)?;
    making.signing_key(&hospital)?;
    let plugins_missing = making.plugins(&hospital, bundled)?;
    Ok(Report { hospital, made: making.made, plugins_missing })
}

struct Making {
    directory: Directory,
    made: Vec<Made>,
    now: SystemTime,
}

impl Making {
    fn configuration(&mut self, template: Option<&Path>) -> Result<(), InitError> {
        let path = self.directory.path().to_owned();
        if self.directory.main_file().exists() {
            return template.map_or(Ok(()), |_| Err(InitError::HasConfiguration(path)));
        }
        let is_empty = match std::fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(source) => return Err(InitError::File { path, source }),
        };
        if !is_empty {
            return Err(InitError::NotAHospital(path));
        }
        let template = template.map_or(Template::Example, |from| Template::Directory(from.to_owned()));
        if let Template::Directory(from) = &template {
            config::load(from)?; // before anything is made
        }
        let from = match &template {
            Template::Directory(from) => from.clone(),
            Template::Example => path,
        };
        let mut files = template.files().map_err(|source| InitError::File { path: from, source })?;
        // The main file comes last: with it, the directory is a hospital.
        files.sort_by_key(|(path, _)| path == Directory::MAIN_FILE);
        for (path, text) in files {
            self.file(&self.directory.join(&path), text.as_bytes(), Readable::ByAll, "configuration")?;
        }
        Ok(())
    }

    fn identities(&mut self, hospital: &Hospital) -> Result<(), InitError> {
        let files = self.directory.authority();
        if !files.certificate.exists() && !files.key.exists() {
            let made = Authority::make(&hospital.name, Validity::days(self.now, AUTHORITY_DAYS))?;
            self.identity(&files, &made, format!("certificate authority of {}", hospital.name))?;
        }
        let missing: Vec<_> = wanted(hospital)
            .map(|(name, id, usage)| (self.directory.identity(name), id, usage))
            .filter(|(files, ..)| !files.certificate.exists())
            .collect();
        if missing.is_empty() {
            return Ok(()); // then the authority's key is not needed, and may be kept offline
        }
        let authority = read_authority(&self.directory.authority())?;
        let validity = Validity::days(self.now, IDENTITY_DAYS);
        for (files, id, usage) in missing {
            let issued = authority.issue(&Request { id: &id, usage, validity })?;
            self.identity(&files, &issued, format!("identity {id}"))?;
        }
        Ok(())
    }

    fn secrets(&mut self, hospital: &Hospital) -> Result<(), InitError> {
        let kek = (self.directory.key_encryption_key(), "key-encryption key");
        let named = hospital.keys.values().map(|key| (key.path.clone(), "secret"));
        for (path, what) in std::iter::once(kek).chain(named).filter(|(path, _)| !path.exists()) {
            let mut octets = Zeroizing::new([0; SECRET_OCTETS]);
            rand::fill(&mut *octets).map_err(|_| InitError::Random)?;
            let mut text = Zeroizing::new(String::with_capacity(SECRET_OCTETS * 2 + 1));
            octets.iter().for_each(|octet| text.push_str(&format!("{octet:02x}")));
            text.push('\n');
            self.file(&path, text.as_bytes(), Readable::ByOwner, what)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, octets: &[u8], readable: Readable, what: &str) -> Result<(), InitError> {
        let failed = |source| InitError::File { path: path.to_owned(), source };
        make_file(path, octets, readable).map_err(failed)?;
        self.note(path, what);
        Ok(())
    }

    fn identity(&mut self, files: &IdentityFiles, issued: &Issued, what: String) -> Result<(), InitError> {
        let folder = files.certificate.parent().expect("an identity's files are in a folder");
        let failed = |source| InitError::File { path: folder.to_owned(), source };
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (certificate, key) = (name(&files.certificate), name(&files.key));
        let contents = [
            (certificate.as_str(), issued.certificate_pem.as_bytes(), Readable::ByAll),
            (key.as_str(), issued.key_pem.as_bytes(), Readable::ByOwner),
        ];
        make_folder_of(folder, &contents).map_err(failed)?;
        self.note(folder, what);
        Ok(())
    }

    fn note(&mut self, path: &Path, what: impl Into<String>) {
        let path = path.strip_prefix(self.directory.path()).unwrap_or(path).to_string_lossy().into_owned();
        self.made.push(Made { path, what: what.into() });
    }
}

/// All identities of a hospital: folder, ID and usage.
fn wanted(hospital: &Hospital) -> impl Iterator<Item = (&str, PrincipalId, Usage)> {
    let broker = (Hospital::BROKER_IDENTITY, hospital.broker_id(), Usage::Server);
    let clients = hospital.identities.iter();
    std::iter::once(broker)
        .chain(clients.map(|(name, principal)| (name.as_str(), principal.id.clone(), Usage::Client)))
}

/// The hospital's authority, to issue identities with.
pub fn read_authority(files: &IdentityFiles) -> Result<Authority, InitError> {
    for missing in [&files.certificate, &files.key] {
        if !missing.exists() {
            return Err(InitError::AuthorityIncomplete { missing: missing.clone() });
        }
    }
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| InitError::File { path: path.to_owned(), source })
    };
    let key = Zeroizing::new(read(&files.key)?);
    Ok(Authority::from_pem(&read(&files.certificate)?, &key)?)
}
