//! Reading telemetry: JSON of content type [`CONTENT_TYPE`], one machine and its readings a document.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use hilum_formats::calendar;

/// Media type of the documents.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.telemetry+json";
/// Octets of one document.
pub(crate) const DOCUMENT_OCTETS_MAX: usize = 1 << 20;
/// Readings of one document.
pub(crate) const READINGS_MAX: usize = 8192;
/// Characters of the name of a machine or sensor.
pub(crate) const NAME_CHARS_MAX: usize = 64;
/// Samples of one waveform.
pub(crate) const SAMPLES_MAX: usize = 1 << 16;
/// Samples a second.
const RATE_HZ_MAX: f64 = 1e8;
/// Beyond this a value is a fault of the sensor, and its square would spoil the sums.
const VALUE_MAX: f64 = 1e15;

/// One machine's readings.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) machine: Text<'a>,
    pub(crate) readings: Vec<Reading<'a>>,
}

/// Text that stays where it is in the document. An `Option<Cow<str>>` would be copied, which costs more than all the rest.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One value of one sensor, or one waveform.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Reading<'a> {
    #[serde(borrow)]
    pub(crate) sensor: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) unit: Option<Text<'a>>,
    /// None means the time of the record.
    #[serde(default)]
    pub(crate) time: Option<Time>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    waveform: Option<Box<Waveform>>,
}

/// A short time of a fast sensor.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub(crate) struct Waveform {
    /// Samples a second.
    pub(crate) rate_hz: f64,
    /// Revolutions a second of the shaft that it was taken at.
    #[serde(default)]
    pub(crate) shaft_hz: Option<f64>,
    pub(crate) samples: Vec<f32>,
}

impl Waveform {
    fn is_plausible(&self) -> bool {
        let is_rate = |rate: f64| rate > 0.0 && rate <= RATE_HZ_MAX;
        is_rate(self.rate_hz)
            && self.shaft_hz.is_none_or(is_rate)
            && self.samples.len() <= SAMPLES_MAX
            && self.samples.iter().all(|sample| f64::from(sample.abs()) <= VALUE_MAX)
    }
}

/// What a reading has to say.
pub(crate) enum Measured<'a> {
    Value(f64),
    Waveform(&'a Waveform),
}

impl Reading<'_> {
    /// What it says; none where it says both or neither, which [`read`] refuses.
    pub(crate) fn measured(&self) -> Option<Measured<'_>> {
        match (self.value, &self.waveform) {
            (Some(value), None) => Some(Measured::Value(value)),
            (None, Some(waveform)) => Some(Measured::Waveform(waveform)),
            _ => None,
        }
    }

    pub(crate) fn is_plausible(&self) -> bool {
        is_name(self.sensor.as_str())
            && self.measured().is_some_and(|measured| match measured {
                Measured::Value(value) => value.abs() <= VALUE_MAX,
                Measured::Waveform(waveform) => waveform.is_plausible(),
            })
    }
}

/// Reads a document: `readings`, or one reading beside `machine`. Unknown members are ignored.
///
/// None where it is no such document; why does not matter, because nobody is waiting for an answer.
pub(crate) fn read(octets: &[u8]) -> Option<Document<'_>> {
    let raw: Raw<'_> = serde_json::from_slice(octets).ok()?;
    let (value, waveform) = (raw.value, raw.waveform);
    let readings = match (raw.readings, raw.sensor) {
        (Some(readings), None) if value.is_none() && waveform.is_none() => readings,
        (None, Some(sensor)) => vec![Reading { sensor, unit: raw.unit, time: raw.time, value, waveform }],
        _ => return None,
    };
    let is_whole =
        readings.len() <= READINGS_MAX && readings.iter().all(|reading| reading.measured().is_some());
    Some(Document { machine: raw.machine, readings })
        .filter(|document| is_whole && is_name(document.machine.as_str()))
}

#[derive(serde::Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    machine: Text<'a>,
    #[serde(borrow, default)]
    readings: Option<Vec<Reading<'a>>>,
    #[serde(borrow, default)]
    sensor: Option<Text<'a>>,
    #[serde(borrow, default)]
    unit: Option<Text<'a>>,
    #[serde(default)]
    time: Option<Time>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    waveform: Option<Box<Waveform>>,
}

/// 1 to 64 characters that are safe in keys, attributes and logs.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// Milliseconds since 1970, written as that number or as text (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("milliseconds since 1970, or a time by RFC 3339")
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Time, E> {
                Ok(Time(ms))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                calendar::parse(text).map(Time).ok_or_else(|| E::custom("not a time"))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_many_readings_or_one() {
        let many = br#"{"machine": "mri-1", "firmware": "5.2", "readings": [
            {"sensor": "helium-level", "unit": "%", "time": 1700000000250, "value": 87.2},
            {"sensor": "vibration", "time": "2023-11-14T22:13:20.250Z", "value": -1},
            {"sensor": "door", "value": 0}]}"#;
        let document = read(many).unwrap();
        assert_eq!(document.machine.as_str(), "mri-1");
        let of = |reading: &Reading<'_>| {
            (reading.sensor.as_str().to_owned(), reading.time, reading.value.unwrap())
        };
        let time = Some(Time(1_700_000_000_250));
        let readings: Vec<_> = document.readings.iter().map(of).collect();
        assert_eq!(
            readings,
            [
                ("helium-level".into(), time, 87.2),
                ("vibration".into(), time, -1.0),
                ("door".into(), None, 0.0)
            ]
        );
        assert_eq!(document.readings[0].unit.as_ref().map(Text::as_str), Some("%"));

        let one = br#"{"machine": "mri-1", "sensor": "helium-level", "unit": "%", "time": 5, "value": 87.2}"#;
        assert_eq!(of(&read(one).unwrap().readings[0]), ("helium-level".into(), Some(Time(5)), 87.2));
    }

    #[test]
    fn reads_waveforms_that_can_be() {
        let plausible = |waveform: &str| {
            let document = format!(r#"{{"machine": "m", "sensor": "a", "waveform": {waveform}}}"#);
            read(document.as_bytes()).unwrap().readings[0].is_plausible()
        };
        assert!(plausible(r#"{"rate_hz": 48828, "shaft_hz": 25, "samples": [0.5, -1, 1e-3]}"#));
        assert!(!plausible(r#"{"rate_hz": 0, "samples": [0.5]}"#));
        assert!(!plausible(r#"{"rate_hz": 1e12, "samples": [0.5]}"#));
        assert!(!plausible(r#"{"rate_hz": 1, "shaft_hz": -1, "samples": [0.5]}"#));
        assert!(!plausible(r#"{"rate_hz": 1, "samples": [1e38]}"#));
        let many = format!(r#"{{"rate_hz": 1, "samples": [{}0]}}"#, "0,".repeat(SAMPLES_MAX));
        assert!(!plausible(&many));
    }

    #[test]
    fn names_are_borrowed_from_the_document() {
        let document = read(br#"{"machine": "mri-1", "sensor": "a", "unit": "K", "value": 1}"#).unwrap();
        let Reading { sensor, unit, .. } = &document.readings[0];
        for text in [&document.machine, sensor, unit.as_ref().unwrap()] {
            assert!(matches!(text.0, Cow::Borrowed(_)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_document_is_none() {
        for bad in [
            "",
            "[]",
            "{",
            r#"{"readings": []}"#,
            r#"{"machine": "mri-1"}"#,
            r#"{"machine": "", "readings": []}"#,
            r#"{"machine": "Jane Doe", "readings": []}"#,
            r#"{"machine": "m", "readings": [{"sensor": "a", "value": "87"}]}"#,
            r#"{"machine": "m", "readings": [{"sensor": "a", "value": null}]}"#,
            r#"{"machine": "m", "readings": [], "sensor": "a", "value": 1}"#,
            r#"{"machine": "m", "sensor": "a", "value": 1, "waveform": {"rate_hz": 1, "samples": [1]}}"#,
            r#"{"machine": "m", "sensor": "a", "waveform": {"rate_hz": 1}}"#,
            r#"{"machine": "m", "sensor": "a", "value": 1, "time": -1}"#,
            r#"{"machine": "m", "sensor": "a", "value": 1, "time": "yesterday"}"#,
            r#"{"machine": "m", "sensor": "a", "value": 1e999}"#,
        ] {
            assert!(read(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(read(b"\xff\xfe").is_none());
        assert!(read("[".repeat(100_000).as_bytes()).is_none());
    }

    #[test]
    fn a_reading_has_a_name_and_a_value_that_can_be() {
        let plausible = |sensor: &str, value: f64| {
            let (value, waveform) = (Some(value), None);
            Reading { sensor: Text(sensor.into()), unit: None, time: None, value, waveform }.is_plausible()
        };
        assert!(plausible("helium-level", 87.2));
        assert!(!plausible("", 1.0));
        assert!(!plausible(&"x".repeat(65), 1.0));
        assert!(!plausible("a/b", 1.0));
        assert!(!plausible("a", 1e16));
    }
}
