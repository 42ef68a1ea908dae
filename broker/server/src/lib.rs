//! The broker as a library: everything that the one binary puts together.
//!
//! 1. [`config`]: what a hospital directory says; [`provision`]: makes one.
//! 2. [`lifecycle`]: starts a broker from it and stops it; [`broker`]: what all its parts share, among it its [`clock`], and
//!    the audit events that are put `aside` and the `permits` that they count.
//! 3. [`ingest`]: a record's way into a flow; [`deliver`]: its way out to each subscription.
//!    [`memory`]: how much may be under way in all of them together.
//! 4. [`endpoint`] and [`quic`]: connections and their streams, which feed the former and are fed by the latter.
//! 5. [`package`], [`chains`] and `services`: plugins from the configuration, and what they may ask of the broker; [`state`]: what
//!    those that observe keep; `originals`: what pseudonyms stood for; [`score`]: what reports a plugin needs before it may run.
//! 6. `reload`: another configuration while the broker runs.
//! 7. [`telemetry`]: logs, traces, metrics; `feed` and `traffic`: audit events and statistics as records of a flow.

mod aside;
pub mod broker;
pub mod chains;
pub mod clock;
pub mod config;
pub mod control;
pub mod deliver;
mod emit;
pub mod endpoint;
mod feed;
#[cfg(test)]
mod fixture;
pub mod flows;
pub mod holds;
pub mod ingest;
pub mod lifecycle;
pub mod memory;
mod originals;
pub mod package;
mod permits;
pub mod provision;
pub mod quarantine;
pub mod quic;
mod reload;
pub mod retention;
pub mod score;
mod services;
pub mod state;
pub mod telemetry;
mod traffic;

/// Measures the disk below a store, for comparison.
pub use hilum_store::probe;
