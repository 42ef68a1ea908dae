//! The plugin `rooms`: whatever comes, what is told is coarse and says nothing of who was there.

use std::cell::RefCell;

use hilum_plugin::Observe as _;
use hilum_plugin::testing::{self, Emitted};
use hilum_rooms::{
    ALERT_CONTENT_TYPE, DAY_CONTENT_TYPE, RoomUse, STATE_CONTENT_TYPE, TELEMETRY_CONTENT_TYPE,
};
use serde_json::{Value, json};

use crate::memory;
use crate::plugin::{count, emitted, observe, twice};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Octets of a room's state.
const VALUE_OCTETS_MAX: usize = 8 << 10;
const STATES: [&str; 5] = ["in-use", "turnaround", "occupied", "empty", "unknown"];
const LEAST_COUNT: u64 = 2;
const HOUR_MS: u64 = 3_600_000;

thread_local! {
    static SCANNER: RefCell<RoomUse> = RefCell::new(observe(&json!({"part": "scanner", "rooms_flow": "room",
        "machine": "mri-1", "sensor": "gradient", "in_use_above": 10})));
    static ROOM: RefCell<RoomUse> = RefCell::new(observe(&json!({"part": "room", "reports_flow": "use", "least_count": LEAST_COUNT,
        "absent_minutes": 1, "pause_minutes": 1, "rooms": [{
        "name": "room-1", "scanner": "mri-1", "motion": ["motion"], "people": ["staff", "patients"],
        "door": ["door"], "co2": ["co2"], "light": ["light"]}]})));
}

/// The first octet chooses the part; the others are a document.
pub fn check(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else { return };
    if choice % 2 == 0 {
        let [first, both] = SCANNER.with_borrow_mut(|plugin| twice(plugin, TELEMETRY_CONTENT_TYPE, body));
        let (passed, again) = (emitted(&first), emitted(&both));
        assert_eq!(passed.len() as u64, count(&first, "passed_on"));
        assert!(count(&first, "passed_on") <= count(&first, "readings"));
        let time = |document: &Value| document["readings"][0]["time"].clone();
        let more = again.iter().skip(passed.len());
        assert!(more.clone().all(|of| Some(time(of)) == passed.last().map(time)), "what is over is passed on again");
        passed.iter().for_each(is_a_state);
        return;
    }
    let [first, _] = ROOM.with_borrow_mut(|plugin| twice(plugin, TELEMETRY_CONTENT_TYPE, body));
    assert!(first.state.len() <= 1 && first.state.values().all(|kept| kept.value.len() <= VALUE_OCTETS_MAX));
    first.emitted.iter().for_each(is_coarse);
    // Half a day goes by after it, twelve hours at once.
    testing::with(|host| host.state = first.state.clone());
    let now = testing::head("").time;
    for hours in [0, 1, 12] {
        ROOM.with_borrow_mut(|plugin| plugin.tick(now + hours * HOUR_MS));
    }
    let later = testing::take();
    assert!(later.logs.is_empty(), "{:?}", later.logs);
    later.emitted.iter().for_each(is_coarse);
}

/// What is passed on of a machine: that it is in use, or is not.
fn is_a_state(document: &Value) {
    let reading = &document["readings"][0];
    assert_eq!((&document["machine"], &reading["sensor"]), (&json!("mri-1"), &json!("in-use")), "{document}");
    assert!(reading["value"] == 0 || reading["value"] == 1, "{document}");
    let members = |value: &Value| value.as_object().map(serde_json::Map::len);
    assert_eq!((members(document), members(reading)), (Some(2), Some(3)), "{document}");
}

fn is_coarse(told: &Emitted) {
    let document: Value = serde_json::from_slice(&told.body).expect("what is emitted is JSON");
    assert_eq!((told.key.as_deref(), &document["room"]), (Some("room-1"), &json!("room-1")));
    let members: Vec<&str> = document.as_object().expect("it is an object").keys().map(String::as_str).collect();
    let only = |names: &[&str]| assert!(members.iter().all(|name| names.contains(name)), "{document}");
    let multiple = |value: &Value, of: u64| value.as_u64().is_some_and(|value| value.is_multiple_of(of));
    match told.content_type.as_str() {
        STATE_CONTENT_TYPE => {
            only(&["room", "from", "to", "state"]);
            assert!(document["state"].as_str().is_some_and(|state| STATES.contains(&state)), "{document}");
            for name in ["from", "to"] {
                let minute = document[name].as_str().and_then(|time| time.get(14..19));
                let quarters = ["00:00", "15:00", "30:00", "45:00"];
                assert!(minute.is_some_and(|minute| quarters.contains(&minute)), "{document}");
            }
        }
        DAY_CONTENT_TYPE => {
            only(&["room", "day", "minutes", "utilisation", "uses", "hours", "turnaround_minutes"]);
            let is_told = !document["uses"].is_null();
            assert_eq!(is_told, !document["hours"].is_null(), "{document}");
            assert!(!is_told || document["uses"].as_u64().is_some_and(|uses| uses >= LEAST_COUNT), "{document}");
            let step = if is_told { 15 } else { 60 };
            let hours = document["hours"].as_array().into_iter().flatten();
            for shares in hours.clone().chain([&document["minutes"]]) {
                let shares = shares.as_object().expect("it is an object");
                assert!(shares.keys().all(|state| STATES.contains(&state.as_str())), "{document}");
                assert!(shares.values().all(|minutes| multiple(minutes, step)), "{document}");
            }
            let utilisation = document["utilisation"].as_f64().unwrap_or_default();
            let steps = utilisation * 20.0;
            assert!((0.0..=1.0).contains(&utilisation) && (steps - steps.round()).abs() < 1e-9, "{document}");
            let turnaround = &document["turnaround_minutes"];
            assert!(turnaround.is_null() || multiple(turnaround, 5), "{document}");
        }
        ALERT_CONTENT_TYPE => only(&["room", "status", "cause", "time"]),
        other => panic!("nobody reads {other}"),
    }
}

/// A day of three uses in one document, one sensor alone, times of all kinds, and readings of a machine.
pub fn seeds() -> Vec<Vec<u8>> {
    let now = testing::head("").time;
    let at = |minute: u64| now - 20 * HOUR_MS + minute * 60_000;
    let mut readings = Vec::new();
    for use_of in 0..3 {
        let begin = use_of * 120;
        readings.push(json!({"sensor": "staff", "time": at(begin), "value": 2}));
        for minute in begin..begin + 30 {
            let value = u8::from(minute < begin + 29);
            readings.push(json!({"sensor": "in-use", "time": at(minute), "value": value}));
        }
        readings.push(json!({"sensor": "door", "time": at(begin + 10), "value": 1}));
        readings.push(json!({"sensor": "door", "time": at(begin + 12), "value": 0}));
        readings.push(json!({"sensor": "staff", "time": at(begin + 50), "value": 0}));
        readings.push(json!({"sensor": "co2", "time": at(begin + 60), "value": 900.5}));
        readings.push(json!({"sensor": "light", "time": at(begin + 61), "value": 400}));
    }
    // One document is of one machine: here the room and its scanner have one name each.
    let of_room = json!({"machine": "room-1", "readings": readings});
    let of_scanner = json!({"machine": "mri-1", "readings": readings});
    let gradients: Vec<Value> = (0..20)
        .map(|second| json!({"sensor": "gradient", "time": now - 1_000_000 + second * 20_000, "value": second % 5 * 10}))
        .collect();
    let documents = [
        of_room,
        of_scanner,
        json!({"machine": "mri-1", "readings": gradients}),
        json!({"machine": "room-1", "sensor": "motion", "time": "2023-11-14T20:00:00.5+01:00", "value": 1}),
        json!({"machine": "room-1", "readings": [{"sensor": "motion", "value": 1e308}, {"sensor": "wave"}]}),
    ];
    let texts = documents.map(|document| document.to_string());
    texts.iter().flat_map(|text| (0..2).map(|choice| [&[choice][..], text.as_bytes()].concat())).collect()
}
