//! What pseudonyms stood for, for keys of which the hospital keeps it: sealed to the key's holders, in a log for each key.
//!
//! A [`Table`] knows in memory which pseudonyms are kept, and where; what they stood for is nowhere but in the log, and there the broker
//! cannot open it. [`Keep::keep`] comes back when what a call into a plugin made pseudonyms of is durable: only then does anything of the
//! call go on. So a record with a pseudonym that is not kept is neither stored nor delivered, whatever the broker dies of; what is
//! kept without a record does no harm. A pseudonym is kept once, however often it is made.

mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hilum_core::KeyName;
use hilum_core::cose::{RecipientKey, SealError};
use hilum_core::entry::EntryError;
use hilum_core::originals::{Original, Pseudonym};
use hilum_core::record::Offset;
use hilum_store::{AppendError, ReadError};
use parking_lot::Mutex;

use crate::broker::Shared;

pub(crate) use table::{Found, Table};

/// The tables of all keys.
#[derive(Default)]
pub(crate) struct Originals(Mutex<BTreeMap<KeyName, Arc<Table>>>);

impl Originals {
    /// The table of one key.
    pub(crate) fn of(&self, key: &KeyName) -> Arc<Table> {
        let mut tables = self.0.lock();
        tables.entry(key.clone()).or_insert_with(|| Arc::new(Table::new(key.clone()))).clone()
    }
}

/// How much may be kept for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) count: u64,
    /// Of what is sealed.
    pub(crate) octets: u64,
}

/// Why nothing was kept, found or destroyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginalsError {
    /// The log cannot be read, or cut.
    #[error("what pseudonyms under key `{0}` stand for cannot be read: {1}")]
    Read(KeyName, ReadError),
    /// An entry is not what this build writes.
    #[error("what pseudonyms under key `{0}` stand for, offset {1}: {2}")]
    Entry(KeyName, Offset, EntryError),
    /// The log cannot be written.
    #[error("what pseudonyms under key `{0}` stand for cannot be kept: {1}")]
    Append(KeyName, AppendError),
    /// As much is kept as may be.
    #[error(
        "as much is kept of what pseudonyms under key `{0}` stand for as may be: forget what is not needed (`hilum pseudonym forget`), \
         or raise `max_entries` and `max_bytes` in `keys.{0}.originals`"
    )]
    Full(KeyName),
    /// It cannot be sealed.
    #[error("what pseudonyms under key `{0}` stand for cannot be sealed to its holders: {1}")]
    Seal(KeyName, SealError),
}

/// What a key's configuration asks for, beside its table.
pub(crate) struct Keep {
    pub(crate) table: Arc<Table>,
    /// Kinds of values; all where there is none.
    pub(crate) domains: BTreeSet<String>,
    pub(crate) room: Room,
}

impl Keep {
    /// Whether what pseudonyms of a domain stand for is kept.
    pub(crate) fn wants(&self, domain: &str) -> bool {
        self.domains.is_empty() || self.domains.contains(domain)
    }

    /// Keeps what is not kept yet, durably. `holders` gives those whose certificates are valid now.
    pub(crate) async fn keep(
        &self,
        shared: &Shared,
        holders: impl FnOnce() -> Vec<RecipientKey> + Send,
        originals: Vec<(Pseudonym, Original)>,
    ) -> Result<(), OriginalsError> {
        if self.table.has_all(&originals) {
            return Ok(());
        }
        self.table.keep(shared, self.room, holders, originals).await
    }
}
