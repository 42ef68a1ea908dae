//! A sensor as octets.

use super::{Alert, Phase, Sensor, statistic_octet};
use crate::settings::Watch;

/// First octet of the encoding, and of that before curves were kept.
const ENCODING: u8 = 2;
const ENCODING_BEFORE_CURVES: u8 = 1;
/// Octets of the encoding: its version, the octets of [`Sensor`], and its numbers.
pub(crate) const ENCODED_OCTETS: usize = 1 + 6 + 8 * 35;
/// The same before curves were kept.
pub(crate) const ENCODED_OCTETS_BEFORE_CURVES: usize = 1 + 6 + 8 * 22;

impl Sensor {
    /// The state as octets: version, small numbers, then IEEE 754 doubles, little-endian.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let [below, above] = &self.alerts;
        let mut encoded = Vec::with_capacity(ENCODED_OCTETS);
        encoded.extend([
            ENCODING,
            self.statistic,
            below.phase as u8,
            below.run,
            above.phase as u8,
            above.run,
        ]);
        encoded.extend(self.strays.to_le_bytes());
        let mut copy = self.clone();
        for number in copy.numbers() {
            encoded.extend(number.to_le_bytes());
        }
        encoded
    }

    /// The state from octets; none where they are of another version or another statistic, or make no sense. One from before curves were kept
    /// has its statistics and alerts, and begins its trend anew.
    pub(crate) fn decode(watch: &Watch, encoded: &[u8]) -> Option<Self> {
        let (small, numbers) = encoded.split_at_checked(7)?;
        let &[version, statistic, below, below_run, above, above_run, strays] = small else { return None };
        let has_curves = match (version, encoded.len()) {
            (ENCODING, ENCODED_OCTETS) => true,
            (ENCODING_BEFORE_CURVES, ENCODED_OCTETS_BEFORE_CURVES) => false,
            _ => return None,
        };
        if statistic != statistic_octet(watch) {
            return None;
        }
        let alerts =
            [Alert { phase: phase(below)?, run: below_run }, Alert { phase: phase(above)?, run: above_run }];
        let mut sensor = Self { statistic, alerts, strays: i8::from_le_bytes([strays]), ..Self::default() };
        for (number, octets) in sensor.numbers().into_iter().zip(numbers.chunks_exact(8)) {
            *number = f64::from_le_bytes(octets.try_into().ok()?);
            if !number.is_finite() {
                return None;
            }
        }
        if !has_curves {
            sensor.restart_trend();
        }
        Some(sensor)
    }

    /// All numbers, in the order in which they are kept.
    fn numbers(&mut self) -> impl IntoIterator<Item = &mut f64> {
        [
            &mut self.last_ms,
            &mut self.since_ms,
            &mut self.count,
            &mut self.mean,
            &mut self.squares,
            &mut self.smoothed,
            &mut self.smoothed_square,
            &mut self.value,
        ]
        .into_iter()
        .chain(self.trend.numbers())
        .chain(self.curves.numbers())
    }
}

fn phase(octet: u8) -> Option<Phase> {
    [Phase::Quiet, Phase::Forecast, Phase::Crossed].into_iter().find(|phase| *phase as u8 == octet)
}

/// The state as it was kept before there were curves.
#[cfg(test)]
pub(crate) fn before_curves(sensor: &Sensor) -> Vec<u8> {
    let mut encoded = sensor.encode();
    encoded[0] = ENCODING_BEFORE_CURVES;
    encoded.truncate(ENCODED_OCTETS_BEFORE_CURVES);
    encoded
}
