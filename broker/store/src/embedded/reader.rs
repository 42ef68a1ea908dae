//! Reads durable entries: finds the frame, checks it, opens its entries where they lie. Damage found here closes the log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;
use hilum_core::Offset;

use super::frame::{self, Header, Row};
use super::keyring::{Keyring, Purpose};
use super::log::{LogState, View};
use super::segment::Segment;
use crate::{Corruption, IoFault, LogEntry, ReadError};

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
            // Trimmed after the view was looked at: the next look finds the new start.
            Err(ReadError::Io(fault)) if is_missing(&fault) && pass.is_trimmed(&step.segment) => {}
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

    fn is_trimmed(&self, segment: &Segment) -> bool {
        self.log.view.read().start() > segment.base
    }

    fn read_segment(&mut self, step: &Step) -> Result<(), ReadError> {
        let segment = &step.segment;
        let fault = |operation| move |error| IoFault::new(operation, &segment.path, error);
        let file = File::open(&segment.path).map_err(fault("open"))?;
        let mut position = segment.seek(self.next);
        let mut keys = Keys { keyring: self.keyring, log: self.log, segment, derived: Vec::new() };
        while self.next < step.stop && (self.octets_left > 0 || self.entries.is_empty()) {
            let mut octets = [0; frame::HEADER_OCTETS];
            let whole = read_exact_at(&file, &mut octets, position).map_err(fault("read"))?;
            let header =
                Header::decode(&segment.salt, &octets).filter(|header| whole && header.first <= self.next);
            let Some(header) = header else {
                return Err(self.damage(
                    segment,
                    position,
                    self.next..step.stop,
                    "a frame's header is damaged",
                ));
            };
            segment.note(header.first, position);
            if header.end() > self.next {
                let mut payload = vec![0; header.payload_octets as usize];
                let at = position + frame::HEADER_OCTETS as u64;
                let whole = read_exact_at(&file, &mut payload, at).map_err(fault("read"))?;
                if !whole || !header.matches(&payload) {
                    let lost = header.first..header.end();
                    return Err(self.damage(segment, position, lost, "a frame's checksum is wrong"));
                }
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
        let lost = header.first..header.end();
        let mut plain = Vec::with_capacity(header.entries as usize);
        let rows: Option<Vec<Row>> = frame::rows(header, &payload).collect();
        let Some(rows) = rows else {
            return Err(self.damage(keys.segment, position, lost, "a frame's table is damaged"));
        };
        for row in rows.iter().filter(|row| row.offset >= self.next) {
            let octets = row.sealed.len() - frame::TAG_OCTETS;
            let is_first = self.entries.is_empty() && plain.is_empty();
            if octets > self.octets_left && !is_first {
                self.octets_left = 0;
                break;
            }
            let Ok(range) = frame::open(keys.key(row)?, row, &mut payload) else {
                return Err(self.damage(keys.segment, position, lost, "an entry is not authentic"));
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

    fn damage(&self, segment: &Segment, position: u64, lost: std::ops::Range<u64>, what: &str) -> ReadError {
        let corruption = Corruption {
            log: self.log.name.clone(),
            first: Offset(lost.start),
            end: Some(Offset(lost.end)),
            what: format!("{what} at octet {position} of {}", segment.path.display()).into(),
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

/// The keys of one segment that were derived in this call.
struct Keys<'a> {
    keyring: &'a Keyring,
    log: &'a LogState,
    segment: &'a Segment,
    derived: Vec<(u32, LessSafeKey)>,
}

impl Keys<'_> {
    fn key(&mut self, row: &Row) -> Result<&LessSafeKey, ReadError> {
        if let Some(at) = self.derived.iter().position(|(id, _)| *id == row.key_id) {
            return Ok(&self.derived[at].1);
        }
        let missing = || ReadError::KeyMissing {
            log: self.log.name.clone(),
            offset: Offset(row.offset),
            key: row.key_id,
        };
        let data_key =
            self.keyring.by_id(row.key_id).filter(|key| key.log == self.log.name).ok_or_else(missing)?;
        let key = data_key.derive(Purpose::Segment, &self.segment.salt).map_err(|_| missing())?;
        self.derived.push((row.key_id, key));
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
