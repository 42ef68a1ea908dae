//! The two sides of uploads and downloads: frames to begin or to answer with, and raw octets between.

use bytes::{Bytes, BytesMut};

use super::{Input, Machine, Received, Violation, put};
use crate::digest::{Digest, Hasher};
use crate::wire::large::{DownloadAnswer, DownloadStart, OpenDownload, OpenUpload, UploadAck, UploadAnswer};
use crate::wire::{CloseCode, Open, Refusal, RefusalCode};

/// The client's side of an upload. After the first [`Machine::poll_transmit`], exactly the announced number of raw octets is to be
/// written and the stream to be finished. The answer may come before that: then the rest need not be sent.
#[derive(Debug)]
pub struct UploadClient {
    input: Input,
    open: Option<OpenUpload>,
    answered: bool,
}

impl UploadClient {
    /// Begins an upload.
    #[must_use]
    pub fn new(open: OpenUpload) -> Self {
        Self { input: Input::default(), open: Some(open), answered: false }
    }
}

impl Machine for UploadClient {
    type Event = UploadAnswer;

    fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    fn poll_event(&mut self) -> Result<Option<UploadAnswer>, Violation> {
        match self.input.next::<UploadAnswer>()? {
            Received::Frame(_) if self.answered => Err(Violation::unexpected("a second answer")),
            Received::Frame(answer) => {
                self.answered = true;
                Ok(Some(answer))
            }
            Received::Finished if !self.answered => {
                Err(Violation::new(CloseCode::Unexpected, "the stream ended without an answer"))
            }
            Received::Finished | Received::Nothing => Ok(None),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(open) = self.open.take() {
            put(&Open::Upload(open), out);
        }
    }

    /// Only the owner of the body knows.
    fn wants_finish(&self) -> bool {
        false
    }
}

/// The broker's side of an upload: counts the octets, and answers once.
#[derive(Debug)]
pub struct UploadServer {
    request: OpenUpload,
    received: u64,
    answer: Option<UploadAnswer>,
    answered: bool,
}

impl UploadServer {
    pub(super) fn new(request: OpenUpload) -> Self {
        Self { request, received: 0, answer: None, answered: false }
    }

    /// What the client wants to store.
    #[must_use]
    pub fn request(&self) -> &OpenUpload {
        &self.request
    }

    /// Takes octets that came and gives them back, if they are not more than was announced. Otherwise the upload is refused.
    pub fn handle_chunk(&mut self, chunk: Bytes) -> Result<Bytes, Refusal> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.request.size {
            let refusal = self.size_refusal("more");
            self.refuse(refusal.clone());
            return Err(refusal);
        }
        Ok(chunk)
    }

    /// The client finished its direction. Where octets are missing, the upload is refused.
    pub fn handle_finish(&mut self) -> Result<(), Refusal> {
        if self.received == self.request.size {
            return Ok(());
        }
        let refusal = self.size_refusal("fewer");
        self.refuse(refusal.clone());
        Err(refusal)
    }

    fn size_refusal(&self, how: &str) -> Refusal {
        let reason = format!("{how} octets came than the {} that were announced", self.request.size);
        Refusal::new(RefusalCode::BodySize, &reason)
    }

    /// The record is safe.
    pub fn ack(&mut self, ack: UploadAck) {
        self.answer_once(UploadAnswer::Ack(ack));
    }

    /// The record is not taken. Reading may stop.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.answer_once(UploadAnswer::Refused(refusal));
    }

    fn answer_once(&mut self, answer: UploadAnswer) {
        if !self.answered {
            self.answered = true;
            self.answer = Some(answer);
        }
    }

    /// Appends what there is to send.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(answer) = self.answer.take() {
            put(&answer, out);
        }
    }

    /// Whether the broker's direction is to be finished.
    #[must_use]
    pub fn wants_finish(&self) -> bool {
        self.answered && self.answer.is_none()
    }
}

/// The broker's side of a download: begins or refuses. After `start`, the octets from `request().from` on are to be written
/// raw, and the stream to be finished.
#[derive(Debug)]
pub struct DownloadServer {
    input: Input,
    request: OpenDownload,
    answer: Option<DownloadAnswer>,
}

impl DownloadServer {
    pub(super) fn new(request: OpenDownload, input: Input) -> Self {
        Self { input, request, answer: None }
    }

    /// What the client wants to read.
    #[must_use]
    pub fn request(&self) -> &OpenDownload {
        &self.request
    }

    /// The body begins after this frame. Refuses where the octet wanted is beyond the body's end; says whether it began.
    pub fn start(&mut self, size: u64, digest: Digest) -> bool {
        if self.request.from > size {
            let reason = format!("octet {} is beyond the end of the body at {size}", self.request.from);
            self.refuse(Refusal::new(RefusalCode::BodySize, &reason));
            return false;
        }
        self.answer = Some(DownloadAnswer::Start(DownloadStart { size, digest }));
        true
    }

    /// There is nothing to read. The stream is to be finished.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.answer = Some(DownloadAnswer::Refused(refusal));
    }

    /// Whether the client sent something after its request, which it may not.
    pub fn check_silence(&mut self) -> Result<(), Violation> {
        if self.input.decoder.is_mid_frame() {
            return Err(Violation::unexpected("octets after the request of a download"));
        }
        Ok(())
    }

    /// Appends what there is to send, except the body.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(answer) = self.answer.take() {
            put(&answer, out);
        }
    }
}

/// The client's side of a download: checks size and, where it read from the first octet, digest.
#[derive(Debug)]
pub struct DownloadClient {
    input: Input,
    open: Option<OpenDownload>,
    from: u64,
    state: DownloadState,
    /// The octets of the body that are here.
    chunk: Bytes,
}

#[derive(Debug)]
enum DownloadState {
    Opening,
    Body { start: DownloadStart, received: u64, hasher: Option<Hasher> },
    Ended,
}

/// What happened on a download stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadEvent {
    /// The body begins.
    Started(DownloadStart),
    /// Octets of the body.
    Octets(Bytes),
    /// The body is complete, and is what was announced.
    Complete,
    /// There is nothing to read.
    Refused(Refusal),
}

impl DownloadClient {
    /// Asks for a body.
    #[must_use]
    pub fn new(open: OpenDownload) -> Self {
        let from = open.from;
        let state = DownloadState::Opening;
        Self { input: Input::default(), open: Some(open), from, state, chunk: Bytes::new() }
    }

    /// Takes octets that came. Events are to be polled between two calls.
    pub fn handle_chunk(&mut self, chunk: Bytes) {
        if matches!(self.state, DownloadState::Opening) {
            self.input.handle_data(&chunk);
        } else {
            self.chunk = chunk;
        }
    }

    /// Takes note that the broker finished its direction.
    pub fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    /// Says what happened; to be called until there is nothing.
    pub fn poll_event(&mut self) -> Result<Option<DownloadEvent>, Violation> {
        match &mut self.state {
            DownloadState::Opening => self.poll_answer(),
            DownloadState::Body { start, received, hasher } if !self.chunk.is_empty() => {
                let chunk = std::mem::take(&mut self.chunk);
                *received = received.saturating_add(chunk.len() as u64);
                if *received > start.size {
                    return Err(wrong_body("it is longer than was announced"));
                }
                if let Some(hasher) = hasher {
                    hasher.update(&chunk);
                }
                Ok(Some(DownloadEvent::Octets(chunk)))
            }
            DownloadState::Body { .. } if self.input.end == super::End::Finished => {
                self.complete()?;
                Ok(Some(DownloadEvent::Complete))
            }
            DownloadState::Body { .. } | DownloadState::Ended => Ok(None),
        }
    }

    fn poll_answer(&mut self) -> Result<Option<DownloadEvent>, Violation> {
        match self.input.next::<DownloadAnswer>()? {
            Received::Frame(DownloadAnswer::Start(start)) => {
                let hasher = (self.from == 0).then(Hasher::new);
                self.state = DownloadState::Body { start, received: self.from, hasher };
                self.chunk = self.input.decoder.take_rest();
                Ok(Some(DownloadEvent::Started(start)))
            }
            Received::Frame(DownloadAnswer::Refused(refusal)) => {
                self.state = DownloadState::Ended;
                Ok(Some(DownloadEvent::Refused(refusal)))
            }
            Received::Finished => {
                Err(Violation::new(CloseCode::Unexpected, "the stream ended without an answer"))
            }
            Received::Nothing => Ok(None),
        }
    }

    fn complete(&mut self) -> Result<(), Violation> {
        let state = std::mem::replace(&mut self.state, DownloadState::Ended);
        let DownloadState::Body { start, received, hasher } = state else { return Ok(()) };
        if received != start.size {
            return Err(wrong_body("it ended early"));
        }
        if hasher.is_some_and(|hasher| hasher.finish() != start.digest) {
            return Err(wrong_body("its digest is not the one announced"));
        }
        Ok(())
    }

    /// Appends what there is to send, after which our direction is finished.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) {
        if let Some(open) = self.open.take() {
            put(&Open::Download(open), out);
        }
    }
}

fn wrong_body(how: &str) -> Violation {
    Violation::new(CloseCode::Malformed, format!("the body is not what was announced: {how}"))
}
