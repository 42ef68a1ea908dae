//! The plugin on dose reports as scanners write them.

use hilum_formats::dicom::Encoding;
use hilum_formats::dicom::build::{EXPLICIT, Elements, Ends, IMPLICIT, part_10};
use hilum_plugin::testing::{self, Host, context, large_message, message};
use serde_json::{Value, json};

use super::*;

const DOSE_REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.67";

fn config() -> Value {
    json!({
        "alerts_flow": "dose-alerts",
        "key": "dose",
        "levels": [
            {"name": "ct-head", "when": {"procedures": ["C4:70450"]}, "quantity": "dlp", "limit": 1000},
            {"name": "ct-abdomen", "when": {"descriptions": ["abdomen"]}, "quantity": "dlp", "limit": 700},
            {"name": "ct-any", "quantity": "ctdi-vol", "limit": 80}
        ],
        "cumulative": [{"name": "dlp-30-days", "quantity": "dlp", "limit": 2000, "days": 30}]
    })
}

/// A content item that is a number with a unit (PS3.3 C.18.1).
fn number(encoding: Encoding, concept: &str, value: &str, unit: &str) -> Elements {
    let units = Elements::new(encoding).text(0x0008_0100, "SH", unit).text(0x0008_0102, "SH", "UCUM");
    let measured =
        Elements::new(encoding).sequence(0x0040_08EA, &[units], Ends::Length).text(0x0040_A30A, "DS", value);
    item(encoding, "NUM", concept).sequence(0x0040_A300, &[measured], Ends::Length)
}

fn container(encoding: Encoding, concept: &str, content: &[Elements]) -> Elements {
    item(encoding, "CONTAINER", concept).sequence(0x0040_A730, content, Ends::Delimiter)
}

fn item(encoding: Encoding, kind: &str, concept: &str) -> Elements {
    let name = Elements::new(encoding).text(0x0008_0100, "SH", concept).text(0x0008_0102, "SH", "DCM");
    Elements::new(encoding).text(0x0040_A010, "CS", "CONTAINS").text(0x0040_A040, "CS", kind).sequence(
        0x0040_A043,
        &[name],
        Ends::Delimiter,
    )
}

/// A CT report of two acquisitions: TID 10011, 10012 and 10013, of which a dose report has much more.
struct Ct<'a> {
    patient: &'a str,
    instance: &'a str,
    dlp: &'a str,
    unit: &'a str,
}

impl Ct<'_> {
    fn object(&self, syntax: &str, encoding: Encoding) -> Vec<u8> {
        let acquisition = |ctdi: &str| {
            let dose =
                [number(encoding, "113830", ctdi, "mGy"), number(encoding, "113838", "412.5", "mGy.cm")];
            container(encoding, "113819", &[container(encoding, "113829", &dose)])
        };
        let totals =
            [number(encoding, "113812", "2", "{events}"), number(encoding, "113813", self.dlp, self.unit)];
        let code = Elements::new(encoding).text(0x0008_0100, "SH", "70450").text(0x0008_0102, "SH", "C4");
        let content = [container(encoding, "113811", &totals), acquisition("21.5"), acquisition("42.25")];
        let elements = Elements::new(encoding)
            .text(0x0008_0016, "UI", DOSE_REPORT)
            .text(0x0008_0018, "UI", self.instance)
            .text(0x0008_0060, "CS", "SR")
            .text(0x0008_1030, "LO", "CT Head of Doe")
            .sequence(0x0008_1032, &[code], Ends::Length)
            .text(0x0010_0010, "PN", "DOE^JANE")
            .text(0x0010_0020, "LO", self.patient)
            .text(0x0040_A040, "CS", "CONTAINER")
            .sequence(0x0040_A730, &content, Ends::Length);
        part_10(syntax, DOSE_REPORT, &elements.octets)
    }

    fn message(&self) -> Message {
        message(DICOM_CONTENT_TYPE, self.object(EXPLICIT, Encoding::EXPLICIT_LITTLE))
    }
}

fn ct<'a>(patient: &'a str, instance: &'a str, dlp: &'a str) -> Ct<'a> {
    Ct { patient, instance, dlp, unit: "mGy.cm" }
}

/// Each record goes to a fresh instance: nothing may depend on an instance's own memory.
fn observe(messages: Vec<Message>) {
    for message in messages {
        DoseAlert::configure(testing::config(config())).unwrap().observe(&context(), vec![message]);
    }
}

fn alerts(host: &Host) -> Vec<Value> {
    host.emitted.iter().map(|emitted| serde_json::from_slice(&emitted.body).unwrap()).collect()
}

#[test]
fn a_report_is_read_under_each_encoding() {
    for (syntax, encoding) in [(EXPLICIT, Encoding::EXPLICIT_LITTLE), (IMPLICIT, Encoding::IMPLICIT_LITTLE)] {
        let object = ct("4711", "1.9.1", "825").object(syntax, encoding);
        assert!(report::is_report(&object));
        let report = report::read(&object).unwrap();
        assert_eq!(report.dose(Quantity::Dlp), Some(825.0));
        assert_eq!(report.dose(Quantity::CtdiVol), Some(42.25), "the greatest of the acquisitions");
        assert_eq!(report.dose(Quantity::Dap), None);
        assert_eq!(report.procedures, ["C4:70450"]);
    }
}

#[test]
fn an_examination_over_its_level_is_told_without_saying_whose() {
    observe(vec![ct("4711", "1.9.1", "825").message(), ct("4711", "1.9.2", "1100.5").message()]);
    let host = testing::take();
    assert_eq!(
        alerts(&host),
        [json!({"kind": "examination", "level": "ct-head", "quantity": "dlp", "unit": "mGy.cm",
            "dose": 1100.5, "limit": 1000.0, "procedures": ["C4:70450"]})]
    );
    assert_eq!(host.emitted[0].flow, "dose-alerts");
    let everything = format!("{:?} {:?} {:?}", host.emitted, host.state, host.logs);
    let state: String =
        host.state.values().map(|kept| String::from_utf8(kept.value.clone()).unwrap()).collect();
    for identifier in ["4711", "DOE", "Doe", "1.9.1", "1.9.2"] {
        assert!(
            !everything.contains(identifier) && !state.contains(identifier),
            "{identifier} is told or kept"
        );
    }
    assert_eq!((host.counters["reports"], host.counters["alerts"]), (2, 1));
}

#[test]
fn what_adds_up_is_told_once_and_a_repetition_does_not_count() {
    let reports =
        ["1.9.1", "1.9.2", "1.9.2", "1.9.3", "1.9.4"].map(|instance| ct("4711", instance, "800").message());
    observe(reports.into());
    observe(vec![ct("4712", "1.9.5", "800").message()]);
    let host = testing::take();
    assert_eq!(
        alerts(&host),
        [
            json!({"kind": "cumulative", "level": "dlp-30-days", "quantity": "dlp", "unit": "mGy.cm", "dose": 2400.0,
            "limit": 2000.0, "days": 30, "examinations": 3, "procedures": ["C4:70450"]})
        ]
    );
    assert_eq!((host.counters["reports"], host.counters["repeated"], host.state.len()), (5, 1, 2));
}

#[test]
fn what_is_older_than_the_window_does_not_add_up() {
    let at = |day: u64, instance: &str| {
        let mut message = ct("4711", instance, "800").message();
        message.head.time += day * 86_400_000;
        message
    };
    observe(vec![at(0, "1.9.1"), at(20, "1.9.2"), at(40, "1.9.3")]);
    assert!(testing::with(|host| host.emitted.is_empty()));
    observe(vec![at(45, "1.9.4")]);
    assert_eq!(alerts(&testing::take()).len(), 1, "days 20, 40 and 45");
}

#[test]
fn an_image_is_none_of_its_business_and_is_not_read() {
    let image = Elements::image(Encoding::EXPLICIT_LITTLE).value(0x7FE0_0010, "OW", &vec![0; 600_000]);
    let image = image.part_10(EXPLICIT);
    observe(vec![
        message(DICOM_CONTENT_TYPE, image.clone()),
        large_message(DICOM_CONTENT_TYPE, image),
        message("text/plain", "dose"),
    ]);
    let host = testing::take();
    assert!(host.counters.is_empty() && host.logs.is_empty() && host.state.is_empty());
    let report = ct("4711", "1.9.1", "1200").object(EXPLICIT, Encoding::EXPLICIT_LITTLE);
    observe(vec![large_message(DICOM_CONTENT_TYPE, report)]);
    assert_eq!(testing::take().emitted.len(), 1);
}

#[test]
fn what_cannot_be_read_or_kept_is_counted_and_logged_without_values() {
    let whole = ct("4711", "1.9.1", "1200").object(EXPLICIT, Encoding::EXPLICIT_LITTLE);
    observe(vec![
        message(DICOM_CONTENT_TYPE, whole[..whole.len() - 5].to_vec()),
        Ct { unit: "mSv", ..ct("4711", "1.9.2", "1200") }.message(),
        ct("4711", "1.9.3", "DOE").message(),
    ]);
    let host = testing::take();
    assert_eq!((host.counters["unreadable"], host.logs.len()), (3, 3));
    assert!(!format!("{:?}", host.logs).contains("DOE"));
    testing::with(|host| host.denied.insert("dose".into()));
    observe(vec![ct("4711", "1.9.1", "1200").message()]);
    let host = testing::take();
    assert_eq!(host.counters["unkept"], 1);
    assert!(host.logs[0].1.contains("`dose` is not granted"), "{:?}", host.logs);
}

#[test]
fn an_alert_is_told_when_nothing_can_be_kept_and_nothing_is_kept_without_its_alert() {
    testing::with(|host| host.state_keys_max = Some(0));
    observe(vec![ct("4711", "1.9.1", "1200").message()]);
    let host = testing::take();
    assert_eq!((alerts(&host).len(), host.counters["unkept"]), (1, 1));

    testing::with(|host| host.emitted_max = Some(1));
    let reports = ["1.9.1", "1.9.2"].map(|instance| ct("4711", instance, "1200").message());
    let mut plugin = DoseAlert::configure(testing::config(config())).unwrap();
    let together = std::panic::AssertUnwindSafe(|| plugin.observe(&context(), reports.into()));
    assert!(std::panic::catch_unwind(together).is_err(), "the broker undoes the call");
}

#[test]
fn the_schema_and_the_check_agree() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&config()));
    for (pointer, value, at) in [
        ("/levels/0/limit", json!(0), "/levels/0/limit"),
        ("/cumulative/0/days", json!(0), "/cumulative/0/days"),
        ("/cumulative/0/quantity", json!("ctdi-vol"), "/cumulative/0/quantity"),
        ("/key", json!(""), "/key"),
    ] {
        let mut wrong = config();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&wrong), "{pointer}");
        assert_eq!(DoseAlert::configure(testing::config(wrong)).unwrap_err().at, at);
    }
    let nothing = json!({"alerts_flow": "a", "key": "k"});
    assert!(!validator.is_valid(&nothing));
    assert!(DoseAlert::configure(testing::config(nothing)).is_err());
}
