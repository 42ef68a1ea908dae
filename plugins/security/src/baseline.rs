//! How much is usual: of amounts that differ by powers of ten, so on the scale of their logarithm.
//!
//! A running level and a running spread, both of which one reading can move only so far (Huber's estimate), and where asked the
//! difference of each hour of the week. On this scale a spread is a factor: what is usually between a half and the double is about
//! as regular as people are.

use crate::octets::{Octets, Rest};

/// Hours of a week.
pub(crate) const WEEK: usize = 168;
/// Readings until which level and spread are plain means.
const START: f64 = 24.0;
/// The most readings that count against a new one: about three weeks of hours.
const READINGS_MAX: f64 = 500.0;
/// Spreads beyond which a reading moves the level no further, and the spread no further.
const BEND: f64 = 1.345;
const ENERGY_BEND: f64 = 2.5;
/// The mean of the square of what is so cut off, of normal noise.
const ENERGY: f64 = 0.9776;
/// The least spread: a factor of about 1.35.
const SPREAD_MIN: f64 = 0.3;
/// The most that a reading counts against those of the same hour before it.
const HOUR_READINGS_MAX: u8 = 8;
/// Differences of hours are kept in thousandths.
const STEP: f64 = 1000.0;

/// What was learned of one amount.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Baseline {
    level: f64,
    spread: f64,
    readings: f64,
}

/// What was learned of each hour of the week.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Week {
    differences: [i16; WEEK],
    readings: [u8; WEEK],
}

impl Default for Week {
    fn default() -> Self {
        Self { differences: [0; WEEK], readings: [0; WEEK] }
    }
}

/// An amount on the scale.
pub(crate) fn scaled(amount: f64) -> f64 {
    amount.max(0.0).ln_1p()
}

/// An amount off the scale.
pub(crate) fn amount(scaled: f64) -> f64 {
    scaled.clamp(0.0, 700.0).exp_m1()
}

impl Week {
    /// What this hour usually differs by.
    fn at(&self, hour: usize) -> f64 {
        f64::from(self.differences[hour % WEEK]) / STEP
    }

    fn is_new(&self, hour: usize) -> bool {
        self.readings[hour % WEEK] == 0
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is clamped to what fits")]
    fn learn(&mut self, hour: usize, difference: f64, spread: f64) {
        let (known, readings) = (&mut self.differences[hour % WEEK], &mut self.readings[hour % WEEK]);
        *readings = (*readings + 1).min(HOUR_READINGS_MAX);
        // The first reading of an hour tells all that there is to know of it.
        let bound = if *readings == 1 { f64::MAX } else { 3.0 * spread };
        let step = difference.clamp(-bound, bound) / f64::from(*readings);
        *known =
            (f64::from(*known) + step * STEP).round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
    }

    pub(crate) fn encode(&self, to: &mut Octets) {
        self.differences.iter().for_each(|difference| to.some(&difference.to_le_bytes()));
        to.some(&self.readings);
    }

    pub(crate) fn decode(from: &mut Rest<'_>) -> Option<Self> {
        let mut week = Self::default();
        for difference in &mut week.differences {
            *difference = i16::from_le_bytes(from.some(2)?.try_into().ok()?);
        }
        week.readings.copy_from_slice(from.some(WEEK)?);
        Some(week)
    }
}

impl Baseline {
    /// Whether enough is known to compare with.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known_in(START)
    }

    /// The same, where readings are so rare that fewer have to do.
    pub(crate) fn is_known_in(&self, readings: f64) -> bool {
        self.readings >= readings
    }

    /// What is usual, on the scale.
    pub(crate) fn usual(&self, hour: Option<(&Week, usize)>) -> f64 {
        self.level + hour.map_or(0.0, |(week, hour)| week.at(hour))
    }

    /// From what on an amount is unusual, on the scale: so many spreads above the usual, and at least by a factor.
    pub(crate) fn limit(&self, hour: Option<(&Week, usize)>, deviations: f64, factor: f64) -> f64 {
        self.usual(hour) + (deviations * self.spread.max(SPREAD_MIN)).max(factor.ln())
    }

    /// Learns from an amount, on the scale.
    pub(crate) fn learn(&mut self, scaled: f64, hour: Option<(&mut Week, usize)>) {
        let usual = self.usual(hour.as_ref().map(|(week, hour)| (&**week, *hour)));
        let difference = scaled - usual;
        let mut hour = hour;
        // How far an hour is from others says nothing of how regular it is.
        if let Some((week, hour)) = hour.as_mut().filter(|(week, hour)| week.is_new(*hour)) {
            week.learn(*hour, difference, SPREAD_MIN);
            return;
        }
        self.readings = (self.readings + 1.0).min(READINGS_MAX);
        let part = 1.0 / self.readings;
        if self.readings <= START {
            // Mean, and mean distance as the standard deviation that normal noise would have.
            self.level += part * difference;
            // The first one differs from nothing that was known.
            if self.readings > 1.0 {
                self.spread += part * (difference.abs() * 1.2533 - self.spread);
            }
        } else {
            let spread = self.spread.max(SPREAD_MIN);
            let (off, far) = (difference / spread, (difference / spread).abs().min(ENERGY_BEND));
            self.level += part * off.clamp(-BEND, BEND) * spread;
            self.spread = (spread * spread * (1.0 + part * (far * far - ENERGY))).max(0.0).sqrt();
        }
        if let Some((week, hour)) = hour {
            week.learn(hour, difference, self.spread.max(SPREAD_MIN));
        }
    }

    pub(crate) fn encode(&self, to: &mut Octets) {
        [self.level, self.spread, self.readings].into_iter().for_each(|number| to.real(number));
    }

    pub(crate) fn decode(from: &mut Rest<'_>) -> Option<Self> {
        Some(Self { level: from.real()?, spread: from.real()?, readings: from.real()?.max(0.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve busy hours a day, five days a week, each a little different.
    fn office(hour: usize) -> f64 {
        let (day, of_day) = (hour / 24 % 7, hour % 24);
        let is_busy = day < 5 && (7..19).contains(&of_day);
        if is_busy { 1e6 * (1.0 + (hour % 5) as f64 / 10.0) } else { 0.0 }
    }

    #[test]
    fn an_hour_is_compared_with_the_same_hour_of_other_weeks() {
        let (mut baseline, mut week) = (Baseline::default(), Week::default());
        for hour in 0..WEEK * 5 {
            baseline.learn(scaled(office(hour)), Some((&mut week, hour % WEEK)));
        }
        let limit = |hour: usize| amount(baseline.limit(Some((&week, hour)), 4.0, 4.0));
        assert!(limit(10) > 3e6 && limit(10) < 3e8, "{}", limit(10));
        assert!(limit(3) < 1e3, "at night nothing is usual: {}", limit(3));
        assert!(limit(5 * 24 + 10) < 1e3, "on Saturday neither: {}", limit(5 * 24 + 10));
        let mut octets = Octets::default();
        baseline.encode(&mut octets);
        week.encode(&mut octets);
        let mut rest = Rest(&octets.0);
        assert_eq!((Baseline::decode(&mut rest), Week::decode(&mut rest)), (Some(baseline), Some(week)));
    }

    #[test]
    fn one_flood_teaches_little() {
        let mut baseline = Baseline::default();
        for reading in 0..200 {
            baseline.learn(scaled(1000.0 + f64::from(reading % 7) * 50.0), None);
        }
        let before = amount(baseline.limit(None, 6.0, 4.0));
        baseline.learn(scaled(1e12), None);
        assert!(amount(baseline.limit(None, 6.0, 4.0)) < before * 1.2);
        assert!(before < 1e4, "{before}");
    }
}
