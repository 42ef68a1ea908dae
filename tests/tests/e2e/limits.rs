//! A plugin that loops, again and again, beside a flow that is as it should be: the other flow's records take at most twice as long, an
//! operator sees which limit it was and how often, and what could not pass meanwhile passes when it is released.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hilum_client::{Client, PublishError, Publisher, Record};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{body, done, name, next, operate, printed, says, subscribe, take, text};

/// Records that are timed in one go.
const TIMED: usize = 1000;
/// A machine that does other work delays some records now and then; it does not do so each time.
const ATTEMPTS: usize = 6;

/// Loops on a record with the attribute `bad`, for 200 ms.
const SPIN: &str = r#"grants = ["keys:research", "time", "random", "log", "metrics", "trace"]
config = { behaviour = "spin-on-bad" }
limits = { call_ms = 200, "#;
/// It is never left alone: there is always one that loops.
const ALWAYS: &str = "breaker_faults = 1000000 }";
/// After three of them it is left alone, long enough to be held up in on a machine that does other work.
const LONG: &str = "breaker_faults = 3, breaker_ms = 3000, breaker_max_ms = 3000 }";
const LONG_TIME: Duration = Duration::from_millis(3200);

/// Another one that publishes what `scanner` publishes.
const OTHER: &str = r#"
[principals.other]
path = "device/other"
stakeholder = "clinic"
zone = "clinic"
"#;

struct Scene {
    hospital: Hospital,
    broker: Broker,
    scanner: Client,
}

impl Scene {
    async fn new(breaker: &str) -> Self {
        let more = format!("[plugins.hostile]\npath = \"plugins/hostile.wasm\"\n{OTHER}");
        let slow = Flow::new("slow").ingress(Stage::new("spin", "hostile").with(&format!("{SPIN}{breaker}")));
        let flows = [Flow::plain().ingress(Stage::open("gate")), slow.subscription(Subscription::all())];
        let hospital = Hospital::with(&more, &flows);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let guests = hilum_plugin_build::Guests::new(workspace.clone(), workspace.join("target/plugins"));
        let built = guests.build(&["hilum-guest-hostile"]).unwrap_or_else(|error| panic!("{error}"));
        std::fs::copy(&built[0], hospital.file("plugins/hostile.wasm")).unwrap();
        let broker = Broker::start(hospital.path());
        let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
        Self { hospital, broker, scanner }
    }

    fn operator(&self, command: &str) -> Vec<Value> {
        done(&self.hospital, &self.broker, "operator", command)
    }
}

fn bad() -> Record {
    text("DOE^JANE").with_attribute("bad", "yes")
}

/// Publishes what the plugin loops on until it is told to stop; gives how many records that were.
fn attack(scanner: Client, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    tokio::spawn(async move {
        let publisher = scanner.publisher(&name("slow")).await.unwrap();
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            publisher.publish(bad()).await.unwrap_err();
            count += 1;
        }
        count
    })
}

/// The time in which 99 of 100 records get from their publisher to their reader.
async fn p99(publisher: &Publisher, reader: &mut hilum_client::Subscription) -> Duration {
    let mut times = Vec::with_capacity(TIMED);
    for number in 0..TIMED {
        let began = Instant::now();
        publisher.publish(text(&number.to_string())).await.unwrap();
        assert_eq!(take(reader, 1).await, [number.to_string()]);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[TIMED * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_loops_leaves_another_flows_p99_within_twice_its_baseline() {
    let scene = Scene::new(ALWAYS).await;
    let reading = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut reader = subscribe(&reading).await;
    let publisher = scene.scanner.publisher(&name("records")).await.unwrap();
    p99(&publisher, &mut reader).await;
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let baseline = p99(&publisher, &mut reader).await;
        let stop = Arc::new(AtomicBool::new(false));
        let attack = attack(scene.scanner.clone(), stop.clone());
        let beside = p99(&publisher, &mut reader).await;
        stop.store(true, Ordering::Relaxed);
        let attacks = attack.await.unwrap();
        assert!(attacks > 0, "nothing was tried");
        seen.push((baseline, beside, attacks));
        if beside <= 2 * baseline {
            println!("p99 {baseline:?} alone, {beside:?} beside {attacks} records that loop");
            return;
        }
    }
    panic!("p99 alone, p99 beside a plugin that loops, records that it loops on: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_fails_again_and_again_is_left_alone_and_its_records_wait_in_quarantine() {
    let scene = Scene::new(LONG).await;
    let publisher = scene.scanner.publisher(&name("slow")).await.unwrap();
    for _ in 0..3 {
        let error = publisher.publish(bad()).await.unwrap_err();
        says(&error.to_string(), &["stage `spin`: time-limit: ", "`call_ms` is 200"]);
    }
    let error = publisher.publish(text("held up")).await.unwrap_err();
    says(&error.to_string(), &["stage `spin`: breaker-open: plugin hostile 0.1.0 failed 3 times"]);

    let kept = scene.operator("quarantine list slow");
    let codes: Vec<&str> = kept.iter().map(|record| record["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["time-limit", "time-limit", "time-limit", "breaker-open"]);
    assert!(!format!("{kept:?}").contains("DOE"));

    // The breaker closes with the first record that goes well: one that was held up, or a new one.
    tokio::time::sleep(LONG_TIME).await;
    scene.operator("quarantine release slow 3 --note ticket-4711");
    publisher.publish(text("as ever")).await.unwrap();
    let reading = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut reader = reading.subscribe(&name("slow"), &name("all"), crate::support::CREDIT).await.unwrap();
    let mut read = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut reader).await;
        read.push(body(&delivery));
        delivery.ack();
    }
    assert_eq!(read, ["held up", "as ever"]);
    assert_eq!(scene.operator("quarantine list slow").len(), 3, "what is bad stays");

    let (in_good_order, log) = scene.broker.stop();
    assert!(in_good_order, "{log}");
    says(
        &log,
        &[
            "a plugin ran into a limit",
            "flow=slow",
            "plugin=\"hostile\"",
            "version=\"0.1.0\"",
            "limit=call_ms",
            "count=1",
        ],
    );
    says(&log, &["a plugin fails again and again", "faults=3", "a plugin works again"]);
    assert!(!log.contains("DOE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_publishers_poison_takes_no_other_publishers_records_with_it_and_operators_see_whose_it_is() {
    let scene = Scene::new(LONG).await;
    let other = scene.hospital.connect(scene.broker.address(), "other").await.unwrap();
    let [poison, well] = [scene.scanner.clone(), other]
        .map(|client| async move { client.publisher(&name("slow")).await.unwrap() });
    let (poison, well) = (poison.await, well.await);
    for _ in 0..3 {
        poison.publish(bad()).await.unwrap_err();
    }
    for record in ["one", "two", "three"] {
        well.publish(text(record)).await.unwrap();
    }

    // It stays open until a record of the same publisher goes well, however long that takes.
    let flows = scene.operator("flow list");
    let of = |flow: &str| flows.iter().find(|status| status["flow"] == flow).unwrap()["breakers"].clone();
    assert_eq!(of("records"), serde_json::json!([]));
    let slow = of("slow");
    let [open] = &slow.as_array().unwrap()[..] else { panic!("not one: {flows:?}") };
    let shown = ["stage", "plugin", "version", "on", "source", "faults"].map(|key| open[key].clone());
    let expected = ["spin", "hostile", "0.1.0", "source", "spiffe://test/device/scanner"].map(Value::from);
    assert_eq!((&shown[..5], &shown[5]), (&expected[..], &Value::from(3)));
    assert_eq!(open["until"].as_u64().unwrap() - open["since"].as_u64().unwrap(), 3000);
    let lines = printed(&operate(&scene.hospital, &scene.broker, "operator", "flow list"));
    says(
        &lines,
        &[
            "stage `spin` is left alone since 2",
            "plugin hostile 0.1.0 failed 3 times on records of spiffe://test/device/scanner; tried again at 2",
        ],
    );
    assert!(!format!("{flows:?}{lines}").contains("DOE"));

    tokio::time::sleep(LONG_TIME).await;
    poison.publish(text("as ever")).await.unwrap();
    assert!(scene.operator("flow list").iter().all(|status| status["breakers"] == serde_json::json!([])));
    for (action, what) in [
        (
            "breaker-opened",
            "stage `spin`: plugin hostile 0.1.0 failed 3 times one after another on records of ",
        ),
        ("breaker-closed", "stage `spin`: plugin hostile 0.1.0 works again, after 3 faults on records of "),
    ] {
        // It is written a moment after it happened.
        let events = loop {
            let events = scene.operator(&format!("audit --action {action}"));
            if !events.is_empty() {
                break events;
            }
        };
        let [event] = &events[..] else { panic!("not one: {events:?}") };
        assert_eq!(
            (&event["flow"], &event["principal"]),
            (&"slow".into(), &"spiffe://test/device/scanner".into())
        );
        says(event["reason"].as_str().unwrap(), &[what]);
        assert!(!format!("{event}").contains("DOE"));
    }
}

/// What a publisher is told of a record that the breaker stopped: it may try again, as with any other failure of a chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_an_open_breaker_stopped_is_refused_as_what_failed() {
    let scene = Scene::new(LONG).await;
    let publisher = scene.scanner.publisher(&name("slow")).await.unwrap();
    let mut refusals = Vec::new();
    for record in [bad(), bad(), bad(), text("held up")] {
        let PublishError::Refused { refusal, .. } = publisher.publish(record).await.unwrap_err() else {
            panic!("it is refused");
        };
        refusals.push((refusal.code, refusal.retryable));
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
}
