//! Streams for one large body each, up or down: a frame, then raw octets.

use serde::{Deserialize, Serialize};

use super::publisher::Durability;
use super::{Refusal, head};
use crate::digest::Digest;
use crate::name::{FlowName, SubscriptionName};
use crate::record::{Head, Offset, ProducerPosition, Timestamp};

/// Opens an upload, or goes on with one: principal, flow, position and size say which. When the broker is ready, the raw octets
/// from the one that it wants on follow, then the SHA-256 of all `size` octets, then the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// Where the record goes.
    pub flow: FlowName,
    /// Its place in its publisher's sequence, so that a retry is recognised. Uploads have a producer of their own, and one
    /// producer uploads one body at a time.
    pub position: ProducerPosition,
    /// [`UploadReady::known_since`] of the first try; none where there was none.
    pub known_since: Option<Timestamp>,
    /// What is known without the body. A publisher sends no labels.
    #[serde(with = "head")]
    pub head: Head,
    /// Octets of the body.
    pub size: u64,
}

/// What the broker answers an upload: `Ready`, then one of the others; or one of the others at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadAnswer {
    /// The body may come.
    Ready(UploadReady),
    /// The record is safe.
    Ack(UploadAck),
    /// The record is not taken.
    Refused(Refusal),
}

/// The broker is ready for the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReady {
    /// The first octet wanted: those before it are here from an earlier try.
    pub from: u64,
    /// The broker's time, to be said with a further try: see [`Opened::known_since`](super::publisher::Opened::known_since).
    pub known_since: Timestamp,
}

/// A large record is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAck {
    /// How safe it is.
    pub durability: Durability,
    /// Where it is; none where it was stored by an earlier try.
    pub offset: Option<Offset>,
}

/// Asks for the large body of a delivery that is not settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDownload {
    /// As delivered.
    pub flow: FlowName,
    /// As delivered.
    pub subscription: SubscriptionName,
    /// As delivered.
    pub offset: Offset,
    /// As delivered.
    pub part: u16,
    /// The first octet wanted, from 0: to go on after a break.
    pub from: u64,
}

/// What the broker answers a download. After `Start`, raw octets follow to the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownloadAnswer {
    /// The octets of the body from the one wanted follow.
    Start(DownloadStart),
    /// There is nothing to read.
    Refused(Refusal),
}

/// What the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadStart {
    /// Octets of the whole body.
    pub size: u64,
    /// SHA-256 of the whole body.
    pub digest: Digest,
}
