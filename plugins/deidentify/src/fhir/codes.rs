//! Codes: those of published systems go on, others may be anything.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::Config;

const SOURCE: &str = include_str!("../../data/fhir-code-systems.tsv");
/// Characters of a code.
const CODE_CHARACTERS_MAX: usize = 40;
/// Digits in a row that a code may have where its system does not say more; a longer one may be a date or somebody's number.
const DIGITS_MAX: usize = 7;
/// Letters that may be an abbreviation; more may be a name.
const WORD_LETTERS: usize = 4;

/// What the codes of a published system look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As [`Form::Token`], in each system whose URL begins so.
    Below,
    /// Digits.
    Digits,
    /// Digits, a hyphen and a check digit, or a part or an answer with its letters before.
    Loinc,
    /// Digits and hyphens.
    Ndc,
    /// A unit: no space.
    Unit,
    /// No space, and few digits in a row.
    Token,
    /// `text/plain` and the like.
    Mime,
    /// `urn:oid:` and a unique identifier that DICOM registers.
    Uid,
}

static SYSTEMS: LazyLock<BTreeMap<&'static str, Form>> = LazyLock::new(|| rows().filter_map(row).collect());

fn rows() -> impl Iterator<Item = &'static str> {
    SOURCE.lines().skip(1)
}

fn row(line: &'static str) -> Option<(&'static str, Form)> {
    let mut columns = line.split('\t');
    let system = columns.next()?;
    let form = match columns.next()? {
        "below" => Form::Below,
        "digits" => Form::Digits,
        "loinc" => Form::Loinc,
        "ndc" => Form::Ndc,
        "unit" => Form::Unit,
        "token" => Form::Token,
        "mime" => Form::Mime,
        "uid" => Form::Uid,
        _ => return None,
    };
    Some((system, form))
}

/// The form of a system's codes, if it is published or the hospital says that it may go on.
pub(super) fn form_of(system: &str, config: &Config) -> Option<Form> {
    if let Some(form) = SYSTEMS.get(system).filter(|form| **form != Form::Below) {
        return Some(*form);
    }
    let below = |(start, form): (&&str, &Form)| {
        let rest = system.strip_prefix(start).filter(|_| *form == Form::Below);
        // Below `sid/` are systems of people's numbers as well.
        rest.is_some_and(|rest| is_token(rest) && !rest.starts_with("sid/") && !rest.contains('|'))
    };
    let is_ours = || config.code_systems.iter().any(|ours| ours == system);
    (SYSTEMS.iter().any(below) || is_ours()).then_some(Form::Token)
}

impl Form {
    /// Whether a code is of this form.
    pub(super) fn fits(self, code: &str) -> bool {
        let all = |allowed: fn(&u8) -> bool| code.bytes().all(|octet| allowed(&octet));
        let is_short = (1..=CODE_CHARACTERS_MAX).contains(&code.len());
        is_short
            && match self {
                Form::Digits => code.len() <= 18 && all(u8::is_ascii_digit),
                Form::Loinc => is_loinc(code),
                Form::Ndc => code.len() <= 14 && all(|octet| octet.is_ascii_digit() || *octet == b'-'),
                Form::Unit => all(u8::is_ascii_graphic),
                Form::Below | Form::Token => is_token(code),
                Form::Mime => is_mime(code),
                Form::Uid => code
                    .strip_prefix("urn:oid:")
                    .is_some_and(|uid| crate::dicom::is_registered_uid(uid.as_bytes())),
            }
    }
}

fn is_loinc(code: &str) -> bool {
    let numbers =
        code.strip_prefix("LP").or_else(|| code.strip_prefix("LA")).or_else(|| code.strip_prefix("LG"));
    let (number, check) = numbers.unwrap_or(code).split_once('-').unwrap_or_default();
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    are_digits(number) && number.len() <= DIGITS_MAX && are_digits(check) && check.len() == 1
}

/// Whether a text has neither spaces nor many digits in a row.
pub(crate) fn is_token(text: &str) -> bool {
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default();
    !text.is_empty()
        && digits <= DIGITS_MAX
        && text.bytes().all(|o| o.is_ascii_graphic() && !b"\"\\".contains(&o))
}

/// Whether a unit may go on that no code stands for: as [`is_token`], and no word.
pub(crate) fn is_unit(text: &str) -> bool {
    let is_word = text.len() > WORD_LETTERS && text.bytes().all(|octet| octet.is_ascii_alphabetic());
    text.len() <= CODE_CHARACTERS_MAX / 2 && is_token(text) && !is_word
}

/// Whether a text is the name of a language (BCP 47): at most its language, script and region.
pub(super) fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    let is_language =
        matches!(language.len(), 2 | 3) && language.bytes().all(|octet| octet.is_ascii_lowercase());
    let mut rest =
        parts.map(|part| matches!(part.len(), 2..=4) && part.bytes().all(|o| o.is_ascii_alphanumeric()));
    is_language && rest.all(|is_part| is_part) && text.len() <= 11
}

/// Whether a text is a code of a currency (ISO 4217).
pub(super) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|octet| octet.is_ascii_uppercase())
}

/// Whether a text is a media type without parameters, of a registered top level (RFC 6838 section 4.2).
pub(super) fn is_mime(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["application", "audio", "image", "multipart", "text", "video"];
    let (level, sub) = text.split_once('/').unwrap_or_default();
    LEVELS.contains(&level) && is_token(sub) && sub.len() <= CODE_CHARACTERS_MAX && !sub.contains([';', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_system_and_a_known_form_once() {
        let mut seen = std::collections::BTreeSet::new();
        for line in rows() {
            let (system, _) = row(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(line.split('\t').count(), 3, "{line}");
            assert!(seen.insert(system), "{line} twice");
        }
        assert!(seen.len() > 40);
    }

    #[test]
    fn codes_have_the_form_of_their_system() {
        let fits = |system: &str, code: &str| {
            form_of(system, &Config::default()).is_some_and(|form| form.fits(code))
        };
        for (system, code) in [
            ("http://loinc.org", "8867-4"),
            ("http://loinc.org", "LP29684-5"),
            ("http://snomed.info/sct", "900000000000207008"),
            ("http://unitsofmeasure.org", "mm[Hg]"),
            ("http://hl7.org/fhir/sid/icd-10-cm", "E11.9"),
            ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB"),
            ("http://hl7.org/fhir/observation-status", "final"),
            ("urn:ietf:rfc:3986", "urn:oid:1.2.840.10008.5.1.4.1.1.2"),
        ] {
            assert!(fits(system, code), "{system} {code}");
        }
        for (system, code) in [
            ("http://loinc.org", "Jane"),
            ("http://snomed.info/sct", "Doe 4711"),
            ("http://st-marys.example/codes", "CT"),
            ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "123456789"),
            ("http://terminology.hl7.org/CodeSystem/", "AMB"),
            ("urn:ietf:rfc:3986", "urn:oid:1.2.3"),
            ("urn:iso:std:iso:3166", "Jane Doe"),
            ("http://hl7.org/fhir/sid/us-ssn", "123-45-6789"),
        ] {
            assert!(!fits(system, code), "{system} {code}");
        }
        let config =
            Config { code_systems: vec!["http://st-marys.example/codes".to_owned()], ..Config::default() };
        assert!(form_of("http://st-marys.example/codes", &config).is_some_and(|form| form.fits("CT")));
        assert!(is_unit("mmHg") && is_unit("10*3/uL") && !is_unit("Doeanna") && !is_unit("of Jane"));
        assert!(
            is_language("de-CH")
                && is_language("zh-Hans")
                && !is_language("Jane")
                && !is_language("en-Doe-Jane4711")
        );
        assert!(is_mime("text/plain") && !is_mime("Jane/Doe") && !is_mime("text/plain;name=Doe"));
    }
}
