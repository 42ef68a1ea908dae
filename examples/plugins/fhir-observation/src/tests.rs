//! The plugin on telemetry, and what FHIR R4 asks of what it makes.

use hilum_plugin::testing::{self, context, message, refused, replaced, split};
use serde_json::{Value, json};

use super::*;

/// The time of [`testing::head`].
const RECORD_TIME: &str = "2023-11-14T22:13:20.000Z";

fn config() -> Value {
    json!({
        "device_system": "https://st-marys.example/machines",
        "identifier_system": "urn:oid:1.3.6.1.4.1.99999.1",
        "sensors": {
            "room-temperature": {
                "code": {"system": "http://loinc.org", "code": "60832-3", "display": "Room temperature"},
                "unit": "°C", "ucum": "Cel", "category": "survey", "range": {"low": 18, "high": 24}, "decimals": 1
            },
            "helium-level": {
                "code": {"system": "https://st-marys.example/observations", "code": "helium-level"},
                "ucum": "%", "range": {"low": 60}
            }
        }
    })
}

fn run(config: &Value, body: &Value) -> Outcome {
    let mut plugin = Observations::configure(testing::config(config.clone())).unwrap();
    plugin.transform(&context(), message(TELEMETRY_CONTENT_TYPE, body.to_string()))
}

fn resource(draft: Draft) -> Value {
    assert_eq!(draft.content_type, FHIR_CONTENT_TYPE);
    serde_json::from_slice(&testing::octets(draft.body)).unwrap()
}

/// What <https://hl7.org/fhir/R4/observation.html> says of the elements that are used here: names, cardinalities, types and the
/// invariants obs-6, obs-3 and ref-1.
fn check_observation(of: &Value) {
    let object = of.as_object().unwrap();
    let known = [
        "resourceType",
        "meta",
        "identifier",
        "status",
        "category",
        "code",
        "subject",
        "effectiveDateTime",
        "valueQuantity",
        "dataAbsentReason",
        "interpretation",
        "device",
        "referenceRange",
    ];
    for name in object.keys() {
        assert!(known.contains(&name.as_str()), "{name} is no element of an Observation");
    }
    assert_eq!(of["resourceType"], "Observation");
    let statuses = [
        "registered",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "cancelled",
        "entered-in-error",
        "unknown",
    ];
    assert!(statuses.contains(&of["status"].as_str().unwrap()), "status is required and bound");
    check_concept(&of["code"]);
    for name in ["category", "interpretation"] {
        for concept in of.get(name).map(|list| list.as_array().unwrap()).into_iter().flatten() {
            check_concept(concept);
        }
    }
    for identifier in of["identifier"].as_array().unwrap() {
        assert!(identifier["system"].as_str().unwrap().contains(':') && identifier["value"].is_string());
    }
    for name in ["subject", "device"] {
        let reference = of[name]["reference"].as_str().unwrap();
        assert!(reference.rsplit_once('/').is_some_and(|(kind, id)| kind.ends_with("Device") && is_id(id)));
    }
    let time = of["effectiveDateTime"].as_str().unwrap();
    assert!(hilum_formats::calendar::parse(time).is_some(), "a dateTime with a time has a zone: {time}");
    match of.get("valueQuantity") {
        Some(quantity) => {
            check_quantity(quantity);
            assert!(of.get("dataAbsentReason").is_none(), "obs-6");
        }
        None => check_concept(&of["dataAbsentReason"]),
    }
    for range in of.get("referenceRange").map(|list| list.as_array().unwrap()).into_iter().flatten() {
        let limits = range.as_object().unwrap();
        assert!(limits.contains_key("low") || limits.contains_key("high"), "obs-3");
        limits.values().for_each(check_quantity);
    }
    assert!(!has_empty(of), "FHIR JSON has no empty objects, arrays, strings or nulls: {of}");
}

fn check_concept(concept: &Value) {
    for coding in concept["coding"].as_array().unwrap() {
        assert!(coding["system"].as_str().unwrap().contains(':') && coding["code"].is_string(), "{coding}");
    }
}

fn check_quantity(quantity: &Value) {
    assert!(quantity["value"].is_number(), "{quantity}");
    // qty-3: a code has a system.
    assert_eq!(quantity["system"], "http://unitsofmeasure.org");
    assert!(quantity["code"].is_string() && quantity["unit"].is_string());
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.'))
}

fn has_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty() || items.iter().any(has_empty),
        Value::Object(members) => members.is_empty() || members.values().any(has_empty),
        _ => false,
    }
}

#[test]
fn a_reading_becomes_an_observation() {
    let body = json!({"machine": "mri-1", "sensor": "room-temperature", "unit": "°C",
        "time": "2026-11-23T20:00:00+01:00", "value": 21.4499});
    let draft = replaced(run(&config(), &body));
    assert_eq!(draft.key.as_deref(), Some("mri-1"));
    let made = resource(draft);
    check_observation(&made);
    assert_eq!(made["code"]["coding"][0]["code"], "60832-3");
    assert_eq!(made["effectiveDateTime"], "2026-11-23T19:00:00.000Z");
    assert_eq!(
        made["valueQuantity"],
        json!({"value": 21.4, "unit": "°C", "system": "http://unitsofmeasure.org", "code": "Cel"})
    );
    assert_eq!(made["interpretation"][0]["coding"][0]["code"], "N");
    assert_eq!(made["device"]["reference"], "Device/mri-1");
    assert_eq!(made["identifier"][0]["value"], "mri-1/room-temperature/1795460400000");
}

#[test]
fn several_become_several_or_a_bundle() {
    let body = json!({"machine": "mri-1", "readings": [
        {"sensor": "helium-level", "value": 59.5},
        {"sensor": "helium-level", "time": 1_700_000_000_250_u64, "value": 87.25},
        {"sensor": "room-temperature", "unit": "°C", "value": null},
        {"sensor": "room-temperature", "unit": "°C", "value": 24.1},
    ]});
    let made: Vec<Value> = split(run(&config(), &body)).into_iter().map(resource).collect();
    made.iter().for_each(check_observation);
    let codes: Vec<&str> = made
        .iter()
        .map(|made| made["interpretation"][0]["coding"][0]["code"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(codes, ["L", "N", "-", "H"]);
    assert_eq!(made[0]["effectiveDateTime"], RECORD_TIME);
    assert_eq!(made[2]["dataAbsentReason"]["coding"][0]["code"], "unknown");

    let mut bundled = config();
    bundled["form"] = "bundle".into();
    let bundle = resource(replaced(run(&bundled, &body)));
    assert_eq!((&bundle["resourceType"], &bundle["type"]), (&json!("Bundle"), &json!("collection")));
    assert_eq!(bundle["timestamp"], RECORD_TIME);
    let entries = bundle["entry"].as_array().unwrap();
    let mut urls: Vec<&str> = entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
    entries.iter().zip(&made).for_each(|(entry, made)| assert_eq!(&entry["resource"], made));
    // Two readings of one sensor at one time are the same Observation; the other names differ (bdl-7).
    urls.sort_unstable();
    urls.dedup();
    assert_eq!(urls.len(), 3);
    assert!(urls.iter().all(|url| url.len() == 45 && url.as_bytes()[23] == b'8'), "{urls:?}");
}

#[test]
fn what_cannot_be_mapped_is_refused_without_its_values() {
    let reading =
        |sensor: &str, unit: &str| json!({"machine": "mri-1", "sensor": sensor, "unit": unit, "value": 4711});
    let many: Vec<Value> = vec![json!({"sensor": "helium-level", "value": 4711}); 65];
    for (code, body) in [
        ("unknown-sensor", reading("pressure", "bar")),
        ("unexpected-unit", reading("room-temperature", "°F")),
        ("malformed", json!({"machine": "Jane Doe", "sensor": "helium-level", "value": 4711})),
        ("malformed", json!({"machine": "mri-1"})),
        ("malformed", json!({"machine": "mri-1", "sensor": "helium-level", "value": "4711"})),
        ("malformed", json!({"machine": "mri-1", "sensor": "helium-level", "value": 1, "time": "yesterday"})),
        ("too-many-readings", json!({"machine": "mri-1", "readings": many})),
        ("no-reading", json!({"machine": "mri-1", "readings": []})),
    ] {
        let refusal = refused(run(&config(), &body));
        assert_eq!(refusal.code, code, "{refusal}");
        for value in ["4711", "Doe", "yesterday"] {
            assert!(!refusal.reason.contains(value), "{refusal}");
        }
    }
    let mut lenient = config();
    lenient["unknown_sensor"] = "skip".into();
    assert_eq!(refused(run(&lenient, &reading("pressure", "bar"))).code, "no-reading");
}

#[test]
fn a_loinc_code_has_its_check_digit() {
    for code in ["8867-4", "60832-3", "2345-7", "59408-5", "8310-5"] {
        assert!(settings::is_loinc(code), "{code}");
    }
    for code in ["8867-5", "8867", "8867-44", "-4", "x-1", "88674"] {
        assert!(!settings::is_loinc(code), "{code}");
    }
    let mut wrong = config();
    wrong["sensors"]["room-temperature"]["code"]["code"] = "60832-4".into();
    let error = Observations::configure(testing::config(wrong)).unwrap_err();
    assert_eq!(error.at, "/sensors/room-temperature/code/code");
}

#[test]
fn the_schema_takes_the_example_and_no_more() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&config()));
    for (pointer, value) in [
        ("/sensors", json!({})),
        ("/sensors/helium-level/range", json!({})),
        ("/sensors/helium-level/decimals", json!(-1)),
        ("/form", json!("list")),
    ] {
        let mut wrong = config();
        match wrong.pointer_mut(pointer) {
            Some(at) => *at = value,
            None => match pointer.rsplit_once('/').unwrap() {
                ("", name) => wrong[name] = value,
                (parent, name) => wrong.pointer_mut(parent).unwrap()[name] = value,
            },
        }
        assert!(!validator.is_valid(&wrong), "{pointer}");
    }
}
