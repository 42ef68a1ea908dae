//! Free text in messages, transactions and resources: nothing of it goes on, unless the hospital has a rule for the place where it stands.
//!
//! A place is called as its standard calls it: `NTE-3` in HL7v2, `NTE02` in X12, `Observation.valueString` or `Observation.note` in FHIR, and
//! `Narrative` for every narrative there.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::dicom::{Characters, Words};
use crate::{Config, fhir, hl7, x12};

/// What goes on of free text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextRule {
    /// Words of body parts and of the vocabulary, as in descriptions of DICOM objects.
    Words,
    /// All of it: somebody has looked and knows what is written there.
    Keep,
}

/// The rules of a stage.
#[derive(Debug)]
pub(crate) struct Texts<'c> {
    rules: &'c BTreeMap<String, TextRule>,
    vocabulary: &'c [String],
    /// Made when it is needed first.
    words: OnceCell<Words>,
}

impl<'c> Texts<'c> {
    pub(crate) fn new(config: &'c Config) -> Self {
        Texts { rules: &config.texts, vocabulary: &config.vocabulary, words: OnceCell::new() }
    }

    /// The rule for a place, whose name is made only if there are any.
    pub(crate) fn rule(&self, place: impl FnOnce() -> String) -> Option<TextRule> {
        if self.rules.is_empty() { None } else { self.rules.get(&place()).copied() }
    }

    /// The words of a text that may go on, with a space between them; none if there are none.
    pub(crate) fn words(&self, text: &[u8]) -> Option<String> {
        let words = self.words.get_or_init(|| Words::new(self.vocabulary));
        words.of(text, Characters::Utf8).and_then(|words| String::from_utf8(words).ok())
    }
}

/// Refuses rules for places that are not free text: a typing error would leave somebody waiting for what never comes.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let wrong = config.texts.keys().find(|place| !is_free_text(place));
    let Some(place) = wrong else { return Ok(()) };
    let what = "this is no free text that has a rule: name a field of HL7v2 (`NTE-3`, `OBX-5`), an element of X12 (`NTE02`, `K301`, `MSG01`) or a \
                string of FHIR (`Observation.valueString`, `Observation.note`, `Narrative`)";
    Err(ConfigError::new(format!("/texts/{}", place.replace('~', "~0").replace('/', "~1")), what))
}

fn is_free_text(place: &str) -> bool {
    hl7::is_free_text(place) || x12::is_free_text(place) || fhir::is_free_text(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonym::tests::TestKeys;

    fn ruled(rules: &[(&str, TextRule)]) -> Config {
        let texts = rules.iter().map(|(place, rule)| ((*place).to_owned(), *rule)).collect();
        let config = Config { texts, vocabulary: vec!["fracture".to_owned()], ..Config::default() };
        check(&config).unwrap();
        config
    }

    fn hl7(segments: &str, config: &Config) -> String {
        let message = format!("MSH|^~\\&|LAB|ST-MARYS|EHR|ST-MARYS|2026||ORU^R01|7|P|2.5.1\r{segments}");
        let left =
            String::from_utf8(hl7::deidentify(message.as_bytes(), config, &TestKeys(1)).unwrap()).unwrap();
        left.split_once('\r').unwrap().1.to_owned()
    }

    #[test]
    fn of_messages_goes_on_what_a_rule_says_and_nothing_without_one() {
        let segments = "OBX|1|TX|X1^^L||Fracture of Jane Doe\\.br\\left knee\r\
                        OBX|2|ED|X2^^L||^AP^^Base64^ZnJhY3R1cmU=\r\
                        NTE|1|L|No FRACTURE, Jane~Doe~knee 4711\r";
        let nothing = "OBX|1|TX|X1^^L||\rOBX|2|ED|X2^^L||\rNTE|1|L|\r";
        assert_eq!(hl7(segments, &Config::default()), nothing);
        let words = ruled(&[("OBX-5", TextRule::Words), ("NTE-3", TextRule::Words)]);
        let left = "OBX|1|TX|X1^^L||Fracture left knee\rOBX|2|ED|X2^^L||\rNTE|1|L|FRACTURE~~knee\r";
        assert_eq!(hl7(segments, &words), left);
        let kept = hl7(segments, &ruled(&[("NTE-3", TextRule::Keep)]));
        assert_eq!(kept, "OBX|1|TX|X1^^L||\rOBX|2|ED|X2^^L||\rNTE|1|L|No FRACTURE, Jane~Doe~knee 4711\r");
    }

    #[test]
    fn of_claims_goes_on_what_a_rule_says_and_nothing_without_one() {
        let claim = x12::tests::claim(&["K3*knee Jane", "NTE*ADD*fracture of Jane Doe", "NTE*Doe*Jane Doe"]);
        let left = |config: &Config| {
            let left = x12::deidentify(&claim, config, &TestKeys(1)).unwrap();
            let left = String::from_utf8(left).unwrap();
            left.split('~')
                .map(str::trim)
                .filter(|s| s.starts_with("K3") || s.starts_with("NTE"))
                .collect::<Vec<_>>()
                .join("~")
        };
        assert_eq!(left(&Config::default()), "");
        assert_eq!(left(&ruled(&[("NTE02", TextRule::Words)])), "NTE*ADD*fracture");
        let kept = ruled(&[("NTE02", TextRule::Keep), ("K301", TextRule::Words)]);
        assert_eq!(left(&kept), "K3*knee~NTE*ADD*fracture of Jane Doe~NTE*ADD*Jane Doe");
    }

    #[test]
    fn of_resources_goes_on_what_a_rule_says_and_nothing_without_one() {
        let report = serde_json::json!({
            "resourceType": "DiagnosticReport", "status": "final", "code": {"text": "Knee of Jane"},
            "conclusion": "Fracture of Jane Doe",
            "text": {"status": "generated", "div": "<div title=\"ankle\">Jane has a <b>fracture</b><head/></div>"}
        });
        let left = |config: &Config| -> serde_json::Value {
            let left = fhir::deidentify(report.to_string().as_bytes(), 2026, config, &TestKeys(1)).unwrap();
            serde_json::from_slice(&left).unwrap()
        };
        let without = left(&Config::default());
        assert_eq!((without.get("conclusion"), without.get("text")), (None, None));
        let words = left(&ruled(&[
            ("DiagnosticReport.conclusion", TextRule::Words),
            ("CodeableConcept.text", TextRule::Words),
            ("Narrative", TextRule::Words),
        ]));
        assert_eq!(words["conclusion"], "Fracture");
        assert_eq!(words["code"], serde_json::json!({"text": "Knee"}));
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\">fracture</div>";
        assert_eq!(words["text"], serde_json::json!({"status": "additional", "div": div}));
        let kept =
            left(&ruled(&[("Narrative", TextRule::Keep), ("DiagnosticReport.conclusion", TextRule::Keep)]));
        assert_eq!((&kept["text"], &kept["conclusion"]), (&report["text"], &report["conclusion"]));
    }

    #[test]
    fn only_places_of_free_text_have_rules() {
        let config = |place: &str| Config {
            texts: BTreeMap::from([(place.to_owned(), TextRule::Words)]),
            ..Config::default()
        };
        for place in [
            "NTE-3",
            "OBX-5",
            "PR1-4",
            "NTE02",
            "K301",
            "MSG01",
            "Observation.valueString",
            "Observation.note",
            "Narrative",
        ] {
            check(&config(place)).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        for place in [
            "PID-5",
            "MSH-8",
            "NTE-2",
            "NTE-x",
            "NTE-03",
            "ZZZ-1",
            "NTE01",
            "NM103",
            "Patient.birthDate",
            "Patient.name",
            "Observation",
            "",
        ] {
            assert_eq!(check(&config(place)).unwrap_err().at, format!("/texts/{place}"));
        }
    }
}
