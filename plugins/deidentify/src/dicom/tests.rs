//! Tests of whole objects, built here octet by octet and read back with another DICOM library.

mod characters;
mod contents;
mod hostile;
mod objects;
mod options;
mod planted;
mod rewriting;

use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, Tag};
use hilum_formats::dicom::{Encoding, build};

use super::{Profile, ProfileOption};
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

/// Shifts a date, for the tests of the plugin.
pub(crate) fn shift(date: &mut [u8], days: i32) -> bool {
    super::dates::shift(hilum_formats::dicom::Vr::DA, date, days)
}

fn deidentify(input: &[u8]) -> Result<Vec<u8>, Refusal> {
    deidentify_as(&Config::default(), input)
}

pub(crate) fn deidentify_as(config: &Config, input: &[u8]) -> Result<Vec<u8>, Refusal> {
    super::deidentify(input, &Profile::new(config).unwrap(), &TestKeys(1))
}

pub(crate) fn with_options(options: &[ProfileOption]) -> Config {
    Config { options: options.to_vec(), ..Config::default() }
}

pub(crate) fn open(octets: &[u8]) -> DefaultDicomObject {
    dicom_object::from_reader(octets).unwrap()
}

pub(crate) fn text(object: &DefaultDicomObject, group: u16, element: u16) -> String {
    object.element(Tag(group, element)).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned()
}

pub(crate) fn has(object: &DefaultDicomObject, group: u16, element: u16) -> bool {
    object.element(Tag(group, element)).is_ok()
}

/// Elements of the first item of a sequence.
fn item_text(sequence: &InMemElement, group: u16, element: u16) -> String {
    let item = &sequence.items().unwrap()[0];
    item.element(Tag(group, element)).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned()
}

pub(crate) fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}
