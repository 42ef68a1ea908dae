//! Two machines joined in memory.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::record::{Offset, ProducerId, ProducerPosition};
use crate::wire::control::ToClient as ControlToClient;
use crate::wire::large::{DownloadStart, OpenDownload, OpenUpload, UploadAck, UploadAnswer, UploadReady};
use crate::wire::publisher::{Durability, OpenPublisher, Publish, ToBroker};
use crate::wire::subscription::{DeliveryRange, OpenSubscription, Settle};
use crate::wire::tests::{delivery, head};
use crate::wire::{Credit, Refusal, RefusalCode, Version};
use crate::{Digest, PrincipalId};

mod large;
mod publisher;
mod subscription;

/// What happened at a client and at its broker.
type Events<C, S> = (Vec<<C as Machine>::Event>, Vec<<S as Machine>::Event>);

/// One stream: two machines, and what they sent that has not been moved.
struct Pair<C, S> {
    client: C,
    server: S,
    /// How many octets are moved at once.
    step: usize,
    ends: [bool; 2],
}

impl<C: Machine, S: Machine> Pair<C, S> {
    fn new(client: C, server: S) -> Self {
        Self { client, server, step: 7, ends: [false; 2] }
    }

    /// Moves all octets both ways until nothing moves; what happened on both sides.
    fn drive(&mut self) -> Result<Events<C, S>, Violation> {
        let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
        loop {
            let ends = self.ends;
            let up = carry(&mut self.client, &mut self.server, self.step, &mut self.ends[0], &mut at_server)?;
            let down =
                carry(&mut self.server, &mut self.client, self.step, &mut self.ends[1], &mut at_client)?;
            if !up && !down && ends == self.ends {
                return Ok((at_client, at_server));
            }
        }
    }
}

/// Carries what one machine sends to the other. Whether there was something.
fn carry<F: Machine, T: Machine>(
    from: &mut F,
    to: &mut T,
    step: usize,
    ended: &mut bool,
    events: &mut Vec<T::Event>,
) -> Result<bool, Violation> {
    let mut out = BytesMut::new();
    from.poll_transmit(&mut out);
    for chunk in out.chunks(step) {
        to.handle_data(chunk);
        while let Some(event) = to.poll_event()? {
            events.push(event);
        }
    }
    if from.wants_finish() && !*ended {
        *ended = true;
        to.handle_finish();
        while let Some(event) = to.poll_event()? {
            events.push(event);
        }
    }
    Ok(!out.is_empty())
}

/// What the broker makes of a client's first frames.
fn accept(client: &mut impl Machine) -> Accepted {
    let mut out = BytesMut::new();
    client.poll_transmit(&mut out);
    accept_octets(&out).unwrap().expect("a whole frame")
}

fn accept_octets(octets: &[u8]) -> Result<Option<Accepted>, Violation> {
    let mut incoming = Incoming::new();
    incoming.handle_data(octets);
    incoming.poll_accept()
}

fn frame(value: &impl Serialize) -> BytesMut {
    let mut out = BytesMut::new();
    wire::encode(value, &mut out).unwrap();
    out
}

fn code<T: std::fmt::Debug>(result: Result<T, Violation>) -> CloseCode {
    result.expect_err("a violation").code
}

fn control() -> Pair<ControlClient, ControlServer> {
    let mut client = ControlClient::new("test/1");
    let Accepted::Control(server) = accept(&mut client) else { panic!("control") };
    Pair::new(client, server)
}

fn principal() -> PrincipalId {
    "spiffe://st-marys/device/mri-1".parse().unwrap()
}

#[test]
fn a_client_is_welcomed_and_hears_the_goodbye() {
    let mut pair = control();
    assert_eq!(pair.server.hello().agent, "test/1");
    assert_eq!(pair.server.welcome(principal()), Ok(Version::CURRENT));
    let (events, _) = pair.drive().unwrap();
    let [Some(ControlToClient::Welcome(welcome))] = &events[..] else { panic!("{events:?}") };
    assert_eq!((welcome.version, &welcome.principal), (Version::CURRENT, &principal()));
    pair.server.goodbye("restart");
    let (events, _) = pair.drive().unwrap();
    assert!(matches!(&events[..], [Some(ControlToClient::Goodbye(_)), None]), "{events:?}");
}

#[test]
fn an_unknown_major_is_refused_naming_both() {
    let versions = vec![Version { major: 7, minor: 1 }, Version { major: 9, minor: 0 }];
    let hello = Open::Control(wire::control::Hello { versions, agent: "future".into() });
    let Ok(Some(Accepted::Control(mut server))) = accept_octets(&frame(&hello)) else { panic!() };
    assert_eq!(server.welcome(principal()), Err(CloseCode::Version));
    let mut client = ControlClient::new("test");
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    assert!(server.wants_finish());
    client.handle_data(&out);
    let Some(Some(ControlToClient::Refused(refusal))) = client.poll_event().unwrap() else { panic!() };
    assert_eq!(refusal.code, RefusalCode::Version);
    assert_eq!(refusal.reason, "the client speaks hilum 7.1, 9.0, this broker speaks hilum 1.1");
}

#[test]
fn an_older_minor_is_met() {
    for (theirs, agreed) in [(0, 0), (1, 1), (9, 1)] {
        let versions = vec![Version { major: 1, minor: theirs }];
        let hello = Open::Control(wire::control::Hello { versions, agent: String::new() });
        let Ok(Some(Accepted::Control(mut server))) = accept_octets(&frame(&hello)) else { panic!() };
        assert_eq!(server.welcome(principal()), Ok(Version { major: 1, minor: agreed }));
    }
    for (chosen, is_taken) in
        [((1, 0), true), ((1, 1), true), ((1, 2), false), ((0, 9), false), ((2, 0), false)]
    {
        let mut client = ControlClient::new("test");
        let version = Version { major: chosen.0, minor: chosen.1 };
        let welcome = wire::control::Welcome {
            version,
            principal: principal(),
            limits: wire::control::Limits::CURRENT,
        };
        client.handle_data(&frame(&ControlToClient::Welcome(welcome)));
        assert_eq!(client.poll_event().is_ok(), is_taken, "{version}");
    }
}

#[test]
fn control_frames_come_in_their_order() {
    let mut pair = control();
    pair.server.goodbye("too early");
    assert_eq!(code(pair.drive()), CloseCode::Unexpected);

    let mut pair = control();
    pair.server.welcome(principal()).unwrap();
    pair.server.welcome(principal()).unwrap();
    assert_eq!(code(pair.drive()), CloseCode::Unexpected);

    let mut pair = control();
    let second = frame(&Open::Control(pair.server.hello().clone()));
    pair.server.handle_data(&second);
    assert_eq!(code(pair.server.poll_event()), CloseCode::Unexpected);
}

#[test]
fn a_stream_begins_with_an_open_frame() {
    assert_eq!(code(accept_octets(&[1, 0, 0, 0, 99])), CloseCode::Malformed);
    assert_eq!(code(accept_octets(&[255, 255, 255, 255])), CloseCode::FrameTooLong);
    assert!(accept_octets(&[9, 0]).unwrap().is_none());
    for begun in [&[][..], &[9, 0]] {
        let mut incoming = Incoming::new();
        incoming.handle_data(begun);
        incoming.handle_finish();
        assert_eq!(code(incoming.poll_accept()), CloseCode::Unexpected);
    }
}

proptest! {
    /// Hostile octets never panic, on either side and in any state; where they mean nothing, that is a violation.
    #[test]
    fn machines_survive_anything(octets in proptest::collection::vec(any::<u8>(), 0..600), cut in 1_usize..64) {
        let mut framed = u32::try_from(octets.len()).unwrap().to_le_bytes().to_vec();
        framed.extend_from_slice(&octets);
        for octets in [&octets, &framed] {
            let _ = accept_octets(octets);
            survive(&mut control().client, octets, cut);
            survive(&mut control().server, octets, cut);
            let mut pair = publisher::opened(Credit { records: 4, octets: 100 });
            survive(&mut pair.client, octets, cut);
            survive(&mut pair.server, octets, cut);
            let mut pair = subscription::opened(0, Credit { records: 4, octets: 100 });
            survive(&mut pair.client, octets, cut);
            survive(&mut pair.server, octets, cut);
        }
    }
}

fn survive(machine: &mut impl Machine, octets: &[u8], cut: usize) {
    for chunk in octets.chunks(cut) {
        machine.handle_data(chunk);
        while let Ok(Some(_)) = machine.poll_event() {}
        machine.poll_transmit(&mut BytesMut::new());
    }
    machine.handle_finish();
    while let Ok(Some(_)) = machine.poll_event() {}
}
