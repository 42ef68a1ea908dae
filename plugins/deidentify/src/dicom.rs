//! De-identifies a DICOM object by the Basic Application Level Confidentiality Profile (PS3.15 Annex E).
//!
//! The object is rewritten element by element as it is read: there is no tree, so memory does not grow with the object,
//! and nothing reaches the output that [`profile`] did not decide about. In reading order:
//!
//! - `rewrite` walks data elements and asks `profile` for the fate of each.
//! - `profile` is the table; `dummy` makes the values it asks for; `meta` writes the file meta information anew.
//! - [`hilum_formats::dicom`] is the encoding, under each transfer syntax, between the two ends of a [`Pipe`].
//!
//! What it cannot parse it refuses, with the byte offset. An object that ends between two data elements of its top level
//! is a valid shorter object; one that ends anywhere else is refused as truncated.

mod dummy;
mod meta;
mod profile;
mod rewrite;

#[cfg(test)]
pub(crate) mod tests;

pub use hilum_formats::dicom::{MemoryPipe, Pipe};

use crate::{Config, Pseudonyms, Refusal};
use hilum_formats::dicom::Stream;
use rewrite::Rewriter;

/// De-identifies one DICOM Part 10 object held in memory.
///
/// # Errors
/// Everything that cannot be parsed or may not leave is refused.
pub fn deidentify(input: &[u8], config: &Config, keys: &dyn Pseudonyms) -> Result<Vec<u8>, Refusal> {
    let mut pipe = MemoryPipe::new(input);
    rewrite(&mut pipe, config, keys)?;
    Ok(pipe.into_output())
}

/// De-identifies one DICOM Part 10 object of any size in constant memory. After an error the output is worthless.
///
/// # Errors
/// Everything that cannot be parsed or may not leave is refused.
pub fn rewrite(pipe: &mut dyn Pipe, config: &Config, keys: &dyn Pseudonyms) -> Result<(), Refusal> {
    let mut stream = Stream::new(pipe);
    let syntax = meta::read(&mut stream)?;
    if syntax.deflated {
        stream.inflate();
    }
    Rewriter::new(&mut stream, config, keys).object(syntax)?;
    stream.finish()?;
    Ok(())
}
