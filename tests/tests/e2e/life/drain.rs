//! What began on a chain ends on it, and the broker tells when the last of it has ended.

use std::time::Instant;

use super::*;

/// How long a bad record keeps its stage: longer than a reload takes on a machine that does other work.
const SPIN: Duration = Duration::from_secs(15);

fn spinning(more: &str) -> Flow {
    let limits = format!("limits = {{ call_ms = {} }}", SPIN.as_millis());
    let stage = Stage::new("judge", "hostile")
        .with(&format!("{GRANTS}\n{limits}\nconfig = {{ behaviour = \"spin-on-bad\"{more} }}"));
    Flow::new("records").ingress(stage).subscription(Subscription::all())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_on_an_old_chain_is_told_until_it_has_ended() {
    let scene = Scene::new("", &[spinning("")]);
    let scanner = scene.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    publisher.publish(text("first")).await.unwrap();
    let began = Instant::now();
    let bad = publisher.enqueue(text("bad").with_attribute("bad", "yes")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    // Another chain comes while the old one is busy: it is in effect, and the old one is not over.
    scene.write_flow(&Flow::new("records").ingress(behaving("annotate")).subscription(Subscription::all()));
    let json = scene.does("reload", "--yes --drain-wait 0 --json");
    let told: Value = serde_json::from_str(&json).unwrap();
    assert!(began.elapsed() < SPIN, "the machine is too slow for this test");
    assert_eq!((&told["applied"], &told["drain"]["drained"]), (&true.into(), &false.into()), "{told}");
    assert_eq!(told["drain"]["under_way"][0]["flow"], "records", "{told}");
    assert!(scene.audited("drained").is_empty());

    // A second one is told of it as well, and waits as long as it is told to.
    scene.write_flow(&Flow::new("records").ingress(behaving("pass")).subscription(Subscription::all()));
    says(
        &scene.does("reload", "--yes --drain-wait 60"),
        &["1 change took effect", "drained: the last batch on the 1 chain"],
    );
    let refused = bad.await.unwrap_err().to_string();
    says(&refused, &["judge"]);
    let drained = scene.audited("drained");
    assert_eq!(drained.len(), 2, "{drained:?}");
    let plans: BTreeSet<String> = scene.audited("plan-loaded").iter().map(plan).collect();
    assert!(drained.iter().all(|event| plans.contains(&plan(event)) && event["flow"] == "records"));
    publisher.publish(text("last")).await.unwrap();
    let reader = scene.connect("reader").await;
    assert_eq!(take(&mut subscribe(&reader).await, 2).await, ["first", "last"]);
    let (in_good_order, log) = scene.broker.stop();
    assert!(in_good_order, "{log}");
    says(&log, &["the last batch on the chains that were replaced has ended"]);
}
