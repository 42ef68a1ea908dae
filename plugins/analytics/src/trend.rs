//! A straight line through a sensor's recent past: recursive least squares with forgetting on time.
//!
//! The sums of weighted least squares are kept with time counted backwards from the newest reading, in days, so that
//! they stay small whatever the date. A reading costs one exponential and some forty multiplications, and nothing is ever
//! recomputed from old readings. The weight of a reading falls by e for each `memory`; readings may come at any interval.
//!
//! The uncertainty is that of weights which express preference, not precision: the covariance of the line is
//! s² (X'WX)⁻¹ X'W²X (X'WX)⁻¹ (1 + r) / (1 - r), where r is the correlation of successive residuals. Without the
//! last factor a sensor that wanders slowly would seem to have a trend.

/// Standard errors of the slope below which a line counts as level.
///
/// A forecast is tried again and again as readings come in, so the usual two would find a trend in mere noise every day.
pub(crate) const SIGNIFICANT: f64 = 5.0;
/// The same for a forecast that has been raised already: it has to become much less certain to go away.
pub(crate) const STILL_SIGNIFICANT: f64 = 2.5;
/// The correlation beyond which successive residuals say nothing new.
const CORRELATION_MAX: f64 = 0.98;

/// Sums over weighted readings, relative to the time of the newest and to a first value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trend {
    /// Values are counted from here, so that sums of squares do not cancel.
    reference: f64,
    readings: f64,
    /// Sums of w, wt, wt².
    weight: f64,
    time: f64,
    time_squared: f64,
    /// Sums of wy, wty, wy².
    value: f64,
    time_value: f64,
    value_squared: f64,
    /// Sums of w², w²t, w²t².
    precision: f64,
    precision_time: f64,
    precision_time_squared: f64,
    /// The last residual, and weighted sums of its square and of its product with the one before.
    residual: f64,
    residual_squared: f64,
    residual_product: f64,
}

impl Trend {
    /// How many readings it has learned from.
    pub(crate) fn readings(&self) -> f64 {
        self.readings
    }

    /// Moves to the time of the next reading and forgets.
    pub(crate) fn advance(&mut self, days: f64, memory_days: f64) {
        let kept = (-days / memory_days).exp();
        self.time_squared = kept * (self.time_squared - 2.0 * days * self.time + days * days * self.weight);
        self.time_value = kept * (self.time_value - days * self.value);
        self.time = kept * (self.time - days * self.weight);
        self.weight *= kept;
        self.value *= kept;
        self.value_squared *= kept;
        self.residual_squared *= kept;
        self.residual_product *= kept;
        let kept = kept * kept;
        self.precision_time_squared = kept
            * (self.precision_time_squared - 2.0 * days * self.precision_time + days * days * self.precision);
        self.precision_time = kept * (self.precision_time - days * self.precision);
        self.precision *= kept;
    }

    /// Learns a value at the time that it has been moved to; `expected` is what the line said of it. Gives the value as it is counted.
    pub(crate) fn add(&mut self, value: f64, expected: Option<f64>) -> f64 {
        if self.readings == 0.0 {
            self.reference = value;
        }
        if let Some(expected) = expected {
            let residual = value - expected;
            self.residual_squared += residual * residual;
            self.residual_product += residual * self.residual;
            self.residual = residual;
        }
        let value = value - self.reference;
        self.readings += 1.0;
        self.weight += 1.0;
        self.precision += 1.0;
        self.value += value;
        self.value_squared += value * value;
        value
    }

    /// The line at the newest reading; none where the readings do not determine one.
    ///
    /// `noise_floor` is the least standard deviation that a reading is believed to have, such as half its last digit.
    pub(crate) fn line(&self, noise_floor: f64) -> Option<Line> {
        let time = Sums {
            first: self.time,
            second: self.time_squared,
            value: self.time_value,
            precision: self.precision_time,
            precision_second: self.precision_time_squared,
        };
        self.fit(&time, noise_floor)
    }

    /// The same in another measure of time, of which the sums are given.
    pub(crate) fn fit(&self, time: &Sums, noise_floor: f64) -> Option<Line> {
        let determinant = self.weight * time.second - time.first * time.first;
        if determinant <= 1e-9 * self.weight * time.second {
            return None;
        }
        // The inverse of X'WX.
        let a = time.second / determinant;
        let b = -time.first / determinant;
        let c = self.weight / determinant;
        let value = a * self.value + b * time.value;
        let slope = b * self.value + c * time.value;

        let freedom =
            self.weight - (a * self.precision + 2.0 * b * time.precision + c * time.precision_second);
        if freedom < 3.0 {
            return None;
        }
        let squares = (self.value_squared - value * self.value - slope * time.value).max(0.0);
        let deviation = (squares / freedom).sqrt().max(noise_floor);
        let variance = deviation * deviation * self.correlation_factor();

        let (p, q) =
            (a * self.precision + b * time.precision, a * time.precision + b * time.precision_second);
        let (r, s) =
            (b * self.precision + c * time.precision, b * time.precision + c * time.precision_second);
        Some(Line {
            value: value + self.reference,
            slope,
            deviation,
            squares: squares.max(noise_floor * noise_floor * self.weight),
            value_variance: variance * (p * a + q * b),
            covariance: variance * (p * b + q * c),
            slope_variance: variance * (r * b + s * c),
        })
    }

    /// As how many independent readings those count that it remembers.
    pub(crate) fn evidence(&self) -> f64 {
        self.weight / self.correlation_factor()
    }

    /// Sums of the weights, of their squares, and of weighted values.
    pub(crate) fn weights(&self) -> [f64; 3] {
        [self.weight, self.precision, self.value]
    }

    fn correlation_factor(&self) -> f64 {
        if self.residual_squared <= 0.0 {
            return 1.0;
        }
        let correlation = (self.residual_product / self.residual_squared).clamp(0.0, CORRELATION_MAX);
        (1.0 + correlation) / (1.0 - correlation)
    }

    /// All numbers, in the order in which they are kept.
    pub(crate) fn numbers(&mut self) -> [&mut f64; 14] {
        [
            &mut self.reference,
            &mut self.readings,
            &mut self.weight,
            &mut self.time,
            &mut self.time_squared,
            &mut self.value,
            &mut self.time_value,
            &mut self.value_squared,
            &mut self.precision,
            &mut self.precision_time,
            &mut self.precision_time_squared,
            &mut self.residual,
            &mut self.residual_squared,
            &mut self.residual_product,
        ]
    }
}

/// Sums over weighted readings of time t in some measure that is 0 at the newest reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums {
    /// Of wt, wt² and wty.
    pub(crate) first: f64,
    pub(crate) second: f64,
    pub(crate) value: f64,
    /// Of w²t and w²t².
    pub(crate) precision: f64,
    pub(crate) precision_second: f64,
}

/// A line at the time of the newest reading, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    /// What it says of now.
    pub(crate) value: f64,
    /// Change a day.
    pub(crate) slope: f64,
    /// Standard deviation of readings around it.
    pub(crate) deviation: f64,
    /// Weighted sum of the squares of what it leaves unexplained.
    pub(crate) squares: f64,
    pub(crate) value_variance: f64,
    covariance: f64,
    slope_variance: f64,
}

impl Line {
    /// Whether the slope is more than so many standard errors.
    pub(crate) fn is_sloped(&self, significance: f64) -> bool {
        self.slope * self.slope > significance * significance * self.slope_variance
    }

    /// In how many days it crosses `threshold`; none where it is level (its slope is less than `significance` standard errors), leads
    /// away or is across.
    pub(crate) fn days_to(&self, threshold: f64, significance: f64) -> Option<f64> {
        let distance = self.value - threshold;
        let leads_there = self.is_sloped(significance) && distance * self.slope < 0.0;
        leads_there.then(|| -distance / self.slope)
    }

    /// What is so much of the way towards another one; away from it, where that is less than nothing, and then as uncertain as this one.
    pub(crate) fn towards(&self, other: &Self, part: f64) -> Self {
        let between = |own: f64, other: f64, part: f64| own + part * (other - own);
        let inside = part.max(0.0);
        Self {
            value: between(self.value, other.value, part),
            slope: between(self.slope, other.slope, part),
            value_variance: between(self.value_variance, other.value_variance, inside),
            covariance: between(self.covariance, other.covariance, inside),
            slope_variance: between(self.slope_variance, other.slope_variance, inside),
            ..*self
        }
    }

    /// How many standard errors it is above `threshold` at time `t`.
    pub(crate) fn errors_above(&self, threshold: f64, t: f64) -> f64 {
        let variance = self.value_variance + t * (2.0 * self.covariance + t * self.slope_variance);
        (self.value + self.slope * t - threshold) / variance.max(f64::MIN_POSITIVE).sqrt()
    }
}

#[cfg(test)]
mod tests;
