//! A sensor with everything that may be said of it.

use super::*;
use crate::settings::Side;
use crate::simulate::Noise;

fn watch() -> Watch {
    serde_json::from_value(serde_json::json!({
        "sensor": "cold-head", "above": 5, "possible": [0, 400], "baseline": {}, "horizon_days": 5,
    }))
    .unwrap()
}

fn points(from: u64, values: impl IntoIterator<Item = f64>) -> Vec<Point> {
    (from..).zip(values).map(|(index, value)| Point { time_ms: index * 600_000, value }).collect()
}

fn normal() -> Vec<Point> {
    let mut noise = Noise::new(1);
    points(1, (0..1000).map(|_| 4.2 + 0.01 * noise.normal()))
}

#[test]
fn one_cause_is_one_alert() {
    let mut watched = Watched::new(&watch());
    assert_eq!(watched.follow(&watch(), &normal()).changes, []);
    // Above the threshold, and of course unusual too.
    let changes = watched.follow(&watch(), &points(1001, [6.0; 10])).changes;
    assert!(
        matches!(&changes[..], [Change::Limit(of)] if of.side == Side::Above && of.after == sensor::Phase::Crossed),
        "{changes:?}"
    );
}

#[test]
fn what_is_unusual_is_told_before_a_threshold_is_crossed() {
    let mut watched = Watched::new(&watch());
    watched.follow(&watch(), &normal());
    let changes = watched.follow(&watch(), &points(1001, [4.4; 2])).changes;
    assert!(matches!(&changes[..], [Change::Baseline(of)] if of.is_raised), "{changes:?}");
    let mut again = watched.clone();
    again.take_back(&changes[0]);
    let comes_again = again.follow(&watch(), &points(1003, [4.4; 2])).changes;
    assert!(matches!(&comes_again[..], [Change::Baseline(of)] if of.is_raised), "{comes_again:?}");
}

/// What is replayed in large batches has to lead to what it led to when it came one by one.
#[test]
fn it_does_not_matter_how_readings_are_batched() {
    let mut noise = Noise::new(2);
    let warming = |index: i32| 4.2 + 0.08 * (f64::from(index) / 144.0 - 7.0).max(0.0) + 0.01 * noise.normal();
    let points = points(1, (0..144 * 19).map(warming));
    let follow = |size: usize| -> Vec<Change> {
        let mut watched = Watched::new(&watch());
        points.chunks(size).flat_map(|batch| watched.follow(&watch(), batch).changes).collect()
    };
    let one_by_one = follow(1);
    let is_forecast =
        |change: &Change| matches!(change, Change::Limit(of) if of.after == sensor::Phase::Forecast);
    assert!(one_by_one.iter().any(is_forecast), "{one_by_one:?}");
    for size in [7, 64, 100_000] {
        assert_eq!(follow(size), one_by_one, "in batches of {size}");
    }
}

#[test]
fn what_a_broken_sensor_says_is_no_alert_of_the_machine() {
    let mut watched = Watched::new(&watch());
    watched.follow(&watch(), &normal());
    let followed = watched.follow(&watch(), &points(1001, [-273.0; 20]));
    assert!(
        matches!(&followed.changes[..], [Change::Fault(of)] if of.kind == fault::Kind::OutOfRange),
        "{followed:?}"
    );
    assert_eq!(followed.faulty, 20);
    let followed = watched.follow(&watch(), &points(1021, [4.2; 20]));
    assert!(matches!(&followed.changes[..], [Change::Fault(of)] if !of.is_raised), "{followed:?}");
}

#[test]
fn late_readings_are_counted_and_change_nothing() {
    let mut watched = Watched::new(&watch());
    watched.follow(&watch(), &points(10, [4.2; 5]));
    let before = watched.clone();
    assert_eq!(watched.follow(&watch(), &points(1, [900.0; 9])).late, 9);
    assert_eq!(watched, before);
}

#[test]
fn the_encoding_brings_everything_back() {
    let mut watched = Watched::new(&watch());
    watched.follow(&watch(), &normal());
    let encoded = watched.encode();
    assert_eq!(Watched::decode(&watch(), &encoded).unwrap(), watched);
    assert!(encoded.len() < 512, "{}", encoded.len());
    for length in 0..sensor::ENCODED_OCTETS {
        assert_eq!(Watched::decode(&watch(), &encoded[..length]), None);
    }
}

#[test]
fn state_of_an_older_version_goes_on() {
    let mut sensor = Sensor::new(&watch());
    sensor.follow(&watch(), &points(1, [4.2; 5]));
    let before_curves = sensor::before_curves(&sensor);
    let mut of_watched = Octets::default();
    of_watched.small(ENCODING_BEFORE_CURVES);
    let mut health = Health::default();
    health.last_ms = sensor.last_ms();
    health.encode(&mut of_watched);
    of_watched.some(&before_curves);
    of_watched.small(0);
    for encoded in [before_curves, of_watched.into_vec()] {
        let mut watched = Watched::decode(&watch(), &encoded).unwrap();
        assert_eq!(watched.statistics().count, 5.0);
        assert_eq!(watched.follow(&watch(), &points(1, [4.2])).late, 1);
    }
}

#[test]
fn a_season_that_is_new_begins_a_new_baseline_only() {
    let mut watched = Watched::new(&watch());
    watched.follow(&watch(), &normal());
    let daily: Watch = serde_json::from_value(serde_json::json!({
        "sensor": "cold-head", "above": 5, "baseline": {"season": "day"},
    }))
    .unwrap();
    let other = Watched::decode(&daily, &watched.encode()).unwrap();
    assert_eq!(other.baseline, Some(Baseline::new(daily.baseline.as_ref().unwrap())));
    assert_eq!(other.sensor, watched.sensor);
}
