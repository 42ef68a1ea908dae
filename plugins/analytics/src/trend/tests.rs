//! The recursion against least squares.

use super::*;
use crate::simulate::Noise;

const MEMORY_DAYS: f64 = 7.0;

/// The trend of readings at given days.
fn trend(readings: &[(f64, f64)]) -> Trend {
    let mut trend = Trend::default();
    let mut last = readings[0].0;
    for &(day, value) in readings {
        trend.advance(day - last, MEMORY_DAYS);
        let expected = trend.line(1e-9).map(|line| line.value);
        trend.add(value, expected);
        last = day;
    }
    trend
}

/// Half-hourly readings of a line with white noise.
fn noisy(seed: u64, count: u32, level: f64, slope: f64, deviation: f64) -> Vec<(f64, f64)> {
    let mut noise = Noise::new(seed);
    let reading = |index: u32| {
        let day = f64::from(index) / 48.0;
        (day, level + slope * day + deviation * noise.normal())
    };
    (0..count).map(reading).collect()
}

#[test]
fn a_straight_line_is_found_exactly() {
    let line = trend(&noisy(1, 100, 78.0, -0.6, 0.0)).line(1e-9).unwrap();
    assert!((line.value - (78.0 - 0.6 * 99.0 / 48.0)).abs() < 1e-9);
    assert!((line.slope + 0.6).abs() < 1e-9);
    let days = line.days_to(60.0, SIGNIFICANT).unwrap();
    assert!((days - (30.0 - 99.0 / 48.0)).abs() < 1e-6);
}

/// The sums that are moved and forgotten a step at a time are those of all readings at once.
#[test]
fn recursion_gives_what_weighted_least_squares_gives() {
    let mut noise = Noise::new(2);
    let mut day = 0.0;
    let readings: Vec<(f64, f64)> = (0..500)
        .map(|_| {
            day += noise.uniform() * 0.2;
            (day, 4.2 + 0.01 * day + 0.02 * noise.normal())
        })
        .collect();
    let weighted = || readings.iter().map(|(at, y)| (((at - day) / MEMORY_DAYS).exp(), at - day, *y));
    let sum = |f: &dyn Fn(f64, f64, f64) -> f64| weighted().map(|(w, t, y)| f(w, t, y)).sum::<f64>();
    let (s0, s1, s2) = (sum(&|w, _, _| w), sum(&|w, t, _| w * t), sum(&|w, t, _| w * t * t));
    let (sy, sty) = (sum(&|w, _, y| w * y), sum(&|w, t, y| w * t * y));
    let determinant = s0 * s2 - s1 * s1;
    let (level, slope) = ((s2 * sy - s1 * sty) / determinant, (s0 * sty - s1 * sy) / determinant);
    let spread = sum(&|w, t, _| w * w * (s0 * t - s1) * (s0 * t - s1)) / (determinant * determinant);

    let trend = trend(&readings);
    let line = trend.line(1e-9).unwrap();
    assert!((line.value - level).abs() < 1e-9, "{} {level}", line.value);
    assert!((line.slope - slope).abs() < 1e-9, "{} {slope}", line.slope);
    let variance = line.deviation * line.deviation * spread * trend.correlation_factor();
    assert!((line.slope_variance / variance - 1.0).abs() < 1e-6, "{} {variance}", line.slope_variance);
    assert!((line.deviation - 0.02).abs() < 0.003, "{}", line.deviation);
}

#[test]
fn the_past_is_forgotten() {
    let mut readings = noisy(3, 48 * 30, 78.0, -0.6, 0.05);
    let (last_day, last) = *readings.last().unwrap();
    readings.extend(
        noisy(4, 48 * 50, last, 0.0, 0.05).iter().map(|(day, value)| (last_day + 0.02 + day, *value)),
    );
    let line = trend(&readings).line(1e-9).unwrap();
    assert!(line.slope.abs() < 0.01, "{}", line.slope);
    assert_eq!(line.days_to(50.0, SIGNIFICANT), None);
}

#[test]
fn a_line_that_leads_away_crosses_nothing() {
    let line = trend(&noisy(5, 480, 78.0, 0.6, 0.05)).line(1e-9).unwrap();
    assert_eq!(line.days_to(60.0, SIGNIFICANT), None);
    assert!(line.days_to(90.0, SIGNIFICANT).is_some());
}

#[test]
fn too_little_is_no_line() {
    assert_eq!(Trend::default().line(1e-9), None);
    assert_eq!(trend(&noisy(6, 2, 78.0, -0.6, 0.05)).line(1e-9), None);
    assert_eq!(
        trend(&[(1.0, 5.0), (1.0, 6.0), (1.0, 7.0), (1.0, 8.0), (1.0, 9.0)]).line(1e-9),
        None,
        "one time"
    );
}
