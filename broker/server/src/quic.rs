//! Connections and their streams: moves octets between QUIC and the protocol's state machines, and records between those and
//! the flows.
//!
//! Each stream has a task of its own, so a slow one holds up nobody: [`publisher`] and [`upload`] bring records in,
//! [`subscription`] and [`download`] bring them out, [`connection`] lets clients in and sorts their streams.

mod admin;
mod connection;
mod download;
mod pace;
mod publisher;
mod subscription;
mod upload;
pub(crate) mod window;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hilum_core::Principal;
use hilum_core::audit::Action;
use hilum_core::policy::Denial;
use hilum_core::session::{Machine, Violation};
use hilum_core::wire::{CloseCode, Refusal, RefusalCode};
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::Semaphore;

pub use connection::serve;

use crate::broker::About;
use crate::flows::Flows;
use crate::ingest::{self, RefusalKind};
use crate::memory::Account;
use window::Window;

/// Octets read from a stream at once, unless there is a lease for more: so much a stream may hold without one.
const READ_OCTETS: usize = 4 * 1024;
/// Octets read at once of what there is a lease for.
const LEASED_READ_OCTETS: usize = 256 * 1024;
/// What downloads and the windows of connections have for themselves of what may be under way.
pub(crate) const OWN_OCTETS: u64 = DOWNLOADS_OCTETS + WINDOWS_OCTETS;
const DOWNLOADS_OCTETS: u64 = 4 << 20;
const WINDOWS_OCTETS: u64 = 16 << 20;

/// One client's streams share this.
struct Session {
    flows: Arc<Flows>,
    principal: Arc<Principal>,
    deliveries: Arc<download::LargeDeliveries>,
    /// How much of this connection may be under way.
    window: Window,
    /// Of the whole broker.
    uploads: Arc<upload::Uploads>,
    /// Of the whole broker: where downloads take what they hold.
    sending: Account,
    /// Uploads, and downloads, that may be under way at a time.
    uploading: Semaphore,
    downloading: Semaphore,
    /// How fast those may be.
    pace: pace::Pace,
}

/// Uploads of one connection that are under way at a time, and downloads; further ones wait.
const LARGE_BODIES_MAX: usize = 4;
/// Large bodies give way to everything else on their connection.
const LARGE_BODY_PRIORITY: i32 = -1;

/// Why a stream's task ended before its stream did.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// The client broke the protocol: its connection is closed.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The client went away, or gave up the stream.
    #[error("the client gave up reading: {0}")]
    Write(#[from] WriteError),
    /// The client went away, or gave up the stream.
    #[error("the client gave up writing: {0}")]
    Read(#[from] ReadError),
}

impl StreamError {
    fn timed_out(reason: &str) -> Self {
        Self::Violation(Violation { code: CloseCode::TimedOut, reason: reason.to_owned() })
    }

    fn second_control() -> Self {
        let reason = "a connection has one control stream".to_owned();
        Self::Violation(Violation { code: CloseCode::Unexpected, reason })
    }
}

/// Both directions of one stream.
struct Stream {
    send: SendStream,
    recv: RecvStream,
    out: BytesMut,
}

impl Stream {
    fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { send, recv, out: BytesMut::new() }
    }

    /// Sends what the machine has to send, and finishes the direction if the machine wants that. Whether it does.
    async fn flush(&mut self, machine: &mut impl Machine) -> Result<bool, StreamError> {
        machine.poll_transmit(&mut self.out);
        self.write_out().await?;
        let finished = machine.wants_finish();
        if finished {
            self.finish();
        }
        Ok(finished)
    }

    /// Sends what the machine has to send. Whether it wants the direction to be finished after that.
    async fn send_all(&mut self, machine: &mut impl Machine) -> Result<bool, StreamError> {
        machine.poll_transmit(&mut self.out);
        self.write_out().await?;
        Ok(machine.wants_finish())
    }

    async fn write_out(&mut self) -> Result<(), StreamError> {
        if !self.out.is_empty() {
            // Writing whole chunks hands the memory over instead of copying it.
            self.send.write_chunk(self.out.split().freeze()).await?;
        }
        Ok(())
    }

    fn finish(&mut self) {
        // It fails only where the stream is finished or reset already.
        let _ = self.send.finish();
        // What the client still sends is of no interest.
        let _ = self.recv.stop(close_code(CloseCode::Done));
    }

    fn reset(&mut self, code: CloseCode) {
        let _ = self.send.reset(close_code(code));
        let _ = self.recv.stop(close_code(code));
    }
}

/// The next octets; none at the end of the stream. Losing this future loses nothing.
async fn read(recv: &mut RecvStream) -> Result<Option<Bytes>, ReadError> {
    read_up_to(recv, READ_OCTETS).await
}

/// As [`read`], of what there is a lease for.
async fn read_up_to(recv: &mut RecvStream, octets: usize) -> Result<Option<Bytes>, ReadError> {
    Ok(recv.read_chunk(octets, true).await?.map(|chunk| chunk.bytes))
}

fn close_code(code: CloseCode) -> VarInt {
    VarInt::from_u32(code.into())
}

impl Session {
    /// Writes down that policy denied something, and makes the answer for the client.
    async fn denied(&self, about: About, denial: &Denial) -> Refusal {
        let code = match denial {
            Denial::UnknownFlow(_) => RefusalCode::UnknownFlow,
            Denial::UnknownSubscription(..) => RefusalCode::UnknownSubscription,
            Denial::NoConduit(..) | Denial::NoRule(..) => RefusalCode::Denied,
        };
        let reason = denial.to_string();
        tracing::warn!(principal = %self.principal.id, reason, "denied");
        self.flows.shared.instruments.denied();
        let about = About { principal: Some(self.principal.id.clone()), ..about };
        let shared = &self.flows.shared;
        shared.audit_refusal(about.event(shared.now(), Action::Denied, reason.clone())).await;
        Refusal::new(code, &reason)
    }
}

/// A flow's refusal of one record, as the client hears it.
fn refusal(refused: &ingest::Refusal) -> Refusal {
    let code = match refused.kind {
        RefusalKind::Chain => RefusalCode::RefusedByPlugin,
        RefusalKind::ChainFailed => RefusalCode::PluginFailed,
        RefusalKind::OutOfOrder => RefusalCode::OutOfOrder,
        RefusalKind::Expired => RefusalCode::Expired,
        RefusalKind::Batch => RefusalCode::RefusedWithBatch,
        RefusalKind::Unavailable => RefusalCode::Unavailable,
    };
    if refused.kind.is_retryable() {
        Refusal::retryable(code, &refused.reason)
    } else {
        Refusal::new(code, &refused.reason)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hilum_core::wire::BUFFER_STEP_OCTETS;

    use super::connection::{OWN_STREAMS, STREAMS_MAX};
    use super::window::{RECEIVE_OCTETS, SEND_OCTETS};
    use super::*;

    /// What ten thousand connections may hold is what decision 18 says.
    #[test]
    fn the_sum_is_written_down() {
        const CONNECTIONS: u64 = 10_000;
        let stream = (READ_OCTETS + BUFFER_STEP_OCTETS) as u64;
        let rows = [
            CONNECTIONS * u64::from(RECEIVE_OCTETS),
            CONNECTIONS * SEND_OCTETS,
            CONNECTIONS * OWN_STREAMS as u64 * stream,
            STREAMS_MAX as u64 * stream,
            512 << 20,
        ];
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decisions/0018-memory-is-a-sum.md");
        let page = std::fs::read_to_string(page).unwrap();
        for octets in rows.into_iter().chain([rows.iter().sum()]) {
            let row = format!("| {} MiB |", octets >> 20);
            assert!(page.contains(&row), "{row}");
        }
    }
}
