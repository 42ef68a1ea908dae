//! Runs plugins: the only crate that knows wasmtime.
//!
//! A plugin is a component of one of the worlds of the WIT package `hilum:plugin` (`wit/v1`). Read the modules in this order:
//!
//! 1. [`limits`] and [`grants`]: what a stage may use up, and what it may ask for.
//! 2. [`services`]: what the sandbox needs of the broker: keys, blobs, state, clock. The server implements it.
//! 3. [`engine`] and [`plugin`]: [`Sandbox`] compiles a component, or finds it in its [`cache`], and finds out what it is.
//! 4. [`trace`]: the spans of stages and plugins.
//! 5. [`chain`]: [`Chain::load`] checks and links the stages of a chain, [`Chain::run`] runs a batch of records
//!    through them and leaves receipts. [`run`] has the shapes that go in and come out. `breaker` leaves a stage alone that fails again and
//!    again.
//! 6. [`package`] and [`trust`]: how a plugin travels with its manifest, SBOM and signatures, and whose signature is enough.
//!
//! [`bare`] is for measuring what all of this costs.
//!
//! A plugin gets no file system, no network, no environment and no clock: WASI is not linked. The few functions of it that
//! the standard library of Rust touches exist and do nothing (see `wasi`); all others trap.
//!
//! Everything here blocks. Call it from threads of its own, never from an async runtime's workers.

mod breaker;
mod call;
mod capability;
mod contract;
mod exports;
mod guest;
mod instance;
mod schema;
mod shape;
mod stage;
mod wasi;

pub mod bare;
pub mod cache;
pub mod chain;
pub mod engine;
pub mod grants;
pub mod limits;
pub mod memory;
pub mod package;
pub mod plugin;
pub mod run;
pub mod services;
pub mod trace;
pub mod trust;

pub use cache::Cache;
pub use chain::{Chain, ChainContext, ChainError, OpenBreaker, StageSpec};
pub use contract::Lacking;
pub use engine::{Sandbox, Settings};
pub use grants::{Grant, GrantError, Grants};
pub use limits::{Limit, Limits};
pub use memory::{DeclaredMemory, declared_memory};
pub use plugin::{Description, LoadError, Plugin};
pub use run::{BatchRun, Emission, Failure, FailureKind, Input, Obligation, Observation, Ran};
pub use services::{
    BlobSink, ServiceError, Services, StageEvent, StageOf, StateChange, StateError, StateUsage, Versioned,
};
pub use trace::{Span, SpanStart, SpanValue};
