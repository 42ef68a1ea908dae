//! Uploads and downloads, whole, short, broken off and gone on with.

use super::*;
use crate::record::Timestamp;

const WHOLE: &[u8] = b"0123456789";

fn upload(size: u64) -> (UploadClient, UploadServer) {
    let position = ProducerPosition { producer: ProducerId([2; 16]), sequence: 1 };
    let open =
        OpenUpload { flow: "imaging".parse().unwrap(), position, known_since: None, head: head(), size };
    let mut client = UploadClient::new(open.clone());
    let Accepted::Upload(server) = accept(&mut client) else { panic!("upload") };
    assert_eq!(server.request(), &open);
    server.check_silence().unwrap();
    (client, server)
}

/// What the client hears of what the broker has to say.
fn hear(client: &mut UploadClient, server: &mut UploadServer) -> Vec<UploadAnswer> {
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    client.handle_data(&out);
    if server.wants_finish() {
        client.handle_finish();
    }
    std::iter::from_fn(|| client.poll_event().unwrap()).collect()
}

fn ready(from: u64) -> UploadAnswer {
    UploadAnswer::Ready(UploadReady { from, known_since: Timestamp(9) })
}

fn trailer(body: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Digest::of(body).0)
}

#[test]
fn an_upload_is_counted_and_acked() {
    let (mut client, mut server) = upload(10);
    server.ready(0, Timestamp(9));
    assert_eq!(hear(&mut client, &mut server), [ready(0)]);
    assert_eq!(server.handle_chunk(Bytes::from_static(b"01234")).unwrap(), "01234");
    // The digest may come with the last octets, and in pieces.
    let rest = [&WHOLE[5..], &trailer(WHOLE)[..7]].concat();
    assert_eq!(server.handle_chunk(rest.into()).unwrap(), "56789");
    assert_eq!(server.handle_chunk(trailer(WHOLE).slice(7..)).unwrap(), "");
    assert_eq!(server.handle_finish().unwrap(), Digest::of(WHOLE));
    let ack = UploadAck { durability: Durability::Fsynced, offset: Some(Offset(3)) };
    server.ack(ack);
    server.refuse(Refusal::new(RefusalCode::Internal, "an upload is answered once"));
    assert_eq!(hear(&mut client, &mut server), [UploadAnswer::Ack(ack)]);
}

#[test]
fn an_upload_goes_on_where_the_broker_says() {
    let (mut client, mut server) = upload(10);
    server.ready(6, Timestamp(9));
    assert_eq!(hear(&mut client, &mut server), [ready(6)]);
    assert_eq!(server.handle_chunk(Bytes::from_static(b"6789")).unwrap(), "6789");
    server.handle_chunk(trailer(WHOLE)).unwrap();
    server.handle_finish().unwrap();
}

#[test]
fn what_is_stored_already_is_acked_without_its_body() {
    let (mut client, mut server) = upload(10);
    let ack = UploadAck { durability: Durability::Fsynced, offset: None };
    server.ack(ack);
    assert_eq!(hear(&mut client, &mut server), [UploadAnswer::Ack(ack)]);
}

#[test]
fn a_body_of_another_size_is_refused() {
    for (body, how) in
        [(&b"012345678901"[..], "more octets"), (b"01234", "fewer octets"), (b"", "fewer octets")]
    {
        let (mut client, mut server) = upload(10);
        server.ready(0, Timestamp(9));
        assert_eq!(hear(&mut client, &mut server), [ready(0)]);
        let sent = [body, &trailer(body)].concat();
        let taken = server.handle_chunk(sent.into()).and_then(|_| server.handle_finish());
        let refusal = taken.unwrap_err();
        assert!(refusal.reason.starts_with(how), "{refusal}");
        assert_eq!(hear(&mut client, &mut server), [UploadAnswer::Refused(refusal)]);
    }
}

#[test]
fn answers_of_an_upload_come_in_their_order() {
    let (mut client, _) = upload(1);
    client.handle_finish();
    assert_eq!(code(client.poll_event()), CloseCode::Unexpected, "no answer");
    let ack = UploadAnswer::Ack(UploadAck { durability: Durability::Fsynced, offset: None });
    for (answers, broken) in [
        ([ready(0), ready(0)], CloseCode::Unexpected),
        ([ack.clone(), ready(0)], CloseCode::Unexpected),
        ([ack.clone(), ack], CloseCode::Unexpected),
        ([ready(1), ready(2)], CloseCode::Unexpected),
    ] {
        let (mut client, _) = upload(1);
        client.handle_data(&answers.iter().flat_map(|answer| frame(answer).to_vec()).collect::<Vec<_>>());
        client.poll_event().unwrap();
        assert_eq!(code(client.poll_event()), broken, "{answers:?}");
    }
    let (mut client, _) = upload(1);
    client.handle_data(&frame(&ready(2)));
    assert_eq!(code(client.poll_event()), CloseCode::Sequence, "more than the body");
}

#[test]
fn a_body_may_not_come_before_the_broker_is_ready() {
    let position = ProducerPosition { producer: ProducerId([2; 16]), sequence: 1 };
    let open = Open::Upload(OpenUpload {
        flow: "imaging".parse().unwrap(),
        position,
        known_since: None,
        head: head(),
        size: 1,
    });
    let mut octets = frame(&open);
    octets.extend_from_slice(b"0");
    let Ok(Some(Accepted::Upload(server))) = accept_octets(&octets) else { panic!("upload") };
    assert_eq!(code(server.check_silence()), CloseCode::Unexpected);
}

#[test]
fn a_body_that_leaves_octets_out_is_not_sent() {
    let mut body = Outgoing::new(4);
    assert_eq!(body.handle_octets(1, Bytes::from_static(b"1"), 0), None, "octet 0 is missing");
    assert_eq!(body.handle_octets(0, Bytes::from_static(b"01234"), 0), None, "longer than the body");
    assert_eq!(body.digest(), None);
}

fn downloading(from: u64) -> (DownloadClient, DownloadServer) {
    let mut client = DownloadClient::new(open_download(from));
    let server = downloaded_from(&mut client);
    (client, server)
}

fn open_download(from: u64) -> OpenDownload {
    let (flow, subscription) = ("imaging".parse().unwrap(), "radiology".parse().unwrap());
    OpenDownload { flow, subscription, offset: Offset(3), part: 0, from }
}

fn downloaded_from(client: &mut DownloadClient) -> DownloadServer {
    let mut out = BytesMut::new();
    client.poll_transmit(&mut out);
    let Ok(Some(Accepted::Download(mut server))) = accept_octets(&out) else { panic!("download") };
    server.check_silence().unwrap();
    server
}

/// What the client makes of a body, in chunks, where `announced` is the whole.
fn receive(from: u64, announced: &[u8], chunks: &[&'static [u8]]) -> Result<Vec<DownloadEvent>, Violation> {
    let (mut client, mut server) = downloading(from);
    assert!(server.start(announced.len() as u64, Digest::of(announced)));
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    // The first octets of the body come with the frame.
    out.extend_from_slice(chunks[0]);
    let mut events = Vec::new();
    let mut poll = |client: &mut DownloadClient| {
        while let Some(event) = client.poll_event()? {
            events.push(event);
        }
        Ok::<_, Violation>(())
    };
    client.handle_chunk(out.freeze());
    poll(&mut client)?;
    for chunk in &chunks[1..] {
        client.handle_chunk(Bytes::from_static(chunk));
        poll(&mut client)?;
    }
    client.handle_finish();
    poll(&mut client)?;
    Ok(events)
}

#[test]
fn a_download_is_checked_at_its_end() {
    let whole = DownloadStart { size: 6, digest: Digest::of(b"012345") };
    let octets = |chunk| DownloadEvent::Octets(Bytes::from_static(chunk));
    assert_eq!(
        receive(0, b"012345", &[b"01", b"2345"]).unwrap(),
        [DownloadEvent::Started(whole), octets(b"01"), octets(b"2345"), DownloadEvent::Complete]
    );
    assert_eq!(
        receive(4, b"012345", &[b"", b"45"]).unwrap(),
        [DownloadEvent::Started(whole), octets(b"45"), DownloadEvent::Complete]
    );
    for (from, chunks) in [(0, [b"01", b"23"]), (0, [b"01", b"xx"]), (5, [b"5x", b"xx"])] {
        let announced = if from == 0 { &b"0123"[..] } else { b"012345" };
        let result = receive(from, announced, &chunks.map(|chunk| &chunk[..]));
        assert_eq!(result.is_ok(), chunks == [b"01", b"23"], "{result:?}");
    }
    assert_eq!(code(receive(0, b"0123", &[b"012"])), CloseCode::Malformed, "short");
}

#[test]
fn a_download_may_be_refused() {
    let (mut client, mut server) = downloading(7);
    assert!(!server.start(6, Digest::of(b"")), "from beyond the end");
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    client.handle_chunk(out.freeze());
    let Some(DownloadEvent::Refused(refusal)) = client.poll_event().unwrap() else { panic!() };
    assert_eq!(refusal.code, RefusalCode::BodySize);
}

/// One try of a download, which ends after `limit` octets of the body. What it gave.
fn try_download(
    client: &mut DownloadClient,
    body: &[u8],
    limit: usize,
) -> Result<Vec<DownloadEvent>, Violation> {
    let mut server = downloaded_from(client);
    assert!(server.start(body.len() as u64, Digest::of(body)));
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    client.handle_chunk(out.freeze());
    let from = usize::try_from(server.request().from).unwrap();
    let rest = &body[from..];
    let mut events = vec![client.poll_event()?.expect("a start")];
    client.handle_chunk(Bytes::copy_from_slice(&rest[..limit.min(rest.len())]));
    events.extend(client.poll_event()?);
    if limit >= rest.len() {
        client.handle_finish();
        events.extend(client.poll_event()?);
    }
    Ok(events)
}

#[test]
fn a_download_that_goes_on_checks_the_whole() {
    let mut client = DownloadClient::new(open_download(0));
    assert!(client.partial().is_none(), "nothing is here");
    try_download(&mut client, WHOLE, 4).unwrap();
    let partial = client.partial().expect("four octets are here");
    assert_eq!((partial.received(), partial.start().size), (4, 10));

    let mut client = DownloadClient::resuming(open_download(0), partial.clone());
    let events = try_download(&mut client, WHOLE, 10).unwrap();
    assert_eq!(events.last(), Some(&DownloadEvent::Complete), "{events:?}");

    // The digest is that of the announced body, but what came first was another.
    let mut client = DownloadClient::new(open_download(0));
    let mut server = downloaded_from(&mut client);
    server.start(10, Digest::of(WHOLE));
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    client.handle_chunk(out.freeze());
    client.poll_event().unwrap();
    client.handle_chunk(Bytes::from_static(b"xxxx"));
    client.poll_event().unwrap();
    let mut client = DownloadClient::resuming(open_download(0), client.partial().unwrap());
    assert_eq!(code(try_download(&mut client, WHOLE, 10)), CloseCode::Malformed);

    // Another body than the one a part is here of.
    let mut client = DownloadClient::resuming(open_download(0), partial);
    assert_eq!(try_download(&mut client, b"abcdefghij", 10).unwrap()[0], DownloadEvent::Changed);
    assert!(client.partial().is_none());
}

proptest! {
    /// However often an upload breaks, wherever, and however much of what was sent arrived: the broker ends with the whole body
    /// and the digest of it, and the client sends no octet that the broker has.
    #[test]
    fn an_upload_survives_any_breaks(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        tries in proptest::collection::vec((0_usize..120, 0_usize..120, 1_usize..50), 0..6),
        forgets in any::<bool>(),
    ) {
        let size = body.len() as u64;
        let mut outgoing = Outgoing::new(size);
        let mut staged = Vec::new();
        for (sent_max, lost, step) in tries.into_iter().chain([(usize::MAX, 0, 7)]) {
            if forgets {
                // A client that was restarted has to hash what it does not send.
                outgoing = Outgoing::new(size);
            }
            let (mut client, mut server) = upload(size);
            server.ready(staged.len() as u64, Timestamp(9));
            prop_assert_eq!(hear(&mut client, &mut server), [ready(staged.len() as u64)]);
            let from = staged.len() as u64;
            let begin = usize::try_from(outgoing.begin_at(from)).unwrap();
            let mut sent = Vec::new();
            let mut at = begin;
            for chunk in body[begin..].chunks(step) {
                let chunk = Bytes::copy_from_slice(chunk);
                let position = at as u64;
                at += chunk.len();
                sent.extend_from_slice(&outgoing.handle_octets(position, chunk, from).unwrap());
                if sent.len() >= sent_max {
                    break;
                }
            }
            let is_whole = staged.len() + sent.len() == body.len() && sent_max == usize::MAX;
            prop_assert!(staged.len() + sent.len() <= body.len());
            let arrived = sent.len().saturating_sub(lost);
            for chunk in sent[..arrived].chunks(step) {
                staged.extend_from_slice(&server.handle_chunk(Bytes::copy_from_slice(chunk)).unwrap());
            }
            if is_whole {
                let digest = outgoing.digest().expect("all was read");
                prop_assert_eq!(server.handle_chunk(Bytes::copy_from_slice(&digest.0)).unwrap(), "");
                prop_assert_eq!(server.handle_finish().unwrap(), Digest::of(&staged));
            }
        }
        prop_assert_eq!(staged, body);
    }

    /// The same for a download, whose parts are all received once.
    #[test]
    fn a_download_survives_any_breaks(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        tries in proptest::collection::vec(0_usize..120, 0..6),
    ) {
        let mut client = DownloadClient::new(open_download(0));
        let mut received = Vec::new();
        let mut complete = false;
        for limit in tries.into_iter().chain([usize::MAX]) {
            if complete {
                break;
            }
            for event in try_download(&mut client, &body, limit).unwrap() {
                match event {
                    DownloadEvent::Octets(octets) => received.extend_from_slice(&octets),
                    DownloadEvent::Complete => complete = true,
                    _ => {}
                }
            }
            if let Some(partial) = client.partial() {
                prop_assert_eq!(partial.received(), received.len() as u64);
                client = DownloadClient::resuming(open_download(0), partial);
            }
        }
        prop_assert!(complete);
        prop_assert_eq!(received, body);
    }
}
