//! An `observe` plugin of 1.0.0: counts in keyed state, emits each count, and forgets it when it is told the time.

wit_bindgen::generate!({ path: "../../../../wit/frozen/1.0.0", world: "observe", generate_all });

use exports::hilum::plugin::observer::Guest;
use exports::hilum::plugin::plugin::Guest as Plugin;
use hilum::plugin::types::{Body, ConfigError, Context, Description, Draft, Message};
use hilum::plugin::{emit, state};

struct Frozen;

impl Plugin for Frozen {
    fn describe() -> Description {
        Description {
            name: "frozen-observe".into(),
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
    fn observe(_: Context, messages: Vec<Message>) {
        let found = state::get("count").expect("the state is there");
        let (before, version) = found.map_or((0, 0), |found| (found.value[0], found.version));
        let count = before + messages.len() as u8;
        state::put("count", &[count], version).expect("the state is there");
        send(count);
    }

    fn tick(_: u64) {
        if let Some(found) = state::get("count").expect("the state is there") {
            state::remove("count", found.version).expect("the state is there");
        }
        send(0);
    }
}

fn send(count: u8) {
    let content_type = "text/plain".into();
    let body = Body::Inline(vec![b'0' + count]);
    emit::emit("counts", Draft { key: None, content_type, attributes: Vec::new(), body })
        .expect("the flow is granted");
}

export!(Frozen);
