//! The preamble and the file meta information (PS3.10 section 7.1), written anew: nothing of the sender's is kept but the
//! transfer syntax.

use hilum_formats::dicom::{
    Encoding, Error, PREAMBLE_OCTETS, Stream, Syntax, Tag, Vr, read_file_meta, trim, write_element,
};

const MEDIA_STORAGE_SOP_CLASS: Tag = Tag(0x0002_0002);
const MEDIA_STORAGE_DIRECTORY: &[u8] = b"1.2.840.10008.1.3.10";

/// Hilum as an implementation: a UUID-derived unique identifier (PS3.5 B.2) and a name of at most 16 characters.
const IMPLEMENTATION_CLASS: &[u8] = b"2.25.143717794115927168706053182131555441424";
const IMPLEMENTATION_VERSION: &[u8] = concat!("HILUM ", env!("CARGO_PKG_VERSION")).as_bytes();

/// Reads the preamble and the file meta information: the transfer syntax, and the SOP class that is named there.
pub(super) fn read(stream: &mut Stream<'_>) -> Result<(Syntax, Vec<u8>), Error> {
    let mut sop_class = Vec::new();
    let syntax = read_file_meta(stream, |stream, header, length| {
        if header.tag != MEDIA_STORAGE_SOP_CLASS {
            return stream.skip(length);
        }
        sop_class = trim(&stream.take_value(length)?).to_vec();
        if sop_class == MEDIA_STORAGE_DIRECTORY {
            return Err(header.refuse("media-directory", "a DICOMDIR lists other objects"));
        }
        Ok(())
    })?;
    Ok((syntax, sop_class))
}

/// Writes the preamble and the file meta information of the de-identified object.
pub(super) fn write(
    stream: &mut Stream<'_>,
    sop_class: &[u8],
    sop_instance: &[u8],
    transfer_syntax: &str,
) -> Result<(), Error> {
    let elements: [(u32, Vr, &[u8]); 6] = [
        (0x0002_0001, Vr::OB, &[0, 1]),
        (0x0002_0002, Vr::UI, sop_class),
        (0x0002_0003, Vr::UI, sop_instance),
        (0x0002_0010, Vr::UI, transfer_syntax.as_bytes()),
        (0x0002_0012, Vr::UI, IMPLEMENTATION_CLASS),
        (0x0002_0013, Vr::SH, IMPLEMENTATION_VERSION),
    ];
    let size = |(_, vr, value): &(u32, Vr, &[u8])| {
        let header = if vr.has_long_length() { 12 } else { 8 };
        header + value.len() + value.len() % 2
    };
    let group_length: usize = elements.iter().map(size).sum();
    let group_length = u32::try_from(group_length).expect("six values of at most 64 octets");

    stream.write(&[0; PREAMBLE_OCTETS])?;
    stream.write(b"DICM")?;
    let encoding = Encoding::EXPLICIT_LITTLE;
    write_element(stream, encoding, Tag(0x0002_0000), Vr::UL, &group_length.to_le_bytes())?;
    for (tag, vr, value) in elements {
        write_element(stream, encoding, Tag(tag), vr, value)?;
    }
    Ok(())
}
