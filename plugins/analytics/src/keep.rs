//! Where sensors are kept between batches: the stage's keyed state, written by compare-and-set.

use std::fmt;

use hilum_plugin::state::{self, StateError};

use crate::settings::Watch;
use crate::watched::Watched;

/// The key of the number of sensors that are kept.
const COUNT: &str = "sensors";
/// Writes of others that are waited out.
const ATTEMPTS: usize = 4;

/// Why a sensor could not be kept. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeepError {
    /// As many sensors as the configuration allows are kept already.
    TooManySensors,
    /// The broker's state did not take it.
    State(StateError),
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManySensors => f.write_str("as many sensors are kept as `sensors_max` allows"),
            Self::State(error) => write!(f, "state: {error}"),
        }
    }
}

impl From<StateError> for KeepError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// A sensor that was changed and written, with what is needed to write it again.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    key: &'a str,
    version: u64,
    pub(crate) sensor: Watched,
}

impl Kept<'_> {
    /// Writes the sensor as it is now.
    pub(crate) fn write_again(&mut self) -> Result<(), KeepError> {
        self.version = state::put(self.key, &self.sensor.encode(), self.version)?;
        Ok(())
    }
}

/// Reads a sensor, changes it and writes it: once, or again from the start if another instance wrote in between.
pub(crate) fn update<'a, R>(
    key: &'a str,
    watch: &Watch,
    sensors_max: u32,
    mut change: impl FnMut(&mut Watched) -> R,
) -> Result<(Kept<'a>, R), KeepError> {
    let mut last = StateError::Conflict;
    for _ in 0..ATTEMPTS {
        let found = state::get(key)?;
        if found.is_none() {
            admit(sensors_max)?;
        }
        let version = found.as_ref().map_or(0, |found| found.version);
        let sensor = found.and_then(|found| Watched::decode(watch, &found.value));
        let mut sensor = sensor.unwrap_or_else(|| Watched::new(watch));
        let result = change(&mut sensor);
        match state::put(key, &sensor.encode(), version) {
            Ok(version) => return Ok((Kept { key, version, sensor }, result)),
            Err(StateError::Conflict) => last = StateError::Conflict,
            Err(other) => return Err(other.into()),
        }
    }
    Err(last.into())
}

/// Counts one more sensor, if that is allowed. Another instance that adds the same one at the same time counts it twice, which
/// only makes the limit a little narrower.
fn admit(sensors_max: u32) -> Result<(), KeepError> {
    for _ in 0..ATTEMPTS {
        let found = state::get(COUNT)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let count =
            found.and_then(|found| Some(u32::from_le_bytes(found.value.try_into().ok()?))).unwrap_or(0);
        if count >= sensors_max {
            return Err(KeepError::TooManySensors);
        }
        match state::put(COUNT, &(count + 1).to_le_bytes(), version) {
            Ok(_) => return Ok(()),
            Err(StateError::Conflict) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(StateError::Conflict.into())
}
