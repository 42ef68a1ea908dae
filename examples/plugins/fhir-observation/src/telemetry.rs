//! Reading telemetry: JSON with one machine and its readings a document, or one reading beside `machine`.

use hilum_formats::calendar;
use hilum_plugin::Refusal;
use serde::Deserialize;

/// Readings of one document.
const READINGS_MAX: usize = 8192;
/// Beyond this a value is a fault of the sensor.
const VALUE_MAX: f64 = 1e15;

/// One machine's readings.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) machine: String,
    pub(crate) readings: Vec<Reading>,
}

/// One value of one sensor.
#[derive(Debug, Deserialize)]
pub(crate) struct Reading {
    pub(crate) sensor: String,
    #[serde(default)]
    pub(crate) unit: Option<String>,
    /// None means the time of the record.
    #[serde(default)]
    pub(crate) time: Option<Time>,
    /// None means that the sensor could not tell.
    pub(crate) value: Option<f64>,
}

/// Milliseconds since 1970, written as that number or as text (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawTime")]
pub(crate) struct Time(pub(crate) u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTime {
    Milliseconds(u64),
    Text(String),
}

impl TryFrom<RawTime> for Time {
    type Error = &'static str;

    fn try_from(raw: RawTime) -> Result<Self, &'static str> {
        let ms = match raw {
            RawTime::Milliseconds(ms) => Some(ms),
            RawTime::Text(text) => calendar::parse(&text),
        };
        // The year 9999 is the last that FHIR can write.
        ms.filter(|ms| *ms < 253_402_300_800_000).map(Time).ok_or("not a time")
    }
}

#[derive(Deserialize)]
struct Raw {
    machine: String,
    #[serde(default)]
    readings: Option<Vec<Reading>>,
    #[serde(default)]
    sensor: Option<String>,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    time: Option<Time>,
    #[serde(default)]
    value: Option<f64>,
}

/// # Errors
///
/// `malformed`, with the line and column of the fault and never with what stands there.
pub(crate) fn read(octets: &[u8]) -> Result<Document, Refusal> {
    let malformed = |what: String| Refusal::new("malformed", what);
    let raw: Raw = serde_json::from_slice(octets).map_err(|error| {
        malformed(format!("not telemetry, at line {} column {}", error.line(), error.column()))
    })?;
    let readings = match (raw.readings, raw.sensor) {
        (Some(readings), None) => readings,
        (None, Some(sensor)) => {
            vec![Reading { sensor, unit: raw.unit, time: raw.time, value: raw.value }]
        }
        _ => return Err(malformed("telemetry has either `readings` or one `sensor`".into())),
    };
    if readings.len() > READINGS_MAX {
        return Err(malformed(format!("there are more than {READINGS_MAX} readings")));
    }
    if !is_name(&raw.machine) {
        return Err(malformed(
            "`machine` is not a name of 1 to 64 letters, digits, `-`, `_`, `.` and `:`".into(),
        ));
    }
    let wrong = |reading: &Reading| {
        !is_name(&reading.sensor) || reading.value.is_some_and(|value| value.abs() > VALUE_MAX)
    };
    match readings.iter().position(wrong) {
        Some(index) => Err(malformed(format!("reading {} has no plausible name or value", index + 1))),
        None => Ok(Document { machine: raw.machine, readings }),
    }
}

/// 1 to 64 characters that are safe in keys, attributes and logs.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
