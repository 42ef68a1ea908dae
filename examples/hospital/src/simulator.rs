//! What an MRI suite would send, made from a seed: images, telemetry, room sensors, HL7v2 messages and X12 claims.
//!
//! Nothing here reads a clock or a source of randomness. Everybody in it is made up.
//!
//! | module | makes |
//! |---|---|
//! | [`case`] | patients and their examinations, which the others describe |
//! | [`mr`] | MR Image Storage instances of a numerical head ([`phantom`]), as DICOM files ([`dicom`]) |
//! | [`telemetry`] | readings of the machine and of the room |
//! | [`hl7`] | ADT^A01, ORU^R01 and DFT^P03 messages |
//! | [`fhir`] | Consent resources |
//! | [`x12`] | 837P claims |

pub mod calendar;
pub mod case;
pub mod dicom;
pub mod fhir;
pub mod hl7;
pub mod mr;
pub mod phantom;
pub mod random;
pub mod telemetry;
pub mod x12;

pub use case::Case;
