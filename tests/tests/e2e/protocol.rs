//! Clients with a good certificate that break the protocol, or ask for what is not theirs.

use bytes::{Bytes, BytesMut};
use hilum_client::{OpenError, RefusalCode, StreamError};
use hilum_core::limits::FRAME_OCTETS_MAX;
use hilum_core::record::ProducerId;
use hilum_core::session::{ControlClient, Machine};
use hilum_core::wire::control::{Hello, ToClient};
use hilum_core::wire::publisher::OpenPublisher;
use hilum_core::wire::subscription::{self, OpenStating, OpenSubscription};
use hilum_core::wire::{CloseCode, Frame, FrameDecoder, Open, Version, encode};
use hilum_tests::{Flow, raw};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};

use crate::support::{Scene, name, says};

/// A frame of four octets that are no value of any kind.
const GARBAGE: [u8; 8] = [4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_post_quantum_for_who_wants_no_other() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let hybrid = rustls::NamedGroup::X25519MLKEM768;
    assert_eq!(provider.kx_groups[0].name(), hybrid, "it is what both sides prefer");
    provider.kx_groups.retain(|group| group.name() == hybrid);
    let address = scene.broker.address();
    let (_endpoint, connection) = raw::connect_with(provider, &scene.hospital, address, "scanner").await;
    let _control = greet(&connection).await;
}

#[tokio::test]
async fn garbage_instead_of_a_hello() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let (_endpoint, connection) = raw::connect(&scene.hospital, scene.broker.address(), "scanner").await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&GARBAGE).await.unwrap();
    assert_eq!(told(&connection).await, (CloseCode::Malformed, "the frame does not decode as Open".into()));
    scene.lost_nothing().await;
    let of_principal = "principal=spiffe://test/device/scanner";
    says(&scene.stop(), &["its client broke the protocol", "does not decode as Open", of_principal]);
}

#[tokio::test]
async fn garbage_in_the_midst_of_publishing() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let (_endpoint, connection) = raw::connect(&scene.hospital, scene.broker.address(), "scanner").await;
    let _control = greet(&connection).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let open = OpenPublisher { flow: name("records"), producer: ProducerId([7; 16]), known_since: None };
    send.write_all(&frame(&Open::Publisher(open))).await.unwrap();
    first_frame(&mut recv).await;
    send.write_all(&GARBAGE).await.unwrap();
    let (code, reason) = told(&connection).await;
    assert_eq!(code, CloseCode::Malformed);
    says(&reason, &["does not decode as publisher::ToBroker"]);
    scene.lost_nothing().await;
    says(&scene.stop(), &["its client broke the protocol", "does not decode as publisher::ToBroker"]);
}

#[tokio::test]
async fn a_frame_that_announces_more_than_a_frame_may_have() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let octets = u32::try_from(FRAME_OCTETS_MAX + 1).unwrap();
    let expected = format!("a frame of {octets} octets is over the limit of {FRAME_OCTETS_MAX}");
    for is_first in [true, false] {
        let (_endpoint, connection) = raw::connect(&scene.hospital, scene.broker.address(), "scanner").await;
        let _control = if is_first { None } else { Some(greet(&connection).await) };
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&octets.to_le_bytes()).await.unwrap();
        assert_eq!(told(&connection).await, (CloseCode::FrameTooLong, expected.clone()));
    }
    scene.lost_nothing().await;
    let log = scene.stop();
    says(&log, &["its client broke the protocol", &expected]);
    assert_eq!(log.matches(&expected).count(), 2, "{log}");
}

#[tokio::test]
async fn a_reason_for_breaking_the_glass_that_is_no_code() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let (_endpoint, connection) = raw::connect(&scene.hospital, scene.broker.address(), "reader").await;
    let _control = greet(&connection).await;
    for break_glass in ["Doe^Jane".to_owned(), "4711".to_owned(), "x".repeat(65), String::new()] {
        let (flow, subscription) = (name("records"), name("all"));
        let open = OpenSubscription { flow, subscription, credit: crate::support::CREDIT, from: None };
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let stating = OpenStating { open, break_glass };
        send.write_all(&frame(&Open::StatingSubscription(stating))).await.unwrap();
        let answer = subscription::ToClient::decode(&first_frame(&mut recv).await).unwrap();
        let subscription::ToClient::Refused(refusal) = answer else { panic!("{answer:?}") };
        assert_eq!((refusal.code, refusal.retryable), (RefusalCode::InvalidRecord, false));
        says(&refusal.reason, &["the reason for breaking the glass is no code", "1 to 64 characters"]);
        assert!(!refusal.reason.contains("Doe"));
    }
    scene.lost_nothing().await;
    assert!(!scene.stop().contains("Doe"), "what may be about a patient is not in the log");
}

#[tokio::test]
async fn a_version_that_nobody_speaks() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let (_endpoint, connection) = raw::connect(&scene.hospital, scene.broker.address(), "scanner").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let versions = vec![Version { major: 9, minor: 3 }, Version { major: 8, minor: 0 }];
    send.write_all(&frame(&Open::Control(Hello { versions, agent: "tomorrow/9".into() }))).await.unwrap();
    let ToClient::Refused(refusal) = ToClient::decode(&first_frame(&mut recv).await).unwrap() else {
        panic!("welcomed");
    };
    assert_eq!((refusal.code, refusal.retryable), (RefusalCode::Version, false));
    assert_eq!(refusal.reason, "the client speaks hilum 9.3, 8.0, this broker speaks hilum 1.1");
    assert_eq!(told(&connection).await.0, CloseCode::Version);
    scene.lost_nothing().await;
    says(&scene.stop(), &["no common version", "9.3", "spiffe://test/device/scanner"]);
}

#[tokio::test]
async fn what_is_not_there_and_what_policy_denies() {
    let scene = Scene::new(&[Flow::plain()]).await;
    let (scanner, reader) = (scene.connect("scanner").await, scene.connect("reader").await);
    let credit = crate::support::CREDIT;
    let cases = [
        (scanner.publisher(&name("nowhere")).await.unwrap_err(), "unknown flow", "no flow `nowhere`"),
        (
            reader.subscribe(&name("nowhere"), &name("all"), credit).await.unwrap_err(),
            "unknown flow",
            "no flow `nowhere`",
        ),
        (
            reader.subscribe(&name("records"), &name("some"), credit).await.unwrap_err(),
            "unknown subscription",
            "flow `records` has no subscription `some`",
        ),
        (reader.publisher(&name("records")).await.unwrap_err(), "denied", "no rule lets stakeholder `ward`"),
        (
            scanner.subscribe(&name("records"), &name("all"), credit).await.unwrap_err(),
            "denied",
            "no rule lets stakeholder `clinic`",
        ),
    ];
    let reasons: Vec<&str> = cases.iter().map(|(_, _, reason)| *reason).collect();
    for (error, code, reason) in &cases {
        says(&error.to_string(), &[&format!("flow `{}`", error.flow), code, reason]);
        let OpenError { source: StreamError::Refused(refusal), .. } = error else { panic!("{error}") };
        assert!(!refusal.retryable, "{error}");
    }
    // The same connections go on: a refusal answers one request.
    assert!(scanner.publisher(&name("records")).await.is_ok());
    scene.lost_nothing().await;
    let log = scene.stop();
    says(
        &log,
        &["denied", "principal=spiffe://test/device/scanner", "principal=spiffe://test/service/reader"],
    );
    says(&log, &reasons);
}

/// Says hello as a client should. The control stream must be kept: its end would say that the client is leaving.
async fn greet(connection: &Connection) -> (SendStream, RecvStream) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let mut hello = BytesMut::new();
    ControlClient::new("test").poll_transmit(&mut hello);
    send.write_all(&hello).await.unwrap();
    let answer = ToClient::decode(&first_frame(&mut recv).await).unwrap();
    assert!(matches!(answer, ToClient::Welcome(_)), "{answer:?}");
    (send, recv)
}

fn frame(open: &Open) -> Bytes {
    let mut octets = BytesMut::new();
    encode(open, &mut octets).unwrap();
    octets.freeze()
}

async fn first_frame(recv: &mut RecvStream) -> Bytes {
    let mut decoder = FrameDecoder::new();
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return frame;
        }
        let chunk = recv.read_chunk(1 << 16, true).await.unwrap().expect("an answer");
        decoder.push(&chunk.bytes);
    }
}

/// The code and the reason that the broker closes the connection with.
async fn told(connection: &Connection) -> (CloseCode, String) {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8(close.reason.to_vec()).unwrap();
            (CloseCode::from_quic(close.error_code.into_inner()), reason)
        }
        other => panic!("not closed by the broker: {other}"),
    }
}
