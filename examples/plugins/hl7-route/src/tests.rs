//! The plugin on messages as systems send them, single and in batches.

use hilum_plugin::testing::{self, annotated, context, message, refused, split};
use serde_json::{Value, json};

use super::*;

const ADMISSION: &str = "MSH|^~\\&|ADT1|ST-MARYS|HILUM|ST-MARYS|20261126101500||ADT^A01^ADT_A01|MSG0001|P|2.5.1\r\
    EVN|A01|20261126101500\r\
    PID|1||4711^^^ST-MARYS^MR||Doe^Jane||19800102|F\r\
    PV1|1|I|ICU^3^1^ST-MARYS||||D100^Roentgen^W||||||||||||V0815\r";
const RESULT: &str = "MSH|^~\\&|LAB|EAST|HILUM|ST-MARYS|20261126111500||ORU^R01^ORU_R01|MSG0002|T|2.3\r\
    PID|1||4712^^^EAST^MR||Roe^John\r\
    OBR|1|A1||24323-8^Metabolic panel^LN\r\
    OBX|1|NM|2345-7^Glucose^LN||95|mg/dL\r";

fn configured(config: &Value) -> Route {
    Route::configure(testing::config(config.clone())).unwrap()
}

fn rules() -> Value {
    json!({
        "rules": [
            {"name": "test", "when": {"processing": ["T", "D"]}, "set": {"route": "test-system"}},
            {"name": "intensive", "when": {"message": ["ADT^*"], "patient_class": ["I", "E"], "location": ["ICU"]},
             "set": {"route": "intensive-care", "priority": "high"}},
            {"name": "cardiology", "when": {"fields": [{"field": "PV1-10", "in": ["CAR"]}]}, "set": {"route": "cardiology"}}
        ]
    })
}

fn run(config: &Value, body: &str) -> Outcome {
    configured(config).transform(&context(), message(CONTENT_TYPES[0], body))
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value.as_str())
}

#[test]
fn a_message_gets_what_it_says_and_what_the_first_rule_sets() {
    let attributes = annotated(run(&rules(), ADMISSION));
    for (name, expected) in [
        ("hl7-code", "ADT"),
        ("hl7-event", "A01"),
        ("hl7-sending-facility", "ST-MARYS"),
        ("hl7-patient-class", "I"),
        ("hl7-location", "ICU"),
        ("hl7-version", "2.5.1"),
        ("route", "intensive-care"),
        ("priority", "high"),
    ] {
        assert_eq!(value(&attributes, name), Some(expected), "{name}");
    }
    let all = format!("{attributes:?}");
    for identifier in ["4711", "Doe", "V0815", "1980"] {
        assert!(!all.contains(identifier), "{identifier} is in an attribute");
    }
    assert_eq!(value(&annotated(run(&rules(), RESULT)), "route"), Some("test-system"));
}

#[test]
fn each_condition_is_asked() {
    for (holds, fails) in [
        (json!({"message": ["ORU^R01", "ADT^A0*"]}), json!({"message": ["ADT"]})),
        (json!({"sending_application": ["ADT*"]}), json!({"sending_application": ["LAB"]})),
        (json!({"sending_facility": ["ST-MARYS"]}), json!({"sending_facility": ["ST-MARY"]})),
        (json!({"receiving_application": ["HILUM"]}), json!({"receiving_application": [""]})),
        (json!({"receiving_facility": ["ST*"]}), json!({"receiving_facility": ["EAST"]})),
        (json!({"processing": ["P"]}), json!({"processing": ["T"]})),
        (json!({"version": ["2.5*"]}), json!({"version": ["2.3"]})),
        (json!({"patient_class": ["I"]}), json!({"patient_class": ["O"]})),
        (json!({"location": ["ICU"]}), json!({"location": ["ICU3"]})),
        (
            json!({"fields": [{"field": "PID-8", "in": ["F"]}, {"field": "PV1-3.2", "in": ["3"]}]}),
            json!({"fields": [{"field": "PID-8", "in": ["F"]}, {"field": "ZPV-1", "in": ["*"]}]}),
        ),
    ] {
        for (when, expected) in [(holds, Some("here")), (fails, None)] {
            let config = json!({"rules": [{"name": "one", "when": when, "set": {"route": "here"}}]});
            assert_eq!(value(&annotated(run(&config, ADMISSION)), "route"), expected, "{config}");
        }
    }
}

#[test]
fn a_batch_becomes_its_messages_octet_for_octet() {
    let batch = format!(
        "FHS|^~\\&|HUB|ST-MARYS\rBHS|^~\\&|HUB|ST-MARYS\r{ADMISSION}{RESULT}BTS|2\rBHS|^~\\&|HUB\r{ADMISSION}BTS|1\rFTS|2\r"
    );
    let singles = split(run(&rules(), &batch));
    let bodies: Vec<String> = singles
        .iter()
        .map(|draft| match &draft.body {
            Body::Inline(octets) => String::from_utf8(octets.clone()).unwrap(),
            Body::Large(_) => panic!("it is small"),
        })
        .collect();
    assert_eq!(bodies, [ADMISSION, RESULT, ADMISSION]);
    let routes: Vec<_> = singles.iter().map(|draft| value(&draft.attributes, "route")).collect();
    assert_eq!(routes, [Some("intensive-care"), Some("test-system"), Some("intensive-care")]);
    assert_eq!(value(&singles[1].attributes, "hl7-batch-place"), Some("2"));
    // Messages one after the other, without a header of the batch, and a batch of one.
    assert_eq!(split(run(&rules(), &format!("{ADMISSION}{RESULT}"))).len(), 2);
    assert_eq!(split(run(&rules(), &format!("BHS|^~\\&|HUB\r{ADMISSION}BTS|1\r"))).len(), 1);
}

#[test]
fn what_is_malformed_is_refused_with_a_code_and_no_value() {
    let with = |from: &str, to: &str| ADMISSION.replace(from, to);
    let many = format!("BHS|^~\\&|HUB\r{}BTS|65\r", ADMISSION.repeat(65));
    let latin_1: Vec<u8> =
        with("ICU", "I?U").bytes().map(|octet| if octet == b'?' { 0xE9 } else { octet }).collect();
    for (code, body) in [
        ("malformed", "Dear Jane Doe".to_owned().into_bytes()),
        ("malformed", with("MSH|^~\\&", "MSH|^^\\&").into_bytes()),
        ("malformed", with("PID|", "P?D|").into_bytes()),
        ("no-message", "BHS|^~\\&|HUB\rBTS|0\r".into()),
        ("no-message-type", with("ADT^A01^ADT_A01", "").into_bytes()),
        ("no-control-id", with("MSG0001", "").into_bytes()),
        ("no-version", with("|2.5.1", "").into_bytes()),
        ("processing-id", with("|P|", "|X|").into_bytes()),
        ("batch-count", format!("BHS|^~\\&|HUB\r{ADMISSION}BTS|2\r").into_bytes()),
        ("batch-count", format!("FHS|^~\\&|HUB\rBHS|^~\\&|HUB\r{ADMISSION}BTS|1\rFTS|7\r").into_bytes()),
        ("batch-too-large", many.into_bytes()),
        ("undecodable", latin_1),
        ("value-too-long", with("ICU", &"I".repeat(300)).into_bytes()),
    ] {
        let outcome = configured(&rules()).transform(&context(), message(CONTENT_TYPES[1], body));
        let refusal = refused(outcome);
        assert_eq!(refusal.code, code, "{refusal}");
        for value in ["4711", "Doe", "Jane", "V0815", "MSG0001"] {
            assert!(!refusal.reason.contains(value), "{refusal}");
        }
    }
    let second = refused(run(&rules(), &format!("{ADMISSION}{}", with("MSG0001", ""))));
    assert_eq!(second.reason, "message 2 of the batch: MSH-10, the message control identifier, is empty");
    let other = configured(&rules()).transform(&context(), message("application/dicom", ADMISSION));
    assert_eq!(refused(other).code, "unsupported-content-type");
}

#[test]
fn a_message_without_a_rule_goes_on_or_is_refused() {
    let mut config = json!({"rules": [], "describe": false});
    assert!(annotated(run(&config, ADMISSION)).is_empty());
    config["otherwise"] = "refuse".into();
    assert_eq!(refused(run(&config, ADMISSION)).code, "unrouted");
}

#[test]
fn the_key_can_follow_the_patient_or_the_visit() {
    for (key, expected) in [("patient", "4711@ST-MARYS"), ("visit", "V0815")] {
        let draft = testing::replaced(run(&json!({"rules": [], "key": key}), ADMISSION));
        assert_eq!(draft.key.as_deref(), Some(expected));
        assert_eq!(testing::octets(draft.body), ADMISSION.as_bytes());
    }
    // A result without a visit keeps the publisher's key.
    assert!(value(&annotated(run(&json!({"rules": [], "key": "visit"}), RESULT)), "hl7-code").is_some());
}

#[test]
fn the_schema_and_the_check_agree() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&rules()));
    let rule = |when: Value, set: Value| json!({"rules": [{"name": "a", "when": when, "set": set}]});
    for wrong in [
        rule(json!({"message": []}), json!({"a": "b"})),
        rule(json!({}), json!({})),
        rule(json!({"fields": [{"field": "pid8", "in": ["F"]}]}), json!({"a": "b"})),
        rule(json!({"colour": ["red"]}), json!({"a": "b"})),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
        let read: Result<Settings, _> = serde_json::from_value(wrong.clone());
        assert!(read.is_err() || read.unwrap().check().is_err(), "{wrong}");
    }
    let twice = json!({"rules": [{"name": "a", "set": {"a": "b"}}, {"name": "a", "set": {"a": "b"}}]});
    let error = Route::configure(testing::config(twice)).unwrap_err();
    assert_eq!(error.at, "/rules/1/name");
}
