//! What each action makes of a field.

use hilum_formats::hl7::{Delimiters, Part, Segment};

use super::table::Action;
use crate::dates::{self, Dates};
use crate::pseudonym::{STAFF, patient, short, trim};
use crate::{Config, PatientId, PostalCodes, Pseudonyms, Refusal, Staff, postal};

/// Ages over 89 are given as this (45 CFR 164.514(b)(2)(i)(C)).
const AGE_MAX: u16 = 90;
/// Octets of a message structure such as `ORU_R01` (HL7 v2.5.1, table 0354).
const MESSAGE_TYPE_OCTETS_MAX: usize = 7;
/// Octets of a code, at most.
const TOKEN_OCTETS_MAX: usize = 20;
/// Digits in a row that a number may have; a longer one may be a date, a telephone or a social security number.
const TOKEN_DIGITS_MAX: usize = 7;
/// Letters that may be an abbreviation; more may be a name.
const WORD_OCTETS: usize = 4;
/// LOINC codes of a patient's age: reported, estimated, calculated, at collection, at onset, now or at death.
pub(crate) const AGES: [&[u8]; 6] = [b"30525-0", b"21611-9", b"21612-7", b"29553-5", b"35659-2", b"63900-5"];

/// Cleans the fields of one segment.
pub(super) struct Cleaner<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: &'a dyn Pseudonyms,
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
        let tokens = |keeps: bool| if keeps { Cleaned::Kept } else { Cleaned::Written };
        match action {
            Action::Keep => return Ok(Cleaned::Kept),
            Action::Token => return Ok(tokens(are_tokens(field, delimiters))),
            Action::Range => return Ok(tokens(has_only(field, b"0123456789.<>=+- ^"))),
            Action::Staff if self.config.staff == Staff::Keep => return Ok(Cleaned::Kept),
            Action::Value => return self.value(field, delimiters, out),
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
            }
        }
        Ok(Cleaned::Written)
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
            Action::Code => code(part, delimiters, false, out),
            Action::Service => code(part, delimiters, true, out),
            Action::Year => self.dates(part, delimiters, out)?,
            Action::Patient => self.patient(part, delimiters, out)?,
            Action::Identifier(domain) => self.identifier(domain, part, delimiters, out)?,
            Action::Region => self.region(part, delimiters, out),
            Action::Staff => self.staff(part, delimiters, out)?,
            Action::Unit => unit(part, delimiters, out),
            // These concern the field as a whole; nothing of it goes on from here.
            Action::Keep
            | Action::Empty
            | Action::Token
            | Action::Birth
            | Action::Name
            | Action::Value
            | Action::Range => {}
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
        let short = |component: &Part<'_>| {
            component.text.len() <= 3 && component.text.iter().all(u8::is_ascii_alphabetic)
        };
        let is_of_states = matches!(part.component(6, delimiters).text, b"" | b"US" | b"USA");
        let mut cleaned = Joined::new(out, delimiters.component);
        for (number, component) in (1..).zip(part.components(delimiters).take(6)) {
            let code = std::str::from_utf8(component.text).ok().filter(|code| {
                number == 5 && self.config.postal_codes == PostalCodes::ThreeDigits && !code.is_empty()
            });
            match code {
                Some(code) => cleaned.push(postal::code(code, self.config, is_of_states).as_bytes()),
                None if matches!(number, 4 | 6) && short(&component) => cleaned.push(component.text),
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
    fn value(
        &self,
        field: &Part<'_>,
        delimiters: &Delimiters,
        out: &mut Vec<u8>,
    ) -> Result<Cleaned, Refusal> {
        let kind = self.segment.field(2).unwrap_or_default();
        let keeps = match kind.text {
            b"NM" => {
                has_only(field, b"0123456789.+-eE")
                    && are_tokens(field, delimiters)
                    && !(self.is_age() && is_over_age_max(field.text))
            }
            b"SN" => {
                has_only(field, b"0123456789.<>=+-/:^") && are_tokens(field, delimiters) && !self.is_age()
            }
            b"CE" | b"CWE" | b"CNE" | b"CF" => return self.clean(Action::Code, field, out),
            b"ID" | b"IS" | b"MO" | b"CP" | b"SI" => return self.clean(Action::Token, field, out),
            b"DT" | b"TS" | b"DTM" | b"DR" => return self.clean(Action::Year, field, out),
            _ => false,
        };
        Ok(if keeps { Cleaned::Kept } else { Cleaned::Written })
    }

    /// Whether OBX-3 says that the value is an age.
    fn is_age(&self) -> bool {
        let observation = self.segment.field(3).unwrap_or_default();
        let mut words = observation.text.split(|octet| !octet.is_ascii_alphanumeric());
        words.any(|word| word.eq_ignore_ascii_case(b"age"))
            || AGES.contains(&observation.component(1, &self.segment.delimiters()).text)
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
struct Joined<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    delimiter: u8,
    is_first: bool,
}

impl<'o> Joined<'o> {
    fn new(out: &'o mut Vec<u8>, delimiter: u8) -> Self {
        Self { start: out.len(), out, delimiter, is_first: true }
    }

    fn push(&mut self, part: &[u8]) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(self.delimiter);
        }
        self.out.extend_from_slice(part);
    }

    fn end(self) {
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
    birth.max(now.saturating_sub(AGE_MAX))
}

fn is_over_age_max(value: &[u8]) -> bool {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<f64>().ok());
    number.is_none_or(|age| age >= f64::from(AGE_MAX))
}

/// Code, text and code system, twice (CE, CWE, CNE). Without a system the text is anybody's, so only the code goes on,
/// and only if it is no word or words are expected.
fn code(part: &Part<'_>, delimiters: &Delimiters, words: bool, out: &mut Vec<u8>) {
    let (mut parts, mut count) = ([Part::default(); 6], 0);
    for (place, component) in parts.iter_mut().zip(part.components(delimiters)) {
        *place = component;
        count += 1;
    }
    let mut cleaned = Joined::new(out, delimiters.component);
    for triplet in parts[..count].chunks(3) {
        let system = triplet.get(2).is_some_and(|system| is_code(system, delimiters));
        match triplet {
            [code, rest @ ..] if is_code(code, delimiters) && (system || words || !is_word(code)) => {
                cleaned.push(code.text);
                rest.iter().for_each(|part| cleaned.push(if system { part.text } else { &[] }));
            }
            triplet => triplet.iter().for_each(|_| cleaned.push(&[])),
        }
    }
    cleaned.end();
}

/// The first component of a location: point of care, without room and bed.
fn unit(part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let unit = part.component(1, delimiters);
    if is_token(&unit, delimiters) {
        out.extend_from_slice(unit.text);
    }
}

/// `^^^^^^S`: a coded pseudo-name that stands for nobody in particular (HL7 table 0200).
fn pseudo_name(delimiters: &Delimiters, out: &mut Vec<u8>) {
    out.extend([delimiters.component; 6]);
    out.push(b'S');
}

/// Whether a field has no octets but these.
fn has_only(field: &Part<'_>, octets: &[u8]) -> bool {
    field.text.iter().all(|octet| octets.contains(octet))
}

/// Whether every subcomponent of a field is empty or a token.
fn are_tokens(field: &Part<'_>, delimiters: &Delimiters) -> bool {
    if field.text.contains(&delimiters.escape) {
        return are_tokens_by_parts(field, delimiters);
    }
    // Nothing has to be decoded, so one pass over the octets does.
    let Delimiters { repetition, component, subcomponent, .. } = *delimiters;
    let (mut octets, mut digits) = (0, 0);
    field.text.iter().all(|octet| {
        if [repetition, component, subcomponent].contains(octet) {
            (octets, digits) = (0, 0);
            return true;
        }
        octets += 1;
        digits = if octet.is_ascii_digit() { digits + 1 } else { 0 };
        octet.is_ascii_graphic() && octets <= TOKEN_OCTETS_MAX && digits <= TOKEN_DIGITS_MAX
    })
}

fn are_tokens_by_parts(field: &Part<'_>, delimiters: &Delimiters) -> bool {
    field.repetitions(delimiters).all(|repetition| {
        repetition.components(delimiters).all(|component| {
            component.subcomponents(delimiters).all(|part| part.is_empty() || is_token(&part, delimiters))
        })
    })
}

/// Whether a part looks like a code or a number of which there are many alike.
fn is_token(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    let digits = part.text.split(|octet| !octet.is_ascii_digit()).map(<[u8]>::len).max();
    is_code(part, delimiters) && digits.unwrap_or_default() <= TOKEN_DIGITS_MAX
}

/// Whether a part looks like a code of some code system.
fn is_code(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    let text = part.decode(delimiters);
    !text.is_empty()
        && text.len() <= TOKEN_OCTETS_MAX
        && text.iter().all(u8::is_ascii_graphic)
        && !text.contains(&delimiters.escape)
}

/// Whether a part may be a word or a name rather than a code.
fn is_word(part: &Part<'_>) -> bool {
    part.text.len() > WORD_OCTETS && part.text.iter().all(u8::is_ascii_alphabetic)
}

/// Whether a part is a type of identifier (HL7 table 0203), e.g. `MR`.
fn is_identifier_type(part: &Part<'_>) -> bool {
    part.text.len() <= 5 && part.text.iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_same_in_one_pass_as_part_by_part() {
        let delimiters = &Delimiters::default();
        let alphabet = b"12345678A.^~& \x7f\xc3";
        let (mut state, mut kept) = (1_u64, 0);
        for _ in 0..20_000 {
            let mut next = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % below
            };
            // Mostly what is kept, so that the limits are reached as well.
            let reach = if next(4) == 0 { alphabet.len() } else { 13 };
            let text: Vec<u8> = (0..next(48)).map(|_| alphabet[next(reach)]).collect();
            let field = Part { text: &text, offset: 0 };
            let are = are_tokens(&field, delimiters);
            assert_eq!(are, are_tokens_by_parts(&field, delimiters), "{}", text.escape_ascii());
            kept += u32::from(are);
        }
        assert!((2_000..18_000).contains(&kept), "{kept} of 20000 are kept");
    }
}
