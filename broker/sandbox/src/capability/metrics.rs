//! `metrics`. A name that is not one is dropped: a plugin must not smuggle values into names.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::metrics;
use crate::limits::METRIC_NAME_OCTETS_MAX;

impl metrics::Host for Host {
    fn add(&mut self, counter: String, value: u64) -> Result<()> {
        if is_name(&counter) {
            let place = &self.place;
            place.services.count(&place.flow, &place.stage, &counter, value);
        }
        Ok(())
    }

    fn sample(&mut self, histogram: String, value: f64) -> Result<()> {
        if is_name(&histogram) && value.is_finite() {
            let place = &self.place;
            place.services.sample(&place.flow, &place.stage, &histogram, value);
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.');
    (1..=METRIC_NAME_OCTETS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}
