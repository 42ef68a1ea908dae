//! A broker of one thread for native unit tests: deterministic, in memory, and able to show what a plugin did.
//!
//! Every thread has a [`Host`] from the start that grants everything: any key name works, and its secret is the name.
//! A test changes and inspects it with [`with`]:
//!
//! ```
//! use hilum_plugin::{log, testing};
//!
//! testing::with(|host| host.now = 1_700_000_000_000);
//! log::info("three fields removed");
//! assert_eq!(testing::take().logs[0].1, "three fields removed");
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::{constant_time, hmac};

use crate::emit::EmitError;
use crate::keys::{BoundValue, KeyError};
use crate::log::Level;
use crate::observed::ObservedError;
use crate::plugin::Config;
use crate::record::{Attribute, Body, Context, Draft, Head, Message, Outcome, Party, Refusal, Request};
use crate::state::{StateError, Versioned};
use crate::timing::TimingError;
use crate::trace::Value;
use crate::{BodyReader, Phase};

/// The last millisecond of the year 9999.
const TIME_MAX: u64 = 253_402_300_799_999;

/// What a plugin under test talks to.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// What [`crate::time::now`] says.
    pub now: u64,
    /// Secrets by name; a name that is not here has itself as its secret.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Names of keys, recipients and flows that are not granted.
    pub denied: BTreeSet<String>,
    /// Lines logged.
    pub logs: Vec<(Level, String)>,
    /// Counters, by name.
    pub counters: BTreeMap<String, u64>,
    /// Values of histograms, by name.
    pub samples: BTreeMap<String, Vec<f64>>,
    /// Spans, in the order in which they were begun. One whose name is none is not here; how many there may be is not checked.
    pub spans: Vec<Traced>,
    /// Records emitted, with their flow.
    pub emitted: Vec<Emitted>,
    /// Keyed state.
    pub state: BTreeMap<String, Versioned>,
    /// What other stages keep, by `FLOW/STAGE`; one that is not here is not granted.
    pub observed: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// What [`crate::stated::break_glass_reason`] says.
    pub break_glass_reason: Option<String>,
    /// Times that were set, by the place of their message in its call; of one that is transformed by itself it is 0.
    pub times: BTreeMap<u32, u64>,
    /// Records that may be emitted before [`EmitError::Full`].
    pub emitted_max: Option<usize>,
    /// Keys that state may have before [`StateError::Full`].
    pub state_keys_max: Option<usize>,
    drawn: u64,
    open: Vec<usize>,
}

/// A span that a plugin began.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// Its name.
    pub name: String,
    /// Which of the host's spans is around it; none where it is the stage's.
    pub within: Option<usize>,
    /// What was told of it.
    pub values: BTreeMap<String, Value>,
    /// Whether it has ended.
    pub ended: bool,
}

/// What the broker lets through as a span's or a value's name.
fn is_span_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// A record that a plugin emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The flow it goes to.
    pub flow: String,
    /// As in [`Draft`].
    pub key: Option<String>,
    /// As in [`Draft`].
    pub content_type: String,
    /// As in [`Draft`].
    pub attributes: Vec<Attribute>,
    /// The body.
    pub body: Vec<u8>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Changes or inspects this thread's host. Not from within a plugin.
pub fn with<R>(f: impl FnOnce(&mut Host) -> R) -> R {
    current(f)
}

/// Takes this thread's host with all it has seen, and leaves a fresh one.
#[must_use]
pub fn take() -> Host {
    HOST.take()
}

pub(crate) fn current<R>(f: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(f)
}

/// A context at ingress, whose source is a scanner.
#[must_use]
pub fn context() -> Context {
    let scanner = Party {
        principal: "spiffe://st-marys/device/mri-1".into(),
        stakeholder: "imaging-dept".into(),
        zone: "device".into(),
        roles: vec!["scanner".into()],
    };
    Context {
        flow: "imaging".into(),
        class: "imaging".into(),
        stage: "test".into(),
        phase: Phase::Ingress,
        recipient: None,
        purpose: None,
        source: scanner,
    }
}

/// The head of a record from the context's source.
#[must_use]
pub fn head(content_type: &str) -> Head {
    Head { content_type: content_type.into(), time: 1_700_000_000_000, ..Head::default() }
}

/// A record with an inline body.
#[must_use]
pub fn message(content_type: &str, body: impl Into<Vec<u8>>) -> Message {
    Message { head: head(content_type), body: Body::Inline(body.into()) }
}

/// A record with a large body.
#[must_use]
pub fn large_message(content_type: &str, body: impl Into<Vec<u8>>) -> Message {
    Message { head: head(content_type), body: Body::Large(BodyReader::from_octets(body.into())) }
}

/// A request for a decision.
#[must_use]
pub fn request(head: Head, body: impl Into<Vec<u8>>) -> Request {
    let body = BodyReader::from_octets(body.into());
    Request { head, size: body.size(), body }
}

/// A plugin's configuration from JSON, as the broker hands it over.
///
/// # Panics
///
/// If the JSON does not deserialize.
#[must_use]
pub fn config<C: Config>(json: serde_json::Value) -> C {
    serde_json::from_value(json).unwrap_or_else(|error| panic!("the configuration: {error}"))
}

/// The record that one was replaced by.
///
/// # Panics
///
/// If the outcome is another one; so do [`annotated`], [`split`] and [`refused`].
#[must_use]
pub fn replaced(outcome: Outcome) -> Draft {
    match outcome {
        Outcome::Replace(draft) => draft,
        other => panic!("not replaced: {other:?}"),
    }
}

/// The attributes that a record goes on with.
#[must_use]
pub fn annotated(outcome: Outcome) -> Vec<Attribute> {
    match outcome {
        Outcome::Annotate(attributes) => attributes,
        other => panic!("not annotated: {other:?}"),
    }
}

/// The records that one was split into.
#[must_use]
pub fn split(outcome: Outcome) -> Vec<Draft> {
    match outcome {
        Outcome::Split(drafts) => drafts,
        other => panic!("not split: {other:?}"),
    }
}

/// Why a record was refused.
#[must_use]
pub fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refuse(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The octets of a body that a plugin made: the whole, however far a large one has been read.
#[must_use]
pub fn octets(body: Body) -> Vec<u8> {
    match body {
        Body::Inline(octets) => octets,
        Body::Large(reader) => reader.source.into_octets(),
    }
}

impl Host {
    pub(crate) fn log(&mut self, level: Level, message: &str) {
        self.logs.push((level, message.to_owned()));
    }

    pub(crate) fn add(&mut self, counter: &str, value: u64) {
        *self.counters.entry(counter.to_owned()).or_default() += value;
    }

    pub(crate) fn sample(&mut self, histogram: &str, value: f64) {
        self.samples.entry(histogram.to_owned()).or_default().push(value);
    }

    fn secret(&self, name: &str) -> Result<hmac::Key, KeyError> {
        if self.denied.contains(name) {
            return Err(KeyError::NotGranted(name.to_owned()));
        }
        let secret = self.secrets.get(name).map_or(name.as_bytes(), Vec::as_slice);
        Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(crate) fn begin_span(&mut self, name: &str) -> Option<usize> {
        if !is_span_name(name) {
            return None;
        }
        let (number, within) = (self.spans.len(), self.open.last().copied());
        self.spans.push(Traced { name: name.to_owned(), within, values: BTreeMap::new(), ended: false });
        self.open.push(number);
        Some(number)
    }

    /// A span of a host that was taken meanwhile is not here.
    pub(crate) fn set_span(&mut self, number: usize, name: &str, to: Value) {
        let dropped = !is_span_name(name) || matches!(to, Value::Measure(measure) if !measure.is_finite());
        if let (Some(span), false) = (self.spans.get_mut(number), dropped) {
            span.values.insert(name.to_owned(), to);
        }
    }

    pub(crate) fn end_span(&mut self, number: usize) {
        self.open.retain(|open| *open != number);
        if let Some(span) = self.spans.get_mut(number) {
            span.ended = true;
        }
    }

    /// As `wit/v1/host.wit` defines it.
    pub(crate) fn macs(&self, key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
        let key = self.secret(key)?;
        Ok(values.iter().map(|value| digest(&key, &[b"hilum mac v1\0", value])).collect())
    }

    /// As `wit/v1/host.wit` defines it.
    pub(crate) fn date_shifts(
        &self,
        key: &str,
        domain: &str,
        values: &[Vec<u8>],
        max_days: u32,
    ) -> Result<Vec<i32>, KeyError> {
        let key = self.secret(key)?;
        if !(1..=36_525).contains(&max_days) {
            return Err(KeyError::Other("a date is shifted by at most 1 to 36525 days".into()));
        }
        let (octets, max) = ((domain.len() as u64).to_be_bytes(), i64::from(max_days));
        let shift = |value: &Vec<u8>| {
            let (days, domain) = (max_days.to_be_bytes(), domain.as_bytes());
            let digest = digest(&key, &[b"hilum date-shift v1\0", &octets, domain, &days, value]);
            let (first, _) = digest.split_first_chunk::<16>().expect("it has 32 octets");
            let drawn = u128::from_be_bytes(*first) % (2 * u128::from(max_days));
            let drawn = i64::try_from(drawn).expect("it is less than twice the days");
            let shift = if drawn < max { drawn - max } else { drawn - max + 1 };
            i32::try_from(shift).expect("it is within the days")
        };
        Ok(values.iter().map(shift).collect())
    }

    /// As `wit/v1/host.wit` defines it, so that a native test sees the pseudonyms of a broker with the same secret.
    pub(crate) fn pseudonyms(
        &self,
        key: &str,
        domain: &str,
        values: &[Vec<u8>],
    ) -> Result<Vec<[u8; 32]>, KeyError> {
        let key = self.secret(key)?;
        let octets = (domain.len() as u64).to_be_bytes();
        let pseudonym =
            |value: &Vec<u8>| digest(&key, &[b"hilum pseudonym v1\0", &octets, domain.as_bytes(), value]);
        Ok(values.iter().map(pseudonym).collect())
    }

    /// Not COSE and not safe: octets that show no plain text and that [`Host::open`] opens for each recipient.
    pub(crate) fn seal(
        &self,
        recipients: &[String],
        associated: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        if recipients.is_empty() {
            return Err(KeyError::Other("there is no recipient".into()));
        }
        let mut sealed = vec![u8::try_from(recipients.len()).unwrap_or(u8::MAX)];
        for recipient in recipients.iter().take(usize::from(u8::MAX)) {
            let key = self.secret(recipient)?;
            sealed.extend_from_slice(seal_tag(&key, associated, plain).as_ref());
        }
        sealed.extend(plain.iter().zip(mask()).map(|(octet, mask)| octet ^ mask));
        Ok(sealed)
    }

    /// Not JWE and not safe: what [`Host::seal`] makes, in hexadecimal.
    pub(crate) fn seal_values(
        &self,
        recipients: &[String],
        values: Vec<BoundValue>,
    ) -> Result<Vec<String>, KeyError> {
        let hexadecimal = |sealed: Vec<u8>| sealed.iter().map(|octet| format!("{octet:02x}")).collect();
        let seal = |value: BoundValue| self.seal(recipients, &value.context, &value.plain).map(hexadecimal);
        values.into_iter().map(seal).collect()
    }

    pub(crate) fn open(&self, key: &str, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = self.secret(key)?;
        let (&count, rest) = sealed.split_first().ok_or(KeyError::Malformed)?;
        let (tags, masked) = rest.split_at_checked(usize::from(count) * 32).ok_or(KeyError::Malformed)?;
        let plain: Vec<u8> = masked.iter().zip(mask()).map(|(octet, mask)| octet ^ mask).collect();
        let tag = seal_tag(&key, associated, &plain);
        let ours = |of: &[u8]| constant_time::verify_slices_are_equal(of, tag.as_ref()).is_ok();
        if tags.chunks(32).any(ours) { Ok(plain) } else { Err(KeyError::Malformed) }
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8], expected: u64) -> Result<u64, StateError> {
        if self.state.get(key).map_or(0, |found| found.version) != expected {
            return Err(StateError::Conflict);
        }
        if expected == 0 && self.state_keys_max.is_some_and(|max| self.state.len() >= max) {
            return Err(StateError::Full);
        }
        let version = expected + 1;
        self.state.insert(key.to_owned(), Versioned { value: value.to_vec(), version });
        Ok(version)
    }

    pub(crate) fn remove(&mut self, key: &str, expected: u64) -> Result<(), StateError> {
        if self.state.get(key).map_or(0, |found| found.version) != expected {
            return Err(StateError::Conflict);
        }
        self.state.remove(key);
        Ok(())
    }

    pub(crate) fn look_up(&self, of: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, ObservedError> {
        let kept = self.observed.get(of).ok_or_else(|| ObservedError::NotGranted(of.to_owned()))?;
        if !(1..=64).contains(&keys.len()) || keys.iter().any(|key| !(1..=256).contains(&key.len())) {
            return Err(ObservedError::Malformed);
        }
        Ok(keys.iter().map(|key| kept.get(key).cloned()).collect())
    }

    pub(crate) fn emit(&mut self, flow: &str, made: Draft) -> Result<(), EmitError> {
        if self.denied.contains(flow) {
            return Err(EmitError::NotGranted(flow.to_owned()));
        }
        if self.emitted_max.is_some_and(|max| self.emitted.len() >= max) {
            return Err(EmitError::Full);
        }
        let Draft { key, content_type, attributes, body } = made;
        let Body::Inline(body) = body else {
            return Err(EmitError::Other("an emitted body has to be inline".into()));
        };
        self.emitted.push(Emitted { flow: flow.to_owned(), key, content_type, attributes, body });
        Ok(())
    }

    pub(crate) fn set_time(&mut self, message: u32, to: u64) -> Result<(), TimingError> {
        if to > TIME_MAX {
            return Err(TimingError::OutOfRange);
        }
        self.times.insert(message, to);
        Ok(())
    }

    pub(crate) fn random(&mut self, n: u32) -> Vec<u8> {
        let octets = (0..n).map(|_| {
            self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.drawn.to_be_bytes()[0]
        });
        octets.collect()
    }
}

/// HMAC-SHA-256 of pieces one after the other.
fn digest(key: &hmac::Key, pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    pieces.iter().for_each(|piece| context.update(piece));
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 octets")
}

fn seal_tag(key: &hmac::Key, associated: &[u8], plain: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(&(associated.len() as u64).to_be_bytes());
    context.update(associated);
    context.update(plain);
    context.sign()
}

fn mask() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).cycle().map(|n| n.wrapping_mul(31) ^ 0xa5)
}

#[cfg(test)]
mod tests;
