//! A segment: one file of a log, with a header of fixed size and then frames. Written by one run of the broker only.
//!
//! | octets | what (integers are little-endian) |
//! |---|---|
//! | 8 | magic `HILUMSEG` |
//! | 4 | format version |
//! | 8 | offset of the first entry |
//! | 16 | salt: random, new for each segment; the data keys of the segment are derived with it |
//! | 1 + 80 | octets of the log's name, and the name, filled up with zeros |
//! | 7 | zeros |
//! | 4 | CRC32C of all above |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::error::Unspecified;
use hilum_core::LogName;
use parking_lot::Mutex;

use super::frame::{self, Header, Salt, u32_at, u64_at};
use crate::limits::INDEX_STEP_OCTETS;

pub(super) const HEADER_OCTETS: usize = 128;
const MAGIC: [u8; 8] = *b"HILUMSEG";
pub(super) const VERSION: u32 = 1;
const NAME_AT: usize = 37;
const CRC_AT: usize = HEADER_OCTETS - 4;

/// One file of a log, as its readers and its writer know it.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The offset of its first entry.
    pub(super) base: u64,
    pub(super) salt: Salt,
    /// The next nonce counter. Never goes back, whatever is refused or written over.
    nonce: AtomicU64,
    /// Octets of the file.
    octets: AtomicU64,
    /// First offset and position of some frames, in order; grows while the segment is written or read through.
    index: Mutex<Vec<(u64, u64)>>,
}

impl Segment {
    fn at(path: PathBuf, base: u64, salt: Salt) -> Self {
        let index = Mutex::new(vec![(base, HEADER_OCTETS as u64)]);
        Self { path, base, salt, nonce: AtomicU64::new(0), octets: AtomicU64::new(0), index }
    }

    /// A segment that is to be written.
    pub(super) fn plan(dir: &Path, base: u64) -> Result<Self, Unspecified> {
        let mut salt = Salt::default();
        aws_lc_rs::rand::fill(&mut salt)?;
        Ok(Self::at(dir.join(file_name(base)), base, salt))
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
        let base = u64_at(header, 12);
        if path.file_name().is_none_or(|found| found != file_name(base).as_str()) {
            return Err(format!("it is named for another offset than its own, {base}"));
        }
        Ok(Self::at(path.to_owned(), base, header[20..36].try_into().expect("sixteen octets")))
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

/// Offsets with their zeros, so that names sort as numbers do.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// The offset in a segment's file name, if it is one.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let base = name.strip_suffix(".seg").filter(|base| base.len() == 20)?;
    base.bytes().all(|b| b.is_ascii_digit()).then(|| base.parse().ok())?
}

/// How the frames of a segment end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    /// With the file.
    Clean,
    /// With octets that were never acknowledged: a write that a crash tore.
    Torn,
    /// With octets that were durable once, and are not what was written.
    Damaged {
        /// The first offset after the damage that is intact, if any.
        intact: Option<u64>,
    },
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// The offset after the last entry of the frames that are whole.
    pub(super) end: u64,
    /// The position after them.
    pub(super) position: usize,
    pub(super) tail: Tail,
    /// Whether the last frame is a mark, so that all before it was durable.
    pub(super) marked: bool,
}

/// Goes through all frames of a segment and checks each one's checksums and offsets.
pub(super) fn scan(segment: &Segment, octets: &[u8]) -> Scan {
    let mut scan = Scan { end: segment.base, position: HEADER_OCTETS, tail: Tail::Clean, marked: false };
    while scan.position < octets.len() {
        let rest = &octets[scan.position..];
        let Some(header) = whole_frame(segment, rest).filter(|header| header.first == scan.end) else {
            scan.tail = tail(segment, octets, &scan);
            return scan;
        };
        segment.note(header.first, scan.position as u64);
        scan.end = header.end();
        scan.position += rest.len().min(usize::try_from(header.frame_octets()).unwrap_or(usize::MAX));
        scan.marked = header.entries == 0;
    }
    scan
}

fn whole_frame(segment: &Segment, octets: &[u8]) -> Option<Header> {
    let header = Header::decode(&segment.salt, octets)?;
    let payload = octets.get(frame::HEADER_OCTETS..)?.get(..header.payload_octets as usize)?;
    header.matches(payload).then_some(header)
}

/// Tells damage from a torn write. Every frame carries how far the segment was durable when it was written, and a mark
/// follows the last one as soon as it is durable. So where any later header says that this position was durable, these
/// octets were acknowledged once. A whole frame that is at the wrong offset is never the work of a crash either.
fn tail(segment: &Segment, octets: &[u8], scan: &Scan) -> Tail {
    let at = scan.position;
    let misplaced = whole_frame(segment, &octets[at..]).is_some();
    let mut was_durable = misplaced;
    let mut intact: Option<u64> = None;
    for position in at + 1..octets.len().saturating_sub(frame::HEADER_OCTETS - 1) {
        let Some(header) = Header::decode(&segment.salt, &octets[position..]) else { continue };
        was_durable |= header.synced > at as u64;
        if header.first > scan.end && intact.is_none() {
            intact = Some(header.first);
        }
    }
    if was_durable { Tail::Damaged { intact } } else { Tail::Torn }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit_segment() -> Segment {
        Segment::plan(Path::new("/x"), 7).unwrap()
    }

    fn mark(segment: &Segment, next: u64, position: usize) -> Vec<u8> {
        frame::mark(&segment.salt, next, position as u64).to_vec()
    }

    fn entries(segment: &Segment, first: u64, synced: u64) -> Vec<u8> {
        let payload = [0; 24];
        let payload_crc = crc32c::crc32c(&payload);
        let header = Header { entries: 1, first, nonce: 0, synced, payload_octets: 24, payload_crc };
        [header.encode(&segment.salt).as_slice(), &payload].concat()
    }

    #[test]
    fn a_header_comes_back_and_any_change_is_found() {
        let segment = audit_segment();
        let header = segment.header(&LogName::Audit);
        let parsed = Segment::parse(&segment.path, &LogName::Audit, &header).unwrap();
        assert_eq!((parsed.base, parsed.salt), (7, segment.salt));
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
        let renamed = Segment::parse(Path::new("/x/00000000000000000008.seg"), &LogName::Audit, &header);
        assert_eq!(renamed.err().unwrap(), "it is named for another offset than its own, 7");
    }

    #[test]
    fn file_names_give_offsets() {
        assert_eq!(base_of(&file_name(12)), Some(12));
        for other in ["start", "12.seg", "+0000000000000000012.seg", "99999999999999999999.seg"] {
            assert_eq!(base_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_group_torn_out_of_order_is_torn_and_a_marked_one_is_damage() {
        let segment = audit_segment();
        let header = segment.header(&LogName::Audit).to_vec();
        let frame = entries(&segment, 7, 128);
        let second = entries(&segment, 8, 128);
        let mut torn = [header.clone(), vec![0; frame.len()], second.clone()].concat();
        let found = scan(&segment, &torn);
        assert_eq!((found.end, found.position, found.tail), (7, HEADER_OCTETS, Tail::Torn));
        let end = torn.len();
        torn.extend(mark(&segment, 9, end));
        assert_eq!(scan(&segment, &torn).tail, Tail::Damaged { intact: Some(8) });
        let whole = [header, frame, second, mark(&segment, 9, end)].concat();
        let expected = Scan { end: 9, position: whole.len(), tail: Tail::Clean, marked: true };
        assert_eq!(scan(&segment, &whole), expected);
    }

    #[test]
    fn a_frame_in_the_wrong_place_is_damage() {
        let segment = audit_segment();
        let octets = [segment.header(&LogName::Audit).to_vec(), entries(&segment, 8, 0)].concat();
        assert!(matches!(scan(&segment, &octets).tail, Tail::Damaged { .. }));
    }
}
