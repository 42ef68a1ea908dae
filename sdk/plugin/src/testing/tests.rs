//! The native test host keeps to what the broker's does.

use std::io::Read;

use super::{message, take, with};
use crate::keys::KeyError;
use crate::state::StateError;
use crate::{BodyReader, BodyWriter, Draft, emit, keys, state};

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
