//! COSE_Encrypt messages: whatever the octets, nothing opens but what was sealed.

use std::sync::LazyLock;

use hilum_core::cose::{PrivateKey, open, seal};

use crate::memory;
use crate::wire::unhex;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

const PLAIN: &[u8] = b"Helium level is 87.2 %.";
const ASSOCIATED: &[u8] = b"flow=device";

static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| {
    let a = include_str!("../../../broker/core/src/cose/tests/a.pem");
    let b = include_str!("../../../broker/core/src/cose/tests/b.pem");
    [a, b].map(|pem| PrivateKey::from_pem(pem).expect("a key of the tests"))
});

/// Opens a message with a key that the first octet chooses. The seeds are the only authentic messages that there are.
pub fn check(octets: &[u8]) {
    let Some((choice, sealed)) = octets.split_first() else { return };
    let key = &KEYS[usize::from(choice & 1)];
    if choice & 2 != 0 {
        let other = open(key, b"flow=other", sealed);
        assert!(other.is_err(), "a message opens only with its associated data");
        return;
    }
    if let Ok(plain) = open(key, ASSOCIATED, sealed) {
        assert_eq!(plain, PLAIN, "what was not sealed opens");
    }
}

/// Messages of ours and of pycose, to both keys and to one.
pub fn seeds() -> Vec<Vec<u8>> {
    let keys = KEYS.each_ref().map(|key| key.public().clone());
    let both = seal(&keys, ASSOCIATED, PLAIN).expect("two recipients");
    let one = seal(&keys[..1], ASSOCIATED, PLAIN).expect("one recipient");
    let pycose = unhex(include_str!("../../../broker/core/src/cose/tests/pycose.hex"));
    let without_kid = unhex(include_str!("../../../broker/core/src/cose/tests/pycose-without-kid.hex"));
    let with_choice =
        |message: &Vec<u8>| (0..4).map(|choice| [&[choice][..], message].concat()).collect::<Vec<_>>();
    [both, one, pycose, without_kid].iter().flat_map(with_choice).collect()
}
