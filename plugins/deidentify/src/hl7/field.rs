//! What each action makes of a field.

use hilum_formats::hl7::{Delimiters, Part, Segment};

use super::coded::{self, Local};
use super::table::Action;
use super::{scalar, tables};
use crate::dates::{self, Dates};
use crate::pseudonym::{STAFF, patient, short, trim};
use crate::texts::Texts;
use crate::{
    Config, PatientId, PostalCodes, Pseudonyms, Refusal, Staff, TextRule, ages, places, postal, shape,
};

/// Octets of a message structure such as `ORU_R01` (HL7 v2.5.1, table 0354).
const MESSAGE_TYPE_OCTETS_MAX: usize = 7;
/// The domain of names of insurers and studies.
const REFERENCE: &str = "reference";

/// Cleans the fields of one segment.
pub(super) struct Cleaner<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: &'a dyn Pseudonyms,
    pub(super) texts: &'a Texts<'a>,
    /// The year of MSH-7, from which ages are counted.
    pub(super) message_year: Option<u16>,
    /// What happens to dates.
    pub(super) dates: Dates,
    pub(super) segment: &'a Segment<'a>,
}

impl Cleaner<'_> {
    /// Writes what stands for a field, or says that it may stay as it is.
    pub(super) fn clean(
        &self,
        action: Action,
        field: &Part<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Cleaned, Refusal> {
        let delimiters = &self.segment.delimiters();
        match action {
            Action::Keep => return Ok(Cleaned::Kept),
            Action::Staff if self.config.staff == Staff::Keep => return Ok(Cleaned::Kept),
            Action::Value => return self.value(field, out),
            Action::Empty => return Ok(Cleaned::Written),
            Action::Birth => self.birth(field, delimiters, out),
            Action::Name => pseudo_name(delimiters, out),
            _ => {
                for (at, part) in field.repetitions(delimiters).enumerate() {
                    if at > 0 {
                        out.push(delimiters.repetition);
                    }
                    self.repetition(action, &part, delimiters, out)?;
                }
                while out.last() == Some(&delimiters.repetition) {
                    out.pop();
                }
            }
        }
        Ok(Cleaned::Written)
    }

    /// The hospital's rule for a field, if it is one of free text, by its number and what happens to it otherwise.
    pub(super) fn text_rule(&self, number: usize, action: Action) -> Option<TextRule> {
        let is_text = match action {
            Action::Empty => true,
            Action::Value => matches!(self.segment.field(2).unwrap_or_default().text, b"ST" | b"TX" | b"FT"),
            _ => false,
        };
        self.texts.rule(|| format!("{}-{number}", self.segment.name())).filter(|_| is_text)
    }

    /// Writes what a rule leaves of free text: words have no delimiters in them.
    pub(super) fn text(&self, rule: TextRule, field: &Part<'_>, out: &mut Vec<u8>) -> Cleaned {
        if rule == TextRule::Keep {
            return Cleaned::Kept;
        }
        let delimiters = &self.segment.delimiters();
        let mut left = Joined::new(out, delimiters.repetition);
        for part in field.repetitions(delimiters) {
            left.push(self.texts.words(&part.decode(delimiters)).unwrap_or_default().as_bytes());
        }
        left.end();
        Cleaned::Written
    }

    /// Writes what stands for one repetition of a field.
    fn repetition(
        &self,
        action: Action,
        part: &Part<'_>,
        delimiters: &Delimiters,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match action {
            Action::MessageType => message_type(part, delimiters, out),
            Action::Code => coded::code(part, delimiters, Local::Code, self.config, out),
            Action::Service => coded::code(part, delimiters, Local::Service, self.config, out),
            Action::Measure => coded::code(part, delimiters, Local::Unit, self.config, out),
            Action::Id => keep(part, scalar::is_id(part, delimiters), out),
            Action::Of(values) => keep(part, tables::is_one(values, part.text), out),
            Action::Number => out.extend(shape::number(part.text).iter().flat_map(shape::Number::as_bytes)),
            Action::Age => self.age(part, out),
            Action::Sequence => keep(part, scalar::is_sequence(part, delimiters), out),
            Action::Amount => keep(part, scalar::is_amount(part, delimiters), out),
            Action::Quantity => keep(part, scalar::is_quantity(part, delimiters), out),
            Action::Location => keep(part, scalar::is_location(part, delimiters), out),
            Action::Range => keep(part, scalar::is_range(part, delimiters), out),
            Action::Result => {
                let is_result = scalar::is_id(part, delimiters) && !shape::is_name(part.text);
                keep(part, is_result, out);
            }
            Action::Structured => keep(part, scalar::is_structured(part, delimiters), out),
            Action::Class => {
                let class = part.component(1, delimiters);
                keep(&class, scalar::is_id(&class, delimiters), out);
            }
            Action::Authority => scalar::authority(part, delimiters, out),
            Action::Profile => scalar::profile(part, delimiters, out),
            Action::Processing => scalar::processing(part, delimiters, out),
            Action::Version => scalar::version(part, delimiters, out),
            Action::Study => self.named(part, |part, _| scalar::is_name(part.text), delimiters, out)?,
            Action::Insurer => self.named(part, scalar::is_insurer, delimiters, out)?,
            Action::Year => self.dates(part, delimiters, out)?,
            Action::Patient => self.patient(part, delimiters, out)?,
            Action::Identifier(domain) => self.identifier(domain, part, delimiters, out)?,
            Action::Region => self.region(part, delimiters, out),
            Action::Staff => self.staff(part, delimiters, out)?,
            Action::Unit => {
                let ward = part.component(1, delimiters);
                keep(&ward, scalar::is_ward(&ward, delimiters), out);
            }
            // These concern the field as a whole; nothing of it goes on from here.
            Action::Keep | Action::Empty | Action::Birth | Action::Name | Action::Value => {}
        }
        Ok(())
    }

    /// The year of each component, or the component shifted: DT, TS and DTM have one, DR two. No year is so long ago that it must be a
    /// birth's.
    fn dates(&self, part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut dates = Joined::new(out, delimiters.component);
        for component in part.components(delimiters) {
            let year = year_of(component.text);
            let aggregate = |year| self.message_year.map_or(year, |now| aggregated(year, now));
            match (year, self.dates) {
                (None, _) => dates.push(&[]),
                (Some(year), Dates::Year) => dates.push(&digits(aggregate(year))),
                (Some(_), Dates::Unknown) => return Err(self.of_nobody(component.offset)),
                (Some(_), Dates::Shifted(days)) => {
                    let mut shifted = component.text.to_vec();
                    let then = dates::shift(&mut shifted, days).then(|| year_of(&shifted)).flatten();
                    match then {
                        Some(then) if aggregate(then) == then => dates.push(&shifted),
                        Some(then) => dates.push(&digits(aggregate(then))),
                        None => dates.push(&[]),
                    }
                }
            }
        }
        dates.end();
        Ok(())
    }

    fn of_nobody(&self, offset: usize) -> Refusal {
        let number = self.segment.number();
        let what = "a date cannot be shifted, because PID-3 does not say which patient's it is";
        Refusal::new("no-patient-id", format!("segment {number}, offset {offset}: {what}"))
    }

    /// State or province and country (XAD.4 and XAD.6), as the short codes that they are, and what the configuration leaves of a ZIP code
    /// (XAD.5).
    fn region(&self, part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
        let is_of_states = matches!(part.component(6, delimiters).text, b"" | b"US" | b"USA");
        let mut cleaned = Joined::new(out, delimiters.component);
        for (number, component) in (1..).zip(part.components(delimiters).take(6)) {
            let code = std::str::from_utf8(component.text).ok().filter(|code| {
                number == 5 && self.config.postal_codes == PostalCodes::ThreeDigits && !code.is_empty()
            });
            match code {
                Some(code) => cleaned.push(postal::code(code, self.config, is_of_states).as_bytes()),
                None if number == 4 && places::is_state(component.text) => cleaned.push(component.text),
                None if number == 6 && places::is_country(component.text) => cleaned.push(component.text),
                None => cleaned.push(&[]),
            }
        }
        cleaned.end();
    }

    fn birth(&self, field: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
        let year = year_of(field.component(1, delimiters).text);
        if let (Some(year), Some(now)) = (year, self.message_year) {
            out.extend_from_slice(&digits(aggregated(year, now)));
        }
    }

    /// A patient's pseudonym and the type of the identifier (CX.5); whose it was does not go on.
    fn patient(&self, part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.config.patient_id == PatientId::Empty {
            return Ok(());
        }
        let identifier = patient(self.keys, &part.component(1, delimiters).decode(delimiters))?;
        let kind = part.component(5, delimiters);
        out.extend_from_slice(identifier.as_bytes());
        if !identifier.is_empty() && is_identifier_type(&kind) && !kind.is_empty() {
            out.extend([delimiters.component; 4]);
            out.extend_from_slice(kind.text);
        }
        Ok(())
    }

    fn identifier(
        &self,
        domain: &str,
        part: &Part<'_>,
        delimiters: &Delimiters,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let identifier = part.component(1, delimiters).decode(delimiters);
        out.extend_from_slice(short(self.keys, domain, &identifier)?.as_bytes());
        Ok(())
    }

    /// The first component if it is of a form, or a pseudonym of it.
    fn named(
        &self,
        part: &Part<'_>,
        is_of_form: scalar::Check,
        delimiters: &Delimiters,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let name = part.component(1, delimiters);
        if is_of_form(&name, delimiters) {
            out.extend_from_slice(name.text);
            return Ok(());
        }
        self.identifier(REFERENCE, part, delimiters, out)
    }

    /// A pseudonym of the number or, without one, of the name.
    fn staff(&self, part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let number = part.component(1, delimiters).decode(delimiters);
        let known_by = if trim(&number).is_empty() { part.text } else { &number };
        if known_by.iter().any(|octet| *octet != delimiters.component && *octet != b' ') {
            out.extend_from_slice(short(self.keys, STAFF, known_by)?.as_bytes());
        }
        Ok(())
    }

    /// OBX-5, by OBX-2 (HL7 table 0125): coded and numerical values go on, text and everything else does not.
    fn value(&self, field: &Part<'_>, out: &mut Vec<u8>) -> Result<Cleaned, Refusal> {
        let kind = self.segment.field(2).unwrap_or_default();
        let action = match kind.text {
            b"NM" if self.is_age() => Action::Age,
            b"NM" => Action::Number,
            b"SN" if self.is_age() => Action::Empty,
            b"SN" => Action::Structured,
            b"CE" | b"CWE" | b"CNE" | b"CF" => Action::Code,
            b"ID" | b"IS" => Action::Result,
            b"SI" => Action::Sequence,
            b"MO" | b"CP" => Action::Amount,
            b"DT" | b"TS" | b"DTM" | b"DR" => Action::Year,
            _ => Action::Empty,
        };
        self.clean(action, field, out)
    }

    /// A number that is an age, and none over 89; nothing where its unit does not tell, unless it is under 90 of any.
    fn age(&self, part: &Part<'_>, out: &mut Vec<u8>) {
        let Some(number) = shape::number(part.text) else { return };
        let years = std::str::from_utf8(number.as_bytes()).ok().and_then(|text| text.parse::<f64>().ok());
        let Some(years) = years else { return };
        let limit = self.units().find_map(|unit| ages::limit(&unit));
        if years < f64::from(limit.unwrap_or(ages::MAX)) {
            out.extend_from_slice(number.as_bytes());
        } else if let Some(limit) = limit {
            out.extend_from_slice(limit.to_string().as_bytes());
        }
    }

    /// Whether OBX-3 says that the value is an age, or OBX-6 that it is in years.
    fn is_age(&self) -> bool {
        let delimiters = &self.segment.delimiters();
        let observation = self.segment.field(3).unwrap_or_default();
        let mut parts = observation.components(delimiters).flat_map(|part| part.subcomponents(delimiters));
        parts.any(|part| {
            let text = part.decode(delimiters);
            ages::is_code(&text) || std::str::from_utf8(&text).is_ok_and(ages::are_words)
        }) || self.units().any(|unit| ages::is_years(&unit))
    }

    /// The units of OBX-6, by their codes and as people read them.
    fn units(&self) -> impl Iterator<Item = String> {
        let delimiters = self.segment.delimiters();
        let units = self.segment.field(6).unwrap_or_default();
        let text = move |number| {
            String::from_utf8_lossy(&units.component(number, &delimiters).decode(&delimiters)).into_owned()
        };
        [1, 2, 4, 5].into_iter().map(text)
    }
}

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cleaned {
    /// It may stay as it is.
    Kept,
    /// What was written stands for it, which may be nothing.
    Written,
}

/// Components being written, without the empty ones at the end.
pub(super) struct Joined<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    delimiter: u8,
    is_first: bool,
}

impl<'o> Joined<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, delimiter: u8) -> Self {
        Self { start: out.len(), out, delimiter, is_first: true }
    }

    pub(super) fn push(&mut self, part: &[u8]) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(self.delimiter);
        }
        self.out.extend_from_slice(part);
    }

    pub(super) fn end(self) {
        while self.out.len() > self.start && self.out.last() == Some(&self.delimiter) {
            self.out.pop();
        }
    }
}

/// The components of a message type that have its form; free text there would reach every reader.
fn message_type(part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let is_code = |text: &[u8]| {
        text.len() <= MESSAGE_TYPE_OCTETS_MAX
            && text.iter().all(|o| o.is_ascii_uppercase() || o.is_ascii_digit() || *o == b'_')
    };
    let mut kept = Joined::new(out, delimiters.component);
    for component in part.components(delimiters) {
        kept.push(if is_code(component.text) { component.text } else { &[] });
    }
    kept.end();
}

/// The year that a date begins with, if it is a date.
pub(super) fn year_of(date: &[u8]) -> Option<u16> {
    let (digits, rest) = date.split_first_chunk::<4>()?;
    if !digits.iter().all(u8::is_ascii_digit)
        || !rest.iter().all(|o| o.is_ascii_digit() || b".,+-".contains(o))
    {
        return None;
    }
    let year = digits.iter().fold(0, |year, digit| year * 10 + u16::from(digit - b'0'));
    (1800..2200).contains(&year).then_some(year)
}

/// The four digits of a year.
fn digits(year: u16) -> [u8; 4] {
    let digit = |unit: u16| b'0' + u8::try_from(year / unit % 10).unwrap_or_default();
    [digit(1000), digit(100), digit(10), digit(1)]
}

/// A year of birth that shows no age over 89: who is or may be ninety is born ninety years before.
pub(crate) fn aggregated(birth: u16, now: u16) -> u16 {
    birth.max(now.saturating_sub(ages::MAX))
}

/// Writes a part if it may stay.
fn keep(part: &Part<'_>, stays: bool, out: &mut Vec<u8>) {
    if stays {
        out.extend_from_slice(part.text);
    }
}

/// `^^^^^^S`: a coded pseudo-name that stands for nobody in particular (HL7 table 0200).
fn pseudo_name(delimiters: &Delimiters, out: &mut Vec<u8>) {
    out.extend([delimiters.component; 6]);
    out.push(b'S');
}

/// Whether a part is a type of identifier (HL7 table 0203), e.g. `MR`.
fn is_identifier_type(part: &Part<'_>) -> bool {
    tables::has("0203", part.text)
}
