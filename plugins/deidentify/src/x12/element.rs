//! What each action makes of an element.

use hilum_formats::x12::Segment;

use super::table::Action;
use super::types::{self, Left};
use crate::dates::{self, Dates};
use crate::hl7::aggregated;
use crate::pseudonym::{STAFF, patient, pseudonym, short, trim};
use crate::texts::Texts;
use crate::{Config, PatientId, Pseudonyms, Refusal, Staff, TextRule, postal};

/// What stands for a patient's identifier where the configuration asks for none: the guides require one.
const NO_IDENTIFIER: &str = "ANONYMOUS";

/// The elements that hold free text; segments go without them.
const TEXTS: [(&str, usize); 3] = [("K3", 1), ("MSG", 1), ("NTE", 2)];

/// The domain of references.
const REFERENCE: &str = "reference";

/// Cleans the elements of one segment.
pub(super) struct Cleaner<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: &'a dyn Pseudonyms,
    pub(super) texts: &'a Texts<'a>,
    /// The year in which the transaction was made.
    pub(super) year: Option<u16>,
    /// What happens to the dates of whom the segment is about.
    pub(super) dates: Dates,
    pub(super) segment: &'a Segment<'a>,
}

impl Cleaner<'_> {
    /// The segment with every element cleaned, without empty elements at its end.
    pub(super) fn clean(&self, actions: &[Action]) -> Result<Vec<u8>, Refusal> {
        let country = self.segment.element(4);
        let mut cleaned = vec![self.segment.identifier().as_bytes().to_vec()];
        let mut before: &[u8] = &[];
        for (index, element) in self.segment.elements().enumerate() {
            let action = actions.get(index).copied().unwrap_or_default();
            cleaned.push(if element.is_empty() {
                Vec::new()
            } else {
                self.element(action, index + 1, element, before, country)?
            });
            before = element;
        }
        while cleaned.last().is_some_and(Vec::is_empty) {
            cleaned.pop();
        }
        Ok(cleaned.join(&self.segment.separators().element))
    }

    /// What the hospital's rules leave of a segment of free text; none if that is nothing.
    pub(super) fn text(&self) -> Option<Vec<u8>> {
        let segment = self.segment.identifier();
        let (_, element) = TEXTS.iter().find(|(of, _)| *of == segment)?;
        let rule = self.texts.rule(|| format!("{segment}{element:02}"))?;
        let text = self.segment.element(*element);
        let left = match rule {
            TextRule::Keep => text.to_vec(),
            TextRule::Words => self.texts.words(text)?.into_bytes(),
        };
        if left.is_empty() {
            return None;
        }
        // NTE01 says what the note is about.
        let about = self.segment.element(1);
        let mut cleaned = vec![segment.as_bytes()];
        if *element > 1 {
            cleaned.push(if about.len() == 3 && about.iter().all(u8::is_ascii_uppercase) {
                about
            } else {
                b"ADD"
            });
        }
        cleaned.push(&left);
        Some(cleaned.join(&self.segment.separators().element))
    }

    /// One element that is not empty, with the one before it, and the country if it is of an address.
    fn element(
        &self,
        action: Action,
        number: usize,
        element: &[u8],
        before: &[u8],
        country: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        Ok(match action {
            Action::Keep => self.kept(number, element, before)?,
            Action::Empty => Vec::new(),
            Action::Blank => vec![b' '; element.len()],
            Action::Text(text) => text.into(),
            Action::Postal => {
                let is_of_states = matches!(country, b"" | b"US" | b"USA");
                let code =
                    std::str::from_utf8(element).map(|code| postal::code(code, self.config, is_of_states));
                code.map_or_else(|_| vec![b'0'; element.len()], String::into_bytes)
            }
            Action::Patient if self.config.patient_id == PatientId::Empty => NO_IDENTIFIER.into(),
            Action::Patient => patient(self.keys, element)?.into(),
            Action::Identifier(domain) => short(self.keys, domain, element)?.into(),
            Action::Date => self.date(before, element)?,
            Action::Date8 => self.date(b"D8", element)?,
            Action::Date6 => self.date(b"D6", element)?,
            Action::Birth => self.birth(before, element)?,
            Action::Time => midnight(element),
            Action::Adjustment => self.adjustment(element)?,
            Action::Taxonomy if before == b"PXC" && is_taxonomy(element) => element.to_vec(),
            Action::Procedure => self.procedure(number, element)?,
            Action::Codes => self.codes(number, element)?,
            Action::StaffNumber | Action::Provider | Action::Taxonomy | Action::StaffText(_)
                if self.config.staff == Staff::Keep =>
            {
                element.to_vec()
            }
            Action::StaffNumber | Action::Taxonomy if matches!(before, b"XX" | b"HPI") => {
                self.provider(element)?
            }
            Action::Provider if element.len() == 10 && element.iter().all(u8::is_ascii_digit) => {
                self.provider(element)?
            }
            Action::StaffNumber | Action::Provider | Action::Taxonomy => {
                short(self.keys, STAFF, element)?.into()
            }
            Action::StaffPostal => vec![b'0'; element.len()],
            Action::StaffText(text) => text.into(),
        })
    }

    /// A date or a period in a format (data element 1250): shifted, or the first of January of its year, at midnight. A date so
    /// long ago that it must be a birth's (as with the occurrence codes A1, B1 and C1) shows no age over 89.
    fn date(&self, format: &[u8], value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let date = |value: &[u8]| {
            let mut date = first_of_january(value).ok_or_else(|| self.refuse("a date is not one"))?;
            match self.dates {
                Dates::Shifted(days) if date.len() >= 8 => {
                    let mut shifted = value.to_vec();
                    if !dates::shift(&mut shifted, days) {
                        return Err(self.refuse("a date is not one"));
                    }
                    let then = year_of(&shifted).unwrap_or_default();
                    if self.year.is_none_or(|now| aggregated(then, now) == then) {
                        return Ok(shifted);
                    }
                }
                Dates::Unknown => {
                    let what = "a date cannot be shifted, because no identifier says which patient's it is";
                    return Err(Refusal::new("no-patient-id", self.place(what)));
                }
                Dates::Year | Dates::Shifted(_) => {}
            }
            if let (Some(then), Some(now)) = (year_of(&date).filter(|_| date.len() >= 8), self.year) {
                date.splice(..4, format!("{:04}", aggregated(then, now)).into_bytes());
            }
            Ok(date)
        };
        match format {
            b"D8" | b"DT" | b"RTS" | b"D6" if digits_of(format) == Some(value.len()) => date(value),
            b"RD8" | b"RDT" => {
                let mut ends = value.splitn(2, |octet| *octet == b'-');
                let (start, end) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
                Ok([date(start)?, date(end)?].join(&b'-'))
            }
            b"TM" if matches!(self.dates, Dates::Shifted(_)) && value.iter().all(u8::is_ascii_digit) => {
                Ok(value.to_vec())
            }
            b"TM" => Ok(midnight(value)),
            b"D8" | b"DT" | b"RTS" | b"D6" => Err(self.refuse("a date is not as long as its format says")),
            _ => Err(self.refuse("a date has a format that cannot be reduced to its year")),
        }
    }

    fn birth(&self, format: &[u8], value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let date = Cleaner { dates: Dates::Year, ..*self }.date(format, value)?;
        let born = year_of(&date).filter(|_| format == b"D8");
        let (born, now) =
            born.zip(self.year).ok_or_else(|| self.refuse("an age cannot be told from its dates"))?;
        Ok(format!("{:04}0101", aggregated(born, now)).into_bytes())
    }

    /// What is left of an element that goes on: each repetition and component for itself, if it is of its type.
    fn kept(&self, number: usize, element: &[u8], before: &[u8]) -> Result<Vec<u8>, Refusal> {
        let separators = self.segment.separators();
        let segment = self.segment.identifier();
        if segment == "ISA" {
            return self.value(segment, (number, 0), before, element);
        }
        let repetitions = element.split(|octet| separators.repetition == Some(*octet)).map(|repetition| {
            if types::is_composite(segment, number) {
                return self.components(segment, number, repetition);
            }
            self.value(segment, (number, 0), before, repetition)
        });
        let repetitions = repetitions.collect::<Result<Vec<_>, _>>()?;
        Ok(repetitions.join(&separators.repetition.unwrap_or_default()))
    }

    /// What is left of the components of an element, without empty ones at its end.
    fn components(&self, segment: &str, number: usize, element: &[u8]) -> Result<Vec<u8>, Refusal> {
        let component = self.segment.separators().component;
        let mut before: &[u8] = &[];
        let mut left = Vec::new();
        for (index, part) in element.split(|octet| *octet == component).enumerate() {
            left.push(self.value(segment, (number, index + 1), before, part)?);
            before = part;
        }
        while left.last().is_some_and(Vec::is_empty) {
            left.pop();
        }
        Ok(left.join(&component))
    }

    /// What is left of a value at a place.
    fn value(
        &self,
        segment: &str,
        (element, component): (usize, usize),
        before: &[u8],
        value: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        if value.is_empty() {
            return Ok(Vec::new());
        }
        Ok(match types::left(segment, element, component, before, value) {
            Left::Same => value.to_vec(),
            Left::Text(text) => text.into(),
            Left::Pseudonym => short(self.keys, REFERENCE, value)?.into(),
            Left::Padded(text) => {
                let length = value.len();
                format!("{text:length$}").into_bytes().into_iter().take(length).collect()
            }
        })
    }

    /// C003: the seventh component is the description, and none after it is used.
    fn procedure(&self, number: usize, element: &[u8]) -> Result<Vec<u8>, Refusal> {
        let component = self.segment.separators().component;
        let parts: Vec<&[u8]> = element.split(|octet| *octet == component).take(6).collect();
        self.kept(number, &parts.join(&component), &[])
    }

    /// C042: reason and reference.
    fn adjustment(&self, element: &[u8]) -> Result<Vec<u8>, Refusal> {
        let component = self.segment.separators().component;
        let mut parts = element.splitn(2, |octet| *octet == component);
        let reason = parts.next().unwrap_or_default();
        let mut made = if types::is_reason(reason) { reason.to_vec() } else { Vec::new() };
        if let Some(reference) = parts.next().filter(|reference| !reference.is_empty()) {
            made.push(component);
            made.extend_from_slice(short(self.keys, REFERENCE, reference)?.as_bytes());
        }
        Ok(made)
    }

    /// C022: qualifier, code, date format, date, amount and so on, in each repetition.
    fn codes(&self, number: usize, element: &[u8]) -> Result<Vec<u8>, Refusal> {
        let separators = self.segment.separators();
        let mut repetitions = Vec::new();
        for repetition in element.split(|octet| separators.repetition == Some(*octet)) {
            let parts: Vec<&[u8]> = repetition.split(|octet| *octet == separators.component).collect();
            let mut left: Vec<Vec<u8>> = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                left.push(match (index, parts.get(2)) {
                    (3, Some(format)) if !part.is_empty() => self.date(format, part)?,
                    _ => self.value(self.segment.identifier(), (number, index + 1), &[], part)?,
                });
            }
            repetitions.push(left.join(&separators.component));
        }
        Ok(repetitions.join(&separators.repetition.unwrap_or_default()))
    }

    /// A national provider identifier that is nobody's: ten digits, the last a check digit (45 CFR 162.406, ISO/IEC
    /// 7812-1 with the prefix 80840).
    fn provider(&self, number: &[u8]) -> Result<Vec<u8>, Refusal> {
        let octets = pseudonym(self.keys, STAFF, trim(number))?;
        let mut digits = vec![1];
        digits.extend(octets[..8].iter().map(|octet| octet % 10));
        // 24 is what the prefix adds to the sum.
        let sum = digits.iter().rev().enumerate().fold(24, |sum, (index, digit)| match index % 2 {
            0 => sum + (digit * 2) / 10 + (digit * 2) % 10,
            _ => sum + digit,
        });
        digits.push((10 - sum % 10) % 10);
        Ok(digits.into_iter().map(|digit| b'0' + digit).collect())
    }

    fn refuse(&self, what: &str) -> Refusal {
        Refusal::new("unsupported-date", self.place(what))
    }

    fn place(&self, what: &str) -> String {
        format!("segment {}, offset {}: {what}", self.segment.number(), self.segment.offset())
    }
}

/// Whether an element, such as `NTE02`, holds free text.
pub(crate) fn is_free_text(element: &str) -> bool {
    TEXTS.iter().any(|(segment, number)| format!("{segment}{number:02}") == element)
}

/// The year that CCYYMMDD begins with.
pub(super) fn year_of(date: &[u8]) -> Option<u16> {
    let (digits, rest) = date.split_first_chunk::<4>()?;
    if !digits.iter().chain(rest).all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |year, digit| year * 10 + u16::from(digit - b'0')))
}

/// A code of the provider taxonomy (NUCC): three digits, six letters or digits, a letter.
fn is_taxonomy(code: &[u8]) -> bool {
    let is = |at: usize, octet: &u8| match at {
        0..=2 => octet.is_ascii_digit(),
        9 => octet.is_ascii_uppercase(),
        _ => octet.is_ascii_uppercase() || octet.is_ascii_digit(),
    };
    code.len() == 10 && code.iter().enumerate().all(|(at, octet)| is(at, octet))
}

/// How long a date of a format is.
fn digits_of(format: &[u8]) -> Option<usize> {
    match format {
        b"D6" => Some(6),
        b"D8" => Some(8),
        b"DT" => Some(12),
        b"RTS" => Some(14),
        _ => None,
    }
}

/// YYMMDD, CCYYMMDD, CCYYMMDDHHMM or CCYYMMDDHHMMSS with everything after the year set to its least.
fn first_of_january(date: &[u8]) -> Option<Vec<u8>> {
    let year = match date.len() {
        6 => 2,
        8 | 12 | 14 => 4,
        _ => return None,
    };
    date.iter().all(u8::is_ascii_digit).then(|| {
        let mut reduced = [&date[..year], &b"0101"[..]].concat();
        reduced.resize(date.len(), b'0');
        reduced
    })
}

fn midnight(time: &[u8]) -> Vec<u8> {
    vec![b'0'; time.len().min(8)]
}
