//! What pseudonyms stood for, where a hospital keeps it so that those who hold the key may come back to a patient.
//!
//! An [`Original`] is sealed to the holders ([`seal`]) before it goes to the log [`LogName::Originals`] of its key, as a [`Kept`]: the
//! broker that keeps it cannot open it. Which one is meant an operator says by the text that a plugin made of the pseudonym
//! ([`Asked`]), of which there are a few forms, and the holder's client opens it ([`open`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cose::{self, OpenError, PrivateKey, SealError, Sealer};
use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::PrincipalId;
use crate::limits::{ORIGINAL_DOMAIN_OCTETS_MAX, ORIGINAL_OCTETS_MAX};
use crate::name::KeyName;
use crate::record::Timestamp;

/// Begins what a sealed original is bound to.
const ASSOCIATED: &[u8] = b"hilum original v1\0";
/// What an original is filled up to a multiple of before it is sealed, so that its length says little.
const BLOCK_OCTETS: usize = 64;
/// Octets that every form of a pseudonym begins with, as they are.
const PREFIX_OCTETS: usize = 6;
/// Hexadecimal digits that an operator has to give: with fewer, pseudonyms could be gone through.
const DIGITS_MIN: usize = 16;

/// A keyed pseudonym as the host makes it (`keys.pseudonyms` of the WIT package); of what plugins write for it, these are the
/// first octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pseudonym(pub [u8; 32]);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonym(<32 octets>)")
    }
}

/// What a pseudonym stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Original {
    /// What kind of value it is, such as `patient-id`. At most [`ORIGINAL_DOMAIN_OCTETS_MAX`] octets.
    pub domain: String,
    /// The value, without the spaces around it. At most [`ORIGINAL_OCTETS_MAX`] octets.
    pub value: Vec<u8>,
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Original({}, <{} octets>)", self.domain, self.value.len())
    }
}

/// Why an original is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// The value, or its domain, is longer than what is kept.
    #[error(
        "what a pseudonym stands for is kept up to {ORIGINAL_OCTETS_MAX} octets, and its domain up to {ORIGINAL_DOMAIN_OCTETS_MAX}"
    )]
    TooLong,
    /// It cannot be sealed to the holders.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Why an original was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevealError {
    /// It is not sealed to this key, or is not what was sealed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A newer Hilum sealed it.
    #[error("what was sealed is no original that this build reads")]
    Malformed,
}

impl Original {
    /// Checks the lengths and takes it.
    pub fn new(domain: &str, value: &[u8]) -> Result<Self, KeepError> {
        if domain.len() > ORIGINAL_DOMAIN_OCTETS_MAX || value.len() > ORIGINAL_OCTETS_MAX {
            return Err(KeepError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), value: value.to_vec() })
    }

    /// Domain and value, each after its length in two octets (big-endian), and zeros up to a whole block.
    fn encode(&self) -> Vec<u8> {
        let parts = [self.domain.as_bytes(), &self.value];
        let mut octets = Vec::new();
        for part in parts {
            let length = u16::try_from(part.len()).expect("the lengths are checked in `new`");
            octets.extend_from_slice(&length.to_be_bytes());
            octets.extend_from_slice(part);
        }
        octets.resize(octets.len().next_multiple_of(BLOCK_OCTETS), 0);
        octets
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let part = |octets: &[u8]| {
            let (length, rest) = octets.split_first_chunk::<2>()?;
            let (part, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            Some((part.to_vec(), rest.to_vec()))
        };
        let (domain, rest) = part(octets)?;
        let (value, rest) = part(&rest)?;
        let is_filling = rest.len() < BLOCK_OCTETS && rest.iter().all(|octet| *octet == 0);
        is_filling.then_some(Self { domain: String::from_utf8(domain).ok()?, value })
    }
}

fn associated(key: &KeyName, pseudonym: &Pseudonym) -> Vec<u8> {
    let length = (key.as_str().len() as u64).to_be_bytes();
    [ASSOCIATED, &length, key.as_str().as_bytes(), &pseudonym.0].concat()
}

/// Seals what a pseudonym under a key stands for, so that it opens as nothing else.
pub fn seal(
    sealer: &Sealer,
    key: &KeyName,
    pseudonym: &Pseudonym,
    original: &Original,
) -> Result<Vec<u8>, SealError> {
    sealer.seal(&associated(key, pseudonym), &original.encode())
}

/// Opens what was sealed to a holder.
pub fn open(
    private: &PrivateKey,
    key: &KeyName,
    pseudonym: &Pseudonym,
    sealed: &[u8],
) -> Result<Original, RevealError> {
    let octets = cose::open(private, &associated(key, pseudonym), sealed)?;
    Original::decode(&octets).ok_or(RevealError::Malformed)
}

/// An entry of the log of a key's originals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What was written for the original.
    pub pseudonym: Pseudonym,
    /// When it was kept.
    pub time: Timestamp,
    /// The original, sealed: see [`seal`].
    pub sealed: Vec<u8>,
}

impl Kept {
    /// The stored form. `broker` is the broker's own identity: these logs have one data key.
    #[must_use]
    pub fn to_entry(&self, key: &KeyName, broker: &PrincipalId) -> Entry {
        Entry { log: LogName::Originals(key.clone()), source: broker.clone(), octets: encode(self) }
    }

    /// Reads what [`Kept::to_entry`] wrote.
    pub fn decode(octets: &[u8]) -> Result<Self, EntryError> {
        decode(octets)
    }
}

/// A pseudonym as it stands in a record: its first octets in hexadecimal digits, or a UUID of version 8 (RFC 9562, section 5.8) or a
/// UID of one (DICOM PS3.5 B.2) that was made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    text: String,
    octets: Vec<u8>,
    /// Whether six bits are those of a UUID and not of the pseudonym.
    is_uuid: bool,
}

/// A text that is no pseudonym. It may be an original by mistake, so it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not how a pseudonym is written: {DIGITS_MIN} to 64 hexadecimal digits, a UUID of version 8, or `2.25.` and such a UUID as a number"
)]
pub struct AskedError;

impl FromStr for Asked {
    type Err = AskedError;

    fn from_str(text: &str) -> Result<Self, AskedError> {
        let text = text.trim();
        let bare = ["urn:oid:", "urn:uuid:"].iter().find_map(|urn| text.strip_prefix(urn)).unwrap_or(text);
        let (octets, is_uuid) = match bare.strip_prefix("2.25.") {
            Some(number) => {
                let is_number = number.bytes().all(|digit| digit.is_ascii_digit());
                let number = number.parse::<u128>().ok().filter(|_| is_number).ok_or(AskedError)?;
                (number.to_be_bytes().to_vec(), true)
            }
            None if bare.contains('-') => {
                let parts: Vec<&str> = bare.split('-').collect();
                if parts.iter().map(|part| part.len()).ne([8, 4, 4, 4, 12]) {
                    return Err(AskedError);
                }
                (hexadecimal(&parts.concat())?, true)
            }
            None => (hexadecimal(bare)?, false),
        };
        if is_uuid && (octets[6] >> 4 != 8 || octets[8] >> 6 != 0b10) {
            return Err(AskedError);
        }
        Ok(Self { text: bare.to_owned(), octets, is_uuid })
    }
}

fn hexadecimal(digits: &str) -> Result<Vec<u8>, AskedError> {
    let is_whole = (DIGITS_MIN..=64).contains(&digits.len()) && digits.len().is_multiple_of(2);
    if !is_whole || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(AskedError);
    }
    let octet = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| AskedError);
    (0..digits.len()).step_by(2).map(octet).collect()
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Asked {
    /// The first octets of every pseudonym that may be meant.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.octets[..PREFIX_OCTETS]
    }

    /// Whether a pseudonym of which these are the first octets, or all, may be meant: as far as both go.
    #[must_use]
    pub fn fits(&self, octets: &[u8]) -> bool {
        let mask = |at: usize| match at {
            6 if self.is_uuid => 0x0F,
            8 if self.is_uuid => 0x3F,
            _ => 0xFF,
        };
        self.octets.iter().zip(octets).enumerate().all(|(at, (asked, is))| (asked ^ is) & mask(at) == 0)
    }
}

#[cfg(test)]
mod tests;
