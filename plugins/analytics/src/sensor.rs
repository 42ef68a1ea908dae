//! What is known of one sensor of one machine: running statistics, its trend, and which alerts are standing.
//!
//! A batch of readings goes through [`Sensor::follow`], which returns what became of alerts. All of it is plain numbers,
//! [`Sensor::encode`]d in a few hundred octets ([`kept`]), so that another instance can go on where this one stopped.

use crate::curves::{Course, Curves, Forecast, LATEST};
use crate::settings::{Side, Statistic, Watch};
use crate::trend::{Line, SIGNIFICANT, STILL_SIGNIFICANT, Trend};

mod kept;
#[cfg(test)]
pub(crate) use kept::before_curves;
pub(crate) use kept::{ENCODED_OCTETS, ENCODED_OCTETS_BEFORE_CURVES};

pub(crate) const DAY_MS: f64 = 86_400_000.0;
/// Readings before a forecast, and before a reading can be called a stray.
const READINGS_MIN: f64 = 24.0;
/// Standard deviations from the line beyond which a reading counts only as if it were there.
const STRAY_DEVIATIONS: f64 = 5.0;
/// Strays in a row on one side after which it is the line that is wrong: somebody refilled or repaired.
const STRAYS_MAX: i8 = 8;
/// A standing forecast goes away only when the crossing is this much further off than it takes to raise it.
const HORIZON_HYSTERESIS: f64 = 1.5;
/// The state of one sensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sensor {
    /// Time of the newest reading, and of the first that the trend knows.
    last_ms: f64,
    since_ms: f64,
    /// Welford's sums over all readings ever: number, mean, squared distances from it.
    count: f64,
    mean: f64,
    squares: f64,
    /// Exponentially weighted mean, and mean of squares.
    smoothed: f64,
    smoothed_square: f64,
    /// The newest value.
    value: f64,
    trend: Trend,
    curves: Curves,
    /// Strays in a row: above the line if positive, below it if negative.
    strays: i8,
    /// The statistic that all this is of, so that a new configuration starts anew.
    statistic: u8,
    /// One alert for each side.
    alerts: [Alert; 2],
}

/// An alert that may be standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Alert {
    phase: Phase,
    /// Readings in a row that speak for another phase.
    run: u8,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Quiet,
    /// The threshold will be crossed within the horizon.
    Forecast,
    /// The threshold is crossed.
    Crossed,
}

/// A reading of this sensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) time_ms: u64,
    pub(crate) value: f64,
}

/// An alert that was raised, became worse, or went away.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) side: Side,
    pub(crate) before: Phase,
    pub(crate) after: Phase,
    pub(crate) time_ms: u64,
    pub(crate) value: f64,
    pub(crate) forecast: Option<Forecast>,
    pub(crate) line: Option<Line>,
}

/// What a batch of readings led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Followed {
    pub(crate) changes: Vec<Change>,
    /// Readings older than one that was seen before: not learned from.
    pub(crate) late: u64,
    /// Readings far off the line: learned from with bounded weight.
    pub(crate) strays: u64,
}

/// Statistics for a person to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    pub(crate) smoothed: f64,
}

impl Sensor {
    /// A sensor of which nothing is known.
    pub(crate) fn new(watch: &Watch) -> Self {
        Self { statistic: statistic_octet(watch), ..Self::default() }
    }

    /// Learns from a batch in the order of time. All is judged at each reading, so that it does not matter how they were batched.
    pub(crate) fn follow(&mut self, watch: &Watch, points: &[Point]) -> Followed {
        let mut followed = Followed::default();
        for point in points {
            if self.count > 0.0 && milliseconds(point.time_ms) < self.last_ms {
                followed.late += 1;
                continue;
            }
            let compared = self.learn(watch, *point, &mut followed);
            for side in Side::ALL {
                let Some(threshold) = watch.threshold(side) else { continue };
                followed.changes.extend(self.judge_crossing(watch, side, threshold, compared, *point));
            }
            let Some(line) = self.history_line(watch) else { continue };
            for side in Side::ALL {
                let Some(threshold) = watch.threshold(side) else { continue };
                followed.changes.extend(self.judge_forecast((watch, &line), side, threshold, *point));
            }
        }
        followed
    }

    /// Takes back a change that nobody could be told of, so that the next batch tries again.
    pub(crate) fn take_back(&mut self, change: &Change) {
        self.alerts[change.side as usize].phase = change.before;
    }

    /// Whether an alert is standing, for each side.
    pub(crate) fn is_told(&self) -> [bool; 2] {
        self.alerts.map(|alert| alert.phase != Phase::Quiet)
    }

    /// Time of the newest reading.
    pub(crate) fn last_ms(&self) -> f64 {
        self.last_ms
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let deviation = if self.count > 1.0 { (self.squares / (self.count - 1.0)).sqrt() } else { 0.0 };
        Statistics { count: self.count, mean: self.mean, deviation, smoothed: self.smoothed }
    }

    /// Takes in one reading; gives what is to be compared with thresholds.
    fn learn(&mut self, watch: &Watch, Point { time_ms, value }: Point, followed: &mut Followed) -> f64 {
        let time_ms = milliseconds(time_ms);
        let elapsed_ms = if self.count == 0.0 { 0.0 } else { time_ms - self.last_ms };
        self.last_ms = time_ms;
        self.value = value;

        self.count += 1.0;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.count;
        self.squares += from_mean * (value - self.mean);

        let kept =
            if self.count == 1.0 { 0.0 } else { (-elapsed_ms / (watch.smoothing_minutes * 60_000.0)).exp() };
        self.smoothed += (1.0 - kept) * (value - self.smoothed);
        self.smoothed_square += (1.0 - kept) * (value * value - self.smoothed_square);

        let compared = match watch.statistic {
            Statistic::Value => value,
            Statistic::Rms => self.smoothed_square.sqrt(),
        };
        if watch.has_threshold() {
            self.trend.advance(elapsed_ms / DAY_MS, watch.memory_days);
            self.curves.advance(elapsed_ms / DAY_MS, watch.memory_days);
            self.learn_trend(watch, compared, followed);
        }
        compared
    }

    /// A stray is learned from as if it were at the bound (Huber), so that a single one bends the line but little.
    fn learn_trend(&mut self, watch: &Watch, value: f64, followed: &mut Followed) {
        let line = self.trend.line(watch.noise_floor());
        let Some(line) = line.filter(|_| self.trend.readings() >= READINGS_MIN) else {
            if self.trend.readings() == 0.0 {
                self.since_ms = self.last_ms;
            }
            self.add(value, line.map(|line| line.value));
            return;
        };
        let deviation = (line.deviation * line.deviation + line.value_variance).sqrt();
        let bound = STRAY_DEVIATIONS * deviation;
        let bounded = value.clamp(line.value - bound, line.value + bound);
        if bounded == value {
            self.strays = 0;
        } else {
            followed.strays += 1;
            let above = value > bounded;
            let continues = (self.strays > 0) == above;
            let run = if continues { self.strays.saturating_abs() } else { 0 } + 1;
            self.strays = if above { run } else { -run };
            if run >= STRAYS_MAX {
                self.restart_trend();
                self.add(value, None);
                return;
            }
        }
        self.add(bounded, Some(line.value));
    }

    fn add(&mut self, value: f64, expected: Option<f64>) {
        let counted = self.trend.add(value, expected);
        self.curves.add(counted);
    }

    fn restart_trend(&mut self) {
        self.trend = Trend::default();
        self.curves = Curves::default();
        self.since_ms = self.last_ms;
        self.strays = 0;
    }

    fn judge_crossing(
        &mut self,
        watch: &Watch,
        side: Side,
        threshold: f64,
        value: f64,
        point: Point,
    ) -> Option<Change> {
        let Alert { phase, run } = self.alerts[side as usize];
        // How far it is beyond the threshold.
        let beyond = match side {
            Side::Below => threshold - value,
            Side::Above => value - threshold,
        };
        let (speaks_for_another, after) = match phase {
            Phase::Quiet | Phase::Forecast => (beyond > 0.0, Phase::Crossed),
            Phase::Crossed => (beyond < -watch.hysteresis(), Phase::Quiet),
        };
        let run = if speaks_for_another { run.saturating_add(1) } else { 0 };
        if run < watch.confirm {
            self.alerts[side as usize].run = run;
            return None;
        }
        let line = self.history_line(watch);
        self.alerts[side as usize] = Alert { phase: after, run: 0 };
        if after == Phase::Quiet {
            // Whatever brought it back was no trend.
            self.restart_trend();
        }
        Some(Change {
            side,
            before: phase,
            after,
            forecast: None,
            line,
            time_ms: point.time_ms,
            value: point.value,
        })
    }

    fn judge_forecast(
        &mut self,
        (watch, line): (&Watch, &Line),
        side: Side,
        threshold: f64,
        point: Point,
    ) -> Option<Change> {
        let (leads_there, is_across) = match side {
            Side::Below => (line.slope < 0.0, line.value <= threshold),
            Side::Above => (line.slope > 0.0, line.value >= threshold),
        };
        let Alert { phase: before, run } = self.alerts[side as usize];
        if before == Phase::Crossed {
            return None;
        }
        let is_due = leads_there && self.is_due(watch, line, side, threshold);
        let after = if is_due { Phase::Forecast } else { Phase::Quiet };
        // Beyond the threshold already, but not yet confirmed: the next readings decide.
        let is_undecided = run > 0 || (is_across && leads_there);
        if before == after || (after == Phase::Quiet && is_undecided) {
            return None;
        }
        self.alerts[side as usize].phase = after;
        let course = self.course(watch).filter(|_| is_due);
        let forecast = course.map(|course| course.forecast(side, threshold));
        let Point { time_ms, value } = point;
        Some(Change { side, before, after, forecast, line: Some(*line), time_ms, value })
    }

    /// Whether the threshold is crossed in time for an alert, or for one to stay.
    ///
    /// An alert wants that to be likely, and beside it either the line or the whole interval to be within the horizon: which curve is the
    /// most likely changes with every few readings of mere noise, so that an alert on the median alone would come and go.
    fn is_due(&self, watch: &Watch, line: &Line, side: Side, threshold: f64) -> bool {
        let stands = self.alerts[side as usize].phase == Phase::Forecast;
        let (significance, horizon_days) = if stands {
            (STILL_SIGNIFICANT, watch.horizon_days * HORIZON_HYSTERESIS)
        } else {
            (SIGNIFICANT, watch.horizon_days)
        };
        let Some(days) = line.days_to(threshold, significance) else { return false };
        let is_line_due = days <= horizon_days;
        if stands && is_line_due {
            return true;
        }
        if !self.curves.may_reach((&self.trend, watch), side, horizon_days) {
            return false;
        }
        let course = self.course(watch);
        let probability = course.map_or(0.0, |course| course.probability(side, threshold, horizon_days));
        probability >= if stands || is_line_due { 0.5 } else { LATEST }
    }

    fn course(&self, watch: &Watch) -> Option<Course> {
        self.curves.course(&self.trend, watch.memory_days, watch.noise_floor())
    }

    /// The trend, once there is history enough to speak of one.
    fn history_line(&self, watch: &Watch) -> Option<Line> {
        let history_ms = self.last_ms - self.since_ms;
        let is_long =
            history_ms >= watch.history_hours * 3_600_000.0 && self.trend.readings() >= READINGS_MIN;
        self.trend.line(watch.noise_floor()).filter(|_| is_long)
    }
}

fn statistic_octet(watch: &Watch) -> u8 {
    match watch.statistic {
        Statistic::Value => 0,
        Statistic::Rms => 1,
    }
}

/// Times until the year 287396 are whole numbers of milliseconds in a double.
#[expect(clippy::cast_precision_loss, reason = "times beyond 2^53 ms are refused where telemetry is read")]
pub(crate) fn milliseconds(time_ms: u64) -> f64 {
    time_ms as f64
}

#[cfg(test)]
mod tests;
