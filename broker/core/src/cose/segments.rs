//! The segments of a sealed stream: AES-GCM-HKDF streaming AEAD as Tink defines it, with the parameters of `AES256_GCM_HKDF_1MB`.
//!
//! <https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming>
//!
//! | part | octets |
//! |---|---|
//! | header | 40, as one octet; a random salt, 32; a random prefix of nonces, 7 |
//! | segments | ciphertext and tag: 2^20 each; the first one, with the header, too; the last one may be shorter |
//!
//! The key of AES-256-GCM is HKDF-SHA-256 (RFC 5869) of the key material, with the salt, and the associated data as info. The nonce of a
//! segment is the prefix, its number from 0 in four octets, big-endian, and one octet: 1 for the last segment and 0 for every other
//! one. There is no further associated data. So no segment opens in another place, in another stream, or as another end.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;

use super::{NONCE_LEN, OpenError, SealError, SymmetricKey};

/// Octets of a segment as it is sealed, tag included; of the first one the header is a part.
pub const SEGMENT_OCTETS: usize = 1 << 20;
/// Octets of the header.
pub(super) const HEADER_OCTETS: usize = 1 + SALT_OCTETS + PREFIX_OCTETS;
/// The same, as the header says it in its first octet.
const HEADER_LENGTH: u8 = 40;
/// Octets of the salt: those of the derived key.
const SALT_OCTETS: usize = 32;
/// Octets with which the nonces of one stream begin.
const PREFIX_OCTETS: usize = 7;
/// Octets of a tag of AES-GCM.
const TAG_OCTETS: usize = 16;

/// The key of one stream, and which segment is next.
struct Segments {
    key: LessSafeKey,
    prefix: [u8; PREFIX_OCTETS],
    number: u32,
}

impl Segments {
    /// None where the cryptographic module fails, or the octets are no header of this format.
    fn new(material: &SymmetricKey, header: &[u8; HEADER_OCTETS], associated: &[u8]) -> Option<Self> {
        let (&octets, rest) = header.split_first()?;
        let (salt, prefix) = rest.split_at_checked(SALT_OCTETS)?;
        if octets != HEADER_LENGTH {
            return None;
        }
        let derived = Salt::new(HKDF_SHA256, salt).extract(material.as_ref());
        let key = derived.expand(&[associated], &AES_256_GCM).map(UnboundKey::from).ok()?;
        Some(Self { key: LessSafeKey::new(key), prefix: prefix.try_into().ok()?, number: 0 })
    }

    /// Octets of the next segment as it is sealed, unless it is the last one.
    fn octets(&self) -> usize {
        SEGMENT_OCTETS - if self.number == 0 { HEADER_OCTETS } else { 0 }
    }

    /// The nonce of the next segment, which is another one from then on. None where the numbers are used up.
    fn nonce(&mut self, is_last: bool) -> Option<Nonce> {
        let [a, b, c, d] = self.number.to_be_bytes();
        self.number = self.number.checked_add(1)?;
        let mut nonce = [0; NONCE_LEN];
        let (prefix, rest) = nonce.split_at_mut(PREFIX_OCTETS);
        prefix.copy_from_slice(&self.prefix);
        rest.copy_from_slice(&[a, b, c, d, u8::from(is_last)]);
        Some(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals octets in their order. Holds one segment.
pub(super) struct Encryption {
    segments: Segments,
    plain: Vec<u8>,
}

impl Encryption {
    /// Gives the header, with which what is sealed begins.
    pub(super) fn begin(
        material: &SymmetricKey,
        associated: &[u8],
    ) -> Result<(Self, [u8; HEADER_OCTETS]), SealError> {
        let mut header = [0; HEADER_OCTETS];
        rand::fill(&mut header).map_err(|_| SealError::Module("the header of a stream"))?;
        header[0] = HEADER_LENGTH;
        Ok((Self::with_header(material, &header, associated)?, header))
    }

    pub(super) fn with_header(
        material: &SymmetricKey,
        header: &[u8; HEADER_OCTETS],
        associated: &[u8],
    ) -> Result<Self, SealError> {
        let segments = Segments::new(material, header, associated);
        let segments = segments.ok_or(SealError::Module("the key of a stream"))?;
        Ok(Self { segments, plain: Vec::with_capacity(SEGMENT_OCTETS) })
    }

    /// Appends the segments that are full to `out`. A full one that could be the last is held.
    pub(super) fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        while !plain.is_empty() {
            let room = self.segments.octets() - TAG_OCTETS - self.plain.len();
            if room == 0 {
                self.seal(false, out)?;
                continue;
            }
            let (now, rest) = plain.split_at(room.min(plain.len()));
            self.plain.extend_from_slice(now);
            plain = rest;
        }
        Ok(())
    }

    /// Appends the last segment to `out`.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.seal(true, out)
    }

    fn seal(&mut self, is_last: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        let nonce = self.segments.nonce(is_last).ok_or(SealError::TooManySegments)?;
        let tag = self.segments.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.plain);
        let tag = tag.map_err(|_| SealError::Module("a segment of a stream"))?;
        out.extend_from_slice(&self.plain);
        out.extend_from_slice(tag.as_ref());
        self.plain.clear();
        Ok(())
    }
}

/// Opens segments in their order. Holds one, because only what comes after it says whether it is the last.
pub(super) struct Decryption {
    segments: Segments,
    sealed: Vec<u8>,
}

impl Decryption {
    pub(super) fn new(
        material: &SymmetricKey,
        header: &[u8; HEADER_OCTETS],
        associated: &[u8],
    ) -> Result<Self, OpenError> {
        let segments = Segments::new(material, header, associated);
        let segments =
            segments.ok_or(OpenError::NotAStream("the header of its segments is none of 40 octets"))?;
        Ok(Self { segments, sealed: Vec::new() })
    }

    /// Appends what was in the segments that are complete to `out`. After an error it must not be used.
    pub(super) fn push(&mut self, mut sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        while !sealed.is_empty() {
            let room = self.segments.octets() - self.sealed.len();
            if room == 0 {
                self.open(false, out)?;
                continue;
            }
            let (now, rest) = sealed.split_at(room.min(sealed.len()));
            self.sealed.extend_from_slice(now);
            sealed = rest;
        }
        Ok(())
    }

    /// Appends what was in the last segment to `out`.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), OpenError> {
        self.open(true, out)
    }

    fn open(&mut self, is_last: bool, out: &mut Vec<u8>) -> Result<(), OpenError> {
        let nonce = self.segments.nonce(is_last).ok_or(OpenError::NotAStream("it has too many segments"))?;
        let plain = self.segments.key.open_in_place(nonce, Aad::empty(), &mut self.sealed);
        out.extend_from_slice(plain.map_err(|_| OpenError::NotAuthentic)?);
        self.sealed.clear();
        Ok(())
    }
}
