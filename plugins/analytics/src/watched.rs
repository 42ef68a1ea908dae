//! All that is kept of one sensor of one machine: its health, its thresholds ([`Sensor`]) and its own past ([`Baseline`]).
//!
//! Readings go through in this order. What a broken sensor says is neither compared nor learned. Where a threshold was crossed, or will
//! be, the baseline keeps quiet on that side: one cause, one alert.

use crate::baseline::{self, Baseline};
use crate::fault::{self, Health};
use crate::octets::{Octets, Rest};
use crate::sensor::{self, Point, Sensor, Statistics, milliseconds};
use crate::settings::Watch;

/// First octet of the encoding, and of that before a [`Sensor`] had curves. One that begins with 1 is of a [`Sensor`] alone, as older
/// versions kept it.
const ENCODING: u8 = 3;
const ENCODING_BEFORE_CURVES: u8 = 2;

/// The state of one sensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watched {
    health: Health,
    sensor: Sensor,
    baseline: Option<Baseline>,
}

/// An alert that was raised, changed or went away.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Fault(fault::Change),
    Limit(sensor::Change),
    Baseline(baseline::Change),
}

/// What a batch of readings led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Followed {
    pub(crate) changes: Vec<Change>,
    /// Readings older than one that was seen before: not learned from.
    pub(crate) late: u64,
    /// Readings far off the line: learned from with bounded weight.
    pub(crate) strays: u64,
    /// Readings of a sensor that is broken: not learned from.
    pub(crate) faulty: u64,
}

impl Watched {
    /// A sensor of which nothing is known.
    pub(crate) fn new(watch: &Watch) -> Self {
        let baseline = watch.baseline.as_ref().map(Baseline::new);
        Self { health: Health::default(), sensor: Sensor::new(watch), baseline }
    }

    /// Takes in readings in the order of time, each as if it came alone.
    pub(crate) fn follow(&mut self, watch: &Watch, points: &[Point]) -> Followed {
        let mut followed = Followed::default();
        for point in points {
            if milliseconds(point.time_ms) < self.health.last_ms {
                followed.late += 1;
                continue;
            }
            let (is_usable, change) = self.health.look(watch, *point);
            followed.changes.extend(change.map(Change::Fault));
            if !is_usable {
                followed.faulty += 1;
                continue;
            }
            let point = std::slice::from_ref(point);
            let limits = self.sensor.follow(watch, point);
            followed.strays += limits.strays;
            followed.changes.extend(limits.changes.into_iter().map(Change::Limit));
            if let (Some(baseline), Some(learn)) = (&mut self.baseline, &watch.baseline) {
                let changes = baseline.follow((watch, learn), point, self.sensor.is_told());
                followed.changes.extend(changes.into_iter().map(Change::Baseline));
            }
        }
        followed
    }

    /// Takes back a change that nobody could be told of, so that the next batch tries again.
    pub(crate) fn take_back(&mut self, change: &Change) {
        match change {
            Change::Fault(change) => self.health.take_back(change),
            Change::Limit(change) => self.sensor.take_back(change),
            Change::Baseline(change) => {
                if let Some(baseline) = &mut self.baseline {
                    baseline.take_back(change);
                }
            }
        }
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.sensor.statistics()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut octets = Octets::default();
        octets.small(ENCODING);
        self.health.encode(&mut octets);
        octets.some(&self.sensor.encode());
        octets.small(u8::from(self.baseline.is_some()));
        if let Some(baseline) = &self.baseline {
            baseline.encode(&mut octets);
        }
        octets.into_vec()
    }

    /// None where it makes no sense, or was made with another statistic. A baseline of another configuration is begun anew.
    pub(crate) fn decode(watch: &Watch, encoded: &[u8]) -> Option<Self> {
        let mut watched = Self::new(watch);
        let mut rest = Rest(encoded);
        let sensor_octets = match rest.small()? {
            ENCODING => sensor::ENCODED_OCTETS,
            ENCODING_BEFORE_CURVES => sensor::ENCODED_OCTETS_BEFORE_CURVES,
            _ => {
                watched.sensor = Sensor::decode(watch, encoded)?;
                watched.health.last_ms = watched.sensor.last_ms();
                return Some(watched);
            }
        };
        watched.health = Health::decode(&mut rest)?;
        watched.sensor = Sensor::decode(watch, rest.some(sensor_octets)?)?;
        let has_baseline = rest.small()? == 1;
        if let Some(learn) = watch.baseline.as_ref().filter(|_| has_baseline) {
            let decoded = Baseline::decode(learn, &mut rest).filter(|_| rest.is_empty());
            watched.baseline = Some(decoded.unwrap_or_else(|| Baseline::new(learn)));
        }
        Some(watched)
    }
}

#[cfg(test)]
mod tests;
