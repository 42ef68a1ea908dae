//! Sorting a batch of telemetry into one series of readings for each sensor of each machine.

use std::collections::{BTreeMap, HashMap};

use hilum_plugin::{Body, Context, Head, Message};

use crate::Tally;
use crate::sensor::Point;
use crate::settings::{Settings, Watch};
use crate::telemetry::{self, DOCUMENT_OCTETS_MAX, Measured, Reading, Text, Time};

/// How far a reading's clock may be ahead of its record's. One from a distant future would make all later ones late.
const AHEAD_MS_MAX: u64 = 3_600_000;
/// Times beyond this (the year 287396) are not whole numbers in a double.
const TIME_MS_MAX: u64 = 1 << 53;

/// A batch being sorted.
pub(crate) struct Batch<'a> {
    settings: &'a Settings,
    by_sensor: HashMap<&'a str, usize>,
    machines: BTreeMap<MachineKey, Vec<Heard>>,
    pub(crate) tally: Tally,
}

/// A machine as one publisher names it: whoever claims the same name for another machine has statistics of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MachineKey {
    publisher: u64,
    machine: String,
}

/// What was heard of one sensor.
#[derive(Debug, Clone, Default)]
struct Heard {
    points: Vec<Point>,
    /// The latest record in which it was.
    at_ms: u64,
}

/// What was heard of one machine.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// What names it in the stage's state: `PUBLISHER/MACHINE`.
    pub(crate) key: String,
    pub(crate) series: Vec<Series<'a>>,
}

/// The readings of one sensor of one machine, in the order of time.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) machine: String,
    pub(crate) watch: &'a Watch,
    /// What names it in the stage's state: `PUBLISHER/MACHINE/SENSOR`, at most 146 octets.
    pub(crate) key: String,
    pub(crate) points: Vec<Point>,
    /// When it was heard of, by the latest record.
    pub(crate) at_ms: u64,
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
        let count = self.settings.watch.len();
        let sensors = self.machines.entry(key).or_insert_with(|| vec![Heard::default(); count]);
        let mut sorter = Sorter {
            settings: self.settings,
            by_sensor: &self.by_sensor,
            sensors,
            tally: &mut self.tally,
            at_ms: head.time,
        };
        for reading in &document.readings {
            match plausible_time(reading, &head) {
                Some(time_ms) => sorter.sort(reading, time_ms),
                None => sorter.tally.malformed += 1,
            }
        }
    }

    pub(crate) fn machines(self) -> impl Iterator<Item = Machine<'a>> {
        let watches = &self.settings.watch;
        self.machines.into_iter().map(move |(MachineKey { publisher, machine }, all)| {
            let series = watches.iter().zip(all).filter(|(_, heard)| !heard.points.is_empty());
            let series = series.map(|(watch, Heard { mut points, at_ms })| {
                points.sort_by_key(|point| point.time_ms);
                let key = format!("{publisher:016x}/{machine}/{}", watch.sensor);
                Series { machine: machine.clone(), watch, key, points, at_ms }
            });
            Machine { key: format!("{publisher:016x}/{machine}"), series: series.collect() }
        })
    }
}

/// Sorts the readings of one record.
struct Sorter<'b, 'a> {
    settings: &'a Settings,
    by_sensor: &'b HashMap<&'a str, usize>,
    sensors: &'b mut Vec<Heard>,
    tally: &'b mut Tally,
    at_ms: u64,
}

impl Sorter<'_, '_> {
    fn sort(&mut self, reading: &Reading<'_>, time_ms: u64) {
        let sensor = reading.sensor.as_str();
        match reading.measured() {
            Some(Measured::Value(value)) => {
                let index = self.by_sensor.get(sensor).copied();
                let index =
                    index.filter(|&index| has_unit(self.settings.watch[index].unit.as_deref(), reading));
                match index {
                    Some(index) => self.push(index, Point { time_ms, value }),
                    None => self.tally.unwatched += 1,
                }
            }
            Some(Measured::Waveform(waveform)) => {
                let all = &self.settings.waveforms;
                let of = all.iter().find(|of| of.sensor == sensor && has_unit(of.unit.as_deref(), reading));
                let Some(of) = of else {
                    self.tally.unwatched += 1;
                    return;
                };
                self.tally.waveforms += 1;
                for (name, value) in of.measure(waveform) {
                    let name = format!("{sensor}.{name}");
                    if let Some(&index) = self.by_sensor.get(name.as_str()) {
                        self.push(index, Point { time_ms, value });
                    }
                }
            }
            None => self.tally.malformed += 1,
        }
    }

    fn push(&mut self, index: usize, point: Point) {
        self.tally.readings += 1;
        let heard = &mut self.sensors[index];
        heard.points.push(point);
        heard.at_ms = heard.at_ms.max(self.at_ms);
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
fn has_unit(unit: Option<&str>, reading: &Reading<'_>) -> bool {
    unit.is_none() || unit == reading.unit.as_ref().map(Text::as_str)
}

/// FNV-1a of 64 bits: short, and the certificate authority decides what is hashed.
pub(crate) fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
