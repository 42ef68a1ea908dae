//! P-256 keys of recipients, and the identifier that both sides derive from them.

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::digest::Digest;

/// `SubjectPublicKeyInfo` of a P-256 key up to its point (RFC 5480, section 2.1.1.1): id-ecPublicKey, secp256r1.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Octets of an uncompressed point of P-256 (SEC 1, section 2.3.3).
const POINT_OCTETS: usize = 65;

/// Why octets are not a key of this profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an uncompressed point of P-256, nor a `SubjectPublicKeyInfo` of one.
    #[error("not a public key on P-256: give a DER SubjectPublicKeyInfo (RFC 5480) or an uncompressed point")]
    Public,
    /// Not a PKCS#8 private key on P-256.
    #[error("not a private key on P-256: give unencrypted PKCS#8 (RFC 5958), as DER or PEM")]
    Private,
}

/// The public key of somebody a body is sealed to.
#[derive(Clone, PartialEq, Eq)]
pub struct RecipientKey {
    id: [u8; 32],
    point: [u8; POINT_OCTETS],
}

impl RecipientKey {
    /// Checks and takes a `SubjectPublicKeyInfo` (DER, as in a certificate) or an uncompressed point.
    ///
    /// # Errors
    ///
    /// [`KeyError::Public`] where it is neither, or the point is not on the curve.
    pub fn new(spki_or_point: &[u8]) -> Result<Self, KeyError> {
        let point = spki_or_point.strip_prefix(&SPKI_PREFIX).unwrap_or(spki_or_point);
        let point: [u8; POINT_OCTETS] = point.try_into().map_err(|_| KeyError::Public)?;
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, &point))
            .map_err(|_| KeyError::Public)?;
        Ok(Self { id: id_of(&point), point })
    }

    /// What names this key in the `kid` of a message: SHA-256 of its DER `SubjectPublicKeyInfo`.
    ///
    /// That is method 4 of RFC 7093 (section 2); `openssl pkey -pubout -outform DER | sha256sum` prints it.
    #[must_use]
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The key as an uncompressed point.
    #[must_use]
    pub fn point(&self) -> &[u8; POINT_OCTETS] {
        &self.point
    }

    pub(crate) fn unparsed(&self) -> UnparsedPublicKey<&[u8]> {
        UnparsedPublicKey::new(&ECDH_P256, &self.point)
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientKey({})", Digest(self.id))
    }
}

/// The private key of a recipient. Never printed, and there is no way to read it back.
pub struct PrivateKey {
    pub(crate) key: agreement::PrivateKey,
    public: RecipientKey,
}

impl PrivateKey {
    /// Takes an unencrypted PKCS#8 key (RFC 5958).
    ///
    /// # Errors
    ///
    /// [`KeyError::Private`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let key =
            agreement::PrivateKey::from_private_key_der(&ECDH_P256, der).map_err(|_| KeyError::Private)?;
        let public = key.compute_public_key().map_err(|_| KeyError::Private)?;
        let public = RecipientKey::new(public.as_ref()).map_err(|_| KeyError::Private)?;
        Ok(Self { key, public })
    }

    /// Takes the first `PRIVATE KEY` of a PEM text (RFC 7468, section 10).
    ///
    /// # Errors
    ///
    /// [`KeyError::Private`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Private)?;
        Self::from_pkcs8_der(der.secret_pkcs8_der())
    }

    /// The key that others seal to.
    #[must_use]
    pub fn public(&self) -> &RecipientKey {
        &self.public
    }

    /// The same as [`RecipientKey::id`].
    #[must_use]
    pub fn id(&self) -> &[u8; 32] {
        self.public.id()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", Digest(self.public.id))
    }
}

fn id_of(point: &[u8; POINT_OCTETS]) -> [u8; 32] {
    Digest::of(&[SPKI_PREFIX.as_slice(), point].concat()).0
}
