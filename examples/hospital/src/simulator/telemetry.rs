//! Readings of the machine and of the room around it, as JSON of content type [`CONTENT_TYPE`].
//!
//! The machine loses a little helium every day: far too little to see in the noise of one reading, enough to run dry in
//! weeks. That is what the analytics plugin is there to notice.

use hilum_core::Timestamp;
use serde_json::{Value, json};

use super::calendar::{self, MINUTE_MS};
use super::case::MACHINE;
use super::random::Random;

/// `{"machine": .., "readings": [{"sensor": .., "unit": .., "time": .., "value": ..}, ..]}`, times as RFC 3339.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.telemetry+json";
/// The room that the machine stands in.
pub const ROOM: &str = "mri-room-1";

/// Minutes between two batches of readings.
const INTERVAL_MINUTES: u64 = 30;
/// Per cent of the vessel at the first reading.
const HELIUM_START_PERCENT: f64 = 78.0;
/// What leaks, in per cent of the vessel a day. A tight vessel loses next to nothing.
const HELIUM_LEAK_PERCENT_PER_DAY: f64 = 0.6;
/// Kelvin at the second stage of the cold head.
const COLD_HEAD_KELVIN: f64 = 4.15;
/// Millimetres a second, root mean square.
const VIBRATION_MM_PER_S: f64 = 0.8;

/// One batch of readings, with the time of the last of them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// When it was taken.
    pub time: Timestamp,
    /// The machine or room it is of.
    pub source: &'static str,
    /// The JSON document.
    pub octets: Vec<u8>,
}

/// `count` batches of the machine, the last of them at `end`.
#[must_use]
pub fn machine(seed: u64, count: u64, end: Timestamp) -> Vec<Batch> {
    let mut random = Random::new(seed).fork(0x4D41_4348);
    let at = |index: u64| Timestamp(end.0.saturating_sub((count - 1 - index) * INTERVAL_MINUTES * MINUTE_MS));
    (0..count)
        .map(|index| {
            let time = at(index);
            let days = days_after_start(index);
            let readings = [
                (
                    "helium-level",
                    "%",
                    HELIUM_START_PERCENT - HELIUM_LEAK_PERCENT_PER_DAY * days + 0.05 * random.normal(),
                ),
                ("cold-head-temperature", "K", COLD_HEAD_KELVIN + 0.02 * random.normal()),
                ("vibration", "mm/s", (VIBRATION_MM_PER_S + 0.1 * random.normal()).abs()),
            ];
            batch(MACHINE, time, &readings)
        })
        .collect()
}

/// `count` batches of the room, the last of them at `end`: people come and go, the door opens for them.
#[must_use]
pub fn room(seed: u64, count: u64, end: Timestamp) -> Vec<Batch> {
    let mut random = Random::new(seed).fork(0x524F_4F4D);
    let mut patients = 0;
    let mut staff = 1;
    (0..count)
        .map(|index| {
            let time = Timestamp(end.0.saturating_sub((count - 1 - index) * MINUTE_MS));
            let moved = random.below(3) == 0;
            if moved {
                patients = 1 - patients;
                staff = 1 + random.below(3);
            }
            let number = |count: u64| f64::from(u32::try_from(count).expect("a room holds few"));
            let readings = [
                ("patients-present", "1", number(patients)),
                ("staff-present", "1", number(staff)),
                ("door-open", "1", if moved { 1.0 } else { 0.0 }),
                // A sensor on the cabinet of the gradients: the machine measures when a patient is in it and the door is shut.
                ("gradients-on", "1", if patients == 1 && !moved { 1.0 } else { 0.0 }),
                ("temperature", "Cel", 21.0 + 0.3 * random.normal()),
            ];
            batch(ROOM, time, &readings)
        })
        .collect()
}

fn batch(source: &'static str, time: Timestamp, readings: &[(&str, &str, f64)]) -> Batch {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    let readings: Vec<Value> = readings
        .iter()
        .map(|(sensor, unit, value)| {
            json!({"sensor": sensor, "unit": unit, "time": calendar::rfc3339(time), "value": rounded(*value)})
        })
        .collect();
    let octets = json!({"machine": source, "readings": readings}).to_string().into_bytes();
    Batch { time, source, octets }
}

#[expect(clippy::cast_precision_loss, reason = "minutes of a few years fit an f64 exactly")]
fn days_after_start(index: u64) -> f64 {
    (index * INTERVAL_MINUTES) as f64 / (24.0 * 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp(1_790_000_000_000);

    fn values(batches: &[Batch], sensor: &str) -> Vec<f64> {
        let of = |batch: &Batch| {
            let document: Value = serde_json::from_slice(&batch.octets).unwrap();
            let readings = document["readings"].as_array().unwrap().clone();
            readings.iter().find(|reading| reading["sensor"] == sensor).unwrap()["value"].as_f64().unwrap()
        };
        batches.iter().map(of).collect()
    }

    #[test]
    fn helium_leaks_slowly_and_the_rest_stays() {
        let batches = machine(3, 480, END);
        let helium = values(&batches, "helium-level");
        let days = 479.0 * 30.0 / 1440.0;
        let slope = (helium[479] - helium[0]) / days;
        assert!((slope + HELIUM_LEAK_PERCENT_PER_DAY).abs() < 0.05, "{slope} per cent a day");
        let cold = values(&batches, "cold-head-temperature");
        assert!(cold.iter().all(|kelvin| (kelvin - COLD_HEAD_KELVIN).abs() < 0.15));
        assert_eq!(batches[479].time, END);
    }

    #[test]
    fn a_room_has_whole_people() {
        let batches = room(3, 100, END);
        let staff = values(&batches, "staff-present");
        assert!(staff.iter().all(|count| (1.0..=3.0).contains(count) && count.fract() == 0.0));
        let patients = values(&batches, "patients-present");
        assert!(patients.contains(&0.0) && patients.contains(&1.0));
    }
}
