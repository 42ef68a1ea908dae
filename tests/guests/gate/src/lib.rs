//! An `authorize` plugin for tests: denies records that are marked in head or body, and obliges others.

use hilum_plugin::observed::{self, ObservedError};
use hilum_plugin::{Authorize, ConfigError, Context, Decision, Description, Obligation, Refusal, Request};
use hilum_plugin::{stated, timing};
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
            Some("stated") => {
                let reason = stated::break_glass_reason().unwrap_or_else(|| "nothing".into());
                Decision::Deny(Refusal::new("stated", reason))
            }
            Some("time") => match timing::set_time(1) {
                Ok(()) => Decision::Allow,
                Err(error) => Decision::Deny(Refusal::new("not-set", error)),
            },
            Some("observed") => by_what_is_kept(&mut request),
            _ => Decision::Allow,
        }
    }
}

/// By what `STAGE KEY` of the body is in the state of another stage; a stage `code` is the name of a key, and what is said is the code of
/// the other.
fn by_what_is_kept(request: &mut Request) -> Decision {
    let body = request.body.read(1024).expect("bodies are short here");
    let body = String::from_utf8(body).expect("bodies are text here");
    let (of, key) = body.split_once(' ').expect("it is of two parts");
    let denied = |code: &str, reason: String| Decision::Deny(Refusal::new(code, reason));
    let error = |error: ObservedError| match error {
        ObservedError::NotGranted(name) => denied("not-granted", name),
        ObservedError::Malformed => denied("malformed", String::new()),
        ObservedError::Other(reason) => denied("unavailable", reason),
    };
    if let Some(name) = of.strip_prefix("code:") {
        return match observed::codes(name, &[key.as_bytes().to_vec()]) {
            Ok(codes) => denied("code", codes[0].iter().map(|octet| format!("{octet:02x}")).collect()),
            Err(failed) => error(failed),
        };
    }
    let keys: Vec<String> = key.split(',').map(str::to_owned).collect();
    match observed::look_up(of, &keys) {
        Ok(found) => {
            let shown = found.iter().map(|value| match value {
                Some(value) => String::from_utf8_lossy(value).into_owned(),
                None => "-".to_owned(),
            });
            denied("found", shown.collect::<Vec<_>>().join(","))
        }
        Err(failed) => error(failed),
    }
}

hilum_plugin::export_authorize!(Gate);
