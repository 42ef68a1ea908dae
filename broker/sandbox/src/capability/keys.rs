//! `keys`: what is done under keys that no plugin ever sees.

use aws_lc_rs::hmac;
use hilum_core::cose::{self, OpenError, PLAIN_OCTETS_MAX, RecipientKey, Sealer};
use wasmtime::component::Resource;
use wasmtime::{Result, Trap};

use super::Host;
use super::bindings::hilum::plugin::keys::{self, KeyError};
use super::body::{Reader, Writer};
use crate::grants::Grant;
use crate::limits::PSEUDONYMS_MAX;

/// Begins what is authenticated, so that no other use of the same secret gives the same octets.
const PSEUDONYM_DOMAIN: &[u8] = b"hilum pseudonym v1\0";
/// Groups of recipients whose key agreement is kept during one call.
const SEALERS_MAX: usize = 8;
/// Octets of a large body that are read at once to be sealed.
const SEAL_CHUNK_OCTETS: usize = 1 << 20;

impl keys::Host for Host {
    fn seal(
        &mut self,
        recipients: Vec<String>,
        associated: Vec<u8>,
        plain: Vec<u8>,
    ) -> Result<Result<Vec<u8>, KeyError>> {
        Ok(self.seal_octets(&recipients, &associated, &plain))
    }

    fn open(
        &mut self,
        key: String,
        associated: Vec<u8>,
        sealed: Vec<u8>,
    ) -> Result<Result<Vec<u8>, KeyError>> {
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
        let reader = self.table.delete(plain)?;
        let sealed = self.seal_reader(&recipients, &associated, reader);
        if self.call.is_over() {
            return Err(Trap::Interrupt.into());
        }
        match sealed {
            Ok(sealed) => Ok(Ok(self.table.push(sealed)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn pseudonyms(
        &mut self,
        key: String,
        domain: String,
        values: Vec<Vec<u8>>,
    ) -> Result<Result<Vec<Vec<u8>>, KeyError>> {
        if !self.place.grants.has(&Grant::Key(key.clone())) {
            return Ok(Err(KeyError::NotGranted(key)));
        }
        if values.len() > PSEUDONYMS_MAX {
            return Ok(Err(KeyError::Other(format!("a call makes at most {PSEUDONYMS_MAX} pseudonyms"))));
        }
        let secret = match self.place.services.secret(&key) {
            Ok(Some(secret)) => hmac::Key::new(hmac::HMAC_SHA256, &secret),
            Ok(None) => return Ok(Err(KeyError::NoValidKey(key))),
            Err(error) => return Ok(Err(KeyError::Other(self.fault(error)))),
        };
        Ok(Ok(values.iter().map(|value| pseudonym(&secret, &domain, value).as_ref().to_vec()).collect()))
    }
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

impl Host {
    fn seal_octets(
        &mut self,
        recipients: &[String],
        associated: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let failed = |error: cose::SealError| KeyError::Other(error.to_string());
        if let Some((_, sealer)) = self.call.sealers.iter().find(|(names, _)| names == recipients) {
            return sealer.seal(associated, plain).map_err(failed);
        }
        let sealer = Sealer::new(&self.recipients(recipients)?).map_err(failed)?;
        let sealed = sealer.seal(associated, plain).map_err(failed)?;
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
        let services = self.place.services.clone();
        let mut plain = Vec::new();
        loop {
            if self.call.is_over() {
                return Err(KeyError::Other("the stage ran out of time".into()));
            }
            let chunk = reader.next(&*services, SEAL_CHUNK_OCTETS);
            let chunk = chunk.map_err(|error| KeyError::Other(self.fault(error)))?;
            if chunk.is_empty() {
                break;
            }
            plain.extend_from_slice(&chunk);
        }
        let sealed = self.seal_octets(recipients, associated, &plain)?;
        let mut writer = Writer::new();
        let written =
            writer.write(&*services, self.source.as_ref(), &sealed).and_then(|()| self.finish_writer(writer));
        written.map(Reader::new).map_err(|error| KeyError::Other(self.fault(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `hmac.new(b"key", b"hilum pseudonym v1\0" + (3).to_bytes(8, "big") + b"uid" + b"1.2.3", "sha256")`.
    #[test]
    fn a_pseudonym_is_what_the_package_says() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let made = pseudonym(&secret, "uid", b"1.2.3");
        let hex: String = made.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "dc9e487c143e2450342cdd6e01b3e6d4e656feaf0d1d0083a4f2234041c847f0");
    }
}
