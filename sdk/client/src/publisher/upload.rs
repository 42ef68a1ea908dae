//! One large body to the broker: read, sent and answered at the same time, and gone on with when the connection breaks.

use std::io::SeekFrom;

use bytes::BytesMut;
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::record::ProducerPosition;
use hilum_core::session::{Machine, Outgoing, UploadClient};
use hilum_core::wire::CloseCode;
use hilum_core::wire::large::{OpenUpload, UploadAnswer, UploadReady};
use hilum_core::{FlowName, Head, Timestamp};
use quinn::SendStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt};

use super::Ack;
use crate::connection::Client;
use crate::error::{PublishError, StreamError};
use crate::retry::{Retries, is_break, may_connect_later};
use crate::stream::Stream;

/// Large bodies give way to everything else on the connection.
const UPLOAD_PRIORITY: i32 = -1;

/// A large record on its way.
pub(super) struct Upload<'a, B, P> {
    flow: &'a FlowName,
    position: ProducerPosition,
    /// The broker's time when it was first ready for it.
    known_since: Option<Timestamp>,
    head: Head,
    size: u64,
    body: B,
    /// Where the body's first octet is in `body`.
    base: u64,
    outgoing: Outgoing,
    /// Called with the octets that were sent, which may become fewer when the connection broke.
    progress: P,
    retries: Retries,
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

/// Dropping an upload that is not answered tells the broker that nobody will go on with it.
struct Attempt(Stream);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abandon(CloseCode::Cancelled);
    }
}

impl<'a, B: AsyncRead + AsyncSeek + Unpin, P: FnMut(u64)> Upload<'a, B, P> {
    /// An upload of the `size` octets that `body` has from where it stands.
    pub(super) async fn new(
        flow: &'a FlowName,
        position: ProducerPosition,
        known_since: Option<Timestamp>,
        mut head: Head,
        size: u64,
        mut body: B,
        progress: P,
    ) -> Result<Self, PublishError> {
        head.labels.clear();
        let base = body.stream_position().await?;
        let (outgoing, retries) = (Outgoing::new(size), Retries::default());
        Ok(Self { flow, position, known_since, head, size, body, base, outgoing, progress, retries })
    }

    /// Sends it, on this connection or those that take its place.
    pub(super) async fn run(mut self, client: &Client) -> Result<Ack, PublishError> {
        let mut client = client.clone();
        loop {
            let source = match self.attempt(&client).await {
                Ok(UploadAnswer::Ack(ack)) => {
                    let (sequence, durability) = (self.position.sequence, ack.durability);
                    return Ok(Ack { sequence, durability, through_offset: ack.offset });
                }
                Ok(UploadAnswer::Refused(refusal)) => {
                    return Err(PublishError::Refused { flow: self.flow.clone(), refusal });
                }
                Ok(UploadAnswer::Ready(_)) => StreamError::Finished,
                Err(Failure::Body(error)) => return Err(error),
                Err(Failure::Stream(error)) => client.closing_on_violation(error),
            };
            client = self.reconnect(client, source).await?;
        }
    }

    /// The connection on which to go on.
    async fn reconnect(&mut self, client: Client, source: StreamError) -> Result<Client, PublishError> {
        if !is_break(&source) {
            return Err(PublishError::Unanswered { flow: self.flow.clone(), source });
        }
        while self.retries.wait().await {
            match client.renewed().await {
                Ok(client) => {
                    tracing::info!(flow = %self.flow, "an upload goes on over a new connection");
                    return Ok(client);
                }
                Err(error) if may_connect_later(&error) => {}
                Err(error) => {
                    return Err(PublishError::Reconnect { flow: self.flow.clone(), source: Box::new(error) });
                }
            }
        }
        Err(PublishError::Unanswered { flow: self.flow.clone(), source })
    }

    async fn attempt(&mut self, client: &Client) -> Result<UploadAnswer, Failure> {
        let mut attempt = Attempt(client.open_stream().await?);
        let stream = &mut attempt.0;
        let mut machine = UploadClient::new(OpenUpload {
            flow: self.flow.clone(),
            position: self.position,
            known_since: self.known_since,
            head: self.head.clone(),
            size: self.size,
        });
        let from = match stream.next_event(&mut machine).await? {
            UploadAnswer::Ready(UploadReady { from, known_since }) => {
                self.known_since.get_or_insert(known_since);
                from
            }
            answer => return Ok(answer),
        };
        let Stream { send, recv, .. } = stream;
        // It fails only where the stream has ended, which writing will tell.
        let _ = send.set_priority(UPLOAD_PRIORITY);
        let answer = async {
            loop {
                if let Some(answer) = machine.poll_event().map_err(StreamError::from)? {
                    return Ok(answer);
                }
                match recv.read_chunk(BLOB_CHUNK_OCTETS, true).await.map_err(StreamError::from)? {
                    Some(chunk) => machine.handle_data(&chunk.bytes),
                    None => machine.handle_finish(),
                }
            }
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answered = &mut answer => return answered,
            sent = self.send_body(send, from) => match sent {
                Ok(()) => {}
                // The broker wants no more of it: the answer says why.
                Err(Failure::Stream(StreamError::Reset(_))) => {}
                Err(failure) => return Err(failure),
            },
        }
        answer.await
    }

    /// Sends the octets from `from` on, and the digest of all.
    async fn send_body(&mut self, send: &mut SendStream, from: u64) -> Result<(), Failure> {
        let lost = |error| Failure::Stream(StreamError::from(error));
        let unread = |error| Failure::Body(PublishError::Body(error));
        let mut position = self.outgoing.begin_at(from);
        self.body.seek(SeekFrom::Start(self.base + position)).await.map_err(unread)?;
        (self.progress)(from);
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(BLOB_CHUNK_OCTETS);
            let read = self.body.read_buf(&mut buffer).await.map_err(unread)? as u64;
            if read == 0 {
                break;
            }
            let octets = self.outgoing.handle_octets(position, buffer.split().freeze(), from);
            let actual = position + read;
            let Some(octets) = octets else { return Err(self.wrong_size(actual)) };
            position = actual;
            if !octets.is_empty() {
                send.write_chunk(octets).await.map_err(lost)?;
                // Something got through, so the next break is a new one.
                self.retries.progressed();
                (self.progress)(position);
            }
        }
        let Some(digest) = self.outgoing.digest() else { return Err(self.wrong_size(position)) };
        send.write_all(&digest.0).await.map_err(lost)?;
        send.finish().map_err(|_| Failure::Stream(StreamError::Finished))
    }

    fn wrong_size(&self, actual: u64) -> Failure {
        Failure::Body(PublishError::BodySize { announced: self.size, actual })
    }
}
