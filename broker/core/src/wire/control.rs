//! The control stream: versions, who the client is to the broker, limits, and the broker's goodbye.

use serde::{Deserialize, Serialize};

use super::{Refusal, Version, bounded};
use crate::identity::PrincipalId;
use crate::limits;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// For each major that the client speaks, its highest minor.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::VERSIONS_MAX }>")]
    pub versions: Vec<Version>,
    /// Name and version of the software, for the broker's log.
    #[serde(deserialize_with = "bounded::text")]
    pub agent: String,
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToClient {
    /// The client may open other streams now.
    Welcome(Welcome),
    /// The broker does not talk to this client; the connection closes.
    Refused(Refusal),
    /// The broker is stopping: what is under way is finished, new streams are refused, then the connection closes.
    Goodbye(Goodbye),
}

/// What the two sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The highest version that both speak.
    pub version: Version,
    /// Who the client is, by its certificate.
    pub principal: PrincipalId,
    /// What a client must keep to.
    pub limits: Limits,
}

/// Limits of the broker (see [`crate::limits`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Octets of a frame without its length.
    pub frame_octets: u32,
    /// Records of a publish frame.
    pub publish_records: u32,
    /// Octets of an inline body.
    pub inline_body_octets: u32,
    /// Octets of a large body.
    pub large_body_octets: u64,
}

impl Limits {
    /// The limits of this build.
    pub const CURRENT: Self = Self {
        frame_octets: number(limits::FRAME_OCTETS_MAX),
        publish_records: number(limits::PUBLISH_RECORDS_MAX),
        inline_body_octets: number(limits::INLINE_BODY_OCTETS_MAX),
        large_body_octets: limits::BLOB_OCTETS_MAX,
    };
}

/// A limit as it is on the wire; one that does not fit fails the build.
const fn number(limit: usize) -> u32 {
    assert!(limit <= u32::MAX as usize, "limits of the protocol fit into 32 bits");
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let number = limit as u32;
    number
}

/// Why the broker is leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// For people.
    #[serde(deserialize_with = "bounded::text")]
    pub reason: String,
}
