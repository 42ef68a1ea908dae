//! DICOM objects as files hold them (PS3.10), read and written element by element, so that memory does not grow with the
//! object and pixel data need not be looked at. In reading order:
//!
//! - [`Stream`] reads and writes through a [`Pipe`], inflating where the transfer syntax says so.
//! - [`read_file_meta`] reads what precedes the data set and finds its [`Syntax`].
//! - [`read_header`], [`write_header`] and [`write_element`] are the encoding of data elements (PS3.5 section 7), [`Vr`]
//!   the value representations; [`skip_value`] passes over a value.
//! - [`Extent`] and [`check_place`] hold what a data set promises: nothing passes its end, and tags ascend.
//! - [`copy_element`] passes one on; [`DataSet`] holds an object that is small enough.
//! - [`build`] makes objects, for tests.
//!
//! What cannot be parsed is an [`Error`] with the octet offset and no value.

pub mod build;
mod data_set;
mod element;
mod error;
mod extent;
mod inflate;
mod meta;
mod pipe;
mod stream;
mod syntax;
mod vr;
mod walk;

pub use data_set::{DataSet, ELEMENTS_MAX};
pub use element::{Encoding, Header, Tag, UNDEFINED, read_header, write_element, write_header, write_item};
pub use error::Error;
pub use extent::{DEPTH_MAX, Extent, check_place};
pub use meta::{PREAMBLE_OCTETS, TRANSFER_SYNTAX, read_file_meta};
pub use pipe::{MemoryPipe, Pipe};
pub use stream::{Held, Stream, VALUE_OCTETS_MAX};
pub use syntax::{EXPLICIT_VR_LITTLE_ENDIAN, Syntax};
pub use vr::{Kind, Vr};
pub use walk::{copy_element, copy_value, skip_value};

/// A value without the spaces and NULs that pad it (PS3.5 section 6.2).
pub fn trim(value: &[u8]) -> &[u8] {
    let padding = |octet: &u8| matches!(octet, b' ' | 0);
    let start = value.iter().position(|octet| !padding(octet)).unwrap_or(value.len());
    let end = value.iter().rposition(|octet| !padding(octet)).map_or(start, |last| last + 1);
    &value[start..end]
}
