//! Keys that sign packages: Ed25519 (RFC 8032) and ECDSA over P-256 with SHA-256 (FIPS 186-5).
//!
//! A private key is a file of PKCS #8, a public key one of SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), both in PEM, so that
//! `openssl` and key management of others read and write them. A key is named by the SHA-256 digest of its SubjectPublicKeyInfo,
//! of which there must be one form only: a key in two forms would count as two signers.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ParsedPublicKey, VerificationAlgorithm,
};
use hilum_core::Digest;
use zeroize::Zeroizing;

/// Octets of a key's file.
const PEM_OCTETS_MAX: usize = 4096;
const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// Why octets are no key, or a key does not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or PEM of something else.
    #[error("this is no private key in PKCS #8: it does not begin with `-----BEGIN PRIVATE KEY-----`")]
    NotPrivate,
    /// Not PEM, or PEM of something else.
    #[error("this is no public key: it does not begin with `-----BEGIN PUBLIC KEY-----`")]
    NotPublic,
    /// Another kind of key, or one in an unusual form.
    #[error(
        "the key is neither of Ed25519 nor of P-256 in its usual form; `hilum plugin keygen` makes such keys"
    )]
    Algorithm,
    /// No randomness, or a defect of the library.
    #[error("the system's cryptography refuses to make a key or a signature")]
    Refused,
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5), signatures in ASN.1.
    P256,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Ed25519, Self::P256];

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &ED25519,
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
        })
    }
}

impl FromStr for Algorithm {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.to_string() == text);
        found.ok_or_else(|| "algorithms are `ed25519` and `p256`".to_owned())
    }
}

/// A key that verifies.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    info: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// Takes a SubjectPublicKeyInfo in the one form that it has.
    ///
    /// # Errors
    ///
    /// [`KeyError::Algorithm`].
    pub fn from_info(info: &[u8]) -> Result<Self, KeyError> {
        let of = |algorithm: Algorithm| {
            let parsed = ParsedPublicKey::new(algorithm.verification(), info).ok()?;
            let usual = AsDer::as_der(&parsed).is_ok_and(|der| der.as_ref() == info);
            usual.then(|| Self { algorithm, info: info.to_vec(), parsed })
        };
        Algorithm::ALL.into_iter().find_map(of).ok_or(KeyError::Algorithm)
    }

    /// Takes a SubjectPublicKeyInfo in PEM.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotPublic`], [`KeyError::Algorithm`].
    pub fn from_pem(octets: &[u8]) -> Result<Self, KeyError> {
        Self::from_info(unwrapped(octets, PUBLIC_LABEL).ok_or(KeyError::NotPublic)?.as_slice())
    }

    /// As a file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        wrapped(PUBLIC_LABEL, self.info.clone()).to_string()
    }

    /// What names it: SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&self.info)
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it signed this.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.info == other.info
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm, self.id())
    }
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// A key that signs. Shows nothing of itself.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

impl SigningKey {
    /// Draws a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            Algorithm::P256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Pair::P256),
        };
        Self::of(pair.map_err(|_| KeyError::Refused)?)
    }

    /// Takes a private key in PEM of PKCS #8.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotPrivate`], [`KeyError::Algorithm`].
    pub fn from_pem(octets: &[u8]) -> Result<Self, KeyError> {
        let info = unwrapped(octets, PRIVATE_LABEL).ok_or(KeyError::NotPrivate)?;
        let ed25519 = || Ed25519KeyPair::from_pkcs8(&info).ok().map(Pair::Ed25519);
        let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &info).ok().map(Pair::P256);
        Self::of(ed25519().or_else(p256).ok_or(KeyError::Algorithm)?)
    }

    /// As a file, for its owner alone.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`].
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let info = match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::P256(pair) => pair.to_pkcs8v1(),
        };
        let info = info.map_err(|_| KeyError::Refused)?;
        Ok(wrapped(PRIVATE_LABEL, info.as_ref().to_vec()).to_string().into())
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message),
        };
        Ok(signature.map_err(|_| KeyError::Refused)?.as_ref().to_vec())
    }

    fn of(pair: Pair) -> Result<Self, KeyError> {
        let info = match &pair {
            Pair::Ed25519(pair) => AsDer::as_der(pair.public_key()),
            Pair::P256(pair) => AsDer::as_der(pair.public_key()),
        };
        let info = info.map_err(|_| KeyError::Refused)?;
        Ok(Self { public: PublicKey::from_info(info.as_ref())?, pair })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.public.algorithm, self.public.id())
    }
}

/// One block of PEM with this label, and nothing after it.
fn unwrapped(octets: &[u8], label: &str) -> Option<Zeroizing<Vec<u8>>> {
    if octets.len() > PEM_OCTETS_MAX {
        return None;
    }
    let blocks = pem::parse_many(octets).ok()?;
    let [block] = <[pem::Pem; 1]>::try_from(blocks).ok()?;
    (block.tag() == label).then(|| block.into_contents().into())
}

fn wrapped(label: &str, info: Vec<u8>) -> Zeroizing<String> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, info), config).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` (OpenSSL 3.0).
    const OPENSSL_ED25519: (&str, &str) = (
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJIPhCFVaDim2q4+4T+br+GfHWbRkjFmTnUqjV2GVuiw\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAcKExg9gd16hw67mj0Sk6pyl1ui2PSrQ74618XgvcRIE=\n-----END PUBLIC KEY-----\n",
    );
    /// Made by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` and `openssl pkey -pubout` (OpenSSL 3.0).
    const OPENSSL_P256: (&str, &str) = (
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCVILsJMxu3SyL0mM\nbU1bVJlsiz3PLg3iyA3IQDMosLuhRANCAAQFdG7gZeVNBKgv1u0/MHcmMhZQ+Wqc\nFVeApkybr+l6Qv9HIT+WSaOawG9krIHVKIlgLkWuGfiBDdIZdEsD6nE+\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBXRu4GXlTQSoL9btPzB3JjIWUPlq\nnBVXgKZMm6/pekL/RyE/lkmjmsBvZKyB1SiJYC5Frhn4gQ3SGXRLA+pxPg==\n-----END PUBLIC KEY-----\n",
    );
    /// The same public key with its point compressed.
    const OPENSSL_P256_COMPRESSED: &str = "-----BEGIN PUBLIC KEY-----\nMDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgACBXRu4GXlTQSoL9btPzB3JjIWUPlq\nnBVXgKZMm6/pekI=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn keys_that_were_made_sign_and_come_back_from_their_files() {
        for algorithm in Algorithm::ALL {
            let made = SigningKey::generate(algorithm).unwrap();
            let read = SigningKey::from_pem(made.to_pem().unwrap().as_bytes()).unwrap();
            let public = PublicKey::from_pem(made.public().to_pem().as_bytes()).unwrap();
            assert_eq!((read.public(), public.algorithm()), (&public, algorithm));
            let signature = read.sign(b"message").unwrap();
            assert!(public.verifies(b"message", &signature));
            assert!(
                !public.verifies(b"massage", &signature) && !public.verifies(b"message", &signature[1..])
            );
            let other = SigningKey::generate(algorithm).unwrap();
            assert!(!other.public().verifies(b"message", &signature));
            assert_ne!(other.public().id(), public.id());
        }
    }

    #[test]
    fn keys_of_openssl_are_read_and_written_as_it_writes_them() {
        for (private, public) in [OPENSSL_ED25519, OPENSSL_P256] {
            let key = SigningKey::from_pem(private.as_bytes()).unwrap();
            assert_eq!(key.public().to_pem(), public);
            assert_eq!(key.to_pem().unwrap().as_str(), private);
        }
    }

    #[test]
    fn a_key_has_one_form_and_so_one_name() {
        let refused = PublicKey::from_pem(OPENSSL_P256_COMPRESSED.as_bytes()).unwrap_err();
        assert_eq!(refused, KeyError::Algorithm);
        let info = PublicKey::from_pem(OPENSSL_ED25519.1.as_bytes()).unwrap().info;
        assert_eq!(
            PublicKey::from_info(&info[12..]).unwrap_err(),
            KeyError::Algorithm,
            "32 octets without a head"
        );
        assert_eq!(PublicKey::from_info(&[&info[..], &[0]].concat()).unwrap_err(), KeyError::Algorithm);
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        let private = OPENSSL_ED25519.0.as_bytes();
        assert_eq!(PublicKey::from_pem(private).unwrap_err(), KeyError::NotPublic);
        assert_eq!(SigningKey::from_pem(OPENSSL_P256.1.as_bytes()).unwrap_err(), KeyError::NotPrivate);
        assert_eq!(SigningKey::from_pem(&[private, private].concat()).unwrap_err(), KeyError::NotPrivate);
        assert_eq!(PublicKey::from_pem(b"").unwrap_err(), KeyError::NotPublic);
        assert!(!format!("{:?}", SigningKey::from_pem(private).unwrap()).contains("PRIVATE"));
    }
}
