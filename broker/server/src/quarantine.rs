//! Quarantine of a running broker: how much each flow's may hold, and the desk at which operators work it.
//!
//! What a chain stopped is counted before it is written ([`Quarantines::reserve`]). Where there is no room its publisher
//! keeps the record and tries again, and a subscription waits: nothing is dropped, and the disk does not fill up.

mod desk;

use std::collections::BTreeMap;
use std::sync::Arc;

use hilum_core::entry::EntryError;
use hilum_core::quarantine::Quarantined;
use hilum_core::record::BlobId;
use hilum_core::{FlowName, LogName, Offset};
use hilum_store::{Log, ReadError};
use parking_lot::Mutex;

pub use desk::{DeskError, Page, QuarantineDesk, Released};

/// Octets read from a log at once.
const READ_OCTETS: usize = 1 << 20;

/// What the quarantines of all flows hold.
#[derive(Debug)]
pub struct Quarantines {
    octets_max: u64,
    flows: Mutex<BTreeMap<FlowName, Held>>,
}

/// What one flow's quarantine holds.
#[derive(Debug, Clone, Default)]
struct Held {
    usage: Usage,
    /// Held by the operator who releases or destroys.
    working: Arc<tokio::sync::Mutex<()>>,
}

/// What one flow's quarantine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub records: u64,
    /// Octets, with large bodies (see [`Quarantined::octets`]).
    pub octets: u64,
}

/// Why it is not known what is in quarantine. The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The log cannot be read.
    #[error("the quarantine of flow `{0}` cannot be read: {1}")]
    Read(FlowName, ReadError),
    /// An entry is not what this build writes.
    #[error("the quarantine of flow `{0}`, record {1}: {2}")]
    Entry(FlowName, Offset, EntryError),
}

impl Quarantines {
    /// Empty ones, each of which may hold so many octets.
    #[must_use]
    pub fn new(octets_max: u64) -> Self {
        Self { octets_max, flows: Mutex::default() }
    }

    /// Counts what former runs left.
    pub async fn load<'a>(
        log: &dyn Log,
        flows: impl Iterator<Item = &'a FlowName>,
        octets_max: u64,
    ) -> Result<Self, QuarantineError> {
        let quarantines = Self::new(octets_max);
        for flow in flows {
            let mut usage = Usage::default();
            let counted = each(log, flow, |_, record| {
                usage.records += 1;
                usage.octets += record.octets();
            });
            match counted.await {
                // It takes no more records, and shows those before the damage.
                Err(QuarantineError::Read(flow, error @ ReadError::Corrupt(_))) => {
                    tracing::error!(%flow, %error, "the quarantine is damaged");
                }
                counted => counted?,
            }
            quarantines.flows.lock().entry(flow.clone()).or_default().usage = usage;
        }
        Ok(quarantines)
    }

    /// Octets that each flow's quarantine may hold.
    #[must_use]
    pub fn octets_max(&self) -> u64 {
        self.octets_max
    }

    /// What a flow's quarantine holds.
    #[must_use]
    pub fn usage(&self, flow: &FlowName) -> Usage {
        self.flows.lock().get(flow).map(|held| held.usage).unwrap_or_default()
    }

    /// Keeps room for one more record. Whether there is any. One record may be larger than what is left, so that a large one
    /// does not wait for ever.
    #[must_use]
    pub fn reserve(&self, flow: &FlowName, records: u64, octets: u64) -> bool {
        let mut flows = self.flows.lock();
        let held = flows.entry(flow.clone()).or_default();
        if held.usage.octets >= self.octets_max {
            return false;
        }
        held.usage.records += records;
        held.usage.octets = held.usage.octets.saturating_add(octets);
        true
    }

    /// Gives room back: records were not written, or are gone.
    pub fn give_back(&self, flow: &FlowName, records: u64, octets: u64) {
        if let Some(held) = self.flows.lock().get_mut(flow) {
            held.usage.records = held.usage.records.saturating_sub(records);
            held.usage.octets = held.usage.octets.saturating_sub(octets);
        }
    }

    fn working(&self, flow: &FlowName) -> Arc<tokio::sync::Mutex<()>> {
        self.flows.lock().entry(flow.clone()).or_default().working.clone()
    }
}

/// The large bodies that records in a flow's quarantine name, also those that a stored record names too: none of them may
/// be deleted with that one.
pub async fn named_blobs(
    log: &dyn Log,
    flow: &FlowName,
) -> Result<std::collections::BTreeSet<BlobId>, QuarantineError> {
    let mut named = std::collections::BTreeSet::new();
    each(log, flow, |_, record| {
        if let hilum_core::record::Body::Blob(blob) = record.body {
            named.insert(blob.id);
        }
    })
    .await?;
    Ok(named)
}

/// Reads a flow's quarantine from its first record to its last.
async fn each(
    log: &dyn Log,
    flow: &FlowName,
    mut look: impl FnMut(Offset, Quarantined),
) -> Result<(), QuarantineError> {
    let (name, failed) =
        (LogName::Quarantine(flow.clone()), |source| QuarantineError::Read(flow.clone(), source));
    let bounds = log.bounds(&name).await.map_err(failed)?;
    let mut at = Offset(bounds.start);
    while at.0 < bounds.end {
        let entries = log.read(&name, at, READ_OCTETS).await.map_err(failed)?;
        let Some(last) = entries.last() else { break };
        at = last.offset.next();
        for entry in entries {
            let record = Quarantined::decode(&entry.octets)
                .map_err(|error| QuarantineError::Entry(flow.clone(), entry.offset, error))?;
            look(entry.offset, record);
        }
    }
    Ok(())
}
