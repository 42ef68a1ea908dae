//! The Basic Application Level Confidentiality Profile as a decision: what happens to each attribute.
//!
//! The attributes are PS3.15 Table E.1-1 merged with the data dictionary of PS3.6 (see `data/README.md`). Beyond the table:
//!
//! - An attribute that is in neither is removed: the profile cannot have judged it.
//! - An attribute whose value representation is of another kind than the dictionary's is removed: text in a number's
//!   place was not what the table judged.
//! - Curves (50xx) and overlay planes (60xx) are removed whole. The table names the data and the comments of an overlay;
//!   the rest describes a plane that is no longer there, partly in free text.
//! - Group lengths are removed (retired, and wrong afterwards).

use hilum_formats::dicom::{Kind, Tag, Vr};

/// What Table E.1-1 says, in its own letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Not in the table.
    Keep,
    X,
    Z,
    D,
    U,
    XorZ,
    XorD,
    ZorD,
    XorZorD,
    XorZorU,
}

/// An attribute of the table, the dictionary or both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) tag: Tag,
    pub(super) vr: Vr,
    pub(super) action: Action,
}

include!(concat!(env!("OUT_DIR"), "/attributes.rs"));

/// The edition of the table, as written to De-identification Method (0012,0063); 64 characters at most.
pub(super) const METHOD: &str = concat!(
    "Hilum deidentify ",
    env!("CARGO_PKG_VERSION"),
    "\\PS3.15 2026c Basic Application Confidentiality Profile"
);

/// The attributes that the profile itself writes, in the order of their tags (PS3.15 E.1.1 and E.3.6). What an object
/// brings under these tags is not believed.
pub(super) const PATIENT_IDENTITY_REMOVED: Tag = Tag(0x0012_0062);
pub(super) const DEIDENTIFICATION_METHOD: Tag = Tag(0x0012_0063);
pub(super) const DEIDENTIFICATION_METHOD_CODES: Tag = Tag(0x0012_0064);
pub(super) const LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED: Tag = Tag(0x0028_0303);

pub(super) const SOP_CLASS_UID: Tag = Tag(0x0008_0016);
pub(super) const SOP_INSTANCE_UID: Tag = Tag(0x0008_0018);
pub(super) const BURNED_IN_ANNOTATION: Tag = Tag(0x0028_0301);
const PATIENT_ID: Tag = Tag(0x0010_0020);
const REFERENCED_PERFORMED_PROCEDURE_STEPS: Tag = Tag(0x0008_1111);
/// The length of a document that a dummy replaces.
const ENCAPSULATED_DOCUMENT_LENGTH: Tag = Tag(0x0042_0015);

/// What happens to a data element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Remove,
    /// A value of no length.
    Empty(Vr),
    /// A value that says nothing.
    Dummy(Vr),
    /// Each unique identifier that DICOM did not register is replaced.
    Uids,
    /// The patient's identifier, as configured.
    PatientId,
    /// A sequence whose items are rewritten in turn.
    Descend,
    Keep(Vr),
}

/// Decides about a data element by its tag and the value representation that the object states for it, if it does.
pub(super) fn fate(tag: Tag, stated: Option<Vr>) -> Fate {
    let private = tag.group() % 2 == 1;
    let repeating = matches!(tag.group() & 0xFF00, 0x5000 | 0x6000);
    if private || repeating || tag.element() == 0 {
        return Fate::Remove;
    }
    let Some(attribute) = lookup(tag) else { return Fate::Remove };
    if !agree(attribute.vr, stated) {
        return Fate::Remove;
    }
    match tag {
        PATIENT_ID => Fate::PatientId,
        REFERENCED_PERFORMED_PROCEDURE_STEPS => Fate::Descend,
        PATIENT_IDENTITY_REMOVED
        | DEIDENTIFICATION_METHOD
        | DEIDENTIFICATION_METHOD_CODES
        | LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED
        | ENCAPSULATED_DOCUMENT_LENGTH => Fate::Remove,
        _ => by_action(attribute),
    }
}

/// Compound actions depend on the type of the attribute in the IOD of the object (PS3.15 E.1.1): `X/Z/D` removes unless
/// a type 2 attribute needs an empty value or a type 1 attribute a dummy. The IOD is not consulted here, so the last
/// of the actions is taken: a dummy is valid for every type, an empty value for types 2 and 3, and neither says anything
/// about the patient. `X/Z/U*` keeps the sequence and replaces the unique identifiers in it.
fn by_action(attribute: &Attribute) -> Fate {
    match (attribute.action, attribute.vr) {
        (Action::Keep, Vr::SQ) | (Action::XorZorU, _) => Fate::Descend,
        (Action::Keep, vr) => Fate::Keep(vr),
        (Action::X, _) => Fate::Remove,
        (Action::Z | Action::XorZ, vr) => Fate::Empty(vr),
        (Action::U, _) | (Action::D | Action::XorD | Action::ZorD | Action::XorZorD, Vr::UI) => Fate::Uids,
        (Action::D | Action::XorD | Action::ZorD | Action::XorZorD, vr) => Fate::Dummy(vr),
    }
}

/// Whether the object and the dictionary speak of the same kind of value.
fn agree(dictionary: Vr, stated: Option<Vr>) -> bool {
    let Some(stated) = stated else { return true };
    dictionary.kind() == stated.kind() || stated.kind() == Kind::Unknown || dictionary.kind() == Kind::Unknown
}

fn lookup(tag: Tag) -> Option<&'static Attribute> {
    let found = ATTRIBUTES.binary_search_by_key(&tag, |attribute| attribute.tag).ok()?;
    Some(&ATTRIBUTES[found])
}

/// Whether a unique identifier is one that DICOM registers (PS3.6 Annex A): a SOP class, a coding scheme, a well-known
/// frame of reference. The whole identifier counts, not its root, under which anything could be hidden.
pub(super) fn is_registered_uid(uid: &[u8]) -> bool {
    REGISTERED_UIDS.binary_search_by(|known| known.as_bytes().cmp(uid)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as published, read again here so that a mistake of the build script shows.
    const TABLE: &str = include_str!("../../data/ps3.15-table-e.1-1.tsv");

    #[test]
    fn every_row_of_the_table_decides() {
        let mut rows = 0;
        for line in TABLE.lines().skip(1) {
            rows += 1;
            let columns: Vec<&str> = line.split('\t').collect();
            let exact = columns[0].replace(['(', ')', ','], "");
            let Ok(tag) = u32::from_str_radix(&exact, 16) else { continue };
            let tag = Tag(tag);
            let expected = match columns[3] {
                _ if tag == PATIENT_ID => Fate::PatientId,
                "X/Z/U*" => Fate::Descend,
                _ if tag == REFERENCED_PERFORMED_PROCEDURE_STEPS => Fate::Descend,
                "X" => Fate::Remove,
                "Z" | "X/Z" => Fate::Empty(lookup(tag).unwrap().vr),
                "U" => Fate::Uids,
                _ if columns[2] == "UI" => Fate::Uids,
                _ => Fate::Dummy(lookup(tag).unwrap().vr),
            };
            assert_eq!(fate(tag, None), expected, "{tag} {}", columns[3]);
        }
        assert_eq!(rows, 656);
    }

    #[test]
    fn patterns_private_and_unknown_attributes_are_removed() {
        for tag in [0x5000_0005, 0x501E_3000, 0x6000_3000, 0x60FE_4000, 0x6002_0022, 0x0009_0010, 0x0019_1001]
        {
            assert_eq!(fate(Tag(tag), None), Fate::Remove, "{}", Tag(tag));
        }
        assert_eq!(fate(Tag(0x0008_0007), None), Fate::Remove, "not in the dictionary");
        assert_eq!(fate(Tag(0x0008_0000), None), Fate::Remove, "a group length");
    }

    #[test]
    fn text_in_the_place_of_a_number_is_removed() {
        let rows = Tag(0x0028_0010);
        assert_eq!(fate(rows, Some(Vr::US)), Fate::Keep(Vr::US));
        assert_eq!(fate(rows, Some(Vr::UN)), Fate::Keep(Vr::US));
        assert_eq!(fate(rows, Some(Vr::LO)), Fate::Remove);
        assert_eq!(fate(rows, Some(Vr::SQ)), Fate::Remove);
    }

    #[test]
    fn attributes_are_sorted_and_registered_uids_are_found() {
        assert!(ATTRIBUTES.is_sorted_by_key(|attribute| attribute.tag));
        assert!(is_registered_uid(b"1.2.840.10008.1.1"));
        assert!(is_registered_uid(b"1.2.840.10008.1.4.1.1"));
        assert!(!is_registered_uid(b"1.2.840.10008.1.1.1999"));
        assert!(METHOD.split('\\').all(|value| value.len() <= 64));
    }
}
