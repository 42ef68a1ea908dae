//! Large bodies from the broker, as a stream whose size and digest are checked, and that goes on after a lost connection.

use std::io::SeekFrom;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::session::{DownloadClient, DownloadEvent, Partial};
use hilum_core::wire::CloseCode;
use hilum_core::wire::large::{DownloadStart, OpenDownload};
use hilum_core::{Digest, FlowName, Offset};
use tokio::io::{AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::connection::Client;
use crate::error::{ReadError, StreamError};
use crate::retry::{Retries, is_break, may_connect_later};
use crate::stream::Stream;
use crate::subscription::{Delivery, Subscription};

/// How long a delivery may take to come again after its connection was lost.
const REDELIVERY_TIME: Duration = Duration::from_secs(60);
/// How long to look for it among what comes. While the broker has not noticed that its connection is gone, others may take all the
/// credit that we gave: they are given back then, and come again behind it.
const LOOK_TIME: Duration = Duration::from_secs(3);
/// How often the broker hears that a body is still being read: well within the shortest `ack_wait` of use.
const PROGRESS_TIME: Duration = Duration::from_millis(500);

/// A large body being read. Dropping it gives the stream up.
#[derive(Debug)]
pub struct LargeBody {
    client: Client,
    flow: FlowName,
    offset: Offset,
    stream: Stream,
    machine: DownloadClient,
    start: DownloadStart,
    complete: bool,
}

/// How a body begins.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
enum Begun {
    Started(Stream, DownloadClient, DownloadStart),
    /// It is another body than the one that a part is here of.
    Changed,
}

impl LargeBody {
    pub(crate) async fn open(client: &Client, open: OpenDownload) -> Result<Self, ReadError> {
        Self::open_after(client, open, None).await
    }

    /// Opens a body after the part that is here of it, or from `open.from` on where there is none, or the part is of another body.
    pub(crate) async fn open_after(
        client: &Client,
        open: OpenDownload,
        partial: Option<Partial>,
    ) -> Result<Self, ReadError> {
        let (flow, offset) = (open.flow.clone(), open.offset);
        let machine = match partial {
            Some(partial) => DownloadClient::resuming(open.clone(), partial),
            None => DownloadClient::new(open.clone()),
        };
        let begun = match Self::begin(client, machine).await {
            Ok(Begun::Changed) => Self::begin(client, DownloadClient::new(open)).await,
            begun => begun,
        };
        let source = match begun {
            Ok(Begun::Started(stream, machine, start)) => {
                let client = client.clone();
                return Ok(Self { client, flow, offset, stream, machine, start, complete: false });
            }
            Ok(Begun::Changed) => StreamError::Finished,
            Err(source) => client.closing_on_violation(source),
        };
        Err(ReadError::Body { flow, offset, source })
    }

    async fn begin(client: &Client, mut machine: DownloadClient) -> Result<Begun, StreamError> {
        let mut stream = client.open_stream().await?;
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        stream.send.write_chunk(out.freeze()).await?;
        stream.send.finish().map_err(|_| StreamError::Finished)?;
        match next_event(&mut stream, &mut machine).await? {
            DownloadEvent::Started(start) => Ok(Begun::Started(stream, machine, start)),
            DownloadEvent::Changed => {
                stream.abandon(CloseCode::Cancelled);
                Ok(Begun::Changed)
            }
            DownloadEvent::Refused(refusal) => Err(refusal.into()),
            DownloadEvent::Octets(_) | DownloadEvent::Complete => Err(StreamError::Finished),
        }
    }

    /// Octets of the whole body.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.start.size
    }

    /// SHA-256 of the whole body.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.start.digest
    }

    /// The next octets; none at the end, when size and digest were found right. Do not trust the octets before that.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.complete {
            return Ok(None);
        }
        let event = next_event(&mut self.stream, &mut self.machine).await;
        let source = match event {
            Ok(DownloadEvent::Octets(octets)) => return Ok(Some(octets)),
            Ok(DownloadEvent::Complete) => {
                self.complete = true;
                return Ok(None);
            }
            Ok(DownloadEvent::Started(_) | DownloadEvent::Changed | DownloadEvent::Refused(_)) => {
                StreamError::Finished
            }
            Err(error) => self.client.closing_on_violation(error),
        };
        Err(ReadError::Body { flow: self.flow.clone(), offset: self.offset, source })
    }

    /// Writes the rest of the body to `out`; the octets written.
    pub async fn write_to(mut self, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, ReadError> {
        let mut written = 0;
        while let Some(octets) = self.next_chunk().await? {
            out.write_all(&octets).await?;
            written += octets.len() as u64;
        }
        out.flush().await?;
        Ok(written)
    }
}

impl Drop for LargeBody {
    fn drop(&mut self) {
        if !self.complete {
            self.stream.abandon(CloseCode::Cancelled);
        }
    }
}

async fn next_event(stream: &mut Stream, machine: &mut DownloadClient) -> Result<DownloadEvent, StreamError> {
    loop {
        if let Some(event) = machine.poll_event()? {
            return Ok(event);
        }
        // A body that comes as fast as it is taken must not keep its connection waiting for the processor.
        tokio::task::coop::consume_budget().await;
        match stream.recv.read_chunk(BLOB_CHUNK_OCTETS, true).await? {
            Some(chunk) => machine.handle_chunk(chunk.bytes),
            None => machine.handle_finish(),
        }
    }
}

/// A body on its way into `out`.
struct Fetch<'a, O, P> {
    out: &'a mut O,
    /// Where the body's first octet goes in `out`.
    base: u64,
    /// What is written.
    partial: Option<Partial>,
    progress: P,
    retries: Retries,
}

impl Subscription {
    /// Writes the large body of a delivery to `out`, from where that stands, and gives the delivery back to be acked. `progress`
    /// hears how many octets are written. As long as octets come and are taken, the delivery does not lapse.
    ///
    /// When the connection is lost, this subscription is opened again over another one; when the delivery has come again, its body goes
    /// on after the octets that are written, if it is the same body still, and otherwise from the first. As always after a loss,
    /// other deliveries that were not acked come again too. Of a subscription that several readers share, another one may
    /// get the delivery: then the loss is the result, after a minute. After ten tries that get no further, the loss is the
    /// result. A body that became another and smaller one leaves old octets behind its end.
    pub async fn fetch_large<O: AsyncWrite + AsyncSeek + Unpin>(
        &mut self,
        mut delivery: Delivery,
        out: &mut O,
        progress: impl FnMut(u64),
    ) -> Result<Delivery, ReadError> {
        let base = out.stream_position().await?;
        let mut fetch = Fetch { out, base, partial: None, progress, retries: Retries::default() };
        loop {
            let source = match fetch.attempt(&delivery).await {
                Ok(()) => return Ok(delivery),
                Err(ReadError::Body { source, .. }) if is_break(&source) => source,
                Err(error) => return Err(error),
            };
            delivery = self.redelivered(&delivery, &mut fetch.retries, source).await?;
        }
    }

    /// Opens the subscription again and waits until a delivery has come again.
    async fn redelivered(
        &mut self,
        lost: &Delivery,
        retries: &mut Retries,
        source: StreamError,
    ) -> Result<Delivery, ReadError> {
        let mut reopened: Option<Instant> = None;
        while reopened.is_some() || retries.wait().await {
            match self.reopen().await {
                Ok(()) => {}
                Err(ReadError::Reconnect { source, .. }) if may_connect_later(&source) => {
                    reopened = None;
                    continue;
                }
                Err(ReadError::Stream { source, .. }) if is_break(&source) => {
                    reopened = None;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let begun = *reopened.get_or_insert_with(Instant::now);
            match tokio::time::timeout(LOOK_TIME, self.find(lost)).await {
                Ok(Ok(Some(delivery))) => return Ok(delivery),
                Ok(Err(ReadError::Stream { source, .. })) if is_break(&source) => reopened = None,
                Ok(Err(error)) => return Err(error),
                Err(_) if begun.elapsed() < REDELIVERY_TIME => {}
                // It went to another reader, or nowhere.
                Ok(Ok(None)) | Err(_) => break,
            }
        }
        let flow = lost.flow().clone();
        Err(ReadError::Body { flow, offset: lost.offset(), source })
    }

    /// The same delivery among those that come. The others are kept for `next`.
    async fn find(&mut self, lost: &Delivery) -> Result<Option<Delivery>, ReadError> {
        let mut others = std::collections::VecDeque::new();
        let found = loop {
            match self.next().await {
                Ok(Some(delivery))
                    if (delivery.offset(), delivery.part()) == (lost.offset(), lost.part()) =>
                {
                    break Ok(Some(delivery));
                }
                // Credit bounds how many these are.
                Ok(Some(delivery)) => others.push_back(delivery),
                other => break other,
            }
        };
        self.keep_for_next(others);
        found
    }
}

impl<O: AsyncWrite + AsyncSeek + Unpin, P: FnMut(u64)> Fetch<'_, O, P> {
    async fn attempt(&mut self, delivery: &Delivery) -> Result<(), ReadError> {
        let mut body = delivery.open_large_after(self.partial.clone()).await?;
        let mut written = body.machine.partial().map_or(0, |partial| partial.received());
        self.out.seek(SeekFrom::Start(self.base + written)).await?;
        (self.progress)(written);
        let mut told = Instant::now();
        loop {
            match body.next_chunk().await {
                Ok(Some(octets)) => {
                    self.out.write_all(&octets).await?;
                    if told.elapsed() >= PROGRESS_TIME {
                        told = Instant::now();
                        delivery.in_progress();
                    }
                    written += octets.len() as u64;
                    self.retries.progressed();
                    (self.progress)(written);
                }
                Ok(None) => return Ok(self.out.flush().await?),
                Err(error) => {
                    self.partial = body.machine.partial();
                    return Err(error);
                }
            }
        }
    }
}
