//! Waveforms that are known, and what is made of them.

use std::f64::consts::TAU;

use super::*;
use crate::simulate::Noise;

const RATE_HZ: f64 = 20_000.0;
const SAMPLES: usize = 16_384;

fn waveform(mut sample: impl FnMut(f64) -> f64) -> Waveform {
    #[expect(clippy::cast_possible_truncation, reason = "a sensor has no more digits")]
    let samples = (0..SAMPLES).map(|index| sample(index as f64 / RATE_HZ) as f32).collect();
    Waveform { rate_hz: RATE_HZ, shaft_hz: None, samples }
}

fn bearing() -> Waveforms {
    serde_json::from_value(serde_json::json!({
        "sensor": "b", "shaft_hz": 25, "bands_hz": [[900, 1100], [3000, 5000]],
        "bearing": {"outer": 3.245, "inner": 4.755, "ball": 2.556, "cage": 0.594},
    }))
    .unwrap()
}

fn of(numbers: &[(String, f64)], name: &str) -> f64 {
    numbers.iter().find(|(found, _)| found == name).unwrap().1
}

/// Blows at a rate, each ringing at 4 kHz for a millisecond or so, in noise.
fn blows(rate_hz: f64, strength: f64) -> Waveform {
    let mut noise = Noise::new(3);
    waveform(|time| {
        let since = (time * rate_hz).fract() / rate_hz;
        0.3 * noise.normal() + strength * (-since * 1500.0).exp() * (TAU * 4000.0 * since).sin()
    })
}

#[test]
fn a_sine_has_the_moments_of_a_sine() {
    let numbers = bearing().measure(&waveform(|time| 5.0 + 2.0 * (TAU * 1000.0 * time).sin()));
    // Mean 5 is not part of the vibration.
    assert!((of(&numbers, "rms") - 2.0f64.sqrt()).abs() < 1e-3, "{numbers:?}");
    assert!((of(&numbers, "crest") - 2.0f64.sqrt()).abs() < 1e-2, "{numbers:?}");
    assert!((of(&numbers, "kurtosis") - 1.5).abs() < 1e-2, "{numbers:?}");
    assert!((of(&numbers, "band-1") - 2.0f64.sqrt()).abs() < 2e-2, "{numbers:?}");
    assert!(of(&numbers, "band-2") < 0.01, "{numbers:?}");
}

#[test]
fn noise_is_no_damage() {
    let mut noise = Noise::new(9);
    let numbers = bearing().measure(&waveform(|_| noise.normal()));
    assert!((of(&numbers, "kurtosis") - 3.0).abs() < 0.2, "{numbers:?}");
    for name in ["outer", "inner", "ball", "cage"] {
        assert!(of(&numbers, name) < 3.0, "{numbers:?}");
    }
}

#[test]
fn blows_are_those_of_the_race_that_is_damaged() {
    for (damaged, order) in [("outer", 3.245), ("inner", 4.755)] {
        let numbers = bearing().measure(&blows(order * 25.0, 1.0));
        for name in ["outer", "inner"] {
            assert_eq!(of(&numbers, name) > 6.0, name == damaged, "{damaged}: {numbers:?}");
        }
    }
}

#[test]
fn the_speed_in_the_record_counts() {
    let slower = Waveform { shaft_hz: Some(9.0), ..blows(29.205, 2.0) };
    assert!(of(&bearing().measure(&slower), "outer") > 6.0);
    assert!(of(&bearing().measure(&blows(29.205, 2.0)), "outer") < 4.0);
}

#[test]
fn what_is_filtered_away_does_not_count() {
    let filtered = Waveforms { pass_hz: Some([500.0, 1500.0]), ..bearing() };
    let both = waveform(|time| (TAU * 1000.0 * time).sin() + 10.0 * (TAU * 4000.0 * time).sin());
    let numbers = filtered.measure(&both);
    assert!((of(&numbers, "rms") - 0.5f64.sqrt()).abs() < 1e-2, "{numbers:?}");
}

#[test]
fn too_little_says_nothing() {
    for samples in [0, 1, 255] {
        let short = Waveform { samples: vec![1.0; samples], ..blows(80.0, 1.0) };
        assert_eq!(bearing().measure(&short), []);
    }
    assert_eq!(bearing().measure(&waveform(|_| 0.5)), []);
    // At 300 samples a second nothing is known of thousands of hertz, but what is known is finite.
    let slow = Waveform { rate_hz: 300.0, ..blows(80.0, 1.0) };
    assert!(bearing().measure(&slow).iter().all(|(_, value)| value.is_finite()));
}
