//! Uploads: the broker says where to begin, the client sends the rest of the body and the digest of all of it.

use bytes::{Buf as _, Bytes, BytesMut};

use super::super::{Input, Machine, Received, Violation, put};
use crate::digest::{Digest, Hasher};
use crate::limits::DIGEST_OCTETS;
use crate::record::Timestamp;
use crate::wire::large::{OpenUpload, UploadAck, UploadAnswer, UploadReady};
use crate::wire::{CloseCode, Open, Refusal, RefusalCode};

/// The client's side of an upload. After the first [`Machine::poll_transmit`], nothing is sent until the broker says from which
/// octet on; then the rest of the body, its digest, and the end of the stream. Ack or refusal may come at any time: what is
/// not sent by then need not be sent.
#[derive(Debug)]
pub struct UploadClient {
    input: Input,
    open: Option<OpenUpload>,
    size: u64,
    is_ready: bool,
    answered: bool,
}

impl UploadClient {
    /// Begins an upload, or goes on with one that was begun with the same flow, position and size.
    #[must_use]
    pub fn new(open: OpenUpload) -> Self {
        let size = open.size;
        Self { input: Input::default(), open: Some(open), size, is_ready: false, answered: false }
    }

    fn check(&mut self, answer: &UploadAnswer) -> Result<(), Violation> {
        if self.answered {
            return Err(Violation::unexpected("a second answer"));
        }
        match answer {
            UploadAnswer::Ready(_) if self.is_ready => Err(Violation::unexpected("a second ready")),
            UploadAnswer::Ready(UploadReady { from, .. }) if *from > self.size => {
                Err(Violation::new(CloseCode::Sequence, "the broker has more octets than the body"))
            }
            UploadAnswer::Ready(_) => {
                self.is_ready = true;
                Ok(())
            }
            UploadAnswer::Ack(_) | UploadAnswer::Refused(_) => {
                self.answered = true;
                Ok(())
            }
        }
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
            Received::Frame(answer) => {
                self.check(&answer)?;
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

/// The body of an upload over all its tries: what of it was hashed, so that a try that goes on in the middle still ends with
/// the digest of the whole.
///
/// ```
/// # use {bytes::Bytes, hilum_core::{Digest, session::Outgoing}};
/// let mut body = Outgoing::new(6);
/// // The first try breaks off after it sent four octets, of which two arrived.
/// assert_eq!(body.handle_octets(0, Bytes::from_static(b"0123"), 0), Some(Bytes::from_static(b"0123")));
/// // The second one has to go on from octet 2.
/// assert_eq!(body.begin_at(2), 2);
/// assert_eq!(body.handle_octets(2, Bytes::from_static(b"2345"), 2), Some(Bytes::from_static(b"2345")));
/// assert_eq!(body.digest(), Some(Digest::of(b"012345")));
/// ```
#[derive(Debug, Clone)]
pub struct Outgoing {
    size: u64,
    hashed: u64,
    hasher: Hasher,
}

impl Outgoing {
    /// A body of `size` octets, none of which was read.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size, hashed: 0, hasher: Hasher::new() }
    }

    /// Where to read the body from so that it can be sent from octet `from` on: earlier, where octets before it were not read
    /// by this process.
    #[must_use]
    pub fn begin_at(&self, from: u64) -> u64 {
        self.hashed.min(from)
    }

    /// Takes octets read from `position`, which follow those taken before or repeat them, and gives those of them that are to
    /// be sent where the broker wants them from `from` on. None where octets are left out, or there are more than the size.
    #[must_use]
    pub fn handle_octets(&mut self, position: u64, mut octets: Bytes, from: u64) -> Option<Bytes> {
        let end = position.checked_add(octets.len() as u64)?;
        if position > self.hashed || end > self.size {
            return None;
        }
        if end > self.hashed {
            self.hasher.update(&octets[within(self.hashed - position)..]);
            self.hashed = end;
        }
        let skipped = within(from.saturating_sub(position)).min(octets.len());
        octets.advance(skipped);
        Some(octets)
    }

    /// The digest of the whole body, once all of it was read: to be sent after it.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        (self.hashed == self.size).then(|| self.hasher.clone().finish())
    }
}

/// A number of octets that is cut to the length of a slice in memory anyway.
fn within(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX)
}

/// The broker's side of an upload: says where to begin, counts the octets, and answers once.
#[derive(Debug)]
pub struct UploadServer {
    input: Input,
    request: OpenUpload,
    received: u64,
    trailer: Vec<u8>,
    ready: Option<UploadReady>,
    answer: Option<UploadAnswer>,
    answered: bool,
}

impl UploadServer {
    pub(in super::super) fn new(request: OpenUpload, input: Input) -> Self {
        let trailer = Vec::with_capacity(DIGEST_OCTETS);
        Self { input, request, received: 0, trailer, ready: None, answer: None, answered: false }
    }

    /// What the client wants to store.
    #[must_use]
    pub fn request(&self) -> &OpenUpload {
        &self.request
    }

    /// Whether the client sent something with its request, which it may not.
    pub fn check_silence(&self) -> Result<(), Violation> {
        if self.input.decoder.is_mid_frame() {
            return Err(Violation::unexpected("a body before the broker was ready for it"));
        }
        Ok(())
    }

    /// The octets before `from` are here from an earlier try; the client is to send those that follow. `now` is the broker's
    /// time.
    pub fn ready(&mut self, from: u64, now: Timestamp) {
        self.received = from.min(self.request.size);
        self.ready = Some(UploadReady { from: self.received, known_since: now });
    }

    /// Takes octets that came and gives back those of the body. Octets after body and digest are refused.
    pub fn handle_chunk(&mut self, mut chunk: Bytes) -> Result<Bytes, Refusal> {
        let left = self.request.size - self.received;
        let body = chunk.split_to(within(left).min(chunk.len()));
        self.received += body.len() as u64;
        if self.trailer.len() + chunk.len() > DIGEST_OCTETS {
            let refusal = self.size_refusal("more");
            self.refuse(refusal.clone());
            return Err(refusal);
        }
        self.trailer.extend_from_slice(&chunk);
        Ok(body)
    }

    /// The client finished its direction: gives the digest that it computed. Where octets are missing, the upload is refused.
    pub fn handle_finish(&mut self) -> Result<Digest, Refusal> {
        if let Ok(digest) = self.trailer.as_slice().try_into() {
            return Ok(Digest(digest));
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
        if let Some(ready) = self.ready.take() {
            put(&UploadAnswer::Ready(ready), out);
        }
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
