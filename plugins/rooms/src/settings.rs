//! The configuration of a stage.

use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::scanner;
use crate::telemetry::Reading;

/// Rooms of one stage, and sensors of one kind in one room.
const ROOMS_MAX: usize = 64;
const SENSORS_MAX: usize = 16;

/// Configuration of a stage.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum Settings {
    /// In a machine's flow.
    Scanner(Scanner),
    /// In the room's flow.
    Room(Rooms),
}

/// Of the stage in a machine's flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scanner {
    /// The flow of the room's telemetry; the stage needs the grant `emit:FLOW`.
    pub rooms_flow: String,
    /// The scanner's name in telemetry, and the sensor that tells whether it is in use.
    pub machine: String,
    /// Such as gradient current, table, or a state of its own.
    pub sensor: String,
    /// It is in use when the sensor shows more than this.
    #[serde(default = "default_in_use_above")]
    pub in_use_above: f64,
}

/// Of the stage in the room's flow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rooms {
    /// Where reports and alerts go; the stage needs the grant `emit:FLOW`.
    pub reports_flow: String,
    /// The rooms.
    pub rooms: Vec<RoomConfig>,
    /// The hospital's time, for hours, days and nights.
    #[serde(default)]
    pub utc_offset_minutes: i32,
    /// What is told of states is of so long: 15, 30 or 60.
    #[serde(default = "default_coarse_minutes")]
    pub coarse_minutes: u64,
    /// Fewer uses or turnarounds of a day than this are not told.
    #[serde(default = "default_least_count")]
    pub least_count: u32,
    /// Without a sign of anybody for so long a room is empty.
    #[serde(default = "default_absent_minutes")]
    pub absent_minutes: u64,
    /// A pause of the scanner that is shorter than this belongs to its use.
    #[serde(default = "default_pause_minutes")]
    pub pause_minutes: u64,
    /// Who stays longer than this after a use is no part of a turnaround.
    #[serde(default = "default_turnaround_minutes")]
    pub turnaround_minutes: u64,
    /// Without any reading for so long it is not known what a room is.
    #[serde(default = "default_silent_minutes")]
    pub silent_minutes: u64,
    /// A door that is open for so long while the scanner measures is an alert.
    #[serde(default = "default_door_seconds")]
    pub door_seconds: u64,
    /// Hours of the day from and to which it is night.
    #[serde(default = "default_night")]
    pub night: [u8; 2],
    /// Somebody who is there at night for so long, without the scanner being in use, is an alert.
    #[serde(default = "default_night_minutes")]
    pub night_minutes: u64,
}

/// One room.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomConfig {
    /// Its name in telemetry.
    pub name: String,
    /// The name of its scanner, as the other part passes it on, or as it publishes here itself.
    #[serde(default)]
    pub scanner: Option<String>,
    /// The scanner's sensor.
    #[serde(default)]
    pub scanner_sensor: Option<String>,
    /// Sensors that show more than 0 when somebody moves.
    #[serde(default)]
    pub motion: Vec<String>,
    /// Sensors that count people.
    #[serde(default)]
    pub people: Vec<String>,
    /// Sensors that show more than 0 when a door is open.
    #[serde(default)]
    pub door: Vec<String>,
    /// Sensors of carbon dioxide, in ppm, and what is more than in an empty room.
    #[serde(default)]
    pub co2: Vec<String>,
    /// See there.
    #[serde(default = "default_co2_above")]
    pub co2_above: f64,
    /// Sensors of light, and what is more than in a dark room. Light alone is nobody: it keeps a room that is occupied so.
    #[serde(default)]
    pub light: Vec<String>,
    /// See there.
    #[serde(default = "default_light_above")]
    pub light_above: f64,
}

fn default_in_use_above() -> f64 {
    0.5
}
fn default_coarse_minutes() -> u64 {
    15
}
fn default_least_count() -> u32 {
    3
}
fn default_absent_minutes() -> u64 {
    10
}
fn default_pause_minutes() -> u64 {
    5
}
fn default_turnaround_minutes() -> u64 {
    45
}
fn default_silent_minutes() -> u64 {
    30
}
fn default_door_seconds() -> u64 {
    30
}
fn default_night() -> [u8; 2] {
    [22, 5]
}
fn default_night_minutes() -> u64 {
    10
}
fn default_co2_above() -> f64 {
    700.0
}
fn default_light_above() -> f64 {
    50.0
}

impl RoomConfig {
    /// Whether a reading is of this room or of its scanner.
    pub(crate) fn is_of(&self, reading: &Reading) -> bool {
        reading.machine == self.name || self.is_scanner(reading)
    }

    pub(crate) fn is_scanner(&self, reading: &Reading) -> bool {
        let sensor = self.scanner_sensor.as_deref().unwrap_or(scanner::SENSOR);
        self.scanner.as_deref() == Some(reading.machine.as_str()) && reading.sensor == sensor
    }
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Scanner(Scanner { rooms_flow, machine, sensor, in_use_above }) => {
                for (at, text) in [("/rooms_flow", rooms_flow), ("/machine", machine), ("/sensor", sensor)] {
                    if text.is_empty() {
                        return Err(ConfigError::new(at, "must not be empty"));
                    }
                }
                if !in_use_above.is_finite() {
                    return Err(ConfigError::new("/in_use_above", "give a number"));
                }
                Ok(())
            }
            Self::Room(rooms) => rooms.check(),
        }
    }
}

impl Rooms {
    fn check(&self) -> Result<(), ConfigError> {
        if self.reports_flow.is_empty() {
            return Err(ConfigError::new("/reports_flow", "name the flow that reports go to"));
        }
        if ![15, 30, 60].contains(&self.coarse_minutes) {
            return Err(ConfigError::new("/coarse_minutes", "give 15, 30 or 60"));
        }
        if self.utc_offset_minutes.abs() > 14 * 60 || self.utc_offset_minutes % 15 != 0 {
            return Err(ConfigError::new("/utc_offset_minutes", "give -840 to 840, in quarters of an hour"));
        }
        if self.least_count < 2 {
            return Err(ConfigError::new("/least_count", "one alone would be told of: give 2 at least"));
        }
        for (at, minutes) in [
            ("/absent_minutes", self.absent_minutes),
            ("/pause_minutes", self.pause_minutes),
            ("/turnaround_minutes", self.turnaround_minutes),
            ("/silent_minutes", self.silent_minutes),
            ("/night_minutes", self.night_minutes),
            ("/door_seconds", self.door_seconds),
        ] {
            if !(1..=1440).contains(&minutes) {
                return Err(ConfigError::new(at, "give 1 to 1440"));
            }
        }
        if self.night.iter().any(|hour| *hour > 24) {
            return Err(ConfigError::new("/night", "give two hours of the day, from 0 to 24"));
        }
        if self.rooms.is_empty() || self.rooms.len() > ROOMS_MAX {
            return Err(ConfigError::new("/rooms", format!("follow 1 to {ROOMS_MAX} rooms")));
        }
        for (index, room) in self.rooms.iter().enumerate() {
            let at = format!("/rooms/{index}");
            if !(1..=64).contains(&room.name.len()) {
                return Err(ConfigError::new(format!("{at}/name"), "give 1 to 64 characters"));
            }
            if self.rooms[..index].iter().any(|other| other.name == room.name) {
                return Err(ConfigError::new(format!("{at}/name"), "this room is followed already"));
            }
            let kinds = [&room.motion, &room.people, &room.door, &room.co2, &room.light];
            if kinds.iter().any(|sensors| sensors.len() > SENSORS_MAX) {
                return Err(ConfigError::new(at, format!("name up to {SENSORS_MAX} sensors of each kind")));
            }
            if room.motion.is_empty() && room.people.is_empty() && room.co2.is_empty() {
                return Err(ConfigError::new(at, "name sensors by which it is seen that somebody is there"));
            }
            if !room.co2_above.is_finite() || !room.light_above.is_finite() {
                return Err(ConfigError::new(at, "thresholds are numbers"));
            }
        }
        Ok(())
    }

    /// Milliseconds of the hospital's own clock.
    pub(crate) fn local_ms(&self, time_ms: u64) -> u64 {
        time_ms.saturating_add_signed(i64::from(self.utc_offset_minutes) * 60_000)
    }

    pub(crate) fn is_night(&self, time_ms: u64) -> bool {
        let hour = self.local_ms(time_ms) / crate::HOUR_MS % 24;
        let [from, to] = self.night.map(u64::from);
        if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to }
    }
}
