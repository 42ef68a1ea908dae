//! Reads what `init` made: certificates, private keys and secrets; and says who a certificate names.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hilum_core::PrincipalId;
use hilum_core::identity::PrincipalIdError;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Octets of a secret.
pub const SECRET_OCTETS: usize = 32;

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}; run `hilum init` on the hospital directory if it is missing")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read a private file.
    #[error("{path}: others than its owner may read it (mode {mode:03o}); run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is not PEM of the right kind.
    #[error("{path}: there is no {kind} in PEM in it: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should have.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// The file is not a secret.
    #[error("{path}: a secret is written as {} hexadecimal digits", SECRET_OCTETS * 2)]
    Secret {
        /// The file.
        path: PathBuf,
    },
}

/// Why a certificate does not name a principal (SPIFFE X509-SVID, sections 2 to 5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not X.509.
    #[error("the certificate is not X.509 in DER")]
    Malformed,
    /// An authority's certificate, which is not an identity.
    #[error("the certificate is an authority's, not an identity")]
    Authority,
    /// Not exactly one URI.
    #[error("the certificate has {0} URIs as subject alternative names; an identity has exactly one")]
    UriCount(usize),
    /// Its URI is not a SPIFFE ID.
    #[error("the certificate's URI is not a SPIFFE ID: {0}")]
    Id(#[from] PrincipalIdError),
}

/// The SPIFFE ID that a peer's own certificate names. Whether to believe it is for the TLS handshake to say.
pub fn spiffe_id(certificate: &[u8]) -> Result<PrincipalId, PeerError> {
    let (rest, certificate) = X509Certificate::from_der(certificate).map_err(|_| PeerError::Malformed)?;
    if !rest.is_empty() {
        return Err(PeerError::Malformed);
    }
    if certificate.is_ca() {
        return Err(PeerError::Authority);
    }
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names.iter().filter_map(uri).collect();
    match uris.as_slice() {
        [one] => Ok(PrincipalId::new(one)?),
        several => Err(PeerError::UriCount(several.len())),
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    }
}

/// The certificates in a PEM file, leaf first.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let pem = read(path)?;
    let failed = |reason: String| CredentialError::Pem { path: path.to_owned(), kind: "certificate", reason };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(failed("it has no certificate".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The authorities in a PEM file, as roots of trust.
pub fn read_roots(path: &Path) -> Result<Arc<RootCertStore>, CredentialError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        let failed = |error: rustls::Error| CredentialError::Pem {
            path: path.to_owned(),
            kind: "certificate of an authority",
            reason: error.to_string(),
        };
        roots.add(certificate).map_err(failed)?;
    }
    Ok(Arc::new(roots))
}

/// The private key in a PEM file that only its owner may read.
pub fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CredentialError> {
    let pem = Zeroizing::new(read_private(path)?);
    let failed = |error: rustls::pki_types::pem::Error| CredentialError::Pem {
        path: path.to_owned(),
        kind: "private key",
        reason: error.to_string(),
    };
    PrivateKeyDer::from_pem_slice(&pem).map_err(failed)
}

/// A secret, such as the key-encryption key, from a file that only its owner may read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<[u8; SECRET_OCTETS]>, CredentialError> {
    let text = Zeroizing::new(read_private(path)?);
    let failed = || CredentialError::Secret { path: path.to_owned() };
    let text = std::str::from_utf8(&text).map_err(|_| failed())?.trim_end();
    let digest = crate::config::octets_of_hex(text).ok_or_else(failed)?;
    Ok(Zeroizing::new(digest))
}

fn read_private(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let failed = |source| CredentialError::Read { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CredentialError::Exposed { path: path.to_owned(), mode });
    }
    read(path)
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    std::fs::read(path).map_err(|source| CredentialError::Read { path: path.to_owned(), source })
}
