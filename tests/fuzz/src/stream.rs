//! Sealed streams: whatever the octets, and in whatever pieces they come, nothing comes out but what was sealed, in its order.

use std::sync::LazyLock;

use hilum_core::cose::{PrivateKey, STREAM_CONTENT_TYPE, Sealer, StreamOpener};

use crate::memory;
use crate::wire::unhex;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

const PLAIN: &[u8] = b"Helium level is 87.2 %.";
const ASSOCIATED: &[u8] = b"flow=device";
/// Octets of the longer seed: two segments, of which the second is short.
const LONG_OCTETS: usize = 1_048_520 + 100;

static KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| {
    let a = include_str!("../../../broker/core/src/cose/tests/a.pem");
    let b = include_str!("../../../broker/core/src/cose/tests/b.pem");
    [a, b].map(|pem| PrivateKey::from_pem(pem).expect("a key of the tests"))
});

/// The body of the longer seed.
static LONG: LazyLock<Vec<u8>> = LazyLock::new(|| vec![7; LONG_OCTETS]);

/// Opens a stream with a key, and in pieces, that the first two octets choose. The seeds are the only authentic streams.
pub fn check(octets: &[u8]) {
    let [choice, piece, sealed @ ..] = octets else { return };
    let key = &KEYS[usize::from(choice & 1)];
    let associated = if choice & 2 == 0 { ASSOCIATED } else { b"flow=other" };
    let mut opener = StreamOpener::new(key, associated);
    let mut plain = Vec::new();
    let mut fault = None;
    for piece in sealed.chunks(1 + usize::from(*piece) * 997) {
        let before = plain.len();
        let pushed = opener.push(piece, &mut plain);
        if let Some(fault) = &fault {
            assert_eq!(pushed.as_ref(), Err(fault), "what failed goes on");
            assert_eq!(plain.len(), before, "something comes out after a fault");
        }
        fault = pushed.err().or(fault);
    }
    let ended = opener.finish(&mut plain);
    let was_sealed = [PLAIN, LONG.as_slice()].into_iter().any(|whole| match ended {
        Ok(()) => whole == plain,
        Err(_) => whole.starts_with(&plain),
    });
    assert!(was_sealed, "what was not sealed comes out of a {STREAM_CONTENT_TYPE}");
    assert!(choice & 2 == 0 || plain.is_empty(), "a stream opens only with its associated data");
    assert!(fault.is_none() || ended.is_err(), "what failed ends well");
}

/// Streams of ours and of Tink.
pub fn seeds() -> Vec<Vec<u8>> {
    let recipients = KEYS.each_ref().map(|key| key.public().clone());
    let sealed = |plain: &[u8]| {
        let mut out = Vec::new();
        let sealer = Sealer::new(&recipients).expect("two recipients");
        let mut stream = sealer.stream(ASSOCIATED, &mut out).expect("a stream");
        stream.push(plain, &mut out).expect("a body");
        stream.finish(&mut out).expect("an end");
        out
    };
    let tink = unhex(include_str!("../../../broker/core/src/cose/tests/tink.hex"));
    let with_choice = |stream: &Vec<u8>| {
        (0..4).map(|choice| [&[choice, 255 * (choice & 1)][..], stream].concat()).collect::<Vec<_>>()
    };
    let mut seeds: Vec<_> = [sealed(PLAIN), tink].iter().flat_map(with_choice).collect();
    seeds.push([&[0, 255][..], &sealed(&LONG)].concat());
    seeds
}
