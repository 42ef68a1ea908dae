//! The broker as a library: everything that the one binary puts together.
//!
//! 1. [`config`]: what a hospital directory says.

pub mod config;
