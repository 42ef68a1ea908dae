//! `time` and `random`.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::{random, time};
use crate::limits::RANDOM_OCTETS_MAX;

impl time::Host for Host {
    fn now(&mut self) -> Result<u64> {
        self.call.enter(0)?;
        Ok(self.place.services.now().0)
    }
}

impl random::Host for Host {
    fn octets(&mut self, n: u32) -> Result<Vec<u8>> {
        let n = n.min(RANDOM_OCTETS_MAX) as usize;
        self.call.enter(n)?;
        let mut octets = vec![0; n];
        self.place.services.random(&mut octets);
        Ok(octets)
    }
}
