//! `metrics`. A name that is not one is dropped: a plugin must not smuggle values into names. So is what is over the limits: how many
//! values a call adds, and how many names the stage has.

use std::collections::BTreeSet;

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::metrics;
use crate::limits::{Limit, METRIC_NAME_OCTETS_MAX};

/// The metrics that a stage has named.
#[derive(Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// Whether the stage may use this name: one of the first few.
    fn admit(&mut self, name: &str, max: usize) -> bool {
        if self.0.contains(name) {
            return true;
        }
        let fits = self.0.len() < max;
        if fits {
            self.0.insert(name.to_owned());
        }
        fits
    }
}

impl metrics::Host for Host {
    fn add(&mut self, counter: String, value: u64) -> Result<()> {
        if self.takes(&counter)? {
            let place = &self.place;
            place.services.count(&place.flow, &place.stage, &counter, value);
        }
        Ok(())
    }

    fn sample(&mut self, histogram: String, value: f64) -> Result<()> {
        if self.takes(&histogram)? && value.is_finite() {
            let place = &self.place;
            place.services.sample(&place.flow, &place.stage, &histogram, value);
        }
        Ok(())
    }
}

impl Host {
    fn takes(&mut self, name: &str) -> Result<bool> {
        self.call.enter(name.len())?;
        if !is_name(name) {
            return Ok(false);
        }
        let limits = &self.place.limits;
        self.call.metric_values += 1;
        if self.call.metric_values > limits.metric_values {
            self.call.cut(Limit::MetricValues, limits.metric_values);
            return Ok(false);
        }
        let takes = self.place.metrics.lock().admit(name, limits.metric_names);
        if !takes {
            self.call.cut(Limit::MetricNames, limits.metric_names as u64);
        }
        Ok(takes)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.');
    (1..=METRIC_NAME_OCTETS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}
