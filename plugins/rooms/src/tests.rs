//! Days of a room, from its readings to what is told of them.

use hilum_plugin::Config;
use hilum_plugin::testing::{self, Emitted, context, message, with};
use serde_json::{Value, json};

use super::*;

/// 2026-11-02 00:00 UTC.
const DAY: u64 = 20_759 * DAY_MS;

fn configured(config: Value) -> Result<RoomUse, ConfigError> {
    fn settings<C: Config>(config: Value) -> C {
        serde_json::from_value(config).unwrap()
    }
    RoomUse::configure(settings(config))
}

fn config() -> Value {
    json!({"part": "room", "reports_flow": "use", "rooms": [{
        "name": "room-1", "scanner": "mri-1", "motion": ["motion"], "people": ["staff", "patients"],
        "door": ["door"], "co2": ["co2"], "light": ["light"]}]})
}

/// A reading at a minute of the day. Each goes to a fresh instance: nothing may depend on an instance's own memory.
fn show(minute: u64, machine: &str, sensor: &str, value: f64) {
    let time = DAY + minute * MINUTE_MS;
    let body = json!({"machine": machine, "sensor": sensor, "time": time, "value": value});
    let mut record = message(TELEMETRY_CONTENT_TYPE, body.to_string());
    record.head.time = time;
    configured(config()).unwrap().observe(&context(), vec![record]);
}

fn tick(minute: u64) {
    configured(config()).unwrap().tick(DAY + minute * MINUTE_MS);
}

fn told() -> Vec<(String, Value)> {
    let emitted: Vec<Emitted> = with(|host| std::mem::take(&mut host.emitted));
    let read = |emitted: &Emitted| {
        assert_eq!(emitted.flow, "use");
        (emitted.content_type.clone(), serde_json::from_slice(&emitted.body).unwrap())
    };
    emitted.iter().map(read).collect()
}

/// States as they are told: `10:15 in-use`.
fn states(told: &[(String, Value)]) -> Vec<String> {
    let states = told.iter().filter(|(kind, _)| kind == STATE_CONTENT_TYPE);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    states.map(|(_, state)| format!("{} {}", &text(&state["from"])[11..16], text(&state["state"]))).collect()
}

fn alerts(told: &[(String, Value)]) -> Vec<String> {
    let alerts = told.iter().filter(|(kind, _)| kind == ALERT_CONTENT_TYPE);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    alerts.map(|(_, alert)| format!("{} {}", text(&alert["status"]), text(&alert["cause"]))).collect()
}

/// An examination of 30 minutes that begins at a minute, with people before and 20 minutes after it.
fn examination(minute: u64) {
    show(minute - 10, "room-1", "staff", 1.0);
    for at in (minute..minute + 30).step_by(3) {
        show(at, "mri-1", "in-use", 1.0);
        // Between two sequences.
        show(at + 2, "mri-1", "in-use", 0.0);
    }
    show(minute + 30, "mri-1", "in-use", 0.0);
    show(minute + 40, "room-1", "motion", 1.0);
    show(minute + 41, "room-1", "motion", 0.0);
    show(minute + 50, "room-1", "staff", 0.0);
}

#[test]
fn a_day_has_its_states_and_what_is_told_is_coarse() {
    show(0, "room-1", "motion", 0.0);
    for minute in (10..1440).step_by(10) {
        match minute {
            490 | 730 | 850 => examination(minute + 10),
            _ if (490..560).contains(&minute)
                || (730..800).contains(&minute)
                || (850..920).contains(&minute) => {}
            _ => show(minute, "room-1", "temperature", 21.0),
        }
    }
    tick(1440);
    let told = told();
    let first: Vec<String> = states(&told).into_iter().take(6).collect();
    assert_eq!(
        first,
        [
            "00:00 empty",
            "08:15 in-use",
            "09:00 turnaround",
            "09:15 empty",
            "12:15 in-use",
            "13:00 turnaround"
        ],
        "{:?}",
        states(&told)
    );
    let (_, day) = told.iter().find(|(kind, _)| kind == DAY_CONTENT_TYPE).unwrap();
    assert_eq!((&day["day"], &day["uses"]), (&"2026-11-02".into(), &3.into()));
    let minutes = |state: &str| day["minutes"][state].as_u64().unwrap_or_default();
    assert!((90..=120).contains(&minutes("in-use")), "{day}");
    assert!((60..=90).contains(&minutes("turnaround")), "{day}");
    assert_eq!(day["hours"][8]["in-use"], 30);
    assert_eq!(day["turnaround_minutes"], 25);
    assert!(day["utilisation"].as_f64().unwrap() <= 0.1);
    for (_, document) in &told {
        let text = document.to_string();
        assert!(!text.contains("staff") && !text.contains("patients") && !text.contains("motion"), "{text}");
    }
    let times = told.iter().filter_map(|(_, document)| document["from"].as_str());
    assert!(times.into_iter().all(|time| ["00", "15", "30", "45"].contains(&&time[14..16])));
}

#[test]
fn a_single_use_is_not_told_of() {
    show(0, "room-1", "motion", 0.0);
    (10..470).step_by(10).for_each(|minute| show(minute, "room-1", "temperature", 21.0));
    examination(490);
    (560..1440).step_by(10).for_each(|minute| show(minute, "room-1", "temperature", 21.0));
    tick(1440);
    let told = told();
    let (_, day) = told.iter().find(|(kind, _)| kind == DAY_CONTENT_TYPE).unwrap();
    for key in ["uses", "hours", "turnaround_minutes"] {
        assert!(day[key].is_null(), "{day}");
    }
    assert!(day["minutes"].as_object().unwrap().values().all(|minutes| minutes.as_u64().unwrap() % 60 == 0));
}

#[test]
fn a_door_that_stays_open_while_the_scanner_measures_is_one_alert() {
    show(600, "mri-1", "in-use", 1.0);
    show(601, "room-1", "door", 1.0);
    show(601, "room-1", "door", 0.0);
    show(602, "room-1", "door", 1.0);
    assert_eq!(alerts(&told()), Vec::<String>::new(), "somebody went through");
    tick(603);
    tick(604);
    show(605, "room-1", "door", 0.0);
    show(605, "room-1", "door", 1.0);
    tick(606);
    assert_eq!(alerts(&told()), ["raised door-open-during-acquisition"]);
    show(607, "room-1", "door", 0.0);
    tick(610);
    assert_eq!(alerts(&told()), ["cleared door-open-during-acquisition"]);
    show(611, "mri-1", "in-use", 0.0);
    show(611, "room-1", "door", 1.0);
    tick(620);
    assert_eq!(alerts(&told()), Vec::<String>::new(), "the scanner does not measure");
}

#[test]
fn somebody_at_night_is_an_alert_and_an_examination_is_none() {
    show(60, "mri-1", "in-use", 1.0);
    show(60, "room-1", "staff", 1.0);
    (61..90).for_each(|minute| show(minute, "mri-1", "in-use", 1.0));
    assert_eq!(alerts(&told()), Vec::<String>::new());
    show(90, "mri-1", "in-use", 0.0);
    show(90, "room-1", "staff", 0.0);
    (91..130).for_each(tick);
    let after = told();
    assert_eq!(alerts(&after), Vec::<String>::new(), "they left: {after:?}");
    show(150, "room-1", "motion", 1.0);
    (151..165).for_each(tick);
    assert_eq!(alerts(&told()), ["raised occupied-at-night"]);
    show(166, "room-1", "motion", 0.0);
    (167..200).for_each(|minute| show(minute, "room-1", "temperature", 20.0));
    assert_eq!(alerts(&told()), ["cleared occupied-at-night"]);
}

#[test]
fn silence_is_no_empty_room() {
    show(600, "room-1", "people", 0.0);
    show(600, "room-1", "motion", 0.0);
    tick(720);
    assert_eq!(states(&told()), ["10:00 empty", "10:30 unknown"]);
    // Far later it begins anew, and does not run through all the minutes.
    tick(600 + 100 * 1440);
    tick(u64::MAX / MINUTE_MS - DAY / MINUTE_MS - 1);
    assert!(states(&told()).len() <= 1);
}

#[test]
fn a_clock_that_is_ahead_stops_a_room_for_no_longer_than_a_moment() {
    tick(600);
    show(600, "mri-1", "in-use", 1.0);
    show(601, "room-1", "door", 1.0);
    tick(602);
    assert_eq!(alerts(&told()), ["raised door-open-during-acquisition"]);
    // A sensor of next week, and one that is a little ahead.
    let mut all = Vec::new();
    for (minute, ahead) in [(603, 7 * 1440), (603, 30)] {
        show(minute + ahead, "room-1", "temperature", 21.0);
        tick(minute);
        all.extend(told());
    }
    show(604, "mri-1", "in-use", 1.0);
    show(605, "room-1", "door", 0.0);
    tick(640);
    all.extend(told());
    assert_eq!(alerts(&all), ["cleared door-open-during-acquisition"]);
    show(641, "room-1", "door", 1.0);
    tick(643);
    assert_eq!(alerts(&told()), ["raised door-open-during-acquisition"], "it is followed as before");
}

#[test]
fn the_scanner_s_flow_gives_nothing_but_its_state() {
    let settings = json!({"part": "scanner", "rooms_flow": "use", "machine": "mri-1", "sensor": "gradient", "in_use_above": 10});
    for (second, sensor, value) in [
        (0, "gradient", 50.0),
        (10, "gradient", 60.0),
        (20, "helium-level", 87.2),
        (30, "gradient", 1.0),
        (100, "gradient", 2.0),
    ] {
        let time = DAY + second * 1000;
        let body = json!({"machine": "mri-1", "sensor": sensor, "time": time, "value": value});
        let mut record = message(TELEMETRY_CONTENT_TYPE, body.to_string());
        record.head.time = time;
        configured(settings.clone()).unwrap().observe(&context(), vec![record]);
    }
    let told = told();
    let values: Vec<f64> =
        told.iter().map(|(_, document)| document["readings"][0]["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [1.0, 0.0, 0.0], "at a change, and once a minute");
    assert!(told.iter().all(|(_, document)| document["readings"][0]["sensor"] == "in-use"));
}

#[test]
fn nothing_that_comes_makes_it_stumble() {
    let bad = [
        String::new(),
        "{".into(),
        "[".repeat(100_000),
        json!({"machine": "", "readings": []}).to_string(),
        json!({"machine": "room-1", "readings": [{"sensor": "x".repeat(65), "value": 1}]}).to_string(),
        json!({"machine": "room-1", "sensor": "motion", "value": "1"}).to_string(),
        json!({"machine": "room-1", "sensor": "motion", "value": 1, "readings": []}).to_string(),
    ];
    let count = bad.len() as u64;
    let bad = bad.into_iter().map(|body| message(TELEMETRY_CONTENT_TYPE, body)).collect();
    configured(config()).unwrap().observe(&context(), bad);
    for time in [0, 1, u64::MAX] {
        let body = json!({"machine": "room-1", "readings": [
            {"sensor": "motion", "value": 1e308, "time": time}, {"sensor": "door", "value": -1e308}, {"sensor": "wave"}]});
        let mut record = message(TELEMETRY_CONTENT_TYPE, body.to_string());
        record.head.time = time;
        configured(config()).unwrap().observe(&context(), vec![record]);
    }
    with(|host| host.state.get_mut("room/room-1").unwrap().value = b"nonsense".to_vec());
    show(1, "room-1", "motion", 1.0);
    let host = testing::take();
    assert_eq!(host.counters["malformed"], count);
    assert!(host.state.len() == 1 && host.state["room/room-1"].value.len() < 8192);
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_name() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    assert!(jsonschema::is_valid(&schema, &config()));
    for (at, value) in [
        ("coarse_minutes", json!(5)),
        ("least_count", json!(1)),
        ("utc_offset_minutes", json!(7)),
        ("night", json!([22, 25])),
        ("absent_minutes", json!(0)),
        ("rooms", json!([])),
    ] {
        let mut other = config();
        other[at] = value;
        assert!(!jsonschema::is_valid(&schema, &other), "{at}");
        let refused = configured(other).unwrap_err().to_string();
        assert!(refused.contains(&format!("/{at}")), "{refused}");
    }
    let mut blind = config();
    blind["rooms"] = json!([{"name": "room-1", "door": ["door"]}]);
    assert!(configured(blind).unwrap_err().to_string().contains("somebody is there"));
}
