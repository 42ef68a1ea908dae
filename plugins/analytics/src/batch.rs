//! Sorting a batch of telemetry into one series of readings for each sensor of each machine.

use std::collections::{BTreeMap, HashMap};

use hilum_plugin::{Body, Context, Head, Message};

use crate::Tally;
use crate::sensor::Point;
use crate::settings::{Settings, Watch};
use crate::telemetry::{self, DOCUMENT_OCTETS_MAX, Reading, Text, Time};

/// How far a reading's clock may be ahead of its record's. One from a distant future would make all later ones late.
const AHEAD_MS_MAX: u64 = 3_600_000;
/// Times beyond this (the year 287396) are not whole numbers in a double.
const TIME_MS_MAX: u64 = 1 << 53;

/// A batch being sorted.
pub(crate) struct Batch<'a> {
    settings: &'a Settings,
    by_sensor: HashMap<&'a str, usize>,
    machines: BTreeMap<MachineKey, Vec<Vec<Point>>>,
    pub(crate) tally: Tally,
}

/// A machine as one publisher names it: whoever claims the same name for another machine has statistics of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MachineKey {
    publisher: u64,
    machine: String,
}

/// The readings of one sensor of one machine, in the order of time.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) machine: String,
    pub(crate) watch: &'a Watch,
    /// What names it in the stage's state: `PUBLISHER/MACHINE/SENSOR`, at most 146 octets.
    pub(crate) key: String,
    pub(crate) points: Vec<Point>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        let by_sensor = settings.watch.iter().enumerate();
        let by_sensor = by_sensor.map(|(index, watch)| (watch.sensor.as_str(), index)).collect();
        Self { settings, by_sensor, machines: BTreeMap::new(), tally: Tally::default() }
    }

    /// Takes in one record. One that is not telemetry is none of this plugin's business; one that claims to be and is
    /// not is counted.
    pub(crate) fn add(&mut self, context: &Context, Message { head, body }: Message) {
        let essence = head.content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(telemetry::CONTENT_TYPE) {
            return;
        }
        let octets = octets(body);
        let Some(document) = octets.as_deref().and_then(telemetry::read) else {
            self.tally.malformed += 1;
            return;
        };
        let publisher = fnv1a(context.source.principal.as_bytes());
        let key = MachineKey { publisher, machine: document.machine.as_str().to_owned() };
        let (watches, by_sensor, tally) = (&self.settings.watch, &self.by_sensor, &mut self.tally);
        let series = self.machines.entry(key).or_insert_with(|| vec![Vec::new(); watches.len()]);
        for reading in document.readings {
            let Some(time_ms) = plausible_time(&reading, &head) else {
                tally.malformed += 1;
                continue;
            };
            let index = by_sensor.get(reading.sensor.as_str()).copied();
            let Some(index) = index.filter(|&index| has_unit(&watches[index], &reading)) else {
                tally.unwatched += 1;
                continue;
            };
            tally.readings += 1;
            series[index].push(Point { time_ms, value: reading.value });
        }
    }

    pub(crate) fn series(self) -> impl Iterator<Item = Series<'a>> {
        let watches = &self.settings.watch;
        self.machines.into_iter().flat_map(move |(MachineKey { publisher, machine }, all)| {
            let series = watches.iter().zip(all).filter(|(_, points)| !points.is_empty());
            series.map(move |(watch, mut points)| {
                points.sort_by_key(|point| point.time_ms);
                let key = format!("{publisher:016x}/{machine}/{}", watch.sensor);
                Series { machine: machine.clone(), watch, key, points }
            })
        })
    }
}

fn octets(body: Body) -> Option<Vec<u8>> {
    body.into_octets(DOCUMENT_OCTETS_MAX).ok()
}

/// The time of a reading that can be believed.
fn plausible_time(reading: &Reading<'_>, head: &Head) -> Option<u64> {
    let Time(time_ms) = reading.time.unwrap_or(Time(head.time));
    let latest_ms = head.time.saturating_add(AHEAD_MS_MAX).min(TIME_MS_MAX);
    (reading.is_plausible() && time_ms <= latest_ms).then_some(time_ms)
}

/// Kelvin must not be compared with a threshold in degrees Celsius.
fn has_unit(watch: &Watch, reading: &Reading<'_>) -> bool {
    watch.unit.is_none() || watch.unit.as_deref() == reading.unit.as_ref().map(Text::as_str)
}

/// FNV-1a of 64 bits: short, and the certificate authority decides what is hashed.
fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
