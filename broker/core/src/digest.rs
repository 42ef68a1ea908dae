//! SHA-256 digests of bodies, plugins, configurations and plans.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A SHA-256 digest (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Stands for a digest that is not told.
    pub const WITHHELD: Self = Self([0; 32]);

    /// The digest of one slice.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(octets);
        hasher.finish()
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks(2)) {
            *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(octets))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// A digest being computed over a body that comes in pieces.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// Nothing hashed so far.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds octets.
    pub fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    /// The digest of all octets added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finish().as_ref().try_into().expect("SHA-256 has 32 octets"))
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example for one block.
    #[test]
    fn digests_abc() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), known);
        assert_eq!(Digest::from_hex(known), Some(Digest::of(b"abc")));
        assert_eq!(Digest::from_hex(&known[1..]), None);
        assert_eq!(Digest::from_hex(&known.replace('b', "+")), None);
    }
}
