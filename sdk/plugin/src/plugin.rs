//! The three kinds of plugin, as traits. A type implements exactly one of them.

use serde::de::DeserializeOwned;

use crate::record::{Context, Decision, Message, Outcome, Request};
use crate::timing;

/// What a plugin's configuration has to be: JSON that deserializes.
pub trait Config: DeserializeOwned + 'static {}
impl<T: DeserializeOwned + 'static> Config for T {}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The plugin's own name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// JSON Schema (draft 2020-12) of its configuration.
    pub config_schema: String,
    /// Labels that records no longer carry after the stage.
    pub removes: Vec<String>,
    /// Content types that it understands; empty for any.
    pub content_types: Vec<String>,
}

impl Description {
    /// A plugin that takes no configuration but `{}`, removes no label and understands any content type.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        let config_schema = r#"{"type": "object", "additionalProperties": false}"#.to_owned();
        Self {
            name: name.into(),
            version: version.into(),
            config_schema,
            removes: Vec::new(),
            content_types: Vec::new(),
        }
    }

    /// Sets the JSON Schema of the configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.config_schema);
        self
    }

    /// Adds a label that is removed.
    #[must_use]
    pub fn removes(mut self, label: &str) -> Self {
        self.removes.push(label.into());
        self
    }

    /// Adds a content type that is understood.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_types.push(content_type.into());
        self
    }
}

/// Why a configuration that fits the schema is still wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration at `{at}`: {reason}")]
pub struct ConfigError {
    /// JSON Pointer (RFC 6901) to the value at fault; empty for the whole.
    pub at: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl ConfigError {
    /// An error at a JSON Pointer.
    pub fn new(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { at: at.into(), reason: reason.into() }
    }
}

/// Passes, changes, splits or refuses records.
pub trait Transform: Sized + 'static {
    /// Its configuration.
    type Config: Config;

    /// What it is; with a configuration, what it is with that.
    fn describe(config: Option<&Self::Config>) -> Description;

    /// Makes one instance. A fault that a schema cannot express is found here.
    fn configure(config: Self::Config) -> Result<Self, ConfigError>;

    /// What becomes of one record.
    fn transform(&mut self, context: &Context, message: Message) -> Outcome;

    /// What becomes of a batch, one outcome for each message in order. Worth overriding where one host call can serve the
    /// batch.
    fn transform_batch(&mut self, context: &Context, messages: Vec<Message>) -> Vec<Outcome> {
        let numbered = (0..).zip(messages);
        numbered.map(|(at, message)| timing::at(at, || self.transform(context, message))).collect()
    }
}

/// Allows or denies records.
pub trait Authorize: Sized + 'static {
    /// Its configuration.
    type Config: Config;

    /// What it is; with a configuration, what it is with that.
    fn describe(config: Option<&Self::Config>) -> Description;

    /// Makes one instance. A fault that a schema cannot express is found here.
    fn configure(config: Self::Config) -> Result<Self, ConfigError>;

    /// Whether one record may go on.
    fn decide(&mut self, context: &Context, request: Request) -> Decision;
}

/// Reads records; may keep state, emit other records and count.
pub trait Observe: Sized + 'static {
    /// Its configuration.
    type Config: Config;

    /// What it is; with a configuration, what it is with that.
    fn describe(config: Option<&Self::Config>) -> Description;

    /// Makes one instance. A fault that a schema cannot express is found here. Instances come and go: what has to
    /// last is in [`crate::state`].
    fn configure(config: Self::Config) -> Result<Self, ConfigError>;

    /// Sees a batch of records, in the order of the flow.
    fn observe(&mut self, context: &Context, messages: Vec<Message>);

    /// Called about once a second, so that silence can be noticed. `now` is in milliseconds since 1970.
    fn tick(&mut self, now: u64) {
        let _ = now;
    }
}
