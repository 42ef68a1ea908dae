//! De-identifies DICOM objects, HL7v2 messages, X12 transactions, FHIR resources and telemetry: plain functions first, the plugin around them last.

mod ages;
mod config;
mod dates;
pub mod dicom;
pub mod fhir;
mod forms;
pub mod hl7;
mod json;
#[cfg(test)]
mod one_world;
mod places;
mod plugin;
mod postal;
pub mod pseudonym;
mod record_time;
mod refusal;
mod shape;
pub mod telemetry;
mod texts;
pub mod x12;

pub use config::{
    BurnedInAnnotation, Config, LocalSegment, MessageDates, OtherText, PatientId, PostalCodes,
    PrivateSopClasses, RecognizableFaces, RetainedIdentifiers, SCHEMA, SafePrivate, Staff, TelemetryMember,
    TextDetector, UnknownAttributes,
};
pub use plugin::Deidentify;
pub use pseudonym::Pseudonyms;
pub use record_time::RecordTime;
pub use refusal::Refusal;
pub use texts::TextRule;
