//! An `observe` plugin for tests: keeps how many records it has seen and a checksum over them in their order, and emits both at each
//! fourth one. At each tick it keeps how many it has seen by then.

use hilum_plugin::{ConfigError, Context, Description, Draft, Head, Message, Observe, emit, state};
use serde::Deserialize;

/// The plugin.
pub struct Tally {
    to: String,
}

/// Where it emits to.
#[derive(Deserialize)]
pub struct Settings {
    to: String,
}

/// How many records, and the checksum over them.
struct Seen {
    count: u64,
    sum: u64,
    version: u64,
}

impl Observe for Tally {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        let schema =
            r#"{ "type": "object", "properties": { "to": { "type": "string" } }, "required": ["to"] }"#;
        Description::new("tally", "0.1.0").config_schema(schema)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self { to: settings.to })
    }

    fn observe(&mut self, _: &Context, messages: Vec<Message>) {
        let mut seen = seen();
        for message in messages {
            let body = message.body.into_octets(4096).expect("records are small here");
            seen.count += 1;
            seen.sum =
                body.iter().fold(seen.sum, |sum, octet| sum.wrapping_mul(31).wrapping_add(u64::from(*octet)));
            if seen.count.is_multiple_of(4) {
                let head = Head { content_type: "text/plain".into(), ..Head::default() };
                let draft = Draft::of(head, format!("{} {}", seen.count, seen.sum).into_bytes());
                emit::emit(&self.to, draft).expect("the flow is granted");
            }
        }
        let octets = [seen.count.to_be_bytes(), seen.sum.to_be_bytes()].concat();
        state::put("seen", &octets, seen.version).expect("nobody else writes");
    }

    fn tick(&mut self, _: u64) {
        let count = seen().count.to_be_bytes();
        let ticked = state::get("ticked").expect("the state is there");
        if ticked.as_ref().is_none_or(|ticked| ticked.value != count) {
            let version = ticked.map_or(0, |ticked| ticked.version);
            state::put("ticked", &count, version).expect("nobody else writes");
        }
    }
}

fn seen() -> Seen {
    let found = state::get("seen").expect("the state is there");
    let Some(found) = found else { return Seen { count: 0, sum: 0, version: 0 } };
    let number = |at: usize| u64::from_be_bytes(found.value[at..at + 8].try_into().expect("eight octets"));
    Seen { count: number(0), sum: number(8), version: found.version }
}

hilum_plugin::export_observe!(Tally);
