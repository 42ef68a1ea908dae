//! The time of a record's head beside dates that a stage moved or reduced: what readers are told, and what is stored.

use std::fs;
use std::io::Cursor;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dicom_object::Tag;
use hilum_client::{Record, SeekTo, SubscribeOptions, Timestamp};
use hilum_hospital::simulator::{Case, hl7, mr};
use hilum_tests::{Broker, Flow, Hospital, Stage, Subscription};
use serde_json::Value;

use crate::support::{CREDIT, done, name, next};

/// 2026-09-21T14:13:20.123Z, when the records are published.
const TIME: u64 = 1_790_000_000_123;
/// The beginning of its year.
const YEAR: u64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;
const DICOM: &str = "application/dicom";

fn clean(config: &str) -> Stage {
    Stage::new("clean", "deidentify").with(&format!(
        "grants = [\"keys:research\"]\nconfig = {{ key = \"research\", recognizable_faces = \"accepted\"{config} }}"
    ))
}

/// Days since 1 March of year 0 of a date of the Gregorian calendar, `YYYYMMDD`.
fn day(date: &str) -> i64 {
    let number = |of: &str| of.parse::<i64>().unwrap();
    let (year, month, day) = (number(&date[..4]), number(&date[4..6]), number(&date[6..8]));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
}

/// A date that is in every record, as it has it.
fn date_of(content_type: &str, body: &[u8]) -> String {
    if content_type == DICOM {
        let object = dicom_object::from_reader(body).unwrap();
        return object.element(Tag(0x0008, 0x0020)).unwrap().to_str().unwrap().into_owned();
    }
    let text = std::str::from_utf8(body).unwrap();
    let request = text.split('\r').find(|segment| segment.starts_with("OBR|")).unwrap();
    request.split('|').nth(7).unwrap()[..8].to_owned()
}

/// An image that is inline and one that is large, and a result: all of one patient.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let case = Case::new(5, 1, Timestamp(TIME));
    let image = |matrix| mr::series(&case, 1, matrix).into_iter().next().unwrap().octets;
    vec![(DICOM, image(16)), (DICOM, image(400)), (hl7::CONTENT_TYPE, hl7::result(&case))]
}

#[tokio::test]
async fn the_time_of_a_record_moves_with_its_dates_on_the_way_to_those_who_get_them_so() {
    let seal = Stage::new("seal", "encrypt")
        .with("grants = [\"random\", \"recipient:ward\"]\nconfig = { recipients = [\"ward\"] }");
    let shifting = ", options = [\"retain-longitudinal-modified-dates\"], message_dates = \"shift\"";
    let kept = ", record_time = \"keep\"";
    let flow = Flow::new("records")
        .subscription(Subscription::all())
        .subscription(Subscription::new("moved").egress(clean(shifting)).egress(seal))
        .subscription(Subscription::new("years").egress(clean("")))
        .subscription(Subscription::new("kept").egress(clean(kept)));
    let hospital = Hospital::new(&[flow]);
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let expires = Timestamp(u64::try_from((now + Duration::from_secs(7200)).as_millis()).unwrap());
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let sent = records();
    for (content_type, body) in &sent {
        let mut record = Record::new(content_type, Bytes::from(body.clone()));
        (record.head.time, record.head.expires) = (Timestamp(TIME), Some(expires));
        if body.len() > 256 * 1024 {
            publisher.publish_large(record.head, body.len() as u64, Cursor::new(body)).await.unwrap();
        } else {
            publisher.publish(record).await.unwrap();
        }
    }
    publisher.finish().await.unwrap();

    // Sealed by the stage behind it, which binds the time that readers see: it opens.
    let out = hospital.file("out");
    let read = format!("subscribe records moved --open --count 3 --out {}", out.display());
    let lines = done(&hospital, &broker, "reader", &read);
    assert_eq!(lines.len(), 3);
    for (line, (content_type, plain)) in lines.iter().zip(&sent) {
        let (Value::Number(time), Value::String(file)) = (&line["time"], &line["file"]) else {
            panic!("{line}")
        };
        let opened = fs::read(file).unwrap();
        let days = day(&date_of(content_type, &opened)) - day(&date_of(content_type, plain));
        let moved = TIME.checked_add_signed(days * i64::try_from(DAY_MS).unwrap()).unwrap();
        assert!(days != 0 && time.as_u64() == Some(moved), "{line}, {days} days");
        assert_eq!(line["time"], lines[0]["time"], "one patient, one number of days");
    }

    // The stored records keep their own; those with years alone have the beginning of theirs.
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    for (subscription, time, told) in
        [("all", TIME, Some(expires)), ("years", YEAR, None), ("kept", TIME, Some(expires))]
    {
        let mut reading = reader.subscribe(&name("records"), &name(subscription), CREDIT).await.unwrap();
        for offset in 0..3 {
            let delivery = next(&mut reading).await;
            let head = delivery.head();
            assert_eq!(
                (delivery.offset().0, head.time, head.expires),
                (offset, Timestamp(time), told),
                "{subscription}"
            );
            delivery.ack();
        }
        reading.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_stored_with_another_time_is_in_its_order_and_kept_as_long() {
    let flow =
        Flow::new("records").ingress(clean("")).subscription(Subscription::all().with("replay = true"));
    let hospital = Hospital::new(&[flow]);
    let broker = Broker::start(hospital.path());
    let scanner = hospital.connect(broker.address(), "scanner").await.unwrap();
    let publisher = scanner.publisher(&name("records")).await.unwrap();
    let result = hl7::result(&Case::new(5, 1, Timestamp(TIME)));
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    // Together, so that a call has several messages. Of two years, and of a clock that is wrong.
    let record = |number: u64| {
        let mut record = Record::new(hl7::CONTENT_TYPE, Bytes::from(result.clone()));
        record.head.time = Timestamp(if number == 7 { u64::MAX } else { TIME - number % 2 * 366 * DAY_MS });
        record
    };
    publisher.publish_batch((0..40).map(record).collect()).await.unwrap();
    publisher.finish().await.unwrap();
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    let mut reading = reader.subscribe(&name("records"), &name("all"), CREDIT).await.unwrap();
    for number in 0..40 {
        let delivery = next(&mut reading).await;
        let expected = match number {
            7 => 0,
            number if number % 2 == 0 => YEAR,
            _ => YEAR - 365 * DAY_MS,
        };
        assert_eq!((delivery.offset().0, delivery.head().time), (number, Timestamp(expected)));
        delivery.ack();
    }
    reading.close().await.unwrap();
    // A time to go on from is the broker's, not the records' own.
    let from = Some(SeekTo::Time(Timestamp(u64::try_from(before).unwrap())));
    let options = SubscribeOptions { from, ..SubscribeOptions::default() };
    let again = reader.subscribe_with(&name("records"), &name("all"), CREDIT, options).await;
    assert_eq!(next(&mut again.unwrap()).await.offset().0, 0);
}
