//! A whole broker, as a process of its own, seen from outside: through the client, the command line, and clients that
//! break the rules.

#![allow(clippy::unwrap_used, reason = "these are tests; their helpers are not marked as such")]

mod batches;
mod canary;
mod candidates;
mod claims;
mod cli;
mod configuration;
mod crash;
mod damage;
mod disk;
mod examples;
mod glass;
mod heads;
mod identity;
mod large;
mod life;
mod limits;
mod load;
mod operators;
mod patients;
mod plugins;
mod power;
mod pressure;
mod protocol;
mod pseudonyms;
mod retention;
mod rooms;
mod round_trip;
mod sealed;
mod security;
mod state;
mod subscriptions;
mod support;
mod telemetry;
mod trust;
