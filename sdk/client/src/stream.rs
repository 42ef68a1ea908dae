//! One QUIC stream and the machine that gives its octets a meaning.

use bytes::{Buf, Bytes, BytesMut};
use hilum_core::session::Machine;
use hilum_core::wire::CloseCode;
use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};

use crate::error::{Lost, StreamError};

/// Octets taken from QUIC at once.
const READ_OCTETS: usize = 256 * 1024;
/// While this much waits to be written, a machine is not asked for more.
const OUT_OCTETS_ENOUGH: usize = 512 * 1024;

/// The QUIC form of a close code.
pub(crate) fn close_code(code: CloseCode) -> VarInt {
    VarInt::from_u32(code.into())
}

/// Both directions of a stream, with what waits to be written.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    out: BytesMut,
    /// Being written: handed to QUIC without copying.
    writing: Bytes,
    send_ended: bool,
    recv_ended: bool,
}

impl Stream {
    pub(crate) async fn open(connection: &Connection) -> Result<Self, StreamError> {
        let (send, recv) =
            connection.open_bi().await.map_err(|error| StreamError::Lost(Lost::from(error)))?;
        let (out, writing) = (BytesMut::new(), Bytes::new());
        Ok(Self { send, recv, out, writing, send_ended: false, recv_ended: false })
    }

    /// Takes what the machine has to send, and finishes our direction when the machine wants that and all is written.
    pub(crate) fn collect(&mut self, machine: &mut impl Machine) {
        if self.out.len() < OUT_OCTETS_ENOUGH {
            machine.poll_transmit(&mut self.out);
        }
        if self.writing.is_empty() {
            self.writing = self.out.split().freeze();
        }
        if self.writing.is_empty() && !self.send_ended && machine.wants_finish() {
            self.send_ended = true;
            // It fails only where the broker stopped the stream, which reading will tell.
            let _ = self.send.finish();
        }
    }

    /// Whether the broker is so slow to read that more should not be made for it.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.out.len() >= OUT_OCTETS_ENOUGH
    }

    /// Whether something waits to be written.
    pub(crate) fn has_output(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Moves octets one step, either way: what came is in the machine. False when the broker ended its direction before.
    /// Losing this future loses nothing.
    pub(crate) async fn step(&mut self, machine: &mut impl Machine) -> Result<bool, StreamError> {
        if self.recv_ended {
            return Ok(false);
        }
        let mut chunks = [self.writing.clone()];
        tokio::select! {
            chunk = self.recv.read_chunk(READ_OCTETS, true) => {
                if let Some(chunk) = chunk? {
                    machine.handle_data(&chunk.bytes);
                } else {
                    self.recv_ended = true;
                    machine.handle_finish();
                }
            }
            written = self.send.write_chunks(&mut chunks), if !self.writing.is_empty() => match written {
                Ok(written) => self.writing.advance(written.bytes),
                Err(WriteError::Stopped(_)) => {
                    // The broker wants no more; why, it says on the other direction.
                    self.send_ended = true;
                    self.writing.clear();
                    self.out.clear();
                }
                Err(error) => return Err(error.into()),
            },
        }
        Ok(true)
    }

    /// The next event, where nothing else is to be done meanwhile.
    pub(crate) async fn next_event<M: Machine>(&mut self, machine: &mut M) -> Result<M::Event, StreamError> {
        loop {
            if let Some(event) = machine.poll_event()? {
                return Ok(event);
            }
            self.collect(machine);
            if !self.step(machine).await? {
                return Err(StreamError::Finished);
            }
        }
    }

    /// Gives up both directions.
    pub(crate) fn abandon(&mut self, code: CloseCode) {
        // They fail only where the direction has ended.
        let _ = self.send.reset(close_code(code));
        let _ = self.recv.stop(close_code(code));
    }
}
