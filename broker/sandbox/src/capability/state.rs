//! `state`: what a call reads and writes is kept beside the call, and handed to the broker as one change if the call ends
//! well. So a call that trapped and is tried again has done nothing yet.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::state::{self as raw, StateError, Versioned};
use crate::limits::{STATE_CHANGES_MAX, STATE_KEY_OCTETS_MAX, STATE_VALUE_OCTETS_MAX};
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
        place.services.state_get(&place.flow, &place.stage, key).map_err(|error| match error {
            services::StateError::Conflict => StateError::Conflict,
            services::StateError::Full => StateError::Full,
            services::StateError::Service(error) => StateError::Other(self.fault(error)),
        })
    }

    fn change(&mut self, key: String, value: Option<Vec<u8>>, expected: u64) -> Result<u64, StateError> {
        let before = self.current(&key)?.map_or(0, |found| found.version);
        if before != expected {
            return Err(StateError::Conflict);
        }
        if !self.call.state.contains_key(&key) && self.call.state.len() >= STATE_CHANGES_MAX {
            return Err(StateError::Full);
        }
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
        let found = self.current(&key);
        Ok(found.map(|found| found.map(|found| Versioned { value: found.value, version: found.version })))
    }

    fn put(&mut self, key: String, value: Vec<u8>, expected: u64) -> Result<Result<u64, StateError>> {
        if value.len() > STATE_VALUE_OCTETS_MAX {
            return Ok(Err(StateError::Other(format!(
                "a value has at most {STATE_VALUE_OCTETS_MAX} octets"
            ))));
        }
        Ok(self.change(key, Some(value), expected))
    }

    fn remove(&mut self, key: String, expected: u64) -> Result<Result<(), StateError>> {
        Ok(self.change(key, None, expected).map(drop))
    }
}
