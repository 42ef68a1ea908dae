//! Codes: those of published systems go on, others may be anything.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::Config;
use crate::forms::Form;

const SOURCE: &str = include_str!("../../data/fhir-code-systems.tsv");
/// What URLs of systems of FHIR and of HL7 begin with.
const BELOW: [&str; 2] = ["http://hl7.org/fhir/", "http://terminology.hl7.org/CodeSystem/"];
/// What URLs of definitions begin with.
const DEFINITIONS: &str = "http://hl7.org/fhir/";
/// Letters in a row of the name of a system or a definition, and digits.
const NAME_CHARACTERS_MAX: usize = 80;
const NAME_DIGITS_MAX: usize = 5;

static SYSTEMS: LazyLock<BTreeMap<&'static str, Form>> = LazyLock::new(|| rows().filter_map(row).collect());

fn rows() -> impl Iterator<Item = &'static str> {
    SOURCE.lines().skip(1)
}

fn row(line: &'static str) -> Option<(&'static str, Form)> {
    let mut columns = line.split('\t');
    Some((columns.next()?, Form::named(columns.next()?)?))
}

/// The form of a system's codes, if it is published or the hospital says that it may go on.
pub(super) fn form_of(system: &str, config: &Config) -> Option<Form> {
    if let Some(form) = SYSTEMS.get(system) {
        return Some(*form);
    }
    let [fhir, hl7] = BELOW;
    let is_fhir = || {
        let name = system.strip_prefix(fhir)?;
        let own = name.strip_prefix("us/core/CodeSystem/").unwrap_or(name);
        let parts = own.split_once('/').filter(|(start, _)| matches!(*start, "v2" | "v3"));
        // Below `sid/` are systems of people's numbers as well.
        match parts {
            Some((_, table)) => is_name(table),
            None => is_name(own) && own.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'-'),
        }
        .then_some(Form::Hl7)
    };
    let is_hl7 = || system.strip_prefix(hl7).is_some_and(is_name).then_some(Form::Hl7);
    let is_ours = || config.code_systems.iter().any(|ours| ours == system).then_some(Form::Token);
    is_fhir().or_else(is_hl7).or_else(is_ours)
}

/// Whether a text is what HL7 calls systems and definitions: letters, hyphens and few digits, and no names in capitals.
fn is_name(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_capitals = |word: &str| word.len() > 2 && word.bytes().all(|octet| octet.is_ascii_uppercase());
    !text.is_empty()
        && text.len() <= NAME_CHARACTERS_MAX
        && digits <= NAME_DIGITS_MAX
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
        && text.split('-').filter(|word| is_capitals(word)).count() < 2
}

/// Whether a text is the address of a definition of HL7: `http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient|3.1.1`.
pub(super) fn is_definition(text: &str) -> bool {
    let Some(path) = text.strip_prefix(DEFINITIONS) else { return false };
    let (path, version) = path.split_once('|').unwrap_or((path, "1"));
    let (guide, name) = path.split_once("StructureDefinition/").unwrap_or_default();
    let is_lower = |part: &str| !part.is_empty() && part.bytes().all(|o| o.is_ascii_lowercase() || o == b'-');
    let is_first = |first: char| first.is_ascii_lowercase();
    version.len() <= 12
        && version.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.')
        && !crate::shape::identifies(version.as_bytes())
        && (guide.is_empty() || guide.strip_suffix('/').is_some_and(|guide| guide.split('/').all(is_lower)))
        && is_name(name)
        && (name.starts_with(is_first) || super::table::resource_type(name).is_some())
}

/// Whether a text is a code of a currency (ISO 4217).
pub(super) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|octet| octet.is_ascii_uppercase())
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
        assert!(seen.len() >= 40);
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
            ("http://hl7.org/fhir/Jane-Doe/123-45-6789", "final"),
            ("http://hl7.org/fhir/observation-status", "DOE-JANE"),
            ("http://www.ama-assn.org/go/cpt", "JANE.DOE@x.org"),
            ("http://snomed.info/sct", "123456789"),
            ("urn:ietf:bcp:47", "JaneDoe"),
        ] {
            assert!(!fits(system, code), "{system} {code}");
        }
        let config =
            Config { code_systems: vec!["http://st-marys.example/codes".to_owned()], ..Config::default() };
        assert!(form_of("http://st-marys.example/codes", &config).is_some_and(|form| form.fits("CT")));
        for text in [
            "http://hl7.org/fhir/StructureDefinition/bodyweight",
            "http://hl7.org/fhir/StructureDefinition/Patient|4.0.1",
        ] {
            assert!(is_definition(text), "{text}");
        }
        for text in [
            "http://hl7.org/fhir/DOE",
            "http://hl7.org/fhir/StructureDefinition/Doe",
            "http://hl7.org/fhir/JANE/StructureDefinition/x",
        ] {
            assert!(!is_definition(text), "{text}");
        }
    }
}
