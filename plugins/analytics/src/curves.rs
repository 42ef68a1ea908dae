//! When a sensor crosses its threshold, where damage may grow faster and faster.
//!
//! Beside the line ([`crate::trend`]) stand exponentials with an offset, y = a + b (e^(ct) - 1) / c, each with a rate c of its own that is
//! fixed, so that each is a line too, in another measure of time, and its sums are as easily kept: of the weights w = e^(t/m), where
//! m is the memory, those of e^(kt/m) for a few k in quarters, which the curves share. Which of the shapes it is nobody knows, and the first
//! readings of a damage cannot tell. So none is chosen: each counts by how well it explains what is remembered (Bayesian model
//! averaging; Hoeting, Madigan, Raftery and Volinsky, 1999). All have two parameters, so that the likelihood of one, with a prior that
//! is scaled alike for all, goes with its sum of squares to the power of minus half the number of readings, here of those that the
//! weights and the correlation of residuals leave (as Raftery, Kárný and Ettler, 2010, let models forget).
//!
//! The truth is between the rates, or no exponential at all, and good readings make one of them certain all the same. So each stands for those
//! around it too: value and slope are between its own and those of the next ones, which they change with almost evenly. The line
//! alone stands for itself, as long as what is a little bent does not explain readings better.
//!
//! The probability that a curve is across by some time is that of its value then, which is normal; of the line alone this gives Fieller's
//! interval. Quantiles of the average are the moment that is expected and the interval.

use crate::settings::{Side, Watch};
use crate::trend::{Line, Sums, Trend};

/// Times further off than this are not told: it may never come.
pub(crate) const DAYS_MAX: f64 = 36_500.0;
/// Rates in quarters of one per memory, and how likely each is before anything is seen. One slows down, three accelerate.
const RATES: [i8; 4] = [-1, 2, 4, 8];
const PRIORS: [f64; 4] = [0.1, 0.2, 0.2, 0.2];
const PRIOR_LINE: f64 = 0.3;
/// How a curve stands for those around it: so far towards the next slower and the next faster one, and how much of it on either side.
const AROUND: [(f64, f64); 2] = [(0.35, 0.2), (0.7, 0.1)];
/// The same of the line, before it is seen whether those explain readings better, and how much more they may count if they do.
const AROUND_LINE: [(f64, f64); 2] = [(0.35, 0.05), (0.7, 0.05)];
const AROUND_LINE_FACTOR: f64 = 3.0;
/// The k, in quarters, of which sums are kept; those of 4 and 8 are the trend's.
const QUARTERS: [i8; 9] = [2, 3, 6, 7, 10, 12, 16, 20, 24];
/// The largest exponent that is looked at; a curve is far across before.
const EXPONENT_MAX: f64 = 200.0;
/// Ends of the interval of 95 per cent.
pub(crate) const EARLIEST: f64 = 0.025;
pub(crate) const LATEST: f64 = 0.975;
/// How many times as likely as any other a shape has to make the readings to be named.
const SHAPE_FACTOR: f64 = 3.0;
/// Halvings of [`DAYS_MAX`] down to a quarter of a second.
const HALVINGS: u32 = 34;

/// Sums over weighted readings, relative to the time of the newest.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Curves {
    /// Of e^(kt/m) for each of [`QUARTERS`].
    exponentials: [f64; 9],
    /// Of w e^(ct) y for each of [`RATES`].
    values: [f64; 4],
}

impl Curves {
    /// Moves to the time of the next reading and forgets.
    pub(crate) fn advance(&mut self, days: f64, memory_days: f64) {
        let quarter = (-0.25 * days / memory_days).exp();
        for (sum, k) in self.exponentials.iter_mut().zip(QUARTERS) {
            *sum *= quarter.powi(i32::from(k));
        }
        for (sum, rate) in self.values.iter_mut().zip(RATES) {
            *sum *= quarter.powi(4 + i32::from(rate));
        }
    }

    /// Learns a value as the trend counts it ([`Trend::add`]).
    pub(crate) fn add(&mut self, value: f64) {
        self.exponentials.iter_mut().for_each(|sum| *sum += 1.0);
        self.values.iter_mut().for_each(|sum| *sum += value);
    }

    /// Where it goes by what is remembered; none where that does not determine a line. The trend is that of the same readings.
    pub(crate) fn course(&self, trend: &Trend, memory_days: f64, noise_floor: f64) -> Option<Course> {
        let mut nodes = self.nodes(trend, memory_days, noise_floor)?;
        Some(Course::new(&mut nodes, trend.evidence()))
    }

    /// Whether any of the curves is across in so many days. Where none is, it is not likely, and that is seen at a tenth of the cost.
    pub(crate) fn may_reach(&self, (trend, watch): (&Trend, &Watch), side: Side, days: f64) -> bool {
        let nodes = self.nodes(trend, watch.memory_days, watch.noise_floor());
        let (Some(nodes), Some(threshold)) = (nodes, watch.threshold(side)) else { return false };
        nodes.iter().any(|Node { path, .. }| {
            let above = path.line.value + path.line.slope * path.time(days) - threshold;
            match side {
                Side::Above => above >= 0.0,
                Side::Below => above <= 0.0,
            }
        })
    }

    /// From the slowest to the fastest.
    fn nodes(&self, trend: &Trend, memory_days: f64, noise_floor: f64) -> Option<Vec<Node>> {
        let line = trend.line(noise_floor)?;
        let mut nodes = Vec::with_capacity(1 + RATES.len());
        for (index, (rate, prior)) in RATES.into_iter().zip(PRIORS).enumerate() {
            if index == 1 {
                nodes.push(Node { prior: PRIOR_LINE, path: Path { weight: 0.0, rate: 0.0, line } });
            }
            let rate = 0.25 * f64::from(rate) / memory_days;
            if let Some(line) = trend.fit(&self.sums(trend, index, rate), noise_floor) {
                nodes.push(Node { prior, path: Path { weight: 0.0, rate, line } });
            }
        }
        Some(nodes)
    }

    /// The sums of (e^(ct) - 1) / c.
    fn sums(&self, trend: &Trend, index: usize, per_day: f64) -> Sums {
        let [weight, precision, value] = trend.weights();
        let of = |k: i8| match k {
            4 => weight,
            8 => precision,
            k => QUARTERS.iter().position(|known| *known == k).map_or(0.0, |at| self.exponentials[at]),
        };
        let rate = RATES[index];
        let square = per_day * per_day;
        Sums {
            first: (of(4 + rate) - weight) / per_day,
            second: (of(4 + 2 * rate) - 2.0 * of(4 + rate) + weight) / square,
            value: (self.values[index] - value) / per_day,
            precision: (of(8 + rate) - precision) / per_day,
            precision_second: (of(8 + 2 * rate) - 2.0 * of(8 + rate) + precision) / square,
        }
    }

    /// All numbers, in the order in which they are kept.
    pub(crate) fn numbers(&mut self) -> impl Iterator<Item = &mut f64> {
        self.exponentials.iter_mut().chain(&mut self.values)
    }
}

/// The line and the curves through a sensor's recent past, each with its weight, and those between them.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    paths: Vec<Path>,
    shape: Shape,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Path {
    weight: f64,
    /// Growth a day; 0 is the line.
    rate: f64,
    line: Line,
}

/// One that sums are kept of.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// How likely it is before anything is seen.
    prior: f64,
    path: Path,
}

/// What the recent past looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Line,
    /// It goes faster and faster.
    Accelerating,
    /// It goes more and more slowly.
    Slowing,
    /// The readings do not tell.
    Unclear,
}

/// When a threshold will be crossed, in days from now: the median, and an interval of 95 per cent. At most [`DAYS_MAX`], which means
/// that it may never be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forecast {
    pub(crate) days: f64,
    pub(crate) days_earliest: f64,
    pub(crate) days_latest: f64,
    pub(crate) shape: Shape,
}

impl Course {
    fn new(nodes: &mut [Node], evidence: f64) -> Self {
        let least = nodes.iter().map(|node| node.path.line.squares).fold(f64::INFINITY, f64::min);
        for Node { prior, path } in &mut *nodes {
            path.weight = *prior * (-0.5 * evidence * (path.line.squares / least).ln()).exp();
        }
        let mut paths = Vec::with_capacity(5 * nodes.len());
        for at in 0..nodes.len() {
            spread(nodes, at, evidence, &mut paths);
        }
        let sum: f64 = paths.iter().map(|path| path.weight).sum();
        paths.iter_mut().for_each(|path| path.weight /= sum);
        Self { paths, shape: shape(nodes) }
    }

    /// How likely it is across in so many days.
    pub(crate) fn probability(&self, side: Side, threshold: f64, days: f64) -> f64 {
        let of = |path: &Path| {
            let above = path.line.errors_above(threshold, path.time(days));
            let across = match side {
                Side::Above => normal(above),
                Side::Below => normal(-above),
            };
            path.weight * across
        };
        self.paths.iter().map(of).sum()
    }

    pub(crate) fn forecast(&self, side: Side, threshold: f64) -> Forecast {
        // Each begins where the one before ended, so that they are in order whatever rounding does.
        let quantile = |probability, from| self.quantile(side, threshold, probability, from);
        let days_earliest = quantile(EARLIEST, 0.0);
        let days = quantile(0.5, days_earliest);
        Forecast { days, days_earliest, days_latest: quantile(LATEST, days), shape: self.shape }
    }

    fn quantile(&self, side: Side, threshold: f64, probability: f64, from: f64) -> f64 {
        let is_across = |days| self.probability(side, threshold, days) >= probability;
        let (mut before, mut after) = (from, DAYS_MAX);
        if is_across(before) {
            return before;
        }
        for _ in 0..HALVINGS {
            let middle = 0.5 * (before + after);
            if is_across(middle) {
                after = middle;
            } else {
                before = middle;
            }
        }
        after
    }
}

impl Path {
    /// The measure of time in which this one is a line.
    fn time(&self, days: f64) -> f64 {
        if self.rate == 0.0 { days } else { (self.rate * days).min(EXPONENT_MAX).exp_m1() / self.rate }
    }

    /// What is so much of the way towards another one, or away from it.
    fn towards(&self, other: &Self, part: f64, weight: f64) -> Self {
        let rate = self.rate + part * (other.rate - self.rate);
        Self { weight, rate, line: self.line.towards(&other.line, part) }
    }
}

/// Distributes the weight of a node to it and those around it.
fn spread(nodes: &[Node], at: usize, evidence: f64, to: &mut Vec<Path>) {
    let own = nodes[at].path;
    let is_line = own.rate == 0.0;
    let around = if is_line { AROUND_LINE } else { AROUND };
    let mut left = 1.0;
    for is_faster in [false, true] {
        let next = |is_faster: bool| {
            let index = if is_faster { Some(at + 1) } else { at.checked_sub(1) };
            index.and_then(|index| nodes.get(index)).map(|node| &node.path)
        };
        for (part, share) in around {
            // Beyond the last one it goes on as it came.
            let path = match (next(is_faster), next(!is_faster)) {
                (Some(other), _) => own.towards(other, part, own.weight * share),
                (None, Some(other)) => own.towards(other, -part, own.weight * share),
                (None, None) => continue,
            };
            let factor = if is_line { likelihood(nodes, at, path.rate, evidence) } else { 1.0 };
            left -= share;
            to.push(Path { weight: path.weight * factor, ..path });
        }
    }
    to.push(Path { weight: own.weight * left, ..own });
}

/// How many times as likely as a node something of another rate makes the readings, by a parabola through the sums of squares of the node and
/// the next ones; at most a few times, because it is no more than a guess.
fn likelihood(nodes: &[Node], at: usize, rate: f64, evidence: f64) -> f64 {
    let Some([before, own, after]) =
        at.checked_sub(1).and_then(|from| nodes.get(from..at + 2)).and_then(|of| {
            let [before, own, after] = of else { return None };
            Some([before.path, own.path, after.path])
        })
    else {
        return 1.0;
    };
    // Newton's form.
    let first = (own.line.squares - before.line.squares) / (own.rate - before.rate);
    let second = (after.line.squares - own.line.squares) / (after.rate - own.rate);
    let bend = (second - first) / (after.rate - before.rate);
    let squares = before.line.squares + (rate - before.rate) * (first + (rate - own.rate) * bend);
    let ratio = (squares / own.line.squares).max(f64::MIN_POSITIVE);
    (-0.5 * evidence * ratio.ln()).exp().min(AROUND_LINE_FACTOR)
}

/// The shape that makes the readings a few times as likely as any other does.
fn shape(nodes: &[Node]) -> Shape {
    let likelihood = |is_of: fn(f64) -> bool| {
        let of = || nodes.iter().filter(|node| is_of(node.path.rate));
        let prior: f64 = of().map(|node| node.prior).sum();
        of().map(|node| node.path.weight).sum::<f64>() / prior.max(f64::MIN_POSITIVE)
    };
    let shapes = [
        (likelihood(|rate| rate == 0.0), Shape::Line),
        (likelihood(|rate| rate > 0.0), Shape::Accelerating),
        (likelihood(|rate| rate < 0.0), Shape::Slowing),
    ];
    let stands_out = |(of, shape): &(f64, Shape)| {
        shapes.iter().all(|(other, is)| is == shape || *of >= SHAPE_FACTOR * other)
    };
    shapes.iter().find(|shape| stands_out(shape)).map_or(Shape::Unclear, |(_, shape)| *shape)
}

/// The standard normal distribution (Abramowitz and Stegun, 26.2.17; off by less than 8e-8).
fn normal(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let density = 0.398_942_280_401 * (-0.5 * x * x).exp();
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let beyond = density * polynomial;
    if x < 0.0 { beyond } else { 1.0 - beyond }
}

#[cfg(test)]
mod tests;
