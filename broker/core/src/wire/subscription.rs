//! The subscription stream: deliveries to one reader, numbered on this stream, and answered by ranges of those numbers.
//!
//! A number names one attempt to deliver one record. So an answer that comes late, when the record was delivered again, cannot be
//! taken for an answer to the newer attempt, nor to another record.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::admin::SeekTo;
use super::frame::decode_borrowed;
use super::{Credit, Frame, FrameError, Refusal, bounded, head};
use crate::chain::{Receipt, StageOutcome};
use crate::digest::Digest;
use crate::limits;
use crate::name::{FlowName, ReasonCode, SubscriptionName};
use crate::record::{Head, Offset};

/// Opens a subscription stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSubscription {
    /// The flow to read.
    pub flow: FlowName,
    /// Which of its subscriptions.
    pub subscription: SubscriptionName,
    /// How much may be delivered and not settled.
    pub credit: Credit,
    /// Where the subscription is to go on, for everybody who reads it; where it stands, if none. Needs the subscription's leave.
    pub from: Option<SeekTo>,
}

/// Opens a subscription stream for a reader who states why it breaks the glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStating {
    /// What is read.
    pub open: OpenSubscription,
    /// Why the reader breaks the glass, for plugins that decide and for the audit: a code as [`ReasonCode`] has them. The broker refuses the stream
    /// where it is none, so that the reader is told what would be right.
    #[serde(deserialize_with = "bounded::text")]
    pub break_glass: String,
}

/// What a reader sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBroker {
    /// Deliveries that the reader is done with.
    Settle(Settle),
    /// More may be under way.
    Grant(Credit),
    /// Deliveries that the reader does not take now.
    Nak(Nak),
    /// Deliveries that the reader never wants to see again.
    Term(Term),
    /// Deliveries that the reader still works on: their time begins anew.
    InProgress(DeliveryRange),
}

/// Deliveries that the reader is done with; all parts of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// In any order; up to [`limits::SETTLE_RANGES_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SETTLE_RANGES_MAX }>")]
    pub acked: Vec<DeliveryRange>,
}

/// Deliveries that the reader does not take now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nak {
    /// Which ones.
    pub deliveries: DeliveryRange,
    /// Milliseconds until they may come again; as the subscription has it, if none.
    pub delay: Option<u64>,
}

/// Deliveries that the reader never wants to see again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Which ones.
    pub deliveries: DeliveryRange,
    /// Why, for the audit: a code of the reader's own, never a value of a record.
    pub reason: ReasonCode,
}

/// Numbers of deliveries from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRange {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// What the broker sends to a reader. `B` is `Bytes`, or a slice while decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub enum ToClient<B = Bytes> {
    /// Deliveries will come.
    Opened(Opened),
    /// The stream is not opened, or is ended by the broker.
    Refused(Refusal),
    /// Deliveries.
    Deliver(Deliver<B>),
}

/// The answer to [`OpenSubscription`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The lowest offset that is not settled.
    pub cursor: Offset,
}

/// Deliveries in the order of their numbers and parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub struct Deliver<B = Bytes> {
    /// 1 to [`limits::DELIVER_RECORDS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DELIVER_RECORDS_MAX }>")]
    pub deliveries: Vec<Delivery<B>>,
}

/// One record, or one of the several that the subscription's chain made of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub struct Delivery<B = Bytes> {
    /// Of this delivery on this stream: from 1, one more with each record.
    pub number: u64,
    /// Position of the stored record in its flow.
    pub offset: Offset,
    /// The how-manieth delivery of the record to the subscription this is, from 1.
    pub attempt: u32,
    /// Which of the records that were made of it, from 0.
    pub part: u16,
    /// How many were made of it; at least 1.
    pub parts: u16,
    /// What is known without the body.
    #[serde(with = "head")]
    pub head: Head,
    /// The body, or what to ask for.
    pub body: DeliveredBody<B>,
    /// What the subscription's chain did.
    #[serde(with = "ReceiptOnWire")]
    pub receipt: Receipt,
}

/// A body as it is delivered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub enum DeliveredBody<B = Bytes> {
    /// Here it is.
    Inline(B),
    /// To be read by a download stream of its own, before the delivery is settled.
    Large {
        /// Its octets.
        size: u64,
        /// SHA-256 of its octets.
        digest: Digest,
    },
}

impl<B: AsRef<[u8]>> DeliveredBody<B> {
    /// Octets in this frame.
    #[must_use]
    pub fn inline_octets(&self) -> usize {
        match self {
            Self::Inline(octets) => octets.as_ref().len(),
            Self::Large { .. } => 0,
        }
    }
}

impl<B> std::fmt::Debug for DeliveredBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(<body>)"),
            Self::Large { size, digest } => write!(f, "Large({size} octets, {digest:?})"),
        }
    }
}

/// A receipt on the wire: its list is bounded.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Receipt")]
struct ReceiptOnWire {
    input: Digest,
    plan: Digest,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::CHAIN_STAGES_MAX }>")]
    outcomes: Vec<StageOutcome>,
    output: Digest,
}

impl Frame for ToClient {
    fn decode(octets: &Bytes) -> Result<Self, FrameError> {
        Ok(match decode_borrowed::<ToClient<&[u8]>>(octets)? {
            ToClient::Opened(opened) => ToClient::Opened(opened),
            ToClient::Refused(refusal) => ToClient::Refused(refusal),
            ToClient::Deliver(Deliver { deliveries }) => {
                let deliveries = deliveries.into_iter().map(|delivery| delivery.shared(octets)).collect();
                ToClient::Deliver(Deliver { deliveries })
            }
        })
    }
}

impl Delivery<&[u8]> {
    /// The same with a body that shares the memory of its frame.
    fn shared(self, frame: &Bytes) -> Delivery {
        let Self { number, offset, attempt, part, parts, head, body, receipt } = self;
        let body = match body {
            DeliveredBody::Inline(octets) => DeliveredBody::Inline(frame.slice_ref(octets)),
            DeliveredBody::Large { size, digest } => DeliveredBody::Large { size, digest },
        };
        Delivery { number, offset, attempt, part, parts, head, body, receipt }
    }
}
