//! Which concepts are ages, and when an age is over 89 (45 CFR 164.514(b)(2)(i)(C)): one list for DICOM, HL7v2 and FHIR.

/// Ages over 89 are given as this.
pub(crate) const MAX: u16 = 90;

/// Coding schemes, as DICOM and HL7v2 call them, and the codes of ages: of a person, at an onset, at a collection, at death, as reported,
/// estimated and calculated.
const CONCEPTS: [(&[u8], &[u8]); 17] = [
    (b"DCM", b"121033"),
    (b"LN", b"21611-9"),
    (b"LN", b"21612-7"),
    (b"LN", b"29553-5"),
    (b"LN", b"30525-0"),
    (b"LN", b"30972-4"),
    (b"LN", b"35659-2"),
    (b"LN", b"39016-1"),
    (b"LN", b"63900-5"),
    (b"LN", b"63901-3"),
    (b"NCIt", b"C25150"),
    (b"SCT", b"397669002"),
    (b"SCT", b"424144002"),
    (b"SCT", b"397659008"),
    (b"SCT", b"445518008"),
    (b"SCT", b"105727008"),
    (b"UMLS", b"C0001779"),
];
/// What stands before or after `age` in a word that is an age.
const BESIDE: [&str; 22] = [
    "at",
    "current",
    "diagnosis",
    "in",
    "maternal",
    "mother",
    "months",
    "of",
    "onset",
    "paternal",
    "patient",
    "pat",
    "pt",
    "reported",
    "subject",
    "the",
    "years",
    "year",
    "yr",
    "yrs",
    "y",
    "death",
];

/// Whether a code of a scheme is an age.
pub(crate) fn is_concept(scheme: &[u8], code: &[u8]) -> bool {
    CONCEPTS.contains(&(scheme, code))
}

/// Whether a code is an age in some scheme.
pub(crate) fn is_code(code: &[u8]) -> bool {
    CONCEPTS.iter().any(|(_, held)| *held == code)
}

/// Whether words say that something is an age: `Age`, `patientage`, `AgeAtOnset`, `years old`.
pub(crate) fn are_words(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    let mut before = "";
    words.any(|word| {
        let is_old = word.eq_ignore_ascii_case("old") && is_years(before);
        before = word;
        is_old || is_word(word)
    })
}

fn is_word(word: &str) -> bool {
    // Nearly all words are neither, and it is asked of every word beside every value.
    let has_age = word.as_bytes().windows(3).any(|part| part.eq_ignore_ascii_case(b"age"));
    if word.len() > 32 || !has_age {
        return word.eq_ignore_ascii_case("yearsold");
    }
    let word = word.to_ascii_lowercase();
    let are_beside = |text: &str| {
        let mut rest = text;
        while let Some(after) =
            BESIDE.iter().filter_map(|beside| rest.strip_prefix(beside)).min_by_key(|s| s.len())
        {
            rest = after;
        }
        rest.is_empty()
    };
    let ages = ["age", "ages", "aged"].into_iter();
    ages.flat_map(|age| word.match_indices(age))
        .any(|(at, age)| are_beside(&word[..at]) && are_beside(&word[at + age.len()..]))
}

/// How many of a unit the age is from which all are one; nothing for what is no unit of time.
pub(crate) fn limit(unit: &str) -> Option<u16> {
    let unit = unit.trim().to_ascii_lowercase();
    let in_a_year = match unit.as_str() {
        unit if is_years(unit) => 1,
        "mo" | "mos" | "mon" | "month" | "months" => 12,
        "wk" | "wks" | "week" | "weeks" => 52,
        "d" | "day" | "days" => 365,
        _ => return None,
    };
    Some(MAX * in_a_year)
}

/// Whether a unit is years, in UCUM or in words.
pub(crate) fn is_years(unit: &str) -> bool {
    const YEARS: [&str; 10] = ["a", "a_g", "a_j", "a_t", "y", "year", "years", "yr", "yrs", "year(s)"];
    YEARS.iter().any(|years| years.eq_ignore_ascii_case(unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_by_code_word_and_unit() {
        assert!(is_code(b"63901-3") && is_concept(b"SCT", b"424144002") && !is_code(b"8302-2"));
        for text in [
            "Age",
            "Patient age",
            "patientage",
            "PatientAge",
            "AgeAtOnset",
            "Onset age",
            "age_years",
            "Years old",
        ] {
            assert!(are_words(text), "{text}");
        }
        for text in
            ["Dosage", "percentage", "average", "image", "agent", "Stage", "Years of schooling", "drainage"]
        {
            assert!(!are_words(text), "{text}");
        }
        assert_eq!(
            (limit("a"), limit("yr"), limit("mo"), limit("mg")),
            (Some(90), Some(90), Some(1080), None)
        );
    }
}
