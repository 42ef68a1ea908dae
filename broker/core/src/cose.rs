//! End-to-end encryption to named recipients: COSE_Encrypt (RFC 9052, section 5.1), tag 96.
//!
//! One profile, so that any COSE library can be the other side:
//!
//! | part | choice | standard |
//! |---|---|---|
//! | content | A256GCM (3), 96-bit random IV in the unprotected header | RFC 9053, section 4.1 |
//! | recipients | ECDH-ES+A256KW (-31) on P-256, one ephemeral key each and for each batch | RFC 9053, section 6.4 |
//! | key derivation | HKDF-SHA-256, no salt, `COSE_KDF_Context` with empty party information | RFC 9053, sections 5.1 and 5.2 |
//! | associated data | the `external_aad` of the `Enc_structure` | RFC 9052, section 5.3 |
//! | `kid` | SHA-256 of the recipient's `SubjectPublicKeyInfo`, in the recipient's unprotected header | [`RecipientKey::id`] |
//!
//! [`open`] refuses every other choice by name, and header parameters that a writer marked critical.
//!
//! COSE authenticates a body as a whole, so that all of it is in memory. What is longer goes as a stream: [`Sealer::stream`] seals a
//! fresh key in such a message, and the body follows in segments of 1 MiB, each of which is checked before it is handed on
//! ([`StreamOpener`]). The segments are those of `AES256_GCM_HKDF_1MB` in Tink; the module `stream` says how both travel as one.
//!
//! Elsewhere in this crate randomness is an argument. Here it is not: the cryptographic module draws
//! ephemeral keys from its own generator and offers no other way (FIPS 140-3 asks that of it), and a content
//! key or an initialisation vector that a caller could repeat would give A256GCM's plaintext away.

mod envelope;
mod key;
mod segments;
mod stream;
#[cfg(test)]
mod tests;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use coset::{CoseEncrypt, CoseEncryptBuilder, CoseRecipient, HeaderBuilder, TaggedCborSerializable, iana};
use zeroize::Zeroizing;

use crate::jose::VALUE_OCTETS_MAX;

pub use key::{KeyError, PrivateKey, RecipientKey};
pub use segments::SEGMENT_OCTETS;
pub use stream::{
    KEY_CONTENT_TYPE, KEY_MESSAGE_OCTETS_MAX, STREAM_CONTENT_TYPE, StreamOpener, StreamSealer, open_stream,
};

/// Octets of a body that is sealed or opened at once: COSE authenticates a body as a whole, so all of it is in memory.
pub const PLAIN_OCTETS_MAX: usize = 64 << 20;
/// Octets of external associated data.
pub const ASSOCIATED_OCTETS_MAX: usize = 16 * 1024;
/// Recipients of one message.
pub const RECIPIENTS_MAX: usize = 64;
/// Octets of an encoded message: a plain body and what COSE adds to it.
pub const SEALED_OCTETS_MAX: usize = PLAIN_OCTETS_MAX + 64 * 1024;

/// A key of AES-256, gone from memory when dropped.
pub(crate) type SymmetricKey = Zeroizing<[u8; 32]>;

/// Why a body was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nobody could open it.
    #[error("nothing was sealed: no recipient is named")]
    NoRecipient,
    /// More than [`RECIPIENTS_MAX`].
    #[error("nothing was sealed: {0} recipients are named, at most {RECIPIENTS_MAX} are allowed")]
    TooManyRecipients(usize),
    /// More than [`PLAIN_OCTETS_MAX`].
    #[error("nothing was sealed: the body has {0} octets, at most {PLAIN_OCTETS_MAX} are sealed at once")]
    TooLarge(usize),
    /// More than [`VALUE_OCTETS_MAX`].
    #[error("nothing was sealed: the value has {0} octets, at most {VALUE_OCTETS_MAX} are allowed")]
    ValueTooLarge(usize),
    /// More than [`ASSOCIATED_OCTETS_MAX`].
    #[error(
        "nothing was sealed: the associated data has {0} octets, at most {ASSOCIATED_OCTETS_MAX} are allowed"
    )]
    AssociatedTooLarge(usize),
    /// More segments than a stream can number, which is more than 4 PiB.
    #[error("the body is not sealed to its end: it has more segments than can be numbered")]
    TooManySegments,
    /// The cryptographic module failed, which means that it has no randomness or no memory.
    #[error("nothing was sealed: the cryptographic module failed at {0}")]
    Module(&'static str),
}

/// Why a message was not opened. Says nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// More than [`SEALED_OCTETS_MAX`], or associated data of more than [`ASSOCIATED_OCTETS_MAX`].
    #[error("the message was not opened: {0} octets are more than the limit")]
    TooLarge(usize),
    /// Not a COSE_Encrypt message.
    #[error("the message was not opened: it is not a tagged COSE_Encrypt (RFC 9052, section 5.1): {0}")]
    Malformed(&'static str),
    /// Not a sealed stream, or not all of it.
    #[error("the stream was not opened: {0}")]
    NotAStream(&'static str),
    /// A COSE_Encrypt message of another profile.
    #[error("the message was not opened: {0} is not what this profile of COSE_Encrypt uses")]
    Unsupported(&'static str),
    /// Sealed to others.
    #[error("the message was not opened: it is not sealed to this key")]
    NotARecipient,
    /// Altered on the way, or sealed with other associated data.
    #[error("the message was not opened: content or associated data are not what was sealed")]
    NotAuthentic,
}

/// Seals to the same recipients again and again, with one key agreement for each of them.
///
/// The agreement is what sealing costs: two multiplications on the curve for each recipient, a hundred times what the rest of a
/// short message takes. Each message still has a content key and an initialisation vector of its own; what its
/// recipients share with those of the next one is the key that wraps the content keys. Keep it for one batch: who learns
/// that key opens all of its messages.
pub struct Sealer(Vec<envelope::Agreed>);

impl Sealer {
    /// Agrees on a key with every one of `recipients`.
    ///
    /// # Errors
    ///
    /// [`SealError`], where there are none or too many of them, or the cryptographic module fails.
    pub fn new(recipients: &[RecipientKey]) -> Result<Self, SealError> {
        match recipients.len() {
            0 => Err(SealError::NoRecipient),
            n if n > RECIPIENTS_MAX => Err(SealError::TooManyRecipients(n)),
            _ => Ok(Self(recipients.iter().map(envelope::Agreed::with).collect::<Result<_, _>>()?)),
        }
    }

    /// Seals `plain` to every one of the recipients, bound to `associated`, which the opener must present again.
    ///
    /// The result is a tagged COSE_Encrypt message (media type `application/cose; cose-type="cose-encrypt"`).
    ///
    /// # Errors
    ///
    /// [`SealError`]; nothing of `plain` is in any of them.
    pub fn seal(&self, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_as(HeaderBuilder::new(), associated, plain)
    }

    /// With a protected header that says more than the algorithm.
    fn seal_as(
        &self,
        protected: HeaderBuilder,
        associated: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        if plain.len() > PLAIN_OCTETS_MAX {
            return Err(SealError::TooLarge(plain.len()));
        }
        if associated.len() > ASSOCIATED_OCTETS_MAX {
            return Err(SealError::AssociatedTooLarge(associated.len()));
        }
        let mut content_key = SymmetricKey::default();
        rand::fill(content_key.as_mut()).map_err(|_| SealError::Module("the content key"))?;
        let mut iv = [0; NONCE_LEN];
        rand::fill(&mut iv).map_err(|_| SealError::Module("the initialisation vector"))?;

        let mut message = CoseEncryptBuilder::new()
            .protected(protected.algorithm(iana::Algorithm::A256GCM).build())
            .unprotected(HeaderBuilder::new().iv(iv.to_vec()).build())
            .try_create_ciphertext(plain, associated, |plain, aad| encrypt(&content_key, iv, aad, plain))?;
        for agreed in &self.0 {
            message = message.add_recipient(agreed.wrap(&content_key)?);
        }
        message.build().to_tagged_vec().map_err(|_| SealError::Module("encoding"))
    }
}

/// Seals one message; see [`Sealer`].
///
/// # Errors
///
/// As [`Sealer::new`] and [`Sealer::seal`].
pub fn seal(recipients: &[RecipientKey], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    Sealer::new(recipients)?.seal(associated, plain)
}

/// Opens what [`seal`], or another COSE library, sealed to `key` and bound to `associated`.
///
/// The recipient is the one whose `kid` names `key`; where none does, every recipient is tried, because `kid` is a hint
/// that a writer may leave out (RFC 9052, section 3.1).
///
/// # Errors
///
/// [`OpenError`], for any octets whatever. A message that holds the key of a stream is none that has a body.
pub fn open(key: &PrivateKey, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let message = parse(associated, sealed)?;
    if stream::holds_key(&message) {
        return Err(OpenError::Unsupported("the key of a stream in the place of a body"));
    }
    open_parsed(key, associated, &message)
}

fn parse(associated: &[u8], sealed: &[u8]) -> Result<CoseEncrypt, OpenError> {
    if sealed.len() > SEALED_OCTETS_MAX || associated.len() > ASSOCIATED_OCTETS_MAX {
        return Err(OpenError::TooLarge(sealed.len().max(associated.len())));
    }
    envelope::parse(sealed)
}

fn open_parsed(key: &PrivateKey, associated: &[u8], message: &CoseEncrypt) -> Result<Vec<u8>, OpenError> {
    let iv = envelope::content_iv(message)?;
    let named = |recipient: &&CoseRecipient| recipient.unprotected.key_id == key.id();
    let addressed = message.recipients.iter().any(|recipient| named(&recipient));
    let mut failure = OpenError::NotARecipient;
    for recipient in message.recipients.iter().filter(|recipient| !addressed || named(recipient)) {
        match envelope::unwrap(recipient, key) {
            Ok(content_key) => {
                return message.decrypt_ciphertext(
                    associated,
                    || OpenError::Malformed("detached content"),
                    |cipher, aad| decrypt(&content_key, iv, aad, cipher),
                );
            }
            Err(OpenError::NotARecipient) => {}
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

pub(crate) fn encrypt(
    key: &SymmetricKey,
    iv: [u8; NONCE_LEN],
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let failed = |_| SealError::Module("A256GCM");
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(failed)?;
    let mut text = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    text.extend_from_slice(plain);
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::from(aad), &mut text)
        .map_err(failed)?;
    Ok(text)
}

pub(crate) fn decrypt(
    key: &SymmetricKey,
    iv: [u8; NONCE_LEN],
    aad: &[u8],
    cipher: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let failed = |_| OpenError::NotAuthentic;
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(failed)?;
    let mut text = cipher.to_vec();
    let plain = LessSafeKey::new(key)
        .open_in_place(Nonce::assume_unique_for_key(iv), Aad::from(aad), &mut text)
        .map_err(failed)?
        .len();
    text.truncate(plain);
    Ok(text)
}
