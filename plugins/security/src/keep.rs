//! Where profiles and lines are kept between batches: a fixed number of values of the stage's state, each with a few entries.
//!
//! Which value an entry is in follows from its name's hash. A value that is full lets go of the entry that was not heard of for
//! longest, and of those that were not heard of for too long. So there is nothing that grows, and whoever invents names
//! pushes out others' entries one value at a time, which in a profile shows as somebody new.

use std::collections::HashMap;

use hilum_plugin::state::{self, StateError};

use crate::octets::{Octets, Rest};

/// Entries of one value. With the longest ones it has less than the 64 KiB that a value may have.
const ENTRIES_MAX: usize = 24;

/// Something that is kept.
pub(crate) trait Entry: Sized + Default {
    /// How its values' keys begin.
    const KIND: &'static str;
    /// How many values there are.
    const BUCKETS: u64;

    /// When it was last heard of.
    fn last_ms(&self) -> u64;
    fn encode(&self, to: &mut Octets);
    /// None where the octets are of another version: it begins anew.
    fn decode(from: &mut Rest<'_>) -> Option<Self>;
}

/// Entries of one kind, as far as a batch needed them.
#[derive(Debug)]
pub(crate) struct Kept<E> {
    buckets: HashMap<u64, Bucket<E>>,
    forget_ms: u64,
}

#[derive(Debug)]
struct Bucket<E> {
    version: u64,
    entries: Vec<(u64, E)>,
}

impl<E: Entry> Kept<E> {
    pub(crate) fn new(forget_ms: u64) -> Self {
        Self { buckets: HashMap::new(), forget_ms }
    }

    /// The entry of a name, by its hash; a new one where there is none.
    pub(crate) fn entry(&mut self, hash: u64, now_ms: u64) -> Result<&mut E, StateError> {
        let number = hash % E::BUCKETS;
        let bucket = match self.buckets.entry(number) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(Bucket::load(number)?),
        };
        Ok(bucket.entry(hash, now_ms.saturating_sub(self.forget_ms)))
    }

    /// Writes what a batch changed.
    pub(crate) fn write(self) -> Result<(), StateError> {
        for (number, bucket) in self.buckets {
            let mut octets = Octets::default();
            for (hash, entry) in &bucket.entries {
                octets.whole(*hash);
                entry.encode(&mut octets);
            }
            state::put(&key::<E>(number), &octets.0, bucket.version)?;
        }
        Ok(())
    }
}

fn key<E: Entry>(number: u64) -> String {
    format!("{}/{number}", E::KIND)
}

impl<E: Entry> Bucket<E> {
    fn load(number: u64) -> Result<Self, StateError> {
        let Some(found) = state::get(&key::<E>(number))? else {
            return Ok(Self { version: 0, entries: Vec::new() });
        };
        let (mut rest, mut entries) = (Rest(&found.value), Vec::new());
        while entries.len() < ENTRIES_MAX {
            let Some(hash) = rest.whole() else { break };
            let Some(entry) = E::decode(&mut rest) else { break };
            entries.push((hash, entry));
        }
        Ok(Self { version: found.version, entries })
    }

    fn entry(&mut self, hash: u64, oldest_ms: u64) -> &mut E {
        self.entries.retain(|(_, entry)| entry.last_ms() >= oldest_ms);
        let index = match self.entries.iter().position(|(known, _)| *known == hash) {
            Some(index) => index,
            None => {
                if self.entries.len() >= ENTRIES_MAX
                    && let Some(oldest) =
                        (0..self.entries.len()).min_by_key(|index| self.entries[*index].1.last_ms())
                {
                    self.entries.swap_remove(oldest);
                }
                self.entries.push((hash, E::default()));
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].1
    }
}
