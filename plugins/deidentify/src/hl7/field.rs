//! What each action makes of a field.

use hilum_formats::hl7::{Delimiters, Part, Segment};

use super::table::Action;
use crate::pseudonym::{STAFF, patient, short, trim};
use crate::{Config, PatientId, Pseudonyms, Refusal, Staff};

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
const AGES: [&[u8]; 6] = [b"30525-0", b"21611-9", b"21612-7", b"29553-5", b"35659-2", b"63900-5"];

/// Cleans the fields of one segment.
pub(super) struct Cleaner<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: &'a dyn Pseudonyms,
    /// The year of MSH-7, from which ages are counted.
    pub(super) message_year: Option<u16>,
    pub(super) segment: &'a Segment<'a>,
}

impl Cleaner<'_> {
    /// What stands for a field; none to leave it as it is.
    pub(super) fn clean(&self, action: Action, field: &Part<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let delimiters = self.segment.delimiters();
        let each = |clean: &dyn Fn(&Part<'_>) -> Result<Vec<u8>, Refusal>| {
            let cleaned: Result<Vec<_>, _> =
                field.repetitions(&delimiters).map(|part| clean(&part)).collect();
            Ok::<_, Refusal>(Some(join(&cleaned?, delimiters.repetition)))
        };
        match action {
            Action::Keep => Ok(None),
            Action::Empty => Ok(Some(Vec::new())),
            Action::Token if are_tokens(field, &delimiters) => Ok(None),
            Action::Token => Ok(Some(Vec::new())),
            Action::MessageType => each(&|part| Ok(message_type(part, &delimiters))),
            Action::Code => each(&|part| Ok(code(part, &delimiters, false))),
            Action::Service => each(&|part| Ok(code(part, &delimiters, true))),
            Action::Year => each(&|part| Ok(self.years(part, &delimiters))),
            Action::Birth => Ok(Some(self.birth(field, &delimiters))),
            Action::Patient => each(&|part| self.patient(part, &delimiters)),
            Action::Identifier(domain) => each(&|part| self.identifier(domain, part, &delimiters)),
            Action::Name => Ok(Some(pseudo_name(&delimiters))),
            Action::Region => each(&|part| Ok(region(part, &delimiters))),
            Action::Staff if self.config.staff == Staff::Keep => Ok(None),
            Action::Staff => each(&|part| self.staff(part, &delimiters)),
            Action::Unit => each(&|part| Ok(unit(part, &delimiters))),
            Action::Value => self.value(field, &delimiters),
            Action::Range => Ok(only(field, b"0123456789.<>=+- ^")),
        }
    }

    /// The year of each component: DT, TS and DTM have one, DR two. No year is so long ago that it must be a birth's.
    fn years(&self, part: &Part<'_>, delimiters: &Delimiters) -> Vec<u8> {
        let year = |component: Part<'_>| {
            let year = year_of(component.text)?;
            Some(self.message_year.map_or(year, |now| aggregated(year, now)).to_string().into_bytes())
        };
        let years = part.components(delimiters).map(|component| year(component).unwrap_or_default());
        join_used(years.collect(), delimiters.component)
    }

    fn birth(&self, field: &Part<'_>, delimiters: &Delimiters) -> Vec<u8> {
        let year = year_of(field.component(1, delimiters).text);
        let (Some(year), Some(now)) = (year, self.message_year) else { return Vec::new() };
        aggregated(year, now).to_string().into_bytes()
    }

    /// A patient's pseudonym and the type of the identifier (CX.5); whose it was does not go on.
    fn patient(&self, part: &Part<'_>, delimiters: &Delimiters) -> Result<Vec<u8>, Refusal> {
        if self.config.patient_id == PatientId::Empty {
            return Ok(Vec::new());
        }
        let identifier = patient(self.keys, &part.component(1, delimiters).decode(delimiters))?;
        let kind = Some(part.component(5, delimiters)).filter(is_identifier_type);
        let mut cleaned = vec![Vec::new(); 5];
        cleaned[4] =
            kind.filter(|_| !identifier.is_empty()).map(|kind| kind.text.to_vec()).unwrap_or_default();
        cleaned[0] = identifier.into_bytes();
        Ok(join_used(cleaned, delimiters.component))
    }

    fn identifier(&self, domain: &str, part: &Part<'_>, delimiters: &Delimiters) -> Result<Vec<u8>, Refusal> {
        let identifier = part.component(1, delimiters).decode(delimiters);
        Ok(short(self.keys, domain, &identifier)?.into_bytes())
    }

    /// A pseudonym of the number or, without one, of the name.
    fn staff(&self, part: &Part<'_>, delimiters: &Delimiters) -> Result<Vec<u8>, Refusal> {
        let number = part.component(1, delimiters).decode(delimiters);
        let known_by = if trim(&number).is_empty() { part.text } else { &number };
        if known_by.iter().all(|octet| *octet == delimiters.component || *octet == b' ') {
            return Ok(Vec::new());
        }
        Ok(short(self.keys, STAFF, known_by)?.into_bytes())
    }

    /// OBX-5, by OBX-2 (HL7 table 0125): coded and numerical values go on, text and everything else does not.
    fn value(&self, field: &Part<'_>, delimiters: &Delimiters) -> Result<Option<Vec<u8>>, Refusal> {
        let kind = self.segment.field(2).unwrap_or_default();
        match kind.text {
            b"NM" if self.is_age() && is_over_age_max(field.text) => Ok(Some(Vec::new())),
            b"NM" if !are_tokens(field, delimiters) => Ok(Some(Vec::new())),
            b"NM" => Ok(only(field, b"0123456789.+-eE")),
            b"SN" if self.is_age() => Ok(Some(Vec::new())),
            b"SN" if are_tokens(field, delimiters) => Ok(only(field, b"0123456789.<>=+-/:^")),
            b"CE" | b"CWE" | b"CNE" | b"CF" => self.clean(Action::Code, field),
            b"ID" | b"IS" | b"MO" | b"CP" | b"SI" => self.clean(Action::Token, field),
            b"DT" | b"TS" | b"DTM" | b"DR" => self.clean(Action::Year, field),
            _ => Ok(Some(Vec::new())),
        }
    }

    /// Whether OBX-3 says that the value is an age.
    fn is_age(&self) -> bool {
        let delimiters = self.segment.delimiters();
        let observation = self.segment.field(3).unwrap_or_default();
        let text = observation.text.to_ascii_lowercase();
        let mut words = text.split(|octet| !octet.is_ascii_alphanumeric());
        AGES.contains(&observation.component(1, &delimiters).text) || words.any(|word| word == b"age")
    }
}

/// The components of a message type that have its form; free text there would reach every reader.
fn message_type(part: &Part<'_>, delimiters: &Delimiters) -> Vec<u8> {
    let is_code = |text: &[u8]| {
        text.len() <= MESSAGE_TYPE_OCTETS_MAX
            && text.iter().all(|o| o.is_ascii_uppercase() || o.is_ascii_digit() || *o == b'_')
    };
    let components = part.components(delimiters);
    let kept = components
        .map(|component| if is_code(component.text) { component.text.to_vec() } else { Vec::new() });
    join_used(kept.collect(), delimiters.component)
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
fn code(part: &Part<'_>, delimiters: &Delimiters, words: bool) -> Vec<u8> {
    let parts: Vec<Part<'_>> = part.components(delimiters).take(6).collect();
    let mut cleaned = Vec::with_capacity(6);
    for triplet in parts.chunks(3) {
        let system = triplet.get(2).is_some_and(|system| is_code(system, delimiters));
        match triplet {
            [code, rest @ ..] if is_code(code, delimiters) && (system || words || !is_word(code)) => {
                cleaned.push(code.text.to_vec());
                cleaned.extend(rest.iter().map(|part| if system { part.text.to_vec() } else { Vec::new() }));
            }
            triplet => cleaned.extend(triplet.iter().map(|_| Vec::new())),
        }
    }
    join_used(cleaned, delimiters.component)
}

/// State or province and country (XAD.4 and XAD.6), as the short codes that they are.
fn region(part: &Part<'_>, delimiters: &Delimiters) -> Vec<u8> {
    let short = |component: &Part<'_>| {
        component.text.len() <= 3 && component.text.iter().all(u8::is_ascii_alphabetic)
    };
    let cleaned = (1..).zip(part.components(delimiters).take(6)).map(|(number, component)| {
        if matches!(number, 4 | 6) && short(&component) { component.text.to_vec() } else { Vec::new() }
    });
    join_used(cleaned.collect(), delimiters.component)
}

/// The first component of a location: point of care, without room and bed.
fn unit(part: &Part<'_>, delimiters: &Delimiters) -> Vec<u8> {
    let unit = part.component(1, delimiters);
    if is_token(&unit, delimiters) { unit.text.to_vec() } else { Vec::new() }
}

/// `^^^^^^S`: a coded pseudo-name that stands for nobody in particular (HL7 table 0200).
fn pseudo_name(delimiters: &Delimiters) -> Vec<u8> {
    let mut name = vec![delimiters.component; 6];
    name.push(b'S');
    name
}

/// None, which keeps the field, if it has no octets but these; otherwise nothing.
fn only(field: &Part<'_>, octets: &[u8]) -> Option<Vec<u8>> {
    (!field.text.iter().all(|octet| octets.contains(octet))).then(Vec::new)
}

/// Whether every subcomponent of a field is empty or a token.
fn are_tokens(field: &Part<'_>, delimiters: &Delimiters) -> bool {
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

fn join(parts: &[Vec<u8>], delimiter: u8) -> Vec<u8> {
    parts.join(&delimiter)
}

/// Joined without the empty ones at the end.
fn join_used(mut parts: Vec<Vec<u8>>, delimiter: u8) -> Vec<u8> {
    while parts.last().is_some_and(Vec::is_empty) {
        parts.pop();
    }
    join(&parts, delimiter)
}
