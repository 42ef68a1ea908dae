//! The Clean Structured Content Option (PS3.15 E.3.4): what becomes of a content item by its concept, and of a code by whose it is.
//!
//! Most of a content item is decided by its value type, since each has an attribute of its own: names of persons, dates and unique
//! identifiers have rows in Table E.1-1, text has its words cleaned, numbers, codes and coordinates stay. What remains are numbers and codes
//! that say who the subject is, and codes that only one hospital knows, whose meaning could be anything.

/// What becomes of a content item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Unless the Retain Patient Characteristics Option is chosen.
    Characteristic,
    Remove,
}

/// Coding schemes that are published (PS3.16 section 8 and PS3.3 table 8.2-1), so that a code of them is known to many.
const PUBLIC: [&[u8]; 24] = [
    b"BI",
    b"CD10",
    b"DCM",
    b"DICOM",
    b"FMA",
    b"I10",
    b"I9",
    b"ICD10",
    b"ISO639_1",
    b"ISO3166_1",
    b"LN",
    b"MA",
    b"MDC",
    b"NCIt",
    b"NDC",
    b"NEU",
    b"POS",
    b"RADLEX",
    b"RXNORM",
    b"SCT",
    b"SNM3",
    b"SRT",
    b"UCUM",
    b"UMLS",
];

/// Whether a coding scheme (0008,0102) is a published one.
pub(super) fn is_public(scheme: &[u8]) -> bool {
    PUBLIC.contains(&scheme)
}

/// Names, numbers and dates of birth of subjects (PS3.16 TID 1007), and ages, which could be over 89 in units of their own.
const REMOVED: [(&[u8], &[u8]); 9] = [
    (b"DCM", b"121029"),
    (b"DCM", b"121030"),
    (b"DCM", b"121031"),
    (b"DCM", b"121033"),
    (b"LN", b"21112-8"),
    (b"LN", b"30525-0"),
    (b"SCT", b"184099003"),
    (b"SCT", b"397669002"),
    (b"SCT", b"424144002"),
];

/// Sex, species, breed, height, weight and body surface of subjects (PS3.16 TID 1007 and TID 3602).
const CHARACTERISTICS: [(&[u8], &[u8]); 15] = [
    (b"DCM", b"121032"),
    (b"DCM", b"121034"),
    (b"DCM", b"121035"),
    (b"LN", b"11878-6"),
    (b"LN", b"29463-7"),
    (b"LN", b"39156-5"),
    (b"LN", b"46098-0"),
    (b"LN", b"76689-9"),
    (b"LN", b"8277-6"),
    (b"LN", b"8302-2"),
    (b"SCT", b"184100006"),
    (b"SCT", b"27113001"),
    (b"SCT", b"50373000"),
    (b"SCT", b"60621009"),
    (b"SCT", b"301898006"),
];

/// What becomes of a content item with this concept (0040,A043).
pub(super) fn judge(scheme: &[u8], code: &[u8]) -> Verdict {
    if REMOVED.contains(&(scheme, code)) {
        Verdict::Remove
    } else if CHARACTERISTICS.contains(&(scheme, code)) {
        Verdict::Characteristic
    } else {
        Verdict::Keep
    }
}
