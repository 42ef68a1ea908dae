//! De-identifies a DICOM object by the Application Level Confidentiality Profile and its options (PS3.15 Annex E).
//!
//! The object is rewritten element by element as it is read: there is no tree, so memory does not grow with the object,
//! and nothing reaches the output that [`profile`] did not decide about. In reading order:
//!
//! - `rewrite` walks data elements and asks `profile` for the fate of each; `values` and `opening` write what it decides.
//! - `profile` is the table of `table` under the `options` of a stage, and what is `beyond` it; `types` says what an object needs to stay valid.
//! - `pixels` covers text in images, or refuses them.
//! - `words`, `dates`, `content`, `safe_private` and `characters` are what single options need to know.
//! - `dummy` makes values that say nothing; `meta` writes the file meta information anew.
//! - [`hilum_formats::dicom`] is the encoding, under each transfer syntax, between the two ends of a [`Pipe`].
//!
//! What it cannot parse it refuses, with the byte offset. An object that ends between two data elements of its top level
//! is a valid shorter object; one that ends anywhere else is refused as truncated.

mod beyond;
mod characters;
mod content;
mod dates;
mod dummy;
mod meta;
mod opening;
mod options;
mod pixels;
mod profile;
mod rewrite;
mod safe_private;
mod table;
mod types;
mod values;
mod words;

#[cfg(test)]
pub(crate) mod tests;

pub use hilum_formats::dicom::{MemoryPipe, Pipe};
pub use options::ProfileOption;
pub use profile::Profile;
pub(crate) use {
    characters::Characters,
    dates::{days_from_1970_to, shift_digits, year_of_day},
    profile::is_registered_uid,
    words::Words,
};

use crate::{Pseudonyms, Refusal};
use hilum_formats::dicom::Stream;
use rewrite::Rewriter;

/// De-identifies one DICOM Part 10 object held in memory.
///
/// # Errors
/// Everything that cannot be parsed or may not leave is refused.
pub fn deidentify(
    input: impl Into<Vec<u8>>,
    profile: &Profile,
    keys: &dyn Pseudonyms,
) -> Result<Vec<u8>, Refusal> {
    let mut output = MemoryPipe::new(&[]);
    rewrite_stream(Stream::after(input.into(), &mut output), profile, keys)?;
    Ok(output.into_output())
}

/// De-identifies one DICOM Part 10 object of any size in constant memory. After an error the output is worthless.
///
/// # Errors
/// Everything that cannot be parsed or may not leave is refused.
pub fn rewrite(pipe: &mut dyn Pipe, profile: &Profile, keys: &dyn Pseudonyms) -> Result<(), Refusal> {
    rewrite_stream(Stream::new(pipe), profile, keys)
}

fn rewrite_stream(mut stream: Stream<'_>, profile: &Profile, keys: &dyn Pseudonyms) -> Result<(), Refusal> {
    let (syntax, sop_class) = meta::read(&mut stream)?;
    if syntax.deflated {
        stream.inflate();
    }
    Rewriter::new(&mut stream, profile, keys, syntax, &sop_class).object(syntax)?;
    stream.finish()?;
    Ok(())
}
