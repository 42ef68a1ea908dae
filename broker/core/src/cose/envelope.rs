//! The parts of a COSE_Encrypt message: reading them from hostile octets, and wrapping the content key.

use aws_lc_rs::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rand::SystemRandom;
use coset::cbor::value::Value;
use coset::{
    Algorithm, CborSerializable, CoseEncrypt, CoseKdfContextBuilder, CoseRecipient, CoseRecipientBuilder,
    Header, HeaderBuilder, Label, ProtectedHeader, SuppPubInfo, TaggedCborSerializable, iana,
};

use super::{NONCE_LEN, OpenError, PrivateKey, RECIPIENTS_MAX, RecipientKey, SealError, SymmetricKey};

/// CBOR items of a message: a recipient has some twenty.
const ITEMS_MAX: usize = 64 * RECIPIENTS_MAX;
/// Octets of a content key under A256KW (RFC 3394, section 2.2.1).
const WRAPPED_KEY_OCTETS: usize = 40;
/// Octets of a coordinate of P-256.
const COORDINATE_OCTETS: usize = 32;
/// The header parameter of RFC 9053, section 6.3.1, that carries a sender's ephemeral key.
const EPHEMERAL_KEY: Label = Label::Int(iana::HeaderAlgorithmParameter::EphemeralKey as i64);

/// Reads a message whose structure is bounded before any of it is allocated.
pub(super) fn parse(sealed: &[u8]) -> Result<CoseEncrypt, OpenError> {
    bound_items(sealed)?;
    let message = CoseEncrypt::from_tagged_slice(sealed)
        .map_err(|_| OpenError::Malformed("tag 96 with four elements was expected"))?;
    if message.recipients.len() > RECIPIENTS_MAX {
        return Err(OpenError::Unsupported("so many recipients"));
    }
    Ok(message)
}

/// The initialisation vector, where the content is encrypted as this profile says.
pub(super) fn content_iv(message: &CoseEncrypt) -> Result<[u8; NONCE_LEN], OpenError> {
    let protected = &message.protected.header;
    if protected.alg != Some(Algorithm::Assigned(iana::Algorithm::A256GCM)) {
        return Err(OpenError::Unsupported("the content algorithm"));
    }
    if !protected.crit.is_empty() {
        return Err(OpenError::Unsupported("a critical header parameter"));
    }
    let iv = if protected.iv.is_empty() { &message.unprotected.iv } else { &protected.iv };
    iv.as_slice().try_into().map_err(|_| OpenError::Unsupported("the initialisation vector"))
}

/// What was agreed with one recipient: the key that wraps content keys for it, and what its messages say of it.
pub(super) struct Agreed {
    key: SymmetricKey,
    protected: Header,
    unprotected: Header,
}

impl Agreed {
    /// Agrees on a key under a fresh ephemeral one (RFC 9053, section 6.4).
    pub(super) fn with(to: &RecipientKey) -> Result<Self, SealError> {
        let failed = |_| SealError::Module("ECDH-ES+A256KW");
        let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(failed)?;
        let ephemeral_key = encode_point(ephemeral.compute_public_key().map_err(failed)?.as_ref());
        let protected = HeaderBuilder::new().algorithm(iana::Algorithm::ECDH_ES_A256KW).build();
        let context = kdf_context(&ProtectedHeader { original_data: None, header: protected.clone() })
            .ok_or(SealError::Module("the key derivation context"))?;
        let module_failed = SealError::Module("ECDH on P-256");
        let key = agreement::agree_ephemeral(ephemeral, to.unparsed(), module_failed, |secret| {
            key_encryption_key(secret, &context).ok_or(SealError::Module("HKDF-SHA-256"))
        })?;
        let unprotected = Header { rest: vec![(EPHEMERAL_KEY, ephemeral_key)], ..Header::default() };
        let unprotected = Header { key_id: to.id().to_vec(), ..unprotected };
        Ok(Self { key, protected, unprotected })
    }

    /// The recipient's wrapped copy of one content key.
    pub(super) fn wrap(&self, content_key: &SymmetricKey) -> Result<CoseRecipient, SealError> {
        let failed = |_| SealError::Module("A256KW");
        let mut wrapped = [0; WRAPPED_KEY_OCTETS];
        let key = AesKek::new(&AES_256, self.key.as_ref()).map_err(failed)?;
        key.wrap(content_key.as_ref(), &mut wrapped).map_err(failed)?;
        Ok(CoseRecipientBuilder::new()
            .protected(self.protected.clone())
            .unprotected(self.unprotected.clone())
            .ciphertext(wrapped.to_vec())
            .build())
    }
}

/// The content key, where this recipient is the owner of `key`.
pub(super) fn unwrap(recipient: &CoseRecipient, key: &PrivateKey) -> Result<SymmetricKey, OpenError> {
    let protected = &recipient.protected.header;
    if protected.alg != Some(Algorithm::Assigned(iana::Algorithm::ECDH_ES_A256KW)) {
        return Err(OpenError::Unsupported("the recipient's algorithm"));
    }
    if !protected.crit.is_empty() {
        return Err(OpenError::Unsupported("a critical header parameter of the recipient"));
    }
    let ephemeral = ephemeral_point(protected)
        .or_else(|| ephemeral_point(&recipient.unprotected))
        .ok_or(OpenError::Malformed("the recipient has no ephemeral key on P-256"))?;
    let wrapped = recipient.ciphertext.as_deref().filter(|wrapped| wrapped.len() == WRAPPED_KEY_OCTETS);
    let wrapped = wrapped.ok_or(OpenError::Malformed("the recipient has no wrapped key of 40 octets"))?;
    let context =
        kdf_context(&recipient.protected).ok_or(OpenError::Malformed("the recipient's protected header"))?;

    let not_on_the_curve = OpenError::Malformed("the recipient's ephemeral key is not on P-256");
    let peer = UnparsedPublicKey::new(&ECDH_P256, &ephemeral);
    agreement::agree(&key.key, peer, not_on_the_curve, |secret| {
        let mut content_key = SymmetricKey::default();
        let key = key_encryption_key(secret, &context).ok_or(OpenError::NotARecipient)?;
        let key = AesKek::new(&AES_256, key.as_ref()).map_err(|_| OpenError::NotARecipient)?;
        key.unwrap(wrapped, content_key.as_mut()).map_err(|_| OpenError::NotARecipient)?;
        Ok(content_key)
    })
}

/// `COSE_KDF_Context` (RFC 9053, section 5.2): for a 256-bit key of A256KW, with nothing said of the parties.
fn kdf_context(protected: &ProtectedHeader) -> Option<Vec<u8>> {
    let public = SuppPubInfo { key_data_length: 256, protected: protected.clone(), other: None };
    CoseKdfContextBuilder::new()
        .algorithm(iana::Algorithm::A256KW)
        .supp_pub_info(public)
        .build()
        .to_vec()
        .ok()
}

fn key_encryption_key(secret: &[u8], context: &[u8]) -> Option<SymmetricKey> {
    let mut key = SymmetricKey::default();
    let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
    derived.expand(&[context], HKDF_SHA256).and_then(|expanded| expanded.fill(key.as_mut())).ok()?;
    Some(key)
}

/// A `COSE_Key` of type EC2 (RFC 9053, section 7.1.1) from an uncompressed point.
fn encode_point(point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(COORDINATE_OCTETS);
    let parameter = |label: iana::Ec2KeyParameter, value: Value| (Value::from(label as i64), value);
    Value::Map(vec![
        (Value::from(iana::KeyParameter::Kty as i64), Value::from(iana::KeyType::EC2 as i64)),
        parameter(iana::Ec2KeyParameter::Crv, Value::from(iana::EllipticCurve::P_256 as i64)),
        parameter(iana::Ec2KeyParameter::X, Value::Bytes(x.to_vec())),
        parameter(iana::Ec2KeyParameter::Y, Value::Bytes(y.to_vec())),
    ])
}

/// The point (SEC 1, section 2.3.3) of the ephemeral key in a header; a boolean y is the sign of a compressed one.
fn ephemeral_point(header: &Header) -> Option<Vec<u8>> {
    let (_, key) = header.rest.iter().find(|(label, _)| *label == EPHEMERAL_KEY)?;
    let key = key.as_map()?;
    let parameter =
        |label: i64| key.iter().find(|(name, _)| *name == Value::from(label)).map(|(_, value)| value);
    let is = |label: i64, value: i64| parameter(label) == Some(&Value::from(value));
    let coordinate =
        |value: &Value| value.as_bytes().filter(|octets| octets.len() == COORDINATE_OCTETS).cloned();

    if !is(iana::KeyParameter::Kty as i64, iana::KeyType::EC2 as i64)
        || !is(iana::Ec2KeyParameter::Crv as i64, iana::EllipticCurve::P_256 as i64)
    {
        return None;
    }
    let x = coordinate(parameter(iana::Ec2KeyParameter::X as i64)?)?;
    match parameter(iana::Ec2KeyParameter::Y as i64)? {
        Value::Bool(odd) => Some([vec![0x02 + u8::from(*odd)], x].concat()),
        y => Some([vec![0x04], x, coordinate(y)?].concat()),
    }
}

/// Counts the heads of CBOR items (RFC 8949, section 3) in order, without building anything.
///
/// A decoded item takes some thirty times the memory of an encoded one, so that 64 MiB of small integers must be
/// refused before they are decoded. Nesting needs no attention here: items follow their containers.
fn bound_items(encoded: &[u8]) -> Result<(), OpenError> {
    let mut rest = encoded;
    let truncated = OpenError::Malformed("an item ends early");
    for _ in 0..ITEMS_MAX {
        let Some((&initial, after)) = rest.split_first() else { return Ok(()) };
        let argument_octets = match initial & 0x1f {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => 0,
        };
        let (argument, after) = after.split_at_checked(argument_octets).ok_or(truncated.clone())?;
        let value = match argument_octets {
            0 => u64::from(initial & 0x1f),
            _ => argument.iter().fold(0, |value, octet| (value << 8) | u64::from(*octet)),
        };
        let is_string = matches!(initial >> 5, 2 | 3) && initial & 0x1f != 31;
        let content_octets = if is_string { value } else { 0 };
        let content_octets = usize::try_from(content_octets).map_err(|_| truncated.clone())?;
        rest = after.get(content_octets..).ok_or(truncated.clone())?;
    }
    Err(OpenError::Unsupported("so many items"))
}
