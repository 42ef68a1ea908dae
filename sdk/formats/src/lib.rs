//! Readers and writers of the message formats that hospitals exchange, for gateways and plugins alike.
//!
//! They are pure (octets in, octets out), bounded and lossless: a reader gives views into the octets it was given, with
//! their offsets, and [`Edits`] replaces some of them, so that whatever nobody touched is written back octet for octet.
//! Errors say where (segment, field, offset) and what is wrong, never what a field holds.
//!
//! - [`calendar`]: times as text (RFC 3339).
//! - [`dicom`]: data elements of DICOM Part 10 objects, streamed; what the DICOM crates lack.
//! - [`fields`]: single fields of HL7v2 messages and FHIR resources, to be sealed in their places.
//! - [`hl7`]: HL7 version 2 in its vertical-bar encoding (ER7).
//! - [`x12`]: ASC X12 interchanges: claims (837), remittances (835), eligibility (270 and 271).

pub mod calendar;
pub mod dicom;
mod edits;
pub mod fields;
pub mod hl7;
pub mod x12;

pub use edits::{EditError, Edits};
