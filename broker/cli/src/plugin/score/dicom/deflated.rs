//! Deflated objects (PS3.5 A.5), which dicom-rs reads only with its codecs: what follows the meta information is compressed as a whole.

use dicom_object::FileMetaTable;

/// Deflated Explicit VR Little Endian.
pub(in super::super) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// What is deflated.
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Octets before the meta information.
const PREAMBLE_OCTETS: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
/// Octets of a data set that is inflated.
const INFLATED_OCTETS_MAX: usize = 256 << 20;
/// As good as most writers do.
const LEVEL: u8 = 6;

/// A deflated file as one that is not; none if it is not deflated, or not well.
pub(in super::super) fn inflated(file: &[u8]) -> Option<Vec<u8>> {
    let (mut meta, data_set) = parts(file)?;
    if meta.transfer_syntax.trim_end_matches('\0') != DEFLATED {
        return None;
    }
    let data_set = miniz_oxide::inflate::decompress_to_vec_with_limit(data_set, INFLATED_OCTETS_MAX).ok()?;
    EXPLICIT_LITTLE.clone_into(&mut meta.transfer_syntax);
    joined(file, meta, &data_set)
}

/// A file that is explicit and little endian, deflated.
pub(super) fn deflated(file: &[u8]) -> Option<Vec<u8>> {
    let (mut meta, data_set) = parts(file)?;
    DEFLATED.clone_into(&mut meta.transfer_syntax);
    joined(file, meta, &miniz_oxide::deflate::compress_to_vec(data_set, LEVEL))
}

/// The meta information of a file, and what follows it.
fn parts(file: &[u8]) -> Option<(FileMetaTable, &[u8])> {
    let meta = file.get(PREAMBLE_OCTETS..)?;
    let read = FileMetaTable::from_reader(meta).ok()?;
    // (0002,0000) is twelve octets, and says how many follow it.
    let octets = MAGIC.len() + 12 + usize::try_from(read.information_group_length).ok()?;
    Some((read, meta.get(octets..)?))
}

fn joined(file: &[u8], mut meta: FileMetaTable, data_set: &[u8]) -> Option<Vec<u8>> {
    meta.update_information_group_length();
    let mut octets = file.get(..PREAMBLE_OCTETS)?.to_vec();
    octets.extend_from_slice(MAGIC);
    meta.write(&mut octets).ok()?;
    octets.extend_from_slice(data_set);
    Some(octets)
}
