//! How much a connection's peer may send before it is read, and how much is kept of what it did not acknowledge.
//!
//! Both begin small, so that ten thousand connections may have them at the same time. What a connection uses up fast grows; what
//! is grown is leased. What the peer was once allowed cannot be taken back: the window shrinks, and the lease with it, only as it
//! is used up again.

use std::time::Duration;

use parking_lot::Mutex;
use quinn::{Connection, VarInt};
use tokio::time::Instant;

use crate::memory::{Account, Lease};

/// What a connection may have under way towards us at first, and always.
pub(crate) const RECEIVE_OCTETS: u32 = 128 << 10;
/// What a connection may have under way towards us at most.
const RECEIVE_OCTETS_MAX: u64 = 16 << 20;
/// What a connection may have under way towards its peer.
pub(crate) const SEND_OCTETS: u64 = 128 << 10;
/// As much once somebody reads records there.
const READER_SEND_OCTETS: u64 = 4 << 20;
/// What one stream may have under way towards us.
pub(crate) const STREAM_OCTETS: u32 = 1 << 20;
/// A window that is used up within two round trips, or within so long, is too small.
const SHORT: Duration = Duration::from_millis(20);
/// One that was not used up for so long is too large.
const LONG: Duration = Duration::from_secs(2);
/// A stream that is not read for so long must not keep the others of its connection from being read.
pub(super) const STALL: Duration = Duration::from_millis(100);

/// The windows of one connection.
pub(super) struct Window {
    connection: Connection,
    account: Account,
    state: Mutex<State>,
}

struct State {
    /// As long as one window lasts.
    since: Instant,
    read: u64,
    octets: u64,
    /// For what stands beyond the first window.
    grown: Option<Lease>,
    /// For what streams that are not read take of it.
    widened: u64,
    reader: Option<Lease>,
}

/// A connection's window is wider by what a stream takes of it that is not read, until this is dropped.
pub(super) struct Widened<'a> {
    window: &'a Window,
    _lease: Lease,
}

impl Window {
    pub(super) fn new(connection: Connection, account: Account) -> Self {
        let octets = RECEIVE_OCTETS.into();
        let (since, grown, reader) = (Instant::now(), None, None);
        let state = State { since, read: 0, octets, grown, widened: 0, reader };
        Self { connection, account, state: state.into() }
    }

    /// Octets were read.
    pub(super) fn read(&self, octets: usize) {
        let mut state = self.state.lock();
        state.read += octets as u64;
        if state.read < state.octets {
            return;
        }
        state.read = 0;
        let took = state.since.elapsed();
        state.since += took;
        // What was taken from the window before is used up now.
        let grown = state.octets - u64::from(RECEIVE_OCTETS);
        match &mut state.grown {
            Some(lease) if grown > 0 => lease.resize(grown),
            _ => state.grown = None,
        }
        if took < SHORT.max(2 * self.connection.rtt()) && state.octets < RECEIVE_OCTETS_MAX {
            self.grow(&mut state);
        } else if took > LONG && grown > 0 {
            state.octets /= 2;
            self.set(&state);
        }
    }

    fn grow(&self, state: &mut State) {
        let Some(lease) = self.account.try_take(state.octets) else { return };
        match &mut state.grown {
            Some(grown) => grown.join(lease),
            none => *none = Some(lease),
        }
        state.octets *= 2;
        self.set(state);
    }

    /// A stream is not read: what it takes of the connection's window is added to it. None where there is no memory for that.
    pub(super) fn widen(&self) -> Option<Widened<'_>> {
        let lease = self.account.try_take(STREAM_OCTETS.into())?;
        self.add(STREAM_OCTETS.into(), 0);
        Some(Widened { window: self, _lease: lease })
    }

    /// Somebody reads records on this connection.
    pub(super) fn for_reader(&self) {
        let mut state = self.state.lock();
        if state.reader.is_none() {
            state.reader = self.account.try_take(READER_SEND_OCTETS - SEND_OCTETS);
            if state.reader.is_some() {
                self.connection.set_send_window(READER_SEND_OCTETS);
            }
        }
    }

    fn add(&self, more: u64, less: u64) {
        let mut state = self.state.lock();
        state.widened = state.widened + more - less;
        self.set(&state);
    }

    fn set(&self, state: &State) {
        // No more than 256 streams and the greatest window: far below the most that there can be.
        let octets = VarInt::from_u64(state.octets + state.widened).unwrap_or(VarInt::MAX);
        self.connection.set_receive_window(octets);
    }
}

impl Drop for Widened<'_> {
    fn drop(&mut self) {
        self.window.add(0, STREAM_OCTETS.into());
    }
}
