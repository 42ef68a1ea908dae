//! The broker's metrics, by flow, stage and subscription.
//!
//! Attributes follow the OpenTelemetry semantic conventions for messaging: `messaging.destination.name` is the flow and
//! `messaging.consumer.group.name` the subscription. Their values come from the configuration, so their number is bounded.

use std::collections::BTreeMap;

use hilum_core::chain::{Plan, StageOutcome};
use hilum_core::{FlowName, StageName, SubscriptionName};
use hilum_sandbox::{Failure, Limit, Ran, StageOf};
use opentelemetry::metrics::{Counter, Gauge, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

use crate::ingest::RefusalKind;

/// All instruments.
#[derive(Debug, Clone)]
pub struct Instruments {
    stored: Counter<u64>,
    stored_octets: Counter<u64>,
    repeated: Counter<u64>,
    refused: Counter<u64>,
    denied: Counter<u64>,
    delivered: Counter<u64>,
    withheld: Counter<u64>,
    stages: Counter<u64>,
    redelivered: Counter<u64>,
    dead_lettered: Counter<u64>,
    expired: Counter<u64>,
    terminated: Counter<u64>,
    lag: Gauge<u64>,
    chain: Histogram<f64>,
    append: Histogram<f64>,
    connections: UpDownCounter<i64>,
    kept: Gauge<u64>,
    kept_octets: Gauge<u64>,
    deleted: Counter<u64>,
    deleted_octets: Counter<u64>,
    limited: Counter<u64>,
    breaker: Gauge<u64>,
    plugin_counters: Counter<u64>,
    plugin_samples: Histogram<f64>,
}

fn flow(flow: &FlowName) -> KeyValue {
    KeyValue::new("messaging.destination.name", flow.to_string())
}

fn subscription(subscription: &SubscriptionName) -> KeyValue {
    KeyValue::new("messaging.consumer.group.name", subscription.to_string())
}

fn stage_name(stage: &StageName) -> KeyValue {
    KeyValue::new("hilum.stage.name", stage.to_string())
}

/// What a stage did, as spans and metrics call it.
fn outcome_name(outcome: StageOutcome) -> &'static str {
    match outcome {
        StageOutcome::Passed => "passed",
        StageOutcome::Annotated => "annotated",
        StageOutcome::Replaced => "replaced",
        StageOutcome::Split => "split",
        StageOutcome::Obliged => "obliged",
    }
}

impl Default for Instruments {
    /// Instruments of the global meter provider: to be made after telemetry is set up.
    fn default() -> Self {
        let meter = global::meter("hilum");
        let counter = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        let gauge = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_gauge(name).with_unit(unit).with_description(what).build()
        };
        let histogram = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.f64_histogram(name).with_unit(unit).with_description(what).build()
        };
        Self {
            stored: counter("hilum.flow.stored", "{record}", "Records made durable"),
            stored_octets: counter("hilum.flow.stored.size", "By", "Octets of bodies made durable"),
            repeated: counter("hilum.flow.repeated", "{record}", "Retries recognised and not stored again"),
            refused: counter("hilum.flow.refused", "{record}", "Records not stored, by kind of refusal"),
            denied: counter(
                "hilum.policy.denied",
                "{request}",
                "Requests to publish or read that policy denied",
            ),
            delivered: counter("hilum.subscription.delivered", "{record}", "Records handed to a reader"),
            withheld: counter(
                "hilum.subscription.withheld",
                "{record}",
                "Records withheld from a subscription",
            ),
            redelivered: counter(
                "hilum.subscription.redelivered",
                "{record}",
                "Records handed to a reader that a reader had before",
            ),
            dead_lettered: counter(
                "hilum.subscription.dead_lettered",
                "{record}",
                "Records that were delivered too often and went to the dead-letter flow or to quarantine",
            ),
            expired: counter(
                "hilum.subscription.expired",
                "{record}",
                "Records whose time was over before they were delivered",
            ),
            terminated: counter(
                "hilum.subscription.terminated",
                "{record}",
                "Records that a reader gave up for good",
            ),
            stages: counter("hilum.stage.records", "{record}", "Records that a stage judged, by outcome"),
            lag: gauge(
                "hilum.subscription.lag",
                "{record}",
                "Records of the flow that the subscription has not settled",
            ),
            chain: histogram("hilum.chain.duration", "s", "Time of one chain run over a batch"),
            append: histogram("hilum.flow.append.duration", "s", "Time until an appended group is durable"),
            connections: meter
                .i64_up_down_counter("hilum.connections")
                .with_unit("{connection}")
                .with_description("Authenticated connections that are open")
                .build(),
            kept: gauge("hilum.flow.records", "{record}", "Records that the flow has"),
            kept_octets: gauge(
                "hilum.flow.size",
                "By",
                "Octets that the flow takes up on disk, with large bodies",
            ),
            deleted: counter("hilum.retention.deleted", "{record}", "Entries deleted, by log and rule"),
            deleted_octets: counter("hilum.retention.deleted.size", "By", "Octets deleted, by log and rule"),
            limited: counter("hilum.stage.limited", "{event}", "How often plugins ran into limits, by limit"),
            breaker: gauge("hilum.stage.breaker", "1", "1 while a stage is left alone, otherwise 0"),
            plugin_counters: counter("hilum.plugin.count", "1", "What plugins count, by name"),
            plugin_samples: meter
                .f64_histogram("hilum.plugin.sample")
                .with_description("What plugins sample, by name")
                .build(),
        }
    }
}

impl Instruments {
    /// What a flow has: records, and octets with everything around them and large bodies.
    pub fn kept(&self, name: &FlowName, records: u64, octets: u64) {
        self.kept.record(records, &[flow(name)]);
        self.kept_octets.record(octets, &[flow(name)]);
    }

    /// Retention deleted entries of a log, by a rule; by compaction where it is empty.
    pub fn deleted(&self, log: &str, rule: &str, entries: u64, octets: u64) {
        let rule = if rule.is_empty() { "compact" } else { rule };
        let attributes = [
            KeyValue::new("messaging.destination.name", log.to_owned()),
            KeyValue::new("hilum.retention.rule", rule.to_owned()),
        ];
        self.deleted.add(entries, &attributes);
        self.deleted_octets.add(octets, &attributes);
    }

    /// Records of a flow became durable.
    pub fn stored(&self, name: &FlowName, records: u64, octets: u64) {
        self.stored.add(records, &[flow(name)]);
        self.stored_octets.add(octets, &[flow(name)]);
    }

    /// A retry was recognised.
    pub fn repeated(&self, name: &FlowName) {
        self.repeated.add(1, &[flow(name)]);
    }

    /// A record was refused.
    pub fn refused(&self, name: &FlowName, kind: RefusalKind) {
        self.refused.add(1, &[flow(name), KeyValue::new("error.type", format!("{kind:?}"))]);
    }

    /// Policy denied a request.
    pub fn denied(&self) {
        self.denied.add(1, &[]);
    }

    /// Records were handed to a subscription's reader.
    pub fn delivered(&self, name: &FlowName, to: &SubscriptionName, records: u64) {
        self.delivered.add(records, &[flow(name), subscription(to)]);
    }

    /// Records were withheld from a subscription.
    pub fn withheld(&self, name: &FlowName, from: &SubscriptionName, records: u64) {
        self.withheld.add(records, &[flow(name), subscription(from)]);
    }

    /// Records are delivered again.
    pub fn redelivered(&self, name: &FlowName, to: &SubscriptionName, records: u64) {
        self.redelivered.add(records, &[flow(name), subscription(to)]);
    }

    /// A record was delivered too often.
    pub fn dead_lettered(&self, name: &FlowName, of: &SubscriptionName) {
        self.dead_lettered.add(1, &[flow(name), subscription(of)]);
    }

    /// The time of records was over.
    pub fn expired(&self, name: &FlowName, of: &SubscriptionName, records: u64) {
        self.expired.add(records, &[flow(name), subscription(of)]);
    }

    /// A reader gave records up.
    pub fn terminated(&self, name: &FlowName, of: &SubscriptionName, records: u64) {
        self.terminated.add(records, &[flow(name), subscription(of)]);
    }

    /// Records that a subscription has not settled.
    pub fn lag(&self, name: &FlowName, of: &SubscriptionName, records: u64) {
        self.lag.record(records, &[flow(name), subscription(of)]);
    }

    /// A chain ran, of a flow's ingress or of a subscription's egress.
    pub fn chain_seconds(&self, name: &FlowName, of: Option<&SubscriptionName>, seconds: f64) {
        let attributes: Vec<KeyValue> = [flow(name)].into_iter().chain(of.map(subscription)).collect();
        self.chain.record(seconds, &attributes);
    }

    /// Stages judged the records of a batch. A record that was stopped counts at the stage that stopped it only: what the
    /// stages before it did is not in any receipt.
    pub fn stages(
        &self,
        name: &FlowName,
        of: Option<&SubscriptionName>,
        plan: &Plan,
        results: &[Result<Ran, Failure>],
    ) {
        let mut counts: BTreeMap<(&StageName, &'static str), u64> = BTreeMap::new();
        let mut count = |stage, outcome| *counts.entry((stage, outcome)).or_default() += 1;
        for result in results {
            match result {
                Ok(ran) => {
                    let outcomes = plan.stages().iter().zip(&ran.run.receipt.outcomes);
                    outcomes.for_each(|(stage, outcome)| count(&stage.name, outcome_name(*outcome)));
                }
                Err(Failure::Refused { stage, .. }) => count(stage, "refused"),
                Err(Failure::Failed { stage, kind, .. }) => count(stage, kind.code()),
            }
        }
        for ((stage, outcome), records) in counts {
            let attributes = [flow(name)]
                .into_iter()
                .chain(of.map(subscription))
                .chain([stage_name(stage), KeyValue::new("hilum.stage.outcome", outcome)])
                .collect::<Vec<_>>();
            self.stages.add(records, &attributes);
        }
    }

    /// A group became durable, or failed to.
    pub fn append_seconds(&self, name: &FlowName, seconds: f64) {
        self.append.record(seconds, &[flow(name)]);
    }

    /// A connection was opened (+1) or closed (-1).
    pub fn connections(&self, change: i64) {
        self.connections.add(change, &[]);
    }

    /// A plugin ran into a limit.
    pub fn limited(&self, from: Option<&SubscriptionName>, of: StageOf<'_>, limit: Limit, count: u64) {
        let limit = KeyValue::new("hilum.plugin.limit", limit.name());
        self.limited.add(count, &stage_of(from, of).chain([limit]).collect::<Vec<_>>());
    }

    /// The circuit breaker of a stage opened or closed.
    pub fn breaker(&self, from: Option<&SubscriptionName>, of: StageOf<'_>, is_open: bool) {
        self.breaker.record(u64::from(is_open), &stage_of(from, of).collect::<Vec<_>>());
    }

    /// A plugin counts.
    pub fn plugin_count(&self, name: &FlowName, stage: &StageName, counter: &str, value: u64) {
        self.plugin_counters.add(value, &plugin(name, stage, counter));
    }

    /// A plugin samples.
    pub fn plugin_sample(&self, name: &FlowName, stage: &StageName, histogram: &str, value: f64) {
        self.plugin_samples.record(value, &plugin(name, stage, histogram));
    }
}

/// A stage with its plugin and version, so that one that is replaced does not answer for the other.
fn stage_of(from: Option<&SubscriptionName>, of: StageOf<'_>) -> impl Iterator<Item = KeyValue> {
    let plugin = KeyValue::new("hilum.plugin.name", of.plugin.to_owned());
    let version = KeyValue::new("hilum.plugin.version", of.version.to_owned());
    [flow(of.flow), stage_name(of.stage), plugin, version].into_iter().chain(from.map(subscription))
}

fn plugin(name: &FlowName, stage: &StageName, what: &str) -> [KeyValue; 3] {
    [flow(name), stage_name(stage), KeyValue::new("hilum.plugin.metric", what.to_owned())]
}
