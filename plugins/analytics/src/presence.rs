//! When a sensor has gone silent. Silence comes with no record, so it is noticed when the broker tells the time.
//!
//! For each machine there is a record in state of when each sensor was heard of last, and for all of them a list of the machines. Both
//! are written only when something changes: times are kept to a tenth of what is waited for.

use hilum_plugin::state::{self, StateError};

use crate::octets::{Octets, Rest};
use crate::settings::{Settings, Watch};

/// The key of the list of machines.
const MACHINES: &str = "machines";
/// Octets of that list; a value of state has at most 64 KiB.
const MACHINES_OCTETS_MAX: usize = 60_000;
/// Further ahead of the broker's clock a time is not believed, or a sensor would not be missed until then.
const AHEAD_MS_MAX: u64 = 3_600_000;
/// Writes of others that are waited out.
const ATTEMPTS: usize = 4;

/// A sensor that has gone silent or was heard of again.
#[derive(Debug, Clone)]
pub(crate) struct Change<'a> {
    pub(crate) machine: String,
    pub(crate) watch: &'a Watch,
    pub(crate) is_raised: bool,
    /// Now, and when it was heard of before.
    pub(crate) time_ms: u64,
    pub(crate) last_ms: u64,
}

/// Why sensors of a machine are not watched for silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PresenceError {
    /// The list of machines is full.
    TooManyMachines,
    /// The broker's state did not take it.
    State(StateError),
}

impl std::fmt::Display for PresenceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyMachines => f.write_str("as many machines are kept as there is room for"),
            Self::State(error) => write!(f, "state: {error}"),
        }
    }
}

impl From<StateError> for PresenceError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Notes that sensors of a machine, which `key` names in state, were heard of; gives those that had been missing.
pub(crate) fn heard<'a>(key: &str, heard: &[(&'a Watch, u64)]) -> Result<Vec<Change<'a>>, PresenceError> {
    let heard: Vec<(&Watch, u64, f64)> =
        heard.iter().filter_map(|(watch, at_ms)| Some((*watch, *at_ms, watch.missing_ms()?))).collect();
    if heard.is_empty() {
        return Ok(Vec::new());
    }
    let found = state::get(key)?;
    if found.is_none() {
        admit(key)?;
    }
    let version = found.as_ref().map_or(0, |found| found.version);
    let mut sensors = found.map_or_else(Vec::new, |found| decode(&found.value));
    let (mut changes, mut is_changed) = (Vec::new(), false);
    for (watch, at_ms, missing_ms) in heard {
        let name = hash(&watch.sensor);
        let Some(sensor) = sensors.iter_mut().find(|sensor| sensor.name == name) else {
            sensors.push(Heard { name, last_ms: at_ms, is_missing: false });
            is_changed = true;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "a tenth of it is all that matters")]
        let is_due = at_ms.saturating_sub(sensor.last_ms) as f64 >= missing_ms / 10.0;
        if sensor.is_missing {
            let (machine, last_ms) = (machine(key).to_owned(), sensor.last_ms);
            changes.push(Change { machine, watch, is_raised: false, time_ms: at_ms, last_ms });
        }
        if is_due || sensor.is_missing {
            (sensor.last_ms, sensor.is_missing) = (at_ms.max(sensor.last_ms), false);
            is_changed = true;
        }
    }
    if is_changed {
        state::put(key, &encode(&sensors), version)?;
    }
    Ok(changes)
}

/// Gives the sensors that have gone silent since the last time, and remembers that `tell` told of them. One that it could not tell of
/// comes again.
pub(crate) fn silent<'a>(
    settings: &'a Settings,
    now_ms: u64,
    mut tell: impl FnMut(&Change<'a>) -> bool,
) -> Result<(), PresenceError> {
    let watches: Vec<(&Watch, u64, f64)> =
        settings.watch.iter().filter_map(|of| Some((of, hash(&of.sensor), of.missing_ms()?))).collect();
    if watches.is_empty() {
        return Ok(());
    }
    let Some(machines) = state::get(MACHINES)? else { return Ok(()) };
    for key in String::from_utf8_lossy(&machines.value).lines() {
        let Some(found) = state::get(key)? else { continue };
        let (mut sensors, mut is_changed) = (decode(&found.value), false);
        for sensor in sensors.iter_mut().filter(|sensor| !sensor.is_missing) {
            let watch = watches.iter().find(|(_, name, _)| *name == sensor.name);
            let Some((watch, _, missing_ms)) = watch else { continue };
            if sensor.last_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
                sensor.last_ms = now_ms;
                is_changed = true;
            }
            #[expect(clippy::cast_precision_loss, reason = "a tenth of it is all that matters")]
            let silence_ms = now_ms.saturating_sub(sensor.last_ms) as f64;
            // The time that is kept may be older by a tenth.
            if silence_ms < missing_ms * 1.1 {
                continue;
            }
            let machine = machine(key).to_owned();
            let last_ms = sensor.last_ms;
            if tell(&Change { machine, watch, is_raised: true, time_ms: now_ms, last_ms }) {
                sensor.is_missing = true;
                is_changed = true;
            }
        }
        if is_changed {
            state::put(key, &encode(&sensors), found.version)?;
        }
    }
    Ok(())
}

/// When a sensor was heard of last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    name: u64,
    last_ms: u64,
    is_missing: bool,
}

/// Adds a machine to the list.
fn admit(key: &str) -> Result<(), PresenceError> {
    for _ in 0..ATTEMPTS {
        let found = state::get(MACHINES)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let mut machines = found.map(|found| found.value).unwrap_or_default();
        if machines.split(|octet| *octet == b'\n').any(|known| known == key.as_bytes()) {
            return Ok(());
        }
        if machines.len() + key.len() >= MACHINES_OCTETS_MAX {
            return Err(PresenceError::TooManyMachines);
        }
        machines.extend(key.as_bytes());
        machines.push(b'\n');
        match state::put(MACHINES, &machines, version) {
            Ok(_) => return Ok(()),
            Err(StateError::Conflict) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(StateError::Conflict.into())
}

/// A machine's name, of the key `PUBLISHER/MACHINE`.
fn machine(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, machine)| machine)
}

fn hash(sensor: &str) -> u64 {
    crate::batch::fnv1a(sensor.as_bytes())
}

fn encode(sensors: &[Heard]) -> Vec<u8> {
    let mut octets = Octets::default();
    for Heard { name, last_ms, is_missing } in sensors {
        octets.some(&name.to_le_bytes());
        octets.some(&last_ms.to_le_bytes());
        octets.small(u8::from(*is_missing));
    }
    octets.into_vec()
}

/// What makes no sense is as if it had not been there.
fn decode(octets: &[u8]) -> Vec<Heard> {
    let mut rest = Rest(octets);
    let one = || {
        let name = u64::from_le_bytes(rest.some(8)?.try_into().ok()?);
        let last_ms = u64::from_le_bytes(rest.some(8)?.try_into().ok()?);
        Some(Heard { name, last_ms, is_missing: rest.small()? == 1 })
    };
    std::iter::from_fn(one).collect()
}
