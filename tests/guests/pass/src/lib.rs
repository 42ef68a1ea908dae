//! A `transform` plugin that does as little as can be: it lets inline bodies pass, and copies large ones on the host behind one octet of its
//! own. `hilum bench plugin` measures with it what the sandbox costs.

use hilum_plugin::{
    Body, BodyError, BodyReader, BodyWriter, ConfigError, Context, Description, Draft, Message, Outcome,
    Refusal, Transform,
};
use serde::Deserialize;

/// The plugin.
pub struct Pass;

/// It has none.
#[derive(Deserialize)]
pub struct Settings {}

impl Transform for Pass {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("pass", "0.1.0")
    }

    fn configure(_: Settings) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn transform(&mut self, _: &Context, message: Message) -> Outcome {
        let Body::Large(mut reader) = message.body else { return Outcome::Pass };
        match forward(&mut reader) {
            Ok(body) => Draft::of(message.head, body).into(),
            Err(error) => Refusal::new("body", error).into(),
        }
    }
}

fn forward(reader: &mut BodyReader) -> Result<BodyReader, BodyError> {
    let mut writer = BodyWriter::new();
    writer.write(b"!")?;
    writer.forward(reader, u64::MAX)?;
    writer.finish()
}

hilum_plugin::export_transform!(Pass);
