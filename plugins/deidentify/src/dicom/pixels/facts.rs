//! What an object says of itself and its pixels before they come.

use hilum_formats::dicom::{Encoding, Tag, trim};

use super::faces::Shown;
use super::fragments::ExtendedOffsets;
use super::rules::{Decision, PixelRules, Signature};

/// The root of SOP classes that store something, and those of ultrasound and of secondary capture below it (PS3.4 B.5).
const STORAGE: &[u8] = b"1.2.840.10008.5.1.4.1.1.";
const LOOKED_AT: [&str; 4] = ["3", "3.1", "6", "7"];

/// What an object says of its own pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dicom) struct Facts {
    pub(super) sop_class: Vec<u8>,
    pub(super) modality: Vec<u8>,
    pub(super) manufacturer: Vec<u8>,
    pub(super) model: Vec<u8>,
    pub(super) image_type: Vec<u8>,
    pub(super) shown: Shown,
    /// Of Burned In Annotation (0028,0301) and Recognizable Visual Features (0028,0302).
    pub(super) text: Said,
    pub(super) features: Said,
    pub(super) samples: Option<u16>,
    pub(super) photometric: Vec<u8>,
    pub(super) planar: Option<u16>,
    /// None if that is no number; one where the object does not say.
    pub(super) frames: Option<u64>,
    pub(super) rows: Option<u16>,
    pub(super) columns: Option<u16>,
    pub(super) bits_allocated: Option<u16>,
    pub(super) bits_stored: Option<u16>,
    pub(super) signed: bool,
    /// An overlay is in bits of the pixels themselves (retired, PS3.5-2004 section 8.1.2).
    pub(super) has_overlay_bits: bool,
    pub(super) extended: ExtendedOffsets,
}

/// What an object says of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dicom) enum Said {
    Yes,
    No,
    #[default]
    Nothing,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            sop_class: Vec::new(),
            modality: Vec::new(),
            manufacturer: Vec::new(),
            model: Vec::new(),
            image_type: Vec::new(),
            shown: Shown::default(),
            text: Said::Nothing,
            features: Said::Nothing,
            samples: None,
            photometric: Vec::new(),
            planar: None,
            frames: Some(1),
            rows: None,
            columns: None,
            bits_allocated: None,
            bits_stored: None,
            signed: false,
            has_overlay_bits: false,
            extended: ExtendedOffsets::default(),
        }
    }
}

impl Facts {
    /// Whether the object has pixels, as far as has been read.
    pub(in crate::dicom) fn has_pixels(&self) -> bool {
        self.rows.is_some()
    }

    /// Takes note of a value of the object itself.
    pub(super) fn note(&mut self, tag: Tag, value: &[u8], encoding: Encoding) {
        let text = || trim(value).to_vec();
        let number = || {
            let octets = <[u8; 2]>::try_from(value).ok()?;
            Some(if encoding.big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
        };
        match tag.0 {
            0x0008_0008 => self.image_type = text(),
            0x0008_0016 => self.sop_class = text(),
            0x0008_0060 => self.modality = text(),
            0x0008_0070 => self.manufacturer = text(),
            0x0008_1090 => self.model = text(),
            0x0008_1030 | 0x0008_103E | 0x0018_1030 => self.shown.description(value),
            0x0018_0015 => self.shown.part(value),
            0x0028_0002 => self.samples = number(),
            0x0028_0004 => self.photometric = text(),
            0x0028_0006 => self.planar = number(),
            0x0028_0008 => self.frames = frames(trim(value)),
            0x0028_0010 => self.rows = number(),
            0x0028_0011 => self.columns = number(),
            0x0028_0100 => self.bits_allocated = number(),
            0x0028_0101 => self.bits_stored = number(),
            0x0028_0103 => self.signed = number() == Some(1),
            0x0028_0301 => self.text = Said::of(value),
            0x0028_0302 => self.features = Said::of(value),
            _ => {}
        }
    }

    /// Whether it is looked at for text: ultrasound and secondary capture.
    pub(super) fn is_looked_at(&self) -> bool {
        let is_of = |root: &&str| {
            let rest =
                self.sop_class.strip_prefix(STORAGE).and_then(|rest| rest.strip_prefix(root.as_bytes()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
        };
        [&b"US"[..], b"IVUS"].iter().any(|modality| self.modality.eq_ignore_ascii_case(modality))
            || LOOKED_AT.iter().any(is_of)
    }

    /// What the rules say of this object.
    pub(super) fn decision<'r>(&self, rules: &'r PixelRules) -> &'r Decision {
        let number = |number: Option<u16>| number.map_or_else(String::new, |number| number.to_string());
        let (rows, columns) = (number(self.rows), number(self.columns));
        rules.decision(Signature {
            fields: [
                &self.modality,
                &self.sop_class,
                &self.manufacturer,
                &self.model,
                &self.image_type,
                rows.as_bytes(),
                columns.as_bytes(),
            ],
        })
    }
}

impl Said {
    pub(in crate::dicom) fn of(value: &[u8]) -> Said {
        match trim(value) {
            b"" => Said::Nothing,
            said if said.eq_ignore_ascii_case(b"NO") => Said::No,
            // `YES` is all that there should be. What somebody wrote instead is no `NO`.
            _ => Said::Yes,
        }
    }
}

/// A number of frames (IS): digits; one where the value is empty.
fn frames(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return Some(1);
    }
    let digits = value.len() <= 10 && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits)?;
    number.parse().ok().filter(|frames| *frames > 0)
}

#[cfg(test)]
impl Facts {
    /// What a grey image, or one in RGB, says.
    pub(super) fn of_test(rows: u16, columns: u16, samples: u16, bits: u16) -> Facts {
        Facts {
            rows: Some(rows),
            columns: Some(columns),
            samples: Some(samples),
            photometric: if samples == 1 { b"MONOCHROME2".to_vec() } else { b"RGB".to_vec() },
            planar: Some(0),
            bits_allocated: Some(bits),
            ..Facts::default()
        }
    }
}
