//! The example hospital: one MRI machine, and everybody who wants something from it.
//!
//! Read in this order:
//!
//! - [`simulator`]: what the machine, the room and the hospital's systems would send. Deterministic: the same seed gives
//!   the same octets, so a run can be repeated and every planted identifier is known. [`simulate`] writes it as files.
//! - [`demo`]: one run of the hospital on a real broker, and a table of who received what.
//! - [`interop`]: files that others wrote, through a real broker. [`open`] opens what others sealed.
//! - [`process`], [`connect`]: a broker process of one's own, and connections to it.
//! - [`leak`], [`collector`], [`otlp`], [`text_table`]: looking for planted identifiers, receiving and searching traces,
//!   printing tables.
//!
//! The configuration that it all runs on is in `examples/hospital/hospital`.

pub mod collector;
pub mod connect;
pub mod demo;
pub mod interop;
pub mod leak;
pub mod open;
pub mod otlp;
pub mod process;
pub mod simulate;
pub mod simulator;
pub mod text_table;
