//! Reading telemetry: JSON of content type [`CONTENT_TYPE`], one room or machine and its readings a document.

use hilum_formats::calendar;
use hilum_plugin::Message;
use serde::Deserialize;

/// Media type of the documents.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.telemetry+json";
/// Octets of one document, readings of it, and octets of a name.
const DOCUMENT_OCTETS_MAX: usize = 256 * 1024;
const READINGS_MAX: usize = 4096;
const NAME_OCTETS_MAX: usize = 64;
/// Times beyond this (the year 9999) are not written.
const TIME_MS_MAX: u64 = 253_402_300_799_000;

/// One value of one sensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) machine: String,
    pub(crate) sensor: String,
    pub(crate) value: f64,
    /// Not after the time of its record.
    pub(crate) time_ms: u64,
}

#[derive(Deserialize)]
struct Document {
    machine: String,
    #[serde(default)]
    readings: Option<Vec<One>>,
    #[serde(default)]
    sensor: Option<String>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    time: Option<Time>,
}

#[derive(Deserialize)]
struct One {
    sensor: String,
    /// None for what is no single value, such as a waveform.
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    time: Option<Time>,
}

/// Milliseconds since 1970, as that number or as text (RFC 3339).
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Number(u64),
    Text(String),
}

impl Time {
    fn ms(&self) -> Option<u64> {
        match self {
            Self::Number(ms) => Some(*ms),
            Self::Text(text) => calendar::parse(text),
        }
    }
}

/// Reads a record; none of another content type is telemetry, and an error means that one that claims to be is not.
pub(crate) fn read(message: Message) -> Option<Result<Vec<Reading>, ()>> {
    let Message { head, body } = message;
    if !head.is(CONTENT_TYPE) {
        return None;
    }
    let latest_ms = head.time.min(TIME_MS_MAX);
    let octets = body.into_octets(DOCUMENT_OCTETS_MAX).map_err(drop);
    let document = octets.and_then(|octets| serde_json::from_slice::<Document>(&octets).map_err(drop));
    Some(document.and_then(|document| readings(document, latest_ms).ok_or(())))
}

fn readings(document: Document, latest_ms: u64) -> Option<Vec<Reading>> {
    let Document { machine, readings, sensor, value, time } = document;
    let all = match (readings, sensor) {
        (Some(readings), None) if readings.len() <= READINGS_MAX => readings,
        (None, Some(sensor)) => vec![One { sensor, value, time }],
        _ => return None,
    };
    let is_name = |name: &str| (1..=NAME_OCTETS_MAX).contains(&name.len());
    if !is_name(&machine) || !all.iter().all(|one| is_name(&one.sensor)) {
        return None;
    }
    let reading = |one: One| {
        let time_ms = match &one.time {
            Some(time) => time.ms()?.min(latest_ms),
            None => latest_ms,
        };
        let value = one.value?;
        Some(Reading { machine: machine.clone(), sensor: one.sensor, value, time_ms })
    };
    let mut found: Vec<Reading> = all.into_iter().filter_map(reading).collect();
    found.sort_by_key(|reading| reading.time_ms);
    Some(found)
}
