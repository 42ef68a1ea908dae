//! Whether somebody could be recognised in an image: thin slices of a head can be made into a face (PS3.15 E.3.2).
//!
//! An image says what part of a body it shows in Body Part Examined (0018,0015) or an Anatomic Region (0008,2218); where it does not, its
//! descriptions may. That a head is named is a reason to refuse; that none is named is no proof.

/// What an image shows, as far as it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// A head, a neck or a whole body is named.
    head: bool,
    /// Another part of a body is named where parts of bodies are to be named.
    other: bool,
}

/// What can be said of a face in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// There is none.
    None,
    /// There may be one.
    Unknown,
    /// There is one, or it can be made of it.
    Likely,
}

/// Modalities whose slices make a volume.
const VOLUMES: [&[u8]; 3] = [b"CT", b"MR", b"PT"];
/// Modalities whose images are shadows, sums or sounds, or come from inside a vessel: nobody is recognised in one.
const FACELESS: [&[u8]; 9] = [b"CR", b"DX", b"MG", b"NM", b"US", b"XA", b"RF", b"IVUS", b"IVOCT"];

/// Words for a head and what is so near to it that a face is in the image.
const HEAD: [&str; 59] = [
    "BRAIN",
    "CABEZA",
    "CEREBRAL",
    "CEREBRO",
    "CEREBRUM",
    "CERVEAU",
    "CRANE",
    "CRANEO",
    "CRANIAL",
    "CRANIO",
    "CRANIUM",
    "EAR",
    "EARS",
    "EYE",
    "EYES",
    "FACE",
    "FACIAL",
    "GEHIRN",
    "GESICHT",
    "HEAD",
    "HEADNECK",
    "HEADROUTINE",
    "HIRN",
    "HYPOPHYSE",
    "IAC",
    "IACS",
    "INTRACRANIAL",
    "JAW",
    "KOPF",
    "MANDIBLE",
    "MAXILLA",
    "MAXILLOFACIAL",
    "NASAL",
    "NECK",
    "NEURO",
    "NEUROCRANIUM",
    "NNH",
    "NOSE",
    "ORBIT",
    "ORBITA",
    "ORBITAL",
    "ORBITS",
    "PITUITARY",
    "PNS",
    "SCALP",
    "SCHAEDEL",
    "SELLA",
    "SINUS",
    "SINUSES",
    "SKULL",
    "TEETH",
    "TETE",
    "TMJ",
    "TONGUE",
    "TRIGEMINAL",
    "WHOLEBODY",
    "WHOLE",
    "ZYGOMA",
    "HALS",
];
/// Codes of SNOMED CT and its predecessor for the same.
const HEAD_CODES: [&str; 17] = [
    "69536005",
    "T-D1100",
    "774007",
    "T-D1000",
    "12738006",
    "T-A0100",
    "89546000",
    "T-11100",
    "89545001",
    "T-D1200",
    "38266002",
    "T-D0010",
    "45048000",
    "T-D1600",
    "371398005",
    "363654007",
    "T-D1480",
];
/// Words for parts that are far enough from it.
const OTHER: [&str; 50] = [
    "ABDOMEN",
    "ABDOMENPELVIS",
    "ANKLE",
    "AORTA",
    "APPENDIX",
    "ARM",
    "BLADDER",
    "BREAST",
    "CALF",
    "CARDIAC",
    "CHEST",
    "CHESTABDOMEN",
    "COLON",
    "ELBOW",
    "EXTREMITY",
    "FEMUR",
    "FINGER",
    "FOOT",
    "FOREARM",
    "HAND",
    "HEART",
    "HIP",
    "HUMERUS",
    "KIDNEY",
    "KNEE",
    "LEG",
    "LIVER",
    "LSPINE",
    "LUMBAR",
    "LUNG",
    "LUNGS",
    "PANCREAS",
    "PELVIS",
    "PROSTATE",
    "RECTUM",
    "SACRUM",
    "SHOULDER",
    "SPLEEN",
    "STOMACH",
    "THIGH",
    "THORAX",
    "THUMB",
    "TIBIA",
    "TOE",
    "TSPINE",
    "UTERUS",
    "WRIST",
    "KNIE",
    "BECKEN",
    "LEBER",
];

impl Shown {
    /// Takes in a value that names a part of a body.
    pub(super) fn part(&mut self, value: &[u8]) {
        self.head |= words(value).any(|word| HEAD.contains(&&*word));
        self.other |= words(value).any(|word| OTHER.contains(&&*word));
    }

    /// Takes in the code of a part of a body.
    pub(super) fn code(&mut self, value: &[u8]) {
        self.head |= HEAD_CODES.iter().any(|code| code.as_bytes().eq_ignore_ascii_case(value));
    }

    /// Takes in a description, which may name a head, but proves nothing if it does not.
    pub(super) fn description(&mut self, value: &[u8]) {
        self.head |= words(value).any(|word| HEAD.contains(&&*word));
    }

    /// What can be said of a face in an image of a modality.
    pub(super) fn face(self, modality: &[u8]) -> Face {
        let is = |known: &&[u8]| known.eq_ignore_ascii_case(modality);
        if FACELESS.iter().any(is) {
            Face::None
        } else if VOLUMES.iter().any(is) {
            match self {
                Shown { head: true, .. } => Face::Likely,
                Shown { other: true, .. } => Face::None,
                Shown { .. } => Face::Unknown,
            }
        } else {
            Face::Unknown
        }
    }
}

/// The words of a value, in capitals.
fn words(value: &[u8]) -> impl Iterator<Item = String> {
    value
        .split(|octet| !octet.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(modality: &str, part: &str, description: &str) -> Face {
        let mut shown = Shown::default();
        shown.part(part.as_bytes());
        shown.description(description.as_bytes());
        shown.face(modality.as_bytes())
    }

    #[test]
    fn heads_are_seen_wherever_they_are_named_and_other_parts_where_they_belong() {
        assert_eq!(face("CT", "HEAD", ""), Face::Likely);
        assert_eq!(face("mr", "", "t1 mprage Brain sag"), Face::Likely);
        assert_eq!(face("MR", "KNEE", "HEAD coil"), Face::Likely);
        assert_eq!(face("PT", "WHOLE BODY", ""), Face::Likely);
        assert_eq!(face("CT", "CHEST", "ROUTINE"), Face::None);
        assert_eq!(face("CT", "", "CHEST"), Face::Unknown);
        assert_eq!(face("CT", "LOCAL NAME", ""), Face::Unknown);
        assert_eq!(face("US", "HEAD", ""), Face::None);
        assert_eq!(face("XC", "KNEE", ""), Face::Unknown);
        assert_eq!(face("", "KNEE", ""), Face::Unknown);
    }

    #[test]
    fn codes_name_heads_too() {
        let mut shown = Shown::default();
        shown.code(b"51185008");
        assert_eq!(shown.face(b"CT"), Face::Unknown);
        shown.code(b"t-d1100");
        assert_eq!(shown.face(b"CT"), Face::Likely);
    }
}
