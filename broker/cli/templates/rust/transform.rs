//! {{name}}: marks the records that it has seen, and refuses empty ones. Put what your plugin does in its place.

use hilum_plugin::{Attribute, ConfigError, Context, Description, Message, Outcome, Refusal, Transform};
use serde::Deserialize;

/// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const SCHEMA: &str = r#"{
    "type": "object",
    "properties": { "mark": { "type": "string", "minLength": 1, "maxLength": 64 } },
    "required": ["mark"],
    "additionalProperties": false
}"#;

/// The same, as the plugin uses it.
#[derive(Debug, Deserialize)]
struct Settings {
    /// The value of the attribute `checked-by`.
    mark: String,
}

struct Plugin {
    settings: Settings,
}

impl Transform for Plugin {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("{{name}}", env!("CARGO_PKG_VERSION")).config_schema(SCHEMA)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self { settings })
    }

    fn transform(&mut self, _: &Context, message: Message) -> Outcome {
        if message.body.size() == 0 {
            return Refusal::new("empty", "the record has no body").into();
        }
        let mut attributes = message.head.attributes;
        attributes.push(Attribute::new("checked-by", &self.settings.mark));
        Outcome::Annotate(attributes)
    }
}

hilum_plugin::export_transform!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use hilum_plugin::testing::{context, message};

    fn plugin() -> Plugin {
        Plugin::configure(Settings { mark: "test".into() }).unwrap()
    }

    #[test]
    fn a_record_is_marked() {
        let Outcome::Annotate(attributes) = plugin().transform(&context(), message("text/plain", "a note"))
        else {
            panic!("it goes on with attributes")
        };
        assert_eq!(attributes, [Attribute::new("checked-by", "test")]);
    }

    #[test]
    fn an_empty_record_is_refused() {
        let outcome = plugin().transform(&context(), message("text/plain", ""));
        assert!(matches!(outcome, Outcome::Refuse(refusal) if refusal.code == "empty"));
    }
}
