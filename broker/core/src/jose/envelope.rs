//! The parts of a JWE: reading them from hostile text, and wrapping the content key.

use aws_lc_rs::aead::NONCE_LEN;
use aws_lc_rs::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rand::{self, SystemRandom};
use serde::Deserialize;

use super::{JWE_OCTETS_MAX, JweError, decode, encode};
use crate::cose::{PrivateKey, RECIPIENTS_MAX, RecipientKey, SealError, SymmetricKey, decrypt, encrypt};
use crate::digest::Digest;

const ALGORITHM: &str = "ECDH-ES+A256KW";
const CONTENT_ALGORITHM: &str = "A256GCM";
/// Octets of a content key under A256KW (RFC 3394, section 2.2.1).
const WRAPPED_KEY_OCTETS: usize = 40;
const COORDINATE_OCTETS: usize = 32;
const TAG_OCTETS: usize = 16;
/// Octets of what a writer says of the parties, at most.
const PARTY_OCTETS_MAX: usize = 256;

/// What was agreed with one recipient.
pub(super) struct Agreed {
    key: SymmetricKey,
    /// `alg`, `kid` and `epk`, as members of a JSON object.
    members: String,
}

impl Agreed {
    /// Agrees on a key under a fresh ephemeral one (RFC 7518, section 4.6).
    pub(super) fn with(to: &RecipientKey) -> Result<Self, SealError> {
        let failed = |_| SealError::Module(ALGORITHM);
        let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(failed)?;
        let point = ephemeral.compute_public_key().map_err(failed)?;
        let (x, y) = point.as_ref()[1..].split_at(COORDINATE_OCTETS);
        let members = format!(
            r#""alg":"{ALGORITHM}","kid":"{}","epk":{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#,
            encode(to.id()),
            encode(x),
            encode(y)
        );
        let module_failed = SealError::Module("ECDH on P-256");
        let key = agreement::agree_ephemeral(ephemeral, to.unparsed(), module_failed, |secret| {
            Ok(key_encryption_key(secret, &[], &[]))
        })?;
        Ok(Self { key, members })
    }

    pub(super) fn header_members(&self) -> &str {
        &self.members
    }

    /// The recipient's wrapped copy of one content key, in base64url.
    pub(super) fn wrap(&self, content_key: &SymmetricKey) -> Result<String, SealError> {
        let failed = |_| SealError::Module("A256KW");
        let mut wrapped = [0; WRAPPED_KEY_OCTETS];
        let key = AesKek::new(&AES_256, self.key.as_ref()).map_err(failed)?;
        key.wrap(content_key.as_ref(), &mut wrapped).map_err(failed)?;
        Ok(encode(&wrapped))
    }
}

/// A sealed content, in base64url, and its key.
pub(super) struct Sealed {
    pub(super) key: SymmetricKey,
    pub(super) iv: String,
    pub(super) ciphertext: String,
    pub(super) tag: String,
}

impl Sealed {
    pub(super) fn new(protected: &str, plain: &[u8]) -> Result<Self, SealError> {
        let mut key = SymmetricKey::default();
        rand::fill(key.as_mut()).map_err(|_| SealError::Module("the content key"))?;
        let mut iv = [0; NONCE_LEN];
        rand::fill(&mut iv).map_err(|_| SealError::Module("the initialisation vector"))?;
        let sealed = encrypt(&key, iv, protected.as_bytes(), plain)?;
        let (ciphertext, tag) = sealed.split_at(plain.len());
        Ok(Self { iv: encode(&iv), ciphertext: encode(ciphertext), tag: encode(tag), key })
    }
}

/// Header parameters (RFC 7516, section 4.1) that are understood, and those that must not be there. Others are ignored, as section 4
/// has it; a name twice is refused.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Header {
    alg: Option<String>,
    enc: Option<String>,
    kid: Option<String>,
    epk: Option<EphemeralKey>,
    apu: Option<String>,
    apv: Option<String>,
    zip: Option<serde::de::IgnoredAny>,
    crit: Option<serde::de::IgnoredAny>,
    #[serde(rename = "hilum-context")]
    context: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct EphemeralKey {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

/// The JSON serializations (RFC 7516, section 7.2).
#[derive(Deserialize)]
struct Json {
    protected: String,
    #[serde(default)]
    unprotected: Option<Header>,
    #[serde(default)]
    recipients: Option<Vec<Recipient>>,
    /// The flattened one has its only recipient's here.
    #[serde(default)]
    header: Option<Header>,
    #[serde(default)]
    encrypted_key: Option<String>,
    #[serde(default)]
    aad: Option<String>,
    iv: String,
    ciphertext: String,
    tag: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Recipient {
    header: Option<Header>,
    encrypted_key: Option<String>,
}

/// A JWE whose structure is as it should be.
pub(super) struct Message {
    protected: Header,
    shared: Header,
    recipients: Vec<(Header, Vec<u8>)>,
    /// What is authenticated with the content (RFC 7516, section 5.1, step 14).
    associated: String,
    iv: [u8; NONCE_LEN],
    /// Ciphertext and tag.
    sealed: Vec<u8>,
}

impl Message {
    pub(super) fn parse(text: &str) -> Result<Self, JweError> {
        if text.len() > JWE_OCTETS_MAX {
            return Err(JweError::Malformed("it is too long"));
        }
        if text.starts_with('{') {
            let json: Json = serde_json::from_str(text)
                .map_err(|_| JweError::Malformed("its members are not those of a JWE"))?;
            return Self::of_json(json);
        }
        let mut parts = text.split('.');
        let mut part =
            || parts.next().ok_or(JweError::Malformed("five parts with dots between were expected"));
        let (protected, key, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(JweError::Malformed("five parts with dots between were expected"));
        }
        let recipients = vec![(Header::default(), decode(key)?)];
        Self::new(protected, Header::default(), recipients, protected.into(), [iv, ciphertext, tag])
    }

    fn of_json(json: Json) -> Result<Self, JweError> {
        let flattened = || vec![Recipient { header: json.header, encrypted_key: json.encrypted_key }];
        let recipients = json.recipients.unwrap_or_else(flattened);
        if recipients.len() > RECIPIENTS_MAX {
            return Err(JweError::Unsupported("so many recipients"));
        }
        let key = |recipient: Recipient| {
            let key = recipient.encrypted_key.as_deref().unwrap_or_default();
            Ok((recipient.header.unwrap_or_default(), decode(key)?))
        };
        let recipients = recipients.into_iter().map(key).collect::<Result<_, JweError>>()?;
        let associated = match json.aad {
            Some(aad) => format!("{}.{aad}", json.protected),
            None => json.protected.clone(),
        };
        let shared = json.unprotected.unwrap_or_default();
        Self::new(&json.protected, shared, recipients, associated, [&json.iv, &json.ciphertext, &json.tag])
    }

    fn new(
        protected: &str,
        shared: Header,
        recipients: Vec<(Header, Vec<u8>)>,
        associated: String,
        [iv, ciphertext, tag]: [&str; 3],
    ) -> Result<Self, JweError> {
        let protected: Header = serde_json::from_slice(&decode(protected)?)
            .map_err(|_| JweError::Malformed("its protected header is no JSON object of known kind"))?;
        let iv = decode(iv)?.try_into().map_err(|_| JweError::Unsupported("the initialisation vector"))?;
        let tag = decode(tag)?;
        if tag.len() != TAG_OCTETS {
            return Err(JweError::Unsupported("the length of the authentication tag"));
        }
        let sealed = [decode(ciphertext)?, tag].concat();
        Ok(Self { protected, shared, recipients, associated, iv, sealed })
    }

    /// What the value says that it is bound to; only the protected header counts.
    pub(super) fn context(&self) -> Option<&str> {
        self.protected.context.as_deref()
    }

    pub(super) fn open(&self, key: &PrivateKey) -> Result<Vec<u8>, JweError> {
        let id = encode(key.id());
        let kid = |header: &Header| {
            let found = [&self.protected.kid, &self.shared.kid, &header.kid].into_iter().flatten().next();
            found.is_some_and(|kid| *kid == id)
        };
        let addressed = self.recipients.iter().any(|(header, _)| kid(header));
        let mut failure = JweError::NotARecipient;
        for (header, wrapped) in self.recipients.iter().filter(|(header, _)| !addressed || kid(header)) {
            match self.unwrap(header, wrapped, key) {
                Ok(content_key) => {
                    return decrypt(&content_key, self.iv, self.associated.as_bytes(), &self.sealed)
                        .map_err(|_| JweError::NotAuthentic);
                }
                Err(JweError::NotARecipient) => {}
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    fn unwrap(&self, own: &Header, wrapped: &[u8], key: &PrivateKey) -> Result<SymmetricKey, JweError> {
        let headers = [&self.protected, &self.shared, own];
        if headers.iter().any(|header| header.crit.is_some()) {
            return Err(JweError::Unsupported("a critical header parameter"));
        }
        if headers.iter().any(|header| header.zip.is_some()) {
            return Err(JweError::Unsupported("compression"));
        }
        if only(headers.map(|header| header.enc.as_deref()))? != Some(CONTENT_ALGORITHM) {
            return Err(JweError::Unsupported("the content algorithm"));
        }
        if only(headers.map(|header| header.alg.as_deref()))? != Some(ALGORITHM) {
            return Err(JweError::Unsupported("the recipient's algorithm"));
        }
        let ephemeral = only(headers.map(|header| header.epk.as_ref()))?;
        let ephemeral = ephemeral.ok_or(JweError::Malformed("a recipient has no ephemeral key"))?.point()?;
        let party = |text: Option<&str>| match decode(text.unwrap_or_default())? {
            octets if octets.len() <= PARTY_OCTETS_MAX => Ok(octets),
            _ => Err(JweError::Unsupported("what is said of a party, of such a length,")),
        };
        let apu = party(only(headers.map(|header| header.apu.as_deref()))?)?;
        let apv = party(only(headers.map(|header| header.apv.as_deref()))?)?;
        if wrapped.len() != WRAPPED_KEY_OCTETS {
            return Err(JweError::Malformed("a recipient has no wrapped key of 40 octets"));
        }
        let not_on_the_curve = JweError::Malformed("a recipient's ephemeral key is not on P-256");
        let peer = UnparsedPublicKey::new(&ECDH_P256, &ephemeral);
        agreement::agree(&key.key, peer, not_on_the_curve, |secret| {
            let mut content_key = SymmetricKey::default();
            let key = key_encryption_key(secret, &apu, &apv);
            let key = AesKek::new(&AES_256, key.as_ref()).map_err(|_| JweError::NotARecipient)?;
            key.unwrap(wrapped, content_key.as_mut()).map_err(|_| JweError::NotARecipient)?;
            Ok(content_key)
        })
    }
}

/// A parameter may be in one of the headers alone (RFC 7516, section 7.2.1).
fn only<T>(in_headers: [Option<T>; 3]) -> Result<Option<T>, JweError> {
    let mut found = in_headers.into_iter().flatten();
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(JweError::Malformed("two headers have the same parameter")),
        (one, None) => Ok(one),
    }
}

impl EphemeralKey {
    /// The uncompressed point (SEC 1, section 2.3.3; RFC 7518, section 6.2.1).
    fn point(&self) -> Result<Vec<u8>, JweError> {
        let (x, y) = (decode(&self.x)?, decode(&self.y)?);
        let fits = |octets: &[u8]| octets.len() == COORDINATE_OCTETS;
        if self.kty != "EC" || self.crv != "P-256" || !fits(&x) || !fits(&y) {
            return Err(JweError::Unsupported("the kind of an ephemeral key"));
        }
        Ok([vec![0x04], x, y].concat())
    }
}

/// The Concat KDF for a 256-bit key of A256KW (RFC 7518, section 4.6.2; NIST SP 800-56A, section 5.8.1): one round of SHA-256.
fn key_encryption_key(secret: &[u8], apu: &[u8], apv: &[u8]) -> SymmetricKey {
    let length = |octets: &[u8]| u32::try_from(octets.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut input = zeroize::Zeroizing::new(Vec::with_capacity(secret.len() + apu.len() + apv.len() + 64));
    input.extend_from_slice(&1_u32.to_be_bytes());
    input.extend_from_slice(secret);
    for part in [ALGORITHM.as_bytes(), apu, apv] {
        input.extend_from_slice(&length(part));
        input.extend_from_slice(part);
    }
    input.extend_from_slice(&256_u32.to_be_bytes());
    SymmetricKey::new(Digest::of(&input).0)
}
