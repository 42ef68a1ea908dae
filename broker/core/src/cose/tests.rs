//! Envelopes of ours and of another implementation, opened, and not opened where they were altered.

mod stream;

use coset::cbor::value::Value;
use coset::{CborSerializable, CoseEncrypt, TaggedCborSerializable};
use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

/// What `tests/vectors.py` sealed with pycose to both keys.
const PYCOSE: &str = include_str!("tests/pycose.hex");
const PYCOSE_WITHOUT_KID: &str = include_str!("tests/pycose-without-kid.hex");
const PLAIN: &[u8] = b"Helium level is 87.2 %.";
const ASSOCIATED: &[u8] = b"flow=device";

fn keys() -> [PrivateKey; 2] {
    [include_str!("tests/a.pem"), include_str!("tests/b.pem")].map(|pem| PrivateKey::from_pem(pem).unwrap())
}

fn stranger() -> PrivateKey {
    use aws_lc_rs::agreement;
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    let key = agreement::PrivateKey::generate(&agreement::ECDH_P256).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    PrivateKey::from_pkcs8_der(der.as_ref()).unwrap()
}

fn sealed_to_both() -> Vec<u8> {
    let recipients = keys().map(|key| key.public().clone());
    seal(&recipients, ASSOCIATED, PLAIN).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A message with something of it changed.
fn altered(change: impl FnOnce(&mut CoseEncrypt)) -> Vec<u8> {
    let mut message = CoseEncrypt::from_tagged_slice(&sealed_to_both()).unwrap();
    change(&mut message);
    message.to_tagged_vec().unwrap()
}

#[test]
fn every_recipient_opens_and_nobody_else() {
    let sealed = sealed_to_both();
    for key in keys() {
        assert_eq!(open(&key, ASSOCIATED, &sealed).unwrap(), PLAIN);
    }
    assert_eq!(open(&stranger(), ASSOCIATED, &sealed), Err(OpenError::NotARecipient));
    assert!(!sealed.windows(PLAIN.len()).any(|window| window == PLAIN));
}

#[test]
fn opens_what_pycose_sealed() {
    for vector in [PYCOSE, PYCOSE_WITHOUT_KID] {
        for key in keys() {
            assert_eq!(open(&key, ASSOCIATED, &unhex(vector)).unwrap(), PLAIN);
        }
        assert_eq!(open(&stranger(), ASSOCIATED, &unhex(vector)), Err(OpenError::NotARecipient));
    }
}

#[test]
fn is_laid_out_as_rfc_9052_section_5_1_says() {
    let Value::Tag(96, message) = Value::from_slice(&sealed_to_both()).unwrap() else { panic!("tag 96") };
    let [protected, unprotected, cipher, recipients] = message.as_array().unwrap().as_slice() else {
        panic!("four elements")
    };
    assert_eq!(protected.as_bytes().unwrap(), &[0xa1, 0x01, 0x03], "{{alg: A256GCM}}");
    let (label, iv) = &unprotected.as_map().unwrap()[0];
    assert_eq!((label, iv.as_bytes().unwrap().len()), (&Value::from(5), 12));
    assert_eq!(cipher.as_bytes().unwrap().len(), PLAIN.len() + 16);
    for (recipient, key) in recipients.as_array().unwrap().iter().zip(keys()) {
        let [protected, unprotected, wrapped] = recipient.as_array().unwrap().as_slice() else {
            panic!("three")
        };
        assert_eq!(protected.as_bytes().unwrap(), &[0xa1, 0x01, 0x38, 0x1e], "{{alg: ECDH-ES+A256KW}}");
        let unprotected = unprotected.as_map().unwrap();
        assert!(unprotected.contains(&(Value::from(4), Value::Bytes(key.id().to_vec()))));
        assert!(unprotected.iter().any(|(label, key)| *label == Value::from(-1) && key.is_map()));
        assert_eq!(wrapped.as_bytes().unwrap().len(), 40);
    }
}

#[test]
fn nothing_repeats_between_two_messages() {
    let [first, second] = [sealed_to_both(), sealed_to_both()];
    let decode = |sealed: &[u8]| CoseEncrypt::from_tagged_slice(sealed).unwrap();
    let (first, second) = (decode(&first), decode(&second));
    assert_ne!(first.unprotected.iv, second.unprotected.iv);
    assert_ne!(first.ciphertext, second.ciphertext);
    assert_ne!(first.recipients[0].unprotected.rest, second.recipients[0].unprotected.rest);
    assert_ne!(first.recipients[0].unprotected.rest, first.recipients[1].unprotected.rest);
}

#[test]
fn messages_of_a_sealer_share_the_agreement_and_nothing_else() {
    let recipients = keys().map(|key| key.public().clone());
    let sealer = Sealer::new(&recipients).unwrap();
    let sealed = [PLAIN, b"", PLAIN].map(|plain| sealer.seal(ASSOCIATED, plain).unwrap());
    for key in keys() {
        assert_eq!(open(&key, ASSOCIATED, &sealed[0]).unwrap(), PLAIN);
        assert_eq!(open(&key, ASSOCIATED, &sealed[1]).unwrap(), b"");
    }
    let [first, _, last] = sealed.map(|sealed| CoseEncrypt::from_tagged_slice(&sealed).unwrap());
    assert_eq!(first.recipients[0].unprotected, last.recipients[0].unprotected);
    assert_ne!(first.recipients[0].ciphertext, last.recipients[0].ciphertext, "each has a content key");
    assert_ne!((first.unprotected.iv, first.ciphertext), (last.unprotected.iv, last.ciphertext));
}

#[test]
fn other_associated_data_does_not_open() {
    let [key, _] = keys();
    assert_eq!(open(&key, b"flow=billing", &sealed_to_both()), Err(OpenError::NotAuthentic));
}

#[test]
fn an_altered_message_does_not_open() {
    let [key, _] = keys();
    let outcome = |sealed: Vec<u8>| open(&key, ASSOCIATED, &sealed).unwrap_err();
    let flip = |octets: &mut Vec<u8>| octets[0] ^= 1;

    assert_eq!(outcome(altered(|m| flip(m.ciphertext.as_mut().unwrap()))), OpenError::NotAuthentic);
    assert_eq!(outcome(altered(|m| flip(&mut m.unprotected.iv))), OpenError::NotAuthentic);
    let wrapped = altered(|m| flip(m.recipients[0].ciphertext.as_mut().unwrap()));
    assert_eq!(outcome(wrapped), OpenError::NotARecipient);
    let swapped = altered(|m| {
        let other = m.recipients[1].unprotected.rest.clone();
        m.recipients[0].unprotected.rest = other;
    });
    assert_eq!(outcome(swapped), OpenError::NotARecipient);
}

#[test]
fn another_profile_is_refused_by_name() {
    let [key, _] = keys();
    let outcome = |sealed: Vec<u8>| open(&key, ASSOCIATED, &sealed).unwrap_err();
    let critical = HeaderBuilder::new().algorithm(iana::Algorithm::A256GCM);
    let critical = critical.add_critical(iana::HeaderParameter::CwtClaims).build();

    let weaker = HeaderBuilder::new().algorithm(iana::Algorithm::A128GCM).build();
    let weaker = altered(|m| m.protected = protect(weaker));
    assert_eq!(outcome(weaker), OpenError::Unsupported("the content algorithm"));
    let critical = altered(|m| m.protected = protect(critical));
    assert_eq!(outcome(critical), OpenError::Unsupported("a critical header parameter"));
    let direct = HeaderBuilder::new().algorithm(iana::Algorithm::ECDH_ES_HKDF_256).build();
    let direct = altered(|m| m.recipients[0].protected = protect(direct));
    assert_eq!(outcome(direct), OpenError::Unsupported("the recipient's algorithm"));
    let detached = altered(|m| m.ciphertext = None);
    assert_eq!(outcome(detached), OpenError::Malformed("detached content"));
}

fn protect(header: coset::Header) -> coset::ProtectedHeader {
    coset::ProtectedHeader { original_data: None, header }
}

#[test]
fn an_ephemeral_key_off_the_curve_is_refused() {
    let [key, _] = keys();
    let sealed = altered(|m| {
        let ephemeral = m.recipients[0].unprotected.rest[0].1.as_map_mut().unwrap();
        ephemeral.iter_mut().filter_map(|(_, value)| value.as_bytes_mut()).for_each(|octets| octets.fill(1));
    });
    let expected = OpenError::Malformed("the recipient's ephemeral key is not on P-256");
    assert_eq!(open(&key, ASSOCIATED, &sealed), Err(expected));
}

#[test]
fn a_compressed_ephemeral_key_opens_too() {
    let [key, _] = keys();
    let sealed = altered(|m| {
        let ephemeral = m.recipients[0].unprotected.rest[0].1.as_map_mut().unwrap();
        let y = &mut ephemeral.iter_mut().find(|(label, _)| *label == Value::from(-3)).unwrap().1;
        *y = Value::Bool(y.as_bytes().unwrap()[31] & 1 == 1);
    });
    assert_eq!(open(&key, ASSOCIATED, &sealed).unwrap(), PLAIN);
}

#[test]
fn bounds_are_kept_on_both_sides() {
    let [key, _] = keys();
    let recipient = key.public().clone();
    assert_eq!(seal(&[], ASSOCIATED, PLAIN), Err(SealError::NoRecipient));
    let many = vec![recipient.clone(); RECIPIENTS_MAX + 1];
    assert_eq!(seal(&many, ASSOCIATED, PLAIN), Err(SealError::TooManyRecipients(RECIPIENTS_MAX + 1)));
    let most = seal(&many[1..], ASSOCIATED, PLAIN).unwrap();
    assert_eq!(open(&key, ASSOCIATED, &most).unwrap(), PLAIN);
    let large = vec![0; PLAIN_OCTETS_MAX + 1];
    let recipients = [recipient];
    assert_eq!(seal(&recipients, ASSOCIATED, &large), Err(SealError::TooLarge(large.len())));
    let associated = vec![0; ASSOCIATED_OCTETS_MAX + 1];
    assert_eq!(seal(&recipients, &associated, PLAIN), Err(SealError::AssociatedTooLarge(associated.len())));
    let sealed = vec![0; SEALED_OCTETS_MAX + 1];
    assert_eq!(open(&key, ASSOCIATED, &sealed), Err(OpenError::TooLarge(sealed.len())));
}

#[test]
fn a_flood_of_items_is_refused_before_it_is_decoded() {
    let [key, _] = keys();
    let mut flood = vec![0xd8, 0x60, 0x84, 0x9f];
    flood.resize(1 << 20, 0x00);
    assert_eq!(open(&key, ASSOCIATED, &flood), Err(OpenError::Unsupported("so many items")));
    let nested = vec![0x81; 4000];
    assert!(matches!(open(&key, ASSOCIATED, &nested), Err(OpenError::Malformed(_))));
}

#[test]
fn a_key_is_named_by_the_digest_of_its_spki() {
    let [a, _] = keys();
    // openssl pkey -in a.pem -pubout -outform DER | sha256sum
    let known = include_str!("tests/a.id.hex").trim();
    assert_eq!(Digest(*a.id()).to_string(), known);
    assert_eq!(format!("{a:?}"), format!("PrivateKey({known})"));
    assert_eq!(RecipientKey::new(a.public().point()).unwrap(), *a.public());
}

#[test]
fn what_is_no_key_is_refused() {
    let [a, _] = keys();
    let mut off_the_curve = *a.public().point();
    off_the_curve[64] ^= 1;
    for bad in [&off_the_curve[..], &off_the_curve[1..], b"", b"\x04"] {
        assert_eq!(RecipientKey::new(bad), Err(KeyError::Public));
    }
    assert_eq!(PrivateKey::from_pkcs8_der(b"0").unwrap_err(), KeyError::Private);
    assert_eq!(PrivateKey::from_pem("-----BEGIN CERTIFICATE-----").unwrap_err(), KeyError::Private);
}

proptest! {
    #[test]
    fn what_is_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..2000),
                            associated in proptest::collection::vec(any::<u8>(), 0..200)) {
        let [a, b] = keys();
        let sealed = seal(&[b.public().clone()], &associated, &plain).unwrap();
        prop_assert_eq!(open(&b, &associated, &sealed).unwrap(), plain);
        prop_assert_eq!(open(&a, &associated, &sealed), Err(OpenError::NotARecipient));
    }

    #[test]
    fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        let [a, _] = keys();
        prop_assert!(open(&a, b"", &octets).is_err());
        prop_assert!(RecipientKey::new(&octets).is_err());
        prop_assert!(PrivateKey::from_pkcs8_der(&octets).is_err());
    }

    #[test]
    fn no_damaged_message_panics_or_opens_as_something_else(at in 0..1000usize, bit in 0..8u8, cut in any::<bool>()) {
        let [a, _] = keys();
        let mut sealed = unhex(PYCOSE);
        let at = at % sealed.len();
        if cut { sealed.truncate(at) } else { sealed[at] ^= 1 << bit }
        if let Ok(plain) = open(&a, ASSOCIATED, &sealed) {
            // The other recipient's part and what identifies a recipient are not authenticated (RFC 9052, section 3).
            prop_assert_eq!(plain, PLAIN);
        }
    }
}
