//! Kinds of procedures, coarse enough that they say nothing of anybody: modality and region of the body; and which codes are for which.

use crate::notice::{FITS_MAX, What, is_code};

/// Modalities that make images of patients (DICOM PS3.3 C.7.3.1.1.1). What else is in a study (reports, presentation states,
/// segmentations) was made of them.
const MODALITIES: [&str; 14] =
    ["BI", "CR", "CT", "DX", "IO", "MG", "MR", "NM", "OT", "PT", "PX", "RF", "US", "XA"];
/// Regions of the body.
const REGIONS: [&str; 12] = [
    "abdomen",
    "breast",
    "chest",
    "head",
    "heart",
    "lower-limb",
    "neck",
    "pelvis",
    "spine",
    "upper-limb",
    "vessels",
    "whole-body",
];
/// Terms of Body Part Examined (DICOM PS3.16 annex L), by the beginning of their names.
const PARTS: [(&str, &str); 45] = [
    ("ABDOMEN", "abdomen"),
    ("ANKLE", "lower-limb"),
    ("ANGIO", "vessels"),
    ("AORTA", "vessels"),
    ("ARM", "upper-limb"),
    ("BLADDER", "pelvis"),
    ("BRAIN", "head"),
    ("BREAST", "breast"),
    ("CALCANEUS", "lower-limb"),
    ("CAROTID", "vessels"),
    ("CHEST", "chest"),
    ("CLAVICLE", "upper-limb"),
    ("COCCYX", "spine"),
    ("CSPINE", "spine"),
    ("ELBOW", "upper-limb"),
    ("FEMUR", "lower-limb"),
    ("FINGER", "upper-limb"),
    ("FOOT", "lower-limb"),
    ("FOREARM", "upper-limb"),
    ("HAND", "upper-limb"),
    ("HEAD", "head"),
    ("HEART", "heart"),
    ("HIP", "lower-limb"),
    ("HUMERUS", "upper-limb"),
    ("JAW", "head"),
    ("KIDNEY", "abdomen"),
    ("KNEE", "lower-limb"),
    ("LEG", "lower-limb"),
    ("LIVER", "abdomen"),
    ("LSPINE", "spine"),
    ("LUNG", "chest"),
    ("NECK", "neck"),
    ("ORBIT", "head"),
    ("PELVIS", "pelvis"),
    ("PROSTATE", "pelvis"),
    ("SHOULDER", "upper-limb"),
    ("SINUS", "head"),
    ("SKULL", "head"),
    ("SPINE", "spine"),
    ("THORAX", "chest"),
    ("TIBIA", "lower-limb"),
    ("TSPINE", "spine"),
    ("UTERUS", "pelvis"),
    ("WHOLEBODY", "whole-body"),
    ("WRIST", "upper-limb"),
];
/// Lines of a crosswalk.
const LINES_MAX: usize = 10_000;

pub(crate) fn is_modality(name: &str) -> bool {
    MODALITIES.contains(&name)
}

pub(crate) fn is_region(name: &str) -> bool {
    REGIONS.contains(&name)
}

fn number(names: &[&str], name: &str) -> u8 {
    names.iter().position(|known| *known == name).and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0)
}

fn name(names: &[&str], number: u8) -> Option<String> {
    usize::from(number).checked_sub(1).and_then(|at| names.get(at)).map(|name| (*name).to_owned())
}

/// A modality as a number up to 14; 0 for one that is not known.
pub(crate) fn modality_number(of: &str) -> u8 {
    number(&MODALITIES, of)
}

pub(crate) fn modality_of(number: u8) -> Option<String> {
    name(&MODALITIES, number)
}

/// A region as a number up to 12; 0 for one that is not known.
pub(crate) fn region_number(of: &str) -> u8 {
    number(&REGIONS, of)
}

pub(crate) fn region_of(number: u8) -> Option<String> {
    name(&REGIONS, number)
}

/// The region of a body part; none where it is another.
pub(crate) fn region(part: &str) -> Option<String> {
    let plain: String =
        part.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    PARTS.iter().find(|(begins, _)| plain.starts_with(begins)).map(|(_, region)| (*region).to_owned())
}

/// Reads `MODALITY` or `MODALITY/REGION`.
pub(crate) fn what(text: &str) -> Option<What> {
    let (modality, region) = text.split_once('/').map_or((text, None), |(of, region)| (of, Some(region)));
    let is_known = is_modality(modality) && region.is_none_or(is_region);
    is_known.then(|| What { modality: Some(modality.to_owned()), region: region.map(str::to_owned) })
}

/// Which codes are for which kinds of procedures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crosswalk(Vec<(String, String, What)>);

impl Crosswalk {
    /// Reads lines of `FROM-TO MODALITY REGION` or `CODE MODALITY REGION`; `-` for a region stands for any. `#` begins a remark.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut found = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}", index + 1);
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [codes, modality, region] = words[..] else {
                return Err(wrong("write `FROM-TO MODALITY REGION`"));
            };
            let (from, to) = codes.split_once('-').unwrap_or((codes, codes));
            if !is_code(from) || !is_code(to) || from > to {
                return Err(wrong("codes have five letters and digits, the lower one first"));
            }
            if !is_modality(modality) {
                return Err(wrong(&format!("modalities are {}", MODALITIES.join(", "))));
            }
            if region != "-" && !is_region(region) {
                return Err(wrong(&format!("regions are {}, or `-` for any", REGIONS.join(", "))));
            }
            let region = (region != "-").then(|| region.to_owned());
            found.push((
                from.to_owned(),
                to.to_owned(),
                What { modality: Some(modality.to_owned()), region },
            ));
            if found.len() > LINES_MAX {
                return Err(wrong("there are too many lines"));
            }
        }
        if found.is_empty() {
            return Err("there is no line with codes".to_owned());
        }
        Ok(Self(found))
    }

    /// What a code is for; nothing where it is not for imaging.
    pub(crate) fn of(&self, code: &str) -> Vec<What> {
        let fits = self.0.iter().filter(|(from, to, _)| (from.as_str()..=to.as_str()).contains(&code));
        fits.map(|(.., what)| what.clone()).take(FITS_MAX).collect()
    }
}
