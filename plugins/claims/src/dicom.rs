//! What a DICOM object says of its study, read from its beginning: nothing after the study's UID is looked at.

use hilum_formats::dicom::{
    Error, Extent, MemoryPipe, Stream, Tag, read_file_meta, read_header, skip_value, trim,
};
use hilum_plugin::Body;

use crate::clinical::{Seen, day_of};
use crate::crosswalk::{is_modality, region};
use crate::mac::{Kind, number};
use crate::notice::What;

/// Octets of an object's beginning.
const BEGINNING_OCTETS_MAX: u32 = 256 * 1024;
/// Octets of one value.
const VALUE_OCTETS_MAX: u64 = 1024;

const STUDY_DATE: Tag = Tag(0x0008_0020);
const ACCESSION_NUMBER: Tag = Tag(0x0008_0050);
const MODALITY: Tag = Tag(0x0008_0060);
const PATIENT_ID: Tag = Tag(0x0010_0020);
const BODY_PART: Tag = Tag(0x0018_0015);
const STUDY: Tag = Tag(0x0020_000D);

/// What was read.
#[derive(Default)]
struct Values {
    date: Vec<u8>,
    accession: Vec<u8>,
    modality: Vec<u8>,
    patient: Vec<u8>,
    part: Vec<u8>,
    study: Vec<u8>,
}

/// Reads the study of an object; none where it is no image, or lacks what names or dates it.
///
/// # Errors
/// Where the octets are no DICOM object; no value is named.
pub(crate) fn read(body: Body) -> Result<Option<Seen>, String> {
    let octets = match body {
        Body::Inline(octets) => octets,
        Body::Large(mut reader) => beginning(&mut reader).map_err(|error| error.to_string())?,
    };
    let values = values(&octets).map_err(|error| format!("{}: no DICOM object", error.code))?;
    let text = |value: &[u8]| String::from_utf8_lossy(trim(value)).into_owned();
    let modality = text(&values.modality);
    let Some(day) = day_of(trim(&values.date)).filter(|_| is_modality(&modality)) else { return Ok(None) };
    let date = trim(&values.date);
    let seen = Seen {
        accession: number(Kind::Accession, &[trim(&values.accession)]),
        study: number(Kind::Study, &[trim(&values.study)]),
        visit: number(Kind::Visit, &[trim(&values.patient), date]),
        what: What { modality: Some(modality), region: region(&text(&values.part)) },
        day,
        old: false,
        cancelled: false,
    };
    Ok(Some(seen).filter(Seen::is_named))
}

fn beginning(reader: &mut hilum_plugin::BodyReader) -> Result<Vec<u8>, hilum_plugin::BodyError> {
    let mut octets = Vec::new();
    while octets.len() < BEGINNING_OCTETS_MAX as usize {
        let piece = reader.read(BEGINNING_OCTETS_MAX)?;
        if piece.is_empty() {
            break;
        }
        octets.extend(piece);
    }
    Ok(octets)
}

fn values(octets: &[u8]) -> Result<Values, Error> {
    let mut pipe = MemoryPipe::new(octets);
    let mut stream = Stream::new(&mut pipe);
    let syntax = read_file_meta(&mut stream, |stream, _, length| stream.skip(length))?;
    if syntax.deflated {
        stream.inflate();
    }
    let whole = Extent { end: u64::MAX, delimited: false };
    let mut values = Values::default();
    while !stream.at_end()? {
        let header = read_header(&mut stream, syntax.encoding)?;
        if header.tag.0 > STUDY.0 {
            break;
        }
        let into = match header.tag {
            STUDY_DATE => &mut values.date,
            ACCESSION_NUMBER => &mut values.accession,
            MODALITY => &mut values.modality,
            PATIENT_ID => &mut values.patient,
            BODY_PART => &mut values.part,
            STUDY => &mut values.study,
            _ => {
                skip_value(&mut stream, &header, syntax.encoding, whole, 0)?;
                continue;
            }
        };
        match header.defined_length() {
            Some(length) if length <= VALUE_OCTETS_MAX => *into = stream.take_value(length)?,
            _ => skip_value(&mut stream, &header, syntax.encoding, whole, 0)?,
        }
    }
    Ok(values)
}
