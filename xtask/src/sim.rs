//! `cargo xtask sim`: seeds of the simulation, as many as wanted, or one to look at.

use crate::step::{binary, program};

/// Builds and runs `hilum-sim` with these arguments.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    crate::build()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    program(&binary("hilum-sim"), &arguments)
}
