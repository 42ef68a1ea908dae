//! The example hospital: one MRI machine, and everybody who wants something from it.
//!
//! Read in this order:
//!
//! - [`simulator`]: what the machine, the room and the hospital's systems would send. Deterministic: the same seed gives
//!   the same octets, so a run can be repeated and every planted identifier is known.
//! - [`simulate`]: the same as files.
//!
//! The configuration that it all runs on is in `examples/hospital/hospital`.

pub mod leak;
pub mod process;
pub mod simulate;
pub mod simulator;
pub mod text_table;
