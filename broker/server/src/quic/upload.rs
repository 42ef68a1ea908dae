//! The broker's end of an upload: policy first, then the body into the store, then the record's ordinary way.

mod staging;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hilum_core::policy::Permit;
use hilum_core::record::{Admitted, BlobId, Body, Draft, Head};
use hilum_core::session::UploadServer;
use hilum_core::wire::large::UploadAck;
use hilum_core::wire::{CloseCode, Refusal, RefusalCode};
use hilum_core::{Digest, LogName};
use hilum_store::BlobError;
use quinn::ReadError;

use self::staging::{Staging, Turn, UploadKey};
use super::publisher::{durability, unknown};
use super::{LEASED_READ_OCTETS, Session, Stream, StreamError, close_code, refusal};
use crate::broker::About;
use crate::ingest::{Closed, Item, Lane, Settled};
use crate::telemetry::RecordSpan;

pub(super) use self::staging::Uploads;

/// A client that sends nothing of a body for so long has given it up, or lost its connection.
const STALL_TIME: Duration = Duration::from_secs(60);
/// Pieces of a body that are taken from QUIC at once: one comes in each packet.
const PIECES_AT_ONCE: usize = 128;

/// What the store holds of a body before it makes its sender wait.
const AHEAD_OCTETS: u64 = hilum_store::limits::BLOB_AHEAD_OCTETS_MAX as u64;

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: UploadServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    machine.check_silence()?;
    // Further ones wait here, before they hold anything.
    let _slot = session.uploading.acquire().await.expect("the semaphore is never closed");
    match receive(session, &mut machine, &mut stream).await? {
        Ok(ack) => machine.ack(ack),
        Err(refused) => machine.refuse(refused),
    }
    machine.poll_transmit(&mut stream.out);
    stream.write_out().await?;
    stream.finish();
    Ok(())
}

async fn receive(
    session: &Session,
    machine: &mut UploadServer,
    stream: &mut Stream,
) -> Result<Result<UploadAck, Refusal>, StreamError> {
    let request = machine.request().clone();
    if let Err(refused) = permit(session, machine).await {
        return Ok(Err(refused));
    }
    let Some(flow) = session.flows.by_name.get(&request.flow) else {
        return Ok(Err(Refusal::new(RefusalCode::UnknownFlow, "there is no such flow")));
    };
    let (principal, position) = (session.principal.id.clone(), request.position);
    let key = UploadKey { principal, flow: request.flow.clone(), position };
    let Some((turn, staged)) = session.uploads.take(&key, request.size).await else {
        return Ok(Err(Refusal::retryable(RefusalCode::Busy, "another stream has this upload")));
    };
    // Kept until the record is settled: so long the flow remembers the producer.
    let known = match flow.lane.producer(position.producer, request.known_since) {
        Ok(known) => known,
        Err(error) => return Ok(Err(unknown(error))),
    };
    if known.last_settled >= position.sequence {
        return Ok(Ok(UploadAck { durability: durability(flow.lane.durability()), offset: None }));
    }
    // What this upload will hold: what came and is not written yet, or all of a small one until it is stored.
    let _lease = flow.lane.uploads().take(request.size.min(AHEAD_OCTETS) + LEASED_READ_OCTETS as u64).await;
    // A body is read as fast as it is written. What waits meanwhile must not keep the connection's records from coming.
    let _widened = session.window.widen();
    let staging = match staged {
        Some(staging) => staging,
        None => {
            let (blobs, log) = (&*session.flows.shared.blobs, LogName::Flow(request.flow));
            match Staging::new(blobs, &log, &session.principal.id, request.size).await {
                Ok(staging) => staging,
                Err(error) => return Ok(Err(unavailable(&error))),
            }
        }
    };
    machine.ready(staging.received(), known.known_since);
    machine.poll_transmit(&mut stream.out);
    let (digest, staging) = match body(session, machine, stream, &turn, staging).await {
        Came::Whole(digest, staging) => (digest, staging),
        Came::Refused(refused) => return Ok(Err(refused)),
        Came::Broken(staging, how) => {
            turn.park(staging).await;
            return how;
        }
        Came::GivenUp(error) => return Err(error),
    };
    // Until the record is settled, the upload is under way: a newer stream waits for what becomes of it.
    // Asked again: a body may take hours, and another configuration may have taken effect.
    let flow_name = &machine.request().flow;
    let permit = match session.flows.rules().policy.admit(&session.principal, flow_name) {
        Ok(permit) => permit,
        Err(denial) => {
            let about = About { flow: Some(flow_name.clone()), ..About::default() };
            return Ok(Err(session.denied(about, &denial).await));
        }
    };
    let submitted = submit(session, machine, &flow.lane, &permit, (staging, digest)).await;
    drop(turn);
    Ok(submitted)
}

/// Policy first. Then what would make the body useless, which may be long.
async fn permit(session: &Session, machine: &UploadServer) -> Result<Permit, Refusal> {
    let request = machine.request();
    let permit = match session.flows.rules().policy.admit(&session.principal, &request.flow) {
        Ok(permit) => permit,
        Err(denial) => {
            let about = About { flow: Some(request.flow.clone()), ..About::default() };
            return Err(session.denied(about, &denial).await);
        }
    };
    let limit = session.flows.body_octets_max;
    if request.size > limit {
        let reason = format!("the body has {} octets, the limit is {limit}", request.size);
        return Err(Refusal::new(RefusalCode::InvalidRecord, &reason));
    }
    draft(machine, request.head.clone(), Body::Inline(Bytes::new())).map(|_| permit)
}

/// How much of a body came.
enum Came {
    /// All of it, and its digest as the client computed it.
    Whole(Digest, Staging),
    /// Something of it that is of no use.
    Refused(Refusal),
    /// A part of it; what to do with the stream.
    Broken(Staging, Result<Result<UploadAck, Refusal>, StreamError>),
    /// A part of it that nobody will go on with.
    GivenUp(StreamError),
}

async fn body(
    session: &Session,
    machine: &mut UploadServer,
    stream: &mut Stream,
    turn: &Turn,
    mut staging: Staging,
) -> Came {
    if let Err(error) = stream.write_out().await {
        return Came::Broken(staging, Err(error));
    }
    let mut pieces = vec![Bytes::new(); PIECES_AT_ONCE];
    loop {
        let read = tokio::select! {
            biased;
            () = turn.asked_to_leave() => {
                let refused = Refusal::retryable(RefusalCode::Busy, "another stream took this upload over");
                return Came::Broken(staging, Ok(Err(refused)));
            }
            read = tokio::time::timeout(STALL_TIME, stream.recv.read_chunks(&mut pieces)) => read,
        };
        let count = match read {
            Ok(Ok(Some(count))) => count,
            Ok(Ok(None)) => break,
            Ok(Err(error)) if is_given_up(&error) => return Came::GivenUp(error.into()),
            Ok(Err(error)) => return Came::Broken(staging, Err(error.into())),
            Err(_) => {
                let refused = Refusal::retryable(RefusalCode::BodySize, "nothing more of the body came");
                return Came::Broken(staging, Ok(Err(refused)));
            }
        };
        session.window.read(pieces[..count].iter().map(Bytes::len).sum());
        let octets = match join(machine, &mut pieces[..count]) {
            Ok(octets) => octets,
            Err(refused) => return Came::Refused(refused),
        };
        let count = octets.len();
        if count > 0
            && let Err(error) = staging.write(octets).await
        {
            return Came::Refused(unavailable(&error));
        }
        session.pace.give_way(count).await;
    }
    match machine.handle_finish() {
        Ok(digest) => Came::Whole(digest, staging),
        Err(refused) => Came::Refused(refused),
    }
}

/// The octets of the body in what came, together: each write costs a way to the store's threads and back.
fn join(machine: &mut UploadServer, pieces: &mut [Bytes]) -> Result<Bytes, Refusal> {
    let mut octets = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        // Taken, so that the packet that it came in is let go of.
        octets.extend_from_slice(&machine.handle_chunk(std::mem::take(piece))?);
    }
    Ok(octets.freeze())
}

/// Whether the client says that it will not come back with it.
fn is_given_up(error: &ReadError) -> bool {
    matches!(error, ReadError::Reset(code) if *code == close_code(CloseCode::Cancelled))
}

/// The record's way from draft to stored.
async fn submit(
    session: &Session,
    machine: &UploadServer,
    lane: &Lane,
    permit: &Permit,
    (staging, announced): (Staging, Digest),
) -> Result<UploadAck, Refusal> {
    let request = machine.request();
    let mut head = request.head.clone();
    let span = RecordSpan::begin(&request.flow, head.trace.as_ref(), request.size);
    if let Some(span) = &span {
        head.trace = Some(span.context());
    }
    let (body, digest) = staging.finish().await.map_err(|error| unavailable(&error))?;
    let staged = if let Body::Blob(blob) = &body { Some(blob.id) } else { None };
    if digest != announced {
        delete(session, machine, staged).await;
        let reason = "the body that came is not the one that its sender read: their digests differ";
        return Err(Refusal::retryable(RefusalCode::BodyDigest, reason));
    }
    let settled = match admit(session, machine, permit, head, body) {
        Ok(record) => lane.submit(vec![Item { record, span }]).await.map_err(|Closed| {
            Refusal::retryable(RefusalCode::Unavailable, "the flow takes no records: the broker is stopping")
        }),
        Err(refused) => Err(refused),
    };
    let settled = match settled {
        Ok(answer) => answer.await,
        Err(refused) => {
            // The flow never heard of the body, so nobody else lets go of it.
            delete(session, machine, staged).await;
            return Err(refused);
        }
    };
    match settled.ok().and_then(|mut settled| settled.pop()) {
        Some(Settled::Stored(offset)) => {
            Ok(UploadAck { durability: durability(lane.durability()), offset: Some(offset) })
        }
        Some(Settled::Repeat) => Ok(UploadAck { durability: durability(lane.durability()), offset: None }),
        Some(Settled::Refused(refused)) => Err(refusal(&refused)),
        None => Err(Refusal::retryable(
            RefusalCode::Internal,
            "the flow stopped while the record was on its way; it may or may not be stored",
        )),
    }
}

async fn delete(session: &Session, machine: &UploadServer, staged: Option<BlobId>) {
    let Some(blob) = staged else { return };
    if let Err(error) = session.flows.shared.blobs.delete(blob).await {
        let flow = &machine.request().flow;
        tracing::warn!(%flow, %blob, %error, "a refused body could not be deleted yet");
    }
}

fn draft(machine: &UploadServer, head: Head, body: Body) -> Result<Draft, Refusal> {
    let request = machine.request();
    Draft::new(request.flow.clone(), head, body, Some(request.position))
        .map_err(|error| Refusal::new(RefusalCode::InvalidRecord, &error.to_string()))
}

/// The first three steps of a record's way.
fn admit(
    session: &Session,
    machine: &UploadServer,
    permit: &Permit,
    head: Head,
    body: Body,
) -> Result<Admitted, Refusal> {
    draft(machine, head, body)?
        .attest(session.principal.clone())
        .admit(permit)
        .map_err(|error| Refusal::new(RefusalCode::Denied, &error.to_string()))
}

fn unavailable(error: &BlobError) -> Refusal {
    tracing::error!(%error, "a large body could not be stored");
    // The broker's own log has the paths and the system's words.
    let reason = match error {
        BlobError::DiskFull(_) => "the body could not be stored: the broker's disk is full",
        BlobError::Overloaded(_) => "the body could not be stored: too much waits for the broker's disk",
        _ => "the body could not be stored; the broker's log says why",
    };
    Refusal::retryable(RefusalCode::Unavailable, reason)
}
