//! Publishing: records are put in line, sent in as few frames as possible, and acked in bulk.

mod driver;
mod upload;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hilum_core::record::{ProducerId, ProducerPosition, TraceContext};
use hilum_core::session::{self, PublisherClient, PublisherClientEvent};
use hilum_core::wire::publisher::{Durability, OpenPublisher};
use hilum_core::wire::{Refusal, RefusalCode};
use hilum_core::{Attribute, FlowName, Head, Offset, Timestamp};
use tokio::io::{AsyncRead, AsyncSeek};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::connection::Client;
use crate::error::{OpenError, PublishError, StreamError};
use driver::{Answer, Command, Driver};
use upload::Upload;

/// Records that wait for the task that sends them. More wait in `enqueue`.
const LINE_RECORDS_MAX: usize = 1024;

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What is known without the body. Labels are dropped: the flow sets them.
    pub head: Head,
    /// Up to [`hilum_core::limits::INLINE_BODY_OCTETS_MAX`] octets; see [`Publisher::publish_large`] for more.
    pub body: Bytes,
}

impl Record {
    /// A record of now, without key and attributes.
    #[must_use]
    pub fn new(content_type: &str, body: Bytes) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let head = Head {
            time,
            expires: None,
            deliver_after: None,
            key: None,
            content_type: content_type.to_owned(),
            attributes: Vec::new(),
            labels: Vec::new(),
            trace: None,
        };
        Self { head, body }
    }

    /// The same with a key: records of one key keep their order everywhere.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.head.key = Some(key.to_owned());
        self
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with_attribute(mut self, name: &str, value: &str) -> Self {
        self.head.attributes.push(Attribute { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// The same, but nobody gets it from then on, by the broker's clock.
    #[must_use]
    pub fn with_expires(mut self, at: Timestamp) -> Self {
        self.head.expires = Some(at);
        self
    }

    /// The same, but nobody gets it once this long has passed since the record's own time.
    #[must_use]
    pub fn with_time_to_live(self, duration: Duration) -> Self {
        let at = after(self.head.time, duration);
        self.with_expires(at)
    }

    /// The same, but nobody gets it before then, by the broker's clock.
    #[must_use]
    pub fn with_deliver_after(mut self, at: Timestamp) -> Self {
        self.head.deliver_after = Some(at);
        self
    }

    /// The same, but nobody gets it until this long has passed since the record's own time.
    #[must_use]
    pub fn with_delay(self, duration: Duration) -> Self {
        let at = after(self.head.time, duration);
        self.with_deliver_after(at)
    }

    /// The same as part of a trace (W3C Trace Context).
    #[must_use]
    pub fn with_trace(mut self, trace: TraceContext) -> Self {
        self.head.trace = Some(trace);
        self
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

/// The record is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Its number in this producer's sequence.
    pub sequence: u64,
    /// How safe it is.
    pub durability: Durability,
    /// Where the last record of those acked together is, which is at or after this one; none where an earlier try had
    /// stored it.
    pub through_offset: Option<Offset>,
}

/// Goes on with the sequence of an earlier publisher, so that records that were sent and not acked can be sent again without
/// being stored twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// [`Publisher::producer`] of the earlier one.
    pub producer: ProducerId,
    /// The number of the first record that will be published: that of the first one without an ack, or one after the
    /// last one with.
    pub next_sequence: u64,
    /// [`Publisher::known_since`] of the earlier one; none if nothing was ever published with this producer.
    pub known_since: Option<Timestamp>,
}

/// Publishes to one flow. When it is dropped, what is in line is still sent as long as the runtime lives; [`Publisher::finish`]
/// waits for that.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    flow: FlowName,
    producer: ProducerId,
    last_sequence: u64,
    known_since: Timestamp,
    durability: Durability,
    line: mpsc::Sender<Command>,
    task: JoinHandle<Result<(), StreamError>>,
    /// How the stream ended, for those who come later.
    ended: Arc<Mutex<Option<StreamError>>>,
    /// Positions for large records that no upload uses now.
    upload_positions: Mutex<Vec<ProducerPosition>>,
}

impl Client {
    /// Opens a publisher with a sequence of its own.
    pub async fn publisher(&self, flow: &FlowName) -> Result<Publisher, OpenError> {
        let producer = random_producer().map_err(|source| open_error(flow, source))?;
        self.publisher_resuming(flow, Resume { producer, next_sequence: 1, known_since: None }).await
    }

    /// Opens a publisher that goes on with the sequence of an earlier one.
    pub async fn publisher_resuming(&self, flow: &FlowName, resume: Resume) -> Result<Publisher, OpenError> {
        self.open_publisher(flow, resume).await.map_err(|source| open_error(flow, source))
    }

    async fn open_publisher(&self, flow: &FlowName, resume: Resume) -> Result<Publisher, StreamError> {
        let Resume { producer, next_sequence, known_since } = resume;
        let mut stream = self.open_stream().await?;
        let open = OpenPublisher { flow: flow.clone(), producer, known_since };
        let mut machine = PublisherClient::new(open, next_sequence);
        let opened = match stream.next_event(&mut machine).await {
            Ok(PublisherClientEvent::Opened(opened)) => opened,
            Ok(PublisherClientEvent::Refused(refusal)) => return Err(StreamError::Refused(refusal)),
            Ok(_) => return Err(StreamError::Finished),
            Err(error) => return Err(self.closing_on_violation(error)),
        };
        let (line, commands) = mpsc::channel(LINE_RECORDS_MAX);
        let ended = Arc::new(Mutex::new(None));
        let driver =
            Driver::new(self.clone(), flow.clone(), stream, machine, next_sequence, commands, ended.clone());
        Ok(Publisher {
            client: self.clone(),
            flow: flow.clone(),
            producer,
            last_sequence: opened.last_sequence,
            known_since: known_since.unwrap_or(opened.known_since),
            durability: opened.durability,
            line,
            task: tokio::spawn(driver.run()),
            ended,
            upload_positions: Mutex::new(Vec::new()),
        })
    }

    /// Passes an error on; the connection ends with a broken protocol.
    pub(crate) fn closing_on_violation(&self, error: StreamError) -> StreamError {
        if let StreamError::Protocol(violation) = &error {
            self.close_for(violation);
        }
        error
    }
}

fn open_error(flow: &FlowName, source: StreamError) -> OpenError {
    OpenError { purpose: "publish to", flow: flow.clone(), source }
}

/// 128 random bits, which no two publishers share.
fn random_producer() -> Result<ProducerId, StreamError> {
    let mut id = [0; 16];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    let filled = random.fill(&mut id);
    filled.map_err(|_| StreamError::Lost(crate::Lost::Transport("no randomness".to_owned())))?;
    Ok(ProducerId(id))
}

impl Publisher {
    /// Who numbers the records, for [`Resume`].
    #[must_use]
    pub fn producer(&self) -> ProducerId {
        self.producer
    }

    /// The last number of this producer that the broker had settled when this publisher was opened; 0 for none. Records up to
    /// it need not be sent again.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The broker's time when the producer's first publisher was opened, for [`Resume`]: by it the broker tells a producer that
    /// it has forgotten from one of which nothing is stored.
    #[must_use]
    pub fn known_since(&self) -> Timestamp {
        self.known_since
    }

    /// How safe records of this flow are when they are acked.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Where the records go.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// Publishes one record and waits for its ack.
    pub async fn publish(&self, record: Record) -> Result<Ack, PublishError> {
        self.enqueue(record).await?.await
    }

    /// Puts a record in line, waiting while the line is full. Records are stored in the order in which they are put in
    /// line, and numbered in it; one that is not valid takes no number.
    pub async fn enqueue(&self, record: Record) -> Result<PendingAck, PublishError> {
        let (answer, pending) = self.waiting();
        let sent = self.line.send(Command::Publish(record, answer)).await;
        sent.map_err(|_| self.unanswered())?;
        Ok(pending)
    }

    /// Publishes records that are stored together or not at all, and waits for their acks: 1 to
    /// [`PUBLISH_RECORDS_MAX`] of them, which together fit into a frame of [`FRAME_OCTETS_MAX`] octets. Dropping the future does not
    /// call them back.
    ///
    /// Where the broker fails, also by a crash or a power cut, its next start finds all of them or none. Where the flow's plugins
    /// stop one of them, or one has expired, all are refused, and all of them are in the flow's quarantine, where an operator may
    /// release each. So a batch that is sent again, after the connection was lost, with the same numbers is never stored in part.
    ///
    /// [`PUBLISH_RECORDS_MAX`]: hilum_core::limits::PUBLISH_RECORDS_MAX
    /// [`FRAME_OCTETS_MAX`]: hilum_core::limits::FRAME_OCTETS_MAX
    pub async fn publish_batch(&self, records: Vec<Record>) -> Result<Vec<Ack>, PublishError> {
        if records.is_empty() {
            return Err(PublishError::InvalidBatch(session::PublishError::BatchRecords(0)));
        }
        let (batch, waiting): (Vec<_>, Vec<_>) = records
            .into_iter()
            .map(|record| {
                let (answer, pending) = self.waiting();
                ((record, answer), pending)
            })
            .unzip();
        self.line.send(Command::Batch(batch)).await.map_err(|_| self.unanswered())?;
        let mut acks = Vec::with_capacity(waiting.len());
        let mut cause: Option<(usize, Refusal)> = None;
        for (index, pending) in waiting.into_iter().enumerate() {
            match pending.await {
                Ok(ack) => acks.push(ack),
                Err(PublishError::Refused { refusal, .. }) => {
                    let follows = |code| code == RefusalCode::RefusedWithBatch;
                    if cause.as_ref().is_none_or(|(_, first)| follows(first.code) && !follows(refusal.code)) {
                        cause = Some((index, refusal));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        match cause {
            Some((index, refusal)) => {
                Err(PublishError::BatchRefused { flow: self.flow.clone(), index, refusal })
            }
            None => Ok(acks),
        }
    }

    fn waiting(&self) -> (Answer, PendingAck) {
        let (answer, pending) = oneshot::channel();
        (answer, PendingAck { pending, flow: self.flow.clone(), ended: self.ended.clone() })
    }

    /// Publishes a record whose body is the `size` octets that `body` has from where it stands. They are sent as they are read,
    /// over a stream of their own. When the connection is lost, the upload goes on over another one, from the octet that
    /// the broker then wants; after ten tries that get no further, the loss is the result. Dropping the future gives the upload
    /// up.
    pub async fn publish_large(
        &self,
        head: Head,
        size: u64,
        body: impl AsyncRead + AsyncSeek + Unpin,
    ) -> Result<Ack, PublishError> {
        self.publish_large_watched(head, size, body, |_| {}).await
    }

    /// As [`Publisher::publish_large`]; `progress` hears how many octets of the body are sent, which are fewer again when the
    /// connection was lost.
    pub async fn publish_large_watched(
        &self,
        head: Head,
        size: u64,
        body: impl AsyncRead + AsyncSeek + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Ack, PublishError> {
        let position = self.take_upload_position()?;
        let upload = Upload::new(&self.flow, position, None, head, size, body, progress).await?;
        let ack = upload.run(&self.client).await?;
        // Only after an ack is the next number of this position free of doubt; otherwise the producer is forgotten.
        let next = ProducerPosition { sequence: position.sequence + 1, ..position };
        self.upload_positions.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(next);
        Ok(ack)
    }

    fn take_upload_position(&self) -> Result<ProducerPosition, PublishError> {
        let mut idle = self.upload_positions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(position) = idle.pop() {
            return Ok(position);
        }
        let flow = self.flow.clone();
        let producer = random_producer().map_err(|source| PublishError::Unanswered { flow, source })?;
        Ok(ProducerPosition { producer, sequence: 1 })
    }

    /// As [`Publisher::publish_large`], at a position of the caller's, so that the same record can be sent again by whoever comes
    /// after us, and is stored once: they say the time at which the first try began, as [`Publisher::known_since`] has it, and
    /// the first one none. The producer must not be that of a [`Publisher`], and must upload one body at a time.
    pub async fn publish_large_at(
        &self,
        position: ProducerPosition,
        known_since: Option<Timestamp>,
        head: Head,
        size: u64,
        body: impl AsyncRead + AsyncSeek + Unpin,
    ) -> Result<Ack, PublishError> {
        Upload::new(&self.flow, position, known_since, head, size, body, |_| {})
            .await?
            .run(&self.client)
            .await
    }

    /// Sends what is in line, waits for all acks and ends the stream.
    pub async fn finish(self) -> Result<(), PublishError> {
        let Self { line, task, flow, .. } = self;
        drop(line);
        let result = task.await.unwrap_or(Err(StreamError::Finished));
        result.map_err(|source| PublishError::Unanswered { flow, source })
    }

    fn unanswered(&self) -> PublishError {
        PublishError::Unanswered { flow: self.flow.clone(), source: end_of(&self.ended) }
    }
}

fn end_of(ended: &Mutex<Option<StreamError>>) -> StreamError {
    let ended = ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    ended.clone().unwrap_or(StreamError::Finished)
}

/// The ack to come of a record in line. Dropping it does not call the record back.
pub struct PendingAck {
    pending: oneshot::Receiver<Result<Ack, PublishError>>,
    flow: FlowName,
    ended: Arc<Mutex<Option<StreamError>>>,
}

impl fmt::Debug for PendingAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingAck({})", self.flow)
    }
}

impl Future for PendingAck {
    type Output = Result<Ack, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.pending).poll(context)) {
            Ok(result) => result,
            Err(_) => Err(PublishError::Unanswered { flow: self.flow.clone(), source: end_of(&self.ended) }),
        })
    }
}
