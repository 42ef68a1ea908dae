//! Downloads: the broker says what the body is, then its octets follow from the one that was asked for.

use bytes::{Bytes, BytesMut};

use super::super::{End, Input, Received, Violation, put};
use crate::digest::{Digest, Hasher};
use crate::wire::large::{DownloadAnswer, DownloadStart, OpenDownload};
use crate::wire::{CloseCode, Open, Refusal, RefusalCode};

/// The broker's side of a download: begins or refuses. After `start`, the octets from `request().from` on are to be written
/// raw, and the stream to be finished.
#[derive(Debug)]
pub struct DownloadServer {
    input: Input,
    request: OpenDownload,
    answer: Option<DownloadAnswer>,
}

impl DownloadServer {
    pub(in super::super) fn new(request: OpenDownload, input: Input) -> Self {
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

/// What is here of a body after its stream broke: a later stream goes on after it, if it is still the same body.
#[derive(Debug, Clone)]
pub struct Partial {
    start: DownloadStart,
    received: u64,
    hasher: Hasher,
}

impl Partial {
    /// What was announced of the whole body.
    #[must_use]
    pub fn start(&self) -> DownloadStart {
        self.start
    }

    /// Octets that are here.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }
}

/// The client's side of a download: checks the size and, where it has every octet since the first, the digest.
#[derive(Debug)]
pub struct DownloadClient {
    input: Input,
    open: Option<OpenDownload>,
    from: u64,
    partial: Option<Partial>,
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
    /// The body is not the one that a part is here of; the stream is of no further use.
    Changed,
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
        Self { input: Input::default(), open: Some(open), from, partial: None, state, chunk: Bytes::new() }
    }

    /// Asks for the rest of a body: for the octets after those that are here, whatever `open` says.
    #[must_use]
    pub fn resuming(open: OpenDownload, partial: Partial) -> Self {
        let open = OpenDownload { from: partial.received, ..open };
        Self { partial: Some(partial), ..Self::new(open) }
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
                let now = received.saturating_add(chunk.len() as u64);
                if now > start.size {
                    return Err(wrong_body("it is longer than was announced"));
                }
                *received = now;
                if let Some(hasher) = hasher {
                    hasher.update(&chunk);
                }
                Ok(Some(DownloadEvent::Octets(chunk)))
            }
            DownloadState::Body { .. } if self.input.end == End::Finished => {
                self.complete()?;
                Ok(Some(DownloadEvent::Complete))
            }
            DownloadState::Body { .. } | DownloadState::Ended => Ok(None),
        }
    }

    fn poll_answer(&mut self) -> Result<Option<DownloadEvent>, Violation> {
        match self.input.next::<DownloadAnswer>()? {
            Received::Frame(DownloadAnswer::Start(start)) => Ok(Some(self.begin(start))),
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

    fn begin(&mut self, start: DownloadStart) -> DownloadEvent {
        let hasher = match self.partial.take() {
            Some(partial) if partial.start != start => {
                self.state = DownloadState::Ended;
                return DownloadEvent::Changed;
            }
            Some(partial) => Some(partial.hasher),
            None => (self.from == 0).then(Hasher::new),
        };
        self.state = DownloadState::Body { start, received: self.from, hasher };
        self.chunk = self.input.decoder.take_rest();
        DownloadEvent::Started(start)
    }

    /// What is here, counting all octets that were given as events; none before the body began, after its end, and where
    /// its first octets were never asked for.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        let DownloadState::Body { start, received, hasher: Some(hasher) } = &self.state else { return None };
        Some(Partial { start: *start, received: *received, hasher: hasher.clone() })
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
