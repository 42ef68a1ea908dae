//! What the tests that need more than one crate share: hospitals in temporary directories, and broker processes.

#![allow(clippy::unwrap_used, reason = "this is for tests; where something is not as it should be, they end")]

mod flow;
pub mod fuse;
mod hospital;
mod process;
pub mod raw;
pub mod relay;
pub mod sim;

use std::path::Path;

pub use flow::{Flow, Stage, Subscription};
pub use hospital::Hospital;
pub use process::{Broker, binary, hilum, hilum_reading};

/// The root of the project.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}
