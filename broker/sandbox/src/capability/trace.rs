//! `trace`: spans of a plugin. A name that is not one, or that would be one too many, is dropped: a plugin must not smuggle
//! values into names.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::Host;
use super::bindings::hilum::plugin::trace::{self, HostSpan, Value};
use crate::limits::{SPAN_NAME_OCTETS_MAX, SPAN_NAMES_MAX};
use crate::trace::SpanValue;

/// A handle of a plugin. There is no span behind it where no record of its call is traced, or its name was not taken.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct GuestSpan {
    /// The call during which it was begun: after that it stands for nothing.
    call: u64,
    number: Option<u64>,
}

/// The names that a stage has used for spans and values.
#[derive(Default)]
pub(crate) struct Names(Mutex<BTreeSet<String>>);

impl Names {
    /// Whether this is a name, and among the first few.
    fn take(&self, name: &str) -> bool {
        if !is_name(name) {
            return false;
        }
        let mut names = self.0.lock();
        if !names.contains(name) && names.len() < SPAN_NAMES_MAX {
            names.insert(name.to_owned());
        }
        names.contains(name)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    (1..=SPAN_NAME_OCTETS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

impl trace::Host for Host {}

impl HostSpan for Host {
    fn new(&mut self, name: String) -> Result<Resource<GuestSpan>> {
        self.call.enter(name.len())?;
        let place = self.place.clone();
        let number = match &mut self.spans {
            Some(spans) if place.names.take(&name) => spans.begin(&*place.services, name),
            _ => None,
        };
        Ok(self.table.push(GuestSpan { call: self.calls, number })?)
    }

    fn set(&mut self, this: Resource<GuestSpan>, name: String, to: Value) -> Result<()> {
        self.call.enter(name.len())?;
        let GuestSpan { call, number } = *self.table.get(&this)?;
        let (Some(spans), Some(number)) = (&mut self.spans, number) else { return Ok(()) };
        let value = match to {
            Value::Count(count) => SpanValue::Count(count),
            Value::Measure(measure) if !measure.is_finite() => return Ok(()),
            Value::Measure(measure) => SpanValue::Measure(measure),
            Value::Flag(flag) => SpanValue::Flag(flag),
        };
        if call == self.calls && self.place.names.take(&name) {
            spans.set(number, name, value);
        }
        Ok(())
    }

    fn drop(&mut self, this: Resource<GuestSpan>) -> Result<()> {
        self.call.enter(0)?;
        let GuestSpan { call, number } = self.table.delete(this)?;
        if let (Some(spans), Some(number)) = (&mut self.spans, number.filter(|_| call == self.calls)) {
            spans.end(number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_a_few_names_of_plain_characters() {
        let names = Names::default();
        for name in ["", "DOE^JOHN", "a b", "ä", &"x".repeat(65)] {
            assert!(!names.take(name), "{name}");
        }
        for n in 0..SPAN_NAMES_MAX {
            assert!(names.take(&format!("step-{n}")));
        }
        assert!(!names.take("one-more"));
        assert!(names.take("step-0"), "those that were there stay");
    }
}
