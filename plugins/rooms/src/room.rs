//! One room: what its sensors showed last, which state that makes it, and how long it was in each.

use serde::{Deserialize, Serialize};

use crate::settings::{RoomConfig, Rooms};
use crate::telemetry::Reading;
use crate::{DAY_MS, HOUR_MS, MINUTE_MS};

/// A pause that is longer than this begins a room anew.
const PAUSE_MS_MAX: u64 = 3 * DAY_MS;
/// A room that is further ahead of the broker's clock than this begins anew.
const AHEAD_MS_MAX: u64 = HOUR_MS;
/// With light somebody who sits still is believed to be there for so many times as long.
const LIGHT_FACTOR: u64 = 3;
/// How long a cause of an alert has to be away until the alert is cleared.
const DOOR_CALM_MS: u64 = MINUTE_MS;
const NIGHT_CALM_MS: u64 = 10 * MINUTE_MS;

/// What a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// The scanner measures, or pauses for a moment.
    InUse,
    /// After a use, until everybody is gone or the next use begins: cleaning and preparing.
    Turnaround,
    /// Somebody is there, and it is neither of the two.
    Occupied,
    /// Nobody is there.
    Empty,
    /// Nothing was heard.
    Unknown,
}

/// How many there are.
pub(crate) const STATES: usize = 5;

impl State {
    pub(crate) const ALL: [Self; STATES] =
        [Self::InUse, Self::Turnaround, Self::Occupied, Self::Empty, Self::Unknown];
}

/// Milliseconds in each state.
pub(crate) type Shares = [u64; STATES];

/// What there is to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// What a room was for most of an interval that begins there.
    State { from_ms: u64, state: State },
    /// How a day was.
    Day(Box<Day>),
    /// Something dangerous or out of place, or its end.
    Alert { cause: &'static str, is_raised: bool, time_ms: u64 },
}

/// A day of the hospital's time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Day {
    /// Since 1970.
    pub(crate) day: u64,
    pub(crate) hours: [Shares; 24],
    pub(crate) uses: u32,
    pub(crate) turnarounds: u32,
    pub(crate) turnaround_ms: u64,
}

/// A cause of an alert.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Cause {
    is_raised: bool,
    /// Since when it is there, or is not there, whichever is the case.
    is_there: bool,
    since_ms: u64,
}

impl Cause {
    /// The same where a room begins anew: what was raised is cleared when it has been calm from then on.
    fn anew(&self, now_ms: u64) -> Self {
        Self { is_raised: self.is_raised, is_there: false, since_ms: now_ms }
    }

    /// Looks at it; whether an alert is raised or cleared.
    fn look(&mut self, is_there: bool, now_ms: u64, raise_ms: u64, calm_ms: u64) -> Option<bool> {
        if is_there != self.is_there {
            (self.is_there, self.since_ms) = (is_there, now_ms);
        }
        let wait_ms = if is_there { raise_ms } else { calm_ms };
        if is_there == self.is_raised || now_ms.saturating_sub(self.since_ms) < wait_ms {
            return None;
        }
        self.is_raised = is_there;
        Some(is_there)
    }
}

/// What is kept of a room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Room {
    /// How far time has passed.
    now_ms: u64,
    heard_ms: u64,
    /// Sensors that show somebody now, doors that are open, lights that are on: names of the configuration.
    signs: Vec<String>,
    doors: Vec<String>,
    lights: Vec<String>,
    /// When there was the last sign of somebody.
    present_ms: u64,
    is_scanning: bool,
    scanner_heard_ms: u64,
    scanned_ms: u64,
    used_ms: u64,
    state: Option<State>,
    state_since_ms: u64,
    told: Option<State>,
    interval: Shares,
    day: Day,
    door: Cause,
    night: Cause,
}

impl Room {
    /// Takes a reading in, after time has passed until then.
    pub(crate) fn hear(
        &mut self,
        settings: &Rooms,
        config: &RoomConfig,
        reading: &Reading,
        told: &mut Vec<Told>,
    ) {
        let time_ms = reading.time_ms.max(self.now_ms);
        self.pass(settings, config, time_ms, told);
        self.heard_ms = time_ms;
        let (sensor, value) = (&reading.sensor, reading.value);
        if config.is_scanner(reading) {
            if self.is_scanning || value > 0.0 {
                self.scanned_ms = time_ms;
            }
            (self.is_scanning, self.scanner_heard_ms) = (value > 0.0, time_ms);
        }
        if reading.machine == config.name {
            if config.door.contains(sensor) {
                switch(&mut self.doors, sensor, value > 0.0);
            }
            if config.light.contains(sensor) {
                switch(&mut self.lights, sensor, value > config.light_above);
            }
            let counts = config.motion.contains(sensor) || config.people.contains(sensor);
            let is_co2 = config.co2.contains(sensor);
            if counts || is_co2 {
                let is_sign = if is_co2 { value > config.co2_above } else { value > 0.0 };
                if is_sign || self.signs.contains(sensor) {
                    self.present_ms = time_ms;
                }
                switch(&mut self.signs, sensor, is_sign);
            }
        }
        self.look(settings, told);
    }

    /// Follows the broker's clock. A sensor whose own clock is far ahead would otherwise keep the room from being followed until then.
    pub(crate) fn tick(&mut self, settings: &Rooms, config: &RoomConfig, now_ms: u64, told: &mut Vec<Told>) {
        if self.now_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            self.begin(settings, now_ms);
        }
        self.pass(settings, config, now_ms, told);
    }

    /// Forgets everything but which alerts stand.
    fn begin(&mut self, settings: &Rooms, now_ms: u64) {
        let (door, night) = (self.door.anew(now_ms), self.night.anew(now_ms));
        *self = Self { now_ms, state_since_ms: now_ms, door, night, ..Self::default() };
        self.day.day = settings.local_ms(now_ms) / DAY_MS;
    }

    /// Lets time pass, minute by minute, with what the sensors showed last.
    pub(crate) fn pass(&mut self, settings: &Rooms, config: &RoomConfig, to_ms: u64, told: &mut Vec<Told>) {
        if to_ms.saturating_sub(self.now_ms) > PAUSE_MS_MAX {
            self.begin(settings, to_ms);
        }
        while self.now_ms < to_ms {
            let next_ms = ((self.now_ms / MINUTE_MS + 1) * MINUTE_MS).min(to_ms);
            self.enter(self.state(settings, config));
            let state = self.state.unwrap_or(State::Unknown) as usize;
            let hour = settings.local_ms(self.now_ms) / HOUR_MS % 24;
            let passed_ms = next_ms - self.now_ms;
            self.interval[state] += passed_ms;
            if let Some(shares) = usize::try_from(hour).ok().and_then(|hour| self.day.hours.get_mut(hour)) {
                shares[state] += passed_ms;
            }
            self.now_ms = next_ms;
            self.end(settings, told);
            self.look(settings, told);
        }
    }

    /// Which state it is in, from what is known now.
    fn state(&self, settings: &Rooms, config: &RoomConfig) -> State {
        let since = |ms: u64| if ms == 0 { u64::MAX } else { self.now_ms.saturating_sub(ms) };
        let silent_ms = settings.silent_minutes * MINUTE_MS;
        if since(self.heard_ms) > silent_ms {
            return State::Unknown;
        }
        let is_heard = config.scanner.is_some() && since(self.scanner_heard_ms) <= silent_ms;
        let pauses = since(self.scanned_ms) < settings.pause_minutes * MINUTE_MS;
        if is_heard && (self.is_scanning || pauses) {
            return State::InUse;
        }
        match self.is_present(settings) {
            true if since(self.used_ms) <= settings.turnaround_minutes * MINUTE_MS => State::Turnaround,
            true => State::Occupied,
            false => State::Empty,
        }
    }

    fn is_present(&self, settings: &Rooms) -> bool {
        let factor = if self.lights.is_empty() { 1 } else { LIGHT_FACTOR };
        let absent_ms = settings.absent_minutes * MINUTE_MS * factor;
        let was = self.present_ms > 0 && self.now_ms.saturating_sub(self.present_ms) < absent_ms;
        was || !self.signs.is_empty()
    }

    /// Notes another state.
    fn enter(&mut self, state: State) {
        if self.state == Some(state) {
            return;
        }
        match self.state {
            Some(State::InUse) => {
                self.day.uses = self.day.uses.saturating_add(1);
                self.used_ms = self.now_ms;
            }
            // One that ends in silence is not known to have ended.
            Some(State::Turnaround) if state != State::Unknown => {
                self.day.turnarounds = self.day.turnarounds.saturating_add(1);
                self.day.turnaround_ms += self.now_ms.saturating_sub(self.state_since_ms);
                // Who comes later is no part of it.
                self.used_ms = 0;
            }
            _ => {}
        }
        (self.state, self.state_since_ms) = (Some(state), self.now_ms);
    }

    /// Ends an interval and a day that are over.
    fn end(&mut self, settings: &Rooms, told: &mut Vec<Told>) {
        let local_ms = settings.local_ms(self.now_ms);
        let coarse_ms = settings.coarse_minutes * MINUTE_MS;
        if local_ms.is_multiple_of(coarse_ms) {
            let most = (0..STATES).max_by_key(|state| self.interval[*state]);
            let state = most.map_or(State::Unknown, |most| State::ALL[most]);
            if self.told != Some(state) && self.interval.iter().any(|ms| *ms > 0) {
                told.push(Told::State { from_ms: self.now_ms.saturating_sub(coarse_ms), state });
                self.told = Some(state);
            }
            self.interval = Shares::default();
        }
        let today = local_ms / DAY_MS;
        if today != self.day.day {
            let next = Day { day: today, ..Day::default() };
            told.push(Told::Day(Box::new(std::mem::replace(&mut self.day, next))));
        }
    }

    /// Looks at the causes of alerts.
    fn look(&mut self, settings: &Rooms, told: &mut Vec<Told>) {
        let now_ms = self.now_ms;
        let door = self.is_scanning && !self.doors.is_empty();
        // Who prepares or cleans after an examination at night is not out of place.
        let is_used = matches!(self.state, Some(State::InUse | State::Turnaround));
        let night = settings.is_night(now_ms) && !is_used && self.is_present(settings);
        let (door_ms, night_ms) = (settings.door_seconds * 1000, settings.night_minutes * MINUTE_MS);
        for (cause, changed) in [
            ("door-open-during-acquisition", self.door.look(door, now_ms, door_ms, DOOR_CALM_MS)),
            ("occupied-at-night", self.night.look(night, now_ms, night_ms, NIGHT_CALM_MS)),
        ] {
            if let Some(is_raised) = changed {
                told.push(Told::Alert { cause, is_raised, time_ms: now_ms });
            }
        }
    }
}

/// Puts a sensor among those that are on, or takes it out.
fn switch(on: &mut Vec<String>, sensor: &str, is_on: bool) {
    match on.iter().position(|known| known == sensor) {
        Some(at) if !is_on => drop(on.swap_remove(at)),
        None if is_on => on.push(sensor.to_owned()),
        _ => {}
    }
}
