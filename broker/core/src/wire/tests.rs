//! The examples of `WIRE.md` are the golden bytes; everything that is encoded can be decoded; anything may be fed to a decoder.

mod operators;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::control::{Goodbye, Hello, Limits, Welcome};
use super::large::*;
use super::publisher::{Ack, Durability, OpenPublisher, Publish, PublishedRecord, RecordRefused};
use super::subscription::{
    Deliver, DeliveredBody, Delivery, DeliveryRange, Nak, OpenStating, OpenSubscription, Settle, Term,
};
use super::*;
use crate::chain::{Receipt, StageOutcome};
use crate::limits;
use crate::record::{Attribute, ProducerId, ProducerPosition, Timestamp, TraceContext};
use crate::{Digest, Offset};

pub(crate) fn head() -> Head {
    Head {
        time: Timestamp(1_700_000_000_000),
        expires: None,
        deliver_after: None,
        key: Some("mri-1".into()),
        content_type: "text/plain".into(),
        attributes: vec![Attribute { name: "unit".into(), value: "K".into() }],
        labels: vec![],
        trace: Some(TraceContext { trace: [0x11; 16], span: [0x22; 8], flags: 1 }),
    }
}

fn receipt() -> Receipt {
    Receipt {
        input: Digest([0xaa; 32]),
        plan: Digest([0xbb; 32]),
        outcomes: vec![StageOutcome::Passed, StageOutcome::Replaced],
        output: Digest([0xcc; 32]),
    }
}

pub(crate) fn delivery(offset: u64, part: u16, parts: u16, body: &'static [u8]) -> Delivery {
    let head = Head { labels: vec!["device".parse().unwrap()], trace: None, ..head() };
    let body = DeliveredBody::Inline(Bytes::from_static(body));
    let offset = Offset(offset);
    Delivery { number: 41, offset, attempt: 1, part, parts, head, body, receipt: receipt() }
}

#[expect(clippy::needless_pass_by_value, reason = "frames are made where they are given")]
/// Encodes a frame and makes sure that it comes back.
fn example<F: Frame + Serialize + PartialEq + std::fmt::Debug>(
    name: &'static str,
    frame: F,
) -> (&'static str, Bytes) {
    let mut out = BytesMut::new();
    encode(&frame, &mut out).unwrap();
    let octets = out.freeze();
    assert_eq!(F::decode(&octets.slice(FRAME_LENGTH_OCTETS..)).unwrap(), frame, "{name}");
    (name, octets)
}

fn control_examples() -> Vec<(&'static str, Bytes)> {
    let welcome = Welcome {
        version: Version { major: 1, minor: 1 },
        principal: "spiffe://st-marys/device/mri-1".parse().unwrap(),
        limits: Limits::CURRENT,
    };
    let hello = Hello { versions: vec![Version { major: 1, minor: 1 }], agent: "example/1.0".into() };
    let refusal = Refusal::new(RefusalCode::UnknownPrincipal, "not in hilum.toml");
    vec![
        example("open-control", Open::Control(hello)),
        example("control-welcome", control::ToClient::Welcome(welcome)),
        example("control-refused", control::ToClient::Refused(refusal)),
        example("control-goodbye", control::ToClient::Goodbye(Goodbye { reason: "restart".into() })),
    ]
}

fn publisher_examples() -> Vec<(&'static str, Bytes)> {
    use publisher::{Opened, ToBroker, ToClient};
    let record = PublishedRecord { head: head(), body: Bytes::from_static(b"4.2") };
    let (expires, deliver_after) = (Some(Timestamp(1_700_000_600_000)), Some(Timestamp(1_700_000_060_000)));
    let bare = Head { expires, deliver_after, key: None, attributes: vec![], trace: None, ..head() };
    let second = PublishedRecord { head: bare, body: Bytes::from_static(b"4.3") };
    let credit = Credit { records: 1024, octets: 1 << 20 };
    let ack = Ack { through_sequence: 8, durability: Durability::Fsynced, last_offset: Some(Offset(300)) };
    let refusal = Refusal::new(RefusalCode::RefusedByPlugin, "no unit");
    vec![
        example(
            "open-publisher",
            Open::Publisher(OpenPublisher {
                flow: "device".parse().unwrap(),
                producer: ProducerId([0x5a; 16]),
                known_since: Some(Timestamp(1_700_000_000_000)),
            }),
        ),
        example(
            "publisher-opened",
            ToClient::Opened(Opened {
                last_sequence: 6,
                known_since: Timestamp(1_700_000_000_000),
                durability: Durability::Fsynced,
                credit,
            }),
        ),
        example(
            "publish",
            ToBroker::Publish(Publish { first_sequence: 7, records: vec![record.clone(), second] }),
        ),
        example("batch", ToBroker::Batch(Publish { first_sequence: 9, records: vec![record] })),
        example("ack", ToClient::Ack(ack)),
        example("record-refused", ToClient::RecordRefused(RecordRefused { sequence: 7, refusal })),
        example("publisher-grant", ToClient::Grant(Credit { records: 16, octets: 4096 })),
        example(
            "publisher-refused",
            ToClient::Refused(Refusal::retryable(RefusalCode::Unavailable, "stopping")),
        ),
    ]
}

fn subscription_examples() -> Vec<(&'static str, Bytes)> {
    use subscription::{Opened, ToBroker, ToClient};
    let large = DeliveredBody::Large { size: 500 << 20, digest: Digest([0xdd; 32]) };
    let deliveries = vec![delivery(300, 0, 2, b"4.2"), Delivery { body: large, ..delivery(300, 1, 2, b"") }];
    let range = |first, last| DeliveryRange { first, last };
    vec![
        example(
            "open-subscription",
            Open::Subscription(OpenSubscription {
                flow: "device".parse().unwrap(),
                subscription: "manufacturer".parse().unwrap(),
                credit: Credit { records: 256, octets: 1 << 20 },
                from: None,
            }),
        ),
        example(
            "open-subscription-from",
            Open::Subscription(OpenSubscription {
                flow: "device".parse().unwrap(),
                subscription: "manufacturer".parse().unwrap(),
                credit: Credit { records: 256, octets: 1 << 20 },
                from: Some(admin::SeekTo::Offset(Offset(200))),
            }),
        ),
        example(
            "open-subscription-stating",
            Open::StatingSubscription(OpenStating {
                open: OpenSubscription {
                    flow: "device".parse().unwrap(),
                    subscription: "manufacturer".parse().unwrap(),
                    credit: Credit { records: 256, octets: 1 << 20 },
                    from: None,
                },
                break_glass: "stroke".into(),
            }),
        ),
        example("subscription-opened", ToClient::Opened(Opened { cursor: Offset(298) })),
        example("deliver", ToClient::Deliver(Deliver { deliveries })),
        example("settle", ToBroker::Settle(Settle { acked: vec![range(38, 40), range(45, 45)] })),
        example("nak", ToBroker::Nak(Nak { deliveries: range(41, 41), delay: Some(5000) })),
        example(
            "term",
            ToBroker::Term(Term { deliveries: range(42, 42), reason: "unknown-patient".parse().unwrap() }),
        ),
        example("in-progress", ToBroker::InProgress(range(43, 44))),
        example("subscription-grant", ToBroker::Grant(Credit { records: 16, octets: 4096 })),
        example(
            "subscription-refused",
            ToClient::Refused(Refusal::retryable(RefusalCode::Busy, "has a reader")),
        ),
    ]
}

fn large_examples() -> Vec<(&'static str, Bytes)> {
    let position = ProducerPosition { producer: ProducerId([0x5b; 16]), sequence: 1 };
    let (flow, subscription) = ("imaging".parse().unwrap(), "radiology".parse().unwrap());
    let digest = Digest([0xdd; 32]);
    let ack = UploadAck { durability: Durability::Fsynced, offset: Some(Offset(12)) };
    let refusal = Refusal::new(RefusalCode::BodySize, "fewer octets");
    vec![
        example(
            "open-upload",
            Open::Upload(OpenUpload { flow, position, known_since: None, head: head(), size: 500 << 20 }),
        ),
        example(
            "upload-ready",
            UploadAnswer::Ready(UploadReady { from: 262_144, known_since: Timestamp(1_700_000_000_000) }),
        ),
        example("upload-ack", UploadAnswer::Ack(ack)),
        example("upload-refused", UploadAnswer::Refused(refusal)),
        example(
            "open-download",
            Open::Download(OpenDownload {
                flow: "imaging".parse().unwrap(),
                subscription,
                offset: Offset(12),
                part: 0,
                from: 0,
            }),
        ),
        example("download-start", DownloadAnswer::Start(DownloadStart { size: 500 << 20, digest })),
        example(
            "download-refused",
            DownloadAnswer::Refused(Refusal::new(RefusalCode::NoSuchDelivery, "settled")),
        ),
    ]
}

/// The longest items there can be, as many as a page takes, fit a frame.
#[test]
fn the_largest_pages_fit_a_frame() {
    use admin::*;
    let long = "x".repeat(limits::NAME_CHARS_MAX);
    let text = Short::new(&"\u{10ffff}".repeat(limits::REASON_CHARS_MAX));
    let domain = "spiffe://st-marys/";
    let source = format!("{domain}{}", "x".repeat(limits::SPIFFE_ID_OCTETS_MAX - domain.len()));
    let entry = QuarantineEntry {
        id: Offset(u64::MAX),
        time: Timestamp(u64::MAX),
        delivery: Some((long.parse().unwrap(), Offset(u64::MAX))),
        stage: Some(long.parse().unwrap()),
        code: text.clone(),
        reason: text.clone(),
        octets: u64::MAX,
        source: source.parse().unwrap(),
    };
    let hold = HoldStatus {
        id: crate::control::HoldId(u64::MAX),
        flow: long.parse().unwrap(),
        has_key: true,
        key: Some("k".repeat(limits::KEY_OCTETS_MAX)),
        reason: text,
        by: source.parse().unwrap(),
        time: Timestamp(u64::MAX),
    };
    let entries = vec![entry; limits::ADMIN_PAGE_ITEMS_MAX];
    example("page", ToClient::Quarantine(QuarantinePage { entries, next: Some(Offset(u64::MAX)) }));
    example(
        "page",
        ToClient::Holds(HoldPage { holds: vec![hold; limits::ADMIN_PAGE_ITEMS_MAX], more: true }),
    );
    let part = BodyPart { octets: Bytes::from(vec![7; limits::BLOB_CHUNK_OCTETS]) };
    example("body", ToClient::Body(part));
}

/// As `WIRE.md` shows octets: the length, then 32 octets a line.
fn hex(octets: &[u8]) -> String {
    let text = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    let (length, frame) = octets.split_at(FRAME_LENGTH_OCTETS);
    let lines: Vec<String> = frame.chunks(32).map(text).collect();
    format!("{}\n{}\n", text(length), lines.join("\n"))
}

/// The specification's examples are what this code sends. `UPDATE_EXPECT=1` writes them anew.
#[test]
fn the_specification_shows_what_is_sent() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/WIRE.md");
    let specification = std::fs::read_to_string(path).unwrap();
    let examples = [
        control_examples(),
        publisher_examples(),
        subscription_examples(),
        large_examples(),
        operators::examples(),
    ]
    .concat();
    let mut parts = specification.split("```hex ");
    let mut written = parts.next().unwrap().to_owned();
    let mut shown = Vec::new();
    for part in parts {
        let (name, rest) = part.split_once('\n').unwrap();
        let (old, rest) = rest.split_once("```").unwrap();
        let example = examples.iter().find(|(known, _)| *known == name);
        let (_, octets) = example.unwrap_or_else(|| panic!("WIRE.md shows `{name}`, which no test encodes"));
        if std::env::var_os("UPDATE_EXPECT").is_none() {
            assert_eq!(old, hex(octets), "WIRE.md is wrong about `{name}`");
        }
        written += &format!("```hex {name}\n{}```{rest}", hex(octets));
        shown.push(name.to_owned());
    }
    for (name, _) in &examples {
        assert_eq!(shown.iter().filter(|n| n == name).count(), 1, "WIRE.md shows `{name}` once");
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, written).unwrap();
    }
}

/// The tables of codes in the specification are complete and right.
#[test]
fn the_specification_lists_every_code() {
    let specification = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/WIRE.md")).unwrap();
    let refusals = RefusalCode::ALL.iter().map(|code| (u16::from(*code), format!("{code:?}")));
    let closes = CloseCode::ALL.iter().map(|code| (u16::from(*code), format!("{code:?}")));
    for (number, name) in refusals.chain(closes) {
        let row = format!("| {number} | `{name}` |");
        assert!(specification.contains(&row), "WIRE.md has no row `{row}`");
    }
}

#[test]
fn unknown_codes_survive() {
    assert_eq!(u16::from(RefusalCode::from(999)), 999);
    assert_eq!(CloseCode::from_quic(u64::MAX), CloseCode::Other(u16::MAX));
    for code in RefusalCode::ALL {
        assert_eq!(RefusalCode::from(u16::from(*code)), *code);
    }
    for code in CloseCode::ALL {
        assert_eq!(CloseCode::from_quic(u32::from(*code).into()), *code);
    }
}

#[test]
fn an_announced_giant_is_refused_and_stays_so() {
    let mut decoder = FrameDecoder::new();
    let octets = u32::try_from(limits::FRAME_OCTETS_MAX + 1).unwrap();
    decoder.push(&octets.to_le_bytes());
    let error = FrameError::TooLong { octets: octets.into() };
    assert_eq!(decoder.next_frame(), Err(error.clone()));
    decoder.push(&[0; 64]);
    assert_eq!(decoder.next_frame(), Err(error));
}

#[test]
fn a_value_over_the_limit_leaves_the_buffer_alone() {
    let body = Bytes::from(vec![0; limits::FRAME_OCTETS_MAX]);
    let records = vec![PublishedRecord { head: head(), body }];
    let mut out = BytesMut::from(&b"before"[..]);
    let result = encode(&publisher::ToBroker::Publish(Publish { first_sequence: 1, records }), &mut out);
    assert!(matches!(result, Err(FrameError::TooLong { .. })));
    assert_eq!(&out[..], b"before");
}

#[test]
fn lists_and_trailing_octets_are_bounded() {
    let empty = PublishedRecord { head: head(), body: Bytes::new() };
    let publish = |count| {
        publisher::ToBroker::Publish(Publish { first_sequence: 1, records: vec![empty.clone(); count] })
    };
    let decode = |count, more: &[u8]| {
        let mut out = BytesMut::new();
        encode(&publish(count), &mut out).unwrap();
        out.extend_from_slice(more);
        publisher::ToBroker::decode(&out.freeze().slice(FRAME_LENGTH_OCTETS..))
    };
    let malformed = Err(FrameError::Malformed { expected: "publisher::ToBroker" });
    assert!(decode(limits::PUBLISH_RECORDS_MAX, b"").is_ok());
    assert_eq!(decode(limits::PUBLISH_RECORDS_MAX + 1, b""), malformed);
    assert_eq!(decode(1, b"x"), malformed);
    // A list that announces 2^32 elements.
    assert_eq!(publisher::ToBroker::decode(&Bytes::from_static(&[0, 1, 255, 255, 255, 255, 15])), malformed);
}

#[test]
fn bodies_share_the_memory_of_their_frame() {
    let mut out = BytesMut::new();
    let record = PublishedRecord { head: head(), body: Bytes::from_static(b"body") };
    encode(&publisher::ToBroker::Publish(Publish { first_sequence: 1, records: vec![record] }), &mut out)
        .unwrap();
    let frame = out.freeze().slice(FRAME_LENGTH_OCTETS..);
    let publisher::ToBroker::Publish(publish) = publisher::ToBroker::decode(&frame).unwrap() else {
        panic!("a publish frame")
    };
    assert!(frame.as_ptr_range().contains(&publish.records[0].body.as_ptr()));
}

#[test]
fn reasons_are_cut_to_the_limit() {
    let refusal = Refusal::new(RefusalCode::Denied, &"é".repeat(1000));
    assert_eq!(refusal.reason.chars().count(), limits::REASON_CHARS_MAX);
    example("refusal", control::ToClient::Refused(refusal.clone()));
    let long = Refusal { reason: "é".repeat(limits::REASON_CHARS_MAX + 1), ..refusal };
    let mut out = BytesMut::new();
    encode(&control::ToClient::Refused(long), &mut out).unwrap();
    assert!(control::ToClient::decode(&out.freeze().slice(4..)).is_err());
}

fn any_head() -> impl Strategy<Value = Head> {
    let attribute = ("[!-~]{1,64}", "\\PC{0,80}").prop_map(|(name, value)| Attribute { name, value });
    let label = "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|label| label.parse().unwrap());
    let trace = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>());
    let time = || proptest::option::of(any::<u64>().prop_map(Timestamp));
    (
        (any::<u64>(), time(), time()),
        proptest::option::of("\\PC{0,40}"),
        "[a-z]{1,20}/[a-z.+-]{1,40}",
        proptest::collection::vec(attribute, 0..=limits::ATTRIBUTES_MAX),
        proptest::collection::vec(label, 0..=limits::LABELS_MAX),
        proptest::option::of(trace),
    )
        .prop_map(|((time, expires, deliver_after), key, content_type, attributes, labels, trace)| {
            Head {
                time: Timestamp(time),
                expires,
                deliver_after,
                key,
                content_type,
                attributes,
                labels,
                trace: trace.map(|(trace, span, flags)| TraceContext { trace, span, flags }),
            }
        })
}

fn any_body() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..600).prop_map(Bytes::from)
}

pub(crate) fn any_record() -> impl Strategy<Value = PublishedRecord> {
    (any_head(), any_body()).prop_map(|(head, body)| PublishedRecord { head, body })
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    let body = prop_oneof![
        any_body().prop_map(DeliveredBody::Inline),
        (any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(size, digest)| DeliveredBody::Large { size, digest: Digest(digest) }),
    ];
    (any::<u64>(), any::<u16>(), any::<u16>(), any_head(), body).prop_map(
        |(offset, part, parts, head, body)| Delivery {
            number: offset / 2,
            offset: Offset(offset),
            attempt: u32::from(part),
            part,
            parts,
            head,
            body,
            receipt: receipt(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back(first_sequence in any::<u64>(), records in proptest::collection::vec(any_record(), 0..8)) {
        example("publish", publisher::ToBroker::Publish(Publish { first_sequence, records }));
    }

    #[test]
    fn deliveries_come_back(deliveries in proptest::collection::vec(any_delivery(), 0..8)) {
        example("deliver", subscription::ToClient::Deliver(Deliver { deliveries }));
    }

    #[test]
    fn the_measure_of_a_record_is_an_upper_bound(record in any_record()) {
        let encoded = postcard::to_allocvec(&record).unwrap().len();
        let bound = encoded_octets_max(&record.head, record.body.len());
        prop_assert!(encoded <= bound, "{encoded} octets, measured {bound}");
    }

    #[test]
    fn frames_come_out_however_the_octets_are_cut(
        records in proptest::collection::vec(any_record(), 1..6),
        cuts in proptest::collection::vec(1_usize..400, 1..20),
    ) {
        let frames: Vec<_> = records
            .into_iter()
            .map(|record| publisher::ToBroker::Publish(Publish { first_sequence: 1, records: vec![record] }))
            .collect();
        let mut octets = BytesMut::new();
        frames.iter().for_each(|frame| encode(frame, &mut octets).unwrap());
        let (mut decoder, mut received, mut rest) = (FrameDecoder::new(), Vec::new(), &octets[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(rest.len().min(*cut));
            decoder.push(chunk);
            rest = after;
            while let Some(frame) = decoder.next_frame().unwrap() {
                received.push(publisher::ToBroker::decode(&frame).unwrap());
            }
        }
        prop_assert_eq!(received, frames);
        prop_assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn anything_may_be_decoded(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        decode_as_everything(&Bytes::from(octets));
    }

    #[test]
    fn a_damaged_frame_may_be_decoded(
        records in proptest::collection::vec(any_record(), 1..3),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut out = BytesMut::new();
        encode(&publisher::ToBroker::Publish(Publish { first_sequence: 1, records }), &mut out).unwrap();
        for (at, octet) in damage {
            let at = at.index(out.len());
            out[at] = octet;
        }
        decode_as_everything(&out.freeze().slice(FRAME_LENGTH_OCTETS..));
    }
}

/// What matters is that it returns.
fn decode_as_everything(octets: &Bytes) {
    let decoded = [
        Open::decode(octets).is_ok(),
        control::ToClient::decode(octets).is_ok(),
        publisher::ToBroker::decode(octets).is_ok(),
        publisher::ToClient::decode(octets).is_ok(),
        subscription::ToBroker::decode(octets).is_ok(),
        subscription::ToClient::decode(octets).is_ok(),
        UploadAnswer::decode(octets).is_ok(),
        DownloadAnswer::decode(octets).is_ok(),
        admin::ToBroker::decode(octets).is_ok(),
        admin::ToClient::decode(octets).is_ok(),
    ];
    std::hint::black_box(decoded);
}
