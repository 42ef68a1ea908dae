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
use crate::keys::KeyError;
use crate::log::Level;
use crate::record::{Attribute, Body, Context, Draft, Head, Message, Party, Request};
use crate::state::{StateError, Versioned};
use crate::{BodyReader, Phase};

/// What a plugin under test talks to.
#[derive(Debug, Default)]
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
    /// Records emitted, with their flow.
    pub emitted: Vec<Emitted>,
    /// Keyed state.
    pub state: BTreeMap<String, Versioned>,
    drawn: u64,
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

    /// As `wit/v1/host.wit` defines it, so that a native test sees the pseudonyms of a broker with the same secret.
    pub(crate) fn pseudonyms(
        &self,
        key: &str,
        domain: &str,
        values: &[Vec<u8>],
    ) -> Result<Vec<[u8; 32]>, KeyError> {
        let key = self.secret(key)?;
        let pseudonym = |value: &Vec<u8>| {
            let mut context = hmac::Context::with_key(&key);
            context.update(b"hilum pseudonym v1\0");
            context.update(&(domain.len() as u64).to_be_bytes());
            context.update(domain.as_bytes());
            context.update(value);
            context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 octets")
        };
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

    pub(crate) fn emit(&mut self, flow: &str, made: Draft) -> Result<(), EmitError> {
        if self.denied.contains(flow) {
            return Err(EmitError::NotGranted(flow.to_owned()));
        }
        let Draft { key, content_type, attributes, body } = made;
        let Body::Inline(body) = body else {
            return Err(EmitError::Other("an emitted body has to be inline".into()));
        };
        self.emitted.push(Emitted { flow: flow.to_owned(), key, content_type, attributes, body });
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
