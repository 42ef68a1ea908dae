//! The originals of one key: where each is in the log, in memory, and the log itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::sync::atomic::{AtomicBool, Ordering};

use hilum_core::cose::{RecipientKey, Sealer};
use hilum_core::limits::MEANT_MAX;
use hilum_core::originals::{Asked, Kept, Original, Pseudonym, seal};
use hilum_core::{Entry, KeyName, LogName, Offset};
use hilum_store::Durability;
use parking_lot::RwLock;

use super::{OriginalsError, Room};
use crate::broker::Shared;

/// Octets read from the log at once.
const READ_OCTETS: usize = 1 << 20;
/// Entries of one append: with the largest ones they fit.
const ENTRIES_TOGETHER: usize = 512;
/// First octets of a pseudonym, by which it is known in memory.
type Short = [u8; 16];

/// The originals of one key.
pub(crate) struct Table {
    key: KeyName,
    /// None until the log was read.
    index: RwLock<Option<Index>>,
    /// Held by whoever changes the log, or reads all of it.
    changing: tokio::sync::Mutex<()>,
    /// Whether operators were told that there is little room.
    is_told: AtomicBool,
}

/// Where the originals are: about 50 octets of memory each.
#[derive(Default)]
struct Index {
    places: BTreeMap<Short, (Offset, u32)>,
    octets: u64,
}

/// An original that was asked for.
pub(crate) struct Found {
    pub(crate) offset: Offset,
    pub(crate) kept: Kept,
}

fn short(pseudonym: &Pseudonym) -> Short {
    *pseudonym.0.first_chunk().expect("a pseudonym has 32 octets")
}

impl Index {
    fn add(&mut self, pseudonym: &Pseudonym, offset: Offset, octets: u32) {
        // Where it is there twice, an append had failed that took place nevertheless.
        if let Place::Vacant(vacant) = self.places.entry(short(pseudonym)) {
            vacant.insert((offset, octets));
            self.octets += u64::from(octets);
        }
    }

    fn lose(&mut self, is_lost: impl Fn(Offset) -> bool) {
        self.places.retain(|_, (offset, _)| !is_lost(*offset));
        self.octets = self.places.values().map(|(_, octets)| u64::from(*octets)).sum();
    }
}

impl Table {
    pub(super) fn new(key: KeyName) -> Self {
        Self {
            key,
            index: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            is_told: AtomicBool::default(),
        }
    }

    /// The log.
    pub(crate) fn log(&self) -> LogName {
        LogName::Originals(self.key.clone())
    }

    /// Reads the log, if it was not read yet.
    pub(crate) async fn load(&self, shared: &Shared) -> Result<(), OriginalsError> {
        if self.index.read().is_some() {
            return Ok(());
        }
        let _alone = self.changing.lock().await;
        self.load_alone(shared).await
    }

    async fn load_alone(&self, shared: &Shared) -> Result<(), OriginalsError> {
        if self.index.read().is_some() {
            return Ok(());
        }
        let (log, failed) = (self.log(), |error| OriginalsError::Read(self.key.clone(), error));
        let mut index = Index::default();
        let mut at = Offset(shared.log.bounds(&log).await.map_err(failed)?.start);
        loop {
            // Also at the end: a log that is damaged ends where the damage begins, and says so when it is read there.
            let entries = shared.log.read(&log, at, READ_OCTETS).await.map_err(failed)?;
            let Some(last) = entries.last() else { break };
            at = last.offset.next();
            for entry in &entries {
                let kept = self.decode(entry.offset, &entry.octets)?;
                index.add(&kept.pseudonym, entry.offset, octets_of(&kept));
            }
        }
        *self.index.write() = Some(index);
        Ok(())
    }

    fn decode(&self, offset: Offset, octets: &[u8]) -> Result<Kept, OriginalsError> {
        Kept::decode(octets).map_err(|error| OriginalsError::Entry(self.key.clone(), offset, error))
    }

    /// Whether all of these are kept; not, where the log was not read yet.
    pub(crate) fn has_all(&self, originals: &[(Pseudonym, Original)]) -> bool {
        let index = self.index.read();
        let has = |index: &Index| originals.iter().all(|(made, _)| index.places.contains_key(&short(made)));
        index.as_ref().is_some_and(has)
    }

    /// Keeps those that are not kept yet. They are durable when it comes back.
    pub(crate) async fn keep(
        &self,
        shared: &Shared,
        room: Room,
        holders: impl FnOnce() -> Vec<RecipientKey> + Send,
        originals: Vec<(Pseudonym, Original)>,
    ) -> Result<(), OriginalsError> {
        let _alone = self.changing.lock().await;
        self.load_alone(shared).await?;
        let new = self.new_among(originals, room)?;
        if new.is_empty() {
            return Ok(());
        }
        let failed = |error| OriginalsError::Seal(self.key.clone(), error);
        let sealer = Sealer::new(&holders()).map_err(failed)?;
        let time = shared.now();
        let mut sealed = Vec::with_capacity(new.len());
        for (pseudonym, original) in new {
            let octets = seal(&sealer, &self.key, &pseudonym, &original).map_err(failed)?;
            sealed.push(Kept { pseudonym, time, sealed: octets });
        }
        let (_, has) = self.usage();
        let more: u64 = sealed.iter().map(|kept| u64::from(octets_of(kept))).sum();
        if has + more > room.octets {
            return Err(OriginalsError::Full(self.key.clone()));
        }
        for some in sealed.chunks(ENTRIES_TOGETHER) {
            self.append(shared, some).await?;
        }
        self.warn(room);
        Ok(())
    }

    /// Each of those once that are not kept, if there is room for them.
    fn new_among(
        &self,
        originals: Vec<(Pseudonym, Original)>,
        room: Room,
    ) -> Result<BTreeMap<Pseudonym, Original>, OriginalsError> {
        let index = self.index.read();
        let places = index.as_ref().map(|index| &index.places);
        let is_new = |made: &Pseudonym| places.is_none_or(|places| !places.contains_key(&short(made)));
        let new: BTreeMap<_, _> = originals.into_iter().filter(|(made, _)| is_new(made)).collect();
        let has = places.map_or(0, BTreeMap::len);
        if !new.is_empty() && (has + new.len()) as u64 > room.count {
            return Err(OriginalsError::Full(self.key.clone()));
        }
        Ok(new)
    }

    async fn append(&self, shared: &Shared, some: &[Kept]) -> Result<(), OriginalsError> {
        let entries: Vec<Entry> =
            some.iter().map(|kept| kept.to_entry(&self.key, &shared.identity)).collect();
        let appended = shared.log.append(&self.log(), entries, Durability::Fsynced).await;
        let first = appended.map_err(|error| OriginalsError::Append(self.key.clone(), error))?;
        let mut index = self.index.write();
        for (kept, offset) in some.iter().zip(first.0..) {
            index.get_or_insert_default().add(&kept.pseudonym, Offset(offset), octets_of(kept));
        }
        Ok(())
    }

    /// Tells operators in time.
    fn warn(&self, room: Room) {
        let (count, octets) = self.usage();
        let is_little = count > room.count / 10 * 9 || octets > room.octets / 10 * 9;
        if is_little && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(key = %self.key, count, octets, "there is little room left for what pseudonyms stand for; \
                 when there is none, stages that use the key fail");
        }
    }

    /// How many originals, and octets of them, are kept, as far as that is known.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let index = self.index.read();
        index.as_ref().map_or((0, 0), |index| (index.places.len() as u64, index.octets))
    }

    /// What a pseudonym may have stood for, as far as it is told: up to [`MEANT_MAX`].
    pub(crate) async fn find(&self, shared: &Shared, asked: &Asked) -> Result<Vec<Found>, OriginalsError> {
        self.load(shared).await?;
        let mut found = Vec::new();
        for offset in self.places(asked) {
            let read = shared.log.read(&self.log(), offset, 1).await;
            let entries = read.map_err(|error| OriginalsError::Read(self.key.clone(), error))?;
            let Some(entry) = entries.first().filter(|entry| entry.offset == offset) else { continue };
            let kept = self.decode(offset, &entry.octets)?;
            if asked.fits(&kept.pseudonym.0) {
                found.push(Found { offset, kept });
            }
        }
        Ok(found)
    }

    fn places(&self, asked: &Asked) -> Vec<Offset> {
        let bound = |filling: u8| {
            let mut bound = [filling; size_of::<Short>()];
            bound[..asked.prefix().len()].copy_from_slice(asked.prefix());
            bound
        };
        let index = self.index.read();
        let within = index.iter().flat_map(|index| index.places.range(bound(0)..=bound(0xFF)));
        let meant = within.filter(|(made, _)| asked.fits(*made)).map(|(_, (offset, _))| *offset);
        meant.take(MEANT_MAX).collect()
    }

    /// Destroys originals, or all of them; gives how many there were. No octet of them is left in the log's files when it comes back.
    pub(crate) async fn forget(
        &self,
        shared: &Shared,
        which: Option<Vec<Offset>>,
    ) -> Result<u64, OriginalsError> {
        let failed = |error| OriginalsError::Read(self.key.clone(), error);
        let _alone = self.changing.lock().await;
        self.load_alone(shared).await?;
        let all = which.is_none();
        let there: Vec<Offset> = {
            let index = self.index.read();
            let there = index.iter().flat_map(|index| index.places.values()).map(|(offset, _)| *offset);
            there.filter(|offset| which.as_ref().is_none_or(|which| which.contains(offset))).collect()
        };
        // What is made again from here on is kept again.
        self.lose(|offset| there.contains(&offset) || all);
        let erased = self.erase(shared, there.clone(), all).await;
        if erased.is_err() {
            // What is still there is found out when somebody asks.
            *self.index.write() = None;
        }
        erased.map_err(failed)?;
        Ok(there.len() as u64)
    }

    async fn erase(
        &self,
        shared: &Shared,
        offsets: Vec<Offset>,
        all: bool,
    ) -> Result<(), hilum_store::ReadError> {
        shared.log.erase(&self.log(), offsets).await?;
        if all {
            let end = shared.log.bounds(&self.log()).await?.end;
            shared.log.trim(&self.log(), Offset(end)).await?;
        }
        Ok(())
    }

    /// Retention is about to delete what is at some offsets.
    pub(crate) fn lose(&self, is_lost: impl Fn(Offset) -> bool) {
        if let Some(index) = &mut *self.index.write() {
            index.lose(is_lost);
        }
    }
}

fn octets_of(kept: &Kept) -> u32 {
    u32::try_from(kept.sealed.len()).unwrap_or(u32::MAX)
}
