//! The configuration, and what a JSON Schema cannot say of it.

use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::ORIGINAL_CONTENT_TYPE;

/// Recipients of one message (the broker's limit).
pub(crate) const RECIPIENTS_MAX: usize = 64;

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names of identities or stakeholders; the stage needs the grant `recipient:NAME` for each.
    pub recipients: Vec<String>,
    /// Attributes that stay in the clear beside the sealed body.
    #[serde(default)]
    pub keep_attributes: Vec<String>,
    /// Whether the record's key stays in the clear.
    #[serde(default)]
    pub keep_key: bool,
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
        if let Some(index) = self.keep_attributes.iter().position(|name| name == ORIGINAL_CONTENT_TYPE) {
            let reason = "this attribute is always set, to the content type of what is sealed";
            return Err(ConfigError::new(format!("/keep_attributes/{index}"), reason));
        }
        if !self.removes.is_empty() && (self.keep_key || !self.keep_attributes.is_empty()) {
            let reason = "a key or attributes kept in the clear could still reveal what these labels stand for; keep none";
            return Err(ConfigError::new("/removes", reason));
        }
        Ok(())
    }
}
