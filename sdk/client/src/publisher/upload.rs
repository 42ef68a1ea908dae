//! One large body to the broker: read, sent and answered at the same time.

use bytes::BytesMut;
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::record::ProducerPosition;
use hilum_core::session::{Machine, Outgoing, UploadClient};
use hilum_core::wire::CloseCode;
use hilum_core::wire::large::{OpenUpload, UploadAnswer};
use hilum_core::{FlowName, Head};
use quinn::SendStream;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Ack;
use crate::connection::Client;
use crate::error::{PublishError, StreamError};
use crate::stream::Stream;

/// Large bodies give way to everything else on the connection.
const UPLOAD_PRIORITY: i32 = -1;

pub(super) async fn run(
    client: &Client,
    flow: &FlowName,
    position: ProducerPosition,
    mut head: Head,
    size: u64,
    body: impl AsyncRead + Unpin,
) -> Result<Ack, PublishError> {
    head.labels.clear();
    let unanswered = |source| PublishError::Unanswered { flow: flow.clone(), source };
    let mut stream = client.open_stream().await.map_err(unanswered)?;
    let mut machine = UploadClient::new(OpenUpload { flow: flow.clone(), position, head, size });
    let result = exchange(&mut stream, &mut machine, size, body).await;
    if result.is_err() {
        stream.abandon(CloseCode::Cancelled);
    }
    match result {
        Ok(UploadAnswer::Ack(ack)) => {
            Ok(Ack { sequence: position.sequence, durability: ack.durability, through_offset: ack.offset })
        }
        Ok(UploadAnswer::Ready(_)) => Err(unanswered(StreamError::Finished)),
        Ok(UploadAnswer::Refused(refusal)) => Err(PublishError::Refused { flow: flow.clone(), refusal }),
        Err(Failure::Body(error)) => Err(error),
        Err(Failure::Stream(error)) => Err(unanswered(client.closing_on_violation(error))),
    }
}

enum Failure {
    Body(PublishError),
    Stream(StreamError),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

async fn exchange(
    stream: &mut Stream,
    machine: &mut UploadClient,
    size: u64,
    body: impl AsyncRead + Unpin,
) -> Result<UploadAnswer, Failure> {
    let mut opening = BytesMut::new();
    machine.poll_transmit(&mut opening);
    stream.send.write_chunk(opening.freeze()).await.map_err(StreamError::from)?;
    match stream.next_event(machine).await? {
        UploadAnswer::Ready(_) => {}
        answer => return Ok(answer),
    }
    let Stream { send, recv, .. } = stream;
    // It fails only where the stream has ended, which writing will tell.
    let _ = send.set_priority(UPLOAD_PRIORITY);
    let answer = async {
        loop {
            let polled = machine.poll_event().map_err(StreamError::from)?;
            if let Some(answer) = polled {
                return Ok(answer);
            }
            match recv.read_chunk(BLOB_CHUNK_OCTETS, true).await.map_err(StreamError::from)? {
                Some(chunk) => machine.handle_data(&chunk.bytes),
                None => machine.handle_finish(),
            }
        }
    };
    tokio::pin!(answer);
    let sending = send_body(send, size, body);
    tokio::select! {
        biased;
        answered = &mut answer => return answered,
        sent = sending => match sent {
            Ok(()) => {}
            // The broker wants no more of it: the answer says why.
            Err(Failure::Stream(StreamError::Reset(_))) => {}
            Err(failure) => return Err(failure),
        },
    }
    answer.await
}

/// Sends the opening and exactly `size` octets.
async fn send_body(
    send: &mut SendStream,
    size: u64,
    mut body: impl AsyncRead + Unpin,
) -> Result<(), Failure> {
    let lost = |error| Failure::Stream(StreamError::from(error));
    let mut digest = Outgoing::new(size);
    let mut sent = 0;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(BLOB_CHUNK_OCTETS);
        let read = body.read_buf(&mut buffer).await.map_err(|error| Failure::Body(error.into()))?;
        let actual = sent + read as u64;
        if actual > size || (read == 0 && actual < size) {
            return Err(Failure::Body(PublishError::BodySize { announced: size, actual }));
        }
        if read == 0 {
            break;
        }
        let octets = digest.handle_octets(sent, buffer.split().freeze(), 0);
        send.write_chunk(octets.unwrap_or_default()).await.map_err(lost)?;
        sent = actual;
    }
    let digest = digest.digest().unwrap_or(hilum_core::Digest([0; 32]));
    send.write_all(&digest.0).await.map_err(lost)?;
    send.finish().map_err(|_| Failure::Stream(StreamError::Finished))
}
