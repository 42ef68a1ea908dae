//! Single values sealed to named recipients: JSON Web Encryption (RFC 7516), so that any JOSE library can be the other side.
//!
//! | part | choice | standard |
//! |---|---|---|
//! | content | `A256GCM` under a content key of its own | RFC 7518, section 5.3 |
//! | recipients | `ECDH-ES+A256KW` on P-256 | RFC 7518, sections 4.6 and 4.4 |
//! | key derivation | Concat KDF with SHA-256, nothing said of the parties | RFC 7518, section 4.6.2 |
//! | `kid` | SHA-256 of the recipient's `SubjectPublicKeyInfo`, in base64url | [`RecipientKey::id`] |
//! | form | Compact Serialization for one key, General JSON Serialization for several | RFC 7516, sections 7.1 and 7.2.1 |
//! | `hilum-context` | SHA-256 of what the value is bound to, in base64url, in the protected header | RFC 7516, section 4.3 |
//!
//! The compact form has no place for associated data. What a value is bound to is therefore in the protected header, which is
//! authenticated: a library that does not know it opens the value all the same, and [`SealedValue::open`] compares it.
//!
//! A field of a message is text among other text, hence not the [COSE](crate::cose) of whole bodies; the cryptography is the same.

mod envelope;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cose::{PrivateKey, RECIPIENTS_MAX, RecipientKey, SealError};
use crate::digest::Digest;

/// Octets of one value, at most.
pub const VALUE_OCTETS_MAX: usize = 1 << 20;
/// Octets of what is made of one, at most: a value in base64url, and some 500 octets for each recipient.
pub const JWE_OCTETS_MAX: usize = 2 * VALUE_OCTETS_MAX + 1024 * RECIPIENTS_MAX;

/// Why a value was not opened. Says nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// Not a JWE.
    #[error("the value was not opened: it is no JWE in compact or JSON form (RFC 7516): {0}")]
    Malformed(&'static str),
    /// A JWE of another profile.
    #[error("the value was not opened: {0} is not what this profile of JWE uses")]
    Unsupported(&'static str),
    /// Sealed to others.
    #[error("the value was not opened: it is not sealed to this key")]
    NotARecipient,
    /// Altered on the way, or sealed in another place.
    #[error("the value was not opened: it was changed, or sealed for another place than this one")]
    NotAuthentic,
}

/// Seals values to the same recipients again and again, with one key agreement for each of them.
///
/// As with [`Sealer`](crate::cose::Sealer), keep it for one batch: values share the key that wraps their content keys.
pub struct JweSealer(Vec<envelope::Agreed>);

impl JweSealer {
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

    /// Seals `plain` to every one of the recipients, bound to `context`, which the opener must present again.
    ///
    /// # Errors
    ///
    /// [`SealError`]; nothing of `plain` is in any of them.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<String, SealError> {
        if plain.len() > VALUE_OCTETS_MAX {
            return Err(SealError::ValueTooLarge(plain.len()));
        }
        let context = encode(&Digest::of(context).0);
        match self.0.as_slice() {
            [agreed] => {
                let header =
                    format!(r#"{{{},"enc":"A256GCM","hilum-context":"{context}"}}"#, agreed.header_members());
                let protected = encode(header.as_bytes());
                let sealed = envelope::Sealed::new(&protected, plain)?;
                let key = agreed.wrap(&sealed.key)?;
                Ok(format!("{protected}.{key}.{}.{}.{}", sealed.iv, sealed.ciphertext, sealed.tag))
            }
            several => {
                let protected =
                    encode(format!(r#"{{"enc":"A256GCM","hilum-context":"{context}"}}"#).as_bytes());
                let sealed = envelope::Sealed::new(&protected, plain)?;
                let mut recipients = Vec::with_capacity(several.len());
                for agreed in several {
                    let key = agreed.wrap(&sealed.key)?;
                    let header = agreed.header_members();
                    recipients.push(format!(r#"{{"header":{{{header}}},"encrypted_key":"{key}"}}"#));
                }
                Ok(format!(
                    r#"{{"protected":"{protected}","recipients":[{}],"iv":"{}","ciphertext":"{}","tag":"{}"}}"#,
                    recipients.join(","),
                    sealed.iv,
                    sealed.ciphertext,
                    sealed.tag
                ))
            }
        }
    }
}

/// A sealed value that was read and not opened: a JWE that says what it is bound to. Says nothing of whose it is.
pub struct SealedValue(envelope::Message);

impl std::fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedValue")
    }
}

impl SealedValue {
    /// Reads what [`JweSealer::seal`] made.
    ///
    /// # Errors
    ///
    /// [`JweError`], for any other text.
    pub fn parse(text: &str) -> Result<Self, JweError> {
        let message = envelope::Message::parse(text)?;
        match message.context() {
            Some(_) => Ok(Self(message)),
            None => Err(JweError::Unsupported("a value that is bound to nothing")),
        }
    }

    /// Opens what was sealed to `key` and bound to `context`.
    ///
    /// # Errors
    ///
    /// [`JweError`], where it is not that.
    pub fn open(&self, key: &PrivateKey, context: &[u8]) -> Result<Vec<u8>, JweError> {
        let plain = self.0.open(key)?;
        let is_bound = self.0.context() == Some(encode(&Digest::of(context).0).as_str());
        if is_bound { Ok(plain) } else { Err(JweError::NotAuthentic) }
    }
}

fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn decode(text: &str) -> Result<Vec<u8>, JweError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JweError::Malformed("a part is not in base64url"))
}
