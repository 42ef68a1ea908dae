//! The sandbox against real components, well-behaved and hostile.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bodies;
mod breaker;
mod cache;
mod crafted;
mod examples;
mod frozen;
mod hostile;
mod limits;
mod load;
mod reach;
mod support;
mod traces;
mod worlds;
