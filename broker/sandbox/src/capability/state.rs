//! `state`: what a call reads and writes is kept beside the call, and handed to the broker as one change if the call ends
//! well. So a call that trapped and is tried again has done nothing yet.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::state::{self as raw, StateError, Versioned};
use crate::limits::{
    STATE_CHANGED_OCTETS_MAX, STATE_CHANGES_MAX, STATE_KEY_OCTETS_MAX, STATE_VALUE_OCTETS_MAX,
};
use crate::services;

/// One key that the call has changed.
pub(crate) struct Overlay {
    /// The version before the call; 0 for absence.
    expected: u64,
    /// The value now.
    now: Option<services::Versioned>,
    /// The highest version that the key has had.
    last: u64,
}

impl Overlay {
    /// What the broker has to do.
    pub(crate) fn into_change(self, key: String) -> services::StateChange {
        services::StateChange { key, expected: self.expected, to: self.now }
    }
}

/// What a stage keeps, as it will be when the call ends well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    keys: u64,
    octets: u64,
    /// Octets that the call has set, whether or not they are still there.
    set: u64,
}

impl Host {
    /// The value as the call sees it.
    fn current(&mut self, key: &str) -> Result<Option<services::Versioned>, StateError> {
        if !(1..=STATE_KEY_OCTETS_MAX).contains(&key.len()) {
            return Err(StateError::Other(format!("a key has 1 to {STATE_KEY_OCTETS_MAX} octets")));
        }
        if let Some(overlay) = self.call.state.get(key) {
            return Ok(overlay.now.clone());
        }
        let place = self.place.clone();
        place.services.state_get(&place.flow, &place.stage, key).map_err(|error| self.state_error(error))
    }

    fn state_error(&mut self, error: services::StateError) -> StateError {
        match error {
            services::StateError::Conflict => StateError::Conflict,
            services::StateError::Full => StateError::Full,
            services::StateError::Service(error) => StateError::Other(self.fault(error)),
        }
    }

    /// What the stage keeps when a value is changed. Less is always allowed: a limit may have become lower.
    fn counted(
        &mut self,
        key: &str,
        from: Option<&services::Versioned>,
        to: Option<&[u8]>,
    ) -> Result<Counted, StateError> {
        let counted = match self.call.state_usage {
            Some(counted) => counted,
            None => {
                let place = self.place.clone();
                let usage = place.services.state_usage(&place.flow, &place.stage);
                let usage = usage.map_err(|error| self.state_error(error))?;
                Counted { keys: usage.keys, octets: usage.octets, set: 0 }
            }
        };
        let octets = |value: &[u8]| (key.len() + value.len()) as u64;
        let (had, has) = (from.map_or(0, |from| octets(&from.value)), to.map_or(0, octets));
        let after = Counted {
            keys: (counted.keys + u64::from(to.is_some())).saturating_sub(u64::from(from.is_some())),
            octets: (counted.octets + has).saturating_sub(had),
            set: counted.set + has,
        };
        let limits = &self.place.limits;
        let is_full = (after.keys > counted.keys && after.keys > limits.state_keys)
            || (after.octets > counted.octets && after.octets > limits.state_octets)
            || after.set > STATE_CHANGED_OCTETS_MAX;
        if is_full { Err(StateError::Full) } else { Ok(after) }
    }

    fn change(&mut self, key: String, value: Option<Vec<u8>>, expected: u64) -> Result<u64, StateError> {
        let found = self.current(&key)?;
        let before = found.as_ref().map_or(0, |found| found.version);
        if before != expected {
            return Err(StateError::Conflict);
        }
        if !self.call.state.contains_key(&key) && self.call.state.len() >= STATE_CHANGES_MAX {
            return Err(StateError::Full);
        }
        let counted = self.counted(&key, found.as_ref(), value.as_deref())?;
        self.call.state_usage = Some(counted);
        let overlay =
            self.call.state.entry(key).or_insert(Overlay { expected: before, now: None, last: before });
        overlay.last += 1;
        let version = overlay.last;
        overlay.now = value.map(|value| services::Versioned { value, version });
        Ok(version)
    }
}

impl raw::Host for Host {
    fn get(&mut self, key: String) -> Result<Result<Option<Versioned>, StateError>> {
        self.call.enter(key.len())?;
        let found = self.current(&key);
        self.call.charge(found.as_ref().map_or(0, |of| of.as_ref().map_or(0, |of| of.value.len())))?;
        Ok(found.map(|found| found.map(|found| Versioned { value: found.value, version: found.version })))
    }

    fn put(&mut self, key: String, value: Vec<u8>, expected: u64) -> Result<Result<u64, StateError>> {
        self.call.enter(key.len() + value.len())?;
        if value.len() > STATE_VALUE_OCTETS_MAX {
            return Ok(Err(StateError::Other(format!(
                "a value has at most {STATE_VALUE_OCTETS_MAX} octets"
            ))));
        }
        Ok(self.change(key, Some(value), expected))
    }

    fn remove(&mut self, key: String, expected: u64) -> Result<Result<(), StateError>> {
        self.call.enter(key.len())?;
        Ok(self.change(key, None, expected).map(drop))
    }
}
