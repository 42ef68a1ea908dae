//! JSON Schemas of configurations. A fault is told with the JSON Pointer of the value that has it.

use jsonschema::Validator;
use serde_json::Value;

use crate::plugin::clip;

/// Faults of one configuration that are reported at once.
const FAULTS_MAX: usize = 8;

/// A compiled schema.
pub(crate) struct Schema {
    document: Value,
    validator: Validator,
}

/// A value of a configuration that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// JSON Pointer (RFC 6901) to the value; empty for the whole.
    pub(crate) at: String,
    /// What is wrong.
    pub(crate) reason: String,
}

impl Schema {
    /// Compiles a schema. A reference to anything outside of it is an error: nothing is fetched.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text)
            .map_err(|error| format!("its configuration schema is not JSON: {error}"))?;
        let validator = jsonschema::validator_for(&document)
            .map_err(|error| format!("its configuration schema is not a JSON Schema: {error}"))?;
        Ok(Self { document, validator })
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// All faults of a configuration, up to a bound.
    pub(crate) fn faults(&self, config: &Value) -> Vec<ConfigFault> {
        let fault = |error: jsonschema::ValidationError<'_>| ConfigFault {
            at: error.instance_path().to_string(),
            reason: clip(&error.to_string(), 256).to_owned(),
        };
        self.validator.iter_errors(config).take(FAULTS_MAX).map(fault).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_found_with_their_place() {
        let schema = r#"{"type": "object", "properties": {"a": {"items": {"type": "integer"}}}}"#;
        let schema = Schema::compile(schema).unwrap();
        assert!(schema.faults(&json!({"a": [1, 2]})).is_empty());
        assert_eq!(schema.faults(&json!({"a": [1, "x"]}))[0].at, "/a/1");
    }

    #[test]
    fn a_schema_that_refers_elsewhere_is_refused() {
        assert!(Schema::compile(r#"{"$ref": "https://example.org/schema.json"}"#).is_err());
        assert!(Schema::compile("{").is_err());
    }
}
