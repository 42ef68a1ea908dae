//! Large bodies from the broker, as a stream whose size and digest are checked.

use bytes::{Bytes, BytesMut};
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::session::{DownloadClient, DownloadEvent};
use hilum_core::wire::CloseCode;
use hilum_core::wire::large::{DownloadStart, OpenDownload};
use hilum_core::{Digest, FlowName, Offset};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::connection::Client;
use crate::error::{ReadError, StreamError};
use crate::stream::Stream;

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

impl LargeBody {
    pub(crate) async fn open(client: &Client, open: OpenDownload) -> Result<Self, ReadError> {
        let (flow, offset) = (open.flow.clone(), open.offset);
        let opened = Self::begin(client, open).await;
        let (stream, machine, start) = opened.map_err(|source| {
            let source = client.closing_on_violation(source);
            ReadError::Body { flow: flow.clone(), offset, source }
        })?;
        Ok(Self { client: client.clone(), flow, offset, stream, machine, start, complete: false })
    }

    async fn begin(
        client: &Client,
        open: OpenDownload,
    ) -> Result<(Stream, DownloadClient, DownloadStart), StreamError> {
        let mut stream = client.open_stream().await?;
        let mut machine = DownloadClient::new(open);
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        stream.send.write_chunk(out.freeze()).await?;
        stream.send.finish().map_err(|_| StreamError::Finished)?;
        match next_event(&mut stream, &mut machine).await? {
            DownloadEvent::Started(start) => Ok((stream, machine, start)),
            DownloadEvent::Refused(refusal) => Err(refusal.into()),
            DownloadEvent::Octets(_) | DownloadEvent::Complete | DownloadEvent::Changed => Err(StreamError::Finished),
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
            Ok(DownloadEvent::Started(_) | DownloadEvent::Changed | DownloadEvent::Refused(_)) => StreamError::Finished,
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
        match stream.recv.read_chunk(BLOB_CHUNK_OCTETS, true).await? {
            Some(chunk) => machine.handle_chunk(chunk.bytes),
            None => machine.handle_finish(),
        }
    }
}
