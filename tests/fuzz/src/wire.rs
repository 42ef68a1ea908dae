//! Frames of the wire protocol: each type by itself, and frames put together of octets cut anywhere.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use hilum_core::limits::FRAME_OCTETS_MAX;
use hilum_core::wire::{
    FRAME_LENGTH_OCTETS, Frame, FrameDecoder, Open, admin, control, encode, large, publisher, subscription,
};
use serde::Serialize;

use crate::memory;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// A decoder, which the first octet chooses.
type Decoder = fn(&Bytes);

const DECODERS: [Decoder; 11] = [
    come_back::<Open>,
    come_back::<control::ToClient>,
    come_back::<publisher::ToBroker>,
    come_back::<publisher::ToClient>,
    come_back::<subscription::ToBroker>,
    come_back::<subscription::ToClient>,
    come_back::<large::UploadAnswer>,
    come_back::<large::DownloadAnswer>,
    come_back::<admin::ToBroker>,
    come_back::<admin::ToClient>,
    frames,
];

/// What decodes, encodes, and decodes to the same. Frames come out of a stream however it is cut.
pub fn check(octets: &[u8]) {
    let Some((choice, octets)) = octets.split_first() else { return };
    if let Some(decoder) = DECODERS.get(usize::from(*choice)) {
        decoder(&Bytes::copy_from_slice(octets));
    }
}

fn come_back<F: Frame + Serialize + PartialEq + Debug>(octets: &Bytes) {
    let Ok(frame) = F::decode(octets) else { return };
    let mut out = BytesMut::new();
    encode(&frame, &mut out).expect("what came in one frame fits one");
    let out = out.freeze().slice(FRAME_LENGTH_OCTETS..);
    assert!(octets.len() > FRAME_OCTETS_MAX || out.len() <= octets.len(), "we write the shortest form");
    assert_eq!(F::decode(&out).as_ref(), Ok(&frame));
}

/// The first octet says how many octets come at a time.
fn frames(octets: &Bytes) {
    let Some((step, stream)) = octets.split_first() else { return };
    let (whole, whole_failed) = taken(&[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*step).max(1)).collect();
    let (cut, cut_failed) = taken(&pieces);
    assert_eq!((whole, whole_failed), (cut, cut_failed));
}

fn taken(pieces: &[&[u8]]) -> (Vec<Bytes>, bool) {
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    decoder.push(piece);
                    assert_eq!(decoder.next_frame(), Err(error), "an error stays");
                    return (frames, true);
                }
            }
        }
    }
    (frames, false)
}

/// The frames that the specification shows, as every type that reads them, and all of them as one stream.
pub fn seeds() -> Vec<Vec<u8>> {
    let examples = examples();
    let decodes: [fn(&Bytes) -> bool; 10] = [
        |octets| Open::decode(octets).is_ok(),
        |octets| control::ToClient::decode(octets).is_ok(),
        |octets| publisher::ToBroker::decode(octets).is_ok(),
        |octets| publisher::ToClient::decode(octets).is_ok(),
        |octets| subscription::ToBroker::decode(octets).is_ok(),
        |octets| subscription::ToClient::decode(octets).is_ok(),
        |octets| large::UploadAnswer::decode(octets).is_ok(),
        |octets| large::DownloadAnswer::decode(octets).is_ok(),
        |octets| admin::ToBroker::decode(octets).is_ok(),
        |octets| admin::ToClient::decode(octets).is_ok(),
    ];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for example in &examples {
        let frame = Bytes::copy_from_slice(&example[FRAME_LENGTH_OCTETS..]);
        let fitting = (0..).zip(&decodes).filter(|(_, decodes)| decodes(&frame));
        seeds.extend(fitting.map(|(choice, _)| [&[choice][..], &frame].concat()));
    }
    seeds.push([vec![10, 7], examples.concat()].concat());
    seeds
}

/// The frames that `WIRE.md` shows, each with its length.
pub(crate) fn examples() -> Vec<Vec<u8>> {
    let specification = include_str!("../../../broker/core/WIRE.md");
    let blocks = specification.split("```hex ").skip(1);
    blocks
        .filter_map(|block| block.split_once('\n')?.1.split_once("```"))
        .map(|(hex, _)| unhex(hex))
        .collect()
}

/// The octets of hexadecimal digits with white space anywhere.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| u8::try_from((digit as char).to_digit(16).expect("a digit")).expect("below 16");
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}
