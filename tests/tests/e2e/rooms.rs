//! Readings of a scanner and of its room go in on two flows; what comes out says how the room was used, counts each use once whatever
//! the broker dies of, and follows nobody.

use bytes::Bytes;
use hilum_client::{Client, Delivery, Publisher, Record, Subscription as Reading};
use hilum_core::Timestamp;
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::{Value, json};

use crate::support::{CREDIT, body, done, name, next, nothing_comes};

const TELEMETRY: &str = "application/vnd.hilum.telemetry+json";
/// What somebody is called, where sensors of others may write it.
const PLANTED: &str = "DOE-JANE-19610704";
const MINUTE_MS: u64 = 60_000;
const QUARTER_MS: u64 = 15 * MINUTE_MS;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// A midnight of the hospital's own clock that is 44 to 59 minutes away, and how many minutes that clock is ahead of UTC.
///
/// Publishers' clocks may be an hour ahead of the broker's, so the end of a day is seen within seconds, and the broker's own clock changes nothing.
fn midnight() -> (u64, i64) {
    let now_ms = Record::new(TELEMETRY, Bytes::new()).head.time.0;
    let midnight_ms = (now_ms + 59 * MINUTE_MS) / QUARTER_MS * QUARTER_MS;
    let of_day = i64::try_from(midnight_ms % DAY_MS / MINUTE_MS).unwrap();
    (midnight_ms, if of_day <= 14 * 60 { -of_day } else { 24 * 60 - of_day })
}

fn hospital(offset_minutes: i64) -> Hospital {
    let more = "\n[plugins.rooms]\npath = \"plugins/rooms.wasm\"\n";
    let scanner = Stage::new("scanner", "rooms").with(
        "grants = [\"log\", \"metrics\", \"state\", \"emit:room\"]\n\
         config = { part = \"scanner\", rooms_flow = \"room\", machine = \"mri-2\", sensor = \"gradient\", in_use_above = 10 }",
    );
    let room = format!(
        "grants = [\"log\", \"metrics\", \"state\", \"emit:use\"]\n\
         [ingress.config]\npart = \"room\"\nreports_flow = \"use\"\nutc_offset_minutes = {offset_minutes}\n\
         absent_minutes = 1\npause_minutes = 1\nnight = [2, 3]\n\
         rooms = [{{ name = \"room-1\", scanner = \"mri-1\", people = [\"staff\"], door = [\"door\"] }}]"
    );
    let flows = [
        Flow::new("machine").ingress(scanner),
        Flow::new("room").ingress(Stage::new("use", "rooms").with(&room)).subscription(Subscription::all()),
        Flow::new("use").unpublished().subscription(Subscription::all()),
    ];
    Hospital::with(more, &flows)
}

/// Those who publish and read, at one life of the broker.
struct Site {
    midnight_ms: u64,
    machine: Publisher,
    room: Publisher,
    seen: Fresh,
    reports: Fresh,
}

/// What comes on a subscription for the first time: what was acked just before a broker died comes again.
struct Fresh {
    reading: Reading,
    /// The offset that the next one has at least.
    from: u64,
}

impl Fresh {
    async fn next(&mut self) -> Delivery {
        loop {
            let delivery = next(&mut self.reading).await;
            let offset = delivery.offset().0;
            if offset >= self.from {
                self.from = offset + 1;
                return delivery;
            }
            delivery.ack();
        }
    }
}

impl Site {
    /// Those of one life of the broker; the readers have had what is before these offsets.
    async fn open(hospital: &Hospital, broker: &Broker, midnight_ms: u64, [seen, reports]: [u64; 2]) -> Self {
        let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
        let reader: Client = hospital.connect(broker.address(), "reader").await.unwrap();
        Self {
            midnight_ms,
            machine: scanner.publisher(&name("machine")).await.unwrap(),
            room: scanner.publisher(&name("room")).await.unwrap(),
            seen: Fresh {
                reading: reader.subscribe(&name("room"), &name("all"), CREDIT).await.unwrap(),
                from: seen,
            },
            reports: Fresh {
                reading: reader.subscribe(&name("use"), &name("all"), CREDIT).await.unwrap(),
                from: reports,
            },
        }
    }

    /// A document of readings at minutes before midnight, with more in it than anybody asked for.
    fn document(&self, machine: &str, readings: &[(i64, &str, f64)]) -> Record {
        let at = |minute: i64| self.midnight_ms.strict_add_signed(minute * 60_000);
        let mut all: Vec<Value> = readings
            .iter()
            .map(|(minute, sensor, value)| json!({"sensor": sensor, "time": at(*minute), "value": value, "by": PLANTED}))
            .collect();
        all.push(json!({"sensor": format!("badge-{PLANTED}"), "time": at(readings[0].0), "value": 1}));
        let document = json!({"machine": machine, "readings": all, "operator": PLANTED});
        let mut record = Record::new(TELEMETRY, Bytes::from(document.to_string()))
            .with_key(PLANTED)
            .with_attribute("patient", PLANTED);
        record.head.time = Timestamp(at(readings[readings.len() - 1].0));
        record
    }

    /// What the room's own sensors show.
    async fn shows(&mut self, readings: &[(i64, &str, f64)]) {
        self.room.publish(self.document("room-1", readings)).await.unwrap();
        self.is_seen(readings[0].1).await;
    }

    async fn is_seen(&mut self, sensor: &str) {
        let delivery = self.seen.next().await;
        assert!(body(&delivery).contains(sensor), "{}", body(&delivery));
        delivery.ack();
    }

    /// The scanner measures from one minute to another, and stops if `stops`.
    async fn measures(&mut self, from: i64, to: i64, stops: bool) {
        let mut readings: Vec<(i64, &str, f64)> = (from..to).map(|minute| (minute, "in-use", 1.0)).collect();
        readings.push((to, "in-use", if stops { 0.0 } else { 1.0 }));
        self.room.publish(self.document("mri-1", &readings)).await.unwrap();
        self.is_seen("in-use").await;
    }

    /// So many records of the scanner reach the room's flow, and say nothing but whether it is in use.
    async fn passed_on(&mut self, values: &[u64]) {
        for value in values {
            let delivery = self.seen.next().await;
            let document: Value = serde_json::from_str(&body(&delivery)).unwrap();
            let reading = &document["readings"][0];
            assert_eq!((&reading["sensor"], reading["value"].as_u64()), (&"in-use".into(), Some(*value)));
            assert!(!format!("{document} {:?}", delivery.head()).contains(PLANTED), "{document}");
            delivery.ack();
        }
    }

    /// The next report, which names nobody and has no number of people.
    async fn report(&mut self) -> Value {
        let delivery = self.reports.next().await;
        let (text, head) = (body(&delivery), delivery.head());
        assert_eq!(head.key.as_deref(), Some("room-1"));
        let all = format!("{text} {head:?}");
        for word in [PLANTED, "staff", "badge", "gradient"] {
            assert!(!all.contains(word), "`{word}` is in {all}");
        }
        let document = serde_json::from_str(&text).unwrap();
        delivery.ack();
        document
    }

    /// Leaves when the broker has counted what was acked here; from which offsets on the readers go on.
    async fn leave(self) -> [u64; 2] {
        self.seen.reading.close().await.unwrap();
        self.reports.reading.close().await.unwrap();
        [self.seen.from, self.reports.from]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_a_room_is_told_once_and_whole_whatever_the_broker_dies_of() {
    let (midnight_ms, offset_minutes) = midnight();
    let hospital = hospital(offset_minutes);
    let broker = Broker::start(hospital.path());
    let mut site = Site::open(&hospital, &broker, midnight_ms, [0; 2]).await;
    // Another scanner, whose telemetry has a flow of its own.
    let readings = [(-43, "gradient", 40.0), (-42, "gradient", 50.0), (-41, "gradient", 1.0)];
    site.machine.publish(site.document("mri-2", &readings)).await.unwrap();
    site.passed_on(&[1, 1, 0]).await;
    site.shows(&[(-43, "staff", 2.0)]).await;
    site.measures(-43, -37, true).await;
    site.shows(&[(-33, "staff", 0.0), (-31, "door", 0.0)]).await;
    // The second examination has begun, and nobody has heard of it but the log.
    site.shows(&[(-30, "staff", 1.0)]).await;
    site.measures(-30, -27, false).await;
    let from = site.leave().await;
    broker.kill();

    let broker = Broker::start(hospital.path());
    let mut site = Site::open(&hospital, &broker, midnight_ms, from).await;
    site.measures(-26, -24, true).await;
    let state = site.report().await;
    assert_eq!(state["state"], "in-use", "{state}");
    site.shows(&[(-20, "staff", 0.0), (-18, "door", 0.0)]).await;
    site.shows(&[(-16, "staff", 3.0)]).await;
    site.measures(-16, -14, false).await;
    site.shows(&[(-14, "door", 1.0)]).await;
    site.measures(-13, -10, true).await;
    let alert = site.report().await;
    assert_eq!(
        (&alert["status"], &alert["cause"]),
        (&"raised".into(), &"door-open-during-acquisition".into())
    );
    let from = site.leave().await;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order && !log.contains(PLANTED), "{log}");

    let broker = Broker::start(hospital.path());
    let mut site = Site::open(&hospital, &broker, midnight_ms, from).await;
    site.shows(&[(-9, "door", 0.0), (-3, "staff", 0.0)]).await;
    let cleared = site.report().await;
    assert_eq!((&cleared["status"], &cleared["cause"]), (&"cleared".into(), &alert["cause"]));
    site.shows(&[(1, "door", 0.0)]).await;
    let state = site.report().await;
    assert_eq!(state["state"], "turnaround", "{state}");
    let day = site.report().await;
    assert_eq!((&day["uses"], &day["turnaround_minutes"]), (&3.into(), &5.into()), "{day}");
    assert_eq!(day["minutes"], json!({"in-use": 15, "turnaround": 15}), "{day}");
    assert_eq!(day["utilisation"], 0.5, "{day}");
    assert_eq!(day["hours"].as_array().map(Vec::len), Some(24), "{day}");
    nothing_comes(&mut site.reports.reading).await;

    let audit = done(&hospital, &broker, "operator", "audit");
    let reads = |event: &&Value| event["action"] == "delivered" && event["flow"] == "use";
    assert!(audit.iter().any(|event| reads(&event)), "{audit:#?}");
    assert!(!audit.iter().any(|event| event.to_string().contains(PLANTED)), "somebody is in the audit");
    site.leave().await;
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order && !log.contains(PLANTED), "{log}");
}
