//! What is told of a room: coarse in time, without numbers of people, and without numbers that are so small that they are somebody.

use hilum_formats::calendar;
use hilum_plugin::{Attribute, Body, Draft};
use serde_json::{Map, Value, json};

use crate::room::{Day, STATES, Shares, State, Told};
use crate::settings::{RoomConfig, Rooms};
use crate::{DAY_MS, MINUTE_MS};

/// Media types of reports and alerts.
pub const STATE_CONTENT_TYPE: &str = "application/vnd.hilum.room-state+json";
/// See there.
pub const DAY_CONTENT_TYPE: &str = "application/vnd.hilum.room-day+json";
/// See there.
pub const ALERT_CONTENT_TYPE: &str = "application/vnd.hilum.room-alert+json";

/// Minutes that a mean turnaround is rounded to.
const TURNAROUND_STEP: u64 = 5;

pub(crate) fn draft(settings: &Rooms, config: &RoomConfig, told: &Told) -> Draft {
    let room = config.name.as_str();
    match told {
        Told::State { from_ms, state } => {
            let (from, to) = (*from_ms, from_ms + settings.coarse_minutes * MINUTE_MS);
            let (from, to) = (calendar::format(from), calendar::format(to));
            record(
                STATE_CONTENT_TYPE,
                room,
                &[],
                &json!({"room": room, "from": from, "to": to, "state": state}),
            )
        }
        Told::Day(day) => record(DAY_CONTENT_TYPE, room, &[], &of_day(settings, room, day)),
        Told::Alert { cause, is_raised, time_ms } => {
            let status = if *is_raised { "raised" } else { "cleared" };
            let time = calendar::format(time_ms / MINUTE_MS * MINUTE_MS);
            let document = json!({"room": room, "status": status, "cause": cause, "time": time});
            record(ALERT_CONTENT_TYPE, room, &[("status", status), ("cause", cause)], &document)
        }
    }
}

fn record(content_type: &str, room: &str, attributes: &[(&str, &str)], document: &Value) -> Draft {
    let body = Body::Inline(document.to_string().into_bytes());
    let mut draft = Draft::new(content_type, body).key(room);
    draft.attributes = attributes.iter().map(|(name, value)| Attribute::new(*name, *value)).collect();
    draft
}

/// A day: how long the room was what, in whole steps; by the hour only where there were enough uses that none is anybody's.
fn of_day(settings: &Rooms, room: &str, day: &Day) -> Value {
    let date: String = calendar::format(day.day * DAY_MS).chars().take(10).collect();
    let mut whole = Shares::default();
    day.hours.iter().for_each(|hour| (0..STATES).for_each(|state| whole[state] += hour[state]));
    let step = settings.coarse_minutes;
    let is_told = day.uses >= settings.least_count;
    let mut document = json!({
        "room": room,
        "day": date,
        "minutes": minutes(&whole, if is_told { step } else { 60 }),
    });
    let known_ms: u64 = whole.iter().sum::<u64>() - whole[State::Unknown as usize];
    if known_ms > 0 {
        let share = whole[State::InUse as usize] as f64 / known_ms as f64;
        document["utilisation"] = json!((share * 20.0).round() / 20.0);
    }
    if is_told {
        document["uses"] = json!(day.uses);
        document["hours"] = day.hours.iter().map(|hour| minutes(hour, step)).collect();
    }
    if day.turnarounds >= settings.least_count {
        let mean = day.turnaround_ms / u64::from(day.turnarounds) / MINUTE_MS;
        document["turnaround_minutes"] = json!(rounded(mean, TURNAROUND_STEP));
    }
    document
}

/// Minutes of each state, where they are not nothing.
fn minutes(shares: &Shares, step: u64) -> Value {
    let minutes = State::ALL.iter().filter_map(|state| {
        let minutes = rounded(shares[*state as usize] / MINUTE_MS, step);
        let name = serde_json::to_value(state).ok()?;
        (minutes > 0).then(|| (name.as_str().unwrap_or_default().to_owned(), json!(minutes)))
    });
    Value::Object(minutes.collect::<Map<String, Value>>())
}

fn rounded(minutes: u64, step: u64) -> u64 {
    (minutes + step / 2) / step * step
}
