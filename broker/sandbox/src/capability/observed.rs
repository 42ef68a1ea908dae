//! `observed`: what observing stages of other flows keep. It is read and never written, and it is what counts: nothing of a call under way.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::keys::{Host as _, KeyError};
use super::bindings::hilum::plugin::observed::{self as raw, ObservedError};
use crate::grants::{Grant, stage_of};
use crate::limits::{OBSERVED_KEYS_MAX, STATE_KEY_OCTETS_MAX};

impl raw::Host for Host {
    fn codes(&mut self, key: String, values: Vec<Vec<u8>>) -> Result<Result<Vec<Vec<u8>>, ObservedError>> {
        Ok(self.mac(key, values)?.map_err(|error| match error {
            KeyError::NotGranted(name) => ObservedError::NotGranted(name),
            KeyError::NoValidKey(name) => ObservedError::Other(format!("`{name}` has no secret")),
            KeyError::Malformed => ObservedError::Malformed,
            KeyError::Other(what) => ObservedError::Other(what),
        }))
    }

    fn look_up(
        &mut self,
        of: String,
        keys: Vec<String>,
    ) -> Result<Result<Vec<Option<Vec<u8>>>, ObservedError>> {
        self.call.enter(of.len() + keys.iter().map(String::len).sum::<usize>())?;
        let granted = stage_of(&of)
            .filter(|(flow, stage)| self.place.grants.has(&Grant::Observed(flow.clone(), stage.clone())));
        let Some((flow, stage)) = granted else { return Ok(Err(ObservedError::NotGranted(of))) };
        let fits = |key: &String| (1..=STATE_KEY_OCTETS_MAX).contains(&key.len());
        if !(1..=OBSERVED_KEYS_MAX).contains(&keys.len()) || !keys.iter().all(fits) {
            return Ok(Err(ObservedError::Malformed));
        }
        // A failure is told to the plugin, which has to deny: an emergency may still be let through without what is kept.
        let found = match self.place.services.observed(&flow, &stage, &keys) {
            Ok(found) => found,
            Err(error) => return Ok(Err(ObservedError::Other(error.to_string()))),
        };
        self.call.charge(found.iter().flatten().map(bytes::Bytes::len).sum())?;
        Ok(Ok(found.into_iter().map(|value| value.map(|octets| octets.to_vec())).collect()))
    }
}
