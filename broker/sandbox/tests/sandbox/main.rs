//! The sandbox against real components, well-behaved and hostile.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bodies;
mod hostile;
mod load;
mod support;
mod worlds;
