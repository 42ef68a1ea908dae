//! The wire protocol's state machines, one pair for each kind of stream, shared by client and broker.
//!
//! Nothing here does IO, knows the time or is asynchronous. Whoever owns a QUIC stream moves octets between it and a machine:
//!
//! 1. Octets that came are given to `handle_data`, the peer's end of the stream to `handle_finish`.
//! 2. `poll_event` is called until it gives nothing. It decodes, checks the order of frames, credit and sequence, and says what
//!    happened. A [`Violation`] means that the peer broke the protocol: the connection is closed with its code.
//! 3. The machine is told what to do next (`publish`, `ack`, `deliver`, `settle`, ...).
//! 4. `poll_transmit` appends what there is to send to a buffer, which is written to the stream.
//! 5. When `wants_finish` says so after that, our direction of the stream is finished.
//!
//! The broker begins with [`Incoming`], which reads a stream's first frame and becomes the machine for it. The client begins
//! with the machine it wants: [`ControlClient`] on the first stream, and the others once it has been welcomed.
//!
//! Memory is bounded on both sides: what comes is bounded by frames and by credit, and an answer gives its credit back only
//! when it is taken for sending, so a peer that does not read cannot make answers pile up.

mod admin;
mod control;
mod large;
mod publisher;
mod subscription;

use bytes::BytesMut;
use serde::Serialize;

pub use admin::{AdminClient, AdminServer, AdminServerEvent, NotNow};
pub use control::{ControlClient, ControlServer};
pub use large::{
    DownloadClient, DownloadEvent, DownloadServer, Outgoing, Partial, UploadClient, UploadServer,
};
pub use publisher::{
    NotUnderWay, PublishError, PublisherClient, PublisherClientEvent, PublisherServer, PublisherServerEvent,
};
pub use subscription::{
    DeliverError, Delivering, SubscriptionClient, SubscriptionClientEvent, SubscriptionServer,
    SubscriptionServerEvent,
};

use crate::wire::subscription::OpenStating;
use crate::wire::{self, CloseCode, Frame, FrameDecoder, FrameError, Open};

/// How the peer broke the protocol. The connection is closed with `code` and `reason`, which names no value of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer broke the protocol ({code}): {reason}")]
pub struct Violation {
    /// The application error code to close with.
    pub code: CloseCode,
    /// The reason phrase to close with.
    pub reason: String,
}

impl Violation {
    fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    fn unexpected(what: &str) -> Self {
        Self::new(CloseCode::Unexpected, format!("{what} came in a state in which it may not"))
    }
}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLong { .. } => CloseCode::FrameTooLong,
            FrameError::Malformed { .. } => CloseCode::Malformed,
        };
        Self::new(code, error.to_string())
    }
}

/// What all machines of framed streams have in common, for those who move octets.
pub trait Machine {
    /// What happens on such a stream.
    type Event;

    /// Takes octets that came.
    fn handle_data(&mut self, octets: &[u8]);

    /// Takes note that the peer finished its direction.
    fn handle_finish(&mut self);

    /// Says what happened; to be called until there is nothing.
    fn poll_event(&mut self) -> Result<Option<Self::Event>, Violation>;

    /// Appends what there is to send.
    fn poll_transmit(&mut self, out: &mut BytesMut);

    /// Whether our direction is to be finished once everything is sent.
    fn wants_finish(&self) -> bool;
}

/// The receiving direction of a stream.
#[derive(Debug, Default)]
struct Input {
    decoder: FrameDecoder,
    end: End,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Finished,
    Reported,
}

enum Received<F> {
    Frame(F),
    /// The peer finished; given once.
    Finished,
    Nothing,
}

impl Input {
    fn handle_data(&mut self, octets: &[u8]) {
        self.decoder.push(octets);
    }

    fn handle_finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Finished;
        }
    }

    fn next<F: Frame>(&mut self) -> Result<Received<F>, Violation> {
        if let Some(octets) = self.decoder.next_frame()? {
            return Ok(Received::Frame(F::decode(&octets)?));
        }
        if self.end != End::Finished {
            return Ok(Received::Nothing);
        }
        if self.decoder.is_mid_frame() {
            return Err(Violation::new(CloseCode::Unexpected, "the stream ended in the middle of a frame"));
        }
        self.end = End::Reported;
        Ok(Received::Finished)
    }
}

/// Encodes a frame whose size is bounded by construction.
fn put(frame: &impl Serialize, out: &mut BytesMut) {
    wire::encode(frame, out)
        .expect("frames without bodies are far below the limit, others are measured before");
}

/// A stream that a client opened and whose first frame is not here yet.
#[derive(Debug, Default)]
pub struct Incoming {
    input: Input,
}

/// The broker's machine for a stream, by its first frame. The others' octets that came with it are already in the machine.
#[derive(Debug)]
pub enum Accepted {
    /// Answer with [`ControlServer::welcome`] or [`ControlServer::refuse`].
    Control(ControlServer),
    /// Answer with [`PublisherServer::open`] or [`PublisherServer::refuse`].
    Publisher(PublisherServer),
    /// Answer with [`SubscriptionServer::open`] or [`SubscriptionServer::refuse`].
    Subscription(SubscriptionServer),
    /// Answer with [`UploadServer::ready`], then [`UploadServer::ack`]; or with [`UploadServer::refuse`].
    Upload(UploadServer),
    /// Answer with [`DownloadServer::start`] or [`DownloadServer::refuse`].
    Download(DownloadServer),
    /// Answer with [`AdminServer::open`] or [`AdminServer::refuse`].
    Admin(AdminServer),
}

impl Incoming {
    /// A stream from which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes octets that came.
    pub fn handle_data(&mut self, octets: &[u8]) {
        self.input.handle_data(octets);
    }

    /// Takes note that the client finished its direction.
    pub fn handle_finish(&mut self) {
        self.input.handle_finish();
    }

    /// The machine for the stream, once its first frame is here. After that, this is of no use.
    pub fn poll_accept(&mut self) -> Result<Option<Accepted>, Violation> {
        let open = match self.input.next::<Open>()? {
            Received::Frame(open) => open,
            Received::Finished => {
                return Err(Violation::new(CloseCode::Unexpected, "the stream ended before its first frame"));
            }
            Received::Nothing => return Ok(None),
        };
        let input = std::mem::take(&mut self.input);
        Ok(Some(match open {
            Open::Control(hello) => Accepted::Control(ControlServer::new(hello, input)),
            Open::Publisher(open) => Accepted::Publisher(PublisherServer::new(open, input)),
            Open::Subscription(open) => Accepted::Subscription(SubscriptionServer::new(open, None, input)),
            Open::StatingSubscription(OpenStating { open, break_glass }) => {
                Accepted::Subscription(SubscriptionServer::new(open, Some(break_glass), input))
            }
            Open::Upload(open) => Accepted::Upload(UploadServer::new(open, input)),
            Open::Download(open) => Accepted::Download(DownloadServer::new(open, input)),
            Open::Admin(open) => Accepted::Admin(AdminServer::new(open, input)),
        }))
    }
}

#[cfg(test)]
mod tests;
