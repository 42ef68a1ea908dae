//! What is normal for a sensor, learned from its own past, and when it is not normal any more.
//!
//! The level is Huber's location and the spread his scale (proposal 2), both recursive, with forgetting on time, and both deaf to readings
//! beyond the bound once there is a baseline. What repeats itself by the hour is taken off first ([`Profile`]). Against that stand
//! three ways of not being normal, of which the first one to be seen makes the alert:
//!
//! - *unusual*: some readings in a row that are many spreads off;
//! - *shift*: readings that are less far off, but stay there (Page's cumulative sum, on bounded deviations);
//! - *drift*: a line through the last days that leads away (see [`crate::trend`]).
//!
//! All of it is some forty numbers, and two more for each hour of the season.

use serde::Deserialize;

use hilum_plugin::ConfigError;

use crate::octets::{Octets, Rest};
use crate::season::{Profile, Season};
use crate::sensor::{DAY_MS, Point, milliseconds};
use crate::settings::{Side, Watch};
use crate::trend::{SIGNIFICANT, STILL_SIGNIFICANT, Trend};

/// Readings from which the first level and spread are made: median, and median of the distances from it.
const START: usize = 32;
/// Spreads beyond which a reading moves the level no further.
const BEND: f64 = 1.345;
/// Spreads beyond which a reading widens the spread no further, and the mean of the square that is then expected of normal noise.
const ENERGY_BEND: f64 = 2.5;
const ENERGY: f64 = 0.9776;
/// Spreads by which a reading of a new baseline is so far off that the spread must have been too small.
const FAR: f64 = 10.0;
/// The least spread, as a part of the level.
const FLOOR: f64 = 0.0005;
/// The most that one reading counts, after a pause for instance.
const GAIN_MAX: f64 = 0.1;
/// What a reading has to be off, in spreads, to speak for a shift; what of it counts at most; and the sum that makes one.
const SHIFT_SLACK: f64 = 1.5;
const SHIFT_BEND: f64 = 4.0;
const SHIFT_SUM: f64 = 20.0;
/// A shift is over when recent readings are this near.
const SHIFT_OVER: f64 = 1.0;
/// How much the newest reading counts among the recent ones.
const RECENT: f64 = 0.1;
/// Spreads by which a line leads away within the trend's memory.
const DRIFT: f64 = 4.0;
const DRIFT_OVER: f64 = 2.0;
/// What of a deviation the line is made of.
const LINE_BEND: f64 = 8.0;
/// An unusual reading is one until it is this much nearer.
const UNUSUAL_OVER: f64 = 0.5;

/// How a sensor's own past is learned.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learn {
    /// What repeats itself.
    #[serde(default)]
    pub season: Season,
    /// No alert from less history than this; 1 day, or 3 with the season `day` and 14 with `week`, where not given.
    #[serde(default)]
    pub learn_days: Option<f64>,
    /// Spreads, as large as standard deviations where readings are normal, beyond which a reading is unusual.
    #[serde(default = "default_deviations")]
    pub deviations: f64,
    /// After so long what is not normal is the new normal, and is learned.
    #[serde(default = "default_adopt_days")]
    pub adopt_days: f64,
}

fn default_deviations() -> f64 {
    6.0
}
fn default_adopt_days() -> f64 {
    14.0
}

impl Learn {
    fn learn_ms(&self) -> f64 {
        let days = self.learn_days.unwrap_or(match self.season {
            Season::None => 1.0,
            Season::Day => 3.0,
            Season::Week => 14.0,
        });
        days * DAY_MS
    }

    pub(crate) fn check(&self, at: &str) -> Result<(), ConfigError> {
        let days = self.learn_ms() / DAY_MS;
        for (name, value) in
            [("/learn_days", days), ("/deviations", self.deviations), ("/adopt_days", self.adopt_days)]
        {
            if !(value > 0.0 && value < 1e6) {
                let reason = "must be more than 0 and less than 1000000";
                return Err(ConfigError::new(format!("{at}{name}"), reason));
            }
        }
        Ok(())
    }
}

/// How it is not normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unusual,
    Shift,
    Drift,
}

/// An alert that is standing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    pub(crate) kind: Kind,
    pub(crate) side: Side,
    since_ms: f64,
}

/// An alert that was raised or went away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) of: Standing,
    pub(crate) is_raised: bool,
    /// It went away because what was not normal is normal now.
    pub(crate) is_adopted: bool,
    pub(crate) time_ms: u64,
    pub(crate) value: f64,
    /// What was expected, and how many spreads the value is off.
    pub(crate) expected: f64,
    pub(crate) deviations: f64,
}

/// What is known of a sensor's past.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Baseline {
    season: Season,
    since_ms: f64,
    last_ms: f64,
    count: f64,
    level: f64,
    spread: f64,
    /// Sums of what was too low and too high.
    sums: [f64; 2],
    /// Deviations of recent readings.
    recent: f64,
    /// Readings in a row that speak for or against the alert.
    run: u8,
    alert: Option<Standing>,
    trend: Trend,
    profile: Profile,
    /// The first readings, until they are [`START`].
    start: Vec<f64>,
}

impl Baseline {
    pub(crate) fn new(learn: &Learn) -> Self {
        Self {
            season: learn.season,
            since_ms: 0.0,
            last_ms: 0.0,
            count: 0.0,
            level: 0.0,
            spread: 0.0,
            sums: [0.0; 2],
            recent: 0.0,
            run: 0,
            alert: None,
            trend: Trend::default(),
            profile: Profile::new(learn.season),
            start: Vec::new(),
        }
    }

    /// Judges and learns readings in the order of time. On sides that are `told`, another alert tells of the same cause.
    pub(crate) fn follow(
        &mut self,
        (watch, learn): (&Watch, &Learn),
        points: &[Point],
        told: [bool; 2],
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for point in points {
            let time_ms = milliseconds(point.time_ms);
            let elapsed_ms = if self.count == 0.0 { 0.0 } else { (time_ms - self.last_ms).max(0.0) };
            if self.count == 0.0 {
                self.since_ms = time_ms;
            }
            self.last_ms = time_ms;
            self.count += 1.0;
            if self.start.len() < START && self.spread == 0.0 {
                self.begin(watch, point.value);
                continue;
            }
            let expected = self.level + self.profile.at(time_ms);
            let deviations = (point.value - expected) / self.spread;
            self.follow_line(watch, elapsed_ms, deviations);
            let seen = Seen { point: *point, time_ms, expected, deviations };
            match self.alert {
                Some(of) => {
                    changes.extend(self.judge_standing((watch, learn), of, &seen));
                }
                None if self.is_mature(learn) => changes.extend(self.judge((watch, learn), &seen, told)),
                None => {}
            }
            let is_normal = deviations.abs() <= learn.deviations || !self.is_mature(learn);
            if self.alert.is_none() && self.spread > 0.0 && is_normal {
                let is_new = !self.is_mature(learn);
                self.learn(watch, elapsed_ms, &seen, is_new);
            }
        }
        changes
    }

    /// Takes back a change that nobody could be told of.
    pub(crate) fn take_back(&mut self, change: &Change) {
        self.alert = (!change.is_raised).then_some(change.of);
    }

    fn is_mature(&self, learn: &Learn) -> bool {
        self.count >= 2.0 * START as f64 && self.last_ms - self.since_ms >= learn.learn_ms()
    }

    fn begin(&mut self, watch: &Watch, value: f64) {
        self.start.push(value);
        if self.start.len() < START {
            return;
        }
        let mut start = std::mem::take(&mut self.start);
        self.level = median(&mut start);
        start.iter_mut().for_each(|value| *value = (*value - self.level).abs());
        // 1.4826 makes of that the standard deviation of normal noise.
        self.spread = (1.4826 * median(&mut start)).max(self.floor(watch));
    }

    /// The least spread; where nothing is configured, as small a part of the level as of a threshold.
    fn floor(&self, watch: &Watch) -> f64 {
        let of_level = if watch.noise_floor.is_some() { 0.0 } else { FLOOR * self.level.abs() };
        of_level.max(watch.noise_floor())
    }

    fn follow_line(&mut self, watch: &Watch, elapsed_ms: f64, deviations: f64) {
        let value = self.level + self.spread * deviations.clamp(-LINE_BEND, LINE_BEND);
        self.trend.advance(elapsed_ms / DAY_MS, watch.memory_days);
        let line = self.trend.line(watch.noise_floor());
        self.trend.add(value, line.map(|line| line.value));
    }

    fn learn(&mut self, watch: &Watch, elapsed_ms: f64, seen: &Seen, is_new: bool) {
        let forgets = 1.0 - (-elapsed_ms / (watch.memory_days * DAY_MS)).exp();
        let gain = forgets.max(1.0 / self.count).min(GAIN_MAX);
        let bent = seen.deviations.clamp(-BEND, BEND) * self.spread;
        self.level += gain * bent;
        self.profile.learn(seen.time_ms, bent);
        let square = seen.deviations * seen.deviations;
        let surprise = square.min(ENERGY_BEND * ENERGY_BEND) / ENERGY - 1.0;
        let floor = self.floor(watch);
        if is_new && self.spread <= 2.0 * floor && seen.deviations.abs() > FAR {
            // The readings before were all the same, and say nothing of how they differ.
            self.spread *= 0.5 * seen.deviations.abs();
            return;
        }
        self.spread = (self.spread * (0.5 * gain * surprise).exp()).max(floor);
    }

    fn judge(&mut self, (watch, learn): (&Watch, &Learn), seen: &Seen, told: [bool; 2]) -> Option<Change> {
        let bounded = seen.deviations.clamp(-SHIFT_BEND, SHIFT_BEND);
        for (sum, deviations) in self.sums.iter_mut().zip([-bounded, bounded]) {
            *sum = (*sum + deviations - SHIFT_SLACK).max(0.0);
        }
        let side = if seen.deviations < 0.0 { Side::Below } else { Side::Above };
        let is_unusual = seen.deviations.abs() > learn.deviations;
        self.run = if is_unusual { self.run.saturating_add(1) } else { 0 };
        let shifted = Side::ALL.into_iter().find(|side| self.sums[*side as usize] > SHIFT_SUM);
        let (kind, side) = if self.run >= watch.confirm {
            (Kind::Unusual, side)
        } else if let Some(side) = shifted {
            (Kind::Shift, side)
        } else {
            (Kind::Drift, self.drift(watch, SIGNIFICANT, DRIFT)?)
        };
        if told[side as usize] {
            return None;
        }
        let of = Standing { kind, side, since_ms: seen.time_ms };
        self.alert = Some(of);
        self.run = 0;
        self.recent = seen.deviations.clamp(-learn.deviations, learn.deviations);
        Some(seen.change(of, true, false))
    }

    /// The side that the line of the last days leads to, if it does.
    fn drift(&self, watch: &Watch, significance: f64, spreads: f64) -> Option<Side> {
        let is_long = self.last_ms - self.since_ms >= watch.memory_days * DAY_MS;
        let line = self.trend.line(watch.noise_floor()).filter(|_| is_long)?;
        let is_steep =
            line.is_sloped(significance) && line.slope.abs() * watch.memory_days > spreads * self.spread;
        is_steep.then_some(if line.slope < 0.0 { Side::Below } else { Side::Above })
    }

    fn judge_standing(
        &mut self,
        (watch, learn): (&Watch, &Learn),
        of: Standing,
        seen: &Seen,
    ) -> Option<Change> {
        let beyond = match of.side {
            Side::Below => -seen.deviations,
            Side::Above => seen.deviations,
        };
        let bounded = seen.deviations.clamp(-learn.deviations, learn.deviations);
        self.recent += RECENT * (bounded - self.recent);
        let is_near = beyond < UNUSUAL_OVER * learn.deviations;
        self.run = if is_near { self.run.saturating_add(1) } else { 0 };
        let is_over = match of.kind {
            Kind::Unusual => self.run >= watch.confirm,
            Kind::Shift => self.recent.abs() < SHIFT_OVER,
            Kind::Drift => self.drift(watch, STILL_SIGNIFICANT, DRIFT_OVER) != Some(of.side),
        };
        let is_adopted = !is_over && seen.time_ms - of.since_ms >= learn.adopt_days * DAY_MS;
        if is_adopted {
            *self = Self::new(learn);
        } else if !is_over {
            return None;
        }
        self.alert = None;
        self.run = 0;
        self.sums = [0.0; 2];
        Some(seen.change(of, false, is_adopted))
    }

    pub(crate) fn encode(&self, to: &mut Octets) {
        to.small(self.season as u8);
        to.small(self.run);
        to.small(self.alert.map_or(0, |of| 1 + of.kind as u8 * 2 + of.side as u8));
        to.small(u8::try_from(self.start.len()).unwrap_or(0));
        let mut copy = self.clone();
        for number in copy.numbers() {
            to.number(*number);
        }
        to.number(self.alert.map_or(0.0, |of| of.since_ms));
        self.start.iter().for_each(|value| to.number(*value));
        self.profile.encode(to);
    }

    /// None where it was made with another season, or makes no sense.
    pub(crate) fn decode(learn: &Learn, from: &mut Rest<'_>) -> Option<Self> {
        let mut baseline = Self::new(learn);
        if from.small()? != learn.season as u8 {
            return None;
        }
        baseline.run = from.small()?;
        let alert = from.small()?;
        let start = usize::from(from.small()?);
        for number in baseline.numbers() {
            *number = from.number()?;
        }
        let since_ms = from.number()?;
        if let Some(alert) = alert.checked_sub(1) {
            let kind = [Kind::Unusual, Kind::Shift, Kind::Drift].into_iter().nth(usize::from(alert / 2))?;
            baseline.alert = Some(Standing { kind, side: Side::ALL[usize::from(alert % 2)], since_ms });
        }
        if start >= START || baseline.spread < 0.0 {
            return None;
        }
        baseline.start = (0..start).map(|_| from.number()).collect::<Option<Vec<_>>>()?;
        baseline.profile = Profile::decode(learn.season, from)?;
        Some(baseline)
    }

    fn numbers(&mut self) -> impl IntoIterator<Item = &mut f64> {
        let [low, high] = &mut self.sums;
        [
            &mut self.since_ms,
            &mut self.last_ms,
            &mut self.count,
            &mut self.level,
            &mut self.spread,
            low,
            high,
            &mut self.recent,
        ]
        .into_iter()
        .chain(self.trend.numbers())
    }
}

/// A reading beside what was expected.
struct Seen {
    point: Point,
    time_ms: f64,
    expected: f64,
    deviations: f64,
}

impl Seen {
    fn change(&self, of: Standing, is_raised: bool, is_adopted: bool) -> Change {
        let Point { time_ms, value } = self.point;
        let (expected, deviations) = (self.expected, self.deviations);
        Change { of, is_raised, is_adopted, time_ms, value, expected, deviations }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
