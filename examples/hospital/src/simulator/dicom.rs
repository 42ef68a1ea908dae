//! A DICOM file written in Explicit VR Little Endian (PS3.10 section 7.1, PS3.5 section 7.1.2).
//!
//! Only what the simulator needs: it writes a data set that it is given and reads nothing.

use std::collections::BTreeMap;

/// Group and element number.
pub type Tag = (u16, u16);

/// Explicit VR Little Endian.
const TRANSFER_SYNTAX: &str = "1.2.840.10008.1.2.1";
/// The simulator's own (0002,0012), made from a UUID.
const IMPLEMENTATION_CLASS: &str = "2.25.208613486742117730412937562017360294851";

/// A value with its representation (PS3.5 section 6.2).
#[derive(Debug, Clone)]
pub enum Value {
    /// Any of the VRs of characters that pad with a space: AS, CS, DA, DS, IS, LO, LT, PN, SH, ST, TM and others.
    Text(&'static str, String),
    /// UI, which pads with NUL.
    Uid(String),
    /// US.
    Unsigned16(u16),
    /// OB.
    Octets(Vec<u8>),
    /// OW, each word in memory order.
    Words(Vec<u16>),
    /// SQ.
    Sequence(Vec<DataSet>),
}

/// Elements in the order of their tags, as PS3.5 section 7.1 wants them.
#[derive(Debug, Clone, Default)]
pub struct DataSet {
    elements: BTreeMap<Tag, Value>,
}

impl DataSet {
    /// No elements.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets any element.
    pub fn set(&mut self, tag: Tag, value: Value) -> &mut Self {
        self.elements.insert(tag, value);
        self
    }

    /// Sets an element of characters.
    pub fn text(&mut self, tag: Tag, vr: &'static str, value: impl Into<String>) -> &mut Self {
        self.set(tag, Value::Text(vr, value.into()))
    }

    /// Sets a UI element.
    pub fn uid(&mut self, tag: Tag, value: impl Into<String>) -> &mut Self {
        self.set(tag, Value::Uid(value.into()))
    }

    /// Sets a US element.
    pub fn unsigned16(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.set(tag, Value::Unsigned16(value))
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (tag, value) in &self.elements {
            write_element(out, *tag, value);
        }
    }
}

/// The whole file: preamble, file meta information, data set.
#[must_use]
pub fn file(sop_class: &str, sop_instance: &str, data_set: &DataSet) -> Vec<u8> {
    let mut meta = DataSet::new();
    meta.set((0x0002, 0x0001), Value::Octets(vec![0, 1]))
        .uid((0x0002, 0x0002), sop_class)
        .uid((0x0002, 0x0003), sop_instance)
        .uid((0x0002, 0x0010), TRANSFER_SYNTAX)
        .uid((0x0002, 0x0012), IMPLEMENTATION_CLASS)
        .text((0x0002, 0x0013), "SH", "HILUM-SIMULATOR");
    let mut meta_octets = Vec::new();
    meta.write(&mut meta_octets);

    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM");
    // (0002,0000) UL: the octets of group 2 that follow.
    out.extend_from_slice(&[0x02, 0, 0, 0, b'U', b'L', 4, 0]);
    out.extend_from_slice(&length32(meta_octets.len()).to_le_bytes());
    out.extend_from_slice(&meta_octets);
    data_set.write(&mut out);
    out
}

fn write_element(out: &mut Vec<u8>, tag: Tag, value: &Value) {
    let (vr, octets) = encode(value);
    out.extend_from_slice(&tag.0.to_le_bytes());
    out.extend_from_slice(&tag.1.to_le_bytes());
    out.extend_from_slice(vr.as_bytes());
    if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT") {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length32(octets.len()).to_le_bytes());
    } else {
        let length = u16::try_from(octets.len()).expect("the simulator's short values are short");
        out.extend_from_slice(&length.to_le_bytes());
    }
    out.extend_from_slice(&octets);
}

fn encode(value: &Value) -> (&'static str, Vec<u8>) {
    match value {
        Value::Text(vr, text) => (vr, padded(text.clone().into_bytes(), b' ')),
        Value::Uid(uid) => ("UI", padded(uid.clone().into_bytes(), 0)),
        Value::Unsigned16(number) => ("US", number.to_le_bytes().to_vec()),
        Value::Octets(octets) => ("OB", padded(octets.clone(), 0)),
        Value::Words(words) => ("OW", words.iter().flat_map(|word| word.to_le_bytes()).collect()),
        Value::Sequence(items) => ("SQ", items.iter().flat_map(item).collect()),
    }
}

/// An item of defined length (PS3.5 section 7.5.1).
fn item(data_set: &DataSet) -> Vec<u8> {
    let mut content = Vec::new();
    data_set.write(&mut content);
    let mut out = vec![0xFE, 0xFF, 0x00, 0xE0];
    out.extend_from_slice(&length32(content.len()).to_le_bytes());
    out.extend_from_slice(&content);
    out
}

fn padded(mut octets: Vec<u8>, pad: u8) -> Vec<u8> {
    if octets.len() % 2 == 1 {
        octets.push(pad);
    }
    octets
}

fn length32(length: usize) -> u32 {
    u32::try_from(length).expect("the simulator's values are far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_short_and_long_forms_in_tag_order() {
        let mut nested = DataSet::new();
        nested.text((0x0008, 0x0050), "SH", "A");
        let mut data_set = DataSet::new();
        data_set
            .set((0x0040, 0x0275), Value::Sequence(vec![nested]))
            .unsigned16((0x0028, 0x0010), 256)
            .uid((0x0008, 0x0018), "1.2");
        let mut out = Vec::new();
        data_set.write(&mut out);
        let expected: Vec<u8> = [
            &[0x08, 0, 0x18, 0, b'U', b'I', 4, 0, b'1', b'.', b'2', 0][..],
            &[0x28, 0, 0x10, 0, b'U', b'S', 2, 0, 0, 1],
            &[0x40, 0, 0x75, 0x02, b'S', b'Q', 0, 0, 18, 0, 0, 0],
            &[0xFE, 0xFF, 0x00, 0xE0, 10, 0, 0, 0],
            &[0x08, 0, 0x50, 0, b'S', b'H', 2, 0, b'A', b' '],
        ]
        .concat();
        assert_eq!(out, expected);
    }
}
