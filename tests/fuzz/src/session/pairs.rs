//! Two honest sides and a stream between them: whatever both are told to do, and however the stream is cut, neither breaks
//! the protocol, and what was begun can be brought to its end.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use hilum_core::record::{ProducerId, ProducerPosition};
use hilum_core::session::{
    Accepted, DownloadClient, DownloadEvent, Incoming, Machine, Outgoing, Partial, PublisherClient,
    PublisherServerEvent, SubscriptionClient, UploadClient,
};
use hilum_core::wire::Credit;
use hilum_core::wire::large::{OpenDownload, OpenUpload, UploadAnswer};
use hilum_core::wire::publisher::{Durability, Opened};
use hilum_core::{Digest, Offset, Timestamp};

use super::{body, credit, flow, head, open_publisher, open_subscription, parts, refusal, some_credit};
use crate::script::Script;

/// Records that a script may publish: more would only be slower.
const RECORDS_MAX: u32 = 512;
/// Offsets that a script delivers.
const OFFSETS: u64 = 16;

/// One direction of a stream.
#[derive(Default)]
struct Direction {
    /// Sent and not yet there.
    octets: BytesMut,
    /// The sender finished, and the receiver was told.
    is_finished: bool,
}

impl Direction {
    /// Moves up to `octets` of what one machine sends to the other.
    fn carry<F: Machine, T: Machine>(
        &mut self,
        from: &mut F,
        to: &mut T,
        octets: usize,
        mut event: impl FnMut(T::Event),
    ) {
        if self.is_finished {
            return;
        }
        from.poll_transmit(&mut self.octets);
        let moved = self.octets.split_to(octets.min(self.octets.len()));
        to.handle_data(&moved);
        if self.octets.is_empty() && from.wants_finish() {
            self.is_finished = true;
            to.handle_finish();
        }
        while let Some(happened) = to.poll_event().expect("an honest side keeps to the protocol") {
            event(happened);
        }
    }
}

/// The broker's machine for a stream.
fn accept(client: &mut impl Machine) -> Accepted {
    let mut out = BytesMut::new();
    client.poll_transmit(&mut out);
    accept_octets(&out)
}

fn accept_octets(octets: &[u8]) -> Accepted {
    let mut incoming = Incoming::new();
    incoming.handle_data(octets);
    incoming.poll_accept().expect("an honest client").expect("a whole frame")
}

pub(super) fn publisher(script: &mut Script<'_>) {
    let first = u64::from(script.octet()) + 1;
    let mut client = PublisherClient::new(open_publisher(), first);
    let Accepted::Publisher(mut server) = accept(&mut client) else { panic!("a publisher") };
    let (last_sequence, known_since, credit_given) = (first - 1, Timestamp(1), some_credit(script));
    server.open(Opened { last_sequence, known_since, durability: Durability::Fsynced, credit: credit_given });
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let (mut received, mut published, mut is_refused) = (first - 1, 0, false);
    let note = |event, received: &mut u64| {
        if let PublisherServerEvent::Records(publish) = event {
            assert_eq!(publish.first_sequence, *received + 1, "nothing is left out");
            *received += publish.records.len() as u64;
        }
    };
    while !script.is_over() {
        match script.octet() % 8 {
            0 if published < RECORDS_MAX => {
                published += 1;
                drop(client.publish(head(), body(script.short() % 2048)));
            }
            0 | 1 => {
                let octets = usize::from(script.octet()) * 8;
                up.carry(&mut client, &mut server, octets, |event| note(event, &mut received));
            }
            2 => down.carry(&mut server, &mut client, script.octet().into(), |_| {}),
            3 => {
                let _ = server.ack(first + u64::from(script.octet()), Durability::Fsynced, None);
            }
            4 => {
                let _ = server.refuse_record(first + u64::from(script.octet()), refusal());
            }
            5 => server.grant(credit(script)),
            6 => client.finish(),
            _ => {
                is_refused = true;
                server.refuse(refusal());
            }
        }
    }
    // Everything is answered in the end, and what waits gets its turn.
    for _ in 0..=published + 2 {
        up.carry(&mut client, &mut server, usize::MAX, |event| note(event, &mut received));
        let _ = server.ack(received, Durability::Fsynced, None);
        down.carry(&mut server, &mut client, usize::MAX, |_| {});
    }
    if !is_refused {
        assert_eq!(client.queued(), 0, "all records went out");
        assert_eq!(server.under_way(), Credit::default(), "all records are answered");
    }
}

pub(super) fn subscription(script: &mut Script<'_>) {
    let mut client = SubscriptionClient::new(open_subscription(some_credit(script)));
    let Accepted::Subscription(mut server) = accept(&mut client) else { panic!("a subscription") };
    server.open(Offset(script.octet().into()));
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let mut attempts: BTreeMap<u64, u32> = BTreeMap::new();
    while !script.is_over() {
        match script.octet() % 10 {
            0 => {
                let offset = u64::from(script.octet()) % OFFSETS;
                let attempt = attempts.get(&offset).copied().unwrap_or(0) + 1;
                let (octets, count) = (script.short() % 2048, u16::from(script.octet() % 3) + 1);
                if server.deliver(parts(Offset(offset), attempt, count, octets)).is_ok() {
                    attempts.insert(offset, attempt);
                }
            }
            1 => up.carry(&mut client, &mut server, script.octet().into(), drop),
            2 => down.carry(&mut server, &mut client, usize::from(script.octet()) * 8, drop),
            3 | 4 => client.ack(script.octet().into()),
            5 => client.nak(script.octet().into(), Some(70)),
            6 => client.term(script.octet().into(), "unreadable".parse().expect("a code")),
            7 => client.in_progress(script.octet().into()),
            8 => client.grant(credit(script)),
            _ => match script.octet() {
                0..16 => server.refuse(refusal()),
                16..32 => server.finish(),
                32..64 => client.finish(),
                _ => {}
            },
        }
    }
    let was_open = server.is_open();
    up.carry(&mut client, &mut server, usize::MAX, drop);
    down.carry(&mut server, &mut client, usize::MAX, drop);
    // Every delivery can be answered.
    (1..=u64::from(attempts.values().sum::<u32>())).for_each(|number| client.nak(number, None));
    up.carry(&mut client, &mut server, usize::MAX, drop);
    if was_open && !up.is_finished && !down.is_finished {
        assert_eq!(server.under_way(), Credit::default(), "all deliveries are answered");
    }
}

/// A body goes up and down again in several tries.
pub(super) fn bodies(script: &mut Script<'_>) {
    let size = usize::from(script.short() % 4096);
    let body: Vec<u8> = (0..size).map(|at| (at % 251).to_le_bytes()[0]).collect();
    upload(script, &body);
    download(script, &body);
}

fn upload(script: &mut Script<'_>, body: &[u8]) {
    let open = OpenUpload {
        flow: flow(),
        position: ProducerPosition { producer: ProducerId([7; 16]), sequence: 1 },
        known_since: None,
        head: head(),
        size: body.len() as u64,
    };
    let (mut outgoing, mut kept) = (Outgoing::new(body.len() as u64), Vec::new());
    loop {
        let mut client = UploadClient::new(open.clone());
        let Accepted::Upload(mut server) = accept(&mut client) else { panic!("an upload") };
        // The broker may have lost some of what it had.
        kept.truncate(kept.len().saturating_sub(script.octet().into()));
        server.ready(kept.len() as u64, Timestamp(1));
        let mut out = BytesMut::new();
        server.poll_transmit(&mut out);
        client.handle_data(&out);
        let answer = client.poll_event().expect("an honest broker");
        let Some(UploadAnswer::Ready(ready)) = answer else { panic!("it is ready") };
        let mut position = usize::try_from(outgoing.begin_at(ready.from)).expect("within the body");
        let is_last = script.is_over();
        while position < body.len() {
            let step = if is_last { body.len() } else { usize::from(script.octet()) };
            let end = body.len().min(position + step);
            let read = Bytes::copy_from_slice(&body[position..end]);
            let sent =
                outgoing.handle_octets(position as u64, read, ready.from).expect("nothing is left out");
            kept.extend_from_slice(&server.handle_chunk(sent).expect("within the size"));
            position = end;
            if !is_last && (step % 8 == 7 || script.is_over()) {
                break;
            }
        }
        if position == body.len() && kept.len() == body.len() {
            let digest = outgoing.digest().expect("all of it was read");
            server.handle_chunk(Bytes::copy_from_slice(&digest.0)).expect("the digest follows");
            assert_eq!(server.handle_finish(), Ok(Digest::of(body)));
            assert_eq!(kept, body);
            return;
        }
        assert!(!is_last, "the last try goes to the end");
    }
}

fn download(script: &mut Script<'_>, body: &[u8]) {
    let open = OpenDownload {
        flow: flow(),
        subscription: "radiology".parse().expect("a name"),
        offset: Offset(12),
        part: 0,
        from: 0,
    };
    let (mut partial, mut received): (Option<Partial>, Vec<u8>) = (None, Vec::new());
    loop {
        let is_last = script.is_over();
        let mut client = match partial.take() {
            Some(partial) => DownloadClient::resuming(open.clone(), partial),
            None => {
                received.clear();
                DownloadClient::new(open.clone())
            }
        };
        let mut out = BytesMut::new();
        client.poll_transmit(&mut out);
        let Accepted::Download(mut server) = accept_octets(&out) else { panic!("a download") };
        assert!(server.start(body.len() as u64, Digest::of(body)));
        let mut stream = BytesMut::new();
        server.poll_transmit(&mut stream);
        let from = usize::try_from(server.request().from).expect("within the body");
        stream.extend_from_slice(&body[from..]);
        let sent = if is_last { stream.len() } else { stream.len().min(script.short().into()) };
        let is_whole = sent == stream.len();
        let step = usize::from(script.octet()).max(1);
        for chunk in stream[..sent].chunks(step) {
            client.handle_chunk(Bytes::copy_from_slice(chunk));
            take(&mut client, &mut received);
        }
        if is_whole {
            client.handle_finish();
            assert!(take(&mut client, &mut received), "the body is complete");
            assert_eq!(received, body);
            return;
        }
        partial = client.partial();
    }
}

/// Takes what came; whether it is complete.
fn take(client: &mut DownloadClient, received: &mut Vec<u8>) -> bool {
    let mut is_complete = false;
    while let Some(event) = client.poll_event().expect("an honest broker") {
        match event {
            DownloadEvent::Octets(octets) => received.extend_from_slice(&octets),
            DownloadEvent::Complete => is_complete = true,
            DownloadEvent::Started(_) => {}
            DownloadEvent::Changed | DownloadEvent::Refused(_) => panic!("{event:?}"),
        }
    }
    is_complete
}
