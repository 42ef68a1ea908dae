//! `timing`: the time of the records that a call makes.

use hilum_core::Timestamp;
use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::timing::{self, TimingError};

/// The last millisecond of the year 9999, beyond which no text of a date is read.
const TIME_MAX: Timestamp = Timestamp(253_402_300_799_999);

impl timing::Host for Host {
    fn set_time(&mut self, message: u32, to: u64) -> Result<std::result::Result<(), TimingError>> {
        self.call.enter(0)?;
        let message = message as usize;
        if message >= self.messages {
            return Ok(Err(TimingError::NoSuchMessage));
        }
        if Timestamp(to) > TIME_MAX {
            return Ok(Err(TimingError::OutOfRange));
        }
        self.call.times.insert(message, Timestamp(to));
        Ok(Ok(()))
    }
}
