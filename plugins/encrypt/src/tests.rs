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

/// What a sealed record is bound to, as its reader sees it.
fn associated(form: Form, flow: &str, time: u64, draft: &Draft) -> Vec<u8> {
    let place = Place { flow, content_type: &draft.content_type, time, key: draft.key.as_deref() };
    let attributes = draft.attributes.iter().map(|of| (of.name.as_str(), of.value.as_str()));
    bound_text(form, place, attributes).unwrap().into_bytes()
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
        let [original, id] = &draft.attributes[..] else { panic!("two attributes") };
        assert_eq!(*original, Attribute::new(ORIGINAL_CONTENT_TYPE, "application/hl7-v2"));
        assert!(id.name == RECORD_ID && unhex(&id.value).len() == 16, "{}", id.value);
        let associated = associated(form, "imaging", time, &draft);
        let sealed = octets(draft.body);
        for recipient in ["radiology", "archive"] {
            assert_eq!(keys::open(recipient, &associated, &sealed).unwrap(), BODY);
        }
        assert_eq!(keys::open("insurer", &associated, &sealed), Err(KeyError::Malformed));
    }
}

/// Keeps all that can be kept.
fn keeping() -> Encrypt {
    let config = json!({"recipients": ["archive"], "keep_key": true, "keep_attributes": ["unit", "patient"], "keep_source": true});
    configured(config).unwrap()
}

#[test]
fn a_sealed_body_opens_in_no_other_record() {
    let both = [(Form::Message, Form::Stream), (Form::Stream, Form::Message)];
    let large = Message { body: large_message("", BODY).body, ..telling() };
    for ((form, other), sent) in both.into_iter().zip([telling(), large]) {
        let time = sent.head.time;
        let mut draft = replaced(keeping().transform(&context(), sent));
        let sealed = octets(std::mem::replace(&mut draft.body, Body::Inline(Vec::new())));
        let opens = |form, flow, time, draft: &Draft| {
            keys::open("archive", &associated(form, flow, time, draft), &sealed).is_ok()
        };
        assert!(opens(form, "imaging", time, &draft));
        assert!(!opens(other, "imaging", time, &draft));
        assert!(!opens(form, "billing", time, &draft));
        assert!(!opens(form, "imaging", time + 1, &draft));
        type Exchange = fn(&mut Draft);
        let exchanges: [(&str, Exchange); 8] = [
            ("content type", |of| of.content_type.push('s')),
            ("another key", |of| of.key = Some("4712".into())),
            ("no key", |of| of.key = None),
            ("original content type", |of| of.attributes[0].value = "text/html".into()),
            ("value of a kept attribute", |of| of.attributes[1].value = "4712".into()),
            ("order of attributes", |of| of.attributes.swap(1, 2)),
            ("source", |of| of.attributes[3].value = "spiffe://st-marys/device/mri-2".into()),
            ("record's own id", |of| of.attributes[4].value = record_id()),
        ];
        assert_eq!(draft.attributes.len(), 5);
        for (what, exchange) in exchanges {
            let mut other = Draft {
                body: Body::Inline(Vec::new()),
                attributes: draft.attributes.clone(),
                key: draft.key.clone(),
                content_type: draft.content_type.clone(),
            };
            exchange(&mut other);
            assert!(!opens(form, "imaging", time, &other), "it opens with another {what}");
        }
        // Another attribute before the id is not let in; one behind it is no part of what was sealed.
        let mut more = draft.attributes.clone();
        more.insert(2, Attribute::new("ward", "3"));
        draft.attributes.push(Attribute::new("added", "later"));
        assert!(opens(form, "imaging", time, &draft));
        draft.attributes = more;
        assert!(!opens(form, "imaging", time, &draft));
    }
}

#[test]
fn two_records_of_one_moment_are_not_exchanged() {
    let mut encrypt = encrypt();
    let mut seal = |body: &[u8]| {
        let draft = replaced(encrypt.transform(&context(), message("text/plain", body)));
        (associated(Form::Message, "imaging", testing::head("").time, &draft), octets(draft.body))
    };
    let ((this, one), (that, two)) = (seal(b"one"), seal(b"two"));
    assert_eq!(keys::open("archive", &this, &one).unwrap(), b"one");
    assert_eq!(keys::open("archive", &that, &two).unwrap(), b"two");
    assert_eq!(keys::open("archive", &this, &two), Err(KeyError::Malformed));
}

#[test]
fn nothing_of_the_record_stays_in_the_clear_unless_configured() {
    let draft = replaced(encrypt().transform(&context(), telling()));
    assert_eq!(draft.key, None);
    let (id, first) = draft.attributes.split_last().unwrap();
    assert!(first == [Attribute::new(ORIGINAL_CONTENT_TYPE, "application/hl7-v2")] && id.name == RECORD_ID);
    let sealed = octets(draft.body);
    assert!(!sealed.windows(4).any(|window| window == b"4711" || window == b"Jane"));

    let config = json!({"recipients": ["archive"], "keep_key": true, "keep_attributes": ["unit"]});
    let draft = replaced(configured(config).unwrap().transform(&context(), telling()));
    assert_eq!(draft.key.as_deref(), Some("4711"));
    assert_eq!(draft.attributes[1..2], [Attribute::new("unit", "mri-1")]);
    assert_eq!(draft.attributes[2].name, RECORD_ID);

    let draft = replaced(keeping().transform(&context(), telling()));
    assert_eq!(draft.attributes[3], Attribute::new(RECORD_SOURCE, "spiffe://st-marys/device/mri-1"));
}

#[test]
fn a_publisher_cannot_state_what_is_said_here() {
    let mut sent = telling();
    let ours = [ORIGINAL_CONTENT_TYPE, RECORD_ID, RECORD_SOURCE, SEALED_FIELDS];
    sent.head.attributes.extend(ours.map(|name| Attribute::new(name, "text/html")));
    let draft = replaced(keeping().transform(&context(), sent));
    assert!(draft.attributes.iter().all(|attribute| attribute.value != "text/html"));
    let names: Vec<_> = draft.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
    assert_eq!(names, [ORIGINAL_CONTENT_TYPE, "patient", "unit", RECORD_SOURCE, RECORD_ID]);
}

#[test]
fn attributes_are_kept_as_long_as_there_is_room_for_ours() {
    let mut sent = telling();
    sent.head.attributes = (0..32).map(|_| Attribute::new("unit", "mri-1")).collect();
    let draft = replaced(keeping().transform(&context(), sent));
    assert_eq!(draft.attributes.len(), ATTRIBUTES_MAX);
    assert_eq!(draft.attributes.last().unwrap().name, RECORD_ID);
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
fn a_line_feed_in_what_is_bound_is_refused() {
    let refusal = refused(encrypt().transform(&context(), message("text/plain\n1", BODY)));
    assert_eq!(refusal.code, "malformed");
    let (mut key, mut attribute) = (telling(), telling());
    key.head.key = Some("47\n11".into());
    attribute.head.attributes[0].value = "47\n11".into();
    for (sent, what) in [(key, "the key"), (attribute, "an attribute")] {
        let refusal = refused(keeping().transform(&context(), sent));
        assert_eq!(refusal, Refusal::new("malformed", format!("{what} holds a line feed")));
    }
    // What does not stay is no matter.
    let mut sent = telling();
    sent.head.key = Some("47\n11".into());
    replaced(encrypt().transform(&context(), sent));
}

#[test]
fn a_source_that_no_attribute_takes_is_refused_where_it_is_to_be_told() {
    let mut context = context();
    context.source.principal = format!("spiffe://st-marys/device/{}", "m".repeat(1024));
    assert_eq!(refused(keeping().transform(&context, telling())).code, "not-sealed");
    replaced(encrypt().transform(&context, telling()));
}

#[test]
fn configuration_errors_say_where() {
    let at = |config: Value| configured(config).unwrap_err().at;
    assert_eq!(at(json!({"recipients": []})), "/recipients");
    assert_eq!(at(json!({"recipients": ["a", "b", "a"]})), "/recipients/2");
    let kept = json!({"recipients": ["a"], "keep_attributes": ["x", ORIGINAL_CONTENT_TYPE]});
    assert_eq!(at(kept), "/keep_attributes/1");
    assert_eq!(at(json!({"recipients": ["a"], "keep_attributes": [RECORD_ID]})), "/keep_attributes/0");
    assert_eq!(at(json!({"recipients": ["a"], "keep_source": true, "removes": ["phi"]})), "/removes");
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
        assert_eq!(draft.attributes[0], Attribute::new(SEALED_FIELDS, "2"));
        let record = String::from_utf8(associated(Form::Field, "imaging", time, &draft)).unwrap();
        let made = String::from_utf8(octets(draft.body)).unwrap();
        assert!(
            made.contains("PID|1||4711||") && made.ends_with("NTE|2||\r") && !made.contains("Jane"),
            "{made}"
        );
        let name =
            made.lines().flat_map(|line| line.split('\r')).find(|line| line.starts_with("PID")).unwrap();
        let sealed = unhex(name.rsplit('|').next().unwrap());
        let at = |place: &str| format!("{record}\n{place}");
        assert_eq!(keys::open("archive", at("2/PID-5").as_bytes(), &sealed).unwrap(), b"Doe^Jane");
        assert_eq!(keys::open("archive", at("3/NTE-3").as_bytes(), &sealed), Err(KeyError::Malformed));
    }
}

#[test]
fn many_fields_under_a_long_head_are_sealed_in_several_calls() {
    let note = "NTE|1||calls her Jane\r";
    let message_of =
        |notes: usize| format!("MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\r{}", note.repeat(notes));
    let mut config = json!({"recipients": ["archive"], "fields": {"hl7v2": ["NTE-3"]}});
    config["keep_attributes"] = json!(["unit"]);
    let mut sent = message("application/hl7-v2", message_of(5000).as_bytes());
    sent.head.attributes = vec![Attribute::new("unit", "u".repeat(1000))];
    let draft = replaced(configured(config).unwrap().transform(&context(), sent));
    assert_eq!(draft.attributes[0], Attribute::new(SEALED_FIELDS, "5000"));
    let made = String::from_utf8(octets(draft.body)).unwrap();
    assert!(!made.contains("Jane") && made.matches("NTE|1||").count() == 5000);
}

#[test]
fn elements_of_fhir_are_sealed_and_the_resource_stays_one() {
    let draft = replaced(by_field().transform(&context(), message("application/fhir+json", PATIENT)));
    assert_eq!(draft.attributes[0], Attribute::new(SEALED_FIELDS, "2"));
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
        assert_eq!(draft.attributes[0], Attribute::new(ORIGINAL_CONTENT_TYPE, content_type));
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
