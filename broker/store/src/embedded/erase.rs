//! Removes single entries: the segments that hold them are written anew without them, as the next generation.
//!
//! The new file is fsynced before it takes its name, and that is durable before the old one goes. So after a crash there is
//! the old segment, or both, or the new one; where there are both, the new one counts and the old one goes. Readers that are
//! in the old file go on in it, and others find the new one. What is kept is sealed anew, under a key of the new salt.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use hilum_core::Offset;

use super::disk::{Disk, DiskFile, new_name, remove, sync_dir, write_all_at};
use super::frame::{self, Builder, Frame, Header, Kind, Row};
use super::keyring::Keyring;
use super::log::LogState;
use super::reader::Keys;
use super::segment::{self, Segment};
use super::tear::{Piece, Walk};
use super::writer::Writer;
use crate::limits::GENERATION_MAX;
use crate::{Corruption, DamageKind, IoFault, ReadError};

/// Removes entries of a log.
pub(super) fn erase(
    log: &Arc<LogState>,
    keyring: &Keyring,
    disk: &dyn Disk,
    writer: &Writer,
    offsets: &[Offset],
) -> Result<(), ReadError> {
    let _alone = log.trimming.lock();
    let bounds = {
        let view = log.view.read();
        if let Some(corruption) = &view.corruption {
            return Err(corruption.clone().into());
        }
        view.start()..view.end
    };
    let erased: BTreeSet<u64> =
        offsets.iter().map(|offset| offset.0).filter(|offset| bounds.contains(offset)).collect();
    let Some(&last) = erased.last() else { return Ok(()) };
    if log.view.read().segments.last().is_some_and(|segment| segment.base <= last) {
        log.roll(writer)?;
    }
    let segments = {
        let view = log.view.read();
        let end_of = |number: usize| view.segments.get(number + 1).map_or(view.end, |next| next.base);
        let with_end = |(number, segment): (usize, &Arc<Segment>)| (segment.clone(), end_of(number));
        view.segments.iter().enumerate().map(with_end).collect::<Vec<_>>()
    };
    for (segment, end) in segments {
        if erased.range(segment.base..end).next().is_none() {
            continue;
        }
        let source = Source { log, keyring, segment: &segment, end };
        if let Some(new) = source.rewrite(disk, &|offset| erased.contains(&offset))? {
            let mut view = log.view.write();
            let place = view.segments.iter_mut().find(|found| Arc::ptr_eq(found, &segment));
            *place.expect("segments change only under the lock that is held") = Arc::new(new);
            drop(view);
            remove(disk, &segment.path)?;
            sync_dir(disk, &log.dir)?;
        }
    }
    Ok(())
}

/// A segment that is written anew.
pub(super) struct Source<'a> {
    pub(super) log: &'a LogState,
    pub(super) keyring: &'a Keyring,
    pub(super) segment: &'a Segment,
    /// The offset after its last entry.
    pub(super) end: u64,
}

impl Source<'_> {
    /// Writes the segment's next generation, without the entries that are `erased`. Durable when it comes back; the old
    /// generation is still there. None where nothing would change.
    pub(super) fn rewrite(
        &self,
        disk: &dyn Disk,
        erased: &dyn Fn(u64) -> bool,
    ) -> Result<Option<Segment>, ReadError> {
        let old = self.segment;
        let octets = std::fs::read(&old.path).map_err(|error| IoFault::new("read", &old.path, error))?;
        if old.generation >= GENERATION_MAX {
            let error = io::Error::other("no segment was written anew so often");
            return Err(IoFault::new("write anew", &old.path, error).into());
        }
        let mut output = Output::create(self, disk, old.generation + 1)?;
        let rewritten = self.copy(&octets, erased, &mut output);
        match rewritten {
            Ok(true) => output.finish(disk, self.end).map(Some),
            unchanged => {
                remove(disk, &output.path())?;
                unchanged.map(|_| None)
            }
        }
    }

    /// Whether anything changed.
    fn copy(
        &self,
        octets: &[u8],
        erased: &dyn Fn(u64) -> bool,
        output: &mut Output<'_>,
    ) -> Result<bool, ReadError> {
        let mut keys =
            Keys { keyring: self.keyring, log: self.log, segment: self.segment, derived: Vec::new() };
        let mut has_changed = false;
        for piece in Walk::new(self.segment, octets, self.end) {
            match piece {
                Piece::Frame(at, header) => {
                    let payload = payload(octets, at, &header);
                    has_changed |= self.copy_frame(&header, payload, &mut keys, erased, output, None)?;
                }
                Piece::Damage(found) if found.is_harmless() => {}
                Piece::Damage(found) => {
                    return Err(self.damage(found.kind, found.first, found.end, found.position));
                }
                Piece::Torn(at) => return Err(self.damage(DamageKind::Truncated, self.end, None, at)),
            }
        }
        Ok(has_changed)
    }

    /// Copies what is kept of one frame; whether that is not all. Entries that do not open are an error, unless `gives_up`
    /// says that they are lost.
    pub(super) fn copy_frame(
        &self,
        header: &Header,
        payload: &[u8],
        keys: &mut Keys<'_>,
        erased: &dyn Fn(u64) -> bool,
        output: &mut Output<'_>,
        gives_up: Option<u32>,
    ) -> Result<bool, ReadError> {
        let opened = match open_frame(header, payload, keys) {
            Some(opened) => opened,
            None => vec![Opened::Bad(header.first..header.end(), DamageKind::NotAuthentic)],
        };
        let mut has_changed = false;
        for opened in opened {
            match (opened, gives_up) {
                (Opened::Gap(kind, range, key_id), _) => output.gap(kind, range.start, range.end, key_id)?,
                (Opened::Entry(offset, key_id, _), _) if erased(offset) => {
                    output.gap(Kind::Erased, offset, offset + 1, key_id)?;
                    has_changed = true;
                }
                (Opened::Entry(offset, key_id, plain), _) => output.entry(offset, key_id, &plain)?,
                (Opened::Bad(range, _), Some(key_id)) => {
                    output.gap(Kind::Lost, range.start, range.end, key_id)?;
                    has_changed = true;
                }
                (Opened::Bad(range, kind), None) => {
                    let at = usize::try_from(header.position).unwrap_or(usize::MAX);
                    return Err(self.damage(kind, range.start, Some(range.end), at));
                }
            }
        }
        output.flush_entries()?;
        Ok(has_changed)
    }

    fn damage(&self, kind: DamageKind, first: u64, end: Option<u64>, at: usize) -> ReadError {
        let what = format!("at octet {at} of {}", self.segment.path.display()).into();
        let (first, end) = (Offset(first), end.map(Offset));
        let corruption = Corruption { log: self.log.name.clone(), kind, first, end, what };
        self.log.mark_corrupt(&corruption);
        corruption.into()
    }
}

/// What a frame holds.
pub(super) enum Opened {
    /// An entry: its offset, its data key, its plain octets.
    Entry(u64, u32, Vec<u8>),
    /// Offsets without entries, and the data key that says so.
    Gap(Kind, Range<u64>, u32),
    /// What does not open.
    Bad(Range<u64>, DamageKind),
}

/// Opens everything in a frame whose checksums are right; none where it is not even a table of entries.
pub(super) fn open_frame(header: &Header, payload: &[u8], keys: &mut Keys<'_>) -> Option<Vec<Opened>> {
    let all = header.first..header.end();
    let binding = &keys.segment.binding;
    if header.kind == Kind::Mark {
        return Some(Vec::new());
    }
    if header.kind.is_gap() {
        let key_id = frame::gap_key(payload)?;
        let opened = match keys.key(key_id, header.first) {
            Err(_) => Opened::Bad(all, DamageKind::KeyMissing),
            Ok(key) if frame::is_authentic_gap(key, binding, header, payload) => {
                Opened::Gap(header.kind, all, key_id)
            }
            Ok(_) => Opened::Bad(all, DamageKind::NotAuthentic),
        };
        return Some(vec![opened]);
    }
    let mut payload = payload.to_vec();
    let rows: Vec<Row> = frame::rows(header, &payload).collect::<Option<_>>()?;
    let mut open = |row: &Row| {
        let one = row.offset..row.offset + 1;
        let Ok(key) = keys.key(row.key_id, row.offset) else {
            return Opened::Bad(one, DamageKind::KeyMissing);
        };
        match frame::open(key, binding, row, &mut payload) {
            Ok(plain) => Opened::Entry(row.offset, row.key_id, payload[plain].to_vec()),
            Err(_) => Opened::Bad(one, DamageKind::NotAuthentic),
        }
    };
    Some(rows.iter().map(&mut open).collect())
}

/// The payload of a frame that is whole.
pub(super) fn payload<'a>(octets: &'a [u8], at: usize, header: &Header) -> &'a [u8] {
    let start = at + frame::HEADER_OCTETS;
    &octets[start..start + header.payload_octets as usize]
}

/// A segment being written by someone else than the writer, under a name of its own until it is durable.
pub(super) struct Output<'a> {
    log: &'a LogState,
    keyring: &'a Keyring,
    segment: Segment,
    file: Box<dyn DiskFile>,
    position: u64,
    /// Offsets without entries that are not yet written: kind, first, end, data key.
    gap: Option<(Kind, u64, u64, u32)>,
    /// Entries that are not yet written: data key and plain octets of each, from an offset on.
    entries: Vec<(u32, Vec<u8>)>,
    entries_from: u64,
}

impl<'a> Output<'a> {
    fn create(source: &Source<'a>, disk: &dyn Disk, generation: u32) -> Result<Self, ReadError> {
        Self::begin(source.log, source.keyring, disk, source.segment.base, generation)
    }

    pub(super) fn begin(
        log: &'a LogState,
        keyring: &'a Keyring,
        disk: &dyn Disk,
        base: u64,
        generation: u32,
    ) -> Result<Self, ReadError> {
        let random = |_| IoFault::new("draw a salt for", &log.dir, io::Error::other("no random octets"));
        let segment = Segment::plan(&log.dir, &log.name, base, generation).map_err(random)?;
        let path = new_name(&segment.path);
        remove(disk, &path)?;
        let mut file = disk.create(&path).map_err(|error| IoFault::new("create", &path, error))?;
        let header = segment.header(&log.name);
        write_all_at(file.as_mut(), &mut [IoSlice::new(&header)], 0)
            .map_err(|error| IoFault::new("write", &path, error))?;
        let position = segment::HEADER_OCTETS as u64;
        Ok(Self { log, keyring, segment, file, position, gap: None, entries: Vec::new(), entries_from: 0 })
    }

    fn path(&self) -> std::path::PathBuf {
        new_name(&self.segment.path)
    }

    fn entry(&mut self, offset: u64, key_id: u32, plain: &[u8]) -> Result<(), ReadError> {
        self.flush_gap()?;
        if self.entries.is_empty() {
            self.entries_from = offset;
        }
        self.entries.push((key_id, plain.to_vec()));
        Ok(())
    }

    pub(super) fn gap(&mut self, kind: Kind, first: u64, end: u64, key_id: u32) -> Result<(), ReadError> {
        self.flush_entries()?;
        match &mut self.gap {
            Some((same, _, so_far, _)) if *same == kind && *so_far == first => *so_far = end,
            _ => {
                self.flush_gap()?;
                self.gap = Some((kind, first, end, key_id));
            }
        }
        Ok(())
    }

    fn flush_gap(&mut self) -> Result<(), ReadError> {
        let Some((kind, mut first, end, key_id)) = self.gap.take() else { return Ok(()) };
        let key = self.key(key_id, first)?;
        while first < end {
            let offsets = u32::try_from(end - first).unwrap_or(u32::MAX);
            let nonce = self.segment.take_nonces(1);
            let frame = frame::gap((&key, key_id), &self.segment.binding, kind, (first, offsets), nonce);
            self.write(frame.map_err(|_| self.unspecified())?)?;
            first += u64::from(offsets);
        }
        Ok(())
    }

    fn flush_entries(&mut self) -> Result<(), ReadError> {
        let entries = std::mem::take(&mut self.entries);
        let Ok(count @ 1..) = u32::try_from(entries.len()) else { return Ok(()) };
        let plain = entries.iter().map(|(_, plain)| plain.len()).sum();
        let nonce = self.segment.take_nonces(count);
        let mut builder = Builder::new(&self.segment.binding, self.entries_from, nonce, count, plain);
        let (log, keyring) = (self.log, self.keyring);
        let mut keys = Keys { keyring, log, segment: &self.segment, derived: Vec::new() };
        for (offset, (key_id, plain)) in (self.entries_from..).zip(&entries) {
            builder.push(keys.key(*key_id, offset)?, *key_id, plain).map_err(|_| self.unspecified())?;
        }
        let frame = builder.finish();
        self.write(frame)
    }

    fn key(&self, key_id: u32, offset: u64) -> Result<aws_lc_rs::aead::LessSafeKey, ReadError> {
        let missing =
            || ReadError::KeyMissing { log: self.log.name.clone(), offset: Offset(offset), key: key_id };
        let key = self.keyring.by_id(key_id).filter(|key| key.log == self.log.name).ok_or_else(missing)?;
        key.derive(super::keyring::Purpose::Segment, &self.segment.salt).map_err(|_| missing())
    }

    fn unspecified(&self) -> IoFault {
        let error = io::Error::other("the cryptographic library failed");
        IoFault::new("seal an entry for", &self.segment.path, error)
    }

    fn write(&mut self, mut frame: Frame) -> Result<(), ReadError> {
        // The whole file is durable before anyone sees it, so each frame may say so of those before it.
        let octets = frame.stamp(&self.segment.salt, self.position, self.position);
        let written = write_all_at(self.file.as_mut(), &mut [IoSlice::new(octets)], self.position);
        written.map_err(|error| IoFault::new("write", &self.path(), error))?;
        self.segment.note(frame.header.first, self.position);
        self.position += frame.header.frame_octets();
        Ok(())
    }

    /// Ends the segment at an offset, and gives it its name.
    pub(super) fn finish(mut self, disk: &dyn Disk, end: u64) -> Result<Segment, ReadError> {
        let path = self.path();
        let finished = self.complete(disk, end, &path);
        if finished.is_err() {
            // The next open removes it if this does not.
            let _ = disk.remove(&path);
        }
        finished.map(|()| self.segment)
    }

    fn complete(&mut self, disk: &dyn Disk, end: u64, path: &std::path::Path) -> Result<(), ReadError> {
        self.flush_entries()?;
        self.flush_gap()?;
        let mark = frame::mark(&self.segment.salt, end, self.position);
        let io = |operation| move |error| IoFault::new(operation, path, error);
        write_all_at(self.file.as_mut(), &mut [IoSlice::new(&mark)], self.position).map_err(io("write"))?;
        self.segment.set_octets(self.position + mark.len() as u64);
        self.file.sync().map_err(io("fsync"))?;
        disk.rename(path, &self.segment.path).map_err(io("rename"))?;
        Ok(sync_dir(disk, &self.log.dir)?)
    }
}
