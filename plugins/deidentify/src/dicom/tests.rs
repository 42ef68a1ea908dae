//! Tests of whole objects, built here octet by octet and read back with another DICOM library.

mod build;
mod hostile;
mod planted;
mod rewriting;

use crate::pseudonym::tests::TestKeys;
use crate::{Config, Refusal};

fn deidentify(input: &[u8]) -> Result<Vec<u8>, Refusal> {
    super::deidentify(input, &Config::default(), &TestKeys(1))
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}
