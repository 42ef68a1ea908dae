//! What a record is and what may happen to it.
//!
//! This crate is pure: no IO, no clock, no async runtime. Time, randomness and limits are arguments.
//! Read the modules in this order:
//!
//! 1. [`name`] and [`identity`]: what things are called, and who somebody is.
//! 2. [`record`]: a record's way from [`record::Draft`] to [`record::Stored`]; each step consumes the one before.
//! 3. [`entry`] and [`quarantine`]: what a log takes, and where refused records go.
//! 4. [`policy`]: who may publish and read; the only source of a [`policy::Permit`]. [`filter`]: what a reader wants to have.
//! 5. [`chain`]: plans of plugin stages and the receipts that their runs leave; [`state`]: what observing stages keep;
//!    [`canary`]: trying a plugin on a share of the records.
//! 6. [`audit`]: what is written down about decisions; [`control`]: operators' decisions that outlive the process;
//!    [`retention`]: what may be deleted, and when.
//! 7. [`cose`]: end-to-end encryption to named recipients; [`originals`]: what pseudonyms stood for, sealed to those who may ask.
//! 8. [`wire`], [`session`] and [`delivery`]: the frames of the wire protocol, its state machines, and what the broker knows
//!    of a subscription while it is read.
//! 9. [`limits`]: a named bound for everything that could grow.

pub mod audit;
pub mod canary;
pub mod chain;
pub mod control;
pub mod cose;
pub mod delivery;
pub mod digest;
pub mod entry;
pub mod filter;
pub mod identity;
pub mod jose;
pub mod limits;
pub mod name;
pub mod originals;
pub mod policy;
pub mod producers;
pub mod quarantine;
pub mod record;
pub mod retention;
pub mod session;
pub mod state;
pub mod wire;

pub use digest::Digest;
pub use entry::{Entry, LogName};
pub use identity::{Principal, PrincipalId};
pub use name::{
    FlowName, KeyName, Label, ReasonCode, RoleName, StageName, StakeholderName, SubscriptionName, ZoneName,
};
pub use record::{Attribute, Body, Head, Offset, Timestamp};
