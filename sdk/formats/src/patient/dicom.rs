//! Patients in DICOM: Patient ID (0010,0020) and Issuer of Patient ID (0010,0021), PS3.3 section C.7.1.1.

use super::{Authorities, Identifier};
use crate::dicom::{Extent, Pipe, Stream, Tag, read_file_meta, read_header, skip_value, trim};

const PATIENT_ID: Tag = Tag(0x0010_0020);
const ISSUER: Tag = Tag(0x0010_0021);
/// Issuer of Patient ID Qualifiers Sequence: another way to say who assigned it.
const ISSUER_QUALIFIERS: Tag = Tag(0x0010_0024);
/// Octets of one value.
const VALUE_OCTETS_MAX: u64 = 256;
/// How far the data set reaches: to its end, wherever that is.
const WHOLE: Extent = Extent { end: u64::MAX, delimited: false };
/// Elements before the patient's.
const ELEMENTS_MAX: usize = 4096;

/// The identifier of the patient of a Part 10 object; reads no further than that. None if it has none, cannot be read, or names the
/// issuer by qualifiers alone.
pub fn of_dicom(pipe: &mut dyn Pipe, authorities: &Authorities) -> Option<Vec<Identifier>> {
    let stream = &mut Stream::new(pipe);
    let syntax = read_file_meta(stream, |stream, _, length| stream.skip(length)).ok()?;
    if syntax.deflated {
        stream.inflate();
    }
    let (mut number, mut issuer, mut is_qualified) = (None, None, false);
    let mut last = None;
    for _ in 0..ELEMENTS_MAX {
        // The tag alone: what comes after the patient need not be of a kind that can be read.
        let Some(octets) = stream.peek::<4>().ok()? else { break };
        let tag = syntax.encoding.tag(octets);
        // In the order of tags, each once: a second Patient ID would be another patient's.
        if last.replace(tag).is_some_and(|last| last >= tag) {
            return None;
        }
        if tag > ISSUER_QUALIFIERS {
            break;
        }
        let header = read_header(stream, syntax.encoding).ok()?;
        match header.tag {
            PATIENT_ID | ISSUER => {
                let length = header.defined_length().filter(|length| *length <= VALUE_OCTETS_MAX)?;
                let value = String::from_utf8(trim(&stream.take_value(length).ok()?).to_vec()).ok()?;
                if header.tag == PATIENT_ID { number = Some(value) } else { issuer = Some(value) }
            }
            _ => {
                is_qualified |= header.tag == ISSUER_QUALIFIERS;
                skip_value(stream, &header, syntax.encoding, WHOLE, 0).ok()?;
            }
        }
    }
    let issuer = issuer.unwrap_or_default();
    if issuer.is_empty() && is_qualified {
        return None;
    }
    authorities.identifier(&[&issuer], &number?).map(|found| vec![found])
}
