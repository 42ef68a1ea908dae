//! Numbers for what goes wrong: [`RefusalCode`] in frames, [`CloseCode`] where QUIC ends a stream or a connection.

use serde::{Deserialize, Serialize};

use super::bounded;

/// An open list of numbers: one that a newer peer added is kept as `Other`.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $number:ty { $($(#[$code_doc:meta])* $code:ident = $value:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "u16", into = "u16")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$code_doc])* $code,)+
            /// A number that this version does not know.
            Other(u16),
        }

        impl $name {
            /// All that this version knows.
            pub const ALL: &[Self] = &[$(Self::$code),+];
        }

        impl From<u16> for $name {
            fn from(number: u16) -> Self {
                match number {
                    $($value => Self::$code,)+
                    other => Self::Other(other),
                }
            }
        }

        impl From<$name> for u16 {
            fn from(code: $name) -> u16 {
                match code {
                    $($name::$code => $value,)+
                    $name::Other(number) => number,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$code => f.write_str($text),)+
                    Self::Other(number) => write!(f, "code {number}"),
                }
            }
        }
    };
}

codes! {
    /// Why a stream was not opened, or a record not taken.
    RefusalCode: u16 {
        /// The two sides have no version in common.
        Version = 1, "no common version";
        /// The certificate is valid, but the hospital's configuration does not know its SPIFFE ID.
        UnknownPrincipal = 2, "unknown principal";
        /// Policy does not allow it.
        Denied = 3, "denied";
        /// There is no such flow.
        UnknownFlow = 4, "unknown flow";
        /// There is no such subscription.
        UnknownSubscription = 5, "unknown subscription";
        /// The subscription has a reader, or the producer a stream, already.
        Busy = 6, "busy";
        /// The record has a field that is not valid or over its limit.
        InvalidRecord = 7, "invalid record";
        /// A plugin refused the record; it is in quarantine.
        RefusedByPlugin = 8, "refused by plugin";
        /// A plugin failed on the record; it is in quarantine.
        PluginFailed = 9, "plugin failed";
        /// An earlier record of this producer failed and must be sent again first.
        OutOfOrder = 10, "out of order";
        /// The body does not have the size that was announced.
        BodySize = 11, "body size";
        /// There is no such delivery, or it is settled.
        NoSuchDelivery = 12, "no such delivery";
        /// Too much is under way.
        Overloaded = 13, "overloaded";
        /// The broker cannot store now: it is stopping, or its disk failed or is full.
        Unavailable = 14, "unavailable";
        /// A defect of the broker; its log says more.
        Internal = 15, "internal error";
        /// The body's digest is not the one that its sender computed.
        BodyDigest = 16, "body digest";
        /// There is no such thing, e.g. in quarantine.
        NotFound = 17, "not found";
        /// The broker may have forgotten the producer, and could not recognise its retries.
        UnknownProducer = 18, "unknown producer";
        /// The record had expired when it came.
        Expired = 19, "expired";
        /// Another record of its batch was refused; it is in quarantine.
        RefusedWithBatch = 20, "refused with its batch";
        /// What was decided on was changed meanwhile.
        Changed = 21, "changed meanwhile";
        /// The configuration is wrong, or cannot be taken while the broker runs.
        Configuration = 22, "configuration not taken";
    }
}

codes! {
    /// Application error code of a closed connection or a reset stream (RFC 9000, section 20.2).
    CloseCode: u16 {
        /// Nothing went wrong.
        Done = 0, "done";
        /// A defect of the side that closes; its log says more.
        Internal = 1, "internal error";
        /// A frame does not decode.
        Malformed = 2, "malformed frame";
        /// A frame is over the limit.
        FrameTooLong = 3, "frame too long";
        /// A frame that may not come in this state, or an end in the middle of a frame.
        Unexpected = 4, "unexpected frame";
        /// More was sent than the credit allows, or more credit granted than there may be.
        Credit = 5, "credit exceeded";
        /// A sequence number, offset or part is not the one that follows.
        Sequence = 6, "sequence broken";
        /// The two sides have no version in common.
        Version = 7, "no common version";
        /// The certificate is valid, but the hospital's configuration does not know its SPIFFE ID.
        UnknownPrincipal = 8, "unknown principal";
        /// The side that closes is stopping in good order.
        Stopping = 9, "stopping";
        /// More connections or streams than there may be.
        TooMany = 10, "too many connections or streams";
        /// The sender of a body, or its reader, gave up.
        Cancelled = 11, "cancelled";
        /// The peer took too long.
        TimedOut = 12, "timed out";
    }
}

impl From<CloseCode> for u32 {
    fn from(code: CloseCode) -> u32 {
        u16::from(code).into()
    }
}

impl CloseCode {
    /// The code of a QUIC application error; numbers that no version can have become `Other(u16::MAX)`.
    #[must_use]
    pub fn from_quic(number: u64) -> Self {
        u16::try_from(number).unwrap_or(u16::MAX).into()
    }
}

/// Why something was not done. The reason names fields and rules, never a value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people; up to [`crate::limits::REASON_CHARS_MAX`] characters.
    #[serde(deserialize_with = "bounded::text")]
    pub reason: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
}

impl Refusal {
    /// A refusal that stays one however often it is tried.
    #[must_use]
    pub fn new(code: RefusalCode, reason: &str) -> Self {
        Self { code, reason: bounded::truncated(reason), retryable: false }
    }

    /// A refusal of now.
    #[must_use]
    pub fn retryable(code: RefusalCode, reason: &str) -> Self {
        Self { retryable: true, ..Self::new(code, reason) }
    }
}
