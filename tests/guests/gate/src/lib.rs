//! An `authorize` plugin for tests: denies records that are marked in head or body, and obliges others.

use hilum_plugin::{Authorize, ConfigError, Context, Decision, Description, Obligation, Refusal, Request};
use serde::Deserialize;

/// The plugin.
pub struct Gate;

/// It has none.
#[derive(Deserialize)]
pub struct Settings {}

impl Authorize for Gate {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("gate", "0.1.0")
    }

    fn configure(_: Settings) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn decide(&mut self, context: &Context, mut request: Request) -> Decision {
        let name = "break-glass".to_owned();
        match request.head.attribute("gate") {
            Some("deny") => Decision::Deny(Refusal::new("denied", format!("not for `{}`", context.flow))),
            Some("oblige") => Decision::AllowWith(vec![Obligation { name, value: "reviewed".into() }]),
            Some("read") => match request.body.read(4) {
                Ok(start) if start == b"open" => Decision::Allow,
                _ => Decision::Deny(Refusal::new("denied", "the body does not start as it should")),
            },
            _ => Decision::Allow,
        }
    }
}

hilum_plugin::export_authorize!(Gate);
