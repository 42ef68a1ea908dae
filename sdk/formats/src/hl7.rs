//! HL7 version 2 messages in the vertical-bar encoding, ER7 (HL7 v2.5.1 chapter 2, "Control"; v2.7 for truncation).
//!
//! [`Document::parse`] finds the segments of one message, of several, or of a batch file. A [`Segment`] gives its
//! fields, a field its repetitions, a repetition its components, and a component its subcomponents: each is a [`Part`],
//! a view with an offset. [`Segments`](SegmentBuilder) are built from plain text, which is escaped on the way.
//!
//! ```
//! use hilum_formats::hl7::Document;
//!
//! let text = b"MSH|^~\\&|LAB|ST-MARYS|||2026||ORU^R01|7|P|2.5.1\rPID|1||4711^^^ST-MARYS^MR||Doe^Jane\r";
//! let document = Document::parse(text)?;
//! let message = document.messages().next().expect("there is one");
//! assert_eq!(message.trigger_event().as_ref(), b"R01");
//!
//! let patient = message.segments()[1];
//! let identifier = patient.field(3).expect("PID-3 is there");
//! assert_eq!(identifier.component(1, &patient.delimiters()).text, b"4711");
//! # Ok::<(), hilum_formats::hl7::Error>(())
//! ```

mod build;
mod delimiters;
mod document;
mod error;
mod escape;
mod segment;
#[cfg(test)]
mod tests;

pub use build::SegmentBuilder;
pub use delimiters::Delimiters;
pub use document::{Document, Message, OCTETS_MAX, SEGMENTS_MAX};
pub use error::{Error, Problem};
pub use escape::{decode, encode};
pub use segment::{FIELDS_MAX, Part, Segment};
