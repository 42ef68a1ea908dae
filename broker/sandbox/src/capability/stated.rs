//! `stated`: what the reader of a call's records stated when it began to read.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::stated;

impl stated::Host for Host {
    fn break_glass_reason(&mut self) -> Result<Option<String>> {
        self.call.enter(0)?;
        let reason = self.break_glass.clone().map(String::from);
        self.call.charge(reason.as_ref().map_or(0, String::len))?;
        Ok(reason)
    }
}
