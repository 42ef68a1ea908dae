//! Everything that a hospital's files say, as paths with values: what two configurations are compared by.
//!
//! It is made of the files' text and not of what is read from it, so that no key can be forgotten. Tables that have a name are found
//! by it, wherever they stand: `flows.imaging.ingress.clean.plugin`. What files that are named contain is added by who reads them
//! ([`Outline::set`]).

use std::collections::BTreeMap;

use hilum_core::Digest;
use hilum_core::digest::Hasher;
use toml::{Table, Value};

use super::config_files::ConfigFile;
use super::model::{FlowConfig, StageConfig};

/// What tables of an array are called after.
const NAMES: &[(&str, &str)] = &[
    ("flows.*.ingress", "stage"),
    ("flows.*.subscription", "name"),
    ("flows.*.subscription.*.egress", "stage"),
];

/// What may change while the broker runs. What is not listed here needs a restart: a new kind of setting does, until somebody
/// makes it change.
const LIVE: &[&str] = &[
    "labels",
    "zones",
    "conduits",
    "stakeholders",
    "principals",
    "operators",
    "plugins",
    "trust",
    "keys",
    "identities",
    "quarantine.max_age",
    "audit.max_age",
    "flows.*.class",
    "flows.*.zone",
    "flows.*.labels",
    "flows.*.retention",
    "flows.*.publish",
    "flows.*.ingress",
    "flows.*.subscription.*.stakeholder",
    "flows.*.subscription.*.roles",
    "flows.*.subscription.*.purpose",
    "flows.*.subscription.*.egress",
    "flows.*.subscription.*.filter",
    "flows.*.subscription.*.replay",
    "flows.*.subscription.*.dead_letter",
    "flows.*.subscription.*.ack_wait",
    "flows.*.subscription.*.max_deliveries",
    "flows.*.subscription.*.backoff",
    "flows.*.subscription.*.max_in_flight",
    // Matters to a new subscription only.
    "flows.*.subscription.*.start",
];
/// Values that are the plugin's own, and tables that are read best as a whole.
const WHOLE: &[&str] = &[
    "flows.*.ingress.*.config",
    "flows.*.ingress.*.canary",
    "flows.*.subscription.*.egress.*.config",
    "flows.*.subscription.*.egress.*.canary",
];

/// Paths and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline(BTreeMap<String, String>);

/// A difference between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub path: String,
    /// As it was; none where it is new.
    pub before: Option<String>,
    /// As it is; none where it is gone.
    pub after: Option<String>,
}

impl Outline {
    /// What `hilum.toml` says. Text that is no TOML says nothing: it is reported by who reads it.
    pub(super) fn add_main(&mut self, text: &str) {
        let Ok(mut table) = text.parse::<Table>() else { return };
        // They are told from each other by their ends, wherever they stand.
        if let Some(Value::Array(conduits)) = table.remove("conduits") {
            for conduit in conduits {
                let end = |key: &str| conduit.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                self.0.insert(format!("conduits.{}->{}", end("from"), end("to")), "open".into());
            }
        }
        self.add(String::new(), &Value::Table(table));
    }

    /// What a file in `flows/` says.
    pub(super) fn add_flow(&mut self, text: &str) {
        let Ok(table) = text.parse::<Table>() else { return };
        let Some(name) = table.get("name").and_then(Value::as_str).map(str::to_owned) else { return };
        self.add(format!("flows.{name}"), &Value::Table(table));
    }

    /// What the files contain that the stages of a flow name.
    pub(super) fn add_config_files(&mut self, flow: &FlowConfig) {
        let own = joined("flows", flow.name.as_str());
        self.add_texts(&joined(&own, "ingress"), &flow.ingress);
        for subscription in &flow.subscriptions {
            let own = joined(&joined(&own, "subscription"), subscription.name.as_str());
            self.add_texts(&joined(&own, "egress"), &subscription.egress);
        }
    }

    fn add_texts(&mut self, chain: &str, stages: &[StageConfig]) {
        for stage in stages {
            let own = joined(&joined(chain, stage.stage.as_str()), "config_files");
            for ConfigFile { key, digest } in &stage.config_files {
                let mark = &digest.to_string()[..8];
                self.set(joined(&joined(&own, key), "content"), format!("its SHA-256 begins with {mark}"));
            }
        }
    }

    /// Adds what is not in the files themselves, such as the digest of a file that they name.
    pub fn set(&mut self, path: impl Into<String>, value: impl Into<String>) {
        self.0.insert(path.into(), value.into());
    }

    /// Names this configuration: another one has another digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for text in self.0.iter().flat_map(|(path, value)| [path, value]) {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finish()
    }

    /// What is different in `after`, by path.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<Change> {
        let gone = self.0.iter().filter(|(path, _)| !after.0.contains_key(*path));
        let gone = gone.map(|(path, before)| (path, Some(before), None));
        let other = after.0.iter().map(|(path, value)| (path, self.0.get(path), Some(value)));
        let other = other.filter(|(_, before, after)| before != after);
        let mut changes: Vec<Change> = gone
            .chain(other)
            .map(|(path, before, after)| Change {
                path: path.clone(),
                before: before.cloned(),
                after: after.cloned(),
            })
            .collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }

    fn add(&mut self, path: String, value: &Value) {
        match value {
            Value::Table(table) if !is_whole(&path) => {
                for (key, value) in table {
                    self.add(joined(&path, key), value);
                }
            }
            Value::Array(items)
                if !items.is_empty() && items.iter().all(Value::is_table) && !is_whole(&path) =>
            {
                for (index, item) in items.iter().enumerate() {
                    let name = name_key(&path).and_then(|key| item.get(key)?.as_str());
                    let number = format!("{index}");
                    let path = joined(&path, name.unwrap_or(&number));
                    if name.is_some() {
                        // Their order is that of the chain.
                        self.0.insert(joined(&path, "position"), number);
                    }
                    self.add(path, item);
                }
            }
            value => {
                self.0.insert(path, shown(value));
            }
        }
    }
}

impl Change {
    /// Whether it takes effect only when the broker starts.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        let is_subscription = under(&self.path, "flows.*.subscription.*.name");
        let is_live = LIVE.iter().any(|live| under(&self.path, live));
        let is_position = under(&self.path, "flows.*.subscription.*.position") && !self.is_new_or_gone();
        // A subscription's other keys come and go with it.
        is_subscription || !(is_live || is_position)
    }

    /// Whether the thing is on one side only.
    #[must_use]
    pub fn is_new_or_gone(&self) -> bool {
        self.before.is_none() || self.after.is_none()
    }

    /// Whether it is about this thing or a part of it. `*` in it stands for any one name.
    #[must_use]
    pub fn is_under(&self, path: &str) -> bool {
        under(&self.path, path)
    }
}

fn under(path: &str, pattern: &str) -> bool {
    let mut names = path.split('.');
    pattern.split('.').all(|wanted| names.next().is_some_and(|name| wanted == "*" || wanted == name))
}

fn is_whole(path: &str) -> bool {
    WHOLE.iter().any(|whole| under(path, whole))
}

fn name_key(path: &str) -> Option<&'static str> {
    let names = path.split('.').count();
    let fits = |pattern: &str| pattern.split('.').count() == names && under(path, pattern);
    NAMES.iter().find(|(pattern, _)| fits(pattern)).map(|(_, key)| *key)
}

fn joined(path: &str, name: &str) -> String {
    // A name with a dot in it must not look like two.
    let name =
        if name.contains('.') { format!("\"{}\"", name.replace('.', "\u{b7}")) } else { name.to_owned() };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = r#"
[hospital]
name = "test"
[broker]
listen = "127.0.0.1:0"
[plugins.clean]
path = "plugins/clean.wasm"
[[conduits]]
from = "a"
to = "b"
"#;
    const FLOW: &str = r#"
name = "imaging"
ack = "durable"
[[ingress]]
stage = "check"
plugin = "access"
[[ingress]]
stage = "clean"
plugin = "clean"
config = { key = "research" }
[[subscription]]
name = "reading"
filter = "a = 'b'"
"#;

    fn outline(main: &str, flow: &str) -> Outline {
        let mut outline = Outline::default();
        outline.add_main(main);
        outline.add_flow(flow);
        outline
    }

    /// What changes where these words are replaced: paths, with a mark for those that need a restart.
    fn changed(from: &str, to: &str) -> Vec<String> {
        assert!(MAIN.contains(from) || FLOW.contains(from));
        let before = outline(MAIN, FLOW);
        let after = outline(&MAIN.replace(from, to), &FLOW.replace(from, to));
        assert_eq!(before.digest() == after.digest(), before == after);
        let shown =
            |change: Change| format!("{}{}", change.path, if change.needs_restart() { "!" } else { "" });
        before.changes(&after).into_iter().map(shown).collect()
    }

    #[test]
    fn what_is_not_meant_is_no_change() {
        assert!(changed("\n[[ingress]]", "\n# a remark\n[[ingress]]").is_empty());
        assert!(
            changed("name = \"imaging\"\nack = \"durable\"", "ack = \"durable\"\nname = \"imaging\"")
                .is_empty()
        );
    }

    #[test]
    fn changes_are_named_after_what_they_are_about() {
        assert_eq!(
            changed("plugin = \"clean\"", "plugin = \"wash\""),
            ["flows.imaging.ingress.clean.plugin"]
        );
        assert_eq!(changed("\"research\"", "\"other\""), ["flows.imaging.ingress.clean.config"]);
        assert_eq!(changed("a = 'b'", "a = 'c'"), ["flows.imaging.subscription.reading.filter"]);
        assert_eq!(changed("clean.wasm", "clean-2.wasm"), ["plugins.clean.path"]);
        assert_eq!(changed("to = \"b\"", "to = \"c\""), ["conduits.a->b", "conduits.a->c"]);
    }

    #[test]
    fn what_the_broker_cannot_change_needs_a_restart() {
        assert_eq!(changed("\"durable\"", "\"memory\""), ["flows.imaging.ack!"]);
        assert_eq!(changed("127.0.0.1:0", "127.0.0.1:1"), ["broker.listen!"]);
        assert_eq!(changed("[broker]", "[new]\nsetting = 1\n[broker]"), ["new.setting!"]);
        let renamed = changed("name = \"reading\"", "name = \"writing\"");
        assert!(renamed.contains(&"flows.imaging.subscription.writing.name!".to_owned()), "{renamed:?}");
        let gone = changed(FLOW, "name = \"other\"");
        assert!(gone.contains(&"flows.imaging.name!".to_owned()), "{gone:?}");
    }

    #[test]
    fn the_order_of_stages_counts() {
        let swapped = FLOW.replace("check", "x").replace("clean", "check").replace('x', "clean");
        assert_ne!(outline(MAIN, FLOW), outline(MAIN, &swapped));
        let moved = outline(MAIN, FLOW).changes(&outline(MAIN, &swapped));
        assert!(
            moved.iter().any(|change| change.path == "flows.imaging.ingress.check.position"),
            "{moved:?}"
        );
    }
}
