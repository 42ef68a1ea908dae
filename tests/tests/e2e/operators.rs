//! Operators at work: what a chain stopped is listed, shown, released and destroyed; whoever has no right learns nothing; what
//! identifies a patient is shown to nobody who may not see it.

use std::process::Output;

use bytes::Bytes;
use hilum_client::Record;
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{CREDIT, body, done, name, next, operate, printed, said, says};

/// A patient, in key, attribute, content type and body.
const CANARY: &str = "ZEBEDIAHCANARY";

/// A policy that a typing error made useless: it lets nothing pass that is a scan.
const WRONG: &str = r#"@id("scans") permit(principal, action, resource) when { resource.contentType == "application/dicon" };"#;
/// The policy as it was meant.
const RIGHT: &str = r#"@id("scans") permit(principal, action, resource) when { resource.contentType == "application/dicom" };"#;

fn imaging(policies: &str) -> Flow {
    Flow::new("imaging")
        .class("imaging")
        .ingress(Stage::access("check", policies))
        .subscription(Subscription::all())
}

struct Scene {
    hospital: Hospital,
    broker: Broker,
}

impl Scene {
    /// A broker that refused so many scans of one patient, by a rule that is wrong.
    async fn new(scans: usize) -> Self {
        let hospital = Hospital::new(&[imaging(WRONG)]);
        let broker = Broker::start(hospital.path());
        let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
        let publisher = scanner.publisher(&name("imaging")).await.unwrap();
        for scan in 0..scans {
            let octets = format!("DICM {scan} {CANARY}");
            let record = Record::new("application/dicom", Bytes::from(octets));
            let record = record.with_key(CANARY).with_attribute("patient", CANARY);
            publisher.publish(record).await.unwrap_err();
        }
        Self { hospital, broker }
    }

    /// Stops the broker, corrects the rule, and starts it again.
    fn mend(self) -> Self {
        let (in_good_order, log) = self.broker.stop();
        assert!(in_good_order, "{log}");
        std::fs::write(self.hospital.file("flows/0.toml"), imaging(RIGHT).to_string()).unwrap();
        let broker = Broker::start(self.hospital.path());
        Self { hospital: self.hospital, broker }
    }

    fn run(&self, who: &str, command: &str) -> Output {
        operate(&self.hospital, &self.broker, who, command)
    }

    fn done(&self, who: &str, command: &str) -> Vec<Value> {
        done(&self.hospital, &self.broker, who, command)
    }

    /// What a command says that is refused.
    fn refused(&self, who: &str, command: &str) -> String {
        let output = self.run(who, command);
        assert_eq!(output.status.code(), Some(3), "{command}: {}", said(&output));
        assert_eq!(printed(&output), "", "{command}");
        said(&output)
    }
}

#[tokio::test]
async fn a_refused_scan_is_shown_released_when_the_rule_is_right_and_the_others_destroyed() {
    let scene = Scene::new(3).await;
    let listed = scene.done("operator", "quarantine list");
    let ids: Vec<_> = listed.iter().map(|entry| entry["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 1, 2]);
    let entry = &listed[0];
    assert_eq!((&entry["flow"], &entry["stage"]), (&"imaging".into(), &"check".into()));
    assert_eq!(entry["source"], "spiffe://test/device/scanner");
    assert!(scene.done("operator", "quarantine list imaging --code other").is_empty());
    assert!(scene.done("operator", "quarantine list imaging --older-than 1h").is_empty());
    assert_eq!(scene.done("operator", "quarantine list imaging --newer-than 1h").len(), 3);
    let again = scene.refused("operator", "quarantine release imaging 0");
    says(&again, &["imaging 0", "stopped it again", "stage `check`"]);

    let scene = scene.mend();
    let released = scene.done("operator", "quarantine release imaging 0 1 --note ticket-4711");
    let outcomes: Vec<_> = released.iter().map(|line| (&line["outcome"], &line["offset"])).collect();
    assert_eq!(outcomes, [(&"stored".into(), &0.into()), (&"stored".into(), &1.into())]);
    scene.done("operator", "quarantine destroy imaging 2 --note ticket-4711");
    assert!(scene.done("operator", "quarantine list").is_empty());
    says(&scene.refused("operator", "quarantine show imaging 2"), &["there is no record 2"]);

    let reader = scene.hospital.connect(scene.broker.address(), "reader").await.unwrap();
    let mut subscription = reader.subscribe(&name("imaging"), &name("all"), CREDIT).await.unwrap();
    for scan in 0..2 {
        let delivery = next(&mut subscription).await;
        assert_eq!(body(&delivery), format!("DICM {scan} {CANARY}"));
        assert_eq!(delivery.head().key.as_deref(), Some(CANARY));
        delivery.ack();
    }
    subscription.close().await.unwrap();
    for (action, count) in [("released", 3), ("destroyed", 1), ("quarantined", 4)] {
        let events = scene.done("operator", &format!("audit --flow imaging --action {action}"));
        assert_eq!(events.len(), count, "{action}: {events:?}");
    }
    let noted = scene.done("operator", "audit --action destroyed");
    says(noted[0]["reason"].as_str().unwrap(), &["quarantine record 2", "operators[0]", "ticket-4711"]);
}

#[tokio::test]
async fn whoever_has_no_right_learns_nothing_and_is_in_the_audit() {
    let scene = Scene::new(1).await;
    // No operator at all.
    let denied = scene.refused("scanner", "quarantine list imaging");
    says(&denied, &["denied", "no rule gives stakeholder `clinic`", "[[operators]]"]);
    assert_eq!(scene.refused("scanner", "quarantine list nowhere"), denied, "the same of what is not there");
    // An operator without this right; what is there and what is not sound the same.
    for command in ["show imaging 0 --disclose", "show imaging 0 --body"] {
        let denied = scene.refused("operator", &format!("quarantine {command}"));
        says(&denied, &["operator's right `bodies`"]);
        assert_eq!(
            scene.refused("operator", &format!("quarantine {}", command.replace(" 0", " 99"))),
            denied
        );
    }
    for command in ["quarantine release imaging 0", "quarantine destroy imaging 0"] {
        says(&scene.refused("steward", command), &["operator's right `quarantine`"]);
    }
    says(&scene.refused("steward", "hold add imaging --note x"), &["operator's right `holds`"]);
    says(
        &scene.refused("steward", "subscription pause imaging all --note x"),
        &["operator's right `subscriptions`"],
    );
    let denials = scene.done("operator", "audit --action denied");
    let by = |who: &str| {
        denials.iter().filter(|event| event["principal"] == format!("spiffe://test/{who}")).count()
    };
    assert_eq!(
        [by("device/scanner"), by("service/operator"), by("service/steward")],
        [2, 4, 4],
        "{denials:?}"
    );
    assert_eq!(scene.done("operator", "quarantine list").len(), 1, "nothing was done");
}

#[tokio::test]
async fn what_identifies_a_patient_is_shown_only_to_who_may_see_it() {
    let scene = Scene::new(1).await;
    let commands = [
        "quarantine list",
        "quarantine show imaging 0",
        "audit",
        "flow list",
        "flow show imaging",
        "hold list",
    ];
    for command in commands {
        for json in ["", " --json"] {
            let output = scene.run("operator", &format!("{command}{json}"));
            assert_eq!(output.status.code(), Some(0), "{command}: {}", said(&output));
            let shown = printed(&output) + &said(&output);
            assert!(!shown.contains(CANARY), "`{command}{json}` shows a patient: {shown}");
        }
    }
    let [disclosed] = &scene.done("steward", "quarantine show imaging 0 --disclose")[..] else {
        panic!("not one line")
    };
    assert_eq!((&disclosed["key"], &disclosed["attributes"]["patient"]), (&CANARY.into(), &CANARY.into()));
    let shown = scene.run("steward", "quarantine show imaging 0 --body");
    assert_eq!(printed(&shown), format!("DICM 0 {CANARY}"));
    let events = scene.done("operator", "audit --action disclosed");
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(!format!("{events:?}").contains(CANARY));
    let (in_good_order, log) = scene.broker.stop();
    assert!(in_good_order && !log.contains(CANARY), "{log}");
}

#[tokio::test]
async fn subscriptions_are_paused_moved_and_resumed_and_holds_are_kept() {
    let scene = Scene::new(2).await.mend();
    scene.done("operator", "quarantine release imaging 0");
    let [status] = &scene.done("operator", "subscription status imaging all")[..] else {
        panic!("not one line")
    };
    assert_eq!((&status["lag"], &status["paused"]), (&1.into(), &false.into()));
    says(&scene.refused("operator", "subscription pause imaging all"), &["a reason has"]);
    scene.done("operator", "subscription pause imaging all --note maintenance");
    let [status] = &scene.done("operator", "subscription status imaging")[..] else { panic!("not one line") };
    assert_eq!(status["paused"], true);
    scene.done("operator", "subscription resume imaging all");
    let [moved] = &scene.done("operator", "subscription seek imaging all end")[..] else {
        panic!("not one line")
    };
    assert_eq!(moved["offset"], 1);
    assert_eq!(scene.done("operator", "subscription status imaging all")[0]["lag"], 0);
    says(&scene.refused("operator", "subscription seek imaging none start"), &["no subscription `none`"]);

    scene.done("operator", "hold add imaging --note case-12");
    says(&scene.refused("operator", "quarantine destroy imaging 1"), &["a legal hold keeps record 1"]);
    let [hold] = &scene.done("operator", "hold list")[..] else { panic!("not one line") };
    assert_eq!((&hold["flow"], &hold["reason"]), (&"imaging".into(), &"case-12".into()));
    scene.done("operator", &format!("hold remove imaging {}", hold["id"]));
    scene.done("operator", "quarantine destroy imaging 1");
    let [flow] = &scene.done("operator", "flow list")[..] else { panic!("not one line") };
    assert_eq!((&flow["end"], &flow["quarantine"]["records"]), (&1.into(), &0.into()));
}
