//! The publisher stream: batches of records to one flow, pipelined, answered cumulatively.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::decode_borrowed;
use super::{Credit, Frame, FrameError, Refusal, bounded, head};
use crate::limits;
use crate::name::FlowName;
use crate::record::{Head, Offset, ProducerId, Timestamp};

/// Opens a publisher stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPublisher {
    /// Where the records go.
    pub flow: FlowName,
    /// Who numbers them: chosen at random once, kept over reconnects.
    pub producer: ProducerId,
    /// [`Opened::known_since`] of this producer's first stream; none while nothing was ever sent with it.
    pub known_since: Option<Timestamp>,
}

/// What a publisher sends. `B` is `Bytes`, or a slice while decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub enum ToBroker<B = Bytes> {
    /// Records, each of which is stored or refused for itself.
    Publish(Publish<B>),
    /// Records that are stored together or not at all.
    Batch(Publish<B>),
}

/// Records with consecutive sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub struct Publish<B = Bytes> {
    /// The number of the first record; from 1.
    pub first_sequence: u64,
    /// 1 to [`limits::PUBLISH_RECORDS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::PUBLISH_RECORDS_MAX }>")]
    pub records: Vec<PublishedRecord<B>>,
}

/// One record with an inline body.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub struct PublishedRecord<B = Bytes> {
    /// What is known without the body. A publisher sends no labels.
    #[serde(with = "head")]
    pub head: Head,
    /// Up to [`limits::INLINE_BODY_OCTETS_MAX`] octets.
    pub body: B,
}

impl<B> std::fmt::Debug for PublishedRecord<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} with <body>", self.head)
    }
}

impl Frame for ToBroker {
    fn decode(octets: &Bytes) -> Result<Self, FrameError> {
        let own = |Publish { first_sequence, records }: Publish<&[u8]>| {
            let records = records
                .into_iter()
                .map(|PublishedRecord { head, body }| PublishedRecord { head, body: octets.slice_ref(body) });
            Publish { first_sequence, records: records.collect() }
        };
        Ok(match decode_borrowed::<ToBroker<&[u8]>>(octets)? {
            ToBroker::Publish(publish) => ToBroker::Publish(own(publish)),
            ToBroker::Batch(publish) => ToBroker::Batch(own(publish)),
        })
    }
}

/// What the broker answers a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToClient {
    /// The publisher may send.
    Opened(Opened),
    /// The stream is not opened, or is ended by the broker: what has no answer so far may or may not be stored.
    Refused(Refusal),
    /// All records up to one are safe, except those refused before.
    Ack(Ack),
    /// One record is not taken.
    RecordRefused(RecordRefused),
    /// More may be under way.
    Grant(Credit),
}

/// The answer to [`OpenPublisher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The last number of this producer that was settled in this flow; 0 for none. Records up to it need not be sent again.
    pub last_sequence: u64,
    /// The broker's time. A publisher keeps that of its producer's first stream and says it when it comes back, so that the
    /// broker can tell a producer that it has forgotten from one of which nothing is stored.
    pub known_since: Timestamp,
    /// How safe records of this flow are when they are acked.
    pub durability: Durability,
    /// How much may be under way.
    pub credit: Credit,
}

/// How safe an acked record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// On disk, fsynced.
    Fsynced,
    /// Written and not yet fsynced, as the flow's `ack = "memory"` has it: a power cut may lose it, a crash of the broker not.
    Memory,
}

/// All records up to one are safe, except those refused before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The last number covered.
    pub through_sequence: u64,
    /// How safe they are.
    pub durability: Durability,
    /// Where the last of them is; none where it was stored by an earlier try.
    pub last_offset: Option<Offset>,
}

/// One record is not taken. Comes before an [`Ack`] that goes past it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRefused {
    /// Which one.
    pub sequence: u64,
    /// Why.
    pub refusal: Refusal,
}
