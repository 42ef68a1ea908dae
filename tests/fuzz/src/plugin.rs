//! Example plugins run natively, as their own tests run them: one instance for all inputs, and a fresh host for each.

use hilum_plugin::testing::{self, Host};
use hilum_plugin::{Attribute, Body, Draft, Message, Observe, Outcome, Transform};
use serde_json::Value;

/// Octets of a refusal's reason: it goes into the audit, which has room for a sentence.
const REASON_OCTETS_MAX: usize = 1024;

/// Makes a plugin of its configuration.
pub(crate) fn transform<P: Transform>(config: &Value) -> P {
    P::configure(testing::config(config.clone())).expect("the configuration is right")
}

/// The same for one that observes.
pub(crate) fn observe<P: Observe>(config: &Value) -> P {
    P::configure(testing::config(config.clone())).expect("the configuration is right")
}

/// What a plugin makes of a record, without its head: none where it refuses it.
pub(crate) fn run<P: Transform>(plugin: &mut P, message: Message) -> Option<Made> {
    let outcome = plugin.transform(&testing::context(), message);
    drop(testing::take());
    match outcome {
        Outcome::Pass => Some(Made::Same(Vec::new())),
        Outcome::Annotate(attributes) => Some(Made::Same(attributes)),
        Outcome::Replace(draft) => Some(Made::Other(vec![record(draft)])),
        Outcome::Split(drafts) => Some(Made::Other(drafts.into_iter().map(record).collect())),
        Outcome::Refuse(refusal) => {
            assert!(!refusal.code.is_empty() && refusal.reason.len() <= REASON_OCTETS_MAX, "{refusal}");
            None
        }
    }
}

/// What a plugin made of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// The record, with these attributes.
    Same(Vec<Attribute>),
    /// Others in its place.
    Other(Vec<Record>),
}

/// A record that takes the place of another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<String>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) body: Vec<u8>,
}

fn record(draft: Draft) -> Record {
    let Draft { key, attributes, body, .. } = draft;
    Record { key, attributes, body: testing::octets(body) }
}

/// Shows a record to a plugin twice; what the host has seen after the first time, and after both.
pub(crate) fn twice<P: Observe>(plugin: &mut P, content_type: &str, octets: &[u8]) -> [Host; 2] {
    drop(testing::take());
    let seen = [(); 2].map(|()| {
        let message = Message { head: testing::head(content_type), body: Body::Inline(octets.to_vec()) };
        plugin.observe(&testing::context(), vec![message]);
        testing::with(|host| host.clone())
    });
    drop(testing::take());
    seen
}

/// The emitted records, each of which is JSON without nulls.
pub(crate) fn emitted(host: &Host) -> Vec<Value> {
    let json = |octets: &[u8]| serde_json::from_slice(octets).expect("what is emitted is JSON");
    let values: Vec<Value> = host.emitted.iter().map(|emitted| json(&emitted.body)).collect();
    assert!(values.iter().all(|value| !has_null(value)), "{values:?}");
    values
}

/// Whether there is a null anywhere, such as a number that is none becomes.
pub(crate) fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// How often a plugin counted something.
pub(crate) fn count(host: &Host, counter: &str) -> u64 {
    host.counters.get(counter).copied().unwrap_or(0)
}
