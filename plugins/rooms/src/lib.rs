//! Use of scanner rooms: whether they are in use, being turned around, occupied or empty, without following anybody.
//!
//! Two parts, each a stage of its own (`part` in the configuration):
//!
//! - *scanner* stands in the flow of a machine's telemetry and passes on one thing of it to the flow of the room's: whether it is in use;
//! - *room* stands in the flow of the room's telemetry. It reads motion, doors, carbon dioxide, light, counts of people and the
//!   scanner's state ([`telemetry`]), and follows each room through its states ([`room`]).
//!
//! What is told is coarse: the state that most of a quarter of an hour had, utilisation by the hour once a day, and numbers that are not small
//! ([`report`]). Only what is dangerous or out of place is told at once.

mod report;
mod room;
mod scanner;
mod settings;
mod telemetry;
#[cfg(test)]
mod tests;

use hilum_plugin::state::{self, StateError};
use hilum_plugin::{ConfigError, Context, Description, Draft, Message, Observe, emit, log, metrics};

pub use report::{ALERT_CONTENT_TYPE, DAY_CONTENT_TYPE, STATE_CONTENT_TYPE};
use room::{Room, Told};
pub use settings::Settings;
use settings::{RoomConfig, Rooms, Scanner};
pub use telemetry::CONTENT_TYPE as TELEMETRY_CONTENT_TYPE;
use telemetry::Reading;

pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DAY_MS: u64 = 86_400_000;

/// The plugin: one instance of many, without any memory of its own.
#[derive(Debug)]
pub enum RoomUse {
    /// In a machine's flow.
    Scanner(Scanner),
    /// In the room's flow.
    Room(Rooms),
}

impl Observe for RoomUse {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("rooms", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(TELEMETRY_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(match settings {
            Settings::Scanner(settings) => Self::Scanner(settings),
            Settings::Room(settings) => Self::Room(settings),
        })
    }

    fn observe(&mut self, _: &Context, messages: Vec<Message>) {
        let mut tally = Tally::default();
        let mut readings = Vec::new();
        for message in messages {
            match telemetry::read(message) {
                None => {}
                Some(Ok(found)) => readings.extend(found),
                Some(Err(())) => tally.malformed += 1,
            }
        }
        match self {
            Self::Scanner(settings) => scanner::pass_on(settings, &readings, &mut tally),
            Self::Room(settings) => {
                for config in &settings.rooms {
                    let of_room = readings.iter().filter(|reading| config.is_of(reading)).collect::<Vec<_>>();
                    if !of_room.is_empty() {
                        follow(settings, config, &of_room, None, &mut tally);
                    }
                }
            }
        }
        tally.report();
    }

    fn tick(&mut self, now: u64) {
        let Self::Room(settings) = self else { return };
        let mut tally = Tally::default();
        for config in &settings.rooms {
            follow(settings, config, &[], Some(now), &mut tally);
        }
        tally.report();
    }
}

hilum_plugin::export_observe!(RoomUse);

/// Takes readings into a room, lets time pass, and tells of what came of it.
fn follow(
    settings: &Rooms,
    config: &RoomConfig,
    readings: &[&Reading],
    now_ms: Option<u64>,
    tally: &mut Tally,
) {
    let followed = update(settings, config, readings, now_ms, tally);
    if let Err(error) = followed {
        tally.trouble = Some(format!("a room is not followed: {error}"));
    }
}

fn update(
    settings: &Rooms,
    config: &RoomConfig,
    readings: &[&Reading],
    now_ms: Option<u64>,
    tally: &mut Tally,
) -> Result<(), StateError> {
    let key = format!("room/{}", config.name);
    let found = state::get(&key)?;
    let version = found.as_ref().map_or(0, |found| found.version);
    let before: Option<Room> = found.and_then(|found| serde_json::from_slice(&found.value).ok());
    let is_unheard_of = before.is_none() && readings.is_empty();
    if is_unheard_of {
        return Ok(());
    }
    let mut room = before.clone().unwrap_or_default();
    let mut told = Vec::new();
    for reading in readings {
        tally.readings += 1;
        room.hear(settings, config, reading, &mut told);
    }
    if let Some(now_ms) = now_ms {
        room.tick(settings, config, now_ms, &mut told);
    }
    for one in told {
        tell(settings, report::draft(settings, config, &one), &one, tally);
    }
    if before.as_ref() != Some(&room) {
        let octets = serde_json::to_vec(&room).map_err(|error| StateError::Other(error.to_string()))?;
        state::put(&key, &octets, version)?;
    }
    Ok(())
}

fn tell(settings: &Rooms, draft: Draft, told: &Told, tally: &mut Tally) {
    match emit::emit(&settings.reports_flow, draft) {
        Ok(()) if matches!(told, Told::Alert { .. }) => tally.alerts += 1,
        Ok(()) => tally.reports += 1,
        Err(error) => tally.trouble = Some(format!("a report was not emitted: {error}")),
    }
}

/// What happened in a batch, for the metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    readings: u64,
    malformed: u64,
    alerts: u64,
    reports: u64,
    passed_on: u64,
    /// The last thing that an operator should see; one line a batch is enough.
    trouble: Option<String>,
}

impl Tally {
    fn report(&self) {
        for (counter, value) in [
            ("readings", self.readings),
            ("malformed", self.malformed),
            ("alerts", self.alerts),
            ("reports", self.reports),
            ("passed_on", self.passed_on),
        ] {
            if value > 0 {
                metrics::add(counter, value);
            }
        }
        if let Some(trouble) = &self.trouble {
            log::warn(trouble);
        }
    }
}
