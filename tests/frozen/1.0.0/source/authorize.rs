//! An `authorize` plugin of 1.0.0: every decision is given.

wit_bindgen::generate!({ path: "../../../../wit/frozen/1.0.0", world: "authorize", generate_all });

use exports::hilum::plugin::authorizer::{Decision, Guest, Obligation, Request};
use exports::hilum::plugin::plugin::Guest as Plugin;
use hilum::plugin::types::{ConfigError, Context, Description, Refusal};

struct Frozen;

impl Plugin for Frozen {
    fn describe() -> Description {
        Description {
            name: "frozen-authorize".into(),
            version: "1.0.0".into(),
            config_schema: r#"{"type": "object"}"#.into(),
            removes: Vec::new(),
            content_types: Vec::new(),
        }
    }

    fn configure(_: String) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Guest for Frozen {
    fn decide(_: Context, requests: Vec<Request>) -> Vec<Decision> {
        requests.into_iter().map(decision).collect()
    }
}

/// What the body's first octet says.
fn decision(request: Request) -> Decision {
    let first = request.body.read(1).unwrap_or_default();
    match first.first() {
        Some(b'a') => Decision::Allow,
        Some(b'o') => {
            Decision::AllowWith(vec![Obligation { name: "size".into(), value: request.size.to_string() }])
        }
        _ => Decision::Deny(Refusal { code: "denied".into(), reason: "the body says so".into() }),
    }
}

export!(Frozen);
