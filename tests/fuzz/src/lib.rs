//! Fuzz targets for every parser that faces octets of others: from the wire, from the disk, or inside records.
//!
//! ```text
//! cargo xtask fuzz                       every target, a minute each
//! cargo xtask fuzz wire hl7 --seconds 600
//! ```
//!
//! | target | what it takes |
//! |---|---|
//! | [`blob`], [`entries`], [`keys`], [`store`] | files of the store: bodies, entries, wrapped keys, segments |
//! | [`claims`], [`fhir`], [`objects`], [`route`] | records of the example plugins: claims, telemetry, DICOM objects, messages |
//! | [`config`], [`filter`] | the configuration, and selectors in it |
//! | [`cose`], [`fields`], [`stream`] | sealed messages, sealed fields and what they are in, sealed streams |
//! | [`deidentify`] | objects, messages and claims that are de-identified |
//! | [`hl7`], [`x12`] | the formats' readers |
//! | [`relationships`] | admissions, appointments and consents that who treats whom is learned from |
//! | [`procedures`], [`rooms`], [`security`] | what is watched: images, results and claims, telemetry, the audit |
//! | [`package`] | packages of plugins: manifests, signatures, SBOMs, keys |
//! | [`session`], [`wire`] | what peers send: whole sessions, and single frames |
//!
//! Each of these modules is one target: `check` takes any octets and panics where a property does not hold, `seeds` gives inputs to begin
//! with, made by the code's own writers. The binaries in `src/bin` hand `check` to libFuzzer. [`memory`] sees to it that no
//! input makes a parser allocate out of proportion.
//!
//! The corpus grows in `target/fuzz/corpus/TARGET` and is used again by the next run. An input that fails is kept in
//! `target/fuzz/findings/TARGET`; `target/fuzz/TRIPLE/release/TARGET FILE` runs it alone. What was found becomes a test beside the
//! parser, because CI does not fuzz.

pub mod blob;
pub mod claims;
pub mod config;
pub mod cose;
pub mod deidentify;
mod disk;
pub mod entries;
pub mod fhir;
pub mod fields;
pub mod filter;
pub mod hl7;
pub mod keys;
pub mod memory;
pub mod objects;
pub mod package;
mod plugin;
pub mod procedures;
pub mod relationships;
pub mod rooms;
pub mod route;
mod script;
pub mod security;
pub mod session;
mod start;
pub mod store;
pub mod stream;
pub mod wire;
pub mod x12;

pub use start::start;

/// The binary of one target.
#[macro_export]
macro_rules! target {
    ($target:ident) => {
        #[global_allocator]
        static ALLOCATOR: $crate::memory::Counting = $crate::memory::Counting;

        libfuzzer_sys::fuzz_target!(
            init: {
                $crate::start($crate::$target::seeds);
                // What is made once is not the cost of an input.
                $crate::$target::check(&[]);
            },
            |octets: &[u8]| $crate::memory::bounded($crate::$target::OCTETS_MAX, octets.len(), || $crate::$target::check(octets))
        );
    };
}
