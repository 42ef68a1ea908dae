//! Tests of whole objects, built here octet by octet and read back with another DICOM library.

mod hostile;
mod planted;
mod rewriting;

use hilum_formats::dicom::{Encoding, build};

use crate::pseudonym::tests::TestKeys;
use crate::{Config, Refusal};

/// An image with a patient and so many octets of pixels, for the tests of the plugin.
pub(crate) fn image_of(pixel_octets: usize) -> Vec<u8> {
    build::Elements::image(Encoding::EXPLICIT_LITTLE)
        .text(0x0010_0010, "PN", "DOE^JANE")
        .text(0x0010_0020, "LO", "4711")
        .value(0x7FE0_0010, "OW", &vec![7; pixel_octets])
        .part_10(build::EXPLICIT)
}

fn deidentify(input: &[u8]) -> Result<Vec<u8>, Refusal> {
    super::deidentify(input, &Config::default(), &TestKeys(1))
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}
