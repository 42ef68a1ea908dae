//! `signatures/KEYID.json`: a signature over the manifest, as a DSSE envelope
//! (<https://github.com/secure-systems-lab/dsse>, version 1.0.2).
//!
//! What is signed is not the manifest alone but DSSE's pre-authentication encoding: it has the payload's type in it, so that a
//! signature made for something else can never be taken for one over a manifest. There is one signature in each file, and one
//! way to write it: a file that is written otherwise is refused, so that no octet of a package may change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hilum_core::Digest;
use serde::{Deserialize, Serialize};

use super::SIGNATURE_OCTETS_MAX;
use super::key::{KeyError, PublicKey, SigningKey};

/// The media type of a manifest.
pub const PAYLOAD_TYPE: &str = "application/vnd.hilum.plugin.manifest.v1+json";

/// Octets of a signature: an ECDSA signature over P-256 in ASN.1 has at most 72.
const SIGNATURE_MAX: usize = 128;

/// Why octets are no envelope of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than any envelope.
    #[error("it has {0} octets, at most {SIGNATURE_OCTETS_MAX} are read")]
    TooLarge(usize),
    /// Not JSON of the form of an envelope.
    #[error("this is no DSSE envelope: {0}")]
    Json(String),
    /// An envelope of something else.
    #[error("it signs a `{0}`, not a `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// Not one signature.
    #[error("it has {0} signatures; each signature has a file of its own")]
    Count(usize),
    /// A signature or the name of its key is malformed.
    #[error("its signature is malformed")]
    Malformed,
    /// It is over another manifest.
    #[error(
        "it signs another manifest: manifest.json was changed after it was signed, or the signature is of another package"
    )]
    OtherManifest,
    /// Written differently.
    #[error("it is not written as `hilum plugin sign` writes it")]
    Form,
    /// In a file of another name.
    #[error("it is by key {0}, and a signature's file has the name of its key")]
    FileName(Digest),
}

/// A signature over a manifest, by whoever has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    key: Digest,
    signature: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    keyid: String,
    sig: String,
}

impl Envelope {
    /// Signs a manifest.
    pub(crate) fn sign(manifest: &[u8], key: &SigningKey) -> Result<Self, KeyError> {
        Ok(Self { key: key.public().id(), signature: key.sign(&encoded(manifest))? })
    }

    /// Reads an envelope that should be over this manifest. Verifies nothing.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`].
    pub fn parse(octets: &[u8], manifest: &[u8]) -> Result<Self, EnvelopeError> {
        if octets.len() > SIGNATURE_OCTETS_MAX {
            return Err(EnvelopeError::TooLarge(octets.len()));
        }
        let json: Json =
            serde_json::from_slice(octets).map_err(|error| EnvelopeError::Json(error.to_string()))?;
        if json.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(crate::plugin::clip(&json.payload_type, 128).to_owned()));
        }
        let [of] = json.signatures.as_slice() else {
            return Err(EnvelopeError::Count(json.signatures.len()));
        };
        let key = Digest::from_hex(&of.keyid).ok_or(EnvelopeError::Malformed)?;
        let signature = STANDARD.decode(&of.sig).map_err(|_| EnvelopeError::Malformed)?;
        if !(1..=SIGNATURE_MAX).contains(&signature.len()) {
            return Err(EnvelopeError::Malformed);
        }
        if STANDARD.decode(&json.payload).map_err(|_| EnvelopeError::Malformed)? != manifest {
            return Err(EnvelopeError::OtherManifest);
        }
        let envelope = Self { key, signature };
        if envelope.to_octets(manifest) == octets { Ok(envelope) } else { Err(EnvelopeError::Form) }
    }

    /// As a file.
    #[must_use]
    pub fn to_octets(&self, manifest: &[u8]) -> Vec<u8> {
        let signature = JsonSignature { keyid: self.key.to_string(), sig: STANDARD.encode(&self.signature) };
        let json = Json {
            payload: STANDARD.encode(manifest),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![signature],
        };
        let mut octets = serde_json::to_vec_pretty(&json).expect("an envelope has texts only");
        octets.push(b'\n');
        octets
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.json", self.key)
    }

    /// The key that is said to have made it.
    #[must_use]
    pub fn key(&self) -> Digest {
        self.key
    }

    /// Whether this key made it over this manifest.
    #[must_use]
    pub fn is_by(&self, key: &PublicKey, manifest: &[u8]) -> bool {
        self.key == key.id() && key.verifies(&encoded(manifest), &self.signature)
    }
}

/// DSSE's pre-authentication encoding, `PAE(type, body)`.
fn encoded(manifest: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), manifest.len());
    [head.as_bytes(), manifest].concat()
}

#[cfg(test)]
mod tests {
    use super::super::key::Algorithm;
    use super::*;

    #[test]
    fn what_is_signed_is_encoded_as_dsse_says() {
        let text = format!("DSSEv1 {} {PAYLOAD_TYPE} 2 {{}}", PAYLOAD_TYPE.len());
        assert_eq!(encoded(b"{}"), text.as_bytes());
    }

    #[test]
    fn an_envelope_is_of_one_manifest_and_one_key() {
        let (key, other) = (Algorithm::Ed25519, Algorithm::P256);
        let [key, other] = [key, other].map(|algorithm| SigningKey::generate(algorithm).unwrap());
        let envelope = Envelope::sign(b"{}", &key).unwrap();
        assert!(envelope.is_by(key.public(), b"{}"));
        assert!(!envelope.is_by(other.public(), b"{}") && !envelope.is_by(key.public(), b"{ }"));
        let octets = envelope.to_octets(b"{}");
        assert_eq!(Envelope::parse(&octets, b"{}"), Ok(envelope));
        assert_eq!(Envelope::parse(&octets, b"{ }"), Err(EnvelopeError::OtherManifest));
    }

    #[test]
    fn an_envelope_of_something_else_is_told() {
        let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let octets = Envelope::sign(b"{}", &key).unwrap().to_octets(b"{}");
        let text = String::from_utf8(octets).unwrap();
        let parse = |text: &str| Envelope::parse(text.as_bytes(), b"{}");
        let other = text.replace(PAYLOAD_TYPE, "application/vnd.in-toto+json");
        assert_eq!(parse(&other), Err(EnvelopeError::PayloadType("application/vnd.in-toto+json".into())));
        assert_eq!(parse(&format!("{text} ")), Err(EnvelopeError::Form));
        assert_eq!(parse(&text.replace("\"sig\": \"", "\"sig\": \"*")), Err(EnvelopeError::Malformed));
        assert!(matches!(parse("{}"), Err(EnvelopeError::Json(_))));
        let none = format!("{{\"payload\":\"e30=\",\"payloadType\":\"{PAYLOAD_TYPE}\",\"signatures\":[]}}");
        assert_eq!(parse(&none), Err(EnvelopeError::Count(0)));
    }
}
