//! {{name}}: lets records of some content types pass. Put what your plugin decides in its place.

use hilum_plugin::{Authorize, ConfigError, Context, Decision, Description, Refusal, Request};
use serde::Deserialize;

/// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const SCHEMA: &str = r#"{
    "type": "object",
    "properties": { "content_types": { "type": "array", "items": { "type": "string" }, "maxItems": 64 } },
    "required": ["content_types"],
    "additionalProperties": false
}"#;

/// The same, as the plugin uses it.
#[derive(Debug, Deserialize)]
struct Settings {
    /// The content types that may pass.
    content_types: Vec<String>,
}

struct Plugin {
    settings: Settings,
}

impl Authorize for Plugin {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("{{name}}", env!("CARGO_PKG_VERSION")).config_schema(SCHEMA)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self { settings })
    }

    fn decide(&mut self, _: &Context, request: Request) -> Decision {
        if self.settings.content_types.contains(&request.head.content_type) {
            return Decision::Allow;
        }
        Decision::Deny(Refusal::new("content-type", "the content type is not one that may pass"))
    }
}

hilum_plugin::export_authorize!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use hilum_plugin::testing::{context, head, request};

    fn decided(content_type: &str) -> Decision {
        let settings = Settings { content_types: vec!["application/json".into()] };
        Plugin::configure(settings).unwrap().decide(&context(), request(head(content_type), "{}"))
    }

    #[test]
    fn what_is_named_may_pass() {
        assert_eq!(decided("application/json"), Decision::Allow);
    }

    #[test]
    fn anything_else_may_not() {
        assert!(matches!(decided("text/plain"), Decision::Deny(refusal) if refusal.code == "content-type"));
    }
}
