//! {{name}}: counts records, and raises an alert for each large one. Put what your plugin watches in its place.

use hilum_plugin::{Body, ConfigError, Context, Description, Draft, Message, Observe, emit, log, state};
use serde::Deserialize;

/// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "alerts": { "type": "string", "description": "the flow that gets the alerts" },
        "octets_max": { "type": "integer", "minimum": 0 }
    },
    "required": ["alerts", "octets_max"],
    "additionalProperties": false
}"#;

/// The same, as the plugin uses it.
#[derive(Debug, Deserialize)]
struct Settings {
    /// The flow that gets the alerts.
    alerts: String,
    /// What is larger is worth an alert.
    octets_max: u64,
}

struct Plugin {
    settings: Settings,
}

impl Observe for Plugin {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("{{name}}", env!("CARGO_PKG_VERSION")).config_schema(SCHEMA)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self { settings })
    }

    fn observe(&mut self, _: &Context, messages: Vec<Message>) {
        count(messages.len() as u64);
        for message in messages {
            let octets = message.body.size();
            if octets > self.settings.octets_max {
                self.alert(octets);
            }
        }
    }
}

impl Plugin {
    fn alert(&self, octets: u64) {
        let body = Body::Inline(format!("{{\"octets\":{octets}}}").into_bytes());
        let alert = Draft { key: None, content_type: "application/json".into(), attributes: Vec::new(), body };
        if let Err(error) = emit::emit(&self.settings.alerts, alert) {
            log::error(format!("an alert was not emitted: {error}"));
        }
    }
}

/// Instances come and go: what has to last is in the state of the stage.
fn count(more: u64) {
    let found = match state::get("records") {
        Ok(found) => found,
        Err(error) => return log::error(format!("the count was not read: {error}")),
    };
    let (version, counted) = found.map_or((0, 0), |found| {
        let digits = String::from_utf8_lossy(&found.value);
        (found.version, digits.parse().unwrap_or(0))
    });
    let counted: u64 = more + counted;
    if let Err(error) = state::put("records", counted.to_string().as_bytes(), version) {
        log::error(format!("the count was not written: {error}"));
    }
}

hilum_plugin::export_observe!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use hilum_plugin::testing::{context, message, take};

    #[test]
    fn records_are_counted_and_large_ones_raise_an_alert() {
        let settings = Settings { alerts: "alerts".into(), octets_max: 4 };
        let mut plugin = Plugin::configure(settings).unwrap();
        plugin.observe(&context(), vec![message("text/plain", "1234"), message("text/plain", "12345")]);
        let host = take();
        assert_eq!(host.state["records"].value, b"2");
        assert_eq!(host.emitted.len(), 1);
        assert_eq!((host.emitted[0].flow.as_str(), &*host.emitted[0].body), ("alerts", &b"{\"octets\":5}"[..]));
    }
}
