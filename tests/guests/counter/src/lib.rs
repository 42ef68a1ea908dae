//! An `observe` plugin for tests: counts records in keyed state and emits every count. A record with the attribute `flood` it answers
//! with more than it may emit. One with the attribute `time` it tries to give another time.

use hilum_plugin::{
    ConfigError, Context, Description, Draft, Message, Observe, emit, metrics, state, timing,
};
use serde::Deserialize;

/// The plugin.
pub struct Counter;

/// It has none.
#[derive(Deserialize)]
pub struct Settings {}

impl Observe for Counter {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("counter", "0.1.0")
    }

    fn configure(_: Settings) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn observe(&mut self, _: &Context, messages: Vec<Message>) {
        for message in messages {
            if let Some(octets) = message.head.attribute("flood") {
                flood(&message, octets.parse().expect("a number of octets"));
            }
            if message.head.attribute("time").is_some() {
                timing::set_time(1).expect_err("an observer makes nothing");
            }
            let count = count().expect("the state is there");
            let draft = Draft::of(message.head.clone(), count.to_string().into_bytes());
            emit::emit("counts", draft).expect("the flow is granted");
            metrics::add("records", 1);
            // After the effects, so that a test sees them undone.
            assert!(message.head.attribute("bad").is_none(), "a bad record");
        }
    }

    fn tick(&mut self, now: u64) {
        timing::set_time(1).expect_err("there are no records");
        let head = hilum_plugin::Head { content_type: "text/plain".into(), ..Default::default() };
        emit::emit("counts", Draft::of(head, format!("tick {now}").into_bytes()))
            .expect("the flow is granted");
    }
}

/// Emits bodies of so many octets as long as it is let, and a little longer.
fn flood(message: &Message, octets: usize) {
    let mut refused = 0;
    while refused < 5 {
        let draft = Draft::of(message.head.clone(), vec![0; octets]);
        refused += usize::from(emit::emit("counts", draft).is_err());
    }
}

fn count() -> Result<u64, state::StateError> {
    let found = state::get("count")?;
    let version = found.as_ref().map_or(0, |found| found.version);
    let count = found.and_then(|found| found.value.try_into().ok()).map_or(0, u64::from_be_bytes) + 1;
    state::put("count", &count.to_be_bytes(), version)?;
    Ok(count)
}

hilum_plugin::export_observe!(Counter);
