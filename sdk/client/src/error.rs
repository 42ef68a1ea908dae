//! What can go wrong, one enum for each operation. No message holds a value of a record.

use std::io;

use hilum_core::FlowName;
use hilum_core::record::DraftError;
use hilum_core::session::Violation;
use hilum_core::wire::{CloseCode, Refusal, Version};
use quinn::ConnectionError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address has no host that can be found.
    #[error("the broker's address `{address}` does not resolve: {source}")]
    Address {
        /// As configured.
        address: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// A certificate or key that was given is of no use.
    #[error("{what} cannot be used: {reason}")]
    Credentials {
        /// Which one.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// No UDP socket.
    #[error("no UDP socket to reach the broker: {0}")]
    Socket(io::Error),
    /// The broker's certificate was not accepted, or the two sides have no TLS or application protocol in common.
    #[error("the TLS handshake with the broker at {address} failed: {reason}")]
    Handshake {
        /// Whom we reached.
        address: String,
        /// Why.
        reason: String,
    },
    /// The broker did not accept our certificate.
    #[error("the broker does not accept the certificate of {certificate}: {reason}")]
    CertificateRefused {
        /// The SPIFFE ID in our certificate.
        certificate: String,
        /// What its TLS alert says.
        reason: String,
    },
    /// The broker accepted the certificate, but does not let us in.
    #[error("the broker refuses {certificate}: {refusal}")]
    Refused {
        /// The SPIFFE ID in our certificate.
        certificate: String,
        /// Why.
        refusal: Refusal,
    },
    /// Nobody answered.
    #[error("no answer from a broker at {address}")]
    NoAnswer {
        /// Whom we tried.
        address: String,
    },
    /// The connection broke before we were let in.
    #[error("the connection broke before the broker's welcome: {0}")]
    Stream(#[from] StreamError),
}

/// Why a connection is no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The broker closed it.
    #[error("the broker closed the connection ({code}): {reason}")]
    ClosedByBroker {
        /// Its code.
        code: CloseCode,
        /// Its reason.
        reason: String,
    },
    /// We closed it.
    #[error("the connection was closed on this side")]
    ClosedHere,
    /// The network or the broker went silent.
    #[error("the broker was silent for too long")]
    TimedOut,
    /// QUIC or TLS failed.
    #[error("{0}")]
    Transport(String),
}

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::ClosedByBroker {
                code: CloseCode::from_quic(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::TimedOut => Self::TimedOut,
            other => Self::Transport(other.to_string()),
        }
    }
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The broker refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection is no more.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The broker does not keep to the protocol; the connection is closed.
    #[error(transparent)]
    Protocol(#[from] Violation),
    /// The broker gave up the stream.
    #[error("the broker gave up the stream ({0})")]
    Reset(CloseCode),
    /// The stream was finished.
    #[error("the stream is finished")]
    Finished,
    /// The broker does not know what was asked for. Nothing was sent.
    #[error(
        "the broker speaks hilum {speaks}, and stating why the glass is broken takes hilum {needs}: update the broker"
    )]
    TooOld {
        /// What was agreed on.
        speaks: Version,
        /// The first that has it.
        needs: Version,
    },
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Reset(CloseCode::from_quic(code.into_inner())),
            quinn::ReadError::ConnectionLost(error) => Self::Lost(error.into()),
            _ => Self::Finished,
        }
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Reset(CloseCode::from_quic(code.into_inner())),
            quinn::WriteError::ConnectionLost(error) => Self::Lost(error.into()),
            _ => Self::Finished,
        }
    }
}

/// Why a publisher or subscription was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {purpose} flow `{flow}`: {source}")]
pub struct OpenError {
    /// What was wanted.
    pub purpose: &'static str,
    /// Of which flow.
    pub flow: FlowName,
    /// Why not.
    pub source: StreamError,
}

/// Why a record is not acked.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not a valid record; it was not sent.
    #[error("not a valid record: {0}")]
    Invalid(#[from] DraftError),
    /// The broker does not take it.
    #[error("flow `{flow}` does not take the record: {refusal}")]
    Refused {
        /// Where it was to go.
        flow: FlowName,
        /// Why.
        refusal: Refusal,
    },
    /// The records are no batch; none was sent.
    #[error("not a valid batch: {0}")]
    InvalidBatch(hilum_core::session::PublishError),
    /// The broker takes none of a batch.
    #[error("flow `{flow}` does not take the batch, because of its record {index}: {refusal}")]
    BatchRefused {
        /// Where it was to go.
        flow: FlowName,
        /// Which of its records is the cause, from 0.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The stream ended before the answer. The record may be stored or not: reopened with [`crate::Resume`] and sent
    /// again with its number, it is stored once.
    #[error("publishing to flow `{flow}` ended before the record was acked: {source}")]
    Unanswered {
        /// Where it was to go.
        flow: FlowName,
        /// Why.
        source: StreamError,
    },
    /// The connection was lost, and there is no other one. The record may be stored or not.
    #[error("publishing to flow `{flow}` could not go on over a new connection: {source}")]
    Reconnect {
        /// Where it was to go.
        flow: FlowName,
        /// Why not.
        source: Box<ConnectError>,
    },
    /// The body could not be read.
    #[error("the body cannot be read: {0}")]
    Body(#[from] io::Error),
    /// The body has not the size that was announced; the upload was given up.
    #[error("the body has {actual} octets, {announced} were announced")]
    BodySize {
        /// As announced.
        announced: u64,
        /// As read, or one more than announced.
        actual: u64,
    },
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream of a subscription ended.
    #[error("reading subscription `{subscription}` of flow `{flow}` ended: {source}")]
    Stream {
        /// The flow.
        flow: FlowName,
        /// The subscription.
        subscription: hilum_core::SubscriptionName,
        /// Why.
        source: StreamError,
    },
    /// The connection was lost, and there is no other one.
    #[error(
        "reading subscription `{subscription}` of flow `{flow}` could not go on over a new connection: {source}"
    )]
    Reconnect {
        /// The flow.
        flow: FlowName,
        /// The subscription.
        subscription: hilum_core::SubscriptionName,
        /// Why not.
        source: Box<ConnectError>,
    },
    /// A large body could not be read.
    #[error("reading the body of offset {offset} in flow `{flow}` failed: {source}")]
    Body {
        /// The flow.
        flow: FlowName,
        /// The record.
        offset: hilum_core::Offset,
        /// Why.
        source: StreamError,
    },
    /// A large body could not be written where it was to go.
    #[error("the body cannot be written: {0}")]
    Write(#[from] io::Error),
}
