//! The frame: one batch of entries as it lies in a segment, kept or dropped as a whole.
//!
//! | octets | what (integers are little-endian) |
//! |---|---|
//! | 4 | magic `HFRM` |
//! | 4 | kind: 0 entries, 1 mark, 2 gap that was erased, 3 gap that was lost |
//! | 4 | entries, or offsets of a gap |
//! | 8 | offset of the first one |
//! | 8 | nonce counter of the first one |
//! | 8 | position of this frame in its segment |
//! | 8 | *synced*: everything in this segment before this position was durable when the frame was written |
//! | 4 | octets of the payload |
//! | 4 | CRC32C of the payload |
//! | 4 | CRC32C of the segment's salt and the 52 octets above |
//! | payload | for each entry: 4 octets data key, 4 octets sealed length; then the sealed entries |
//! | 1 | `0xff` |
//!
//! *Synced* and the last octet tell damage from a torn write: see [`tear`](super::tear). A mark has no entries and no payload.
//! A gap stands for offsets whose entries are gone; its payload is a data key and an empty message sealed under it, so that
//! nobody without the keys makes entries disappear.
//!
//! An entry is sealed with AES-256-GCM (NIST SP 800-38D) under a key of its own data key and segment. The nonce is a counter
//! that never goes back within a segment, and a segment is written by one run of the broker only, under a fresh random
//! salt: so no nonce is used twice, not even where a torn tail is written over. Associated data are the segment's
//! [`Binding`] (its log, first offset and salt), the offset and the data key: an entry opens nowhere else.

use std::ops::Range;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::error::Unspecified;

use crate::limits::{APPEND_ENTRIES_MAX, APPEND_OCTETS_MAX, OFFSET_MAX};

pub(super) const HEADER_OCTETS: usize = 56;
/// What every frame ends with. Not zero, so that a frame's last sector never reads as one that was not written.
const END: u8 = 0xff;
pub(super) const END_OCTETS: usize = 1;
/// Octets of the smallest frame that holds an entry.
pub(super) const ENTRY_FRAME_OCTETS_MIN: usize = HEADER_OCTETS + ROW_OCTETS + TAG_OCTETS + END_OCTETS;
/// Octets of a mark.
pub(super) const MARK_OCTETS: usize = HEADER_OCTETS + END_OCTETS;
/// Octets of a GCM tag.
pub(super) const TAG_OCTETS: usize = 16;
pub(super) const ROW_OCTETS: usize = 8;
const MAGIC: [u8; 4] = *b"HFRM";
const CRC_AT: Range<usize> = 52..56;
/// Octets of a gap's payload: a number and a tag.
const GAP_OCTETS: u32 = 4 + 16;
/// Octets of the largest payload that is ever written; a longer one is not a frame.
pub(super) const PAYLOAD_OCTETS_MAX: usize =
    APPEND_OCTETS_MAX + APPEND_ENTRIES_MAX * (ROW_OCTETS + TAG_OCTETS);

/// Makes a segment's keys and checksums differ from those of every other one.
pub(super) type Salt = [u8; 16];

/// What the ciphertext of a segment is bound to: a digest of the log's name, the first offset and the salt.
pub(super) type Binding = [u8; 16];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Entries.
    Entries = 0,
    /// Word that all before it is durable.
    Mark = 1,
    /// Offsets whose entries were erased.
    Erased = 2,
    /// Offsets whose entries were damaged and given up by an operator.
    Lost = 3,
}

impl Kind {
    fn of(octets: u32) -> Option<Self> {
        [Self::Entries, Self::Mark, Self::Erased, Self::Lost].into_iter().find(|kind| *kind as u32 == octets)
    }

    pub(super) fn is_gap(self) -> bool {
        matches!(self, Self::Erased | Self::Lost)
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) entries: u32,
    pub(super) first: u64,
    pub(super) nonce: u64,
    pub(super) position: u64,
    pub(super) synced: u64,
    pub(super) payload_octets: u32,
    pub(super) payload_crc: u32,
}

impl Header {
    /// The offset after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.entries))
    }

    /// Octets of the whole frame.
    pub(super) fn frame_octets(&self) -> u64 {
        (HEADER_OCTETS + END_OCTETS) as u64 + u64::from(self.payload_octets)
    }

    pub(super) fn encode(&self, salt: &Salt) -> [u8; HEADER_OCTETS] {
        let mut octets = [0; HEADER_OCTETS];
        octets[0..4].copy_from_slice(&MAGIC);
        octets[4..8].copy_from_slice(&(self.kind as u32).to_le_bytes());
        octets[8..12].copy_from_slice(&self.entries.to_le_bytes());
        octets[12..20].copy_from_slice(&self.first.to_le_bytes());
        octets[20..28].copy_from_slice(&self.nonce.to_le_bytes());
        octets[28..36].copy_from_slice(&self.position.to_le_bytes());
        octets[36..44].copy_from_slice(&self.synced.to_le_bytes());
        octets[44..48].copy_from_slice(&self.payload_octets.to_le_bytes());
        octets[48..52].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(salt, &octets);
        octets[CRC_AT].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// Reads a header, if its checksum holds and its lengths are possible.
    pub(super) fn decode(salt: &Salt, octets: &[u8]) -> Option<Self> {
        let octets: &[u8; HEADER_OCTETS] = octets.get(..HEADER_OCTETS)?.try_into().ok()?;
        if octets[0..4] != MAGIC || u32_at(octets, CRC_AT.start) != header_crc(salt, octets) {
            return None;
        }
        let header = Self {
            kind: Kind::of(u32_at(octets, 4))?,
            entries: u32_at(octets, 8),
            first: u64_at(octets, 12),
            nonce: u64_at(octets, 20),
            position: u64_at(octets, 28),
            synced: u64_at(octets, 36),
            payload_octets: u32_at(octets, 44),
            payload_crc: u32_at(octets, 48),
        };
        let (entries, payload) = (header.entries as usize, header.payload_octets as usize);
        let possible = match header.kind {
            Kind::Entries => {
                (1..=APPEND_ENTRIES_MAX).contains(&entries)
                    && (entries * (ROW_OCTETS + TAG_OCTETS)..=PAYLOAD_OCTETS_MAX).contains(&payload)
            }
            Kind::Mark => entries == 0 && payload == 0,
            Kind::Erased | Kind::Lost => entries > 0 && payload == GAP_OCTETS as usize,
        };
        (possible && header.first <= OFFSET_MAX).then_some(header)
    }

    /// Whether what follows the header, payload and last octet, is what was written.
    pub(super) fn matches(&self, rest: &[u8]) -> bool {
        match rest.split_last() {
            Some((&END, payload)) => {
                payload.len() == self.payload_octets as usize && crc32c::crc32c(payload) == self.payload_crc
            }
            _ => false,
        }
    }
}

/// A frame without entries, which says that all before `position` is durable and ends with offset `next`.
pub(super) fn mark(salt: &Salt, next: u64, position: u64) -> [u8; MARK_OCTETS] {
    let header = Header {
        kind: Kind::Mark,
        entries: 0,
        first: next,
        nonce: 0,
        position,
        synced: position,
        payload_octets: 0,
        payload_crc: 0,
    };
    let mut octets = [END; MARK_OCTETS];
    octets[..HEADER_OCTETS].copy_from_slice(&header.encode(salt));
    octets
}

/// A frame that stands for offsets without entries.
pub(super) fn gap(
    (key, key_id): (&LessSafeKey, u32),
    binding: &Binding,
    kind: Kind,
    (first, offsets): (u64, u32),
    nonce_counter: u64,
) -> Result<Frame, Unspecified> {
    let mut octets = vec![0; HEADER_OCTETS];
    octets.extend_from_slice(&key_id.to_le_bytes());
    let aad = Aad::from(gap_data(binding, kind, first, offsets, key_id));
    octets.extend_from_slice(key.seal_in_place_separate_tag(nonce(nonce_counter), aad, &mut [])?.as_ref());
    let header = Header {
        kind,
        entries: offsets,
        first,
        nonce: nonce_counter,
        position: 0,
        synced: 0,
        payload_octets: GAP_OCTETS,
        payload_crc: crc32c::crc32c(&octets[HEADER_OCTETS..]),
    };
    octets.push(END);
    Ok(Frame { octets, header })
}

/// The data key of a gap.
pub(super) fn gap_key(payload: &[u8]) -> Option<u32> {
    payload.get(..4).map(|id| u32_at(id, 0))
}

/// Whether a gap was made by someone who has the key.
pub(super) fn is_authentic_gap(
    key: &LessSafeKey,
    binding: &Binding,
    header: &Header,
    payload: &[u8],
) -> bool {
    let Some((id, tag)) = payload.split_first_chunk::<4>() else { return false };
    let key_id = u32::from_le_bytes(*id);
    let aad = Aad::from(gap_data(binding, header.kind, header.first, header.entries, key_id));
    let Some(tag) = tag.get(..TAG_OCTETS) else { return false };
    key.open_in_place(nonce(header.nonce), aad, &mut tag.to_vec()).is_ok()
}

fn gap_data(binding: &Binding, kind: Kind, first: u64, offsets: u32, key_id: u32) -> [u8; 33] {
    let mut octets = [0; 33];
    octets[..28].copy_from_slice(&associated_data(binding, first, key_id));
    octets[28] = (kind as u32).to_le_bytes()[0];
    octets[29..].copy_from_slice(&offsets.to_le_bytes());
    octets
}

/// A frame being filled. Room is taken once, each entry is copied once and sealed where it lies.
pub(super) struct Builder {
    octets: Vec<u8>,
    header: Header,
    binding: Binding,
    rows: usize,
}

impl Builder {
    /// Begins a frame of `entries` entries with `plain_octets` in all.
    pub(super) fn new(binding: &Binding, first: u64, nonce: u64, entries: u32, plain_octets: usize) -> Self {
        let table = HEADER_OCTETS + entries as usize * ROW_OCTETS;
        let sealed = plain_octets + entries as usize * TAG_OCTETS;
        let mut octets = Vec::with_capacity(table + sealed + END_OCTETS);
        octets.resize(table, 0);
        let header = Header {
            kind: Kind::Entries,
            entries,
            first,
            nonce,
            position: 0,
            synced: 0,
            payload_octets: 0,
            payload_crc: 0,
        };
        Self { octets, header, binding: *binding, rows: 0 }
    }

    /// Seals the next entry into the frame.
    pub(super) fn push(&mut self, key: &LessSafeKey, key_id: u32, plain: &[u8]) -> Result<(), Unspecified> {
        let row = HEADER_OCTETS + self.rows * ROW_OCTETS;
        let sealed = u32::try_from(plain.len() + TAG_OCTETS).map_err(|_| Unspecified)?;
        self.octets[row..row + 4].copy_from_slice(&key_id.to_le_bytes());
        self.octets[row + 4..row + ROW_OCTETS].copy_from_slice(&sealed.to_le_bytes());
        let start = self.octets.len();
        self.octets.extend_from_slice(plain);
        let at = self.rows as u64;
        let aad = Aad::from(associated_data(&self.binding, self.header.first + at, key_id));
        let nonce = nonce(self.header.nonce + at);
        let tag = key.seal_in_place_separate_tag(nonce, aad, &mut self.octets[start..])?;
        self.octets.extend_from_slice(tag.as_ref());
        self.rows += 1;
        Ok(())
    }

    /// The frame, but for its header, which [`Frame::stamp`] writes when the frame goes to disk.
    pub(super) fn finish(mut self) -> Frame {
        let payload = &self.octets[HEADER_OCTETS..];
        self.header.payload_octets = u32::try_from(payload.len()).expect("bounded by PAYLOAD_OCTETS_MAX");
        self.header.payload_crc = crc32c::crc32c(payload);
        self.octets.push(END);
        Frame { octets: self.octets, header: self.header }
    }
}

/// A frame on its way to disk.
pub(super) struct Frame {
    octets: Vec<u8>,
    pub(super) header: Header,
}

impl Frame {
    /// Writes the header, now that it is known where the frame comes to lie and how far the segment is durable.
    pub(super) fn stamp(&mut self, salt: &Salt, position: u64, synced: u64) -> &[u8] {
        self.header.position = position;
        self.header.synced = synced;
        self.octets[..HEADER_OCTETS].copy_from_slice(&self.header.encode(salt));
        &self.octets
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Where an entry lies in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) offset: u64,
    pub(super) nonce: u64,
    pub(super) key_id: u32,
    pub(super) sealed: Range<usize>,
}

/// The rows of a payload's table. Ends early with none where a row points outside.
pub(super) fn rows<'a>(header: &Header, payload: &'a [u8]) -> impl Iterator<Item = Option<Row>> + use<'a> {
    let (first, nonce) = (header.first, header.nonce);
    let mut position = header.entries as usize * ROW_OCTETS;
    (0..header.entries).map(move |number| {
        let at = number as usize * ROW_OCTETS;
        let key_id = u32_at(payload.get(..at + ROW_OCTETS)?, at);
        let sealed = position..position.checked_add(u32_at(payload, at + 4) as usize)?;
        if sealed.end > payload.len() || sealed.len() < TAG_OCTETS {
            return None;
        }
        position = sealed.end;
        Some(Row {
            offset: first + u64::from(number),
            nonce: nonce.wrapping_add(u64::from(number)),
            key_id,
            sealed,
        })
    })
}

/// Opens an entry where it lies; the plain octets are the sealed ones without the tag.
pub(super) fn open(
    key: &LessSafeKey,
    binding: &Binding,
    row: &Row,
    payload: &mut [u8],
) -> Result<Range<usize>, Unspecified> {
    let sealed = payload.get_mut(row.sealed.clone()).ok_or(Unspecified)?;
    let aad = Aad::from(associated_data(binding, row.offset, row.key_id));
    let plain = key.open_in_place(nonce(row.nonce), aad, sealed)?;
    Ok(row.sealed.start..row.sealed.start + plain.len())
}

fn nonce(counter: u64) -> Nonce {
    let mut octets = [0; NONCE_LEN];
    octets[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(octets)
}

fn associated_data(binding: &Binding, offset: u64, key_id: u32) -> [u8; 28] {
    let mut octets = [0; 28];
    octets[..16].copy_from_slice(binding);
    octets[16..24].copy_from_slice(&offset.to_le_bytes());
    octets[24..].copy_from_slice(&key_id.to_le_bytes());
    octets
}

fn header_crc(salt: &Salt, octets: &[u8; HEADER_OCTETS]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(salt), &octets[..CRC_AT.start])
}

/// Reads a number that the caller knows to be there.
pub(super) fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets"))
}

/// Reads a number that the caller knows to be there.
pub(super) fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(octets[at..at + 8].try_into().expect("eight octets"))
}

const _: () = assert!(PAYLOAD_OCTETS_MAX < u32::MAX as usize);

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_256_GCM, UnboundKey};
    use proptest::prelude::*;

    use super::*;

    const SALT: Salt = [7; 16];
    const BINDING: Binding = [8; 16];

    fn key() -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[3; 32]).unwrap())
    }

    fn frame(first: u64, plains: &[Vec<u8>]) -> Vec<u8> {
        let octets = plains.iter().map(Vec::len).sum();
        let mut builder = Builder::new(&BINDING, first, 100, u32::try_from(plains.len()).unwrap(), octets);
        plains.iter().for_each(|plain| builder.push(&key(), 9, plain).unwrap());
        let mut frame = builder.finish();
        frame.stamp(&SALT, 77, 5).to_vec()
    }

    fn read(octets: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
        let header = Header::decode(&SALT, octets)?;
        let mut payload =
            octets.get(HEADER_OCTETS..usize::try_from(header.frame_octets()).unwrap())?.to_vec();
        if !header.matches(&payload) {
            return None;
        }
        let rows: Option<Vec<Row>> = rows(&header, &payload).collect();
        let mut plain = |row: Row| {
            let range = open(&key(), &BINDING, &row, &mut payload).ok()?;
            Some((row.offset, payload[range].to_vec()))
        };
        rows?.into_iter().map(&mut plain).collect()
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            first in 0..=OFFSET_MAX,
            plains in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
        ) {
            let expected: Vec<_> = (first..).zip(plains.iter().cloned()).collect();
            let octets = frame(first, &plains);
            let header = Header::decode(&SALT, &octets).unwrap();
            prop_assert_eq!(header.frame_octets(), octets.len() as u64);
            prop_assert_eq!((header.end(), header.position, header.synced), (first + plains.len() as u64, 77, 5));
            prop_assert_eq!(read(&octets), Some(expected));
        }

        #[test]
        fn a_changed_octet_is_found(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut octets = frame(1, &[b"first".to_vec(), b"second".to_vec()]);
            let at = at.index(octets.len());
            octets[at] ^= flip;
            prop_assert_eq!(read(&octets), None);
        }

        #[test]
        fn garbage_is_no_frame(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Header::decode(&SALT, &octets), None);
        }

        #[test]
        fn a_forged_table_does_not_reach_outside(
            entries in 0..50_u32,
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let payload_octets = u32::try_from(payload.len()).unwrap();
            let kind = Kind::Entries;
            let (first, nonce, position, synced, payload_crc) = (0, u64::MAX, 0, 0, 0);
            let header = Header { kind, entries, first, nonce, position, synced, payload_octets, payload_crc };
            for row in rows(&header, &payload).flatten() {
                prop_assert!(row.sealed.end <= payload.len());
            }
        }
    }

    #[test]
    fn an_entry_is_bound_to_its_offset_key_and_counter() {
        let octets = frame(1, &[b"first".to_vec(), b"other".to_vec()]);
        let header = Header::decode(&SALT, &octets).unwrap();
        let payload = &octets[HEADER_OCTETS..];
        let row = rows(&header, payload).next().unwrap().unwrap();
        let opens = |row: &Row| open(&key(), &BINDING, row, &mut payload.to_vec()).is_ok();
        assert!(open(&key(), &[9; 16], &row, &mut payload.to_vec()).is_err(), "another log or segment");
        assert!(opens(&row));
        assert!(!opens(&Row { offset: 2, ..row.clone() }));
        assert!(!opens(&Row { key_id: 8, ..row.clone() }));
        assert!(!opens(&Row { nonce: 101, ..row }));
    }

    #[test]
    fn a_gap_is_bound_to_its_offsets_kind_and_segment() {
        let key = key();
        let mut made = gap((&key, 9), &BINDING, Kind::Erased, (7, 3), 5).unwrap();
        let octets = made.stamp(&SALT, 128, 128).to_vec();
        let header = Header::decode(&SALT, &octets).unwrap();
        let payload = &octets[HEADER_OCTETS..octets.len() - END_OCTETS];
        assert!(header.matches(&octets[HEADER_OCTETS..]) && header.end() == 10);
        assert_eq!(gap_key(payload), Some(9));
        let opens = |binding: &Binding, header: Header| is_authentic_gap(&key, binding, &header, payload);
        assert!(opens(&BINDING, header));
        assert!(!opens(&[9; 16], header));
        assert!(!opens(&BINDING, Header { kind: Kind::Lost, ..header }));
        assert!(!opens(&BINDING, Header { first: 8, ..header }));
        assert!(!opens(&BINDING, Header { entries: 4, ..header }), "a gap does not grow");
        assert!(!opens(&BINDING, Header { nonce: 6, ..header }));
    }

    #[test]
    fn a_frame_of_another_segment_is_none_here() {
        let octets = frame(1, &[b"first".to_vec()]);
        assert!(Header::decode(&SALT, &octets).is_some());
        assert_eq!(Header::decode(&[8; 16], &octets), None);
        assert_eq!(Header::decode(&SALT, &[0; HEADER_OCTETS]), None, "zeros are no frame");
    }
}
