//! How far a data set reaches, and in which order its data elements have to come.

use super::Error;
use super::element::{Header, Tag};
use super::stream::Stream;

/// How deeply sequences may be nested.
pub const DEPTH_MAX: usize = 32;

/// How far a data set reaches.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The offset that nothing in it may pass.
    pub end: u64,
    /// Whether it ends with an item delimitation rather than at `end`.
    pub delimited: bool,
}

impl Extent {
    /// Refuses a header, just read, that passes the end or whose value does.
    pub fn check(self, header: &Header, stream: &Stream<'_>) -> Result<(), Error> {
        if stream.offset().saturating_add(header.defined_length().unwrap_or(0)) > self.end {
            return Err(header.refuse("length-past-end", "the value ends after the item that holds it"));
        }
        Ok(())
    }
}

/// Refuses a tag that is not greater than the one before it, or that has no place in a data set.
#[inline]
pub fn check_place(header: &Header, last: &mut Option<Tag>) -> Result<(), Error> {
    if matches!(header.tag.group(), 0 | 2 | 0xFFFE) {
        return Err(header.refuse("misplaced-tag", "this has no place in a data set"));
    }
    if last.replace(header.tag).is_some_and(|last| last >= header.tag) {
        return Err(header.refuse("tag-order", "data elements are not in the order of their tags"));
    }
    Ok(())
}
