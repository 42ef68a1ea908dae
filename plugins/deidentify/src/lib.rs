//! De-identifies DICOM objects, HL7v2 messages and X12 claims: plain functions first, the plugin around them last.

mod config;
pub mod dicom;
pub mod hl7;
mod plugin;
pub mod pseudonym;
mod refusal;
pub mod x12;

pub use config::{
    BurnedInAnnotation, Config, LocalSegment, OtherText, PatientId, PrivateSopClasses, RecognizableFaces,
    RetainedIdentifiers, SCHEMA, SafePrivate, Staff, TextDetector, UnknownAttributes,
};
pub use plugin::Deidentify;
pub use pseudonym::Pseudonyms;
pub use refusal::Refusal;
