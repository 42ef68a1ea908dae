//! Walks through the frames of a segment, and tells a write that a crash tore from damage.
//!
//! A crash may lose any part of what was not fsynced, but a disk writes whole sectors: a sector of an appended file holds
//! either what was written, or what was there before, which is zeros, or it is behind the end of the file. So octets that
//! are there and wrong are never the work of a crash. What is missing or zero may be, if nobody was told that it was
//! durable. Nobody was, unless
//!
//! - a later frame says so: its *synced* is behind the place, or
//! - the store's `ends` file says so: it names how far each log was durable when it was last opened or closed.
//!
//! | found | told by | is |
//! |---|---|---|
//! | octets that are not what was written | checksum wrong, no sector missing | damage: altered |
//! | a frame that says that it belongs elsewhere | its position | damage: reordered |
//! | a sector of zeros, was durable | zeros, and a later *synced* or the known end | damage: zero-filled |
//! | the end is missing, was durable | end of the file before the known end | damage: truncated |
//! | a sector of zeros, or the end missing, nobody was told | neither of these | a torn tail, which is cut off |

use super::frame::{self, Header};
use super::segment::{HEADER_OCTETS, Segment};
use crate::DamageKind;

/// Octets that a disk writes as a whole (NVMe and ATA: at least 512).
const SECTOR_OCTETS: usize = 512;

/// What is found in a segment, from its beginning on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole frame, with its position.
    Frame(usize, Header),
    /// Entries that are not as they were written.
    Damage(Damage),
    /// The rest, from this position on, was never acknowledged.
    Torn(usize),
}

/// Entries of a segment that are not as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) kind: DamageKind,
    /// Where the frames before it end.
    pub(super) position: usize,
    /// The first offset that is lost.
    pub(super) first: u64,
    /// The first one after it that is not; none where that is not known.
    pub(super) end: Option<u64>,
}

impl Damage {
    /// Whether no entry is lost: what is damaged was only a mark.
    pub(super) fn is_harmless(&self) -> bool {
        self.end == Some(self.first)
    }
}

/// The pieces of a segment. Offsets before `floor` are known to have been durable.
pub(super) struct Walk<'a> {
    segment: &'a Segment,
    octets: &'a [u8],
    floor: u64,
    position: usize,
    next: u64,
    is_over: bool,
    /// The headers that can be read, wherever; made when something is wrong.
    headers: Option<Vec<(usize, Header)>>,
}

impl<'a> Walk<'a> {
    /// From the first frame on; `octets` is the whole file.
    pub(super) fn new(segment: &'a Segment, octets: &'a [u8], floor: u64) -> Self {
        let (position, next) = (HEADER_OCTETS, segment.base);
        Self { segment, octets, floor, position, next, is_over: false, headers: None }
    }

    fn frame(&self) -> Option<Header> {
        let header = whole_frame(self.segment, self.octets, self.position)?;
        (header.position == self.position as u64 && header.first == self.next).then_some(header)
    }

    /// What is wrong at this place, and where it goes on.
    fn wrong(&mut self) -> Piece {
        let (segment, octets, at) = (self.segment, self.octets, self.position);
        let headers = self.headers.get_or_insert_with(|| headers(segment, octets));
        let later = &headers[headers.partition_point(|(position, _)| *position <= at)..];
        let is_claimed = later.iter().any(|(_, header)| header.synced > at as u64);
        let following = later.iter().find(|(_, header)| header.first >= self.next).copied();
        let here = Header::decode(&segment.salt, &octets[at.min(octets.len())..]);
        let kind = match here {
            Some(header) if header.position != at as u64 => DamageKind::Reordered,
            // At its place, but not after what was before: a frame before it is gone.
            Some(header) if whole_frame(segment, octets, at).is_some() && header.first != self.next => {
                DamageKind::Reordered
            }
            _ => lack(octets, at, here),
        };
        let is_lack = matches!(kind, DamageKind::ZeroFilled | DamageKind::Truncated);
        if is_lack && !is_claimed && self.floor <= self.next {
            self.is_over = true;
            return Piece::Torn(at);
        }
        let own_end = here.filter(|header| header.position == at as u64).map(|header| header.end());
        // One of earlier offsets says nothing of where these end.
        let own_end = own_end.filter(|end| *end > self.next);
        let known_end = (self.floor > self.next).then_some(self.floor);
        // Where no entry fits it was a mark.
        let no_room = (octets.len() - at < frame::ENTRY_FRAME_OCTETS_MIN && kind == DamageKind::Altered)
            .then_some(self.next);
        let end = following.map(|(_, header)| header.first).or(own_end).or(known_end).or(no_room);
        let damage = Damage { kind, position: at, first: self.next, end };
        match following {
            Some((position, header)) => (self.position, self.next) = (position, header.first),
            None => {
                self.next = end.unwrap_or(self.next).max(self.next);
                self.is_over = self.next >= self.floor;
                self.position = octets.len();
            }
        }
        Piece::Damage(damage)
    }
}

impl Iterator for Walk<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.is_over || (self.position >= self.octets.len() && self.next >= self.floor) {
            return None;
        }
        let Some(header) = self.frame() else { return Some(self.wrong()) };
        let piece = Piece::Frame(self.position, header);
        self.next = header.end();
        self.position += usize::try_from(header.frame_octets()).expect("the frame is in memory");
        Some(piece)
    }
}

fn whole_frame(segment: &Segment, octets: &[u8], at: usize) -> Option<Header> {
    let octets = octets.get(at..)?;
    let header = Header::decode(&segment.salt, octets)?;
    let rest = octets.get(frame::HEADER_OCTETS..usize::try_from(header.frame_octets()).ok()?)?;
    header.matches(rest).then_some(header)
}

/// Every header that can be read and is where it says.
fn headers(segment: &Segment, octets: &[u8]) -> Vec<(usize, Header)> {
    let positions = HEADER_OCTETS..octets.len().saturating_sub(frame::HEADER_OCTETS - 1);
    let header = |at: usize| {
        let header = Header::decode(&segment.salt, &octets[at..])?;
        (header.position == at as u64).then_some((at, header))
    };
    positions.filter_map(header).collect()
}

/// How a frame that is not whole differs from what was written.
fn lack(octets: &[u8], at: usize, header: Option<Header>) -> DamageKind {
    let frame_octets = header.map_or(frame::HEADER_OCTETS as u64, |header| header.frame_octets());
    let end = at.saturating_add(usize::try_from(frame_octets).unwrap_or(usize::MAX));
    if has_hole(octets, at, end) {
        DamageKind::ZeroFilled
    } else if end > octets.len() {
        DamageKind::Truncated
    } else {
        DamageKind::Altered
    }
}

/// Whether a sector of what was written at a place and does not go beyond `end` is not there. `octets` is the whole file.
pub(super) fn has_hole(octets: &[u8], at: usize, end: usize) -> bool {
    let mut from = at;
    while from < end.min(octets.len()) {
        let to = (from / SECTOR_OCTETS + 1) * SECTOR_OCTETS;
        if octets[from..to.min(octets.len())].iter().all(|&octet| octet == 0) {
            return true;
        }
        from = to;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hilum_core::LogName;

    use super::*;
    use crate::embedded::frame::Kind;

    const PAYLOAD: u16 = 2000;

    fn segment() -> Segment {
        Segment::plan(Path::new("/x"), &LogName::Audit, 7, 0).unwrap()
    }

    fn file(segment: &Segment) -> Vec<u8> {
        segment.header(&LogName::Audit).to_vec()
    }

    fn push(segment: &Segment, file: &mut Vec<u8>, first: u64, synced: usize) {
        let payload = [0xa5; PAYLOAD as usize];
        let header = Header {
            kind: Kind::Entries,
            entries: 1,
            first,
            nonce: 0,
            position: file.len() as u64,
            synced: synced as u64,
            payload_octets: PAYLOAD.into(),
            payload_crc: crc32c::crc32c(&payload),
        };
        file.extend_from_slice(&header.encode(&segment.salt));
        file.extend_from_slice(&payload);
        file.push(0xff);
    }

    fn mark(segment: &Segment, file: &mut Vec<u8>, next: u64) {
        let mark = frame::mark(&segment.salt, next, file.len() as u64);
        file.extend_from_slice(&mark);
    }

    fn pieces(segment: &Segment, file: &[u8], floor: u64) -> Vec<Piece> {
        Walk::new(segment, file, floor).filter(|piece| !matches!(piece, Piece::Frame(..))).collect()
    }

    /// Three frames, of which none says that another is durable.
    fn group(segment: &Segment) -> (Vec<u8>, [usize; 3]) {
        let mut file = file(segment);
        let mut starts = [0; 3];
        for (number, start) in (7..).zip(&mut starts) {
            *start = file.len();
            push(segment, &mut file, number, HEADER_OCTETS);
        }
        (file, starts)
    }

    #[test]
    fn a_group_of_which_sectors_are_missing_is_torn() {
        let segment = segment();
        let (whole, starts) = group(&segment);
        assert_eq!(pieces(&segment, &whole, 0), []);
        for sector in 1..whole.len() / SECTOR_OCTETS {
            let mut torn = whole.clone();
            torn[sector * SECTOR_OCTETS..(sector + 1) * SECTOR_OCTETS].fill(0);
            let hit = starts.iter().rev().find(|start| **start < (sector + 1) * SECTOR_OCTETS);
            // A sector that begins in one frame and ends in the next belongs to the earlier one.
            let hit = starts.iter().rev().find(|start| **start <= sector * SECTOR_OCTETS).or(hit).unwrap();
            assert_eq!(pieces(&segment, &torn, 0), [Piece::Torn(*hit)], "sector {sector}");
        }
        let mut first = whole.clone();
        first[HEADER_OCTETS..SECTOR_OCTETS].fill(0);
        assert_eq!(
            pieces(&segment, &first, 0),
            [Piece::Torn(HEADER_OCTETS)],
            "the header's sector had nothing else"
        );
        for length in HEADER_OCTETS + 1..whole.len() {
            let expected: Vec<Piece> = if starts.contains(&length) {
                vec![]
            } else {
                vec![Piece::Torn(*starts.iter().rfind(|start| **start < length).unwrap())]
            };
            assert_eq!(pieces(&segment, &whole[..length], 0), expected, "cut to {length}");
        }
    }

    #[test]
    fn a_changed_octet_is_damage_though_nobody_was_told_of_the_group() {
        let segment = segment();
        let (whole, starts) = group(&segment);
        for at in HEADER_OCTETS..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            let number = starts.iter().rposition(|start| *start <= at).unwrap();
            let (position, first) = (starts[number], number as u64 + 7);
            let found = pieces(&segment, &changed, 0);
            let [Piece::Damage(damage)] = found.as_slice() else { panic!("octet {at}: {found:?}") };
            assert_eq!(
                (damage.kind, damage.position, damage.first),
                (DamageKind::Altered, position, first),
                "{at}"
            );
            let is_last_header = (starts[2]..starts[2] + frame::HEADER_OCTETS).contains(&at);
            assert_eq!(damage.end, (!is_last_header).then_some(first + 1), "{at}");
        }
    }

    #[test]
    fn what_was_durable_is_damage_when_it_is_missing() {
        let segment = segment();
        let (mut whole, starts) = group(&segment);
        let unmarked = whole.clone();
        mark(&segment, &mut whole, 10);
        let zero = |file: &[u8]| {
            let mut zeroed = file.to_vec();
            let sector = (starts[1] / SECTOR_OCTETS + 1) * SECTOR_OCTETS;
            zeroed[sector..sector + SECTOR_OCTETS].fill(0);
            zeroed
        };
        let damage =
            |kind, end| vec![Piece::Damage(Damage { kind, position: starts[1], first: 8, end: Some(end) })];
        assert_eq!(pieces(&segment, &zero(&whole), 0), damage(DamageKind::ZeroFilled, 9), "the mark says so");
        assert_eq!(pieces(&segment, &zero(&unmarked), 0), [Piece::Torn(starts[1])]);
        assert_eq!(
            pieces(&segment, &zero(&unmarked), 9),
            damage(DamageKind::ZeroFilled, 9),
            "the floor says so"
        );
        assert_eq!(pieces(&segment, &unmarked[..starts[1]], 10), damage(DamageKind::Truncated, 10));
        assert_eq!(pieces(&segment, &unmarked[..starts[1]], 8), []);
    }

    #[test]
    fn exchanged_frames_and_blocks_are_damage() {
        let segment = segment();
        let (whole, starts) = group(&segment);
        let frame = |number: usize| whole[starts[number]..starts[number] + starts[1] - starts[0]].to_vec();
        let exchanged = [&whole[..starts[0]], &frame(1), &frame(0), &frame(2)].concat();
        let found = pieces(&segment, &exchanged, 0);
        let reordered = Damage { kind: DamageKind::Reordered, position: starts[0], first: 7, end: Some(9) };
        assert_eq!(found, [Piece::Damage(reordered)]);
        let mut earlier = whole.clone();
        push(&segment, &mut earlier, 3, HEADER_OCTETS);
        let again = Damage { kind: DamageKind::Reordered, position: whole.len(), first: 10, end: None };
        assert_eq!(pieces(&segment, &earlier, 0), [Piece::Damage(again)], "nothing is lost backwards");
        let mut blocks = whole.clone();
        let (front, back) = blocks.split_at_mut(3 * SECTOR_OCTETS);
        front[SECTOR_OCTETS..2 * SECTOR_OCTETS].swap_with_slice(&mut back[SECTOR_OCTETS..2 * SECTOR_OCTETS]);
        assert!(blocks == whole || !pieces(&segment, &blocks, 0).contains(&Piece::Torn(starts[0])));
    }
}
