//! What the tests of this binary say often.

use std::fmt::Debug;
use std::process::Output;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use hilum_client::{Client, Credit, Delivery, DeliveryBody, Record, Subscription};
use hilum_tests::{Broker, Flow, Hospital, hilum};
use serde_json::Value;

/// Enough for every test here.
pub(crate) const CREDIT: Credit = Credit { records: 4096, octets: 64 << 20 };
/// A delivery that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to look whether something comes that should not.
const SILENCE: Duration = Duration::from_millis(300);

/// How often a test does what it does: as often as a variable of the environment says, otherwise `usually`.
pub(crate) fn times(variable: &str, usually: u32) -> u32 {
    std::env::var(variable).map_or(usually, |number| number.parse().unwrap())
}

/// A name of any kind.
pub(crate) fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A record of plain text.
pub(crate) fn text(body: &str) -> Record {
    Record::new("text/plain", Bytes::copy_from_slice(body.as_bytes()))
}

/// Publishes plain text to flow `records`, and waits for each ack.
pub(crate) async fn publish(client: &Client, bodies: &[&str]) {
    let publisher = client.publisher(&name("records")).await.unwrap();
    for body in bodies {
        publisher.publish(text(body)).await.unwrap();
    }
    publisher.finish().await.unwrap();
}

/// Opens subscription `all` of flow `records`.
pub(crate) async fn subscribe(client: &Client) -> Subscription {
    client.subscribe(&name("records"), &name("all"), CREDIT).await.unwrap()
}

/// The next delivery, which must come.
pub(crate) async fn next(subscription: &mut Subscription) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
    next.expect("a delivery was expected").unwrap().expect("the broker ended the stream")
}

/// An inline body as text.
pub(crate) fn body(delivery: &Delivery) -> String {
    match delivery.body() {
        DeliveryBody::Inline(octets) => String::from_utf8(octets.to_vec()).unwrap(),
        DeliveryBody::Large { size, .. } => format!("<{size} octets>"),
    }
}

/// Reads so many deliveries, acks them, and gives their bodies.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut bodies = Vec::with_capacity(count);
    for _ in 0..count {
        let delivery = next(subscription).await;
        bodies.push(body(&delivery));
        delivery.ack();
    }
    bodies
}

/// `hilum COMMAND... --dir DIR --as WHO --address ADDRESS`
pub(crate) fn operate(hospital: &Hospital, broker: &Broker, who: &str, command: &str) -> Output {
    let dir = hospital.path().to_str().unwrap();
    let connection = ["--dir", dir, "--as", who, "--address", broker.address()];
    hilum(command.split_whitespace().chain(connection))
}

/// What an operator's command that is done prints, as JSON.
#[track_caller]
pub(crate) fn done(hospital: &Hospital, broker: &Broker, who: &str, command: &str) -> Vec<Value> {
    let output = operate(hospital, broker, who, &format!("{command} --json"));
    assert_eq!(output.status.code(), Some(0), "{command}: {}", said(&output));
    printed(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a command wrote to its standard output.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command wrote to its standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Looks for a while, and nothing comes.
pub(crate) async fn nothing_comes(subscription: &mut Subscription) {
    if let Ok(next) = tokio::time::timeout(SILENCE, subscription.next()).await {
        panic!("nothing was expected, but there came {next:?}");
    }
}

/// A broker with one record in flow `records` that it acked, to which bad things may be done.
pub(crate) struct Scene {
    pub(crate) hospital: Hospital,
    pub(crate) broker: Broker,
}

impl Scene {
    /// Starts a broker of these flows, of which one is `records`.
    pub(crate) async fn new(flows: &[Flow]) -> Self {
        let hospital = Hospital::new(flows);
        let broker = Broker::start(hospital.path());
        let scene = Self { hospital, broker };
        publish(&scene.connect("scanner").await, &["before"]).await;
        scene
    }

    /// Connects as one of the hospital's own.
    pub(crate) async fn connect(&self, identity: &str) -> Client {
        self.hospital.connect(self.broker.address(), identity).await.unwrap()
    }

    /// What was acked before is delivered, and the broker takes and delivers more.
    pub(crate) async fn lost_nothing(&self) {
        publish(&self.connect("scanner").await, &["after"]).await;
        let reader = self.connect("reader").await;
        let mut subscription = subscribe(&reader).await;
        assert_eq!(take(&mut subscription, 2).await, ["before", "after"]);
        nothing_comes(&mut subscription).await;
        subscription.close().await.unwrap();
    }

    /// Stops the broker in good order, and gives what it said.
    pub(crate) fn stop(self) -> String {
        let (in_good_order, log) = self.broker.stop();
        assert!(in_good_order, "{log}");
        log
    }
}

/// Fails with the whole text if one of the words is not in it.
#[track_caller]
pub(crate) fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}
