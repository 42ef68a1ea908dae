//! The part that stands in a machine's flow: whether the scanner is in use, and nothing else of it, goes to the room's flow.

use hilum_formats::calendar;
use hilum_plugin::state::{self, StateError};
use hilum_plugin::{Body, Draft, emit};
use serde_json::json;

use crate::settings::Scanner;
use crate::telemetry::{CONTENT_TYPE, Reading};
use crate::{MINUTE_MS, Tally};

/// The same is said again after so long, so that the room knows that the scanner is heard of.
const AGAIN_MS: u64 = MINUTE_MS;
/// The sensor's name in the room's flow.
pub(crate) const SENSOR: &str = "in-use";

pub(crate) fn pass_on(settings: &Scanner, readings: &[Reading], tally: &mut Tally) {
    let of_scanner =
        readings.iter().filter(|it| it.machine == settings.machine && it.sensor == settings.sensor);
    for reading in of_scanner {
        tally.readings += 1;
        let is_in_use = reading.value > settings.in_use_above;
        match is_news(is_in_use, reading.time_ms) {
            Ok(false) => {}
            Ok(true) => {
                match emit::emit(&settings.rooms_flow, record(settings, is_in_use, reading.time_ms)) {
                    Ok(()) => tally.passed_on += 1,
                    Err(error) => {
                        tally.trouble = Some(format!("the scanner's state was not passed on: {error}"));
                    }
                }
            }
            Err(error) => tally.trouble = Some(format!("the scanner's state is not kept: {error}")),
        }
    }
}

fn is_news(is_in_use: bool, time_ms: u64) -> Result<bool, StateError> {
    state::update("passed-on", |kept| {
        let before = kept.as_ref().and_then(|octets| {
            let (first, time) = octets.split_first()?;
            Some((*first == 1, u64::from_le_bytes(time.try_into().ok()?)))
        });
        let is_old = before.is_some_and(|(same, at_ms)| {
            time_ms < at_ms || (same == is_in_use && time_ms - at_ms < AGAIN_MS)
        });
        if !is_old {
            let octets = std::iter::once(u8::from(is_in_use)).chain(time_ms.to_le_bytes());
            *kept = Some(octets.collect());
        }
        !is_old
    })
}

fn record(settings: &Scanner, is_in_use: bool, time_ms: u64) -> Draft {
    let reading = json!({"sensor": SENSOR, "time": calendar::format(time_ms), "value": u8::from(is_in_use)});
    let document = json!({"machine": settings.machine, "readings": [reading]});
    Draft::new(CONTENT_TYPE, Body::Inline(document.to_string().into_bytes()))
}
