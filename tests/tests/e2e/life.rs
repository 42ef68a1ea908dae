//! Plugins and configurations that change while records flow: nothing is lost, nothing comes twice, and the order stays.

mod drain;
mod lost;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hilum_client::{Client, PendingAck, RefusalCode, StreamError};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription, hilum};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::{
    CREDIT, body, done, name, next, nothing_comes, printed, said, says, subscribe, take, text,
};

/// What the guest imports.
const GRANTS: &str = r#"grants = ["keys:research", "time", "random", "log", "metrics", "trace"]"#;
const PLUGIN: &str = "\n[plugins.hostile]\npath = \"plugins/hostile.wasm\" # the guest\n";
/// Records that a publisher has under way.
const WINDOW: usize = 64;

struct Scene {
    hospital: Hospital,
    broker: Broker,
}

/// A stage of the guest.
fn behaving(behaviour: &str) -> Stage {
    Stage::new("judge", "hostile").with(&format!("{GRANTS}\nconfig = {{ behaviour = \"{behaviour}\" }}"))
}

/// Flow `records` through that stage, and through it again on the way to `second`.
fn through(stage: Stage) -> Flow {
    let second = Subscription::new("second").egress(stage.clone());
    Flow::new("records").ingress(stage).subscription(Subscription::all()).subscription(second)
}

/// The guest's component; another number makes another component that does the same.
fn component(number: u8) -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guests = hilum_plugin_build::Guests::new(workspace.clone(), workspace.join("target/plugins"));
    let built = guests.build(&["hilum-guest-hostile"]).unwrap_or_else(|error| panic!("{error}"));
    let mut octets = fs::read(&built[0]).unwrap();
    // A section that nobody reads: its kind, its size, its name of one letter and one octet.
    octets.extend_from_slice(&[0, 3, 1, b'n', number]);
    octets
}

impl Scene {
    fn new(more: &str, flows: &[Flow]) -> Self {
        let hospital = Hospital::with(&format!("{PLUGIN}{more}"), flows);
        fs::write(hospital.file("plugins/hostile.wasm"), component(0)).unwrap();
        let broker = Broker::start(hospital.path());
        Self { hospital, broker }
    }

    async fn connect(&self, identity: &str) -> Client {
        self.hospital.connect(self.broker.address(), identity).await.unwrap()
    }

    /// `hilum COMMAND DIR ... --as operator --address ADDRESS`
    fn run(&self, command: &str, rest: &str) -> Output {
        let dir = [self.hospital.path().to_str().unwrap()];
        let who = ["--as", "operator", "--address", self.broker.address()];
        hilum(command.split_whitespace().chain(dir).chain(rest.split_whitespace()).chain(who))
    }

    #[track_caller]
    fn does(&self, command: &str, rest: &str) -> String {
        let output = self.run(command, rest);
        assert_eq!(output.status.code(), Some(0), "{command} {rest}: {}{}", printed(&output), said(&output));
        printed(&output)
    }

    /// What a command says that does not do it.
    #[track_caller]
    fn fails(&self, exit: i32, command: &str, rest: &str) -> String {
        let output = self.run(command, rest);
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{command} {rest}: {}{}",
            printed(&output),
            said(&output)
        );
        printed(&output) + &said(&output)
    }

    fn write_flow(&self, flow: &Flow) {
        fs::write(self.hospital.file("flows/0.toml"), flow.to_string()).unwrap();
    }

    /// Replaces words of a file that are there once.
    #[track_caller]
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.hospital.file(file);
        let old = fs::read_to_string(&path).unwrap();
        assert_eq!(old.matches(from).count(), 1, "`{from}` is not once in {old}");
        fs::write(path, old.replace(from, to)).unwrap();
    }

    fn stages(&self) -> BTreeMap<String, Value> {
        let place = |stage: &Value| match &stage["subscription"] {
            Value::String(subscription) => format!("{subscription}/{}", stage["stage"].as_str().unwrap()),
            _ => stage["stage"].as_str().unwrap().to_owned(),
        };
        let listed = done(&self.hospital, &self.broker, "operator", "plugin status");
        listed.into_iter().map(|stage| (place(&stage), stage)).collect()
    }

    fn audited(&self, action: &str) -> Vec<Value> {
        done(&self.hospital, &self.broker, "operator", &format!("audit --action {action}"))
    }
}

/// A publisher that goes on until it is stopped; gives how many of its records were acked, all of them.
struct Source {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Source {
    fn start(client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(publish(client, stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap()
    }
}

async fn publish(client: Client, stop: Arc<AtomicBool>) -> u64 {
    let publisher = client.publisher(&name("records")).await.unwrap();
    let mut under_way: VecDeque<PendingAck> = VecDeque::new();
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        while under_way.len() < WINDOW {
            let record = text(&number.to_string()).with_key(&format!("key-{}", number % 50));
            under_way.push_back(publisher.enqueue(record).await.unwrap());
            number += 1;
        }
        under_way.pop_front().unwrap().await.unwrap();
        // The machine has other things to do as well.
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    for pending in under_way {
        pending.await.unwrap();
    }
    publisher.finish().await.unwrap();
    number
}

/// Reads everything up to a number that it learns at the end; gives what came.
fn follow(
    client: Client,
    subscription: &str,
    mut last: tokio::sync::watch::Receiver<u64>,
) -> JoinHandle<Vec<u64>> {
    let of = name(subscription);
    tokio::spawn(async move {
        let mut subscription = client.subscribe(&name("records"), &of, CREDIT).await.unwrap();
        let mut came = Vec::new();
        loop {
            let delivery = tokio::select! {
                delivery = next(&mut subscription) => delivery,
                changed = last.changed() => {
                    changed.unwrap();
                    if came.len() as u64 >= *last.borrow() { break }
                    continue;
                }
            };
            came.push(body(&delivery).parse().unwrap());
            delivery.ack();
            if came.len() as u64 == *last.borrow() {
                break;
            }
        }
        nothing_comes(&mut subscription).await;
        subscription.close().await.unwrap();
        came
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_moved_while_plugins_come_and_go() {
    let scene = Scene::new("", &[through(behaving("pass"))]);
    let (tell, told) = tokio::sync::watch::channel(u64::MAX);
    let readers = [
        follow(scene.connect("reader").await, "all", told.clone()),
        follow(scene.connect("reader").await, "second", told),
    ];
    let source = Source::start(scene.connect("scanner").await);
    let file = |number: u8| {
        let path = scene.hospital.file(&format!("hostile-{number}.wasm"));
        fs::write(&path, component(number)).unwrap();
        path.display().to_string()
    };

    // Another configuration of the stage, on the way in and out.
    scene.write_flow(&through(behaving("annotate")));
    let shown = scene.does("reload", "--dry-run");
    says(&shown, &["~ flows.records.ingress.judge.config: ", "annotate", "nothing was changed"]);
    says(
        &scene.does("reload", "--yes --note ticket-1"),
        &["2 changes took effect", "second.egress.judge.config", "drained: the last batch on the 2 chains"],
    );
    says(&scene.does("reload", "--yes"), &["has this configuration already"]);
    // Another component.
    says(
        &scene.does("plugin upgrade", &format!("hostile --to {} --yes", file(1))),
        &["plugins.hostile.component"],
    );
    let main = fs::read_to_string(scene.hospital.file("hilum.toml")).unwrap();
    says(&main, &["[plugins.hostile]\npath = \"plugins/hostile-", "# the guest\nsha256 = \""]);
    // One that is tried and taken, one that is tried and not.
    for (number, end) in [(2, "promote"), (3, "rollback")] {
        let begin = format!("hostile --to {} --share 30% --min-records 50 --yes", file(number));
        says(&scene.does("plugin canary", &begin), &["flows.records.ingress.judge.canary", "hostile-next"]);
        wait_for_trial(&scene).await;
        scene.does(&format!("plugin {end}"), "hostile --yes");
        assert!(scene.stages().values().all(|stage| stage["canary"].is_null()));
    }
    // One that no stage uses.
    says(&scene.fails(1, "plugin retire", "hostile --yes"), &["is used by stage `judge` of flow `records`"]);
    scene.does("plugin retire", "encrypt --yes");
    assert!(!scene.hospital.file("plugins/encrypt.wasm").exists());

    let count = source.stop().await;
    tell.send_replace(count);
    for reader in readers {
        let came = tokio::time::timeout(Duration::from_secs(120), reader).await.unwrap().unwrap();
        assert!(came.iter().copied().eq(0..count), "{} of {count} came", came.len());
    }
    let stages = scene.stages();
    let digest = |number| hilum_core::Digest::of(&component(number)).to_string();
    assert_eq!((&stages["judge"]["current"]["sha256"], stages.len()), (&digest(2).into(), 2));
    let reloads = scene.audited("reloaded");
    says(reloads[0]["reason"].as_str().unwrap(), &["2 changes", "operators[0]", "ticket-1"]);
    assert_eq!(reloads.len(), 7);
    let loaded = scene.audited("plan-loaded");
    let plans: BTreeSet<String> = loaded.iter().map(plan).collect();
    assert_eq!(plans.len(), 5, "each that ran is announced, those that were tried too: {loaded:?}");
    // Every reload but the one that took out what no stage used replaced both chains, and each of them came to its end.
    let drained = scene.audited("drained");
    assert_eq!(drained.len(), 2 * (reloads.len() - 1), "{drained:?}");
    assert!(drained.iter().all(|event| plans.contains(&plan(event))), "{drained:?}");
    let of_second = drained.iter().filter(|event| event["subscription"] == "second");
    assert_eq!(of_second.count(), reloads.len() - 1);
    assert!(scene.audited("quarantined").is_empty());
    let (in_good_order, log) = scene.broker.stop();
    assert!(in_good_order, "{log}");
}

/// The plan that an event of the audit is about.
fn plan(event: &Value) -> String {
    event["reason"].as_str().unwrap().split(' ').next().unwrap().to_owned()
}

/// Until the candidate had some records on the way in and out.
async fn wait_for_trial(scene: &Scene) {
    for _ in 0..200 {
        let stages = scene.stages();
        let records = |stage: &Value| stage["canary"]["candidate"]["records"].as_u64().unwrap_or(0);
        if stages.values().all(|stage| records(stage) > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing was tried: {:?}", scene.stages());
}

/// A candidate that traps. Records go through the current version instead, and it is taken back for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_fails_is_rolled_back_and_stays_so() {
    let next = "\n[plugins.hostile-next]\npath = \"plugins/hostile-next.wasm\"\n";
    let mut scene = Scene::new("", &[through(behaving("pass"))]);
    fs::write(scene.hospital.file("plugins/hostile-next.wasm"), component(1)).unwrap();
    let main = fs::read_to_string(scene.hospital.file("hilum.toml")).unwrap();
    fs::write(scene.hospital.file("hilum.toml"), main + next).unwrap();
    let canary = r#"canary = { plugin = "hostile-next", share = 0.5, max_error_rate = 0.05, min_records = 40, config = { behaviour = "trap" } }"#;
    scene.write_flow(&through(behaving("pass").with(canary)));
    says(&scene.does("reload", "--yes"), &["+ plugins.hostile-next.path", "ingress.judge.canary"]);

    let (tell, told) = tokio::sync::watch::channel(u64::MAX);
    let readers = [
        follow(scene.connect("reader").await, "all", told.clone()),
        follow(scene.connect("reader").await, "second", told),
    ];
    let source = Source::start(scene.connect("scanner").await);
    wait_for_rollback(&scene).await;
    let count = source.stop().await;
    tell.send_replace(count);
    for reader in readers {
        let came = tokio::time::timeout(Duration::from_secs(120), reader).await.unwrap().unwrap();
        assert!(came.iter().copied().eq(0..count), "{} of {count} came", came.len());
    }
    assert!(
        scene.audited("quarantined").is_empty(),
        "what the candidate failed on went through the other one"
    );
    let rolled = scene.audited("rolled-back");
    assert_eq!(rolled.len(), 2, "on the way in and on the way out: {rolled:?}");
    says(rolled[0]["reason"].as_str().unwrap(), &["stage `judge`", "the candidate failed on"]);
    says(&scene.fails(3, "plugin promote", "hostile --yes"), &["was rolled back"]);

    let (in_good_order, log) = scene.broker.stop();
    assert!(in_good_order, "{log}");
    says(&log, &["a plugin that was tried made too many errors and was rolled back"]);
    scene.broker = Broker::start(scene.hospital.path());
    let is_rolled_back = |stage: &Value| !stage["canary"]["rolled_back"].is_null();
    assert!(scene.stages().values().all(is_rolled_back), "also after a restart: {:?}", scene.stages());
    // Another trial of it is another one; and without any nothing is remembered.
    scene.does("plugin rollback", "hostile --yes");
    assert!(scene.stages().values().all(|stage| stage["canary"].is_null()));
    let events = scene.audited("rolled-back");
    says(events.last().unwrap()["reason"].as_str().unwrap(), &["may be tried again"]);
}

async fn wait_for_rollback(scene: &Scene) {
    for _ in 0..200 {
        let stages = scene.stages();
        if stages.values().all(|stage| !stage["canary"]["rolled_back"].is_null()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing was rolled back: {:?}", scene.stages());
}

/// Until the broker knows that everything was acked.
async fn settled(scene: &Scene) {
    for _ in 0..200 {
        let status = done(&scene.hospital, &scene.broker, "operator", "subscription status records all");
        if status[0]["lag"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the reader's acks did not come");
}

#[tokio::test]
async fn who_loses_a_right_loses_it_at_once() {
    let second =
        "\n[principals.deputy]\npath = \"service/deputy\"\nstakeholder = \"ward\"\nzone = \"clinic\"\n";
    let scene = Scene::new(second, &[Flow::plain()]);
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    publisher.publish(text("before")).await.unwrap();
    let reader = scene.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    assert_eq!(take(&mut subscription, 1).await, ["before"]);

    settled(&scene).await;

    // A principal that is taken out is let go of.
    let reader_table = "[principals.reader]\npath = \"service/reader\"\nstakeholder = \"ward\"\nzone = \"clinic\"\nroles = [\"reader\"]\n";
    scene.edit("hilum.toml", reader_table, "");
    says(&scene.does("reload", "--yes"), &["- principals.reader.path"]);
    let gone = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.unwrap();
    says(&gone.unwrap_err().to_string(), &["principal"]);
    assert!(scene.hospital.connect(scene.broker.address(), "reader").await.is_err());
    publisher.publish(text("between")).await.unwrap();
    let deputy_client = scene.connect("deputy").await;
    let mut deputy = subscribe(&deputy_client).await;
    assert_eq!(take(&mut deputy, 1).await, ["between"]);

    // A publisher that loses its rule is refused on the stream that it has.
    scene.edit(
        "flows/0.toml",
        "[[publish]]\nstakeholder = \"clinic\"",
        "[[publish]]\nstakeholder = \"privacy\"",
    );
    scene.does("reload", "--yes");
    let refused = publisher.publish(text("after")).await.unwrap_err();
    says(&refused.to_string(), &["no rule lets stakeholder `clinic`"]);
    nothing_comes(&mut deputy).await;

    // A filter of a reader that stays.
    scene.edit("flows/0.toml", "stakeholder = \"privacy\"", "stakeholder = \"clinic\"");
    scene.edit("flows/0.toml", "purpose = \"TREAT\"", "purpose = \"TREAT\"\nfilter = \"kind = 'b'\"");
    says(&scene.does("reload", "--yes"), &["+ flows.records.subscription.all.filter = kind = 'b'"]);
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    for kind in ["a", "b"] {
        publisher.publish(text(kind).with_attribute("kind", kind)).await.unwrap();
    }
    assert_eq!(take(&mut deputy, 1).await, ["b"]);
}

#[tokio::test]
async fn only_what_was_shown_is_applied_and_only_as_a_whole() {
    let scene = Scene::new("", &[Flow::plain().ingress(behaving("pass"))]);
    let operator = scene.connect("operator").await;
    let mut admin = operator.admin("").await.unwrap();
    scene.write_flow(&Flow::plain().ingress(behaving("annotate")));
    let shown = admin.preview().await.unwrap();
    assert_eq!(shown.changes.len(), 1);
    scene.write_flow(&Flow::plain().ingress(behaving("reverse")));
    let refused = admin.reload(shown.digest.unwrap()).await.unwrap_err();
    let StreamError::Refused(refusal) = refused.source else { panic!("{refused}") };
    assert_eq!(refusal.code, RefusalCode::Changed);

    // A stage that its plugin refuses, a component that is none, a file that is no TOML.
    scene.write_flow(&Flow::plain().ingress(behaving("misconfigured")));
    says(&scene.fails(1, "reload", "--yes"), &["error: flows/0.toml:", "this one is never right", "help: "]);
    scene.write_flow(&Flow::plain().ingress(behaving("pass")));
    fs::write(scene.hospital.file("bad.wasm"), "not WebAssembly").unwrap();
    let before = fs::read_to_string(scene.hospital.file("hilum.toml")).unwrap();
    let components = || fs::read_dir(scene.hospital.file("plugins")).unwrap().count();
    let components_before = components();
    let bad = scene.hospital.file("bad.wasm").display().to_string();
    says(
        &scene.fails(1, "plugin upgrade", &format!("hostile --to {bad} --yes")),
        &["not a WebAssembly component"],
    );
    assert_eq!(fs::read_to_string(scene.hospital.file("hilum.toml")).unwrap(), before, "put back");
    assert_eq!(components(), components_before, "the component too");

    // What needs a restart keeps everything else from being changed too.
    scene.write_flow(&Flow::plain().with("ack = \"memory\"").ingress(behaving("annotate")));
    let said = scene.fails(3, "reload", "--yes");
    says(&said, &["flows.records.ack", "(needs a restart)", "nothing was changed"]);
    // Nobody to ask, and nobody who may.
    scene.write_flow(&Flow::plain().ingress(behaving("annotate")));
    says(&scene.fails(1, "reload", ""), &["--yes"]);
    let dir = scene.hospital.path().to_str().unwrap();
    let steward = hilum(["reload", dir, "--as", "steward", "--address", scene.broker.address(), "--yes"]);
    assert_eq!(steward.status.code(), Some(3));
    says(&crate::support::said(&steward), &["operator's right `configure`"]);
    assert!(scene.audited("reloaded").is_empty());

    // The broker went on as it was.
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    publisher.publish(text("as ever")).await.unwrap();
    let reader = scene.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    let delivery = next(&mut subscription).await;
    assert_eq!((body(&delivery).as_str(), delivery.head().attributes.len()), ("as ever", 0));
}
