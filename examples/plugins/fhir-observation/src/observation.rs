//! An Observation of one reading (FHIR R4, <https://hl7.org/fhir/R4/observation.html>).

use hilum_formats::calendar;
use serde_json::{Map, Value, json};

use crate::settings::{Code, Range, Sensor, Settings};
use crate::telemetry::{Reading, Time};

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
const ABSENT: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
const UCUM: &str = "http://unitsofmeasure.org";

/// The resource. Its device is both what was observed and what observed: telemetry is about the machine itself.
pub(crate) fn make(
    settings: &Settings,
    machine: &str,
    sensor: &Sensor,
    reading: &Reading,
    record_time_ms: u64,
) -> Value {
    let Time(time_ms) = reading.time.unwrap_or(Time(record_time_ms));
    let time = calendar::format(time_ms);
    let device = json!({
        "reference": format!("{}{machine}", settings.device_base),
        "type": "Device",
        "identifier": {"system": settings.device_system, "value": machine},
    });
    let mut resource = Map::new();
    let mut set = |name: &str, value: Value| resource.insert(name.to_owned(), value);
    set("resourceType", json!("Observation"));
    if let Some(profile) = &settings.profile {
        set("meta", json!({"profile": [profile]}));
    }
    // The same reading has the same identifier, so that a server can tell a repetition.
    set(
        "identifier",
        json!([{"system": settings.identifier_system, "value": format!("{machine}/{}/{time_ms}", reading.sensor)}]),
    );
    set("status", json!("final"));
    if let Some(category) = &sensor.category {
        set("category", json!([{"coding": [{"system": CATEGORY, "code": category}]}]));
    }
    set("code", concept(&sensor.code));
    set("subject", device.clone());
    set("effectiveDateTime", json!(time));
    match reading.value {
        Some(value) => {
            set("valueQuantity", quantity(sensor, value));
            if let Some(range) = sensor.range {
                let (code, display) = interpretation(range, value);
                set(
                    "interpretation",
                    json!([{"coding": [{"system": INTERPRETATION, "code": code, "display": display}]}]),
                );
            }
        }
        None => {
            set(
                "dataAbsentReason",
                json!({"coding": [{"system": ABSENT, "code": "unknown", "display": "Unknown"}]}),
            );
        }
    }
    set("device", device);
    if let Some(Range { low, high }) = sensor.range {
        let mut range = Map::new();
        for (name, limit) in [("low", low), ("high", high)] {
            if let Some(limit) = limit {
                range.insert(name.to_owned(), quantity(sensor, limit));
            }
        }
        set("referenceRange", json!([range]));
    }
    Value::Object(resource)
}

fn concept(code: &Code) -> Value {
    let mut coding = json!({"system": code.system, "code": code.code});
    if let Some(display) = &code.display {
        coding["display"] = json!(display);
        return json!({"coding": [coding], "text": display});
    }
    json!({"coding": [coding]})
}

fn quantity(sensor: &Sensor, value: f64) -> Value {
    let value = sensor.decimals.map_or(value, |decimals| {
        let scale = 10_f64.powi(i32::from(decimals));
        (value * scale).round() / scale
    });
    json!({
        "value": value,
        "unit": sensor.unit.as_ref().unwrap_or(&sensor.ucum),
        "system": UCUM,
        "code": sensor.ucum,
    })
}

fn interpretation(range: Range, value: f64) -> (&'static str, &'static str) {
    match range {
        Range { low: Some(low), .. } if value < low => ("L", "Low"),
        Range { high: Some(high), .. } if value > high => ("H", "High"),
        _ => ("N", "Normal"),
    }
}

/// A name for a Bundle's entry: a UUID of version 8 (RFC 9562) that is made of the identifier, and so is the same each time.
pub(crate) fn full_url(resource: &Value) -> String {
    let identifier = resource["identifier"][0]["value"].as_str().unwrap_or_default();
    // FNV-1a of 128 bits: names need not be hard to guess.
    let mut hash = identifier.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, octet| {
        (hash ^ u128::from(octet)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    hash &= !(0xF << 76 | 0x3 << 62);
    hash |= 0x8 << 76 | 0x2 << 62;
    let hex = format!("{hash:032x}");
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
