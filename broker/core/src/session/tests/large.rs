//! Uploads and downloads, whole, short and broken off.

use super::*;

fn uploading(size: u64, body: &[u8]) -> (UploadClient, UploadServer, Bytes) {
    let position = ProducerPosition { producer: ProducerId([2; 16]), sequence: 1 };
    let open = OpenUpload { flow: "imaging".parse().unwrap(), position, head: head(), size };
    let mut client = UploadClient::new(open.clone());
    let mut out = BytesMut::new();
    client.poll_transmit(&mut out);
    out.extend_from_slice(body);
    let Ok(Some(Accepted::Upload { server, early })) = accept_octets(&out) else { panic!("upload") };
    assert_eq!(server.request(), &open);
    (client, server, early)
}

fn answer(client: &mut UploadClient, server: &mut UploadServer) -> UploadAnswer {
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    assert!(server.wants_finish());
    client.handle_data(&out);
    client.handle_finish();
    client.poll_event().unwrap().expect("an answer")
}

#[test]
fn an_upload_is_counted_and_acked() {
    let (mut client, mut server, early) = uploading(10, b"01234");
    assert_eq!(server.handle_chunk(early).unwrap(), "01234");
    assert_eq!(server.handle_chunk(Bytes::from_static(b"56789")).unwrap(), "56789");
    server.handle_finish().unwrap();
    let ack = UploadAck { durability: Durability::Fsynced, offset: Some(Offset(3)) };
    server.ack(ack);
    server.refuse(Refusal::new(RefusalCode::Internal, "an upload is answered once"));
    assert_eq!(answer(&mut client, &mut server), UploadAnswer::Ack(ack));
}

#[test]
fn a_body_of_another_size_is_refused() {
    let (mut client, mut server, early) = uploading(4, b"01234");
    server.handle_chunk(early).unwrap_err();
    assert!(
        matches!(answer(&mut client, &mut server), UploadAnswer::Refused(r) if r.code == RefusalCode::BodySize)
    );
    let (mut client, mut server, early) = uploading(6, b"01234");
    server.handle_chunk(early).unwrap();
    server.handle_finish().unwrap_err();
    assert!(
        matches!(answer(&mut client, &mut server), UploadAnswer::Refused(r) if r.code == RefusalCode::BodySize)
    );
}

#[test]
fn an_upload_without_an_answer_is_a_violation() {
    let (mut client, _, _) = uploading(1, b"0");
    client.handle_finish();
    assert_eq!(code(client.poll_event()), CloseCode::Unexpected);
}

fn downloading(from: u64) -> (DownloadClient, DownloadServer) {
    let (flow, subscription) = ("imaging".parse().unwrap(), "radiology".parse().unwrap());
    let mut client =
        DownloadClient::new(OpenDownload { flow, subscription, offset: Offset(3), part: 0, from });
    let mut out = BytesMut::new();
    client.poll_transmit(&mut out);
    let Ok(Some(Accepted::Download(mut server))) = accept_octets(&out) else { panic!("download") };
    server.check_silence().unwrap();
    (client, server)
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
