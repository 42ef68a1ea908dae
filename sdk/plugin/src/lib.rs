//! Write a Hilum plugin as a type that implements one trait, and test the same code natively.
//!
//! A plugin implements [`Transform`], [`Authorize`] or [`Observe`] and is exported with the macro of that name:
//!
//! ```
//! use hilum_plugin::{Attribute, Config, ConfigError, Context, Description, Message, Outcome, Transform};
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     mark: String,
//! }
//!
//! struct Marker(Settings);
//!
//! impl Transform for Marker {
//!     type Config = Settings;
//!
//!     fn describe(_: Option<&Settings>) -> Description {
//!         Description::new("marker", "0.1.0").config_schema(
//!             r#"{"type": "object", "required": ["mark"], "properties": {"mark": {"type": "string"}}}"#,
//!         )
//!     }
//!
//!     fn configure(settings: Settings) -> Result<Self, ConfigError> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn transform(&mut self, _: &Context, message: Message) -> Outcome {
//!         let mut attributes = message.head.attributes;
//!         attributes.push(Attribute::new("mark", &self.0.mark));
//!         Outcome::Annotate(attributes)
//!     }
//! }
//!
//! hilum_plugin::export_transform!(Marker);
//! ```
//!
//! [`guide`] leads from a first plugin to a shipped one.
//!
//! What a plugin may ask of the broker is in [`log`], [`metrics`], [`trace`], [`keys`], [`state`], [`observed`], [`emit`], [`time`]
//! and [`random`], each of which has to be granted to the stage, and in [`stated`] and [`timing`], which need no grant. There is nothing else: no files, no network, no clock of `std`.
//!
//! Compiled for `wasm32-wasip2` these functions are imports of the WIT package `hilum:plugin` (`wit/v1`). Compiled for any other
//! target they go to [`testing::Host`], so that `cargo test` runs the plugin without a sandbox.

extern crate self as hilum_plugin;

mod body;
mod host;
mod plugin;
mod record;

#[cfg(target_arch = "wasm32")]
#[path = "backend/wasm.rs"]
mod backend;
#[cfg(not(target_arch = "wasm32"))]
#[path = "backend/native.rs"]
mod backend;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// The guide, from a first plugin in ten minutes to a shipped one. It is `README.md` of this crate, and all its code is tested.
#[cfg_attr(any(doc, doctest), doc = "")]
#[cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
pub mod guide {}

/// What the export macros expand to; not for use by hand.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
#[path = "backend/export.rs"]
pub mod export;

pub use body::{BodyError, BodyReader, BodyWriter};
pub use host::{emit, keys, log, metrics, observed, random, state, stated, time, timing, trace};
pub use plugin::{Authorize, Config, ConfigError, Description, Observe, Transform};
pub use record::{
    Attribute, Body, Context, Decision, Draft, Head, INLINE_OCTETS_MAX, Message, Obligation, Outcome, Party,
    Phase, Refusal, Request,
};

/// Exports a type that implements [`Transform`] as a component of the world `transform`.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty) => {
        const _: () = {
            type Exported = $crate::export::Transformer<$plugin>;
            $crate::export::describe::export_describe_interface!(Exported with_types_in $crate::export::describe);
            $crate::export::transform::export_transform_interface!(Exported with_types_in $crate::export::transform);
        };
    };
}

/// Exports a type that implements [`Authorize`] as a component of the world `authorize`.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! export_authorize {
    ($plugin:ty) => {
        const _: () = {
            type Exported = $crate::export::Authorizer<$plugin>;
            $crate::export::describe::export_describe_interface!(Exported with_types_in $crate::export::describe);
            $crate::export::authorize::export_authorize_interface!(Exported with_types_in $crate::export::authorize);
        };
    };
}

/// Exports a type that implements [`Observe`] as a component of the world `observe`.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! export_observe {
    ($plugin:ty) => {
        const _: () = {
            type Exported = $crate::export::Observer<$plugin>;
            $crate::export::describe::export_describe_interface!(Exported with_types_in $crate::export::describe);
            $crate::export::observe::export_observe_interface!(Exported with_types_in $crate::export::observe);
        };
    };
}

/// Exports a type that implements [`Transform`] as a component of the world `transform`.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty) => {
        const _: fn() = || {
            fn implements<T: $crate::Transform>() {}
            implements::<$plugin>();
        };
    };
}

/// Exports a type that implements [`Authorize`] as a component of the world `authorize`.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! export_authorize {
    ($plugin:ty) => {
        const _: fn() = || {
            fn implements<T: $crate::Authorize>() {}
            implements::<$plugin>();
        };
    };
}

/// Exports a type that implements [`Observe`] as a component of the world `observe`.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! export_observe {
    ($plugin:ty) => {
        const _: fn() = || {
            fn implements<T: $crate::Observe>() {}
            implements::<$plugin>();
        };
    };
}
