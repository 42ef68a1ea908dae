//! Content items as they stream by: the value type and the concept come before the value (PS3.3 C.17.3), so that what becomes of an item
//! is known when its value is read. Only whether an age may stay is known later, and the item is held until then.

use hilum_formats::dicom::{Header, Tag, Vr, trim};

use super::Verdict;
use super::rows::ValueType;
use crate::Refusal;
use crate::dicom::profile::{Fate, Otherwise};
use crate::dicom::rewrite::Rewriter;

const UNITS: Tag = Tag(0x0040_08EA);
const VALUE_TYPE: Tag = Tag(0x0040_A040);
const CONCEPT_NAME: Tag = Tag(0x0040_A043);
const MEASURED_VALUES: Tag = Tag(0x0040_A300);
const NUMERIC_VALUE: Tag = Tag(0x0040_A30A);
/// The same number as a floating point value and as a fraction.
const OTHER_NUMBERS: [Tag; 3] = [Tag(0x0040_A161), Tag(0x0040_A162), Tag(0x0040_A163)];
/// The attributes that values are in, by their value type; those of references to instances are before the concept.
const VALUES: [(&str, Tag); 8] = [
    ("DATETIME", Tag(0x0040_A120)),
    ("DATE", Tag(0x0040_A121)),
    ("TIME", Tag(0x0040_A122)),
    ("PNAME", Tag(0x0040_A123)),
    ("UIDREF", Tag(0x0040_A124)),
    ("TEXT", Tag(0x0040_A160)),
    ("CODE", Tag(0x0040_A168)),
    ("NUM", MEASURED_VALUES),
];
/// How many octets a value has that is a value type or an age.
const SHORT_OCTETS_MAX: u64 = 16;
/// Units of ages (PS3.16 CID 7456), and how many of them are 90 years or less.
const AGE_UNITS: [(&[u8], f64); 6] = [
    (b"a", 90.0),
    (b"mo", 90.0 * 12.0),
    (b"wk", 90.0 * 52.0),
    (b"d", 90.0 * 365.0),
    (b"h", 90.0 * 365.0 * 24.0),
    (b"min", 90.0 * 365.0 * 24.0 * 60.0),
];

/// What is known of a data set that may be a content item.
#[derive(Debug, Default)]
pub(in crate::dicom) struct Item {
    value_type: Option<ValueType>,
    pub(in crate::dicom) verdict: Verdict,
    /// How many of its unit are 90 years.
    age_end: Option<f64>,
    ages: Ages,
}

/// What is being looked for in the sequence that is being read.
#[derive(Debug, Default)]
pub(in crate::dicom) struct Reading {
    codes: Option<Codes>,
    ages: Option<Ages>,
}

/// The codes of a concept or of a unit.
#[derive(Debug)]
struct Codes {
    value_type: Option<ValueType>,
    verdict: Option<Verdict>,
    age_end: Option<f64>,
}

/// The numbers of an item that is an age.
#[derive(Clone, Copy, Debug, Default)]
struct Ages {
    any: bool,
    is_one_old: bool,
}

impl Item {
    /// Whether it is sure that it is an age under 90 years.
    pub(in crate::dicom) fn is_young(&self) -> bool {
        self.ages.any && !self.ages.is_one_old
    }

    /// What its verdict makes of the fate of one of its data elements.
    pub(in crate::dicom) fn fate(&self, tag: Tag, fate: Fate) -> Fate {
        let Some((value_type, _)) = VALUES.iter().find(|(_, of_value)| *of_value == tag) else { return fate };
        let is_of_item = self.value_type == Some(ValueType(value_type));
        match (self.verdict, fate) {
            (Verdict::Keep, Fate::Words(vr, _) | Fate::Shift(vr, _) | Fate::Put(_, vr)) if is_of_item => {
                Fate::Keep(vr)
            }
            (Verdict::Keep, Fate::Uids) if is_of_item => Fate::Keep(Vr::UI),
            (Verdict::Dummy, Fate::Words(vr, _) | Fate::Shift(vr, _) | Fate::Keep(vr)) => {
                Fate::Put(Otherwise::Dummy, vr)
            }
            (Verdict::Dummy, Fate::Descend(_)) => Fate::Put(Otherwise::Dummy, Vr::SQ),
            (_, fate) => fate,
        }
    }
}

impl Rewriter<'_, '_> {
    /// Looks at a data element of what may be a content item before it is rewritten; what was being looked for until then, if that is
    /// something else now.
    pub(in crate::dicom) fn begin_content(
        &mut self,
        header: &Header,
        item: &mut Item,
    ) -> Result<Option<Reading>, Refusal> {
        let instead = match header.tag {
            VALUE_TYPE => {
                if let Some(length @ 0..=SHORT_OCTETS_MAX) = header.defined_length() {
                    item.value_type = ValueType::from_letters(trim(self.stream.peek_value(length)?));
                }
                return Ok(None);
            }
            UNITS | CONCEPT_NAME => {
                let codes = Codes { value_type: item.value_type, verdict: None, age_end: None };
                Reading { codes: Some(codes), ages: None }
            }
            MEASURED_VALUES if item.verdict == Verdict::Age => {
                Reading { codes: None, ages: Some(Ages::default()) }
            }
            tag if tag == NUMERIC_VALUE || OTHER_NUMBERS.contains(&tag) => {
                self.look_at_number(header, item)?;
                return Ok(None);
            }
            _ => return Ok(None),
        };
        Ok(Some(std::mem::replace(&mut self.reading, instead)))
    }

    /// Goes back to what was being looked for, with what was found.
    pub(in crate::dicom) fn end_content(&mut self, tag: Tag, before: Option<Reading>, item: &mut Item) {
        let Some(before) = before else { return };
        let found = std::mem::replace(&mut self.reading, before);
        match (tag, found.codes) {
            (CONCEPT_NAME, codes) => {
                item.verdict = codes.and_then(|codes| codes.verdict).unwrap_or_default();
            }
            (UNITS, codes) => item.age_end = codes.and_then(|codes| codes.age_end),
            _ => item.ages = found.ages.unwrap_or_default(),
        }
    }

    /// Looks at a code, if it is one of a concept or a unit.
    pub(in crate::dicom) fn look_at_code(&mut self, scheme: &[u8], code: &[u8]) {
        let Some(codes) = self.reading.codes.as_mut().filter(|_| !code.is_empty()) else { return };
        let verdict = self.profile.contents.judge(scheme, code, codes.value_type);
        codes.verdict = Some(codes.verdict.map_or(verdict, |before| before.max(verdict)));
        let unit = AGE_UNITS.iter().find(|(unit, _)| scheme == b"UCUM" && *unit == code);
        codes.age_end = unit.map(|(_, end)| *end);
    }

    /// Looks at a number, if it is the one of an age.
    fn look_at_number(&mut self, header: &Header, item: &mut Item) -> Result<(), Refusal> {
        let ages = match (&mut self.reading.ages, item.verdict) {
            (Some(ages), _) => ages,
            (None, Verdict::Age) => &mut item.ages,
            (None, _) => return Ok(()),
        };
        let young = match (header.tag, header.defined_length(), item.age_end) {
            (NUMERIC_VALUE, Some(length @ 0..=SHORT_OCTETS_MAX), Some(end)) => {
                let number = std::str::from_utf8(trim(self.stream.peek_value(length)?)).ok();
                number
                    .and_then(|number| number.parse().ok())
                    .is_some_and(|age: f64| (0.0..end).contains(&age))
            }
            _ => false,
        };
        *ages = Ages { any: true, is_one_old: ages.is_one_old || !young };
        Ok(())
    }
}
