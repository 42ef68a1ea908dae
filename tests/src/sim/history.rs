//! What happened in a run, in order, in virtual time: to be read by people and, as a digest, compared with the same seed's next run.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use hilum_core::Digest;
use tokio::time::Instant;

/// Events of one run.
#[derive(Clone)]
pub(super) struct History {
    start: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    events: Vec<String>,
    /// Of all events and all datagrams.
    digest: Option<Digest>,
    packets: u64,
    violations: Vec<String>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the history")
    }

    /// Something happened.
    pub(super) fn note(&self, event: fmt::Arguments<'_>) {
        let line = format!("{:10.3} {event}", self.start.elapsed().as_secs_f64());
        let mut state = self.state();
        state.chain(line.as_bytes());
        state.events.push(line);
    }

    /// A datagram was sent, and this many copies of it will arrive.
    pub(super) fn packet(&self, from: SocketAddr, to: SocketAddr, octets: usize, copies: u32) {
        let at = self.start.elapsed().as_nanos();
        let mut state = self.state();
        state.packets += 1;
        state.chain(format!("{at} {from} {to} {octets} {copies}").as_bytes());
    }

    /// Something happened that must not.
    pub(super) fn violation(&self, what: fmt::Arguments<'_>) {
        self.note(format_args!("VIOLATION: {what}"));
        self.state().violations.push(what.to_string());
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.state().events.clone()
    }

    pub(super) fn packets(&self) -> u64 {
        self.state().packets
    }

    pub(super) fn digest(&self) -> Digest {
        self.state().digest.unwrap_or(Digest::of(b""))
    }
}

impl State {
    fn chain(&mut self, octets: &[u8]) {
        let before = self.digest.map(|digest| digest.to_string()).unwrap_or_default();
        self.digest = Some(Digest::of(&[before.as_bytes(), octets].concat()));
    }
}
