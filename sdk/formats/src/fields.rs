//! Single fields of a message, each with its place, so that something can be put there and be replaced again.
//!
//! What is put there is a text in ASCII, such as a JWE: in HL7v2 it stands for the field, in FHIR it is an extension of the element, so
//! that both stay what they are for a reader that only wants the rest. A place names a field within one body: what was sealed for one
//! does not open in another.
//!
//! A visitor sees the fields in order. What it gives replaces the field; where it gives nothing, the field stays as it is.

pub mod fhir;
pub mod hl7;

/// Why a name of a field is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not of the form.
    #[error("write a field of HL7v2 as `PID-5`: a segment, a hyphen and a number from 1 to 1024")]
    Hl7,
    /// A segment that says what the message is.
    #[error(
        "the fields of MSH and of the headers and trailers of batches say what the message is and stay as they are"
    )]
    Header,
    /// Not of the form.
    #[error(
        "write an element of FHIR as `Patient.birthDate`, `Patient.contact.name` or `Observation.value[x]`"
    )]
    Fhir,
    /// An element that cannot be replaced by an extension.
    #[error("`{0}` says what the resource is, and cannot be replaced; name elements inside of it or others")]
    Structure(String),
}
