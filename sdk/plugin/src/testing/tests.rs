//! The native test host keeps to what the broker's does.

use std::io::Read;

use super::{message, take, with};
use crate::keys::KeyError;
use crate::state::StateError;
use crate::trace::Value;
use crate::{BodyReader, BodyWriter, Draft, emit, keys, state, trace};

#[test]
fn pseudonyms_depend_on_key_domain_and_value() {
    let one = keys::pseudonym("research", "uid", b"1.2.3").unwrap();
    assert_eq!(one, keys::pseudonym("research", "uid", b"1.2.3").unwrap());
    assert_ne!(one, keys::pseudonym("research", "uid", b"1.2.4").unwrap());
    assert_ne!(one, keys::pseudonym("research", "patient", b"1.2.3").unwrap());
    assert_ne!(one, keys::pseudonym("other", "uid", b"1.2.3").unwrap());
    with(|host| host.denied.insert("research".into()));
    assert_eq!(keys::pseudonym("research", "uid", b"1.2.3"), Err(KeyError::NotGranted("research".into())));
}

/// The same vectors as in the sandbox, computed with Python's `hmac`: a secret is its own name here.
#[test]
fn codes_and_date_shifts_are_those_of_the_broker() {
    let code = keys::mac("key", b"1.2.3").unwrap();
    assert_eq!(code[..8], [0x95, 0xd8, 0x61, 0xd4, 0x4c, 0x5d, 0x76, 0x43]);
    assert_ne!(code, keys::pseudonym("key", "", b"1.2.3").unwrap());
    let values: Vec<Vec<u8>> = (0..4).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(keys::date_shifts("key", "patient", &values, 365).unwrap(), [-195, 19, 199, -183]);
    assert_eq!(keys::date_shift("key", "other", b"0", 365), Ok(-227));
    assert!(keys::date_shift("key", "patient", b"0", 0).is_err());
    with(|host| host.denied.insert("key".into()));
    assert_eq!(keys::mac("key", b""), Err(KeyError::NotGranted("key".into())));
}

#[test]
fn spans_nest_and_have_numbers() {
    let mut outer = trace::span("clean");
    outer.count("octets", 7);
    outer.measure("ratio", f64::NAN);
    trace::within("inner", || trace::span("Not A Name").flag("lost", true));
    outer.flag("changed", true);
    drop(outer);
    let spans = take().spans;
    let seen: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.within, span.ended)).collect();
    assert_eq!(seen, [("clean", None, true), ("inner", Some(0), true)]);
    let values: Vec<_> = spans[0].values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(values, [("changed", Value::Flag(true)), ("octets", Value::Count(7))]);
}

#[test]
fn what_is_sealed_opens_for_its_recipients_only() {
    let sealed = keys::seal(&["a".into(), "b".into()], b"head", b"a secret body").unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    assert_eq!(keys::open("b", b"head", &sealed).unwrap(), b"a secret body");
    assert_eq!(keys::open("c", b"head", &sealed), Err(KeyError::Malformed));
    assert_eq!(keys::open("a", b"other", &sealed), Err(KeyError::Malformed));
}

#[test]
fn state_is_compare_and_set() {
    assert_eq!(state::put("helium", b"80", 0), Ok(1));
    assert_eq!(state::put("helium", b"70", 0), Err(StateError::Conflict));
    assert_eq!(state::put("helium", b"70", 1), Ok(2));
    assert_eq!(state::get("helium").unwrap().unwrap().value, b"70");
    assert_eq!(state::remove("helium", 2), Ok(()));
    assert_eq!(state::get("helium"), Ok(None));
}

#[test]
fn emissions_are_kept_for_the_test() {
    emit::emit("maintenance", Draft::of(message("text/plain", "x").head, b"refill".to_vec())).unwrap();
    let host = take();
    assert_eq!(
        (host.emitted[0].flow.as_str(), host.emitted[0].body.as_slice()),
        ("maintenance", &b"refill"[..])
    );
    assert!(take().emitted.is_empty());
}

#[test]
fn a_body_is_read_skipped_and_forwarded_in_order() {
    let mut reader = BodyReader::from_octets((0..100).collect());
    let mut two = [0; 2];
    // `io::Read` takes ahead; everything after must still go on where it stopped.
    reader.read_exact(&mut two).unwrap();
    assert_eq!(two, [0, 1]);
    assert_eq!(reader.skip(3).unwrap(), 3);
    assert_eq!(reader.read(2).unwrap(), [5, 6]);
    let mut writer = BodyWriter::new();
    writer.write(b"head").unwrap();
    assert_eq!(writer.forward(&mut reader, u64::MAX).unwrap(), 93);
    let mut made = writer.finish().unwrap();
    assert_eq!((made.size(), reader.size()), (97, 100));
    let octets = made.read_to_end().unwrap();
    assert_eq!((&octets[..4], octets[4], octets[96]), (&b"head"[..], 7, 99));
}

#[test]
fn a_body_that_ends_early_is_an_error() {
    let mut reader = BodyReader::from_octets(vec![1, 2, 3]);
    assert!(reader.read_exact_octets(4).is_err());
}
