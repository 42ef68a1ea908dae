//! The host functions of a component: imports of `hilum:plugin`.

use crate::body::BodyError;
use crate::emit::EmitError;
use crate::export::bindings::hilum::plugin as host;
use crate::keys::{BoundValue, KeyError};
use crate::log::Level;
use crate::observed::ObservedError;
use crate::record::Draft;
use crate::state::{StateError, Versioned};
use crate::timing::TimingError;
use crate::trace::Value;

/// A body that the host reads for us.
pub(crate) struct Reader(pub(crate) host::types::BodyReader);

impl Reader {
    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    pub(crate) fn read(&mut self, max: u32) -> Result<Vec<u8>, BodyError> {
        Ok(self.0.read(max)?)
    }

    pub(crate) fn skip(&mut self, n: u64) -> Result<u64, BodyError> {
        Ok(self.0.skip(n)?)
    }
}

/// A body that the host writes for us.
pub(crate) struct Writer(host::types::BodyWriter);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(host::types::BodyWriter::new())
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), BodyError> {
        Ok(self.0.write(octets)?)
    }

    pub(crate) fn forward(&mut self, from: &mut Reader, n: u64) -> Result<u64, BodyError> {
        Ok(self.0.forward(&from.0, n)?)
    }

    pub(crate) fn finish(self) -> Result<Reader, BodyError> {
        Ok(host::types::BodyWriter::finish(self.0).map(Reader)?)
    }
}

/// A span that the host keeps for us; it ends when it is dropped.
pub(crate) struct Span(host::trace::Span);

impl Span {
    pub(crate) fn new(name: &str) -> Self {
        Self(host::trace::Span::new(name))
    }

    pub(crate) fn set(&mut self, name: &str, to: Value) {
        let to = match to {
            Value::Count(count) => host::trace::Value::Count(count),
            Value::Measure(measure) => host::trace::Value::Measure(measure),
            Value::Flag(flag) => host::trace::Value::Flag(flag),
        };
        self.0.set(name, to);
    }
}

impl From<host::types::BodyError> for BodyError {
    fn from(error: host::types::BodyError) -> Self {
        match error {
            host::types::BodyError::TooLarge(limit) => Self::TooLarge(limit),
            host::types::BodyError::Interrupted => Self::Interrupted,
            host::types::BodyError::Other(reason) => Self::Other(reason),
        }
    }
}

impl From<host::keys::KeyError> for KeyError {
    fn from(error: host::keys::KeyError) -> Self {
        match error {
            host::keys::KeyError::NotGranted(name) => Self::NotGranted(name),
            host::keys::KeyError::NoValidKey(name) => Self::NoValidKey(name),
            host::keys::KeyError::Malformed => Self::Malformed,
            host::keys::KeyError::Other(reason) => Self::Other(reason),
        }
    }
}

impl From<host::state::StateError> for StateError {
    fn from(error: host::state::StateError) -> Self {
        match error {
            host::state::StateError::Conflict => Self::Conflict,
            host::state::StateError::Full => Self::Full,
            host::state::StateError::Other(reason) => Self::Other(reason),
        }
    }
}

impl From<host::observed::ObservedError> for ObservedError {
    fn from(error: host::observed::ObservedError) -> Self {
        match error {
            host::observed::ObservedError::NotGranted(name) => Self::NotGranted(name),
            host::observed::ObservedError::Malformed => Self::Malformed,
            host::observed::ObservedError::Other(reason) => Self::Other(reason),
        }
    }
}

impl From<host::emit::EmitError> for EmitError {
    fn from(error: host::emit::EmitError) -> Self {
        match error {
            host::emit::EmitError::NotGranted(flow) => Self::NotGranted(flow),
            host::emit::EmitError::Full => Self::Full,
            host::emit::EmitError::Other(reason) => Self::Other(reason),
        }
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => host::log::Level::Debug,
        Level::Info => host::log::Level::Info,
        Level::Warn => host::log::Level::Warn,
        Level::Error => host::log::Level::Error,
    };
    host::log::log(level, message);
}

pub(crate) fn metrics_add(counter: &str, value: u64) {
    host::metrics::add(counter, value);
}

pub(crate) fn metrics_sample(histogram: &str, value: f64) {
    host::metrics::sample(histogram, value);
}

pub(crate) fn seal(recipients: &[String], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(host::keys::seal(recipients, associated, plain)?)
}

pub(crate) fn open(key: &str, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(host::keys::open(key, associated, sealed)?)
}

pub(crate) fn seal_body(recipients: &[String], associated: &[u8], plain: Reader) -> Result<Reader, KeyError> {
    Ok(host::keys::seal_body(recipients, associated, plain.0).map(Reader)?)
}

pub(crate) fn seal_stream(
    recipients: &[String],
    associated: &[u8],
    plain: Reader,
) -> Result<Reader, KeyError> {
    Ok(host::keys::seal_stream(recipients, associated, plain.0).map(Reader)?)
}

pub(crate) fn seal_values(recipients: &[String], values: Vec<BoundValue>) -> Result<Vec<String>, KeyError> {
    let bound = |BoundValue { context, plain }| host::keys::BoundValue { context, plain };
    let values: Vec<_> = values.into_iter().map(bound).collect();
    Ok(host::keys::seal_values(recipients, &values)?)
}

pub(crate) fn pseudonyms(key: &str, domain: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
    digests(host::keys::pseudonyms(key, domain, values)?)
}

pub(crate) fn macs(key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
    digests(host::keys::mac(key, values)?)
}

fn digests(of: Vec<Vec<u8>>) -> Result<Vec<[u8; 32]>, KeyError> {
    let short = |_| KeyError::Other("the host gave something that has not 32 octets".into());
    of.into_iter().map(|octets| octets.try_into().map_err(short)).collect()
}

pub(crate) fn date_shifts(
    key: &str,
    domain: &str,
    values: &[Vec<u8>],
    max_days: u32,
) -> Result<Vec<i32>, KeyError> {
    Ok(host::keys::date_shift(key, domain, values, max_days)?)
}

pub(crate) fn state_get(key: &str) -> Result<Option<Versioned>, StateError> {
    let found = host::state::get(key)?;
    Ok(found.map(|host::state::Versioned { value, version }| Versioned { value, version }))
}

pub(crate) fn state_put(key: &str, value: &[u8], expected: u64) -> Result<u64, StateError> {
    Ok(host::state::put(key, value, expected)?)
}

pub(crate) fn state_remove(key: &str, expected: u64) -> Result<(), StateError> {
    Ok(host::state::remove(key, expected)?)
}

pub(crate) fn observed_codes(key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, ObservedError> {
    let short = |_| ObservedError::Other("the host gave something that has not 32 octets".into());
    let codes = host::observed::codes(key, values)?;
    codes.into_iter().map(|octets| octets.try_into().map_err(short)).collect()
}

pub(crate) fn look_up(of: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, ObservedError> {
    Ok(host::observed::look_up(of, keys)?)
}

pub(crate) fn break_glass_reason() -> Option<String> {
    host::stated::break_glass_reason()
}

pub(crate) fn set_time(message: u32, to: u64) -> Result<(), TimingError> {
    host::timing::set_time(message, to).map_err(|error| match error {
        host::timing::TimingError::NoSuchMessage => TimingError::NoSuchMessage,
        host::timing::TimingError::OutOfRange => TimingError::OutOfRange,
        host::timing::TimingError::Other(reason) => TimingError::Other(reason),
    })
}

pub(crate) fn emit(flow: &str, made: Draft) -> Result<(), EmitError> {
    Ok(host::emit::emit(flow, made.into())?)
}

pub(crate) fn now() -> u64 {
    host::time::now()
}

pub(crate) fn random(n: u32) -> Vec<u8> {
    host::random::octets(n)
}
