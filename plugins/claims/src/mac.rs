//! MACs of numbers that identify: HMAC-SHA-256 under a key that stays with the broker, the first half of it in hexadecimal.
//!
//! They are asked for as `observed.codes`, which are the same as those of `keys.mac`. What a component imports has to be granted to each of
//! its stages, except this: so the stage that compares needs no key, and a stage that was not granted the one that its settings name is not loaded.
//!
//! Each kind of number has a name before it, so that an accession number is never taken for a study's or a patient's. Systems write
//! the same number with other spaces and in other cases; what is compared has neither.

use hilum_plugin::ConfigError;
use hilum_plugin::observed::{self, ObservedError};

/// Numbers that are asked about at once.
const AT_ONCE: usize = 4096;
/// Octets of a MAC that are kept: enough that no two of a hospital's numbers have the same.
const OCTETS: usize = 16;

/// What a number is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An examination, as the information system numbers it.
    Accession,
    /// A study instance UID.
    Study,
    /// A patient on a day.
    Visit,
    /// A claim, as its provider numbers it.
    Claim,
}

/// What days are hidden by: before the number of an examination.
const PAD: &[u8] = b"day\0";

/// A number under its kind; nothing where there is none.
pub(crate) fn number(kind: Kind, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut made = match kind {
        Kind::Accession => b"accession".to_vec(),
        Kind::Study => b"study".to_vec(),
        Kind::Visit => b"visit".to_vec(),
        Kind::Claim => b"claim".to_vec(),
    };
    for part in parts {
        let plain = part.iter().filter(|octet| !octet.is_ascii_whitespace() && **octet != 0);
        let plain: Vec<u8> = plain.map(u8::to_ascii_uppercase).collect();
        if plain.is_empty() {
            return None;
        }
        made.push(0);
        made.extend(plain);
    }
    Some(made)
}

/// What the MAC of which hides the days of a number of an examination ([`crate::day`]).
pub(crate) fn pad(number: &[u8]) -> Vec<u8> {
    [PAD, number].concat()
}

/// Whether a stage may use a key; called when it is configured, perhaps where there is no broker that has it.
pub(crate) fn granted(key: &str) -> Result<(), ConfigError> {
    match observed::codes(key, &[b"probe".to_vec()]) {
        Err(ObservedError::NotGranted(_)) => {
            Err(ConfigError::new("/key", format!("the stage needs the grant `keys:{key}` for this")))
        }
        _ => Ok(()),
    }
}

/// The MACs of numbers, in their order; none where there is no number.
pub(crate) fn all(key: &str, numbers: &[Option<Vec<u8>>]) -> Result<Vec<Option<String>>, ObservedError> {
    let there: Vec<Vec<u8>> = numbers.iter().flatten().cloned().collect();
    let mut macs = Vec::with_capacity(there.len());
    for some in there.chunks(AT_ONCE) {
        macs.extend(observed::codes(key, some)?);
    }
    let mut macs = macs.iter();
    let hexadecimal = |mac: &[u8; 32]| mac[..OCTETS].iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(numbers.iter().map(|number| number.as_ref().and_then(|_| macs.next()).map(hexadecimal)).collect())
}

/// A MAC as a number, by which it is told from others; none where it is no MAC.
pub(crate) fn short(mac: &str) -> Option<u64> {
    if mac.len() != 2 * OCTETS || !mac.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(&mac[..16], 16).ok()
}
