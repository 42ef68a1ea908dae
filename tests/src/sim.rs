//! The whole broker in one thread, under one seed and virtual time: real sessions over real QUIC, ingest, delivery and recovery
//! over a simulated network and a simulated disk, with real clients that come and go.
//!
//! 1. `random`: everything that a run decides follows from its seed.
//! 2. `network` loses, doubles and delays datagrams; `disk` is slow, full, fails and lies, and loses power.
//! 3. `hospital`: who and what there is.
//! 4. `publisher` and `reader`: clients on `hilum-client`.
//! 5. `world`: the broker's lives, and what befalls it. After a time everything is mended, and everything has to come to rest.
//! 6. `records`: what is published. `ledger`: what must hold. `history`: what happened, and its digest.
//! 7. `tally`: a plugin that observes, in some runs, and what it must have made of the records.
//!
//! Chains run in the run's one thread, or no seed would decide their order. What a run cannot decide otherwise, the hash
//! keys of the standard library and tokio's choice among branches of a `select!`, comes from the operating system's random
//! octets, which the binary `hilum-sim` replaces, one process for each seed.

mod disk;
mod history;
mod hospital;
mod ledger;
mod network;
mod publisher;
mod random;
mod reader;
mod records;
mod tally;
mod world;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hilum_client::Client;
use hilum_core::Digest;
use tokio::sync::watch;

use history::History;
use hospital::Identity;
use network::Network;

/// A bug that is put into the broker's way on purpose, to see that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// An append is answered before its fsync.
    AckBeforeFsync,
    /// At a start, the broker does not find out what its publishers have stored already.
    ForgetProducers,
    /// A subscription's cursor is kept as far as records were read for it, before they are delivered.
    CursorBeforeDelivery,
    /// What a reader puts off comes again at once.
    ForgetDelay,
    /// The broker does not know which records have the same key.
    ForgetKeys,
    /// What plugins keep counts, whether or not the records are stored that it was made of.
    ForgetPosition,
}

impl Plant {
    /// All of them, with the names that they have on the command line.
    pub const ALL: [(&str, Self); 6] = [
        ("ack-before-fsync", Self::AckBeforeFsync),
        ("forget-producers", Self::ForgetProducers),
        ("cursor-before-delivery", Self::CursorBeforeDelivery),
        ("forget-delay", Self::ForgetDelay),
        ("forget-keys", Self::ForgetKeys),
        ("forget-position", Self::ForgetPosition),
    ];

    /// What the check says that is there for it.
    #[must_use]
    pub fn symptom(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "was acked and is lost",
            Self::ForgetProducers => "is stored at",
            Self::CursorBeforeDelivery => "which was not settled",
            Self::ForgetDelay => "too early",
            Self::ForgetKeys => "of its key",
            Self::ForgetPosition => "has counted",
        }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.into_iter().find(|(_, plant)| plant == self);
        f.write_str(found.expect("all are in the list").0)
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(other, _)| *other == name);
        found.map(|(_, plant)| plant).ok_or_else(|| format!("there is no bug `{name}` to plant"))
    }
}

/// Compiles what runs need and do not compile themselves.
///
/// # Panics
///
/// Where it does not compile.
pub fn prepare() {
    tally::build();
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// Of everything that happened, with its virtual time.
    pub digest: Digest,
    /// What happened, in order.
    pub events: Vec<String>,
    /// What must not have happened.
    pub violations: Vec<String>,
    /// Datagrams sent.
    pub packets: u64,
}

/// Runs one seed. It is only replayed exactly in a process of its own: see the module.
///
/// # Panics
///
/// Where the simulation itself is broken.
#[must_use]
pub fn run(seed: u64, plant: Option<Plant>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let history =
        runtime.expect("a runtime needs nothing that may be missing").block_on(world::run(seed, plant));
    Outcome {
        digest: history.digest(),
        events: history.events(),
        violations: history.violations(),
        packets: history.packets(),
    }
}

/// What clients need of the world.
#[derive(Clone)]
struct Running {
    network: Network,
    history: History,
    /// Whether everything is mended, so that clients should misbehave no more.
    healed: watch::Receiver<bool>,
    /// Whether nothing more will be published.
    ended: watch::Receiver<bool>,
    plant: Option<Plant>,
}

/// Tries once to reach the broker.
async fn connect(running: &Running, identity: &Identity, from: IpAddr) -> Option<Client> {
    let endpoint = running.network.client(from).expect("a simulated socket can be bound");
    match Client::connect_through(endpoint, identity.client()).await {
        Ok(client) => Some(client),
        Err(error) => {
            running.history.note(format_args!("{from}: {error}"));
            None
        }
    }
}
