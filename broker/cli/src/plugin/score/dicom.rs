//! DICOM objects, read and written with dicom-rs: nothing of this is shared with the de-identifier, which rewrites elements as they stream by.

use std::collections::{BTreeMap, BTreeSet};

use dicom_core::header::{HasLength as _, Header as _};
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, InMemDicomObject, OpenFileOptions};
use hilum_core::Digest;

pub(super) mod built_in;
pub(super) mod deflated;
pub(super) mod glyphs;
pub(super) mod pixels;
pub(super) mod plant;
pub(super) mod rle;

use pixels::Pixels;

pub(super) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
/// Octets of a value that are shown as they are; longer ones by their digest.
const SHOWN_OCTETS_MAX: usize = 256;
/// Depth of sequences that is looked into.
const DEPTH_MAX: usize = 32;

/// What an object holds.
pub(super) struct Read {
    pub(super) values: BTreeMap<String, String>,
    pub(super) sequences: BTreeSet<String>,
    pub(super) pixels: Option<Pixels>,
}

/// Reads an object; none if it cannot be read.
pub(super) fn read(octets: &[u8]) -> Option<Read> {
    let object = open(octets)?;
    let mut read = Read { values: BTreeMap::new(), sequences: BTreeSet::new(), pixels: None };
    let meta = object.meta();
    let uid = |uid: &str| uid.trim_end_matches(['\0', ' ']).to_owned();
    read.values.insert("(0002,0003)".into(), uid(&meta.media_storage_sop_instance_uid));
    if let Some(title) = &meta.source_application_entity_title {
        read.values.insert("(0002,0016)".into(), title.trim().to_owned());
    }
    read.flatten(&object, "", 0);
    read.pixels = Pixels::read(&object, &uid(&meta.transfer_syntax));
    Some(read)
}

/// Opens an object that has a preamble. One that is deflated says so, though it is held as any other.
pub(super) fn open(octets: &[u8]) -> Option<DefaultDicomObject> {
    octets.get(128..132).filter(|magic| magic == b"DICM")?;
    let Some(inflated) = deflated::inflated(octets) else {
        return OpenFileOptions::new().from_reader(octets).ok();
    };
    let mut object = OpenFileOptions::new().from_reader(&inflated[..]).ok()?;
    deflated::DEFLATED.clone_into(&mut object.meta_mut().transfer_syntax);
    Some(object)
}

/// Whether its SOP class is stated as a unique identifier. As an element of unknown kind (PS3.5 section 6.2.2) it would be lost on writing.
pub(super) fn has_class(object: &DefaultDicomObject) -> bool {
    object.get(Tag(0x0008, 0x0016)).is_some_and(|class| class.vr() == VR::UI)
}

impl Read {
    fn flatten(&mut self, object: &InMemDicomObject, prefix: &str, depth: usize) {
        for element in object {
            let path = format!("{prefix}{}", shown(element.tag()));
            match element.value() {
                Value::Sequence(sequence) if depth < DEPTH_MAX => {
                    if !sequence.items().is_empty() {
                        self.sequences.insert(path.clone());
                    }
                    for (index, item) in sequence.items().iter().enumerate() {
                        self.flatten(item, &format!("{path}[{index}]."), depth + 1);
                    }
                }
                Value::Primitive(value) if element.tag() != PIXEL_DATA => {
                    self.values.insert(path, text(value));
                }
                _ => {}
            }
        }
    }
}

/// `(gggg,eeee)`.
pub(super) fn shown(tag: Tag) -> String {
    format!("({:04X},{:04X})", tag.group(), tag.element())
}

/// The text of an element; none of a sequence or of pixels in fragments.
pub(super) fn text_of(element: &InMemElement) -> Option<String> {
    match element.value() {
        Value::Primitive(value) => Some(text(value)),
        _ => None,
    }
}

/// Text without padding, numbers in decimal, octets as text if they are some, otherwise by their digest.
fn text(value: &PrimitiveValue) -> String {
    match value {
        PrimitiveValue::Str(text) => trimmed(text).to_owned(),
        PrimitiveValue::Strs(texts) => texts.iter().map(|text| trimmed(text)).collect::<Vec<_>>().join("\\"),
        PrimitiveValue::U8(octets) => of_octets(octets),
        PrimitiveValue::Empty => String::new(),
        other if other.calculate_byte_len() > SHOWN_OCTETS_MAX => of_octets(&other.to_bytes()),
        other => other.to_multi_str().join("\\"),
    }
}

fn of_octets(octets: &[u8]) -> String {
    // A dummy may be zeros: padding is only what follows something else.
    let end =
        octets.iter().rposition(|octet| ![0, b' '].contains(octet)).map_or(octets.len(), |last| last + 1);
    match std::str::from_utf8(&octets[..end]) {
        Ok(text) if end <= SHOWN_OCTETS_MAX && text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) => {
            text.to_owned()
        }
        _ => format!("sha256:{}", Digest::of(&octets[..end])),
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(['\0', ' '])
}

/// Whether an element has octets or items.
pub(super) fn is_filled(element: &InMemElement) -> bool {
    !element.is_empty()
}
