//! One machine, and a peer that sends anything.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use hilum_core::limits;
use hilum_core::policy::Right;
use hilum_core::record::{ProducerId, ProducerPosition};
use hilum_core::session::{
    Accepted, AdminClient, AdminServer, ControlClient, ControlServer, DownloadClient, DownloadEvent,
    DownloadServer, Incoming, Machine, PublisherClient, PublisherServer, SubscriptionClient,
    SubscriptionServer, UploadClient, UploadServer, Violation,
};
use hilum_core::wire::admin::{ListFlows, OpenAdmin, ToBroker};
use hilum_core::wire::large::{DownloadAnswer, OpenDownload, OpenUpload, UploadAck, UploadAnswer};
use hilum_core::wire::publisher::{Durability, Opened};
use hilum_core::wire::{Frame, Open, admin, control as control_frames, publisher, subscription};
use hilum_core::{Digest, Offset, Timestamp};

use super::{
    body, check_sent, credit, flow, head, open_publisher, open_subscription, parts, refusal, some_credit,
};
use crate::script::Script;

/// Characters of what is said to a peer that broke the protocol.
const REASON_CHARS_MAX: usize = 512;

/// The broker's machines, from the first frame on.
pub(super) fn client(script: &mut Script<'_>) {
    let mut incoming = Incoming::new();
    let accepted = loop {
        if script.is_over() {
            return;
        }
        match piece(script) {
            Piece::Octets(octets) => incoming.handle_data(&octets),
            Piece::Finish => incoming.handle_finish(),
            Piece::Act => {}
        }
        match incoming.poll_accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err(violation) => return check_violation(&violation),
        }
    };
    match accepted {
        Accepted::Control(machine) => drive::<control_frames::ToClient, _>(machine, script, act_control),
        Accepted::Publisher(machine) => drive::<publisher::ToClient, _>(machine, script, act_publisher),
        Accepted::Subscription(machine) => {
            drive::<subscription::ToClient, _>(machine, script, act_subscription);
        }
        Accepted::Admin(machine) => drive::<admin::ToClient, _>(machine, script, act_admin),
        Accepted::Upload(machine) => upload_server(machine, script),
        Accepted::Download(machine) => download_server(machine, script),
    }
}

pub(super) fn control(script: &mut Script<'_>) {
    drive::<Open, _>(ControlClient::new("fuzz"), script, |_, _| {});
}

pub(super) fn publisher(script: &mut Script<'_>) {
    let machine = PublisherClient::new(open_publisher(), script.number());
    drive::<AnyFrame<publisher::ToBroker>, _>(machine, script, |machine, script| match script.octet() {
        0..200 => drop(machine.publish(head(), body(script.short()))),
        _ => machine.finish(),
    });
}

pub(super) fn subscription(script: &mut Script<'_>) {
    let machine = SubscriptionClient::new(open_subscription(some_credit(script)));
    drive::<AnyFrame<subscription::ToBroker>, _>(machine, script, |machine, script| {
        let (action, number) = (script.octet(), script.number());
        match action % 6 {
            0 => machine.ack(number),
            1 => machine.nak(number, Some(number)),
            2 => machine.term(number, "unreadable".parse().expect("a code")),
            3 => machine.in_progress(number),
            4 => machine.grant(credit(script)),
            _ => machine.finish(),
        }
    });
}

pub(super) fn upload(script: &mut Script<'_>) {
    let open = OpenUpload {
        flow: flow(),
        position: ProducerPosition { producer: ProducerId([7; 16]), sequence: 1 },
        known_since: None,
        head: head(),
        size: script.number(),
    };
    drive::<Open, _>(UploadClient::new(open), script, |_, _| {});
}

pub(super) fn admin(script: &mut Script<'_>) {
    let machine = AdminClient::new(OpenAdmin { note: "ticket 12".into() });
    drive::<AnyFrame<ToBroker>, _>(machine, script, |machine, script| match script.octet() {
        0..200 => {
            let _ = machine.ask(ToBroker::Flows(ListFlows { after: None }));
        }
        _ => machine.finish(),
    });
}

/// A download with one break, if the script has one: what comes is counted and is what was announced.
pub(super) fn download(script: &mut Script<'_>) {
    let open = OpenDownload {
        flow: flow(),
        subscription: "radiology".parse().expect("a name"),
        offset: Offset(12),
        part: 0,
        from: script.number() % 4,
    };
    let (mut machine, mut received) = (DownloadClient::new(open.clone()), open.from);
    while !script.is_over() {
        match piece(script) {
            Piece::Octets(octets) => machine.handle_chunk(octets.into()),
            Piece::Finish => machine.handle_finish(),
            Piece::Act => {
                let Some(partial) = machine.partial() else { continue };
                assert!(partial.received() <= partial.start().size && partial.received() == received);
                machine = DownloadClient::resuming(open.clone(), partial);
            }
        }
        loop {
            match machine.poll_event() {
                Ok(Some(DownloadEvent::Octets(octets))) => received += octets.len() as u64,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(violation) => return check_violation(&violation),
            }
        }
    }
}

/// The next thing that a script does to a machine.
enum Piece {
    Octets(Vec<u8>),
    Finish,
    Act,
}

fn piece(script: &mut Script<'_>) -> Piece {
    match script.octet() % 4 {
        0 => Piece::Octets(script.measured().to_vec()),
        1 => {
            let frame = script.measured();
            let length = u32::try_from(frame.len()).expect("measured by two octets").to_le_bytes();
            Piece::Octets([&length[..], frame].concat())
        }
        2 => Piece::Finish,
        _ => Piece::Act,
    }
}

/// Drives a machine, which sends frames of the kind `F`, until the script is over or the peer broke the protocol.
fn drive<F: Frame, M: Machine>(
    mut machine: M,
    script: &mut Script<'_>,
    act: impl Fn(&mut M, &mut Script<'_>),
) {
    while !script.is_over() {
        match piece(script) {
            Piece::Octets(octets) => machine.handle_data(&octets),
            Piece::Finish => machine.handle_finish(),
            Piece::Act => act(&mut machine, script),
        }
        loop {
            match machine.poll_event() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(violation) => return check_violation(&violation),
            }
        }
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        check_sent::<F>(&out);
        let _ = machine.wants_finish();
    }
}

fn check_violation(violation: &Violation) {
    assert!(violation.reason.chars().count() <= REASON_CHARS_MAX, "{violation}");
}

/// A client's first frame, or one of those that follow it.
struct AnyFrame<F>(PhantomData<F>);

impl<F: Frame> Frame for AnyFrame<F> {
    fn decode(octets: &Bytes) -> Result<Self, hilum_core::wire::FrameError> {
        match Open::decode(octets) {
            Ok(_) => Ok(Self(PhantomData)),
            Err(_) => F::decode(octets).map(|_| Self(PhantomData)),
        }
    }
}

fn act_control(machine: &mut ControlServer, script: &mut Script<'_>) {
    match script.octet() % 3 {
        0 => {
            let _ = machine.welcome("spiffe://st-marys/device/mri-1".parse().expect("an identity"));
        }
        1 => machine.refuse(refusal()),
        _ => machine.goodbye("restart"),
    }
}

fn act_publisher(machine: &mut PublisherServer, script: &mut Script<'_>) {
    match script.octet() % 5 {
        0 => machine.open(Opened {
            last_sequence: 0,
            known_since: Timestamp(1),
            durability: Durability::Fsynced,
            credit: credit(script),
        }),
        1 => {
            let offset = Some(Offset(script.number()));
            let _ = machine.ack(script.number(), Durability::Fsynced, offset);
        }
        2 => {
            let _ = machine.refuse_record(script.number(), refusal());
        }
        3 => machine.grant(credit(script)),
        _ => machine.refuse(refusal()),
    }
    assert!(machine.under_way().records <= limits::CREDIT_RECORDS_MAX);
}

fn act_subscription(machine: &mut SubscriptionServer, script: &mut Script<'_>) {
    match script.octet() % 4 {
        0 => machine.open(Offset(script.number())),
        1 => {
            let (offset, attempt) = (Offset(script.number()), u32::from(script.octet()));
            let (count, octets) = (u16::from(script.octet() % 4), script.short());
            drop(machine.deliver(parts(offset, attempt, count, octets)));
        }
        2 => machine.finish(),
        _ => machine.refuse(refusal()),
    }
    assert!(machine.under_way().records <= limits::CREDIT_RECORDS_MAX);
    assert_eq!(machine.has_room(), machine.room() > 0);
}

fn act_admin(machine: &mut AdminServer, script: &mut Script<'_>) {
    match script.octet() % 3 {
        0 => machine.open(&BTreeSet::from(Right::ALL)),
        1 => machine.answer(admin::ToClient::Done),
        _ => machine.refuse(refusal()),
    }
}

/// No more of a body is taken than was announced.
fn upload_server(mut machine: UploadServer, script: &mut Script<'_>) {
    if machine.check_silence().is_err() {
        return;
    }
    let size = machine.request().size;
    let from = script.number();
    machine.ready(from, Timestamp(1));
    let mut received = from.min(size);
    while !script.is_over() {
        match piece(script) {
            Piece::Octets(octets) => match machine.handle_chunk(octets.into()) {
                Ok(body) => received += body.len() as u64,
                Err(refusal) => assert!(refusal.reason.chars().count() <= limits::REASON_CHARS_MAX),
            },
            Piece::Finish => {
                let finished = machine.handle_finish();
                assert!(finished.is_err() || received == size, "a body with all of its octets");
                machine.ack(UploadAck { durability: Durability::Fsynced, offset: None });
            }
            Piece::Act => machine.refuse(refusal()),
        }
        assert!(received <= size);
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        check_sent::<UploadAnswer>(&out);
    }
}

fn download_server(mut machine: DownloadServer, script: &mut Script<'_>) {
    if machine.check_silence().is_err() {
        return;
    }
    let size = script.number();
    let began = machine.start(size, Digest([1; 32]));
    assert_eq!(began, machine.request().from <= size);
    if script.octet() % 2 == 0 {
        machine.refuse(refusal());
    }
    let mut out = BytesMut::new();
    machine.poll_transmit(&mut out);
    check_sent::<DownloadAnswer>(&out);
}
