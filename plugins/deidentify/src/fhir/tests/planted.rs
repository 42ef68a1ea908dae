//! Identifiers planted in every element of the table, of every type that it may have.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::table::{self, Action, Row};
use super::*;

/// What stands in every text.
const MARK: &str = "SENTINEL";
/// A day of which no more than the year may be left.
const DAY: &str = "1961-07-23";
/// Somebody's number.
const NUMBER: u64 = 5_551_234_567;
/// How deep elements are planted in each other; those of all resources end before.
const DEPTH_MAX: usize = 7;

/// Elements that belong to a choice of types, of which a resource has one; planting all is harmless, for each is looked at for itself.
fn planted(container: &str, depth: usize) -> Value {
    let mut members = Map::new();
    for row in table::rows().iter().filter(|row| row.container == container) {
        if row.action == Action::Refuse || (depth > DEPTH_MAX && !row.is_primitive()) {
            continue;
        }
        let value = value(row, depth);
        members.insert(row.member.to_owned(), if row.is_list { json!([value]) } else { value });
        if row.is_primitive() {
            let beside = json!({"id": MARK, "extension": [{"url": MARK, "valueString": MARK}]});
            members.insert(format!("_{}", row.member), if row.is_list { json!([beside]) } else { beside });
        }
    }
    Value::Object(members)
}

fn value(row: &Row, depth: usize) -> Value {
    match row.kind {
        "boolean" => json!(true),
        "integer" | "positiveInt" | "unsignedInt" => json!(NUMBER),
        "decimal" => json!(f64::from(u32::MAX)),
        "date" | "dateTime" => json!(DAY),
        "instant" => json!(format!("{DAY}T10:11:12Z")),
        "time" => json!("10:11:12"),
        "id" => json!(format!("{MARK}-4711")),
        "Resource" => json!({"resourceType": "Patient", "id": MARK, "name": [{"text": MARK}]}),
        "Extension" => json!({"url": MARK, "valueString": MARK}),
        "Narrative" => json!({"status": "generated", "div": MARK}),
        kind if row.is_primitive() => match (row.member, kind) {
            ("system", _) => json!("http://st-marys.example/SENTINEL"),
            ("reference" | "fullUrl", _) => json!(format!("http://SENTINEL.example/Patient/{MARK}")),
            ("url" | "location", _) => json!(format!("Patient?name={MARK}")),
            _ => json!(format!("{MARK} Doe")),
        },
        kind if table::rows().iter().any(|row| row.container == kind) => planted(kind, depth + 1),
        _ => json!({"text": MARK, "value": MARK, "family": MARK}),
    }
}

fn traces(text: &str) -> Vec<&'static str> {
    let all = [MARK, "07-23", "5551234567", "4294967295", "10:11", "Doe", "st-marys"];
    all.into_iter().filter(|trace| text.contains(trace)).collect()
}

#[test]
fn nobody_planted_in_a_resource_survives() {
    let (mut resources, mut elements) = (0, 0);
    for row in table::rows().iter().filter(|row| row.member == "implicitRules") {
        let mut resource = planted(row.container, 0);
        resource["resourceType"] = json!(row.container);
        let text = resource.to_string();
        assert!(traces(&text).len() >= 4, "{text}");
        for config in [Config::default(), Config { patient_id: PatientId::Empty, ..Config::default() }] {
            let cleaned = clean_as_once(&resource, &config).to_string();
            assert_eq!(traces(&cleaned), Vec::<&str>::new(), "{}: {cleaned}", row.container);
        }
        resources += 1;
        elements += text.matches(MARK).count();
    }
    assert_eq!(resources, 38);
    assert!(elements > 50_000, "{elements}");
}

#[test]
fn one_element_at_a_time_is_clean_and_says_what_is_required() {
    for row in table::rows().iter().filter(|row| row.action != Action::Refuse && !row.container.contains('.'))
    {
        if table::resource_type(row.container).is_none() {
            continue;
        }
        let value = value(row, DEPTH_MAX);
        let value = if row.is_list { json!([value]) } else { value };
        let cleaned =
            clean_as_once(&json!({"resourceType": row.container, row.member: value}), &Config::default());
        assert_eq!(traces(&cleaned.to_string()), Vec::<&str>::new(), "{row:?}: {cleaned}");
        let there = [row.member.to_owned(), format!("_{}", row.member)]
            .iter()
            .any(|name| cleaned.get(name).is_some());
        assert!(there || !row.is_required, "{row:?}: {cleaned}");
    }
}

proptest! {
    #[test]
    fn no_octets_panic_and_no_value_is_in_a_refusal(octets in prop::collection::vec(any::<u8>(), 0..20), at in 0..3000usize) {
        let mut resource = planted("Observation", DEPTH_MAX - 1);
        resource["resourceType"] = json!("Observation");
        let mut damaged = resource.to_string().into_bytes();
        let at = at.min(damaged.len());
        damaged.splice(at..at, octets.iter().copied());
        for input in [&octets, &damaged] {
            if let Err(refusal) = deidentify(input, 2026, &Config::default(), &TestKeys(1)) {
                prop_assert!(!refusal.reason.contains(MARK));
            }
        }
    }
}
