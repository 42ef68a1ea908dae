//! The broker as a library: everything that the one binary puts together.
//!
//! 1. [`config`]: what a hospital directory says.
//! 2. [`provision`]: makes one.

pub mod config;
pub mod provision;
