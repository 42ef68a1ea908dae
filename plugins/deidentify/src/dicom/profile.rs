//! The Application Level Confidentiality Profile with the options of a stage, as a decision: what happens to each attribute.
//!
//! The attributes are PS3.15 Table E.1-1 merged with the data dictionary of PS3.6 (see `data/README.md`). Beyond the table:
//!
//! - An attribute that nobody has judged goes, or its object does: what is in no dictionary, what an own table leaves out though the
//!   built-in one names it, and what has a value representation of another kind than the dictionary's: text in a number's place.
//! - Curves (50xx) and overlay planes (60xx) are removed whole, whatever options say: an overlay is pixels, and pixels are not
//!   cleaned here. Group lengths are removed (retired, and wrong afterwards).
//! - What has no row is treated by its value representation (PS3.15 E.1.1 note 4): names and free text get dummies, dates get them
//!   or what the option for dates says, unique identifiers are replaced, and octets go that are of no image. `beyond` names some that go too.
//! - Where the table lets the number of an order be a value that says nothing (`Z`), it is a pseudonym: PS3.15 E.1.1 allows it, and a
//!   study stays with its report and its claim.
//! - Where several options name an attribute, what cleans it counts before what keeps it.

use std::borrow::Cow;

use hilum_formats::dicom::{Kind, Tag, Vr};
use hilum_plugin::ConfigError;

use super::beyond;
use super::content::Contents;
use super::options::{Options, ProfileOption};
use super::pixels::PixelRules;
use super::safe_private::SafePrivates;
use super::table::{self, Action, Row, TableError};
use super::types::{Iod, Node, Type};
use super::words::Words;
use crate::{
    BurnedInAnnotation, Config, OtherText, PatientId, PrivateSopClasses, RecognizableFaces, TextDetector,
    UnknownAttributes,
};

/// An attribute of the table, the dictionary or both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) tag: Tag,
    pub(super) vr: Vr,
    /// The index of its row in the built-in table.
    row: u16,
}

include!(concat!(env!("OUT_DIR"), "/attributes.rs"));

/// Instead of the index of a row: there is none, and there need not be.
const NO_ROW: u16 = u16::MAX;
/// Instead of the index of a row: the built-in table has one, and the table in use does not know the attribute.
const UNJUDGED: u16 = u16::MAX - 1;

/// The attributes that the profile itself writes, in the order of their tags (PS3.15 E.1.1 and E.3.6). What an object
/// brings under these tags is not believed.
pub(super) const PATIENT_IDENTITY_REMOVED: Tag = Tag(0x0012_0062);
pub(super) const DEIDENTIFICATION_METHOD: Tag = Tag(0x0012_0063);
pub(super) const DEIDENTIFICATION_METHOD_CODES: Tag = Tag(0x0012_0064);
pub(super) const LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED: Tag = Tag(0x0028_0303);

pub(super) const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008_0005);
pub(super) const SOP_CLASS_UID: Tag = Tag(0x0008_0016);
pub(super) const SOP_INSTANCE_UID: Tag = Tag(0x0008_0018);
pub(super) const CODE_VALUE: Tag = Tag(0x0008_0100);
pub(super) const CODING_SCHEME: Tag = Tag(0x0008_0102);
const CODING_SCHEME_VERSION: Tag = Tag(0x0008_0103);
pub(super) const CODE_MEANING: Tag = Tag(0x0008_0104);
pub(super) const LONG_CODE_VALUE: Tag = Tag(0x0008_0119);
pub(super) const URN_CODE_VALUE: Tag = Tag(0x0008_0120);
const REFERENCED_PERFORMED_PROCEDURE_STEPS: Tag = Tag(0x0008_1111);
pub(super) const PATIENT_ID: Tag = Tag(0x0010_0020);
/// Accession Number, and the numbers under which an order was placed and filled.
const ORDER_NUMBERS: [Tag; 3] = [Tag(0x0008_0050), Tag(0x0040_2016), Tag(0x0040_2017)];
pub(super) const BURNED_IN_ANNOTATION: Tag = Tag(0x0028_0301);
pub(super) const RECOGNIZABLE_VISUAL_FEATURES: Tag = Tag(0x0028_0302);
/// The length of a document that a dummy replaces.
const ENCAPSULATED_DOCUMENT_LENGTH: Tag = Tag(0x0042_0015);

/// Columns of the table, as bits of its rows.
const MODIFIED_DATES: u16 = 1 << 6;
const STRUCTURED_CONTENT: u16 = 1 << 8;

/// What becomes of a value that cannot be cleaned, and of one that need not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    Remove,
    /// A value of no length.
    Empty,
    /// A value that says nothing.
    Dummy,
}

/// What happens to a data element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Put(Otherwise, Vr),
    /// Each unique identifier that DICOM did not register is replaced.
    Uids,
    /// The patient's identifier, as configured.
    PatientId,
    /// The number of an order: its pseudonym.
    Order(Vr),
    /// A sequence whose items are rewritten in turn.
    Descend(Cleaning),
    Keep(Vr),
    /// The words that may stay.
    Words(Vr, Otherwise),
    /// Dates, shifted.
    Shift(Vr, Otherwise),
    /// Part of a code in a sequence that is cleaned: it stays if its coding scheme is a published one.
    Code(Vr),
    /// The character set of the texts that follow.
    Characters,
    /// Nobody has judged it.
    Unjudged,
}

/// How much of what has no row of its own is cleaned in the items of a sequence, and of those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cleaning {
    /// Nothing.
    None,
    /// Texts and codes.
    Texts,
    /// And content items by their concept.
    Content,
}

/// Where an attribute is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// None for a SOP class that is not known.
    pub(super) iod: Option<Iod>,
    pub(super) node: Node,
    pub(super) cleaning: Cleaning,
}

/// What the options make of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Treatment {
    by: By,
    /// What the Basic Profile says.
    basic: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Basic,
    Keep,
    Clean(Cleaning),
    Shift,
}

/// The profile, its options and everything else that a stage says about DICOM.
#[derive(Debug)]
pub struct Profile {
    pub(super) options: Options,
    pub(super) patient_id: PatientId,
    pub(super) burned_in_annotation: BurnedInAnnotation,
    pub(super) recognizable_faces: RecognizableFaces,
    pub(super) pixel_rules: PixelRules,
    pub(super) text_detector: TextDetector,
    other_text: OtherText,
    pub(super) unknown_attributes: UnknownAttributes,
    pub(super) private_sop_classes: PrivateSopClasses,
    pub(super) date_shift_days_max: u32,
    pub(super) words: Words,
    pub(super) contents: Contents,
    /// None unless private attributes may stay.
    pub(super) safe_privates: Option<SafePrivates>,
    edition: Cow<'static, str>,
    /// For each row of the table.
    treatments: Vec<Treatment>,
    own: Option<OwnTable>,
}

/// Where the rows of a table that a hospital brought are.
#[derive(Debug)]
struct OwnTable {
    /// For each of [`ATTRIBUTES`].
    rows: Vec<u16>,
    /// What the dictionary does not know, in the order of tags.
    more: Vec<Attribute>,
}

impl Profile {
    /// What a configuration says about DICOM.
    ///
    /// # Errors
    /// What a schema cannot express: options that exclude each other, a table that cannot be read.
    pub fn new(config: &Config) -> Result<Profile, ConfigError> {
        let options = Options::of(config.options.iter().copied());
        check(config, options)?;
        let safe_privates = SafePrivates::new(&config.safe_private)
            .map_err(|(index, what)| ConfigError::new(format!("/safe_private/{index}"), what))?;
        let table = config.table.as_deref().map(table::parse).transpose();
        let table = table.map_err(|error: TableError| ConfigError::new("/table", error.to_string()))?;
        let (edition, rows, own) = match table {
            None => (Cow::Borrowed(EDITION), Cow::Borrowed(&ROWS[..]), None),
            Some(table) => {
                let own = OwnTable::of(&table.rows);
                (Cow::Owned(table.edition), Cow::Owned(table.rows), Some(own))
            }
        };
        let pixel_rules = PixelRules::new(config.pixel_rules.as_deref());
        let pixel_rules = pixel_rules.map_err(|error| ConfigError::new("/pixel_rules", error.to_string()))?;
        let columns = options.columns();
        let contents = Contents::new(config.content_table.as_deref(), columns);
        let contents = contents.map_err(|error| ConfigError::new("/content_table", error.to_string()))?;
        Ok(Profile {
            options,
            patient_id: config.patient_id,
            burned_in_annotation: config.burned_in_annotation,
            recognizable_faces: config.recognizable_faces,
            pixel_rules,
            text_detector: config.text_detector,
            other_text: config.other_text,
            unknown_attributes: config.unknown_attributes,
            private_sop_classes: config.private_sop_classes,
            date_shift_days_max: config.date_shift_days_max,
            words: Words::new(&config.vocabulary),
            contents,
            safe_privates: options.has(ProfileOption::RetainSafePrivate).then_some(safe_privates),
            edition,
            treatments: rows.iter().map(|row| Treatment::of(row, columns)).collect(),
            own,
        })
    }

    /// What is written to De-identification Method (0012,0063): values of at most 64 characters, one of them for each table.
    pub(super) fn method(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let edition = &self.edition;
        let method =
            format!("Hilum deidentify {version}\\PS3.15 {edition} Basic Application Confidentiality Profile");
        if !self.options.has(ProfileOption::CleanStructuredContent) {
            return method;
        }
        format!("{method}\\PS3.15 {} Table E.3.4-1", self.contents.edition())
    }

    /// Decides about a data element that is not private, by its tag, the value representation that the object states for it, if
    /// it does, and where it is.
    pub(super) fn fate(&self, tag: Tag, stated: Option<Vr>, at: Place) -> Fate {
        let repeating = matches!(tag.group() & 0xFF00, 0x5000 | 0x6000);
        if repeating || tag.element() == 0 {
            return Fate::Put(Otherwise::Remove, Vr::UN);
        }
        let Some((vr, row)) = self.lookup(tag).filter(|(vr, _)| agree(*vr, stated)) else {
            return Fate::Unjudged;
        };
        // Where no dictionary says what it is, the object may.
        let vr = if vr == Vr::UN { stated.unwrap_or(vr) } else { vr };
        match tag {
            SPECIFIC_CHARACTER_SET => Fate::Characters,
            PATIENT_ID => Fate::PatientId,
            PATIENT_IDENTITY_REMOVED
            | DEIDENTIFICATION_METHOD
            | DEIDENTIFICATION_METHOD_CODES
            | LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED
            | ENCAPSULATED_DOCUMENT_LENGTH => Fate::Put(Otherwise::Remove, vr),
            _ if row == NO_ROW => self.without_row(tag, vr, at),
            _ => match self.treatments.get(usize::from(row)) {
                Some(treatment) => by_treatment(*treatment, tag, vr, at),
                None => Fate::Unjudged,
            },
        }
    }

    /// Decides about an attribute that the table has left out, by its value representation.
    fn without_row(&self, tag: Tag, vr: Vr, at: Place) -> Fate {
        let is_cleaned = at.cleaning > Cleaning::None;
        match vr {
            _ if beyond::is_removed(tag, vr) => Fate::Put(Otherwise::Remove, vr),
            _ if beyond::is_own_uid(tag, vr) && !self.options.has(ProfileOption::RetainUids) => Fate::Uids,
            Vr::PN => Fate::Put(Otherwise::Dummy, vr),
            Vr::DA | Vr::DT | Vr::TM => self.date_without_row(vr),
            Vr::SQ => Fate::Descend(at.cleaning),
            _ if is_of_code(tag) => {
                if is_cleaned {
                    Fate::Code(vr)
                } else {
                    Fate::Keep(vr)
                }
            }
            Vr::LT | Vr::ST | Vr::UC | Vr::UR | Vr::UT
                if is_cleaned || self.other_text == OtherText::Clean =>
            {
                self.text_without_row(vr)
            }
            Vr::LO | Vr::SH if is_cleaned => self.text_without_row(vr),
            _ => Fate::Keep(vr),
        }
    }

    fn text_without_row(&self, vr: Vr) -> Fate {
        if self.options.has(ProfileOption::CleanDescriptors) && vr != Vr::UR {
            Fate::Words(vr, Otherwise::Dummy)
        } else {
            Fate::Put(Otherwise::Dummy, vr)
        }
    }

    fn date_without_row(&self, vr: Vr) -> Fate {
        if self.options.has(ProfileOption::RetainLongitudinalFullDates) {
            Fate::Keep(vr)
        } else if self.options.has(ProfileOption::RetainLongitudinalModifiedDates) {
            Fate::Shift(vr, Otherwise::Dummy)
        } else {
            Fate::Put(Otherwise::Dummy, vr)
        }
    }

    /// The value representation and the row of an attribute.
    fn lookup(&self, tag: Tag) -> Option<(Vr, u16)> {
        match (place_of(tag), &self.own) {
            (Some(place), None) => Some((ATTRIBUTES[place].vr, ATTRIBUTES[place].row)),
            (Some(place), Some(own)) => Some((ATTRIBUTES[place].vr, own.rows[place])),
            (None, None) => None,
            (None, Some(own)) => {
                let found = own.more.binary_search_by_key(&tag, |attribute| attribute.tag).ok()?;
                Some((own.more[found].vr, own.more[found].row))
            }
        }
    }
}

/// The place of an attribute in [`ATTRIBUTES`]. It is looked for once for each data element, and a search by halves would take as long as
/// all else that is done with one.
fn place_of(tag: Tag) -> Option<usize> {
    let mut slot = table::slot(tag.0, SLOT_BITS);
    loop {
        let place = usize::from(SLOTS[slot]).checked_sub(1)?;
        if ATTRIBUTES[place].tag == tag {
            return Some(place);
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// What a schema cannot express.
fn check(config: &Config, options: Options) -> Result<(), ConfigError> {
    use ProfileOption::{
        CleanPixelData, CleanRecognizableVisualFeatures, CleanStructuredContent, RetainLongitudinalFullDates,
        RetainLongitudinalModifiedDates, RetainSafePrivate,
    };
    if options.has(RetainLongitudinalFullDates) && options.has(RetainLongitudinalModifiedDates) {
        let what = format!(
            "`{RetainLongitudinalFullDates}` and `{RetainLongitudinalModifiedDates}` exclude each other (PS3.15 E.3.6): \
             leave one of them out"
        );
        return Err(ConfigError::new("/options", what));
    }
    if options.has(CleanPixelData) && config.burned_in_annotation == BurnedInAnnotation::Pass {
        let what =
            format!("`pass` lets text in pixels through, which `{CleanPixelData}` forbids: write `refuse`");
        return Err(ConfigError::new("/burned_in_annotation", what));
    }
    if options.has(CleanRecognizableVisualFeatures) && config.recognizable_faces != RecognizableFaces::Refuse
    {
        let what = format!(
            "this lets faces through, which `{CleanRecognizableVisualFeatures}` forbids: write `refuse`"
        );
        return Err(ConfigError::new("/recognizable_faces", what));
    }
    if !options.has(CleanPixelData) && config.pixel_rules.is_some() {
        let what = format!("these count only with option `{CleanPixelData}`: choose it, or leave them out");
        return Err(ConfigError::new("/pixel_rules", what));
    }
    if !options.has(CleanStructuredContent) && config.content_table.is_some() {
        let what =
            format!("this counts only with option `{CleanStructuredContent}`: choose it, or leave it out");
        return Err(ConfigError::new("/content_table", what));
    }
    if !options.has(RetainSafePrivate) && !config.safe_private.is_empty() {
        let what = format!("these stay only with option `{RetainSafePrivate}`: choose it, or leave them out");
        return Err(ConfigError::new("/safe_private", what));
    }
    Ok(())
}

impl OwnTable {
    fn of(rows: &[Row]) -> OwnTable {
        let index = |tag: u32| rows.binary_search_by_key(&tag, |row| row.tag).ok();
        let row = |attribute: &Attribute| match index(attribute.tag.0).and_then(|row| u16::try_from(row).ok())
        {
            Some(row) => row,
            None if attribute.row == NO_ROW => NO_ROW,
            None => UNJUDGED,
        };
        let is_new = |tag: u32| place_of(Tag(tag)).is_none();
        let more = rows.iter().zip(0..).filter(|(row, _)| is_new(row.tag));
        let more = more.map(|(row, index)| Attribute {
            tag: Tag(row.tag),
            vr: row.vr.and_then(Vr::from_letters).unwrap_or(Vr::UN),
            row: index,
        });
        OwnTable { rows: ATTRIBUTES.iter().map(row).collect(), more: more.collect() }
    }
}

impl Treatment {
    fn of(row: &Row, columns: u16) -> Treatment {
        let clean = row.clean & columns;
        let by = if clean & MODIFIED_DATES != 0 {
            By::Shift
        } else if clean & STRUCTURED_CONTENT != 0 {
            By::Clean(Cleaning::Content)
        } else if clean != 0 {
            By::Clean(Cleaning::Texts)
        } else if row.keep & columns != 0 {
            By::Keep
        } else {
            By::Basic
        };
        Treatment { by, basic: row.basic }
    }
}

fn by_treatment(Treatment { by, basic }: Treatment, tag: Tag, vr: Vr, at: Place) -> Fate {
    match (by, vr) {
        // What it is nobody says, so nobody can say that it may stay.
        (By::Basic, _) | (_, Vr::UN) => by_action(basic, tag, vr, at),
        (By::Keep, Vr::SQ) => Fate::Descend(at.cleaning),
        (By::Keep, vr) => Fate::Keep(vr),
        (By::Clean(cleaning), Vr::SQ) => Fate::Descend(cleaning.max(at.cleaning)),
        (By::Clean(_), Vr::LO | Vr::LT | Vr::SH | Vr::ST | Vr::UC | Vr::UT | Vr::AE | Vr::CS) => {
            with_otherwise(by_action(basic, tag, vr, at), |otherwise| Fate::Words(vr, otherwise))
        }
        (By::Shift, Vr::DA | Vr::DT | Vr::TM) => {
            with_otherwise(by_action(basic, tag, vr, at), |otherwise| Fate::Shift(vr, otherwise))
        }
        (By::Clean(_) | By::Shift, _) => by_action(basic, tag, vr, at),
    }
}

fn with_otherwise(basic: Fate, clean: impl Fn(Otherwise) -> Fate) -> Fate {
    match basic {
        Fate::Put(otherwise, _) => clean(otherwise),
        other => other,
    }
}

/// What the Basic Profile says. A choice depends on the type of the attribute in the IOD of the object (PS3.15 E.1.1). Where the
/// IOD is not known, the last of the actions is taken: a dummy is valid for every type, an empty value for types 2 and 3, and neither says
/// anything about the patient.
fn by_action(action: Action, tag: Tag, vr: Vr, at: Place) -> Fate {
    let (dummy, empty, remove) =
        (Fate::Put(Otherwise::Dummy, vr), Fate::Put(Otherwise::Empty, vr), Fate::Put(Otherwise::Remove, vr));
    let dummy = match (tag, vr) {
        // The references stay, as a dummy; texts beside them, which somebody could have written anything in, do not.
        (REFERENCED_PERFORMED_PROCEDURE_STEPS, _) => Fate::Descend(at.cleaning.max(Cleaning::Texts)),
        (_, Vr::UI) => Fate::Uids,
        _ => dummy,
    };
    let choice = |last, one, two, three| match at.iod.map(|iod| iod.type_of(at.node, tag)) {
        None => last,
        Some(Some(Type::One)) => one,
        Some(Some(Type::Two)) => two,
        Some(None) => three,
    };
    // `Z` may be a value that says nothing, which type 1 needs; an empty sequence is all that there is for some of them.
    let filled = if vr == Vr::SQ { empty } else { dummy };
    let references = Fate::Descend(at.cleaning);
    match action {
        Action::X => remove,
        Action::Z if ORDER_NUMBERS.contains(&tag) => Fate::Order(vr),
        Action::Z => empty,
        Action::D => dummy,
        Action::U => Fate::Uids,
        Action::XorZ => choice(empty, filled, empty, remove),
        Action::XorD => choice(dummy, dummy, dummy, remove),
        Action::ZorD => choice(dummy, dummy, empty, empty),
        Action::XorZorD => choice(dummy, dummy, empty, remove),
        // Of type 2 it could be empty, but other attributes may say that there are references, such as (0008,1115) (PS3.3 C.12.2). Either hides as much.
        Action::XorZorU => choice(references, references, references, remove),
    }
}

/// Whether it is part of a code (PS3.3 table 8.8-1).
fn is_of_code(tag: Tag) -> bool {
    matches!(
        tag,
        CODE_VALUE | CODING_SCHEME | CODING_SCHEME_VERSION | CODE_MEANING | LONG_CODE_VALUE | URN_CODE_VALUE
    )
}

/// Whether the object and the dictionary speak of the same kind of value.
fn agree(dictionary: Vr, stated: Option<Vr>) -> bool {
    let Some(stated) = stated else { return true };
    dictionary.kind() == stated.kind() || stated.kind() == Kind::Unknown || dictionary.kind() == Kind::Unknown
}

/// Whether a unique identifier is one that DICOM registers (PS3.6 Annex A): a SOP class, a coding scheme, a well-known
/// frame of reference. The whole identifier counts, not its root, under which anything could be hidden.
pub(crate) fn is_registered_uid(uid: &[u8]) -> bool {
    REGISTERED_UIDS.binary_search_by(|known| known.as_bytes().cmp(uid)).is_ok()
}

#[cfg(test)]
mod tests;
