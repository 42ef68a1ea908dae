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

const ADT: &[u8] =
    b"MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711||Doe^Jane\rNTE|1||calls her Jane\rNTE|2||\r";
const PATIENT: &[u8] =
    br#"{"resourceType":"Patient","name":[{"family":"Doe"}],"birthDate":"1950-02-03","active":true}"#;

fn by_field() -> Encrypt {
    let fields = json!({"hl7v2": ["PID-5", "NTE-3"], "fhir": ["Patient.name", "Patient.birthDate"]});
    configured(json!({"recipients": ["radiology", "archive"], "fields": fields})).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn fields_are_sealed_in_their_places_and_the_rest_stays() {
    for body in [Body::Inline(ADT.to_vec()), large_message("", ADT).body] {
        let sent = Message { body, ..message("application/hl7-v2; charset=utf-8", ADT) };
        let time = sent.head.time;
        let draft = replaced(by_field().transform(&context(), sent));
        assert_eq!(draft.content_type, "application/hl7-v2; charset=utf-8");
        assert_eq!(draft.attributes, [Attribute::new(SEALED_FIELDS, "2")]);
        let made = String::from_utf8(octets(draft.body)).unwrap();
        assert!(
            made.contains("PID|1||4711||") && made.ends_with("NTE|2||\r") && !made.contains("Jane"),
            "{made}"
        );
        let name =
            made.lines().flat_map(|line| line.split('\r')).find(|line| line.starts_with("PID")).unwrap();
        let sealed = unhex(name.rsplit('|').next().unwrap());
        let at = |place: &str| {
            format!("hilum-encrypt-field-v1\nimaging\napplication/hl7-v2; charset=utf-8\n{time}\n{place}")
        };
        assert_eq!(keys::open("archive", at("2/PID-5").as_bytes(), &sealed).unwrap(), b"Doe^Jane");
        assert_eq!(keys::open("archive", at("3/NTE-3").as_bytes(), &sealed), Err(KeyError::Malformed));
    }
}

#[test]
fn elements_of_fhir_are_sealed_and_the_resource_stays_one() {
    let draft = replaced(by_field().transform(&context(), message("application/fhir+json", PATIENT)));
    assert_eq!(draft.attributes, [Attribute::new(SEALED_FIELDS, "2")]);
    let made: Value = serde_json::from_slice(&octets(draft.body)).unwrap();
    assert_eq!((&made["resourceType"], &made["active"]), (&json!("Patient"), &json!(true)));
    assert!(made.get("birthDate").is_none() && !made.to_string().contains("Doe"), "{made}");
    for element in [&made["name"][0], &made["_birthDate"]] {
        assert_eq!(element["extension"][0]["url"], "urn:hilum:fhir:sealed-element");
    }
}

#[test]
fn of_a_format_without_fields_everything_is_sealed() {
    let draft = replaced(by_field().transform(&context(), message("application/dicom", BODY)));
    assert_eq!(draft.content_type, SEALED_CONTENT_TYPE);
    let only_fhir =
        configured(json!({"recipients": ["archive"], "fields": {"fhir": ["Patient.name"]}})).unwrap();
    let mut only_fhir = only_fhir;
    let draft = replaced(only_fhir.transform(&context(), message("application/hl7-v2", ADT)));
    assert_eq!(draft.content_type, SEALED_CONTENT_TYPE);
}

#[test]
fn a_body_in_which_no_field_is_found_is_sealed_as_a_whole() {
    let (adt, patient) = (std::str::from_utf8(ADT).unwrap(), std::str::from_utf8(PATIENT).unwrap());
    let without = adt.lines().flat_map(|line| line.split('\r')).filter(|line| !line.starts_with("PID"));
    let without = without.filter(|line| !line.starts_with("NTE")).collect::<Vec<_>>().join("\r");
    let addenda = format!("{}\rADD|^Jane\r", adt.trim_end());
    let lower = patient.replace("\"Patient\"", "\"patient\"");
    for (content_type, body) in [
        ("application/hl7-v2", &*without),
        ("application/hl7-v2", &addenda),
        ("application/fhir+json", &lower),
        ("application/fhir+json", r#"{"resourceType":"Basic","author":{"display":"Doe"}}"#),
    ] {
        let draft = replaced(by_field().transform(&context(), message(content_type, body)));
        assert_eq!(draft.content_type, SEALED_CONTENT_TYPE, "{body}");
        assert_eq!(draft.attributes, [Attribute::new(ORIGINAL_CONTENT_TYPE, content_type)]);
        assert!(!String::from_utf8_lossy(&octets(draft.body)).contains("Doe"));
    }
}

#[test]
fn a_body_whose_fields_cannot_be_found_is_refused_without_a_word_of_it() {
    for (content_type, body) in [("application/hl7-v2", BODY), ("application/fhir+json", BODY)] {
        let refusal = refused(by_field().transform(&context(), message(content_type, body)));
        assert_eq!(refusal.code, "malformed");
        assert!(!refusal.reason.contains("Doe"), "{refusal:?}");
    }
}

#[test]
fn fields_that_one_recipient_could_not_open_are_not_sent() {
    with(|host| host.denied.insert("archive".into()));
    let refusal = refused(by_field().transform(&context(), message("application/hl7-v2", ADT)));
    assert_eq!(refusal.code, "not-granted");
}

#[test]
fn fields_that_are_none_are_told_where() {
    for (fields, at) in [
        (json!({"hl7v2": ["PID-5", "PID"]}), "/fields/hl7v2/1"),
        (json!({"hl7v2": ["PID-5", "PID-05"]}), "/fields/hl7v2/1"),
        (json!({"hl7v2": ["MSH-9"]}), "/fields/hl7v2/0"),
        (json!({"fhir": ["Patient.id"]}), "/fields/fhir/0"),
    ] {
        let error = configured(json!({"recipients": ["archive"], "fields": fields})).unwrap_err();
        assert!(format!("{error:?}").contains(at), "{error:?}");
    }
    let removes = json!({"recipients": ["archive"], "fields": {"hl7v2": ["PID-5"]}, "removes": ["phi"]});
    assert!(format!("{:?}", configured(removes).unwrap_err()).contains("/removes"));
}
