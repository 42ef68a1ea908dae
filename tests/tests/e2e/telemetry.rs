//! One record's trace, from its publisher to its reader, as a collector sees it over OTLP.

use std::collections::BTreeMap;

use bytes::Bytes;
use hilum_client::Record;
use hilum_core::record::TraceContext;
use hilum_plugin_build::Guests;
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription, workspace};
use mock_collector::{MockCollector, MockServer, ServerHandle};

use crate::support::{name, next, says, subscribe};

/// What no attribute may hold.
const PLANTED: &str = "ZEBEDIAHCANARY";
/// What the publisher's own span is called in the tests.
const TRACE: TraceContext = TraceContext { trace: [0xab; 16], span: [0xcd; 8], flags: 1 };

/// A span, as far as it matters here.
#[derive(Debug)]
struct Seen {
    begun: u64,
    ended: u64,
    events: Vec<String>,
    id: Vec<u8>,
    parent: Vec<u8>,
    attributes: BTreeMap<String, String>,
}

// The broker is stopped by a blocking call, while the collector answers it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_records_trace_goes_from_its_publisher_to_its_reader() {
    let collector = MockServer::builder().start().await.unwrap();
    let delivered = carry_a_record(&collector).await;
    assert_eq!((delivered.trace, delivered.flags), (TRACE.trace, TRACE.flags));
    collector.with_collector(|collector| check_spans(collector, delivered)).await;
    collector.with_collector(check_metrics).await;
    collector.shutdown().await.unwrap();
}

/// Publishes one record whose trace is sampled and one whose is not, reads both, and stops the broker, which sends what
/// it has. Gives the trace that the reader of the first goes on with.
async fn carry_a_record(collector: &ServerHandle) -> TraceContext {
    let subscription = Subscription::all().egress(Stage::open("last"));
    let traced = Stage::new("traced", "encrypt")
        .with("grants = [\"log\", \"metrics\", \"trace\", \"keys:research\", \"time\", \"random\"]\nconfig.behaviour = \"trace\"");
    let flow =
        Flow::new("records").ingress(Stage::open("first")).ingress(Stage::open("second")).ingress(traced);
    let hospital = Hospital::new(&[flow.subscription(subscription)]);
    install_traced(&hospital);
    let endpoint = format!("http://{}", collector.addr());
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let broker = Broker::start_with(hospital.path(), &environment);
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let record = Record::new("text/plain", Bytes::from_static(PLANTED.as_bytes()));
    let record = record.with_key(PLANTED).with_attribute("patient", PLANTED);
    publisher.publish(record.clone().with_trace(TRACE)).await.unwrap();
    publisher
        .publish(record.with_trace(TraceContext { trace: [0x11; 16], flags: 0, ..TRACE }))
        .await
        .unwrap();
    publisher.finish().await.unwrap();
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    let delivered = delivery.head().trace.unwrap();
    delivery.ack();
    next(&mut subscription).await.ack();
    subscription.close().await.unwrap();
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order, "{log}");
    check_log(&log);
    delivered
}

/// A plugin for the sandbox's tests, which begins spans and logs; it gives away the body where it can.
fn install_traced(hospital: &Hospital) {
    let root = workspace();
    let target = root.join("target/plugins");
    let built =
        Guests::new(root, target).build(&["hilum-guest-hostile"]).unwrap_or_else(|error| panic!("{error}"));
    std::fs::copy(&built[0], hospital.file("plugins/encrypt.wasm")).unwrap();
}

/// What a plugin logs says where it comes from, and which span of which trace it belongs to.
fn check_log(log: &str) {
    let traced = |line: &&str| line.contains("within the inner");
    let lines: Vec<&str> = log.lines().filter(traced).collect();
    assert_eq!(lines.len(), 2, "one for each record: {log}");
    let (mut with, mut without) = (0, 0);
    for line in lines {
        says(line, &["flow=records", "stage=traced", "plugin=\"hostile\"", "version=\"0.1.0\""]);
        let trace = "ab".repeat(16);
        if line.contains(&format!("trace_id={trace}")) && line.contains("span_id=") {
            with += 1;
        } else {
            assert!(!line.contains("trace_id"), "{line}");
            without += 1;
        }
    }
    assert_eq!((with, without), (1, 1), "the one that is sampled and the one that is not: {log}");
}

fn check_spans(collector: &MockCollector, delivered: TraceContext) {
    let mut spans: BTreeMap<String, Seen> = BTreeMap::new();
    for span in collector.spans() {
        let text = format!("{span:?}");
        assert!(!text.contains(PLANTED), "an identifier is in a span: {text}");
        let span = span.span();
        let attributes = span.attributes.iter().map(|a| (a.key.clone(), format!("{:?}", a.value))).collect();
        let (id, parent) = (span.span_id.clone(), span.parent_span_id.clone());
        let (begun, ended) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let events = span.events.iter().map(|event| event.name.clone()).collect();
        assert_eq!(span.trace_id, TRACE.trace, "{} is in another trace", span.name);
        let twice = spans.insert(span.name.clone(), Seen { begun, ended, events, id, parent, attributes });
        assert!(twice.is_none(), "{} is there twice", span.name);
    }
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    let expected = [
        "append records",
        "clean",
        "deliver records",
        "find",
        "kept",
        "publish records",
        "stage first",
        "stage last",
        "stage second",
        "stage traced",
    ];
    assert_eq!(names, expected);
    let (publish, deliver) = (&spans["publish records"], &spans["deliver records"]);
    assert_eq!(publish.parent, TRACE.span, "the publisher's own span is the parent");
    assert_eq!(deliver.parent, publish.id, "the record was stored with the context of its ingest");
    assert_eq!(deliver.id, delivered.span, "the reader goes on from the delivery");
    for (child, parent) in [
        ("stage first", publish),
        ("stage second", publish),
        ("stage traced", publish),
        ("append records", publish),
        ("stage last", deliver),
        ("clean", &spans["stage traced"]),
        ("find", &spans["clean"]),
        ("kept", &spans["clean"]),
    ] {
        assert_eq!(spans[child].parent, parent.id, "{child}");
    }
    check_times(&spans);
    check_plugins(&spans);
    let says = |span: &str, attribute: &str, value: &str| {
        let found = spans[span].attributes.get(attribute);
        assert!(found.is_some_and(|found| found.contains(value)), "{span}: {attribute} is {found:?}");
    };
    for (span, operation) in
        [("publish records", "publish"), ("append records", "append"), ("deliver records", "deliver")]
    {
        says(span, "messaging.system", "hilum");
        says(span, "messaging.destination.name", "records");
        says(span, "messaging.operation.name", operation);
    }
    says("publish records", "messaging.message.body.size", &PLANTED.len().to_string());
    says("publish records", "messaging.message.id", "0");
    says("deliver records", "messaging.consumer.group.name", "all");
}

/// Each stage and each part of it has a time of its own, one after the other and one within the other.
fn check_times(spans: &BTreeMap<String, Seen>) {
    for (before, after) in [
        ("stage first", "stage second"),
        ("stage second", "stage traced"),
        ("stage traced", "append records"),
    ] {
        assert!(spans[before].ended <= spans[after].begun, "{before}, then {after}");
    }
    for (inner, outer) in [("stage last", "deliver records"), ("clean", "stage traced"), ("find", "clean")] {
        assert!(
            spans[outer].begun <= spans[inner].begun && spans[inner].ended <= spans[outer].ended,
            "{inner}"
        );
    }
    assert!(spans["kept"].ended > spans["clean"].ended, "it was kept for longer than the one around it");
}

/// What is told of plugins, and what they tell themselves: words of the broker, and numbers.
fn check_plugins(spans: &BTreeMap<String, Seen>) {
    let says = |span: &str, attribute: &str, value: &str| {
        let found = spans[span].attributes.get(attribute);
        assert!(found.is_some_and(|found| found.contains(value)), "{span}: {attribute} is {found:?}");
    };
    let octets = PLANTED.len().to_string();
    for (stage, plugin) in [("first", "access"), ("traced", "hostile")] {
        let span = format!("stage {stage}");
        says(&span, "hilum.stage.name", stage);
        says(&span, "hilum.plugin.name", plugin);
        says(&span, "hilum.plugin.version", "0.1.0");
        assert_eq!(
            spans[&span].attributes["hilum.plugin.digest"].matches(|c: char| c.is_ascii_hexdigit()).count()
                / 64,
            1
        );
        says(&span, "hilum.stage.outcome", if plugin == "access" { "obliged" } else { "passed" });
        says(&span, "hilum.stage.size.in", &octets);
        says(&span, "hilum.stage.size.out", &octets);
        says(&span, "hilum.stage.batch.records", "");
    }
    says("clean", "hilum.plugin.value.octets", &octets);
    says("clean", "hilum.plugin.value.changed", "true");
    assert_eq!(spans["clean"].attributes.len(), 3, "{:?}", spans["clean"]);
    for span in ["clean", "find", "kept"] {
        assert_eq!(spans[span].events, ["log"], "{span}");
    }
}

fn check_metrics(collector: &MockCollector) {
    for metric in collector.metrics() {
        let text = format!("{metric:?}");
        assert!(!text.contains(PLANTED), "an identifier is in a metric: {text}");
    }
    let records = [("messaging.destination.name", "records")];
    let both = [("messaging.destination.name", "records"), ("messaging.consumer.group.name", "all")];
    let metric = |name: &str| collector.expect_metric_with_name(name);
    metric("hilum.flow.stored").with_attributes(records).with_value_eq(2_i64).assert_exists();
    metric("hilum.flow.stored.size").with_attributes(records).assert_exists();
    metric("hilum.flow.append.duration").with_attributes(records).assert_exists();
    metric("hilum.subscription.delivered").with_attributes(both).with_value_eq(2_i64).assert_exists();
    metric("hilum.chain.duration").with_attributes(both).assert_exists();
    let judged = [("hilum.stage.name", "second"), ("hilum.stage.outcome", "obliged")];
    metric("hilum.stage.records").with_attributes(judged).with_value_eq(2_i64).assert_exists();
}
