//! The wire protocol's state machines: each against a peer that sends anything, and pairs of two honest sides, which never
//! break the protocol whatever they are told to do.

mod hostile;
mod pairs;

use bytes::{Bytes, BytesMut};
use hilum_core::chain::Receipt;
use hilum_core::record::ProducerId;
use hilum_core::wire::publisher::OpenPublisher;
use hilum_core::wire::subscription::{DeliveredBody, Delivery, OpenSubscription};
use hilum_core::wire::{Credit, FRAME_LENGTH_OCTETS, Frame, FrameDecoder, Refusal, RefusalCode};
use hilum_core::{Digest, FlowName, Head, Offset, Timestamp};

use crate::memory;
use crate::script::Script;
use crate::wire::examples;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// The first octet chooses what is driven, the rest is the script.
pub fn check(octets: &[u8]) {
    let mut script = Script(octets);
    match script.octet() % 12 {
        0..=2 => hostile::client(&mut script),
        3 => hostile::control(&mut script),
        4 => hostile::publisher(&mut script),
        5 => hostile::subscription(&mut script),
        6 => hostile::upload(&mut script),
        7 => hostile::download(&mut script),
        8 => hostile::admin(&mut script),
        9 => pairs::publisher(&mut script),
        10 => pairs::subscription(&mut script),
        _ => pairs::bodies(&mut script),
    }
}

fn flow() -> FlowName {
    "imaging".parse().expect("a name")
}

fn refusal() -> Refusal {
    Refusal::retryable(RefusalCode::Overloaded, "later")
}

fn credit(script: &mut Script<'_>) -> Credit {
    Credit { records: u32::try_from(script.number()).unwrap_or(u32::MAX), octets: script.number() }
}

/// Credit with which something can be sent.
fn some_credit(script: &mut Script<'_>) -> Credit {
    Credit { records: u32::from(script.octet() % 8) + 1, octets: u64::from(script.short()) + 1 }
}

fn open_publisher() -> OpenPublisher {
    OpenPublisher { flow: flow(), producer: ProducerId([7; 16]), known_since: None }
}

fn open_subscription(credit: Credit) -> OpenSubscription {
    OpenSubscription { flow: flow(), subscription: "radiology".parse().expect("a name"), credit, from: None }
}

fn head() -> Head {
    Head {
        time: Timestamp(1_700_000_000_000),
        expires: None,
        deliver_after: None,
        key: Some("ward-7".into()),
        content_type: "text/plain".into(),
        attributes: Vec::new(),
        labels: Vec::new(),
        trace: None,
    }
}

fn body(octets: u16) -> Bytes {
    Bytes::from(vec![7; octets.into()])
}

/// The parts of one record.
fn parts(offset: Offset, attempt: u32, parts: u16, octets: u16) -> Vec<Delivery> {
    let digest = Digest([1; 32]);
    let receipt = Receipt { input: digest, plan: digest, outcomes: Vec::new(), output: digest };
    let part = |part| Delivery {
        number: 0,
        offset,
        attempt,
        part,
        parts,
        head: head(),
        body: DeliveredBody::Inline(body(octets)),
        receipt: receipt.clone(),
    };
    (0..parts).map(part).collect()
}

/// Whatever a machine sends is whole frames of its kind.
fn check_sent<F: Frame>(out: &BytesMut) {
    let mut decoder = FrameDecoder::new();
    decoder.push(out);
    while let Some(frame) = decoder.next_frame().expect("we send frames") {
        assert!(F::decode(&frame).is_ok(), "we send frames of the right kind");
    }
    assert!(!decoder.is_mid_frame(), "we send whole frames");
}

/// A stream of each kind as the specification shows its frames, a frame of the broker's to each client, and scripts for pairs.
pub fn seeds() -> Vec<Vec<u8>> {
    let framed = |example: &Vec<u8>| {
        let frame = &example[FRAME_LENGTH_OCTETS..];
        let length = u16::try_from(frame.len()).expect("examples are short").to_le_bytes();
        [&[1][..], &length, frame].concat()
    };
    let frames: Vec<Vec<u8>> = examples().iter().map(framed).collect();
    let mut seeds = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let following = frames.get(index + 1).cloned().unwrap_or_default();
        // Opened where it is a request, then acted on, and the next example after it.
        let acted = [frame.as_slice(), &[3, 0, 5, 9, 200, 3, 1], &following, &[3, 2, 1, 3, 3, 1, 2]].concat();
        seeds.extend([0, 3, 4, 5, 6, 7, 8].map(|choice| [&[choice][..], &acted].concat()));
    }
    let pairs: [&[u8]; 3] = [
        &[
            9, 1, 3, 0, 4, 0, 100, 0, 0, 200, 0, 1, 9, 2, 30, 3, 1, 4, 2, 2, 30, 5, 1, 9, 1, 30, 3, 9, 6, 1,
            30,
        ],
        &[
            10, 4, 0, 9, 0, 0, 50, 0, 1, 0, 1, 60, 0, 2, 2, 30, 3, 1, 1, 30, 4, 2, 5, 3, 6, 2, 7, 1, 9, 0, 1,
            30, 8,
        ],
        &[11, 0, 40, 0, 10, 3, 20, 5, 40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18],
    ];
    seeds.extend(pairs.map(<[u8]>::to_vec));
    seeds
}
