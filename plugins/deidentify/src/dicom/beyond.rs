//! What Table E.1-1 has left out and the Basic Profile would therefore keep, but that may say who the subject is.

use hilum_formats::dicom::{Tag, Vr};

/// What is left out, in the order of tags: numbers and notes of persons and orders, most of them retired, that the table forgot beside those that
/// it has, and what nobody but its writer can read.
const REMOVED: [Tag; 13] = [
    Tag(0x0010_0033), // Patient's Birth Date in Alternative Calendar
    Tag(0x0010_0034), // Patient's Death Date in Alternative Calendar
    Tag(0x0020_1070), // Other Study Numbers
    Tag(0x0040_0255), // Performed Procedure Type Description
    Tag(0x0040_1006), // Placer Order Number / Procedure
    Tag(0x0040_1007), // Filler Order Number / Procedure
    Tag(0x0040_1060), // Requested Procedure Description (Trial)
    Tag(0x0040_2006), // Placer Order Number / Imaging Service Request
    Tag(0x0040_2007), // Filler Order Number / Imaging Service Request
    Tag(0x0044_0011), // Substance Administration Notes
    Tag(0x0044_0012), // Substance Administration Device ID
    Tag(0x0074_100C), // Contact Display Name
    Tag(0x0400_0500), // Encrypted Attributes Sequence
];

/// Unique identifiers of vocabularies, which are the same everywhere.
const VOCABULARIES: [Tag; 3] = [Tag(0x0008_010C), Tag(0x0008_0117), Tag(0x0008_0118)];

/// Octets (OB) that are of an image or a waveform. Others could be anything: keys, signatures, drawings, what is blank by now.
const IMAGES: [Tag; 7] = [
    Tag(0x0028_2000), // ICC Profile
    Tag(0x0070_0256), // Fill Pattern
    Tag(0x5400_0110), // Channel Minimum Value
    Tag(0x5400_0112), // Channel Maximum Value
    Tag(0x5400_100A), // Waveform Padding Value
    Tag(0x5400_1010), // Waveform Data
    Tag::PIXEL_DATA,
];

/// Whether an attribute that has no row is left out for what it is.
pub(super) fn is_removed(tag: Tag, vr: Vr) -> bool {
    REMOVED.binary_search(&tag).is_ok() || vr == Vr::OB && IMAGES.binary_search(&tag).is_err()
}

/// Whether a unique identifier that has no row is of what there are many of: an instance, a frame of reference, a repository.
pub(super) fn is_own_uid(tag: Tag, vr: Vr) -> bool {
    vr == Vr::UI && !VOCABULARIES.contains(&tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(REMOVED.is_sorted() && IMAGES.is_sorted());
    }
}
