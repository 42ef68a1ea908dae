//! How a sensor differs from its level at each hour of a day or week: warmer by day, idle on Sundays.

use serde::Deserialize;

use crate::octets::{Octets, Rest};

const HOUR_MS: f64 = 3_600_000.0;
/// The most that a reading counts against those of the same hour before it.
const READINGS_MAX: f64 = 100.0;

/// What repeats itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Season {
    /// Nothing.
    #[default]
    None,
    /// The hours of a day, in UTC.
    Day,
    /// The hours of a week, in UTC.
    Week,
}

impl Season {
    fn hours(self) -> usize {
        match self {
            Self::None => 0,
            Self::Day => 24,
            Self::Week => 168,
        }
    }
}

/// The learned difference of each hour.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Profile(Vec<Hour>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Hour {
    offset: f64,
    readings: f64,
}

impl Profile {
    pub(crate) fn new(season: Season) -> Self {
        Self(vec![Hour::default(); season.hours()])
    }

    /// The difference at a time, between those of the two hours whose middles are around it.
    pub(crate) fn at(&self, time_ms: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        let position = time_ms / HOUR_MS - 0.5;
        let part = position - position.floor();
        let (own, before, after) =
            (self.hour(time_ms), self.hour(position * HOUR_MS), self.hour((position + 1.0) * HOUR_MS));
        let (own, before, after) = (self.0[own], self.0[before], self.0[after]);
        if before.readings == 0.0 || after.readings == 0.0 {
            return own.offset;
        }
        before.offset * (1.0 - part) + after.offset * part
    }

    /// Learns from how far a reading was from what was expected.
    pub(crate) fn learn(&mut self, time_ms: f64, difference: f64) {
        if self.0.is_empty() {
            return;
        }
        let hour = self.hour(time_ms);
        let hour = &mut self.0[hour];
        hour.readings = (hour.readings + 1.0).min(READINGS_MAX);
        hour.offset += difference / hour.readings;
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the remainder is less than 168"
    )]
    fn hour(&self, time_ms: f64) -> usize {
        let hours = self.0.len() as f64;
        ((time_ms / HOUR_MS).floor().rem_euclid(hours) as usize).min(self.0.len() - 1)
    }

    pub(crate) fn encode(&self, to: &mut Octets) {
        for Hour { offset, readings } in &self.0 {
            to.number(*offset);
            to.number(*readings);
        }
    }

    pub(crate) fn decode(season: Season, from: &mut Rest<'_>) -> Option<Self> {
        let mut hour = || Some(Hour { offset: from.number()?, readings: from.number()? });
        (0..season.hours()).map(|_| hour()).collect::<Option<Vec<_>>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_learned_from_the_same_hour_of_other_days() {
        let mut profile = Profile::new(Season::Day);
        for day in 0..30 {
            for hour in 0..24 {
                let time_ms = f64::from(day * 24 + hour) * HOUR_MS + HOUR_MS / 2.0;
                profile.learn(time_ms, f64::from(hour) - profile.at(time_ms));
            }
        }
        assert!((profile.at(13.5 * HOUR_MS) - 13.0).abs() < 1e-9);
        assert!((profile.at(14.0 * HOUR_MS) - 13.5).abs() < 1e-9, "half way between the two");
        assert_eq!(Profile::new(Season::None).at(13.0 * HOUR_MS), 0.0);
    }

    #[test]
    fn a_week_tells_its_days_apart() {
        let mut profile = Profile::new(Season::Week);
        let (monday, tuesday) = (10.5 * HOUR_MS, 34.5 * HOUR_MS);
        profile.learn(monday, 5.0);
        assert_eq!((profile.at(monday), profile.at(tuesday)), (5.0, 0.0));
        assert_eq!(profile.at(monday + 7.0 * 24.0 * HOUR_MS), 5.0);
    }
}
