//! Values of ours and of another implementation, opened, and not opened where they were altered or moved.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey as Agreement};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use proptest::prelude::*;

use super::*;

fn open(key: &PrivateKey, context: &[u8], text: &str) -> Result<Vec<u8>, JweError> {
    SealedValue::parse(text)?.open(key, context)
}

/// What `tests/vectors.py` sealed with jwcrypto: to the first key, and the last one to both.
const JWCRYPTO: [&str; 4] = [
    include_str!("tests/compact.txt"),
    include_str!("tests/parties.txt"),
    include_str!("tests/flattened.json"),
    include_str!("tests/general.json"),
];
const PLAIN: &str = "Müller^Jörg|19500203";
const CONTEXT: &[u8] = b"PID-5";

fn keys() -> [PrivateKey; 2] {
    [include_str!("../cose/tests/a.pem"), include_str!("../cose/tests/b.pem")]
        .map(|pem| PrivateKey::from_pem(pem).unwrap())
}

fn stranger() -> PrivateKey {
    let key = Agreement::generate(&ECDH_P256).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    PrivateKey::from_pkcs8_der(der.as_ref()).unwrap()
}

/// Sealed to the first so many keys.
fn sealed(to: usize) -> String {
    let recipients: Vec<_> = keys().iter().take(to).map(|key| key.public().clone()).collect();
    JweSealer::new(&recipients).unwrap().seal(CONTEXT, PLAIN.as_bytes()).unwrap()
}

/// With the protected header that `change` makes of what was there.
fn with_header(change: impl FnOnce(&str) -> String) -> String {
    let value = sealed(1);
    let (header, rest) = value.split_once('.').unwrap();
    let header = String::from_utf8(decode(header).unwrap()).unwrap();
    format!("{}.{rest}", encode(change(&header).as_bytes()))
}

#[test]
fn every_recipient_opens_in_its_place_and_nobody_else() {
    for (to, form) in [(1, "eyJhbGciOi"), (2, "{\"protected\":\"")] {
        let value = sealed(to);
        assert!(
            value.starts_with(form) && SealedValue::parse(&value).is_ok() && !value.contains("ller"),
            "{value}"
        );
        for key in keys().iter().take(to) {
            assert_eq!(open(key, CONTEXT, &value).unwrap(), PLAIN.as_bytes());
            assert_eq!(open(key, b"PID-7", &value), Err(JweError::NotAuthentic));
        }
        assert_eq!(open(&stranger(), CONTEXT, &value), Err(JweError::NotARecipient));
    }
    assert_eq!(open(&keys()[1], CONTEXT, &sealed(1)), Err(JweError::NotARecipient));
}

#[test]
fn opens_what_jwcrypto_sealed() {
    for (number, value) in JWCRYPTO.into_iter().enumerate() {
        assert_eq!(open(&keys()[0], CONTEXT, value).unwrap(), PLAIN.as_bytes(), "{number}");
    }
    assert_eq!(open(&keys()[1], CONTEXT, JWCRYPTO[3]).unwrap(), PLAIN.as_bytes());
    assert_eq!(open(&keys()[1], CONTEXT, JWCRYPTO[0]), Err(JweError::NotARecipient));
}

#[test]
fn nothing_but_the_agreement_repeats_between_two_values() {
    let sealer = JweSealer::new(&[keys()[0].public().clone()]).unwrap();
    let made = [(); 2].map(|()| sealer.seal(CONTEXT, PLAIN.as_bytes()).unwrap());
    let [first, second] = made.each_ref().map(|value| value.split('.').collect::<Vec<_>>());
    assert_eq!(first[0], second[0]);
    assert!((1..5).all(|part| first[part] != second[part]));
}

#[test]
fn another_profile_is_refused_by_name() {
    let key = &keys()[0];
    let refused = |from: &str, to: &str| {
        let value = with_header(|header| {
            assert!(header.contains(from), "{header}");
            header.replacen(from, to, 1)
        });
        open(key, CONTEXT, &value).unwrap_err()
    };
    let unsupported = |what| JweError::Unsupported(what);
    assert_eq!(refused("\"A256GCM\"", "\"A128GCM\""), unsupported("the content algorithm"));
    assert_eq!(refused("ECDH-ES+A256KW", "dir"), unsupported("the recipient's algorithm"));
    assert_eq!(refused("{\"alg\"", "{\"crit\":[\"x\"],\"alg\""), unsupported("a critical header parameter"));
    assert_eq!(refused("{\"alg\"", "{\"zip\":\"DEF\",\"alg\""), unsupported("compression"));
    assert_eq!(refused("P-256", "P-384"), unsupported("the kind of an ephemeral key"));
    assert_eq!(refused("hilum-context", "hilum-contexts"), unsupported("a value that is bound to nothing"));
    assert!(matches!(refused("{\"alg\"", "{\"alg\":\"none\",\"alg\""), JweError::Malformed(_)));
    // A parameter that nobody knows, not critical, changes what is authenticated.
    assert_eq!(refused("{\"alg\"", "{\"x\":1,\"alg\""), JweError::NotAuthentic);
}

#[test]
fn an_ephemeral_key_off_the_curve_is_refused() {
    let value = with_header(|header| {
        let (before, point) = header.split_once("\"y\":\"").unwrap();
        format!("{before}\"y\":\"{}{}", encode(&[1; 32]), &point[43..])
    });
    assert!(matches!(open(&keys()[0], CONTEXT, &value), Err(JweError::Malformed(_))));
}

#[test]
fn bounds_are_kept_on_both_sides() {
    assert!(matches!(JweSealer::new(&[]), Err(SealError::NoRecipient)));
    let [a, _] = keys();
    assert!(matches!(
        JweSealer::new(&vec![a.public().clone(); RECIPIENTS_MAX + 1]),
        Err(SealError::TooManyRecipients(_))
    ));
    let many = JweSealer::new(&vec![a.public().clone(); RECIPIENTS_MAX]).unwrap();
    let largest = vec![7; VALUE_OCTETS_MAX];
    let value = many.seal(CONTEXT, &largest).unwrap();
    assert!(value.len() <= JWE_OCTETS_MAX, "{}", value.len());
    assert_eq!(open(&a, CONTEXT, &value).unwrap(), largest);
    let larger = vec![7; VALUE_OCTETS_MAX + 1];
    assert_eq!(many.seal(CONTEXT, &larger), Err(SealError::ValueTooLarge(VALUE_OCTETS_MAX + 1)));
    assert!(matches!(open(&a, CONTEXT, &"a".repeat(JWE_OCTETS_MAX + 1)), Err(JweError::Malformed(_))));
}

#[test]
fn what_is_none_is_told_from_what_is_one() {
    for text in ["", "Doe^Jane", "a.b.c.d.e", "{}", "....", "eyJhbGciOiJkaXIifQ....", "{\"protected\":\"\"}"]
    {
        assert!(SealedValue::parse(text).is_err(), "{text}");
        assert!(open(&keys()[0], CONTEXT, text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..300), to in 1..3_usize) {
        let recipients: Vec<_> = keys().iter().take(to).map(|key| key.public().clone()).collect();
        let value = JweSealer::new(&recipients).unwrap().seal(CONTEXT, &plain).unwrap();
        prop_assert_eq!(open(&keys()[to - 1], CONTEXT, &value), Ok(plain));
    }

    #[test]
    fn no_damaged_value_panics_or_opens(to in 1..3_usize, at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.{}\":-]", cut in any::<bool>()) {
        let value = sealed(to);
        let at = at.index(value.len());
        let mut damaged = value[..at].to_owned();
        if !cut {
            damaged.push_str(&with);
            damaged.push_str(&value[at + 1..]);
        }
        prop_assume!(damaged != value);
        if let Ok(plain) = open(&keys()[0], CONTEXT, &damaged) {
            // Where another recipient's part, or the hint whose it is, was hit.
            prop_assert!(to == 2 && plain == PLAIN.as_bytes());
        }
    }
}
