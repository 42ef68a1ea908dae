//! What becomes of deliveries that are not simply acked, through a real broker: they come again, go elsewhere, or wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hilum_client::{Client, Delivery, OpenError, Record, RefusalCode, SeekTo, StreamError, Subscription};
use hilum_tests::{Broker, Flow, Hospital};

use crate::support::{CREDIT, body, name, next, nothing_comes, publish, says, subscribe, take, text};

/// The plain flow, whose subscription has these keys too.
fn plain_flow(keys: &str) -> Flow {
    Flow::new("records").subscription(hilum_tests::Subscription::all().with(keys))
}

/// Takes what was delivered too often.
fn dead_flow() -> Flow {
    Flow::new("dead").unpublished().subscription(hilum_tests::Subscription::all())
}

struct Clinic {
    hospital: Hospital,
    broker: Broker,
}

impl Clinic {
    fn open(flows: &[Flow]) -> Self {
        let hospital = Hospital::new(flows);
        let broker = Broker::start(hospital.path());
        Self { hospital, broker }
    }

    async fn connect(&self, identity: &str) -> Client {
        self.hospital.connect(self.broker.address(), identity).await.unwrap()
    }

    async fn publish(&self, bodies: &[&str]) {
        publish(&self.connect("scanner").await, bodies).await;
    }

    fn restart(self) -> Self {
        let (in_good_order, log) = self.broker.stop();
        assert!(in_good_order, "{log}");
        let broker = Broker::start(self.hospital.path());
        Self { broker, ..self }
    }
}

fn attribute<'d>(delivery: &'d Delivery, name: &str) -> &'d str {
    let found = delivery.head().attributes.iter().find(|attribute| attribute.name == name);
    found.map_or("", |attribute| &attribute.value)
}

#[tokio::test]
async fn what_is_naked_comes_again_after_its_delay() {
    let clinic = Clinic::open(&[plain_flow("backoff = [\"50ms\"]")]);
    clinic.publish(&["one", "two"]).await;
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    let first = next(&mut subscription).await;
    assert_eq!((body(&first), first.attempt()), ("one".to_owned(), 1));
    let naked = Instant::now();
    first.nak(Some(Duration::from_millis(700)));
    assert_eq!(take(&mut subscription, 1).await, ["two"], "it holds up nobody else");
    let again = next(&mut subscription).await;
    assert!(naked.elapsed() >= Duration::from_millis(700), "{:?}", naked.elapsed());
    assert_eq!((body(&again), again.offset().0, again.attempt()), ("one".to_owned(), 0, 2));
    again.nak(None);
    let again = next(&mut subscription).await;
    assert_eq!(again.attempt(), 3, "after the subscription's own delay");
    again.ack();
    nothing_comes(&mut subscription).await;
}

#[tokio::test]
async fn what_is_not_answered_comes_again_unless_it_is_worked_on() {
    let clinic = Clinic::open(&[plain_flow("ack_wait = \"1s\"")]);
    clinic.publish(&["slow", "stuck"]).await;
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    let slow = next(&mut subscription).await;
    let stuck = next(&mut subscription).await;
    let working = tokio::spawn(async move {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            slow.in_progress();
        }
        slow.ack();
    });
    let again = next(&mut subscription).await;
    assert_eq!((body(&again), again.attempt()), ("stuck".to_owned(), 2));
    // It is late: the record is delivered again, and this answer is none.
    stuck.ack();
    working.await.unwrap();
    let again = next(&mut subscription).await;
    assert_eq!((body(&again), again.attempt()), ("stuck".to_owned(), 3));
    again.ack();
    subscription.close().await.unwrap();
    let mut subscription = subscribe(&reader).await;
    nothing_comes(&mut subscription).await;
}

#[tokio::test]
async fn a_record_delivered_too_often_goes_to_the_dead_letters_with_its_history() {
    let keys = "max_deliveries = 3\ndead_letter = \"dead\"\nbackoff = [\"10ms\"]";
    let clinic = Clinic::open(&[plain_flow(keys), dead_flow()]);
    let scanner = clinic.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let poison = Record::new("text/plain", Bytes::from_static(b"poison"));
    publisher.publish(poison.with_key("k").with_attribute("unit", "K")).await.unwrap();
    publisher.publish(text("after").with_key("k")).await.unwrap();
    let large = vec![7; 600_000];
    let head = text("").head;
    publisher.publish_large(head, large.len() as u64, std::io::Cursor::new(&large)).await.unwrap();

    let reader = clinic.connect("reader").await;
    let credit = hilum_client::Credit { records: 1, ..CREDIT };
    let mut subscription = reader.subscribe(&name("records"), &name("all"), credit).await.unwrap();
    let mut attempts = BTreeMap::new();
    while attempts.get(&0) != Some(&3) || attempts.get(&2) != Some(&3) {
        let delivery = next(&mut subscription).await;
        attempts.insert(delivery.offset().0, delivery.attempt());
        match delivery.offset().0 {
            1 => {
                assert_eq!(attempts.get(&0), Some(&3), "the next one of its key waits until it is gone");
                delivery.ack();
            }
            _ => delivery.nak(None),
        }
    }
    let mut dead = reader.subscribe(&name("dead"), &name("all"), CREDIT).await.unwrap();
    let letter = next(&mut dead).await;
    assert_eq!((body(&letter), letter.head().key.as_deref()), ("poison".to_owned(), Some("k")));
    for (name, value) in [
        ("unit", "K"),
        ("hilum.dead.flow", "records"),
        ("hilum.dead.subscription", "all"),
        ("hilum.dead.offset", "0"),
        ("hilum.dead.deliveries", "3"),
        ("hilum.dead.reason", "max-deliveries"),
        ("hilum.dead.source", "spiffe://test/device/scanner"),
    ] {
        assert_eq!(attribute(&letter, name), value, "{name}");
    }
    letter.ack();
    let letter = next(&mut dead).await;
    let mut read = Vec::new();
    letter.open_large(0).await.unwrap().write_to(&mut read).await.unwrap();
    assert!(read == large, "a large body is copied");
    assert_eq!(attribute(&letter, "hilum.dead.offset"), "2");
    letter.ack();
    if !attempts.contains_key(&1) {
        assert_eq!(take(&mut subscription, 1).await, ["after"]);
    }
    nothing_comes(&mut subscription).await;
}

#[tokio::test]
async fn a_terminated_record_never_comes_again() {
    let clinic = Clinic::open(&[Flow::plain()]);
    clinic.publish(&["one", "two"]).await;
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    next(&mut subscription).await.term(name("unreadable"));
    assert_eq!(take(&mut subscription, 1).await, ["two"]);
    subscription.close().await.unwrap();
    drop(reader);
    let clinic = clinic.restart();
    let reader = clinic.connect("reader").await;
    nothing_comes(&mut subscribe(&reader).await).await;
}

#[tokio::test]
async fn readers_share_the_work_and_a_dead_one_costs_the_others_nothing() {
    // More than all three readers may hold at a time: who comes late finds keys that nobody has.
    const KEYS: u32 = 40;
    const RECORDS: u32 = 200;
    let clinic = Clinic::open(&[plain_flow("shared = true\nack_wait = \"3s\"")]);
    let scanner = clinic.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    for number in 0..RECORDS {
        let record = text(&number.to_string()).with_key(&format!("key-{}", number % KEYS));
        publisher.publish(record).await.unwrap();
    }
    let credit = hilum_client::Credit { records: 10, ..CREDIT };
    let open = async |client: &Client| -> Subscription {
        client.subscribe(&name("records"), &name("all"), credit).await.unwrap()
    };
    // The first takes its share, acks some of it, and dies with the rest.
    let dying = clinic.connect("reader").await;
    let mut of_dying = open(&dying).await;
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    for _ in 0..3 {
        let delivery = next(&mut of_dying).await;
        seen.insert(delivery.offset().0, 0);
        delivery.ack();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (one, two) = (clinic.connect("reader").await, clinic.connect("reader").await);
    let (mut of_one, mut of_two) = (open(&one).await, open(&two).await);
    let started = Instant::now();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut dying = Some((dying, of_dying));
    while seen.len() < RECORDS as usize {
        if seen.len() > 60 {
            // No goodbye: the connection is gone.
            drop(dying.take());
        }
        let next = tokio::time::timeout(Duration::from_secs(15), async {
            tokio::select! {
                delivery = of_one.next() => (1, delivery),
                delivery = of_two.next() => (2, delivery),
            }
        });
        let (who, delivery) = next.await.unwrap_or_else(|_| panic!("only {} came", seen.len()));
        let delivery = delivery.unwrap().unwrap();
        let key = delivery.head().key.clone().unwrap();
        let before = last.insert(key, delivery.offset().0);
        assert!(before < Some(delivery.offset().0), "{before:?} before {}", delivery.offset());
        seen.insert(delivery.offset().0, who);
        delivery.ack();
    }
    assert!(started.elapsed() < Duration::from_secs(15));
    for who in [1, 2] {
        assert!(seen.values().filter(|by| **by == who).count() > 10, "reader {who} got next to nothing");
    }
}

#[tokio::test]
async fn a_reader_may_begin_elsewhere_where_the_configuration_says_so() {
    let clinic = Clinic::open(&[plain_flow("replay = true")]);
    clinic.publish(&["one", "two", "three"]).await;
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    assert_eq!(take(&mut subscription, 3).await, ["one", "two", "three"]);
    subscription.close().await.unwrap();
    for (from, expected) in [
        (SeekTo::Start, &["one", "two", "three"][..]),
        (SeekTo::Offset(hilum_client::Offset(1)), &["two", "three"]),
        (SeekTo::Time(hilum_client::Timestamp(1)), &["one", "two", "three"]),
        (SeekTo::End, &[]),
    ] {
        let mut subscription =
            reader.subscribe_from(&name("records"), &name("all"), CREDIT, Some(from)).await.unwrap();
        assert_eq!(take(&mut subscription, expected.len()).await, expected, "{from:?}");
        nothing_comes(&mut subscription).await;
        subscription.close().await.unwrap();
    }

    let clinic = Clinic::open(&[Flow::plain()]);
    let reader = clinic.connect("reader").await;
    let refused = reader.subscribe_from(&name("records"), &name("all"), CREDIT, Some(SeekTo::Start)).await;
    let OpenError { source: StreamError::Refused(refusal), .. } = refused.unwrap_err() else { panic!() };
    assert_eq!(refusal.code, RefusalCode::Denied);
    says(&refusal.reason, &["replay = true"]);
}

#[tokio::test]
async fn what_is_settled_beyond_the_cursor_stays_so_over_a_restart() {
    let clinic = Clinic::open(&[Flow::plain()]);
    let bodies: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    clinic.publish(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    let first = next(&mut subscription).await;
    assert_eq!(take(&mut subscription, 49).await.len(), 49);
    drop(first);
    subscription.close().await.unwrap();
    drop(reader);
    let clinic = clinic.restart();
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    assert_eq!(subscription.cursor().0, 0);
    assert_eq!(take(&mut subscription, 1).await, ["0"]);
    nothing_comes(&mut subscription).await;
}

#[tokio::test]
async fn a_filter_leaves_out_what_it_does_not_match() {
    let clinic = Clinic::open(&[plain_flow("filter = \"unit = 'K' AND hilum_key LIKE 'ward-7-%'\"")]);
    let scanner = clinic.connect("scanner").await;
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    for (body, key, unit) in [("a", "ward-7-1", "K"), ("b", "ward-8-1", "K"), ("c", "ward-7-1", "bar")] {
        publisher.publish(text(body).with_key(key).with_attribute("unit", unit)).await.unwrap();
    }
    let reader = clinic.connect("reader").await;
    let mut subscription = subscribe(&reader).await;
    assert_eq!(take(&mut subscription, 1).await, ["a"]);
    nothing_comes(&mut subscription).await;
    subscription.close().await.unwrap();
    assert_eq!(subscribe(&reader).await.cursor().0, 3, "what is left out is settled");
}
