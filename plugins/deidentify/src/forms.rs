//! What the codes of published systems look like: the same code comes as HL7v2, X12 and FHIR.

use crate::shape;

/// Characters of a code.
const CODE_CHARACTERS_MAX: usize = 40;
/// Digits before the check digit of LOINC.
const LOINC_DIGITS_MAX: usize = 6;
/// Letters of a unit that no list names.
const UNIT_LETTERS: usize = 4;
/// Characters of a unit.
const UNIT_CHARACTERS_MAX: usize = 30;
/// Words that are units, or what is counted, in small letters.
const UNIT_WORDS: [&str; 52] = [
    "beats",
    "breaths",
    "cells",
    "celsius",
    "colonies",
    "copies",
    "count",
    "counts",
    "degrees",
    "doses",
    "drops",
    "equiv",
    "fahrenheit",
    "grams",
    "hours",
    "inches",
    "index",
    "kelvin",
    "liter",
    "liters",
    "meter",
    "meters",
    "minute",
    "minutes",
    "moles",
    "month",
    "months",
    "number",
    "ounce",
    "ounces",
    "percent",
    "pixels",
    "points",
    "pounds",
    "puffs",
    "ratio",
    "score",
    "second",
    "seconds",
    "spray",
    "sprays",
    "tablet",
    "tablets",
    "titer",
    "times",
    "units",
    "weeks",
    "years",
    "capsule",
    "capsules",
    "events",
    "years_old",
];

/// What the codes of a published system look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Of a system that HL7 keeps: no space, few digits, not in capitals with hyphens.
    Hl7,
    /// Digits, of which a limit is the greatest number.
    Digits(u8),
    /// SNOMED CT identifiers: 6 to 18 digits with a partition and a check digit.
    Snomed,
    /// Digits, a hyphen and a check digit, or a part or an answer with its letters before.
    Loinc,
    /// Four digits and a digit or letter.
    Cpt,
    /// A letter and four digits, or a modifier of two letters or digits.
    Hcpcs,
    /// A letter, two digits, and what follows a point.
    Icd10,
    /// Seven letters or digits.
    Pcs,
    /// Three digits, or two or three after a letter, and what follows a point.
    Icd9,
    /// Digits and hyphens.
    Ndc,
    /// A unit: no space.
    Unit,
    /// No space, and few digits.
    Token,
    /// `text/plain` and the like.
    Mime,
    /// A language.
    Language,
    /// `urn:oid:` and a unique identifier that DICOM registers.
    Uid,
}

impl Form {
    /// The form that a table names.
    pub(crate) fn named(name: &str) -> Option<Form> {
        Some(match name {
            "hl7" => Form::Hl7,
            "digits" => Form::Digits(CODE_DIGITS),
            "vaccine" => Form::Digits(VACCINE_DIGITS),
            "snomed" => Form::Snomed,
            "loinc" => Form::Loinc,
            "cpt" => Form::Cpt,
            "hcpcs" => Form::Hcpcs,
            "icd10" => Form::Icd10,
            "pcs" => Form::Pcs,
            "icd9" => Form::Icd9,
            "ndc" => Form::Ndc,
            "unit" => Form::Unit,
            "token" => Form::Token,
            "mime" => Form::Mime,
            "language" => Form::Language,
            "uid" => Form::Uid,
            _ => return None,
        })
    }

    /// Whether octets are a code of this form, and not several words that may be a name.
    pub(crate) fn takes(self, code: &[u8]) -> bool {
        let is_code = std::str::from_utf8(code).is_ok_and(|code| self.fits(code));
        is_code && !(self == Form::Token && shape::are_names(code))
    }

    /// Whether a code is of this form.
    pub(crate) fn fits(self, code: &str) -> bool {
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        let is_upper = |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit();
        if code.len() > CODE_CHARACTERS_MAX {
            return false;
        }
        match self {
            Form::Digits(most) => are_digits(code) && code.len() <= usize::from(most),
            Form::Snomed => is_snomed(code),
            Form::Loinc => is_loinc(code),
            Form::Cpt => is_cpt(code),
            Form::Hcpcs => {
                let is_modifier = code.len() == 2 && code.bytes().all(is_upper);
                let rest = code.strip_prefix(|first: char| first.is_ascii_uppercase());
                is_modifier || is_cpt(code) || rest.is_some_and(|rest| rest.len() == 4 && are_digits(rest))
            }
            Form::Icd10 => is_icd(code, ICD10_CHARACTERS, |first| first.is_ascii_uppercase()),
            Form::Pcs => code.len() == 7 && code.bytes().all(is_upper),
            Form::Icd9 => {
                is_icd(code, ICD9_CHARACTERS, |first| first.is_ascii_digit() || matches!(first, 'E' | 'V'))
            }
            Form::Ndc => is_ndc(code),
            Form::Unit => is_unit(code),
            Form::Token => is_token(code),
            Form::Hl7 => is_token(code) && !shape::are_names(code.as_bytes()) || is_small(code),
            Form::Mime => is_mime(code),
            Form::Language => is_language(code),
            Form::Uid => code
                .strip_prefix("urn:oid:")
                .is_some_and(|uid| crate::dicom::is_registered_uid(uid.as_bytes())),
        }
    }
}

/// Digits of codes that are numbers: RxNorm has seven.
const CODE_DIGITS: u8 = 7;
/// Characters of codes of ICD-10 and ICD-9, without the point.
const ICD10_CHARACTERS: usize = 7;
const ICD9_CHARACTERS: usize = 5;
/// Digits of CVX.
const VACCINE_DIGITS: u8 = 3;

/// Whether a code is in small letters, as most of FHIR's are: `entered-in-error`.
fn is_small(code: &str) -> bool {
    is_token(code)
        && code.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}

/// A labeler, a product and, if it is there, a package, each with as many digits as there are; or ten or eleven digits.
fn is_ndc(code: &str) -> bool {
    let mut parts = code.split('-').map(str::len);
    let are_parts = matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some(10 | 11), None, None, None) | (Some(4 | 5), Some(3 | 4), None | Some(1 | 2), None)
    );
    are_parts && code.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-')
}

fn is_cpt(code: &str) -> bool {
    code.len() == 5
        && code.bytes().take(4).all(|octet| octet.is_ascii_digit())
        && code.bytes().all(|octet| octet.is_ascii_digit() || octet.is_ascii_uppercase())
}

/// Three characters, of which the second is a digit, and up to four after a point, which may be left out. Marks of the German modification
/// may follow.
fn is_icd(code: &str, most: usize, is_first: fn(char) -> bool) -> bool {
    let code = code.trim_end_matches(['+', '*', '!', '-']);
    let (category, rest) = match code.split_once('.') {
        Some((category, rest)) if !rest.is_empty() => (category, rest),
        Some(_) => return false,
        None => (code, ""),
    };
    let is_upper = |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit();
    category.len() + rest.len() <= most
        && code.starts_with(is_first)
        && category.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        && category.bytes().chain(rest.bytes()).all(is_upper)
        && rest.len() <= 4
}

fn is_loinc(code: &str) -> bool {
    let numbers =
        code.strip_prefix("LP").or_else(|| code.strip_prefix("LA")).or_else(|| code.strip_prefix("LG"));
    let (number, check) = numbers.unwrap_or(code).split_once('-').unwrap_or_default();
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    are_digits(number) && number.len() <= LOINC_DIGITS_MAX && are_digits(check) && check.len() == 1
}

/// Whether a text is an identifier of SNOMED CT: a partition that there is, and a check digit by Verhoeff's dihedral scheme (SNOMED CT
/// Technical Implementation Guide, SCTID).
fn is_snomed(code: &str) -> bool {
    const PERMUTED: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    // Multiplication in the dihedral group of order ten.
    let times = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    if !(6..=18).contains(&code.len()) || !code.bytes().all(|octet| octet.is_ascii_digit()) {
        return false;
    }
    let partition = &code[code.len() - 3..code.len() - 1];
    let sum = code
        .bytes()
        .rev()
        .zip(PERMUTED.iter().cycle())
        .fold(0, |sum, (octet, permuted)| times(sum, permuted[usize::from(octet - b'0')]));
    matches!(partition, "00" | "01" | "02" | "10" | "11" | "12") && sum == 0
}

/// Whether a text has neither spaces nor many digits, and none of the forms of what somebody is known by.
pub(crate) fn is_token(text: &str) -> bool {
    shape::is_code(text.as_bytes())
}

/// Whether a text is a unit, by UCUM or as people write it: no space, and no word that is not known to be one.
pub(crate) fn is_unit(text: &str) -> bool {
    let is_known = |word: &str| UNIT_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
    let is_word = |word: &str| word.len() <= UNIT_LETTERS || is_known(word);
    text.len() <= UNIT_CHARACTERS_MAX
        && is_token(text)
        && (is_known(text) || text.split(|c: char| !c.is_ascii_alphabetic()).all(is_word))
}

/// Whether a text is the name of a language (BCP 47): at most its language, script and region.
pub(crate) fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    let is_language =
        matches!(language.len(), 2 | 3) && language.bytes().all(|octet| octet.is_ascii_lowercase());
    let is_part = |part: &str| match part.len() {
        2 => part.bytes().all(|octet| octet.is_ascii_uppercase()),
        3 => part.bytes().all(|octet| octet.is_ascii_digit()),
        4 => {
            part.starts_with(|first: char| first.is_ascii_uppercase())
                && part.bytes().skip(1).all(|octet| octet.is_ascii_lowercase())
        }
        _ => false,
    };
    is_language && parts.clone().count() <= 2 && parts.all(is_part)
}

/// Whether a text is a media type without parameters, of a registered top level (RFC 6838 section 4.2).
pub(crate) fn is_mime(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["application", "audio", "image", "multipart", "text", "video"];
    let (level, sub) = text.split_once('/').unwrap_or_default();
    LEVELS.contains(&level) && is_token(sub) && sub.len() <= CODE_CHARACTERS_MAX && !sub.contains([';', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_form_of_their_system() {
        for (form, code) in [
            (Form::Snomed, "44054006"),
            (Form::Snomed, "73211009"),
            (Form::Snomed, "260385009"),
            (Form::Snomed, "900000000000207008"),
            (Form::Snomed, "424144002"),
            (Form::Loinc, "8867-4"),
            (Form::Loinc, "LP29684-5"),
            (Form::Cpt, "99213"),
            (Form::Cpt, "0001A"),
            (Form::Hcpcs, "J3490"),
            (Form::Icd10, "E11.9"),
            (Form::Icd10, "S72.001A"),
            (Form::Icd10, "G35"),
            (Form::Icd10, "I1090"),
            (Form::Icd9, "250.00"),
            (Form::Icd9, "V30.00"),
            (Form::Pcs, "0DTJ4ZZ"),
            (Form::Ndc, "00310-0751"),
            (Form::Ndc, "0069-2587-68"),
            (Form::Ndc, "00069258768"),
            (Form::Unit, "mm[Hg]"),
            (Form::Unit, "10*3/uL"),
            (Form::Unit, "{beats}/min"),
            (Form::Language, "zh-Hans-CN"),
            (Form::Hl7, "entered-in-error"),
            (Form::Hl7, "AMB"),
        ] {
            assert!(form.fits(code), "{form:?} {code}");
        }
        for (form, code) in [
            (Form::Snomed, "123456789"),
            (Form::Snomed, "5551234567"),
            (Form::Loinc, "Jane"),
            (Form::Loinc, "123-45-6789"),
            (Form::Cpt, "JANE.DOE@x.org"),
            (Form::Cpt, "JANED"),
            (Form::Icd10, "JANE"),
            (Form::Icd10, "J1234567"),
            (Form::Icd9, "1234567"),
            (Form::Ndc, "123-45-6789"),
            (Form::Ndc, "123456789"),
            (Form::Unit, "Janedoe"),
            (Form::Unit, "{JaneDoe}"),
            (Form::Language, "JaneDoe"),
            (Form::Language, "en-Doe-Jane4711"),
            (Form::Hl7, "DOE-JANE"),
            (Form::Hl7, "123456789"),
            (Form::Mime, "Jane/Doe"),
            (Form::Digits(CODE_DIGITS), "123456789"),
        ] {
            assert!(!form.fits(code), "{form:?} {code}");
        }
    }
}
