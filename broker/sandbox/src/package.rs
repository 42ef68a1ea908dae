//! A plugin as it travels: a component, what its manifest says of it, its SBOM, and signatures over all of that.
//!
//! As a directory `NAME-VERSION/`:
//!
//! | file | what | pinned by |
//! |---|---|---|
//! | `manifest.json` | [`Manifest`] | the signatures, octet by octet |
//! | `plugin.wasm` | the component | its digest in the manifest |
//! | `sbom.cdx.json` | CycloneDX, see [`sbom`] | its digest in the manifest |
//! | `signatures/KEYID.json` | [`Envelope`], one for each signer | the signer's key |
//!
//! So whoever signs the manifest signs all of it, and a change of any octet is found. Nothing here reads a file: the octets come
//! from a directory or from a registry, and [`Package::from_parts`] takes them as what they are, the octets of a stranger. Who is
//! trusted to sign what is the matter of [`crate::trust`].

pub mod date;
pub mod envelope;
pub mod key;
pub mod manifest;
pub mod sbom;
#[cfg(test)]
pub(crate) mod tests;

use hilum_core::{Digest, StageName};

pub use date::Date;
pub use envelope::{Envelope, EnvelopeError};
pub use key::{Algorithm, KeyError, PublicKey, SigningKey};
pub use manifest::{Content, Disagreement, FORMAT, Manifest, ManifestError};
pub use sbom::SbomError;

pub use crate::limits::COMPONENT_OCTETS_MAX;
use crate::plugin::Plugin;

/// Octets of a manifest.
pub const MANIFEST_OCTETS_MAX: usize = 64 << 10;
/// Octets of an SBOM.
pub const SBOM_OCTETS_MAX: usize = 16 << 20;
/// Octets of the file of one signature: the manifest in base64, and a little.
pub const SIGNATURE_OCTETS_MAX: usize = 2 * MANIFEST_OCTETS_MAX;
/// Signatures of one package.
pub const SIGNATURES_MAX: usize = 16;

/// What a plugin does not say of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// An SPDX licence expression.
    pub licence: String,
    /// Who made it.
    pub vendor: String,
    /// A sentence for people.
    pub description: String,
    /// The day on which it is packed.
    pub created: Date,
    /// The last day on which the vendor repairs what is wrong with it.
    pub end_of_support: Date,
}

/// The octets that a package consists of, wherever they come from.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// `manifest.json`.
    pub manifest: Vec<u8>,
    /// `plugin.wasm`.
    pub component: Vec<u8>,
    /// `sbom.cdx.json`.
    pub sbom: Vec<u8>,
    /// Of each file in `signatures/`: its name, and its octets.
    pub signatures: Vec<(String, Vec<u8>)>,
}

/// Why octets are no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The manifest is none.
    #[error("manifest.json: {0}")]
    Manifest(#[from] ManifestError),
    /// A part is not the one that the manifest names.
    #[error(
        "{file} has {actual_octets} octets with digest {actual}, the manifest names {named_octets} octets with digest {named}: \
         the file was changed after the package was made; get the package again"
    )]
    Changed {
        /// The file.
        file: &'static str,
        /// What it digests to.
        actual: Digest,
        /// Its size.
        actual_octets: u64,
        /// What the manifest says.
        named: Digest,
        /// What the manifest says.
        named_octets: u64,
    },
    /// The SBOM is none.
    #[error("sbom.cdx.json: {0}")]
    Sbom(#[from] SbomError),
    /// A signature's file is none, or of another manifest.
    #[error("signatures/{file}: {source}")]
    Signature {
        /// The file.
        file: String,
        /// Why.
        source: EnvelopeError,
    },
    /// More signatures than a package may have.
    #[error("there are {0} signatures, at most {SIGNATURES_MAX} are read")]
    Signatures(usize),
}

/// A package whose parts fit together. Whether its signatures are worth anything is for [`crate::trust::Policy::examine`].
#[derive(Debug, Clone)]
pub struct Package {
    manifest: Manifest,
    parts: Parts,
    signatures: Vec<Envelope>,
}

impl Package {
    /// The file of the manifest.
    pub const MANIFEST: &'static str = "manifest.json";
    /// The file of the component.
    pub const COMPONENT: &'static str = "plugin.wasm";
    /// The file of the SBOM.
    pub const SBOM: &'static str = "sbom.cdx.json";
    /// The folder of the signatures.
    pub const SIGNATURES: &'static str = "signatures";

    /// Packs a plugin that was loaded from this component. Nobody has signed it yet.
    ///
    /// # Errors
    ///
    /// [`PackageError`] where its name or version cannot be that of a package, or the SBOM is none.
    pub fn pack(
        plugin: &Plugin,
        component: Vec<u8>,
        sbom: Vec<u8>,
        about: About,
    ) -> Result<Self, PackageError> {
        let (version, world, wit, imports, removes) = Manifest::facts(plugin);
        let name = StageName::new(&plugin.description().name);
        let name = name.map_err(|error| ManifestError::Value { key: "name", what: error.to_string() })?;
        let About { licence, vendor, description, created, end_of_support } = about;
        sbom::Summary::parse(&sbom)?;
        let manifest = Manifest {
            format: FORMAT,
            name,
            version,
            world,
            wit,
            component: Content::of(&component),
            sbom: Content::of(&sbom),
            imports,
            removes,
            licence,
            vendor,
            description,
            created,
            end_of_support,
        };
        Self::from_parts(Parts { manifest: manifest.to_octets()?, component, sbom, signatures: Vec::new() })
    }

    /// Takes octets for a package, if they are one.
    ///
    /// # Errors
    ///
    /// [`PackageError`] with the file that is wrong.
    pub fn from_parts(parts: Parts) -> Result<Self, PackageError> {
        let manifest = Manifest::parse(&parts.manifest)?;
        unchanged(Self::COMPONENT, &parts.component, &manifest.component)?;
        unchanged(Self::SBOM, &parts.sbom, &manifest.sbom)?;
        sbom::Summary::parse(&parts.sbom)?;
        if parts.signatures.len() > SIGNATURES_MAX {
            return Err(PackageError::Signatures(parts.signatures.len()));
        }
        let envelope = |(file, octets): &(String, Vec<u8>)| {
            let envelope = Envelope::parse(octets, &parts.manifest);
            let envelope = envelope.and_then(|envelope| match envelope.file_name() == *file {
                true => Ok(envelope),
                false => Err(EnvelopeError::FileName(envelope.key())),
            });
            envelope.map_err(|source| PackageError::Signature { file: file.clone(), source })
        };
        let signatures = parts.signatures.iter().map(envelope).collect::<Result<_, _>>()?;
        Ok(Self { manifest, parts, signatures })
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the manifest, which stands for the whole.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.parts.manifest)
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> &[u8] {
        &self.parts.component
    }

    /// What the SBOM lists.
    #[must_use]
    pub fn sbom(&self) -> sbom::Summary {
        sbom::Summary::parse(&self.parts.sbom).expect("it was parsed when the package was taken")
    }

    /// Its signatures, not verified.
    #[must_use]
    pub fn signatures(&self) -> &[Envelope] {
        &self.signatures
    }

    /// All its octets.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Signs the manifest; takes the place of an earlier signature of the same key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the system gives no randomness.
    pub fn sign(&mut self, key: &SigningKey) -> Result<&Envelope, KeyError> {
        let envelope = Envelope::sign(&self.parts.manifest, key)?;
        let (file, octets) = (envelope.file_name(), envelope.to_octets(&self.parts.manifest));
        self.parts.signatures.retain(|(other, _)| *other != file);
        self.signatures.retain(|other| other.key() != envelope.key());
        self.parts.signatures.push((file, octets));
        self.signatures.push(envelope);
        Ok(self.signatures.last().expect("it was just put there"))
    }
}

fn unchanged(file: &'static str, octets: &[u8], named: &Content) -> Result<(), PackageError> {
    let actual = Content::of(octets);
    if actual == *named {
        return Ok(());
    }
    Err(PackageError::Changed {
        file,
        actual: actual.sha256,
        actual_octets: actual.size,
        named: named.sha256,
        named_octets: named.size,
    })
}
