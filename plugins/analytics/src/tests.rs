//! The plugin on telemetry, with its state and what it emits.

use hilum_formats::calendar;
use hilum_plugin::testing::{self, context, large_message, message, with};
use hilum_plugin::{Config, Context};
use serde_json::{Value, json};

use super::*;

fn configured(config: Value) -> Result<Analytics, ConfigError> {
    fn settings<C: Config>(config: Value) -> C {
        serde_json::from_value(config).unwrap()
    }
    Analytics::configure(settings(config))
}

fn analytics() -> Analytics {
    configured(json!({
        "alerts_flow": "maintenance",
        "watch": [
            {"sensor": "helium-level", "unit": "%", "below": 60, "horizon_days": 20},
            {"sensor": "vibration", "above": 2, "confirm": 1},
        ],
    }))
    .unwrap()
}

fn telemetry(body: &Value) -> Message {
    message(TELEMETRY_CONTENT_TYPE, body.to_string())
}

fn reading(sensor: &str, value: f64) -> Message {
    telemetry(&json!({"machine": "mri-1", "sensor": sensor, "unit": "%", "value": value}))
}

/// Ten days of a leak of 0.6 per cent a day, half-hourly, up to the time of [`testing::head`].
fn leak(from: f64) -> Vec<Message> {
    let end_ms = testing::head("").time;
    let message = |index: u64| {
        let time = end_ms - (479 - index) * 1_800_000;
        let ripple = if index.is_multiple_of(2) { 0.03 } else { -0.03 };
        let value = from - 0.6 * index as f64 / 48.0 + ripple;
        let helium = json!({"sensor": "helium-level", "unit": "%", "time": time, "value": value});
        let cold = json!({"sensor": "cold-head-temperature", "unit": "K", "time": time, "value": 4.2});
        telemetry(&json!({"machine": "mri-1", "readings": [helium, cold]}))
    };
    (0..480).map(message).collect()
}

/// Each batch goes to a fresh instance: nothing may depend on an instance's own memory.
fn observe(messages: Vec<Message>, batch: usize) {
    let mut messages = messages.into_iter().peekable();
    while messages.peek().is_some() {
        let batch = messages.by_ref().take(batch).collect();
        analytics().observe(&context(), batch);
    }
}

#[test]
fn a_leak_becomes_one_maintenance_record_whatever_the_batches() {
    for batch in [1, 7, 64, 480] {
        observe(leak(72.0), batch);
        let host = testing::take();
        let [emitted] = &host.emitted[..] else {
            panic!("{} records in batches of {batch}", host.emitted.len())
        };
        assert_eq!(emitted.flow, "maintenance");
        assert_eq!(emitted.content_type, MAINTENANCE_CONTENT_TYPE);
        assert_eq!(emitted.key.as_deref(), Some("mri-1/helium-level"));
        let record: Value = serde_json::from_slice(&emitted.body).unwrap();
        assert_eq!(record["status"], "forecast");
        assert_eq!(record["machine"], "mri-1");
        assert_eq!(record["unit"], "%");
        assert_eq!(record["limit"], json!({"side": "below", "threshold": 60.0, "statistic": "value"}));
        assert!((record["trend_per_day"].as_f64().unwrap() + 0.6).abs() < 0.05, "{record}");
        let expected = &record["expected"];
        let days = |name: &str| expected[name].as_f64().unwrap();
        assert!(days("days_earliest") < days("days") && days("days") < days("days_latest"), "{record}");
        let (at, time) = (expected["at"].as_str().unwrap(), record["time"].as_str().unwrap());
        let ahead_ms = calendar::parse(at).unwrap() - calendar::parse(time).unwrap();
        assert!((ahead_ms as f64 / 86_400_000.0 - days("days")).abs() < 0.001);
        assert_eq!(
            (host.counters["readings"], host.counters["unwatched"], host.counters["alerts"]),
            (480, 480, 1)
        );
        assert!(host.logs.is_empty(), "{:?}", host.logs);
    }
}

#[test]
fn malformed_records_are_counted_and_skipped() {
    let messages = vec![
        message(TELEMETRY_CONTENT_TYPE, "{"),
        message(TELEMETRY_CONTENT_TYPE, vec![0xff; 100]),
        message("application/dicom", "not telemetry at all"),
        large_message(TELEMETRY_CONTENT_TYPE, vec![b' '; (1 << 20) + 1]),
        telemetry(&json!({"machine": "mri-1", "readings": [
            {"sensor": "vibration", "value": 1e300},
            {"sensor": "vibration", "value": 1, "time": "2999-01-01T00:00:00Z"},
            {"sensor": "vibration", "value": 1}]})),
    ];
    observe(messages, 10);
    let host = testing::take();
    assert_eq!((host.counters["malformed"], host.counters["readings"]), (5, 1));
    assert!(host.emitted.is_empty() && host.logs.is_empty());
}

#[test]
fn readings_in_another_unit_are_not_compared() {
    observe(vec![telemetry(&json!({"machine": "m", "sensor": "helium-level", "unit": "l", "value": 1}))], 1);
    assert_eq!(testing::take().counters.get("unwatched"), Some(&1));
}

#[test]
fn a_publisher_cannot_disturb_the_machine_of_another() {
    let mut other = context();
    other.source.principal = "spiffe://st-marys/device/mri-2".into();
    analytics().observe(&context(), vec![reading("vibration", 1.0)]);
    analytics().observe(&other, vec![reading("vibration", 1.5)]);
    let keys: Vec<String> = testing::take().state.into_keys().filter(|key| key.contains('/')).collect();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| key.ends_with("/mri-1/vibration")), "{keys:?}");
}

#[test]
fn one_read_and_one_write_a_sensor_whatever_the_batch() {
    let many = (0..256).map(|_| reading("vibration", 1.0)).collect();
    observe(many, 256);
    with(|host| {
        let (_, kept) = host.state.iter().find(|(key, _)| key.ends_with("vibration")).unwrap();
        assert_eq!(kept.version, 1);
    });
}

#[test]
fn an_alert_that_cannot_be_emitted_comes_with_the_next_batch() {
    with(|host| host.denied.insert("maintenance".into()));
    observe(vec![reading("vibration", 3.0)], 1);
    with(|host| {
        assert!(host.emitted.is_empty());
        assert!(host.logs[0].1.contains("`maintenance` is not granted"), "{:?}", host.logs);
        host.denied.clear();
    });
    observe(vec![reading("vibration", 3.0), reading("vibration", 3.0)], 1);
    assert_eq!(testing::take().emitted.len(), 1);
}

#[test]
fn the_number_of_sensors_is_bounded() {
    let mut few =
        configured(json!({"alerts_flow": "m", "sensors_max": 2, "watch": [{"sensor": "s", "above": 2}]}));
    let few = few.as_mut().unwrap();
    for machine in ["a", "b", "c", "a"] {
        few.observe(&context(), vec![telemetry(&json!({"machine": machine, "sensor": "s", "value": 1}))]);
    }
    let host = testing::take();
    assert_eq!((host.counters["readings"], host.counters["unkept"]), (4, 1));
    assert_eq!(host.state.len(), 3, "two sensors and their number");
    assert!(host.logs[0].1.contains("sensors_max"));
}

#[test]
fn damaged_state_starts_anew() {
    observe(vec![reading("vibration", 1.0)], 1);
    with(|host| host.state.iter_mut().for_each(|(_, kept)| kept.value.truncate(3)));
    observe(vec![reading("vibration", 3.0)], 1);
    assert_eq!(testing::take().emitted.len(), 1);
}

#[test]
fn silence_is_told_once_and_so_is_its_end() {
    let mut plugin = configured(json!({"alerts_flow": "m", "watch": [
        {"sensor": "door", "missing_minutes": 10}, {"sensor": "heat", "above": 90, "missing_minutes": 1000}]}))
    .unwrap();
    let start = testing::head("").time;
    let say = |plugin: &mut Analytics, sensor: &str, minutes: u64| {
        let mut message = reading(sensor, 1.0);
        message.head.time = start + minutes * 60_000;
        plugin.observe(&context(), vec![message]);
    };
    say(&mut plugin, "door", 0);
    say(&mut plugin, "heat", 0);
    for minutes in 0..30 {
        plugin.tick(start + minutes * 60_000);
    }
    say(&mut plugin, "door", 30);
    for minutes in 30..35 {
        plugin.tick(start + minutes * 60_000);
    }
    let host = testing::take();
    assert!(host.logs.is_empty(), "{:?}", host.logs);
    let told: Vec<Value> =
        host.emitted.iter().map(|emitted| serde_json::from_slice(&emitted.body).unwrap()).collect();
    let of = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let statuses: Vec<_> =
        told.iter().map(|record| (of(record, "status"), of(record, "cause"), of(record, "time"))).collect();
    let at = |minutes: u64| calendar::format(start + minutes * 60_000);
    let missing = |status: &str, minutes| (status.to_owned(), "missing".to_owned(), at(minutes));
    assert_eq!(statuses, [missing("raised", 11), missing("cleared", 30)]);
    assert_eq!(of(&told[0], "last_heard"), at(0));
    assert_eq!(of(&told[0], "machine"), "mri-1");
}

#[test]
fn a_clock_that_is_a_year_ahead_does_not_hide_silence() {
    let mut plugin =
        configured(json!({"alerts_flow": "m", "watch": [{"sensor": "door", "missing_minutes": 10}]}))
            .unwrap();
    let now = testing::head("").time;
    let mut message = reading("door", 1.0);
    message.head.time = now + 31_536_000_000;
    plugin.observe(&context(), vec![message]);
    plugin.tick(now);
    assert!(with(|host| host.emitted.is_empty()));
    plugin.tick(now + 660_000);
    assert_eq!(testing::take().emitted.len(), 1);
}

#[test]
fn silence_that_could_not_be_told_is_told_later() {
    let mut plugin =
        configured(json!({"alerts_flow": "m", "watch": [{"sensor": "door", "missing_minutes": 10}]}))
            .unwrap();
    plugin.observe(&context(), vec![reading("door", 1.0)]);
    with(|host| host.denied.insert("m".into()));
    let late = testing::head("").time + 3_600_000;
    plugin.tick(late);
    with(|host| {
        assert!(host.emitted.is_empty());
        host.denied.clear();
    });
    plugin.tick(late);
    plugin.tick(late);
    assert_eq!(testing::take().emitted.len(), 1);
}

#[test]
fn a_waveform_becomes_readings_that_are_watched() {
    let mut plugin = configured(json!({
        "alerts_flow": "m",
        "waveforms": [{"sensor": "pump", "unit": "g", "shaft_hz": 25, "bearing": {"outer": 3.2, "inner": 4.8}}],
        "watch": [{"sensor": "pump.kurtosis", "above": 6, "confirm": 1}, {"sensor": "pump.outer", "baseline": {}}],
    }))
    .unwrap();
    let blow = |index: u32| if index.is_multiple_of(97) { 5.0 } else { f64::from(index % 7) / 7.0 };
    let samples: Vec<f64> = (0..2048).map(blow).collect();
    let waveform = json!({"rate_hz": 8000, "samples": samples});
    let with_unit = |unit: &str| {
        telemetry(&json!({"machine": "m", "sensor": "pump", "unit": unit, "waveform": waveform}))
    };
    plugin.observe(&context(), vec![with_unit("g"), with_unit("mm/s")]);
    let host = testing::take();
    let counters = &host.counters;
    assert_eq!((counters["waveforms"], counters["readings"], counters["unwatched"]), (1, 2, 1));
    assert_eq!(host.emitted.len(), 1);
    let record: Value = serde_json::from_slice(&host.emitted[0].body).unwrap();
    assert_eq!((&record["sensor"], &record["cause"]), (&json!("pump.kurtosis"), &json!("above")));
}

#[test]
fn what_is_not_normal_is_told_with_what_would_be() {
    let mut plugin =
        configured(json!({"alerts_flow": "m", "watch": [{"sensor": "s", "baseline": {}}]})).unwrap();
    let end = testing::head("").time;
    for index in 0..500u64 {
        let value = if index < 490 { 20.0 + (index % 5) as f64 / 10.0 } else { 30.0 };
        let time = end - (500 - index) * 600_000;
        plugin.observe(
            &context(),
            vec![telemetry(&json!({"machine": "m", "sensor": "s", "time": time, "value": value}))],
        );
    }
    let host = testing::take();
    assert_eq!(host.emitted.len(), 1);
    let record: Value = serde_json::from_slice(&host.emitted[0].body).unwrap();
    assert_eq!((&record["status"], &record["cause"]), (&json!("raised"), &json!("unusual")));
    assert_eq!(record["normal"]["side"], json!("above"));
    assert!((record["normal"]["value"].as_f64().unwrap() - 20.2).abs() < 0.1, "{record}");
}

#[test]
fn configuration_errors_say_where() {
    let at = |config: Value| configured(config).unwrap_err().at;
    let with_watch = |watch: Value| at(json!({"alerts_flow": "m", "watch": watch}));
    assert_eq!(at(json!({"alerts_flow": "", "watch": [{"sensor": "a", "below": 1}]})), "/alerts_flow");
    assert_eq!(with_watch(json!([])), "/watch");
    assert_eq!(with_watch(json!([{"sensor": "a b", "below": 1}])), "/watch/0/sensor");
    assert_eq!(with_watch(json!([{"sensor": "a"}])), "/watch/0");
    assert_eq!(with_watch(json!([{"sensor": "a", "below": 2, "above": 1}])), "/watch/0/below");
    assert_eq!(
        with_watch(json!([{"sensor": "a", "below": 2}, {"sensor": "a", "above": 3}])),
        "/watch/1/sensor"
    );
    assert_eq!(with_watch(json!([{"sensor": "a", "below": 2, "memory_days": 0}])), "/watch/0/memory_days");
    assert_eq!(with_watch(json!([{"sensor": "a", "below": 2, "hysteresis": -1}])), "/watch/0/hysteresis");
    assert_eq!(with_watch(json!([{"sensor": "a", "below": 2, "confirm": 0}])), "/watch/0/confirm");
    assert_eq!(with_watch(json!([{"sensor": "a", "possible": [2, 1]}])), "/watch/0/possible");
    assert_eq!(with_watch(json!([{"sensor": "a", "stuck_minutes": 0}])), "/watch/0/stuck_minutes");
    assert_eq!(with_watch(json!([{"sensor": "a", "missing_minutes": -1}])), "/watch/0/missing_minutes");
    assert_eq!(
        with_watch(json!([{"sensor": "a", "baseline": {"deviations": 0}}])),
        "/watch/0/baseline/deviations"
    );
    let with_waveforms = |waveforms: Value| {
        at(json!({"alerts_flow": "m", "watch": [{"sensor": "a", "below": 1}], "waveforms": waveforms}))
    };
    assert_eq!(with_waveforms(json!([{"sensor": "a b"}])), "/waveforms/0/sensor");
    assert_eq!(with_waveforms(json!([{"sensor": "a", "pass_hz": [2, 1]}])), "/waveforms/0/pass_hz");
    assert_eq!(with_waveforms(json!([{"sensor": "a"}, {"sensor": "a"}])), "/waveforms/1/sensor");
    assert_eq!(with_waveforms(json!([{"sensor": "a", "shaft_hz": 0}])), "/waveforms/0");
    let unknown = json!({"alerts_flow": "m", "watch": [{"sensor": "a", "below": 1, "under": 2}]});
    assert!(serde_json::from_value::<Settings>(unknown.clone()).is_err());
    assert!(!schema().is_valid(&unknown));
}

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&Analytics::describe(None).config_schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_readme_shows_a_configuration_and_a_document_that_work() {
    let readme = include_str!("../README.md");
    let mut examples = readme.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let example: Value = serde_json::from_str(examples.next().unwrap()).unwrap();
    schema().validate(&example).unwrap();
    let mut plugin = configured(example).unwrap();
    let document: Value = serde_json::from_str(examples.next().unwrap()).unwrap();
    let late = Context { flow: "device".into(), ..context() };
    let mut message = telemetry(&document);
    message.head.time = 1_800_000_000_000;
    plugin.observe(&late, vec![message]);
    let host = testing::take();
    assert_eq!((host.counters["readings"], host.counters.get("malformed")), (3, None));
}
