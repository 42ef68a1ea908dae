//! A sensor over weeks: when it is not as it used to be, and when that is nothing.

use super::*;
use crate::simulate::Noise;

const TEN_MINUTES_MS: u64 = 600_000;
const START_MS: u64 = 1_700_006_400_000;

fn watch(baseline: &serde_json::Value) -> Watch {
    serde_json::from_value(serde_json::json!({"sensor": "s", "baseline": baseline})).unwrap()
}

/// Readings each ten minutes of a function of days.
fn readings(days: u64, mut value: impl FnMut(f64) -> f64) -> Vec<Point> {
    let point =
        |index: u64| Point { time_ms: START_MS + index * TEN_MINUTES_MS, value: value(index as f64 / 144.0) };
    (0..days * 144).map(point).collect()
}

/// Follows readings in batches, through the encoding; gives what changed and on which day.
fn follow(watch: &Watch, points: &[Point]) -> Vec<(f64, Change)> {
    let learn = watch.baseline.as_ref().unwrap();
    let mut baseline = Baseline::new(learn);
    let mut changes = Vec::new();
    for batch in points.chunks(7) {
        let mut octets = Octets::default();
        baseline.encode(&mut octets);
        let octets = octets.into_vec();
        assert_eq!(Baseline::decode(learn, &mut Rest(&octets)).unwrap(), baseline);
        changes.extend(baseline.follow((watch, learn), batch, [false; 2]));
    }
    let day = |change: &Change| (change.time_ms - START_MS) as f64 / DAY_MS;
    changes.into_iter().map(|change| (day(&change), change)).collect()
}

fn told(changes: &[(f64, Change)]) -> Vec<(Kind, Side, bool)> {
    changes.iter().map(|(_, change)| (change.of.kind, change.of.side, change.is_raised)).collect()
}

fn daily(day: f64) -> f64 {
    20.0 + 5.0 * (std::f64::consts::TAU * day).sin()
}

#[test]
fn noise_and_days_are_normal() {
    for seed in 0..10 {
        let mut noise = Noise::new(seed);
        let changes = follow(
            &watch(&serde_json::json!({"season": "day"})),
            &readings(60, |day| daily(day) + 0.3 * noise.normal()),
        );
        assert_eq!(told(&changes), [], "{seed}");
        let changes = follow(&watch(&serde_json::json!({})), &readings(60, |_| 4.2 + 0.01 * noise.normal()));
        assert_eq!(told(&changes), [], "{seed}");
    }
}

#[test]
fn what_is_normal_by_day_is_unusual_by_night() {
    let mut noise = Noise::new(5);
    // As warm in the coldest hours of the 20th day as it is at noon.
    let warm = |day: f64| if (20.65..20.85).contains(&day) { 25.0 } else { daily(day) };
    let points = readings(30, |day| warm(day) + 0.3 * noise.normal());
    let changes = follow(&watch(&serde_json::json!({"season": "day"})), &points);
    assert_eq!(told(&changes), [(Kind::Unusual, Side::Above, true), (Kind::Unusual, Side::Above, false)]);
    assert!((20.65..20.68).contains(&changes[0].0) && (20.85..20.88).contains(&changes[1].0), "{changes:?}");
    // Without the season it is what it often is.
    let changes = follow(&watch(&serde_json::json!({})), &points);
    assert!(changes.iter().all(|(_, change)| change.of.kind != Kind::Unusual), "{changes:?}");
}

#[test]
fn a_shift_is_told_once_and_becomes_normal() {
    let mut noise = Noise::new(6);
    let points = readings(40, |day| if day < 10.0 { 50.0 } else { 52.5 } + noise.normal());
    let changes = follow(&watch(&serde_json::json!({"adopt_days": 7})), &points);
    assert_eq!(told(&changes), [(Kind::Shift, Side::Above, true), (Kind::Shift, Side::Above, false)]);
    assert!((10.0..10.5).contains(&changes[0].0), "{changes:?}");
    assert!(changes[1].1.is_adopted && (17.0..17.6).contains(&changes[1].0), "{changes:?}");
}

#[test]
fn a_shift_that_goes_back_is_over() {
    let mut noise = Noise::new(6);
    let points = readings(20, |day| if (10.0..11.0).contains(&day) { 46.5 } else { 50.0 } + noise.normal());
    let changes = follow(&watch(&serde_json::json!({})), &points);
    assert_eq!(told(&changes), [(Kind::Shift, Side::Below, true), (Kind::Shift, Side::Below, false)]);
    assert!(!changes[1].1.is_adopted && (11.0..11.3).contains(&changes[1].0), "{changes:?}");
}

#[test]
fn a_drift_is_told_before_it_is_a_shift() {
    for seed in 0..5 {
        let mut noise = Noise::new(seed);
        let points = readings(40, |day| 50.0 + 0.7 * (day - 15.0).max(0.0) + noise.normal());
        let changes = follow(&watch(&serde_json::json!({})), &points);
        let (day, first) = changes[0];
        assert!(first.is_raised && first.of.side == Side::Above, "{changes:?}");
        assert!((16.0..24.0).contains(&day), "{seed}: {day} {:?}", first.of.kind);
    }
}

#[test]
fn single_strays_are_nothing_and_teach_nothing() {
    let mut noise = Noise::new(8);
    let mut index = 0;
    let points = readings(30, |_| {
        index += 1;
        if index % 100 == 0 { 1000.0 } else { 50.0 + noise.normal() }
    });
    let watch = watch(&serde_json::json!({}));
    assert_eq!(told(&follow(&watch, &points)), []);
    let learn = watch.baseline.as_ref().unwrap();
    let mut baseline = Baseline::new(learn);
    baseline.follow((&watch, learn), &points, [false; 2]);
    assert!((baseline.level - 50.0).abs() < 0.3, "{}", baseline.level);
    assert!((0.8..1.2).contains(&baseline.spread), "{}", baseline.spread);
}

/// A sensor of one digit, which at first says the same all the time.
#[test]
fn steps_of_the_last_digit_are_normal() {
    for level in [0.0, 78.0] {
        let mut noise = Noise::new(2);
        let points = readings(40, |day| {
            let wide = if day < 0.3 { 0.01 } else { 0.4 };
            level + (wide * noise.normal()).round()
        });
        assert_eq!(told(&follow(&watch(&serde_json::json!({})), &points)), [], "{level}");
    }
}

#[test]
fn what_a_threshold_tells_of_is_not_told_again() {
    let mut noise = Noise::new(6);
    let points = readings(20, |day| if day < 10.0 { 50.0 } else { 80.0 } + noise.normal());
    let watch = watch(&serde_json::json!({}));
    let learn = watch.baseline.as_ref().unwrap();
    for (told, alerts) in [([false, true], 0), ([true, false], 1)] {
        assert_eq!(Baseline::new(learn).follow((&watch, learn), &points, told).len(), alerts);
    }
}

#[test]
fn what_is_no_state_is_not_taken() {
    let watch = watch(&serde_json::json!({"season": "day"}));
    let learn = watch.baseline.as_ref().unwrap();
    let mut octets = Octets::default();
    Baseline::new(learn).encode(&mut octets);
    let octets = octets.into_vec();
    for length in 0..octets.len() {
        assert_eq!(Baseline::decode(learn, &mut Rest(&octets[..length])), None);
    }
    let changed = |at: usize, to: u8| {
        let mut octets = octets.clone();
        octets[at] = to;
        Baseline::decode(learn, &mut Rest(&octets))
    };
    assert_eq!(changed(0, 2), None, "another season");
    assert_eq!(changed(2, 9), None, "no such alert");
    assert_eq!(changed(3, 32), None, "too long a start");
}
