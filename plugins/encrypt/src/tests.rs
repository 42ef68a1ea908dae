//! The plugin with the keys of the native test host.

use hilum_plugin::testing::{self, context, large_message, message, octets, with};
use serde_json::{Value, json};

use super::*;

const BODY: &[u8] = b"PID|1||4711||Doe^Jane";

fn configured(config: Value) -> Result<Encrypt, ConfigError> {
    Encrypt::configure(serde_json::from_value(config).unwrap())
}

fn encrypt() -> Encrypt {
    configured(json!({"recipients": ["radiology", "archive"]})).unwrap()
}

fn replaced(outcome: Outcome) -> Draft {
    match outcome {
        Outcome::Replace(draft) => draft,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// A record of which every part of the head would tell who the patient is.
fn telling() -> Message {
    let mut message = message("application/hl7-v2", BODY);
    message.head.key = Some("4711".into());
    message.head.attributes = vec![Attribute::new("patient", "4711"), Attribute::new("unit", "mri-1")];
    message
}

#[test]
fn each_recipient_opens_with_what_the_reader_of_a_record_knows() {
    let sent = [
        (Form::Message, SEALED_CONTENT_TYPE, message("application/hl7-v2", BODY)),
        (Form::Stream, "application/vnd.hilum.sealed-stream", large_message("application/hl7-v2", BODY)),
    ];
    for (form, sealed_type, sent) in sent {
        let time = sent.head.time;
        let draft = replaced(encrypt().transform(&context(), sent));
        assert_eq!(draft.content_type, sealed_type);
        let [Attribute { name, value }] = &draft.attributes[..] else { panic!("one attribute") };
        assert_eq!(name, ORIGINAL_CONTENT_TYPE);
        let associated = associated_data(form, "imaging", value, time).unwrap();
        let sealed = octets(draft.body);
        for recipient in ["radiology", "archive"] {
            assert_eq!(keys::open(recipient, &associated, &sealed).unwrap(), BODY);
        }
        assert_eq!(keys::open("insurer", &associated, &sealed), Err(KeyError::Malformed));
    }
}

#[test]
fn a_sealed_body_opens_in_no_other_flow_type_time_or_form() {
    let both = [(Form::Message, Form::Stream), (Form::Stream, Form::Message)];
    let sent = [message("text/plain", BODY), large_message("text/plain", BODY)];
    for ((form, other), sent) in both.into_iter().zip(sent) {
        let sealed = octets(replaced(encrypt().transform(&context(), sent)).body);
        let time = testing::head("").time;
        let opens = |form, flow, content_type, time| {
            let associated = associated_data(form, flow, content_type, time).unwrap();
            keys::open("archive", &associated, &sealed).is_ok()
        };
        assert!(opens(form, "imaging", "text/plain", time));
        assert!(!opens(other, "imaging", "text/plain", time));
        assert!(!opens(form, "billing", "text/plain", time));
        assert!(!opens(form, "imaging", "text/html", time));
        assert!(!opens(form, "imaging", "text/plain", time + 1));
    }
}

#[test]
fn nothing_of_the_record_stays_in_the_clear_unless_configured() {
    let draft = replaced(encrypt().transform(&context(), telling()));
    assert_eq!(draft.key, None);
    assert_eq!(draft.attributes, [Attribute::new(ORIGINAL_CONTENT_TYPE, "application/hl7-v2")]);
    let sealed = octets(draft.body);
    assert!(!sealed.windows(4).any(|window| window == b"4711" || window == b"Jane"));

    let config = json!({"recipients": ["archive"], "keep_key": true, "keep_attributes": ["unit"]});
    let draft = replaced(configured(config).unwrap().transform(&context(), telling()));
    assert_eq!(draft.key.as_deref(), Some("4711"));
    assert_eq!(draft.attributes[1..], [Attribute::new("unit", "mri-1")]);
}

#[test]
fn a_publisher_cannot_state_the_original_content_type() {
    let mut sent = telling();
    sent.head.attributes.push(Attribute::new(ORIGINAL_CONTENT_TYPE, "text/html"));
    let draft = replaced(encrypt().transform(&context(), sent));
    assert_eq!(draft.attributes, [Attribute::new(ORIGINAL_CONTENT_TYPE, "application/hl7-v2")]);
}

#[test]
fn a_record_that_one_recipient_could_not_open_is_refused() {
    with(|host| host.denied.insert("archive".into()));
    let refusal = refused(encrypt().transform(&context(), telling()));
    assert_eq!(refusal.code, "not-granted");
    assert!(!refusal.reason.contains("4711"));
    let refusal = super::refusal(&KeyError::NoValidKey("archive".into()));
    assert_eq!(
        refusal,
        Refusal::new("no-valid-key", "the body could not be sealed: `archive` has no valid key")
    );
}

#[test]
fn a_content_type_with_a_line_feed_is_refused() {
    let refusal = refused(encrypt().transform(&context(), message("text/plain\n1", BODY)));
    assert_eq!(refusal.code, "malformed");
}

#[test]
fn configuration_errors_say_where() {
    let at = |config: Value| configured(config).unwrap_err().at;
    assert_eq!(at(json!({"recipients": []})), "/recipients");
    assert_eq!(at(json!({"recipients": ["a", "b", "a"]})), "/recipients/2");
    let kept = json!({"recipients": ["a"], "keep_attributes": ["x", ORIGINAL_CONTENT_TYPE]});
    assert_eq!(at(kept), "/keep_attributes/1");
    assert_eq!(at(json!({"recipients": ["a"], "keep_key": true, "removes": ["phi"]})), "/removes");
    assert!(serde_json::from_value::<Settings>(json!({"recipients": ["a"], "recipient": "b"})).is_err());
}

#[test]
fn labels_are_removed_as_configured() {
    assert!(Encrypt::describe(None).removes.is_empty());
    let settings = serde_json::from_value(json!({"recipients": ["a"], "removes": ["phi"]})).unwrap();
    assert_eq!(Encrypt::describe(Some(&settings)).removes, ["phi"]);
}

#[test]
fn the_schema_accepts_the_readme_and_refuses_what_is_unknown() {
    let schema: Value = serde_json::from_str(&Encrypt::describe(None).config_schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let readme = include_str!("../README.md");
    let example = readme.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    schema.validate(&example).unwrap();
    configured(example).unwrap();
    for bad in [json!({}), json!({"recipients": []}), json!({"recipients": ["a"], "extra": 1})] {
        assert!(!schema.is_valid(&bad), "{bad}");
    }
}
