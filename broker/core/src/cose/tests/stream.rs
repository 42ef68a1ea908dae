//! Streams of ours and of Tink, opened, and not opened where something of them is missing or moved.

use super::*;
use crate::cose::segments::{Decryption, Encryption};

/// What `stream_vectors.py seal` sealed with Tink and pycose to both keys.
const TINK: &str = include_str!("tink.hex");
/// What `stream_vectors.py segments` printed: octets of the body, octets of the stream, its SHA-256. Tink opened each.
const DIGESTS: [(usize, usize, &str); 9] = [
    (0, 56, "c149ad29a77bdecc2622923bacaa889a1f83635b7d06b10d538d6b3e08d89859"),
    (1, 57, "9803e1a914e5b6c814fb6e71174ddc41f5a3d0b958a1080064dd86b48f4d9322"),
    (1_048_519, 1_048_575, "b6608f0627583ef9990b6afdb51b8207c7bc19be1c1d60cc5c84d4da25c64dbb"),
    (1_048_520, 1_048_576, "7ab760244814fb71bd29b99c489fbde5c17eb350e5e796f95d97b8d11db1d177"),
    (1_048_521, 1_048_593, "f61b9b01d9832427b1979ec21a1e34fdf82b4b5ccf42b78be0c5a190e4a0e2a3"),
    (2_097_079, 2_097_151, "e5238fb88e744b33f05409a472c4a2b3b37ca9e53345a0850d93a506a21eb942"),
    (2_097_080, 2_097_152, "469c3c1b70b5fe1b5114a8cfbcdf15f8550acb2d0b62945b9a309bbe119e17c7"),
    (2_097_081, 2_097_169, "18a65dda3e7b782a11b4ae40f0c327c362ca9e0f6e226e5e5c14ee847ac2e4b0"),
    (3_000_000, 3_000_088, "d54953d143f9bace82cf285e735fe474f1a3f0617bfe4dd1429fc094d76f30b4"),
];
/// Octets of the header and of a tag.
const HEADER: usize = 40;
const TAG: usize = 16;

fn counted(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn material() -> SymmetricKey {
    SymmetricKey::new(std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn sealed_in(plain: &[u8], piece: usize) -> Vec<u8> {
    let recipients = keys().map(|key| key.public().clone());
    let mut out = Vec::new();
    let mut sealer = Sealer::new(&recipients).unwrap().stream(ASSOCIATED, &mut out).unwrap();
    for piece in plain.chunks(piece) {
        sealer.push(piece, &mut out).unwrap();
    }
    sealer.finish(&mut out).unwrap();
    out
}

fn opened_in(key: &PrivateKey, associated: &[u8], sealed: &[u8], piece: usize) -> Result<Vec<u8>, OpenError> {
    let mut opener = StreamOpener::new(key, associated);
    let mut out = Vec::new();
    for piece in sealed.chunks(piece) {
        opener.push(piece, &mut out)?;
    }
    opener.finish(&mut out)?;
    Ok(out)
}

fn opened(sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let [key, _] = keys();
    opened_in(&key, ASSOCIATED, sealed, 100_000)
}

/// Where the header of the segments begins.
fn header_at(sealed: &[u8]) -> usize {
    4 + usize::try_from(u32::from_be_bytes(sealed[..4].try_into().unwrap())).unwrap()
}

/// The stream with another message before its segments.
fn with_message(message: &[u8], sealed: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&length, message, &sealed[header_at(sealed)..]].concat()
}

#[test]
fn opens_what_tink_and_pycose_sealed() {
    for key in keys() {
        assert_eq!(opened_in(&key, ASSOCIATED, &unhex(TINK), 7).unwrap(), PLAIN);
    }
    assert_eq!(opened_in(&stranger(), ASSOCIATED, &unhex(TINK), 7), Err(OpenError::NotARecipient));
}

#[test]
fn segments_are_those_that_tink_opened() {
    let header: [u8; HEADER] =
        std::array::from_fn(|at| if at == 0 { 40 } else { 99 + u8::try_from(at).unwrap() });
    for (octets, sealed_octets, digest) in DIGESTS {
        let plain = counted(octets);
        let mut out = header.to_vec();
        let mut encryption = Encryption::with_header(&material(), &header, ASSOCIATED).unwrap();
        plain.chunks(70_001).for_each(|piece| encryption.push(piece, &mut out).unwrap());
        encryption.finish(&mut out).unwrap();
        assert_eq!((out.len(), &*Digest::of(&out).to_string()), (sealed_octets, digest), "{octets}");

        let mut back = Vec::new();
        let mut decryption = Decryption::new(&material(), &header, ASSOCIATED).unwrap();
        out[HEADER..].chunks(70_001).for_each(|piece| decryption.push(piece, &mut back).unwrap());
        decryption.finish(&mut back).unwrap();
        assert!(back == plain, "{octets}");
    }
}

#[test]
fn every_recipient_opens_a_stream_and_nobody_else() {
    let plain = counted(2_500_000);
    let sealed = sealed_in(&plain, 300_000);
    for key in keys() {
        assert!(opened_in(&key, ASSOCIATED, &sealed, 1 << 20).unwrap() == plain);
        let other = opened_in(&key, b"flow=billing", &sealed, 1 << 20);
        assert_eq!(other, Err(OpenError::NotAuthentic));
    }
    assert_eq!(opened_in(&stranger(), ASSOCIATED, &sealed, 1 << 20), Err(OpenError::NotARecipient));
    assert_ne!(sealed, sealed_in(&plain, 300_000), "nothing repeats");
}

#[test]
fn a_stream_that_was_cut_off_anywhere_never_ends_well() {
    let sealed = sealed_in(&counted(2_500_000), 1 << 20);
    let first = header_at(&sealed);
    let boundaries = [first, first + SEGMENT_OCTETS, first + 2 * SEGMENT_OCTETS, sealed.len()];
    let cuts = [0, 3, 4, 5, first - 1, first + HEADER - 1, first + HEADER].into_iter();
    let cuts = cuts.chain(boundaries.into_iter().flat_map(|at| [at - TAG, at - 1, at, at + 1]));
    for cut in cuts.filter(|cut| *cut < sealed.len()) {
        assert!(opened(&sealed[..cut]).is_err(), "{cut}");
    }
    let longer = [&sealed[..], b"\0"].concat();
    assert_eq!(opened(&longer), Err(OpenError::NotAuthentic));
}

#[test]
fn segments_that_were_moved_left_out_repeated_or_exchanged_do_not_open() {
    // Segments of one length each: all but the first, which has the header.
    let plain = counted(4 * SEGMENT_OCTETS);
    let [sealed, other] = [sealed_in(&plain, 1 << 20), sealed_in(&plain, 1 << 20)];
    let at = header_at(&sealed);
    let segment = |of: &[u8], n: usize| {
        let end = (at + (n + 1) * SEGMENT_OCTETS).min(of.len());
        of[at + n * SEGMENT_OCTETS..end].to_vec()
    };
    let stream = |numbers: &[usize]| {
        let segments = numbers.iter().map(|n| segment(&sealed, *n));
        [&sealed[..at], &segments.collect::<Vec<_>>().concat()].concat()
    };
    assert!(opened(&stream(&[0, 1, 2, 3, 4])).unwrap() == plain);
    for moved in [&[0, 2, 1, 3, 4][..], &[0, 1, 3, 4], &[0, 1, 1, 2, 3, 4], &[0, 4], &[0, 1, 2, 3]] {
        assert_eq!(opened(&stream(moved)), Err(OpenError::NotAuthentic), "{moved:?}");
    }
    let mut exchanged = sealed.clone();
    exchanged[at + SEGMENT_OCTETS..at + 2 * SEGMENT_OCTETS].copy_from_slice(&segment(&other, 1));
    assert_eq!(opened(&exchanged), Err(OpenError::NotAuthentic));
    for octet in [at + 1, at + 35, at + HEADER] {
        let mut altered = sealed.clone();
        altered[octet] ^= 1;
        assert_eq!(opened(&altered), Err(OpenError::NotAuthentic), "{octet}");
    }
    let foreign = with_message(&other[4..header_at(&other)], &sealed);
    assert_eq!(opened(&foreign), Err(OpenError::NotAuthentic), "the message of another stream");
}

#[test]
fn nothing_comes_out_of_a_segment_that_was_altered_nor_after_it() {
    let [key, _] = keys();
    let plain = counted(3_500_000);
    let mut sealed = sealed_in(&plain, 1 << 20);
    let at = header_at(&sealed) + SEGMENT_OCTETS + 5;
    sealed[at] ^= 1;
    let mut opener = StreamOpener::new(&key, ASSOCIATED);
    let mut out = Vec::new();
    let outcomes: Vec<_> = sealed.chunks(1 << 19).map(|piece| opener.push(piece, &mut out)).collect();
    assert!(plain.starts_with(&out));
    assert_eq!(out.len(), SEGMENT_OCTETS - HEADER - TAG, "the first segment and nothing else");
    assert_eq!(outcomes.last(), Some(&Err(OpenError::NotAuthentic)));
    assert_eq!(opener.finish(&mut out), Err(OpenError::NotAuthentic));
}

#[test]
fn a_key_is_not_taken_for_a_body_nor_a_body_for_a_key() {
    let [key, _] = keys();
    let sealed = sealed_in(b"body", 4);
    let message = &sealed[4..header_at(&sealed)];
    let refused = OpenError::Unsupported("the key of a stream in the place of a body");
    assert_eq!(open(&key, ASSOCIATED, message), Err(refused));

    let recipients = keys().map(|key| key.public().clone());
    let body = seal(&recipients, ASSOCIATED, &[7; 32]).unwrap();
    let refused = OpenError::NotAStream("the message before it does not say that it has its key");
    assert_eq!(opened(&with_message(&body, &sealed)), Err(refused));
    let protected = || HeaderBuilder::new().content_type(KEY_CONTENT_TYPE.to_owned());
    let short = Sealer::new(&recipients).unwrap().seal_as(protected(), ASSOCIATED, &[7; 31]).unwrap();
    let refused = OpenError::NotAStream("its key has not 32 octets");
    assert_eq!(opened(&with_message(&short, &sealed)), Err(refused));
}

#[test]
fn what_is_before_the_segments_is_bounded() {
    let sealed = sealed_in(b"body", 4);
    let mut long = sealed.clone();
    long[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(opened(&long), Err(OpenError::NotAStream("the message with its key is too long")));
    let mut header = sealed.clone();
    header[header_at(&sealed)] = 24;
    assert_eq!(
        opened(&header),
        Err(OpenError::NotAStream("the header of its segments is none of 40 octets"))
    );

    let [a, _] = keys();
    let most = vec![a.public().clone(); RECIPIENTS_MAX];
    let mut out = Vec::new();
    Sealer::new(&most).unwrap().stream(ASSOCIATED, &mut out).unwrap().finish(&mut out).unwrap();
    assert!(header_at(&out) < KEY_MESSAGE_OCTETS_MAX / 4);
    assert_eq!(opened(&out).unwrap(), b"");
}

/// A quarter of a gibibyte, of which nothing is held but a segment on either side.
#[test]
fn a_long_stream_takes_no_more_memory_than_a_short_one() {
    const PIECES: usize = 256;
    let [key, other] = keys();
    let piece = counted(1 << 20);
    let (mut sealed, mut plain) = (Vec::new(), Vec::new());
    let recipients = [key.public().clone(), other.public().clone()];
    let mut sealer = Sealer::new(&recipients).unwrap().stream(b"", &mut sealed).unwrap();
    let mut opener = StreamOpener::new(&key, b"");
    let mut came = 0;
    for _ in 0..PIECES {
        sealer.push(&piece, &mut sealed).unwrap();
        opener.push(&sealed, &mut plain).unwrap();
        came += plain.len();
        sealed.clear();
        plain.clear();
    }
    sealer.finish(&mut sealed).unwrap();
    opener.push(&sealed, &mut plain).unwrap();
    opener.finish(&mut plain).unwrap();
    assert_eq!(came + plain.len(), PIECES << 20);
    assert!(sealed.capacity() <= 4 * SEGMENT_OCTETS && plain.capacity() <= 4 * SEGMENT_OCTETS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_sealed_opens_however_it_comes(octets in 0..2_200_000_usize, into in 1..1_500_000_usize,
                                             from in 1..1_500_000_usize) {
        let [_, key] = keys();
        let plain = counted(octets);
        let sealed = sealed_in(&plain, into);
        prop_assert!(opened_in(&key, ASSOCIATED, &sealed, from).unwrap() == plain);
    }

    #[test]
    fn no_octets_of_a_stream_panic(octets in proptest::collection::vec(any::<u8>(), 0..400), short in any::<bool>()) {
        let octets = if short { [&[0, 0, 0, 20][..], &octets].concat() } else { octets };
        prop_assert!(opened(&octets).is_err());
    }

    #[test]
    fn no_damaged_stream_panics_or_opens_as_something_else(at in 0..1000_usize, bit in 0..8_u8, cut in any::<bool>()) {
        let mut sealed = unhex(TINK);
        let at = at % sealed.len();
        if cut { sealed.truncate(at) } else { sealed[at] ^= 1 << bit }
        if let Ok(plain) = opened(&sealed) {
            prop_assert!(!cut);
            prop_assert_eq!(plain, PLAIN);
        }
    }
}
