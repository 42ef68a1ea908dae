//! Curves against least squares, and the moments that are forecast against the truth.

use super::*;
use crate::simulate::Noise;

const MEMORY_DAYS: f64 = 7.0;

/// What is learned of readings at given days.
fn learned(readings: &[(f64, f64)]) -> (Trend, Curves) {
    let (mut trend, mut curves) = (Trend::default(), Curves::default());
    let mut last = readings[0].0;
    for &(day, value) in readings {
        trend.advance(day - last, MEMORY_DAYS);
        curves.advance(day - last, MEMORY_DAYS);
        let expected = trend.line(1e-9).map(|line| line.value);
        curves.add(trend.add(value, expected));
        last = day;
    }
    (trend, curves)
}

fn course(readings: &[(f64, f64)]) -> Course {
    let (trend, curves) = learned(readings);
    curves.course(&trend, MEMORY_DAYS, 1e-9).unwrap()
}

/// Half-hourly readings of a function of days, with white noise.
fn noisy(seed: u64, count: u32, deviation: f64, mut value: impl FnMut(f64) -> f64) -> Vec<(f64, f64)> {
    let mut noise = Noise::new(seed);
    let reading = |index: u32| {
        let day = f64::from(index) / 48.0;
        (day, value(day) + deviation * noise.normal())
    };
    (0..count).map(reading).collect()
}

fn holds(forecast: Forecast, truth: f64) -> bool {
    (forecast.days_earliest..=forecast.days_latest).contains(&truth)
}

/// Each curve is what weighted least squares gives of all readings at once.
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
    let course = course(&readings);
    assert_eq!(course.paths.len(), 25);
    for rate in [-0.25, 0.0, 0.5, 1.0, 2.0] {
        let path = course.paths.iter().find(|path| path.rate == rate / MEMORY_DAYS).unwrap();
        let weighted =
            || readings.iter().map(|(at, y)| (((at - day) / MEMORY_DAYS).exp(), path.time(at - day), *y));
        let sum = |f: &dyn Fn(f64, f64, f64) -> f64| weighted().map(|(w, t, y)| f(w, t, y)).sum::<f64>();
        let (s0, s1, s2) = (sum(&|w, _, _| w), sum(&|w, t, _| w * t), sum(&|w, t, _| w * t * t));
        let (sy, sty) = (sum(&|w, _, y| w * y), sum(&|w, t, y| w * t * y));
        let determinant = s0 * s2 - s1 * s1;
        let (value, slope) = ((s2 * sy - s1 * sty) / determinant, (s0 * sty - s1 * sy) / determinant);
        let squares = sum(&|w, t, y| w * (y - value - slope * t) * (y - value - slope * t));
        assert!((path.line.value - value).abs() < 1e-7, "{rate}: {} {value}", path.line.value);
        assert!((path.line.slope - slope).abs() < 1e-7, "{rate}: {} {slope}", path.line.slope);
        assert!((path.line.squares / squares - 1.0).abs() < 1e-6, "{rate}: {} {squares}", path.line.squares);
    }
}

#[test]
fn the_interval_holds_the_truth_as_often_as_it_says_where_it_is_straight() {
    let mut held = 0;
    for seed in 0..1000 {
        let course = course(&noisy(seed, 480, 0.3, |day| 78.0 - 0.6 * day));
        let forecast = course.forecast(Side::Below, 60.0);
        held += usize::from(holds(forecast, 30.0 - 479.0 / 48.0));
    }
    // 95 per cent, widened by the correlation that is estimated and by the curves that it may be.
    assert!((922..=995).contains(&held), "{held} of 1000");
}

/// Noise of a tenth or a hundredth of what is gone of the way, which is half; by e in days that no curve has, and as powers of time.
#[test]
fn the_interval_holds_the_truth_mostly_where_it_accelerates() {
    type Growth<'a> = &'a dyn Fn(f64) -> f64;
    let exponential = |days: f64| move |day: f64| ((day - 30.0) / days).exp();
    let power = |power: f64| move |day: f64| (day / 30.0).powf(power);
    // What grows, when it is due, and how far off the forecast may be on average: a weak bend is told from a line late.
    let growths: [(Growth<'_>, f64, f64); 8] = [
        (&exponential(3.5), 3.5 * 2.0f64.ln(), 0.25),
        (&exponential(4.0), 4.0 * 2.0f64.ln(), 0.25),
        (&exponential(6.0), 6.0 * 2.0f64.ln(), 0.25),
        (&exponential(9.0), 9.0 * 2.0f64.ln(), 0.25),
        (&exponential(20.0), 20.0 * 2.0f64.ln(), 0.25),
        (&exponential(40.0), 40.0 * 2.0f64.ln(), 1.0),
        (&power(2.0), 30.0 * (2.0f64.powf(1.0 / 2.0) - 1.0), 0.35),
        (&power(4.0), 30.0 * (2.0f64.powf(1.0 / 4.0) - 1.0), 0.35),
    ];
    for (growth, truth, off) in growths {
        for deviation in [0.05, 0.005] {
            let (mut held, mut error) = (0, 0.0);
            for seed in 0..200 {
                let readings = noisy(seed, 48 * 30, deviation, |day| 4.0 + 0.5 * growth(day));
                let forecast = course(&readings).forecast(Side::Above, 5.0);
                held += usize::from(holds(forecast, truth));
                error += (forecast.days - truth) / truth / 200.0;
            }
            assert!(held >= 180, "{held} of 200, where it is due in {truth} days");
            assert!(error.abs() < off, "{error} off, where it is due in {truth} days");
        }
    }
}

#[test]
fn shapes_are_named_where_readings_tell() {
    let shape = |deviation: f64, value: fn(f64) -> f64| {
        course(&noisy(1, 48 * 20, deviation, value)).forecast(Side::Above, 100.0).shape
    };
    assert_eq!(shape(0.1, |day| 20.0 + day), Shape::Line);
    assert_eq!(shape(0.1, |day| 20.0 + (day / 5.0).exp()), Shape::Accelerating);
    assert_eq!(shape(0.1, |day| 60.0 - 40.0 * (-day / 20.0).exp()), Shape::Slowing);
    assert_eq!(shape(5.0, |day| 20.0 + 0.1 * day), Shape::Unclear);
}

/// What comes to rest before the threshold may never cross it.
#[test]
fn what_slows_down_may_never_come() {
    let readings = noisy(1, 48 * 20, 0.05, |day| 60.0 - 40.0 * (-day / 20.0).exp());
    let forecast = course(&readings).forecast(Side::Above, 100.0);
    assert_eq!((forecast.days, forecast.days_latest), (DAYS_MAX, DAYS_MAX));
}

#[test]
fn intervals_are_in_order_and_bounded_whatever_comes() {
    for seed in 0..300 {
        let mut noise = Noise::new(seed);
        let (slope, bend, scale) = (noise.normal(), noise.normal(), (20.0 * noise.normal()).exp());
        let count = 5 + u32::try_from(seed).unwrap();
        let mut wander = 0.0;
        let mut readings = noisy(seed, count, 0.1, |day| slope * day + bend * day * day);
        for (day, value) in &mut readings {
            wander += 0.1 * noise.normal();
            *value = scale * (*value + wander);
            // Long pauses, and readings at one time.
            *day = if seed % 3 == 0 { (*day * 1000.0).floor() } else { *day };
        }
        let (trend, curves) = learned(&readings);
        let Some(course) = curves.course(&trend, MEMORY_DAYS, 1e-9) else { continue };
        let sum: f64 = course.paths.iter().map(|path| path.weight).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{seed}: {course:?}");
        for side in Side::ALL {
            for threshold in [-1e15, -scale, 0.0, scale, 1e15] {
                let Forecast { days, days_earliest, days_latest, .. } = course.forecast(side, threshold);
                let all = [0.0, days_earliest, days, days_latest, DAYS_MAX];
                assert!(all.is_sorted() && all.iter().all(|days| days.is_finite()), "{seed}: {all:?}");
            }
        }
    }
}

#[test]
fn after_a_very_long_pause_nothing_is_left_and_nothing_breaks() {
    let (mut trend, mut curves) = learned(&noisy(1, 480, 0.05, |day| 78.0 - 0.6 * day));
    trend.advance(1e9, MEMORY_DAYS);
    curves.advance(1e9, MEMORY_DAYS);
    curves.add(trend.add(50.0, None));
    assert!(curves.course(&trend, MEMORY_DAYS, 1e-9).is_none());
    assert!(curves.numbers().all(|number| number.is_finite()));
}

/// Table 26.1 of Abramowitz and Stegun.
#[test]
fn the_normal_distribution_is_that_of_the_tables() {
    for (x, expected) in
        [(0.0, 0.5), (1.0, 0.841_344_746), (1.96, 0.975_002_105), (-3.0, 0.001_349_898), (-40.0, 0.0)]
    {
        assert!((normal(x) - expected).abs() < 1e-7, "{x}");
    }
}
