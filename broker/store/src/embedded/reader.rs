//! Reads durable entries: finds the frame, checks it, opens its entries where they lie. Damage found here closes the log.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;
use hilum_core::Offset;

use super::frame::{self, Header, Row};
use super::keyring::{Keyring, Purpose};
use super::log::{LogState, View};
use super::segment::Segment;
use super::tear::{Piece, Walk};
use crate::{Corruption, DamageKind, IoFault, LogEntry, ReadError};

/// Entries from `from` on, or from the log's start where that is later.
pub(super) fn read(
    log: &LogState,
    keyring: &Keyring,
    from: u64,
    octets_max: usize,
) -> Result<Vec<LogEntry>, ReadError> {
    let mut pass = Pass { log, keyring, next: from, octets_left: octets_max, entries: Vec::new() };
    while let Some(step) = pass.step()? {
        match pass.read_segment(&step) {
            Ok(()) => {}
            // Trimmed or written anew after the view was looked at: the next look finds what is there now.
            Err(ReadError::Io(fault)) if is_missing(&fault) && pass.is_gone(&step.segment) => {}
            // What was read before the damage is good.
            Err(ReadError::Corrupt(_)) if !pass.entries.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(pass.entries)
}

fn is_missing(fault: &IoFault) -> bool {
    fault.source.kind() == io::ErrorKind::NotFound
}

/// One call of [`read`].
struct Pass<'a> {
    log: &'a LogState,
    keyring: &'a Keyring,
    next: u64,
    octets_left: usize,
    entries: Vec<LogEntry>,
}

/// A part of a segment to be read.
struct Step {
    segment: Arc<Segment>,
    /// The offset at which to stop.
    stop: u64,
}

impl Pass<'_> {
    /// Where to read next, as the log is now; none at its end or when there is enough.
    fn step(&mut self) -> Result<Option<Step>, ReadError> {
        let view = self.log.view.read();
        if self.octets_left == 0 && !self.entries.is_empty() {
            return Ok(None);
        }
        self.next = self.next.max(view.start());
        if let Some(corruption) =
            view.corruption.as_ref().filter(|corruption| corruption.first.0 <= self.next)
        {
            return if self.entries.is_empty() { Err(corruption.clone().into()) } else { Ok(None) };
        }
        if self.next >= view.end {
            return Ok(None);
        }
        Ok(Some(step_at(&view, self.next)))
    }

    /// Whether the file was given back, or written anew, since the view was looked at.
    fn is_gone(&self, segment: &Arc<Segment>) -> bool {
        !self.log.view.read().segments.iter().any(|found| Arc::ptr_eq(found, segment))
    }

    fn read_segment(&mut self, step: &Step) -> Result<(), ReadError> {
        let segment = &step.segment;
        let fault = |operation| move |error| IoFault::new(operation, &segment.path, error);
        let file = File::open(&segment.path).map_err(fault("open"))?;
        // What is read here was written before.
        let file_octets = file.metadata().map_err(fault("look at"))?.len();
        let mut position = segment.seek(self.next);
        let mut keys = Keys { keyring: self.keyring, log: self.log, segment, derived: Vec::new() };
        while self.next < step.stop && (self.octets_left > 0 || self.entries.is_empty()) {
            let mut octets = [0; frame::HEADER_OCTETS];
            let whole = read_exact_at(&file, &mut octets, position).map_err(fault("read"))?;
            let header = Header::decode(&segment.salt, &octets)
                .filter(|header| whole && header.position == position && header.first <= self.next)
                // A frame that says that it is long costs no memory unless it is.
                .filter(|header| position + header.frame_octets() <= file_octets);
            let Some(header) = header else {
                position = self.look_beyond(segment, position, step.stop)?;
                continue;
            };
            segment.note(header.first, position);
            if header.end() > self.next {
                let mut payload = vec![0; header.payload_octets as usize + frame::END_OCTETS];
                let at = position + frame::HEADER_OCTETS as u64;
                let whole = read_exact_at(&file, &mut payload, at).map_err(fault("read"))?;
                if !whole || !header.matches(&payload) {
                    position = self.look_beyond(segment, position, step.stop)?;
                    continue;
                }
                payload.truncate(header.payload_octets as usize);
                self.take(&header, payload, &mut keys, position)?;
            }
            position += header.frame_octets();
        }
        Ok(())
    }

    /// Opens the entries of a frame from the next offset on.
    fn take(
        &mut self,
        header: &Header,
        mut payload: Vec<u8>,
        keys: &mut Keys<'_>,
        position: u64,
    ) -> Result<(), ReadError> {
        let segment = keys.segment;
        let forged = |pass: &Self| {
            let lost = header.first..header.end();
            pass.damage(segment, DamageKind::NotAuthentic, position, lost)
        };
        if header.kind.is_gap() {
            let key_id = frame::gap_key(&payload).unwrap_or(0);
            let binding = &segment.binding;
            let key = keys.key(key_id, header.first)?;
            if !frame::is_authentic_gap(key, binding, header, &payload) {
                return Err(forged(self));
            }
            self.next = header.end();
            return Ok(());
        }
        let mut plain = Vec::with_capacity(header.entries as usize);
        let rows: Option<Vec<Row>> = frame::rows(header, &payload).collect();
        let Some(rows) = rows else { return Err(forged(self)) };
        for row in rows.iter().filter(|row| row.offset >= self.next) {
            let octets = row.sealed.len() - frame::TAG_OCTETS;
            let is_first = self.entries.is_empty() && plain.is_empty();
            if octets > self.octets_left && !is_first {
                self.octets_left = 0;
                break;
            }
            let key = keys.key(row.key_id, row.offset)?;
            let Ok(range) = frame::open(key, &segment.binding, row, &mut payload) else {
                return Err(forged(self));
            };
            self.octets_left = self.octets_left.saturating_sub(octets);
            plain.push((row.offset, range));
        }
        self.next = plain.last().map_or(self.next, |(offset, _)| offset + 1);
        let payload = Bytes::from(payload);
        let entry = |(offset, range)| LogEntry { offset: Offset(offset), octets: payload.slice(range) };
        self.entries.extend(plain.into_iter().map(entry));
        Ok(())
    }

    /// There is no whole frame at a position. Where only a mark is damaged, nothing is lost: the position of the frame that
    /// is looked for. Otherwise what is lost, from the whole file.
    fn look_beyond(&self, segment: &Segment, position: u64, stop: u64) -> Result<u64, ReadError> {
        let octets =
            std::fs::read(&segment.path).map_err(|error| IoFault::new("read", &segment.path, error))?;
        for piece in Walk::new(segment, &octets, stop) {
            match piece {
                Piece::Frame(at, header)
                    if at as u64 > position && header.end() > self.next && header.first <= self.next =>
                {
                    tracing::warn!("{} has a damaged mark before octet {at}", segment.path.display());
                    return Ok(at as u64);
                }
                Piece::Damage(found) if !found.is_harmless() => {
                    let lost = found.first..found.end.unwrap_or(stop);
                    return Err(self.damage(segment, found.kind, found.position as u64, lost));
                }
                _ => {}
            }
        }
        // The file is whole now, and was not when it was read a moment ago.
        Err(self.damage(segment, DamageKind::Altered, position, self.next..stop))
    }

    fn damage(&self, segment: &Segment, kind: DamageKind, position: u64, lost: Range<u64>) -> ReadError {
        let corruption = Corruption {
            log: self.log.name.clone(),
            kind,
            first: Offset(lost.start),
            end: Some(Offset(lost.end)),
            what: format!("at octet {position} of {}", segment.path.display()).into(),
        };
        self.log.mark_corrupt(&corruption);
        corruption.into()
    }
}

fn step_at(view: &View, next: u64) -> Step {
    let after = view.segments.partition_point(|segment| segment.base <= next);
    let stop = view.segments.get(after).map_or(view.end, |following| following.base);
    let stop = view.corruption.as_ref().map_or(stop, |corruption| stop.min(corruption.first.0));
    Step { segment: view.segments[after - 1].clone(), stop }
}

/// The keys of one segment that were derived so far.
pub(super) struct Keys<'a> {
    pub(super) keyring: &'a Keyring,
    pub(super) log: &'a LogState,
    pub(super) segment: &'a Segment,
    pub(super) derived: Vec<(u32, LessSafeKey)>,
}

impl Keys<'_> {
    /// The key with a number, for what is at an offset.
    pub(super) fn key(&mut self, key_id: u32, offset: u64) -> Result<&LessSafeKey, ReadError> {
        if let Some(at) = self.derived.iter().position(|(id, _)| *id == key_id) {
            return Ok(&self.derived[at].1);
        }
        let missing =
            || ReadError::KeyMissing { log: self.log.name.clone(), offset: Offset(offset), key: key_id };
        let data_key =
            self.keyring.by_id(key_id).filter(|key| key.log == self.log.name).ok_or_else(missing)?;
        let key = data_key.derive(Purpose::Segment, &self.segment.salt).map_err(|_| missing())?;
        self.derived.push((key_id, key));
        Ok(&self.derived.last().expect("pushed above").1)
    }
}

/// Fills the buffer; false where the file ends before.
fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
