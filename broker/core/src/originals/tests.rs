//! What a holder opens and nobody else does, and how pseudonyms are written.

use super::*;
use crate::cose::RecipientKey;

const A: &str = include_str!("../cose/tests/a.pem");
const B: &str = include_str!("../cose/tests/b.pem");

fn key() -> KeyName {
    "research".parse().unwrap()
}

fn pseudonym() -> Pseudonym {
    let mut octets = [0xC3; 32];
    octets[..6].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    Pseudonym(octets)
}

fn holder(pem: &str) -> (PrivateKey, RecipientKey) {
    let private = PrivateKey::from_pem(pem).unwrap();
    let public = private.public().clone();
    (private, public)
}

#[test]
fn a_holder_opens_what_was_sealed_and_nobody_else_nor_as_something_else() {
    let ((private, public), (other, _)) = (holder(A), holder(B));
    let original = Original::new("patient-id", b"4711").unwrap();
    let sealed = seal(&Sealer::new(&[public]).unwrap(), &key(), &pseudonym(), &original).unwrap();
    assert!(!sealed.windows(4).any(|window| window == b"4711"));
    assert_eq!(open(&private, &key(), &pseudonym(), &sealed), Ok(original));
    let not_mine = open(&other, &key(), &pseudonym(), &sealed);
    assert_eq!(not_mine, Err(RevealError::Open(OpenError::NotARecipient)));
    let elsewhere: KeyName = "operations".parse().unwrap();
    let not_authentic = Err(RevealError::Open(OpenError::NotAuthentic));
    assert_eq!(open(&private, &elsewhere, &pseudonym(), &sealed), not_authentic);
    assert_eq!(open(&private, &key(), &Pseudonym([0; 32]), &sealed), not_authentic);
}

#[test]
fn what_is_sealed_says_little_of_its_length() {
    let sealer = Sealer::new(&[holder(A).1]).unwrap();
    let length = |value: &[u8]| {
        let original = Original::new("patient-id", value).unwrap();
        seal(&sealer, &key(), &pseudonym(), &original).unwrap().len()
    };
    assert_eq!(length(b"1"), length(b"1234567890"));
    assert_eq!(Original::new("patient-id", &[0; ORIGINAL_OCTETS_MAX + 1]), Err(KeepError::TooLong));
    let long = "x".repeat(ORIGINAL_DOMAIN_OCTETS_MAX + 1);
    assert_eq!(Original::new(&long, b""), Err(KeepError::TooLong));
    for value in [0, 1, 49, 50, 51, ORIGINAL_OCTETS_MAX] {
        let original = Original::new("patient-id", &vec![0; value]).unwrap();
        assert_eq!(Original::decode(&original.encode()), Some(original));
    }
}

#[test]
fn every_form_that_a_plugin_writes_is_known_again() {
    for text in [
        "010203040506C3C3",
        "010203040506c3c3c3c3",
        "010203040506C3C3C3C3C3C3C3C3C3C3",
        "01020304-0506-83c3-83c3-c3c3c3c3c3c3",
        "urn:uuid:01020304-0506-83c3-83c3-c3c3c3c3c3c3",
        &format!("2.25.{}", 0x0102_0304_0506_83c3_83c3_c3c3_c3c3_c3c3_u128),
        &format!(" urn:oid:2.25.{} ", 0x0102_0304_0506_83c3_83c3_c3c3_c3c3_c3c3_u128),
        &pseudonym().to_string(),
    ] {
        let asked: Asked = text.parse().unwrap();
        assert_eq!(asked.prefix(), [1, 2, 3, 4, 5, 6], "{text}");
        assert!(asked.fits(&pseudonym().0) && asked.fits(&pseudonym().0[..16]), "{text}");
        for at in 0..8 {
            let mut other = pseudonym().0;
            other[at] ^= 1;
            assert!(!asked.fits(&other), "{text}, octet {at}");
        }
    }
}

#[test]
fn what_may_be_an_original_or_is_too_short_is_not_asked_for() {
    for text in [
        "",
        "4711",
        "DOE^JANE",
        "010203040506C3",
        "010203040506C3C3C",
        "2.25.4711",
        "2.25.+4711",
        "1.2.840.10008.1.2",
        "01020304-0506-43c3-83c3-c3c3c3c3c3c3",
        "01020304-0506-83c3-83c3c3c3c3c3c3",
        "éééééééé",
        &"0".repeat(66),
    ] {
        assert_eq!(text.parse::<Asked>(), Err(AskedError), "{text}");
    }
}
