//! The example `fhir-observation`: whatever comes is refused, or becomes resources without anything that FHIR's JSON has not.

use std::cell::RefCell;

use hilum_fhir_observation::{Observations, TELEMETRY_CONTENT_TYPE};
use hilum_formats::calendar;
use hilum_plugin::testing;
use serde_json::{Value, json};

use crate::memory;
use crate::plugin::{Made, Record, has_null, run, transform};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

thread_local! {
    /// One that makes single records, and one that makes Bundles.
    static PLUGINS: RefCell<[Observations; 2]> = RefCell::new(["observations", "bundle"].map(|form| {
        transform(&json!({
            "form": form,
            "unknown_sensor": "skip",
            "device_system": "https://st-marys.example/machines",
            "identifier_system": "urn:oid:1.3.6.1.4.1.99999.1",
            "sensors": {
                "t": {
                    "code": {"system": "http://loinc.org", "code": "60832-3", "display": "Room temperature"},
                    "unit": "°C", "ucum": "Cel", "category": "survey", "range": {"low": 18, "high": 24}, "decimals": 1
                },
                "h": {
                    "code": {"system": "https://st-marys.example/observations", "code": "helium-level"},
                    "ucum": "%", "range": {"low": 60}, "decimals": 9
                }
            }
        }))
    }));
}

/// Makes single Observations and a Bundle of the same telemetry.
pub fn check(octets: &[u8]) {
    let [singles, bundle] = PLUGINS.with_borrow_mut(|plugins| {
        plugins.each_mut().map(|plugin| run(plugin, testing::message(TELEMETRY_CONTENT_TYPE, octets)))
    });
    let Some(Made::Other(bundle)) = bundle else {
        assert!(bundle.is_none() && singles.is_none(), "telemetry becomes something else or is refused");
        return;
    };
    let [bundle] = &bundle[..] else { panic!("it is one Bundle") };
    let entries = resource(bundle)["entry"].take();
    let resources: Vec<Value> = entries.as_array().expect("it is a list").iter().map(observation).collect();
    // Of too many readings no single records are made.
    let Some(Made::Other(singles)) = singles else { return assert!(resources.len() > 64) };
    assert_eq!(singles.iter().map(resource).collect::<Vec<_>>(), resources);
}

fn resource(of: &Record) -> Value {
    let resource = serde_json::from_slice(&of.body).expect("it is JSON");
    assert!(!has_null(&resource), "{resource}");
    resource
}

/// The resource of an entry.
fn observation(entry: &Value) -> Value {
    let of = &entry["resource"];
    let time = of["effectiveDateTime"].as_str().and_then(calendar::parse);
    let identifier = of["identifier"][0]["value"].as_str().expect("it has an identifier");
    let stated = identifier.rsplit_once('/').and_then(|(_, time)| time.parse().ok());
    assert!(time.is_some() && time == stated, "{of}");
    assert!(of.get("valueQuantity").is_some() != of.get("dataAbsentReason").is_some(), "obs-6: {of}");
    assert!(entry["fullUrl"].as_str().is_some_and(|url| url.len() == 45), "{entry}");
    of.clone()
}

/// Documents with one reading and with several, and of each fault one.
pub fn seeds() -> Vec<Vec<u8>> {
    let one =
        |unit: &str, value: Value| json!({"machine": "mri-1", "sensor": "t", "unit": unit, "value": value});
    let several = json!({"machine": "mri-1", "readings": [
        {"sensor": "h", "value": 59.5},
        {"sensor": "h", "time": 1_700_000_000_250_u64, "value": 1e15},
        {"sensor": "t", "unit": "°C", "time": "2026-11-23T20:00:00.5+01:00", "value": null},
        {"sensor": "other", "value": 24.1},
    ]});
    let many = json!({"machine": "mri-1", "readings": vec![json!({"sensor": "h", "value": 1}); 65]});
    let seeds = [one("°C", json!(21.4499)), one("°C", Value::Null), one("°F", json!(1)), several, many];
    seeds.iter().map(|seed| seed.to_string().into_bytes()).collect()
}
