//! `keys`: what is done under keys that no plugin ever sees.

use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use hilum_core::cose::{self, OpenError, PLAIN_OCTETS_MAX, RecipientKey, SealError, Sealer};
use hilum_core::jose::JweSealer;
use hilum_core::originals::{Original, Pseudonym};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::Host;
use super::bindings::hilum::plugin::keys::{self, BoundValue, KeyError};
use super::body::{Reader, Writer, read_on};
use crate::grants::Grant;
use crate::limits::{KEYED_VALUES_MAX, SEALED_VALUES_MAX, SHIFT_DAYS_MAX};

/// Begins what is authenticated, so that no other use of the same secret gives the same octets.
const PSEUDONYM_DOMAIN: &[u8] = b"hilum pseudonym v1\0";
/// The same for authentication codes.
const MAC_DOMAIN: &[u8] = b"hilum mac v1\0";
/// The same for date shifts.
const SHIFT_DOMAIN: &[u8] = b"hilum date-shift v1\0";
/// Groups of recipients whose key agreement is kept during one call.
const SEALERS_MAX: usize = 8;
/// Octets of a large body that are read at once to be sealed.
const SEAL_CHUNK_OCTETS: usize = 1 << 20;
/// Octets of a pseudonym, and of an authentication code.
const PSEUDONYM_OCTETS: usize = 32;
/// Values between two looks at the clock.
const VALUES_AT_ONCE: usize = 1024;

impl keys::Host for Host {
    fn seal(
        &mut self,
        recipients: Vec<String>,
        associated: Vec<u8>,
        plain: Vec<u8>,
    ) -> Result<Result<Vec<u8>, KeyError>> {
        self.call.enter(octets_of(&recipients) + associated.len() + plain.len())?;
        let sealed = self.seal_octets(&recipients, &associated, &plain);
        self.call.charge(sealed.as_ref().map_or(0, Vec::len))?;
        Ok(sealed)
    }

    fn open(
        &mut self,
        key: String,
        associated: Vec<u8>,
        sealed: Vec<u8>,
    ) -> Result<Result<Vec<u8>, KeyError>> {
        // What it opens is not longer than what was sealed.
        self.call.enter(key.len() + associated.len() + 2 * sealed.len())?;
        if !self.place.grants.has(&Grant::Key(key.clone())) {
            return Ok(Err(KeyError::NotGranted(key)));
        }
        let private = match self.place.services.private_key(&key) {
            Ok(Some(private)) => private,
            Ok(None) => return Ok(Err(KeyError::NoValidKey(key))),
            Err(error) => return Ok(Err(KeyError::Other(self.fault(error)))),
        };
        Ok(cose::open(&private, &associated, &sealed).map_err(|error| match error {
            OpenError::TooLarge(_) => KeyError::Other(error.to_string()),
            _ => KeyError::Malformed,
        }))
    }

    fn seal_body(
        &mut self,
        recipients: Vec<String>,
        associated: Vec<u8>,
        plain: Resource<Reader>,
    ) -> Result<Result<Resource<Reader>, KeyError>> {
        self.call.enter(octets_of(&recipients) + associated.len())?;
        let reader = self.table.delete(plain)?;
        // It lies in memory as it was and as it is sealed.
        self.call.charge(usize::try_from(reader.left().saturating_mul(2)).unwrap_or(usize::MAX))?;
        let sealed = self.seal_reader(&recipients, &associated, reader);
        self.given(sealed)
    }

    fn seal_stream(
        &mut self,
        recipients: Vec<String>,
        associated: Vec<u8>,
        plain: Resource<Reader>,
    ) -> Result<Result<Resource<Reader>, KeyError>> {
        self.call.enter(octets_of(&recipients) + associated.len())?;
        let reader = self.table.delete(plain)?;
        let sealed = self.stream_reader(&recipients, &associated, reader);
        self.given(sealed)
    }

    fn seal_values(
        &mut self,
        recipients: Vec<String>,
        values: Vec<BoundValue>,
    ) -> Result<Result<Vec<String>, KeyError>> {
        let octets = |value: &BoundValue| value.context.len() + value.plain.len() + size_of::<BoundValue>();
        self.call.enter(octets_of(&recipients) + values.iter().map(octets).sum::<usize>())?;
        if values.len() > SEALED_VALUES_MAX {
            let over = format!("at most {SEALED_VALUES_MAX} values are sealed a call");
            return Ok(Err(KeyError::Other(over)));
        }
        let keys = self.recipients(&recipients);
        let sealer = keys.and_then(|keys| JweSealer::new(&keys).map_err(|error| not_sealed(&error)));
        let sealer = match sealer {
            Ok(sealer) => sealer,
            Err(error) => return Ok(Err(error)),
        };
        let mut sealed = Vec::with_capacity(values.len());
        for value in values {
            self.call.left()?;
            match sealer.seal(&value.context, &value.plain) {
                Ok(text) => {
                    self.call.charge(text.len())?;
                    sealed.push(text);
                }
                Err(error) => return Ok(Err(not_sealed(&error))),
            }
        }
        Ok(Ok(sealed))
    }

    fn pseudonyms(
        &mut self,
        key: String,
        domain: String,
        values: Vec<Vec<u8>>,
    ) -> Result<Result<Vec<Vec<u8>>, KeyError>> {
        let octets = octets_of_values(&values, PSEUDONYM_OCTETS);
        self.call.enter(key.len() + domain.len() + octets)?;
        let made =
            self.keyed(&key, &values, |secret, value| pseudonym(secret, &domain, value).as_ref().to_vec())?;
        let Ok(made) = made else { return Ok(made) };
        Ok(self.note_originals(&key, &domain, &values, &made)?.map(|()| made))
    }

    fn mac(&mut self, key: String, values: Vec<Vec<u8>>) -> Result<Result<Vec<Vec<u8>>, KeyError>> {
        self.call.enter(key.len() + octets_of_values(&values, PSEUDONYM_OCTETS))?;
        self.keyed(&key, &values, |secret, value| mac(secret, value).as_ref().to_vec())
    }

    fn date_shift(
        &mut self,
        key: String,
        domain: String,
        values: Vec<Vec<u8>>,
        max_days: u32,
    ) -> Result<Result<Vec<i32>, KeyError>> {
        self.call.enter(key.len() + domain.len() + octets_of_values(&values, size_of::<i32>()))?;
        if !(1..=SHIFT_DAYS_MAX).contains(&max_days) {
            return Ok(Err(KeyError::Other(format!(
                "a date is shifted by at most 1 to {SHIFT_DAYS_MAX} days"
            ))));
        }
        self.keyed(&key, &values, |secret, value| date_shift(secret, &domain, max_days, value))
    }
}

/// Octets that values take up, and what is made of each.
fn octets_of_values(values: &[Vec<u8>], made: usize) -> usize {
    values.iter().map(|value| value.len() + made + size_of::<Vec<u8>>()).sum()
}

/// Octets that a list of names takes up.
fn octets_of(names: &[String]) -> usize {
    names.iter().map(|name| name.len() + size_of::<String>()).sum()
}

/// As the WIT package defines it.
fn pseudonym(secret: &hmac::Key, domain: &str, value: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(secret);
    context.update(PSEUDONYM_DOMAIN);
    context.update(&(domain.len() as u64).to_be_bytes());
    context.update(domain.as_bytes());
    context.update(value);
    context.sign()
}

/// As the WIT package defines it.
fn mac(secret: &hmac::Key, value: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(secret);
    context.update(MAC_DOMAIN);
    context.update(value);
    context.sign()
}

/// As the WIT package defines it. That 2^128 is no multiple of the number of shifts makes none of them likelier than another by more
/// than 2^-111.
fn date_shift(secret: &hmac::Key, domain: &str, max_days: u32, value: &[u8]) -> i32 {
    let mut context = hmac::Context::with_key(secret);
    context.update(SHIFT_DOMAIN);
    context.update(&(domain.len() as u64).to_be_bytes());
    context.update(domain.as_bytes());
    context.update(&max_days.to_be_bytes());
    context.update(value);
    let tag = context.sign();
    let (first, _) = tag.as_ref().split_first_chunk::<16>().expect("HMAC-SHA-256 has 32 octets");
    let max = i64::from(max_days);
    let drawn = u128::from_be_bytes(*first) % (2 * u128::from(max_days));
    let drawn = i64::try_from(drawn).expect("it is less than twice the days");
    let shift = if drawn < max { drawn - max } else { drawn - max + 1 };
    i32::try_from(shift).expect("it is within the days")
}

impl Host {
    /// What a secret makes of each value.
    fn keyed<T>(
        &mut self,
        key: &str,
        values: &[Vec<u8>],
        make: impl Fn(&hmac::Key, &[u8]) -> T,
    ) -> Result<Result<Vec<T>, KeyError>> {
        if !self.place.grants.has(&Grant::Key(key.to_owned())) {
            return Ok(Err(KeyError::NotGranted(key.to_owned())));
        }
        if values.len() > KEYED_VALUES_MAX {
            return Ok(Err(KeyError::Other(format!("a call takes at most {KEYED_VALUES_MAX} values"))));
        }
        let secret = match self.secret(key) {
            Ok(secret) => secret,
            Err(error) => return Ok(Err(error)),
        };
        let mut made = Vec::with_capacity(values.len());
        for some in values.chunks(VALUES_AT_ONCE) {
            self.call.left()?;
            made.extend(some.iter().map(|value| make(&secret, value)));
        }
        Ok(Ok(made))
    }

    /// A secret that the stage was granted, made ready once for a call: the next call sees one that was changed or destroyed.
    fn secret(&mut self, name: &str) -> Result<Arc<hmac::Key>, KeyError> {
        if let Some((_, secret)) = self.call.secrets.iter().find(|(known, _)| known == name) {
            return Ok(Arc::clone(secret));
        }
        match self.place.services.secret(name) {
            Ok(Some(octets)) => {
                let secret = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &octets));
                self.call.secrets.push((name.to_owned(), Arc::clone(&secret)));
                Ok(secret)
            }
            Ok(None) => Err(KeyError::NoValidKey(name.to_owned())),
            Err(error) => Err(KeyError::Other(self.fault(error))),
        }
    }

    /// Remembers what pseudonyms stand for, where that is kept: it is before anything of the call goes on.
    fn note_originals(
        &mut self,
        key: &str,
        domain: &str,
        values: &[Vec<u8>],
        made: &[Vec<u8>],
    ) -> Result<Result<(), KeyError>> {
        if !self.place.services.keeps_originals(key, domain) {
            return Ok(Ok(()));
        }
        self.call.charge(values.len() * (size_of::<(Pseudonym, Original)>() + domain.len()))?;
        let Some(originals) = &mut self.call.originals else {
            let what = format!(
                "what pseudonyms under key `{key}` stand for is kept with records, and there is none"
            );
            return Ok(Err(KeyError::Other(what)));
        };
        let noted = originals.entry(key.to_owned()).or_default();
        for (value, made) in values.iter().zip(made) {
            let original = match Original::new(domain, value) {
                Ok(original) => original,
                Err(error) => return Ok(Err(KeyError::Other(error.to_string()))),
            };
            let pseudonym = made.as_slice().try_into().expect("HMAC-SHA-256 has 32 octets");
            noted.push((Pseudonym(pseudonym), original));
        }
        Ok(Ok(()))
    }

    /// Hands a sealed body to the plugin, if there is time left.
    fn given(&mut self, sealed: Result<Reader, KeyError>) -> Result<Result<Resource<Reader>, KeyError>> {
        self.call.left()?;
        match sealed {
            Ok(sealed) => Ok(Ok(self.table.push(sealed)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn seal_octets(
        &mut self,
        recipients: &[String],
        associated: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.with_sealer(recipients, |sealer| sealer.seal(associated, plain))
    }

    /// Seals with what was agreed with these recipients, and agrees with them where that was not done in this call.
    fn with_sealer<T>(
        &mut self,
        recipients: &[String],
        seal: impl FnOnce(&Sealer) -> Result<T, SealError>,
    ) -> Result<T, KeyError> {
        if let Some((_, sealer)) = self.call.sealers.iter().find(|(names, _)| names == recipients) {
            return seal(sealer).map_err(|error| not_sealed(&error));
        }
        let sealer = Sealer::new(&self.recipients(recipients)?).map_err(|error| not_sealed(&error))?;
        let sealed = seal(&sealer).map_err(|error| not_sealed(&error))?;
        if self.call.sealers.len() < SEALERS_MAX {
            self.call.sealers.push((recipients.to_vec(), sealer));
        }
        Ok(sealed)
    }

    fn recipients(&mut self, names: &[String]) -> Result<Vec<RecipientKey>, KeyError> {
        let mut keys = Vec::new();
        for name in names.iter().take(cose::RECIPIENTS_MAX + 1) {
            if !self.place.grants.has(&Grant::Recipient(name.clone())) {
                return Err(KeyError::NotGranted(name.clone()));
            }
            match self.place.services.recipient_keys(name) {
                Ok(found) if found.is_empty() => return Err(KeyError::NoValidKey(name.clone())),
                Ok(found) => keys.extend(found),
                Err(error) => return Err(KeyError::Other(self.fault(error))),
            }
        }
        Ok(keys)
    }

    fn seal_reader(
        &mut self,
        recipients: &[String],
        associated: &[u8],
        mut reader: Reader,
    ) -> Result<Reader, KeyError> {
        if reader.left() > PLAIN_OCTETS_MAX as u64 {
            return Err(KeyError::Other(format!(
                "a body of more than {PLAIN_OCTETS_MAX} octets is not sealed at once"
            )));
        }
        let mut plain = Vec::new();
        loop {
            let chunk = self.next_to_seal(&mut reader)?;
            if chunk.is_empty() {
                break;
            }
            plain.extend_from_slice(&chunk);
        }
        let sealed = self.seal_octets(recipients, associated, &plain)?;
        let mut writer = Writer::new();
        self.write_sealed(&mut writer, sealed)?;
        self.sealed_in(writer)
    }

    /// Holds a segment, what the store gave of the body, and what is on its way to the store.
    fn stream_reader(
        &mut self,
        recipients: &[String],
        associated: &[u8],
        mut reader: Reader,
    ) -> Result<Reader, KeyError> {
        let mut sealed = Vec::new();
        let mut stream = self.with_sealer(recipients, |sealer| sealer.stream(associated, &mut sealed))?;
        let mut writer = Writer::new();
        loop {
            let chunk = self.next_to_seal(&mut reader)?;
            if chunk.is_empty() {
                break;
            }
            stream.push(&chunk, &mut sealed).map_err(|error| not_sealed(&error))?;
            self.write_counted(&mut writer, std::mem::take(&mut sealed))?;
        }
        stream.finish(&mut sealed).map_err(|error| not_sealed(&error))?;
        self.write_counted(&mut writer, sealed)?;
        self.sealed_in(writer)
    }

    /// The next octets of a body that is being sealed; empty at its end and only there.
    fn next_to_seal(&mut self, reader: &mut Reader) -> Result<Bytes, KeyError> {
        if self.call.left().is_err() {
            return Err(KeyError::Other("the stage ran out of time".into()));
        }
        let chunk = read_on(reader, &self.place, &mut self.call, SEAL_CHUNK_OCTETS);
        chunk.map_err(|error| KeyError::Other(self.fault(error)))
    }

    fn write_counted(&mut self, writer: &mut Writer, sealed: Vec<u8>) -> Result<(), KeyError> {
        let counted = self.call.write(sealed.len() as u64);
        counted.map_err(|over| KeyError::Other(over.to_string()))?;
        self.write_sealed(writer, sealed)
    }

    fn write_sealed(&mut self, writer: &mut Writer, sealed: Vec<u8>) -> Result<(), KeyError> {
        let services = self.place.services.clone();
        let written = self.call.waiting(|| writer.write(&*services, self.source.as_ref(), sealed.into()));
        written.map_err(|error| KeyError::Other(self.fault(error)))
    }

    fn sealed_in(&mut self, writer: Writer) -> Result<Reader, KeyError> {
        let finished = self.finish_writer(writer);
        finished.map(Reader::new).map_err(|error| KeyError::Other(self.fault(error)))
    }
}

fn not_sealed(error: &SealError) -> KeyError {
    KeyError::Other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(tag: &hmac::Tag) -> String {
        tag.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Computed with `hmac.new(b"key", b"hilum mac v1\0" + b"1.2.3", "sha256")`.
    #[test]
    fn a_code_is_what_the_package_says() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let code = hex(&mac(&secret, b"1.2.3"));
        assert_eq!(code, "95d861d44c5d764396f7960358a0d881ac25d5baf8a10e38407b7f7012beaa0d");
        let of_nothing = hex(&mac(&secret, b""));
        assert_eq!(of_nothing, "723d41fb0d50550f5f1bab8110d4b4fc668bee249419715c0a7607377d84ab8c");
    }

    /// Computed with Python: `h = hmac.new(b"key", b"hilum date-shift v1\0" + len(domain).to_bytes(8, "big") + domain +
    /// max.to_bytes(4, "big") + value, "sha256").digest(); r = int.from_bytes(h[:16], "big") % (2 * max)`.
    #[test]
    fn a_date_shift_is_what_the_package_says() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let shifts: Vec<i32> =
            ["0", "1", "2", "3"].iter().map(|n| date_shift(&secret, "patient", 365, n.as_bytes())).collect();
        assert_eq!(shifts, [-195, 19, 199, -183]);
        let other = (date_shift(&secret, "patient", 1, b"0"), date_shift(&secret, "patient", 36_525, b"0"));
        assert_eq!((other, date_shift(&secret, "other", 365, b"0")), ((1, 33_264), -227));
    }

    #[test]
    fn every_shift_but_none_at_all_is_as_likely_as_any_other() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let mut counts = std::collections::BTreeMap::new();
        for n in 0..60_000_u32 {
            *counts.entry(date_shift(&secret, "patient", 3, &n.to_be_bytes())).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [-3, -2, -1, 1, 2, 3]);
        // 10 000 each are expected; the standard deviation is 91.
        assert!(counts.values().all(|count| (count - 10_000).abs() < 500), "{counts:?}");
    }

    /// Computed with `hmac.new(b"key", b"hilum pseudonym v1\0" + (3).to_bytes(8, "big") + b"uid" + b"1.2.3", "sha256")`.
    #[test]
    fn a_pseudonym_is_what_the_package_says() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let made = pseudonym(&secret, "uid", b"1.2.3");
        assert_eq!(hex(&made), "dc9e487c143e2450342cdd6e01b3e6d4e656feaf0d1d0083a4f2234041c847f0");
    }
}
