//! The broker's end of an upload: policy first, then the body into the store, then the record's ordinary way.

use std::time::Duration;

use bytes::Bytes;
use hilum_core::policy::Permit;
use hilum_core::record::{Admitted, BlobId, Body, Draft, Head};
use hilum_core::session::UploadServer;
use hilum_core::wire::large::UploadAck;
use hilum_core::wire::publisher::Durability;
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{Digest, LogName, limits};
use hilum_store::{BlobError, BlobWriter};

use super::{Session, Stream, StreamError, read, refusal};
use crate::broker::About;
use crate::ingest::{Closed, Item, Lane, Settled};
use crate::telemetry::RecordSpan;

/// A client that sends nothing of a body for so long has given it up.
const STALL_TIME: Duration = Duration::from_secs(60);

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: UploadServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    machine.check_silence()?;
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
    let permit = match session.flows.policy.admit(&session.principal, &request.flow) {
        Ok(permit) => permit,
        Err(denial) => {
            let about = About { flow: Some(request.flow), ..About::default() };
            return Ok(Err(session.denied(about, &denial).await));
        }
    };
    if request.size > session.flows.body_octets_max {
        let reason =
            format!("the body has {} octets, the limit is {}", request.size, session.flows.body_octets_max);
        return Ok(Err(Refusal::new(RefusalCode::InvalidRecord, &reason)));
    }
    // Before the body, which may be long, and which a bad head would make useless.
    if let Err(refused) = draft(machine, request.head.clone(), Body::Inline(Bytes::new())) {
        return Ok(Err(refused));
    }
    let log = LogName::Flow(request.flow.clone());
    let mut sink = match Sink::new(session, &log, request.size).await {
        Ok(sink) => sink,
        Err(error) => return Ok(Err(unavailable(&error))),
    };
    machine.ready(0);
    machine.poll_transmit(&mut stream.out);
    stream.write_out().await?;
    let mut chunk = Some(Bytes::new());
    while let Some(octets) = chunk {
        let octets = match machine.handle_chunk(octets) {
            Ok(octets) => octets,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(error) = sink.write(octets).await {
            return Ok(Err(unavailable(&error)));
        }
        chunk = match tokio::time::timeout(STALL_TIME, read(&mut stream.recv)).await {
            Ok(chunk) => chunk?,
            Err(_) => {
                return Ok(Err(Refusal::retryable(RefusalCode::BodySize, "nothing more of the body came")));
            }
        };
    }
    let digest = match machine.handle_finish() {
        Ok(digest) => digest,
        Err(refused) => return Ok(Err(refused)),
    };
    Ok(submit(session, machine, &permit, sink, digest).await)
}

/// The record's way from draft to stored.
async fn submit(
    session: &Session,
    machine: &UploadServer,
    permit: &Permit,
    sink: Sink,
    digest: Digest,
) -> Result<UploadAck, Refusal> {
    let request = machine.request();
    let lane: &Lane = match session.flows.by_name.get(&request.flow) {
        Some(flow) => &flow.lane,
        None => return Err(Refusal::new(RefusalCode::UnknownFlow, "there is no such flow")),
    };
    let mut head = request.head.clone();
    let span = RecordSpan::begin(&request.flow, head.trace.as_ref(), request.size);
    if let Some(span) = &span {
        head.trace = Some(span.context());
    }
    let body = sink.finish().await.map_err(|error| unavailable(&error))?;
    let staged = if let Body::Blob(blob) = &body { Some(blob.id) } else { None };
    let received = match &body {
        Body::Inline(octets) => Digest::of(octets),
        Body::Blob(blob) => blob.digest,
    };
    if received != digest {
        if let Some(Err(error)) = delete(session, staged).await {
            tracing::warn!(flow = %request.flow, %error, "a refused body could not be deleted yet");
        }
        return Err(Refusal::retryable(RefusalCode::BodyDigest, "the body is not the one that was sent"));
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
            if let Some(Err(error)) = delete(session, staged).await {
                tracing::warn!(flow = %request.flow, %error, "a refused body could not be deleted yet");
            }
            return Err(refused);
        }
    };
    match settled.ok().and_then(|mut settled| settled.pop()) {
        Some(Settled::Stored(offset)) => {
            Ok(UploadAck { durability: Durability::Fsynced, offset: Some(offset) })
        }
        Some(Settled::Repeat) => Ok(UploadAck { durability: Durability::Fsynced, offset: None }),
        Some(Settled::Refused(refused)) => Err(refusal(&refused)),
        None => Err(Refusal::retryable(
            RefusalCode::Internal,
            "the flow stopped while the record was on its way; it may or may not be stored",
        )),
    }
}

async fn delete(session: &Session, staged: Option<BlobId>) -> Option<Result<(), BlobError>> {
    Some(session.flows.shared.blobs.delete(staged?).await)
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

/// Where an upload's octets go: into memory if they fit into a record, otherwise into the store.
enum Sink {
    Inline(Vec<u8>),
    Blob(Box<dyn BlobWriter>),
}

impl Sink {
    async fn new(session: &Session, log: &LogName, size: u64) -> Result<Self, BlobError> {
        if size <= limits::INLINE_BODY_OCTETS_MAX as u64 {
            return Ok(Self::Inline(Vec::new()));
        }
        Ok(Self::Blob(session.flows.shared.blobs.create(log, &session.principal.id).await?))
    }

    async fn write(&mut self, octets: Bytes) -> Result<(), BlobError> {
        match self {
            // The machine counts: no more comes than was announced.
            Self::Inline(body) => body.extend_from_slice(&octets),
            Self::Blob(writer) => writer.write(octets).await?,
        }
        Ok(())
    }

    async fn finish(self) -> Result<Body, BlobError> {
        match self {
            Self::Inline(body) => Ok(Body::Inline(body.into())),
            Self::Blob(writer) => Ok(Body::Blob(writer.finish().await?)),
        }
    }
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
