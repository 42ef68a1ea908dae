//! The configuration, and what a JSON Schema cannot say of it.

use hilum_formats::sealed::{ORIGINAL_CONTENT_TYPE, RECORD_ID, RECORD_SOURCE, SEALED_FIELDS};
use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::fields::FieldSettings;

/// Recipients of one message (the broker's limit).
pub(crate) const RECIPIENTS_MAX: usize = 64;

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names of identities or stakeholders; the stage needs the grant `recipient:NAME` for each.
    pub recipients: Vec<String>,
    /// Fields that are sealed in records of formats that have some here; of all others the whole body is.
    #[serde(default)]
    pub fields: FieldSettings,
    /// Attributes that stay in the clear beside the sealed body.
    #[serde(default)]
    pub keep_attributes: Vec<String>,
    /// Whether the record's key stays in the clear.
    #[serde(default)]
    pub keep_key: bool,
    /// Whether an attribute says who the record comes from.
    #[serde(default)]
    pub keep_source: bool,
    /// Labels that a sealed record no longer carries, because who holds it cannot read it.
    #[serde(default)]
    pub removes: Vec<String>,
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.recipients.is_empty() || self.recipients.len() > RECIPIENTS_MAX {
            let reason = format!("name 1 to {RECIPIENTS_MAX} recipients");
            return Err(ConfigError::new("/recipients", reason));
        }
        for (index, name) in self.recipients.iter().enumerate() {
            if name.is_empty() || self.recipients[..index].contains(name) {
                let reason = "name each recipient once, by the name of its identity or stakeholder";
                return Err(ConfigError::new(format!("/recipients/{index}"), reason));
            }
        }
        let ours = [ORIGINAL_CONTENT_TYPE, SEALED_FIELDS, RECORD_SOURCE, RECORD_ID];
        let ours = |name: &String| ours.contains(&name.as_str());
        if let Some(index) = self.keep_attributes.iter().position(ours) {
            let reason = "this attribute is set here, and says what is sealed or which record it is";
            return Err(ConfigError::new(format!("/keep_attributes/{index}"), reason));
        }
        let has_fields = !self.fields.hl7v2.is_empty() || !self.fields.fhir.is_empty();
        if has_fields && !self.removes.is_empty() {
            let reason = "what is not among `fields` stays in the clear and could still reveal what these labels stand for; remove none";
            return Err(ConfigError::new("/removes", reason));
        }
        let keeps = self.keep_key || self.keep_source || !self.keep_attributes.is_empty();
        if !self.removes.is_empty() && keeps {
            let reason = "a key, a source or attributes kept in the clear could still reveal what these labels stand for; keep none";
            return Err(ConfigError::new("/removes", reason));
        }
        Ok(())
    }
}
