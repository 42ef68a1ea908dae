//! The frames of the wire protocol `hilum/1`, as types. `WIRE.md` beside this crate is the specification.
//!
//! Every stream is opened by the client and carries frames: a length (u32, little endian), then one value in postcard's
//! published encoding. The first frame of a stream is an [`Open`] and says what the stream is for:
//!
//! | stream | the client sends | the broker sends |
//! |---|---|---|
//! | [`control`] | [`control::Hello`] | [`control::ToClient`] |
//! | [`publisher`] | [`publisher::OpenPublisher`], then [`publisher::ToBroker`] | [`publisher::ToClient`] |
//! | [`subscription`] | [`subscription::OpenSubscription`] or [`subscription::OpenStating`], then [`subscription::ToBroker`] | [`subscription::ToClient`] |
//! | [`large`], up | [`large::OpenUpload`], when answered the body's octets and their digest | [`large::UploadAnswer`] |
//! | [`large`], down | [`large::OpenDownload`] | [`large::DownloadAnswer`], then the body's octets |
//! | [`admin`] | [`admin::OpenAdmin`], then [`admin::ToBroker`] | [`admin::ToClient`], one for each |
//!
//! Inside a major version, a minor one adds variants, codes and stream kinds at the end; the fields of a frame never change.
//! The order of frames and the bookkeeping of credit are the business of [`crate::session`].

pub mod admin;
mod bounded;
pub mod code;
pub mod control;
mod frame;
mod head;
pub mod large;
pub mod publisher;
pub mod subscription;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use code::{CloseCode, Refusal, RefusalCode};
pub use frame::{BUFFER_STEP_OCTETS, FRAME_LENGTH_OCTETS, Frame, FrameDecoder, FrameError, encode};

use crate::record::Head;

/// The application protocol's name in the TLS handshake (RFC 7301).
pub const ALPN: &[u8] = b"hilum/1";

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Versions with different majors do not understand each other.
    pub major: u16,
    /// Each minor adds to the one before.
    pub minor: u16,
}

impl Version {
    /// What this build speaks.
    pub const CURRENT: Self = Self { major: 1, minor: 1 };
    /// The first that has [`Open::StatingSubscription`].
    pub const STATING: Self = Self { major: 1, minor: 1 };
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The first frame of every stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Open {
    /// The connection's control stream: the first stream, once.
    Control(control::Hello),
    /// Records to one flow.
    Publisher(publisher::OpenPublisher),
    /// Records of one subscription.
    Subscription(subscription::OpenSubscription),
    /// One large body to the broker.
    Upload(large::OpenUpload),
    /// One large body from the broker.
    Download(large::OpenDownload),
    /// Questions and orders of an operator.
    Admin(admin::OpenAdmin),
    /// Records of one subscription, for a reader who states something. Since 1.1.
    StatingSubscription(subscription::OpenStating),
}

/// What may be under way and not yet answered (publisher) or settled (subscription).
///
/// A record may be sent while fewer records and fewer octets than these are under way, so the last one may go over the
/// octets. An answer gives back what its record took; a grant adds to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credit {
    /// Records; of a subscription: stored records, however many deliveries each one makes.
    pub records: u32,
    /// Octets, counted by [`record_octets`].
    pub octets: u64,
}

impl Credit {
    /// The sum, if both are below the limits of [`crate::limits`].
    #[must_use]
    pub fn checked_add(self, more: Self) -> Option<Self> {
        let records = self.records.checked_add(more.records)?;
        let octets = self.octets.checked_add(more.octets)?;
        let bounded =
            records <= crate::limits::CREDIT_RECORDS_MAX && octets <= crate::limits::CREDIT_OCTETS_MAX;
        bounded.then_some(Self { records, octets })
    }

    /// As much of it as may be granted.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            records: self.records.min(crate::limits::CREDIT_RECORDS_MAX),
            octets: self.octets.min(crate::limits::CREDIT_OCTETS_MAX),
        }
    }

    /// Whether one more record may be sent when this much is under way.
    #[must_use]
    pub fn allows_beyond(self, under_way: Self) -> bool {
        under_way.records < self.records && under_way.octets < self.octets
    }
}

/// What one record takes of a [`Credit`]: the octets of its inline body and of its head's texts.
#[must_use]
pub fn record_octets(head: &Head, body: usize) -> u64 {
    let attributes: usize = head.attributes.iter().map(|a| a.name.len() + a.value.len()).sum();
    (body + head.key.as_ref().map_or(0, String::len) + head.content_type.len() + attributes) as u64
}

/// No encoding of a record's head and body is longer than this: every length and tag counted at its longest.
pub(crate) fn encoded_octets_max(head: &Head, body: usize) -> usize {
    // Time 10, the other two times 1 + 10 each, key 1 + 2, content type 2, two list lengths 1 + 1, trace 1 + 25, tag and length of the body 1 + 5.
    const FIXED: usize = 71;
    let attributes: usize = head.attributes.iter().map(|a| a.name.len() + a.value.len() + 5).sum();
    let labels: usize = head.labels.iter().map(|label| label.as_str().len() + 1).sum();
    FIXED + body + head.key.as_ref().map_or(0, String::len) + head.content_type.len() + attributes + labels
}

/// Decodes a frame that has no body.
macro_rules! plain_frames {
    ($($name:ty),+ $(,)?) => {$(
        impl Frame for $name {
            fn decode(octets: &Bytes) -> Result<Self, FrameError> {
                frame::decode_exact(octets)
            }
        }
    )+};
}

plain_frames!(
    Open,
    control::ToClient,
    publisher::ToClient,
    subscription::ToBroker,
    large::UploadAnswer,
    large::DownloadAnswer,
    admin::ToBroker,
    admin::ToClient,
);

#[cfg(test)]
pub(crate) mod tests;
