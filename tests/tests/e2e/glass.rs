//! Breaking the glass: a reader states why when it begins to read, its own records are judged by that, and the audit has it.

use std::time::{Duration, Instant};

use hilum_client::{Client, ReasonCode, SeekTo, SubscribeOptions, Subscription as Reading};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{CREDIT, body, done, name, next, nothing_comes, operate, printed, said, says, text};

const POLICIES: &str = r#"
    @id("emergency") @break_glass("stroke trauma") @justify("within 72h, to the privacy officer")
    permit(principal in Role::"reader", action == Action::"read", resource);"#;

/// For what the audit should have by then.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    hospital: Hospital,
    broker: Broker,
    scanner: Client,
    reader: Client,
}

impl Scene {
    /// Flow `records` with subscription `all` for emergencies, with these lines.
    async fn new(lines: &str) -> Self {
        let urgent = Subscription::all().purpose("BTG").with(lines).egress(Stage::access("check", POLICIES));
        let hospital = Hospital::new(&[Flow::new("records").subscription(urgent)]);
        let broker = Broker::start(hospital.path());
        let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
        let reader = hospital.connect(broker.address(), "reader").await.unwrap();
        Self { hospital, broker, scanner, reader }
    }

    /// Publishes what says of itself that the glass is broken.
    async fn publish(&self, of: &str) {
        let publisher = self.scanner.publisher(&name("records")).await.unwrap();
        let record = text(of).with_attribute("purpose", "BTG").with_attribute("break-glass-reason", "stroke");
        publisher.publish(record).await.unwrap();
        publisher.finish().await.unwrap();
    }

    async fn read(&self, from: Option<SeekTo>, reason: Option<&str>) -> Reading {
        let break_glass = reason.map(name::<ReasonCode>);
        let options = SubscribeOptions { from, break_glass };
        self.reader.subscribe_with(&name("records"), &name("all"), CREDIT, options).await.unwrap()
    }

    fn audit(&self, action: &str) -> Vec<Value> {
        done(&self.hospital, &self.broker, "operator", &format!("audit --action {action}"))
    }

    /// Waits until so many records were withheld; gives the reasons.
    async fn withheld(&self, count: usize) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let events = self.audit("withheld");
            if events.len() >= count {
                return events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect();
            }
            assert!(begun.elapsed() < PATIENCE, "{events:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_reader_that_states_why_it_breaks_the_glass_gets_what_the_record_alone_does_not_open() {
    let scene = Scene::new("replay = true").await;
    scene.publish("urgent").await;
    for (count, reason) in [(1, None), (2, Some("curious"))] {
        let mut reading = scene.read(Some(SeekTo::Start), reason).await;
        let withheld = scene.withheld(count).await;
        says(&withheld[count - 1], &["break-glass-reason", "`emergency`", "by the reader"]);
        nothing_comes(&mut reading).await;
        reading.close().await.unwrap();
    }
    assert!(scene.audit("obliged").is_empty());

    let mut reading = scene.read(Some(SeekTo::Start), Some("stroke")).await;
    let delivery = next(&mut reading).await;
    assert_eq!(body(&delivery), "urgent");
    delivery.ack();
    reading.close().await.unwrap();

    let reader = "spiffe://test/service/reader";
    let stated = scene.audit("stated");
    let reasons: Vec<_> = stated.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["break-glass-reason=curious", "break-glass-reason=stroke"]);
    let obliged = scene.audit("obliged");
    let reasons: Vec<_> = obliged.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "stage `check`: audit=break-glass",
            "stage `check`: break-glass-policy=emergency",
            "stage `check`: break-glass-reason=stroke",
            "stage `check`: justify=within 72h, to the privacy officer",
        ]
    );
    for event in stated.iter().chain(&obliged) {
        assert_eq!((&event["principal"], &event["subscription"]), (&reader.into(), &"all".into()), "{event}");
        assert!(event["time"].is_string() || event["time"].is_u64(), "{event}");
    }
}

#[tokio::test]
async fn readers_who_share_a_subscription_are_judged_each_by_what_it_stated_itself() {
    let scene = Scene::new("shared = true").await;
    let mut silent = scene.read(None, None).await;
    scene.publish("first").await;
    scene.withheld(1).await;

    // Of the same principal, and so through the same instances.
    let mut stating = scene.read(None, Some("trauma")).await;
    let count = 20;
    for number in 0..count {
        scene.publish(&format!("record {number}")).await;
    }
    let begun = Instant::now();
    let mut delivered = 0;
    loop {
        if let Ok(Ok(Some(delivery))) = tokio::time::timeout(Duration::from_secs(1), stating.next()).await {
            delivery.ack();
            delivered += 1;
            continue;
        }
        let withheld = scene.audit("withheld").len() - 1;
        if withheld + delivered == count {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{withheld} withheld and {delivered} delivered of {count}");
    }
    nothing_comes(&mut silent).await;
    silent.close().await.unwrap();
    scene.publish("last").await;
    assert_eq!(body(&next(&mut stating).await), "last");
}

#[tokio::test]
async fn a_reason_is_stated_on_the_command_line_and_one_that_is_no_code_is_refused_there() {
    let scene = Scene::new("replay = true").await;
    scene.publish("urgent").await;
    let subscribe = |reason: &str| {
        let command =
            format!("subscribe records all --from start --count 1 --wait 60 --json --break-glass {reason}");
        operate(&scene.hospital, &scene.broker, "reader", &command)
    };
    for wrong in ["Doe^Jane", "4711", &"x".repeat(65)] {
        let output = subscribe(wrong);
        assert_eq!(output.status.code(), Some(2));
        says(&said(&output), &["--break-glass", "1 to 64 characters of a-z, 0-9"]);
    }
    let output = subscribe("stroke");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(printed(&output).lines().count(), 1);
    assert_eq!(scene.audit("stated").len(), 1);
}
