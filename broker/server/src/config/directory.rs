//! Where things are in a hospital directory.

use std::path::{Path, PathBuf};

/// A hospital directory, existing or to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(PathBuf);

/// The two files of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Certificate chain, leaf first, PEM.
    pub certificate: PathBuf,
    /// Private key, PKCS #8, PEM.
    pub key: PathBuf,
}

/// The two files of a key that signs plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningFiles {
    /// SubjectPublicKeyInfo, PEM.
    pub public: PathBuf,
    /// Private key, PKCS #8, PEM.
    pub key: PathBuf,
}

impl Directory {
    /// The main file of the configuration.
    pub const MAIN_FILE: &'static str = "hilum.toml";
    /// The folder with one file for each flow.
    pub const FLOWS_FOLDER: &'static str = "flows";

    /// Takes a path as it is.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Something in it, by a path relative to it.
    #[must_use]
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// The main file of the configuration.
    #[must_use]
    pub fn main_file(&self) -> PathBuf {
        self.join(Self::MAIN_FILE)
    }

    /// The folder with one file for each flow.
    #[must_use]
    pub fn flows(&self) -> PathBuf {
        self.join(Self::FLOWS_FOLDER)
    }

    /// Certificate and key of the hospital's certificate authority.
    #[must_use]
    pub fn authority(&self) -> IdentityFiles {
        IdentityFiles { certificate: self.join("authority/ca.pem"), key: self.join("authority/ca-key.pem") }
    }

    /// The hospital's own key to sign plugins with. As the authority's, the private one may be kept elsewhere.
    #[must_use]
    pub fn plugin_signing(&self) -> SigningFiles {
        SigningFiles {
            public: self.join("authority/plugins.pem"),
            key: self.join("authority/plugins-key.pem"),
        }
    }

    /// Certificate and key of an identity.
    #[must_use]
    pub fn identity(&self, name: &str) -> IdentityFiles {
        let folder = self.join("identities").join(name);
        IdentityFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    /// The key-encryption key: 32 octets in hexadecimal.
    #[must_use]
    pub fn key_encryption_key(&self) -> PathBuf {
        self.join("keys/kek")
    }

    /// What the broker stores.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.join("data")
    }
}
