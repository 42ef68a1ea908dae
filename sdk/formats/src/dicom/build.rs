//! Builds DICOM objects by PS3.5 alone, independently of the code that reads and writes them, so that tests can use it.

use super::Encoding;

/// Implicit VR Little Endian.
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Deflated Explicit VR Little Endian.
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR Big Endian (retired).
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// JPEG Baseline, whose pixel data is encapsulated.
pub const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// MR Image Storage.
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.4";
/// The instance that [`Elements::image`] is.
pub const SOP_INSTANCE: &str = "1.9.8.7.4711";

/// How sequences and items say where they end.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// By a length.
    Length,
    /// By a delimitation item.
    Delimiter,
}

/// Data elements under one encoding.
#[derive(Clone, Debug)]
pub struct Elements {
    encoding: Encoding,
    /// What was written so far.
    pub octets: Vec<u8>,
}

impl Elements {
    /// None yet.
    pub fn new(encoding: Encoding) -> Self {
        Elements { encoding, octets: Vec::new() }
    }

    /// An image's beginning, so that the object is complete.
    pub fn image(encoding: Encoding) -> Self {
        Elements::new(encoding).text(0x0008_0016, "UI", SOP_CLASS).text(0x0008_0018, "UI", SOP_INSTANCE).text(
            0x0008_0060,
            "CS",
            "MR",
        )
    }

    /// Adds a value of characters, padded to an even length.
    #[must_use]
    pub fn text(self, tag: u32, vr: &str, value: &str) -> Self {
        let mut value = value.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.value(tag, vr, &value)
    }

    /// Adds a value as it is.
    #[must_use]
    pub fn value(mut self, tag: u32, vr: &str, value: &[u8]) -> Self {
        self.header(tag, vr, u32::try_from(value.len()).expect("values are far below 4 GiB"));
        self.octets.extend_from_slice(value);
        self
    }

    /// Adds a sequence.
    #[must_use]
    pub fn sequence(self, tag: u32, items: &[Elements], ends: Ends) -> Self {
        self.sequence_as(tag, "SQ", items, ends)
    }

    /// Adds a sequence under a value representation other than SQ.
    #[must_use]
    pub fn sequence_as(mut self, tag: u32, vr: &str, items: &[Elements], ends: Ends) -> Self {
        let inner = items.first().map_or(self.encoding, |item| item.encoding);
        let mut body = Elements::new(inner);
        for item in items {
            match ends {
                Ends::Length => {
                    body.header(
                        0xFFFE_E000,
                        "",
                        u32::try_from(item.octets.len()).expect("values are far below 4 GiB"),
                    );
                    body.octets.extend_from_slice(&item.octets);
                }
                Ends::Delimiter => {
                    body.header(0xFFFE_E000, "", u32::MAX);
                    body.octets.extend_from_slice(&item.octets);
                    body.header(0xFFFE_E00D, "", 0);
                }
            }
        }
        match ends {
            Ends::Length => {
                self.header(tag, vr, u32::try_from(body.octets.len()).expect("values are far below 4 GiB"));
            }
            Ends::Delimiter => {
                body.header(0xFFFE_E0DD, "", 0);
                self.header(tag, vr, u32::MAX);
            }
        }
        self.octets.extend_from_slice(&body.octets);
        self
    }

    /// Adds encapsulated pixel data.
    #[must_use]
    pub fn fragments(mut self, fragments: &[&[u8]]) -> Self {
        self.header(0x7FE0_0010, "OB", u32::MAX);
        for fragment in fragments {
            self.header(0xFFFE_E000, "", u32::try_from(fragment.len()).expect("values are far below 4 GiB"));
            self.octets.extend_from_slice(fragment);
        }
        self.header(0xFFFE_E0DD, "", 0);
        self
    }

    /// Writes a header; an item has no value representation.
    pub fn header(&mut self, tag: u32, vr: &str, length: u32) {
        let Encoding { explicit_vr, big_endian } = self.encoding;
        let mut number = |value: u32, size: usize| {
            let octets = value.to_be_bytes();
            let mut octets = octets[4 - size..].to_vec();
            if !big_endian {
                octets.reverse();
            }
            self.octets.extend_from_slice(&octets);
        };
        number(tag >> 16, 2);
        number(tag & 0xFFFF, 2);
        if !explicit_vr || vr.is_empty() {
            number(length, 4);
            return;
        }
        let long = "OB OD OF OL OV OW SQ SV UC UN UR UT UV".contains(vr);
        self.octets.extend_from_slice(vr.as_bytes());
        if long {
            self.octets.extend_from_slice(&[0, 0]);
        }
        let value = length.to_be_bytes();
        let mut value = if long { value.to_vec() } else { value[2..].to_vec() };
        if !big_endian {
            value.reverse();
        }
        self.octets.extend_from_slice(&value);
    }

    /// The object with a preamble and file meta information.
    pub fn part_10(&self, transfer_syntax: &str) -> Vec<u8> {
        part_10(transfer_syntax, SOP_CLASS, &self.octets)
    }
}

/// A data set with a preamble and file meta information.
pub fn part_10(transfer_syntax: &str, sop_class: &str, data_set: &[u8]) -> Vec<u8> {
    let meta = Elements::new(Encoding::EXPLICIT_LITTLE)
        .value(0x0002_0001, "OB", &[0, 1])
        .text(0x0002_0002, "UI", sop_class)
        .text(0x0002_0003, "UI", SOP_INSTANCE)
        .text(0x0002_0010, "UI", transfer_syntax)
        .text(0x0002_0012, "UI", "1.9.9.9.1")
        .text(0x0002_0016, "AE", "SENDERAE");
    let length = u32::try_from(meta.octets.len()).expect("values are far below 4 GiB").to_le_bytes();
    let group_length = Elements::new(Encoding::EXPLICIT_LITTLE).value(0x0002_0000, "UL", &length);
    let mut octets = b"PREAMBLE".repeat(16);
    octets.extend_from_slice(b"DICM");
    octets.extend_from_slice(&group_length.octets);
    octets.extend_from_slice(&meta.octets);
    octets.extend_from_slice(data_set);
    octets
}

/// The three encodings with a transfer syntax of each.
pub const ENCODINGS: [(&str, Encoding); 3] = [
    (IMPLICIT, Encoding::IMPLICIT_LITTLE),
    (EXPLICIT, Encoding::EXPLICIT_LITTLE),
    (BIG_ENDIAN, Encoding::EXPLICIT_BIG),
];
