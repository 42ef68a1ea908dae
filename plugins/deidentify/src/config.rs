//! What a stage may be told: which named key makes its pseudonyms, and what a patient's identifier becomes.

use serde::Deserialize;

/// The configuration of one stage, as JSON that fits [`SCHEMA`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the secret key, granted as `keys:<name>`, under which pseudonyms and unique identifiers are made.
    /// Stages with the same key agree on them; stages with different keys cannot be linked.
    pub key: String,
    /// What a patient's identifier becomes.
    pub patient_id: PatientId,
    /// What happens to an image that says of itself that identifying text is burned into its pixels.
    pub burned_in_annotation: BurnedInAnnotation,
}

/// What a patient's identifier becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatientId {
    /// A keyed pseudonym: the same patient is recognised again, by nobody outside.
    #[default]
    Pseudonym,
    /// Empty.
    Empty,
}

/// What happens to an image whose Burned In Annotation (0028,0301) is `YES`.
///
/// The Basic Profile does not clean pixels (that is the Clean Pixel Data Option, PS3.15 E.3.1), so such an image
/// would leave with the patient's name in the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BurnedInAnnotation {
    /// The record is refused.
    #[default]
    Refuse,
    /// The pixels go on as they are: for flows whose images are cleaned elsewhere.
    Pass,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            key: "research".to_owned(),
            patient_id: PatientId::default(),
            burned_in_annotation: BurnedInAnnotation::default(),
        }
    }
}

impl Config {
    /// Reads a configuration; the host has checked it against [`SCHEMA`] already, a native test has not.
    ///
    /// # Errors
    /// What serde says is wrong with the JSON.
    pub fn parse(json: &str) -> Result<Config, serde_json::Error> {
        if json.trim().is_empty() { Ok(Config::default()) } else { serde_json::from_str(json) }
    }
}

/// JSON Schema of the configuration.
pub const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "key": {
      "type": "string", "minLength": 1, "default": "research",
      "description": "Name of the secret key for pseudonyms and unique identifiers; grant it as keys:<name>."
    },
    "patient_id": {
      "enum": ["pseudonym", "empty"], "default": "pseudonym",
      "description": "What a patient's identifier becomes."
    },
    "burned_in_annotation": {
      "enum": ["refuse", "pass"], "default": "refuse",
      "description": "What happens to an image that says that text is burned into its pixels."
    }
  }
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(Config::parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn every_setting_of_the_schema_is_read_and_no_other() {
        let json = r#"{"key":"k2","patient_id":"empty","burned_in_annotation":"pass"}"#;
        let config = Config::parse(json).unwrap();
        assert_eq!(config.key, "k2");
        assert_eq!(config.patient_id, PatientId::Empty);
        assert_eq!(config.burned_in_annotation, BurnedInAnnotation::Pass);
        assert!(Config::parse(r#"{"patientid":"empty"}"#).is_err());

        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let named: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(named, ["burned_in_annotation", "key", "patient_id"]);
    }
}
