//! Readers and writers of the message formats that hospitals exchange, for gateways and plugins alike.
//!
//! They are pure (octets in, octets out), bounded and lossless: a reader gives views into the octets it was given, with
//! their offsets, and [`Edits`] replaces some of them, so that whatever nobody touched is written back octet for octet.
//! Errors say where (segment, field, offset) and what is wrong, never what a field holds.
//!
//! - [`calendar`]: times as text (RFC 3339).
//! - [`care`]: what is known of who treats a patient and what the patient allows, without naming anybody.
//! - [`dicom`]: data elements of DICOM Part 10 objects, streamed; what the DICOM crates lack.
//! - [`fields`]: single fields of HL7v2 messages and FHIR resources, to be sealed in their places.
//! - [`hl7`]: HL7 version 2 in its vertical-bar encoding (ER7).
//! - [`local_time`]: time zones, as the POSIX variable `TZ` has them.
//! - [`patient`]: whose a record is, in HL7v2, DICOM and FHIR.
//! - [`purpose`]: what for, as codes of HL7 v3.
//! - [`sealed`]: what a sealed body or field is bound to.
//! - [`strict_json`]: JSON in which nothing is said twice.
//! - [`x12`]: ASC X12 interchanges: claims (837), remittances (835), eligibility (270 and 271).

pub mod calendar;
pub mod care;
pub mod dicom;
mod edits;
pub mod fields;
pub mod hl7;
pub mod local_time;
pub mod patient;
pub mod purpose;
pub mod sealed;
pub mod strict_json;
pub mod x12;

pub use edits::{EditError, Edits};
