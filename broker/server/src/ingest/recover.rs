//! What a flow finds in the store when it opens: its end, its publishers' positions, large bodies left half-way.

use std::collections::{BTreeMap, BTreeSet};

use hilum_core::entry::EntryError;
use hilum_core::quarantine::Quarantined;
use hilum_core::record::{BlobId, Body, Stored};
use hilum_core::{FlowName, LogName, Offset};
use hilum_store::{BlobError, ReadError};

pub(super) use super::checkpoint::Found;

use super::checkpoint;
use crate::broker::Shared;
use crate::state::KeeperError;

/// Octets read from a log at once while recovering.
const READ_OCTETS: usize = 4 << 20;

/// Why a flow does not open.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Its log cannot be read.
    #[error("flow `{flow}`: its log cannot be read: {source}")]
    Read {
        /// The flow.
        flow: FlowName,
        /// Why.
        source: ReadError,
    },
    /// It is not known what its plugins keep.
    #[error("flow `{flow}`: what its plugins keep cannot be read: {source}")]
    State {
        /// The flow.
        flow: FlowName,
        /// Why.
        source: KeeperError,
    },
    /// An entry is not what this build writes.
    #[error("flow `{flow}`, offset {offset}: {source}")]
    Entry {
        /// The flow.
        flow: FlowName,
        /// Where.
        offset: Offset,
        /// Why.
        source: EntryError,
    },
}

/// Reads a flow's log from where the last checkpoint ends. The log is the truth: a checkpoint that is lost, or does not fit to the log
/// any more, costs reading all of it. What it counts in then is all of the log.
///
/// Damage ends the flow where it begins: what is before it is served, and the log takes no appends.
pub(super) async fn recover(shared: &Shared, flow: &FlowName) -> Result<Found, RecoverError> {
    let log = LogName::Flow(flow.clone());
    let failed = |source| RecoverError::Read { flow: flow.clone(), source };
    let mut bounds = shared.log.bounds(&log).await.map_err(failed)?;
    let found = checkpoint::load(&*shared.meta, flow).await;
    let mut found = found.filter(|found| found.through.0 <= bounds.end).unwrap_or_default();
    // Those that emit here are opened before.
    shared.states.emitters().into_iter().for_each(|emitter| found.producers.exempt(emitter));
    let mut at = found.through;
    loop {
        // Also at the end: a log that is damaged ends where the damage begins, and says so when it is read there.
        let entries = match shared.log.read(&log, at, READ_OCTETS).await {
            Err(ReadError::Corrupt(corruption)) => {
                tracing::error!(%flow, %corruption, "the flow serves what is before the damage and takes no records");
                bounds = shared.log.bounds(&log).await.map_err(failed)?;
                found.damage = Some(corruption);
                break;
            }
            read => read.map_err(failed)?,
        };
        let Some(last) = entries.last() else { break };
        let next = last.offset.next();
        let mut expected = at;
        for entry in entries {
            let stored = Stored::decode(flow.clone(), entry.offset, &entry.octets)
                .map_err(|source| RecoverError::Entry { flow: flow.clone(), offset: entry.offset, source })?;
            let envelope = stored.envelope();
            found.since.records += 1;
            found.since.octets += entry.octets.len() as u64;
            if entry.offset != expected {
                // Whose records they were, nobody knows: a publisher that comes back is refused instead of stored twice.
                found.producers.forget_all(envelope.accepted);
            }
            expected = entry.offset.next();
            if let Some(position) = envelope.producer {
                found.producers.restore(position, envelope.accepted);
            }
        }
        at = next;
    }
    if at.0 < bounds.end {
        found.producers.forget_all(shared.now());
    }
    shared.ledgers.of(flow).open(Offset(bounds.end));
    found.producers.advance(shared.now());
    found.through = Offset(bounds.end);
    Ok(found)
}

/// Finishes large bodies that were staged when the broker stopped: those that a log names are committed, the others
/// deleted. Where a log is damaged nobody knows whether it names them, and they stay as they are.
pub(crate) async fn recover_blobs(shared: &Shared) -> Result<(), RecoverBlobsError> {
    let staged = shared.blobs.staged().await?;
    let mut since: BTreeMap<LogName, Offset> = BTreeMap::new();
    for blob in &staged {
        let first = since.entry(blob.log.clone()).or_insert(blob.since);
        *first = (*first).min(blob.since);
        if let LogName::Flow(flow) = &blob.log {
            // A record that its chain stopped is named by the quarantine instead.
            since.insert(LogName::Quarantine(flow.clone()), Offset(0));
        }
    }
    let (mut named, mut damaged) = (BTreeSet::new(), BTreeSet::new());
    for (log, from) in since {
        match named_blobs(shared, &log, from, &mut named).await {
            Err(RecoverBlobsError::Read(ReadError::Corrupt(corruption))) => {
                tracing::error!(%log, %corruption, "large bodies that were under way stay until the log is repaired");
                damaged.insert(log);
            }
            looked => looked?,
        }
    }
    for blob in staged {
        let is_unknown = match &blob.log {
            LogName::Flow(flow) => {
                damaged.contains(&blob.log) || damaged.contains(&LogName::Quarantine(flow.clone()))
            }
            log => damaged.contains(log),
        };
        if named.contains(&blob.id) {
            shared.blobs.commit(blob.id).await?;
        } else if !is_unknown {
            shared.blobs.delete(blob.id).await?;
        }
    }
    Ok(())
}

/// Why large bodies cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverBlobsError {
    /// They cannot be listed, committed or deleted.
    #[error("large bodies that were under way cannot be recovered: {0}")]
    Blob(#[from] BlobError),
    /// The log that may name them cannot be read.
    #[error("large bodies that were under way cannot be recovered: {0}")]
    Read(#[from] ReadError),
    /// An entry is not what this build writes.
    #[error("large bodies that were under way cannot be recovered: `{0}`, offset {1}: {2}")]
    Entry(LogName, Offset, EntryError),
}

async fn named_blobs(
    shared: &Shared,
    log: &LogName,
    from: Offset,
    named: &mut BTreeSet<BlobId>,
) -> Result<(), RecoverBlobsError> {
    let mut at = Offset(from.0.max(shared.log.bounds(log).await?.start));
    loop {
        // Also at the end: a log that is damaged ends where the damage begins, and says so when it is read there.
        let entries = shared.log.read(log, at, READ_OCTETS).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        at = last.offset.next();
        for entry in entries {
            let body = match log {
                LogName::Flow(flow) => Stored::decode(flow.clone(), entry.offset, &entry.octets)
                    .map(|stored| stored.envelope().body.clone()),
                LogName::Quarantine(_) => Quarantined::decode(&entry.octets).map(|record| record.body),
                LogName::Audit | LogName::Control | LogName::State(_) | LogName::Originals(_) => continue,
            };
            let body = body.map_err(|error| RecoverBlobsError::Entry(log.clone(), entry.offset, error))?;
            if let Body::Blob(blob) = body {
                named.insert(blob.id);
            }
        }
    }
}
