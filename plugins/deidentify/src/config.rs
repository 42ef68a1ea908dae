//! What a stage may be told: which named key makes its pseudonyms, and what a patient's identifier becomes.

use std::collections::BTreeMap;

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
    /// What happens to the names and numbers of staff in HL7v2 messages and X12 claims.
    pub staff: Staff,
    /// HL7v2 segments that the standard does not define (`ZPI`) and what happens to each; all others are refused.
    pub local_segments: BTreeMap<String, LocalSegment>,
    /// Names of the record's attributes that go on. All others are dropped, since they may hold what the body no longer does.
    pub attributes: Vec<String>,
}

/// What happens to the names and numbers of the people who treat a patient.
///
/// They are not among the identifiers of 45 CFR 164.514(b)(2), but they narrow down where and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staff {
    /// A keyed pseudonym instead of the number, and no name.
    #[default]
    Pseudonym,
    /// As they stand.
    Keep,
}

/// What happens to an HL7v2 segment that the standard does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalSegment {
    /// It is left out.
    Remove,
    /// It goes on as it is: somebody has looked and says that it identifies nobody.
    Keep,
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
            staff: Staff::default(),
            local_segments: BTreeMap::new(),
            attributes: Vec::new(),
        }
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
    },
    "staff": {
      "enum": ["pseudonym", "keep"], "default": "pseudonym",
      "description": "What happens to names and numbers of staff in HL7v2 messages and X12 claims."
    },
    "local_segments": {
      "type": "object", "default": {},
      "propertyNames": { "pattern": "^Z[A-Z0-9]{2}$" },
      "additionalProperties": { "enum": ["remove", "keep"] },
      "description": "HL7v2 Z segments and what happens to each; any other is refused."
    },
    "attributes": {
      "type": "array", "items": { "type": "string", "minLength": 1 }, "maxItems": 32, "default": [],
      "description": "Attributes of the record's head that go on; all others are dropped."
    }
  }
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }

    #[test]
    fn every_setting_of_the_schema_is_read_and_no_other() {
        let json = r#"{"key":"k2","patient_id":"empty","burned_in_annotation":"pass",
            "staff":"keep","local_segments":{"ZPI":"remove"},"attributes":["modality"]}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        assert_eq!(config.attributes, ["modality"]);
        assert_eq!(config.key, "k2");
        assert_eq!(config.patient_id, PatientId::Empty);
        assert_eq!(config.burned_in_annotation, BurnedInAnnotation::Pass);
        assert_eq!(config.staff, Staff::Keep);
        assert_eq!(config.local_segments["ZPI"], LocalSegment::Remove);
        assert!(serde_json::from_str::<Config>(r#"{"patientid":"empty"}"#).is_err());

        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let named: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(
            named,
            ["attributes", "burned_in_annotation", "key", "local_segments", "patient_id", "staff"]
        );
    }
}
