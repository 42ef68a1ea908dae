//! A segment: one file of a log, with a header of fixed size and then frames. Written by one run of the broker only; when
//! entries are erased a segment is written anew, as the next *generation* of the same place.
//!
//! | octets | what (integers are little-endian) |
//! |---|---|
//! | 8 | magic `HILUMSEG` |
//! | 4 | format version |
//! | 8 | offset of the first entry |
//! | 16 | salt: random, new for each segment; the data keys of the segment are derived with it |
//! | 1 + 80 | octets of the log's name, and the name, filled up with zeros |
//! | 4 | generation: how often it was written anew |
//! | 3 | zeros |
//! | 4 | CRC32C of all above |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::error::Unspecified;
use hilum_core::LogName;
use hilum_core::digest::{Digest, Hasher};
use parking_lot::Mutex;

use super::frame::{Binding, Salt, u32_at, u64_at};
use crate::limits::{GENERATION_MAX, INDEX_STEP_OCTETS, OFFSET_MAX};

pub(super) const HEADER_OCTETS: usize = 128;
const MAGIC: [u8; 8] = *b"HILUMSEG";
pub(super) const VERSION: u32 = 2;
const NAME_AT: usize = 37;
const GENERATION_AT: usize = 117;
const CRC_AT: usize = HEADER_OCTETS - 4;

/// One file of a log, as its readers and its writer know it.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The offset of its first entry.
    pub(super) base: u64,
    /// How often it was written anew.
    pub(super) generation: u32,
    pub(super) salt: Salt,
    pub(super) binding: Binding,
    /// The next nonce counter. Never goes back, whatever is refused or written over.
    nonce: AtomicU64,
    /// Octets of the file.
    octets: AtomicU64,
    /// First offset and position of some frames, in order; grows while the segment is written or read through.
    index: Mutex<Vec<(u64, u64)>>,
}

impl Segment {
    fn at(path: PathBuf, log: &LogName, base: u64, generation: u32, salt: Salt) -> Self {
        let index = Mutex::new(vec![(base, HEADER_OCTETS as u64)]);
        let (nonce, octets) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { path, base, generation, salt, binding: binding(log, base, &salt), nonce, octets, index }
    }

    /// A segment that is to be written.
    pub(super) fn plan(dir: &Path, log: &LogName, base: u64, generation: u32) -> Result<Self, Unspecified> {
        let mut salt = Salt::default();
        aws_lc_rs::rand::fill(&mut salt)?;
        Ok(Self::at(dir.join(file_name(base, generation)), log, base, generation, salt))
    }

    /// A segment that is there; `octets` is at least its header.
    pub(super) fn parse(path: &Path, log: &LogName, octets: &[u8]) -> Result<Self, String> {
        let header: &[u8; HEADER_OCTETS] = octets
            .get(..HEADER_OCTETS)
            .and_then(|header| header.try_into().ok())
            .ok_or("its header is cut short")?;
        if header[..8] != MAGIC || u32_at(header, CRC_AT) != crc32c::crc32c(&header[..CRC_AT]) {
            return Err("its header is damaged".into());
        }
        let version = u32_at(header, 8);
        if version != VERSION {
            return Err(format!("it has format version {version}, this build reads {VERSION}"));
        }
        let name = log.to_string();
        let end = NAME_AT + usize::from(header[NAME_AT - 1]);
        if header.get(NAME_AT..end) != Some(name.as_bytes()) {
            return Err("it belongs to another log".into());
        }
        let (base, generation) = (u64_at(header, 12), u32_at(header, GENERATION_AT));
        if path.file_name().is_none_or(|found| found != file_name(base, generation).as_str()) {
            return Err(format!("it is named for another place than its own, {base}-{generation}"));
        }
        let salt = header[20..36].try_into().expect("sixteen octets");
        Ok(Self::at(path.to_owned(), log, base, generation, salt))
    }

    /// What stands at the beginning of the file.
    pub(super) fn header(&self, log: &LogName) -> [u8; HEADER_OCTETS] {
        let name = log.to_string();
        let mut header = [0; HEADER_OCTETS];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&self.base.to_le_bytes());
        header[20..36].copy_from_slice(&self.salt);
        header[NAME_AT - 1] = u8::try_from(name.len()).expect("names of logs are short");
        header[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
        header[GENERATION_AT..GENERATION_AT + 4].copy_from_slice(&self.generation.to_le_bytes());
        let crc = crc32c::crc32c(&header[..CRC_AT]);
        header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Takes nonce counters for some entries: the first of them.
    pub(super) fn take_nonces(&self, entries: u32) -> u64 {
        self.nonce.fetch_add(u64::from(entries), Ordering::Relaxed)
    }

    /// Octets of the file, as far as it is written.
    pub(super) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    pub(super) fn set_octets(&self, octets: u64) {
        self.octets.store(octets, Ordering::Relaxed);
    }

    /// Where to begin to look for an offset: a frame at or before it.
    pub(super) fn seek(&self, offset: u64) -> u64 {
        let index = self.index.lock();
        let after = index.partition_point(|&(first, _)| first <= offset);
        index[after.saturating_sub(1)].1
    }

    /// Remembers where a frame is, if the last one remembered is far enough before it.
    pub(super) fn note(&self, first: u64, position: u64) {
        let mut index = self.index.lock();
        if index.last().is_some_and(|&(_, last)| position >= last + INDEX_STEP_OCTETS) {
            index.push((first, position));
        }
    }
}

/// What ciphertext of a segment is bound to.
fn binding(log: &LogName, base: u64, salt: &Salt) -> Binding {
    let mut hasher = Hasher::new();
    hasher.update(b"hilum segment 2");
    hasher.update(salt);
    hasher.update(&base.to_le_bytes());
    hasher.update(log.to_string().as_bytes());
    let Digest(digest) = hasher.finish();
    *digest.first_chunk().expect("a digest has more octets")
}

/// Offsets with their zeros, so that names sort as numbers do.
pub(super) fn file_name(base: u64, generation: u32) -> String {
    match generation {
        0 => format!("{base:020}.seg"),
        _ => format!("{base:020}-{generation}.seg"),
    }
}

/// The offset and the generation in a segment's file name, if it is one.
pub(super) fn place_of(name: &str) -> Option<(u64, u32)> {
    let stem = name.strip_suffix(".seg")?;
    let (base, generation) = stem.split_once('-').map_or((stem, None), |(base, rest)| (base, Some(rest)));
    let place = (base.parse().ok()?, generation.map_or(Some(0), |generation| generation.parse().ok())?);
    // One name for each place.
    let is_possible = place.0 <= OFFSET_MAX && place.1 <= GENERATION_MAX;
    (is_possible && file_name(place.0, place.1) == name).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_any_change_is_found() {
        let segment = Segment::plan(Path::new("/x"), &LogName::Audit, 7, 3).unwrap();
        let header = segment.header(&LogName::Audit);
        let parsed = Segment::parse(&segment.path, &LogName::Audit, &header).unwrap();
        assert_eq!((parsed.base, parsed.generation, parsed.salt), (7, 3, segment.salt));
        assert_eq!(parsed.binding, segment.binding);
        for at in 0..HEADER_OCTETS {
            let mut changed = header;
            changed[at] ^= 1;
            assert!(Segment::parse(&segment.path, &LogName::Audit, &changed).is_err(), "{at}");
        }
        let other = LogName::Flow("a".parse().unwrap());
        assert_eq!(
            Segment::parse(&segment.path, &other, &header).err().unwrap(),
            "it belongs to another log"
        );
        for renamed in ["/x/00000000000000000008-3.seg", "/x/00000000000000000007.seg"] {
            let refused = Segment::parse(Path::new(renamed), &LogName::Audit, &header).err().unwrap();
            assert_eq!(refused, "it is named for another place than its own, 7-3");
        }
    }

    #[test]
    fn the_binding_tells_logs_offsets_and_salts_apart() {
        let other = LogName::Flow("a".parse().unwrap());
        let one = binding(&LogName::Audit, 7, &[1; 16]);
        for different in [
            binding(&other, 7, &[1; 16]),
            binding(&LogName::Audit, 8, &[1; 16]),
            binding(&LogName::Audit, 7, &[2; 16]),
        ] {
            assert_ne!(one, different);
        }
    }

    #[test]
    fn file_names_give_offsets() {
        for place in [(12, 0), (12, 1), (OFFSET_MAX, GENERATION_MAX)] {
            assert_eq!(place_of(&file_name(place.0, place.1)), Some(place));
        }
        for other in [
            "start",
            "12.seg",
            "+0000000000000000012.seg",
            "99999999999999999999.seg",
            "04611686018427387905.seg",
            "00000000000000000012-1073741825.seg",
            "00000000000000000012-0.seg",
            "00000000000000000012-01.seg",
            "00000000000000000012-1.seg.new",
        ] {
            assert_eq!(place_of(other), None, "{other}");
        }
    }
}
