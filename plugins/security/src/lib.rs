//! Security monitoring: learns who does what in a hospital, when and how much, and says when somebody does otherwise.
//!
//! The stage stands in the flow that gets the broker's audit (`flow` in `[audit]`) and sees audit events and statistics
//! ([`documents`]); it sees no record of any other flow. Each principal has a profile ([`profile`]) and each way between a principal
//! and a flow a line ([`line`]) with a baseline of its own ([`baseline`]). What is not as usual becomes a [`Finding`]; the first
//! finding of a cause raises an alert, which stands until the cause has been quiet for a while ([`alerts`]). All of it is kept in
//! a fixed number of values ([`keep`]), so that nobody can fill it up, and what is old makes room for what is new.

mod alerts;
mod baseline;
mod documents;
mod keep;
mod line;
mod octets;
mod profile;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use hilum_plugin::{ConfigError, Context, Description, Message, Observe, log, metrics};

use alerts::Alerts;
pub use alerts::CONTENT_TYPE as ALERT_CONTENT_TYPE;
pub use documents::{EVENT_CONTENT_TYPE, STATISTICS_CONTENT_TYPE};
pub use settings::Settings;
use watch::Watch;

/// The plugin: one instance of many, without any memory of its own.
#[derive(Debug)]
pub struct Security(Settings);

/// Something that is not as usual, of a cause and about somebody.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) cause: &'static str,
    pub(crate) about: About,
    pub(crate) time_ms: u64,
    /// What was seen, and from what on it is too much; what was expected, where something was learned.
    pub(crate) seen: Option<Seen>,
}

/// Whom and what a finding is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct About {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) flow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) subscription: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) stage: Option<String>,
}

/// A number that was seen.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Seen {
    pub(crate) value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usual: Option<f64>,
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
}

impl Observe for Security {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("security", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(EVENT_CONTENT_TYPE)
            .content_type(STATISTICS_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn observe(&mut self, context: &Context, messages: Vec<Message>) {
        let mut tally = Tally::default();
        let mut alerts = match Alerts::load() {
            Ok(alerts) => alerts,
            Err(error) => return tally.fail(&format!("nothing was looked at: {error}")),
        };
        let mut watch = Watch::new(&self.0);
        for message in messages {
            if is_broker(&context.source.principal) {
                watch.see(message, &mut alerts, &mut tally);
            } else {
                tally.foreign += 1;
            }
        }
        if let Err(error) = watch.keep() {
            tally.trouble = Some(format!("what was learned from a batch is not kept: {error}"));
        }
        self.settle(alerts, tally);
    }

    fn tick(&mut self, now: u64) {
        let mut tally = Tally::default();
        match Alerts::load() {
            Ok(mut alerts) => {
                alerts.calm(&self.0, now, &mut tally);
                self.settle(alerts, tally);
            }
            Err(error) => tally.fail(&format!("alerts were not looked at: {error}")),
        }
    }
}

hilum_plugin::export_observe!(Security);

impl Security {
    fn settle(&self, alerts: Alerts, mut tally: Tally) {
        if let Err(error) = alerts.keep() {
            tally.trouble = Some(format!("which alerts stand is not kept: {error}"));
        }
        tally.report();
    }
}

/// Only the broker says what happened: a record of anybody else proves nothing.
fn is_broker(principal: &str) -> bool {
    let path = principal.strip_prefix("spiffe://").and_then(|id| id.split_once('/'));
    path.is_some_and(|(_, path)| path == "broker")
}

/// What happened in a batch, for the metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    events: u64,
    statistics: u64,
    malformed: u64,
    foreign: u64,
    repeated: u64,
    raised: u64,
    cleared: u64,
    unraised: u64,
    /// The last thing that an operator should see; one line a batch is enough.
    trouble: Option<String>,
}

impl Tally {
    fn fail(&mut self, trouble: &str) {
        self.trouble = Some(trouble.to_owned());
        self.report();
    }

    fn report(&self) {
        for (counter, value) in [
            ("events", self.events),
            ("statistics", self.statistics),
            ("malformed", self.malformed),
            ("foreign", self.foreign),
            ("repeated", self.repeated),
            ("raised", self.raised),
            ("cleared", self.cleared),
            ("unraised", self.unraised),
        ] {
            if value > 0 {
                metrics::add(counter, value);
            }
        }
        if let Some(trouble) = &self.trouble {
            log::warn(trouble);
        }
    }
}
