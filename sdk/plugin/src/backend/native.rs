//! The host functions of a native build: everything goes to the thread's [`Host`](crate::testing::Host).

use crate::body::BodyError;
use crate::emit::EmitError;
use crate::keys::{BoundValue, KeyError};
use crate::log::Level;
use crate::observed::ObservedError;
use crate::record::Draft;
use crate::state::{StateError, Versioned};
use crate::testing::current;
use crate::timing::TimingError;
use crate::trace::Value;

/// A body in memory.
#[derive(Debug)]
pub(crate) struct Reader {
    octets: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(crate) fn new(octets: Vec<u8>) -> Self {
        Self { octets, at: 0 }
    }

    pub(crate) fn size(&self) -> u64 {
        self.octets.len() as u64
    }

    /// The whole body, however far it has been read.
    pub(crate) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    fn take(&mut self, n: u64) -> &[u8] {
        let left = self.octets.len() - self.at;
        let n = usize::try_from(n).map_or(left, |n| n.min(left));
        self.at += n;
        &self.octets[self.at - n..self.at]
    }

    #[expect(clippy::unnecessary_wraps, reason = "the sandbox's reader can fail")]
    pub(crate) fn read(&mut self, max: u32) -> Result<Vec<u8>, BodyError> {
        Ok(self.take(u64::from(max)).to_vec())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the sandbox's reader can fail")]
    pub(crate) fn skip(&mut self, n: u64) -> Result<u64, BodyError> {
        Ok(self.take(n).len() as u64)
    }
}

/// A body being written in memory.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

#[expect(clippy::unnecessary_wraps, reason = "the sandbox's writer can fail")]
impl Writer {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), BodyError> {
        self.0.extend_from_slice(octets);
        Ok(())
    }

    pub(crate) fn forward(&mut self, from: &mut Reader, n: u64) -> Result<u64, BodyError> {
        let moved = from.take(n);
        self.0.extend_from_slice(moved);
        Ok(moved.len() as u64)
    }

    pub(crate) fn finish(self) -> Result<Reader, BodyError> {
        Ok(Reader::new(self.0))
    }
}

pub(crate) fn log(level: Level, message: &str) {
    current(|host| host.log(level, message));
}

pub(crate) fn metrics_add(counter: &str, value: u64) {
    current(|host| host.add(counter, value));
}

pub(crate) fn metrics_sample(histogram: &str, value: f64) {
    current(|host| host.sample(histogram, value));
}

pub(crate) fn seal(recipients: &[String], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
    current(|host| host.seal(recipients, associated, plain))
}

pub(crate) fn open(key: &str, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
    current(|host| host.open(key, associated, sealed))
}

pub(crate) fn seal_body(
    recipients: &[String],
    associated: &[u8],
    mut plain: Reader,
) -> Result<Reader, KeyError> {
    seal(recipients, associated, plain.take(u64::MAX)).map(Reader::new)
}

pub(crate) fn seal_stream(
    recipients: &[String],
    associated: &[u8],
    plain: Reader,
) -> Result<Reader, KeyError> {
    seal_body(recipients, associated, plain)
}

pub(crate) fn seal_values(recipients: &[String], values: Vec<BoundValue>) -> Result<Vec<String>, KeyError> {
    current(|host| host.seal_values(recipients, values))
}

pub(crate) fn pseudonyms(key: &str, domain: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
    current(|host| host.pseudonyms(key, domain, values))
}

pub(crate) fn macs(key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
    current(|host| host.macs(key, values))
}

pub(crate) fn date_shifts(
    key: &str,
    domain: &str,
    values: &[Vec<u8>],
    max_days: u32,
) -> Result<Vec<i32>, KeyError> {
    current(|host| host.date_shifts(key, domain, values, max_days))
}

/// A span of the thread's host, by its number.
#[derive(Debug)]
pub(crate) struct Span(Option<usize>);

impl Span {
    pub(crate) fn new(name: &str) -> Self {
        Self(current(|host| host.begin_span(name)))
    }

    pub(crate) fn set(&mut self, name: &str, to: Value) {
        if let Some(number) = self.0 {
            current(|host| host.set_span(number, name, to));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(number) = self.0 {
            current(|host| host.end_span(number));
        }
    }
}

pub(crate) fn state_get(key: &str) -> Result<Option<Versioned>, StateError> {
    current(|host| Ok(host.state.get(key).cloned()))
}

pub(crate) fn state_put(key: &str, value: &[u8], expected: u64) -> Result<u64, StateError> {
    current(|host| host.put(key, value, expected))
}

pub(crate) fn state_remove(key: &str, expected: u64) -> Result<(), StateError> {
    current(|host| host.remove(key, expected))
}

pub(crate) fn observed_codes(key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, ObservedError> {
    current(|host| host.macs(key, values)).map_err(|error| match error {
        KeyError::NotGranted(name) => ObservedError::NotGranted(name),
        error => ObservedError::Other(error.to_string()),
    })
}

pub(crate) fn look_up(of: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, ObservedError> {
    current(|host| host.look_up(of, keys))
}

pub(crate) fn break_glass_reason() -> Option<String> {
    current(|host| host.break_glass_reason.clone())
}

pub(crate) fn set_time(message: u32, to: u64) -> Result<(), TimingError> {
    current(|host| host.set_time(message, to))
}

pub(crate) fn emit(flow: &str, made: Draft) -> Result<(), EmitError> {
    current(|host| host.emit(flow, made))
}

pub(crate) fn now() -> u64 {
    current(|host| host.now)
}

pub(crate) fn random(n: u32) -> Vec<u8> {
    current(|host| host.random(n))
}
