//! ASC X12 interchanges (X12.5 interchange control structures, X12.6 application control structure, as the HIPAA
//! implementation guides bound them: 005010 TR3 appendix B).
//!
//! [`Document::parse`] finds the segments of one interchange or several and the [`Transaction`]s in them. A
//! [`Segment`] gives its elements, an element splits into repetitions and components. A [`Walker`] goes through a
//! transaction and says of each segment whose it is. After segments were left out, [`recount`] sets the counts right.
//!
//! ```
//! use hilum_formats::x12::{Document, Interchange, Party, Separators, Walker, segment};
//!
//! let separators = Separators::default();
//! let mut text = Interchange { sender: "CLINIC", receiver: "PAYER", ..Interchange::default() }.header(&separators)?;
//! for (identifier, elements) in [
//!     ("GS", &["HC", "CLINIC", "PAYER", "20260101", "0000", "1", "X", "005010X222A1"][..]),
//!     ("ST", &["837", "0001", "005010X222A1"]),
//!     ("HL", &["2", "1", "22", "0"]),
//!     ("NM1", &["IL", "1", "DOE", "JANE", "", "", "", "MI", "4711"]),
//!     ("SE", &["4", "0001"]),
//!     ("GE", &["1", "1"]),
//!     ("IEA", &["1", "000000001"]),
//! ] {
//!     text.extend(segment(identifier, elements, &separators)?);
//! }
//! let document = Document::parse(&text)?;
//! document.check_counts()?;
//! let claim = document.transactions().next().expect("there is one");
//! let mut walker = Walker::default();
//! let parties: Vec<_> = claim.segments().iter().map(|segment| walker.place(segment).party).collect();
//! assert_eq!(parties[2], Some(Party::Subscriber));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod counts;
mod document;
mod error;
mod parties;
mod segment;
mod separators;
#[cfg(test)]
mod tests;

pub use build::{BuildError, Interchange, segment};
pub use counts::recount;
pub use document::{Document, OCTETS_MAX, SEGMENTS_MAX, Transaction};
pub use error::{Error, Problem};
pub use parties::{Area, Level, Party, Place, Walker};
pub use segment::{ELEMENTS_MAX, Segment};
pub use separators::{HEADER_OCTETS, Separators};
