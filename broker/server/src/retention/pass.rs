//! One look at a log: counts it, and cuts it to its limits, span by span.

use std::collections::BTreeSet;
use std::ops::Range;

use hilum_core::audit::{Action, Event};
use hilum_core::control::FlowHolds;
use hilum_core::entry::EntryError;
use hilum_core::originals::Kept;
use hilum_core::quarantine::Quarantined;
use hilum_core::record::{BlobId, Body, Stored};
use hilum_core::retention::{Demand, Fact, Plan, Rules, Span};
use hilum_core::{LogName, Offset, Timestamp};
use hilum_store::{AppendError, BlobError, LogEntry, MetaError, ReadError, SpanUsage};
use tokio::time::Instant;

use super::ledger::Written;
use super::{Keeper, WARN_EVERY};
use crate::broker::About;
use crate::deliver::OutletError;
use crate::quarantine::{self, QuarantineError};

/// Octets read from a log at once.
pub(super) const READ_OCTETS: usize = 1 << 20;
/// What stands around an entry on disk, about.
const ENTRY_OCTETS: u64 = 48;

/// Why retention could not do its work. It tries again; what it had begun it does again.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The log cannot be read or cut.
    #[error("the log cannot be read or cut: {0}")]
    Read(#[from] ReadError),
    /// An entry is not what this build writes.
    #[error("offset {0}: {1}")]
    Entry(Offset, EntryError),
    /// A deletion cannot be audited, so nothing is deleted.
    #[error("the audit cannot be written: {0}")]
    Audit(#[from] AppendError),
    /// A large body cannot be deleted, so its record stays.
    #[error("a large body cannot be deleted: {0}")]
    Blob(#[from] BlobError),
    /// The ledger cannot be read or written.
    #[error("the ledger cannot be kept: {0}")]
    Ledger(#[from] MetaError),
    /// It is not known what a subscription has settled.
    #[error("it is not known what a subscription has settled: {0}")]
    Outlet(#[from] OutletError),
    /// It is not known what the quarantine names.
    #[error("it is not known what the quarantine names: {0}")]
    Quarantine(#[from] QuarantineError),
}

/// What holds left of a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Swept {
    /// The number of decisions at which that was so.
    decisions: u64,
    octets: u64,
    records: u64,
}

/// An entry, as far as retention has to know it.
pub(super) struct Known {
    pub(super) fact: Fact,
    pub(super) key: Option<String>,
    /// Its large body, with its octets.
    pub(super) blob: Option<(BlobId, u64)>,
    /// Octets that the quarantine counts for it.
    quarantined_octets: u64,
}

/// What subscriptions need of a flow.
pub(super) struct Needs {
    /// Everything before is settled by all, or nobody is waited for.
    pub(super) settled: Offset,
    /// Offsets that are with readers: their large bodies stay, whatever else.
    under_way: Vec<Range<Offset>>,
    /// The end of what is settled by the subscription that is behind most, with its name.
    behind: Option<(Offset, String)>,
}

impl Needs {
    fn is_under_way(&self, offset: Offset) -> bool {
        self.under_way.iter().any(|range| range.contains(&offset))
    }
}

impl Keeper {
    /// Counts what the ledger does not know yet: at the start what came after it was written, or everything.
    pub(super) async fn count(&mut self) -> Result<(), PassError> {
        let (LogName::Flow(flow), Some(ledger), false) = (&self.log, &self.ledger, self.is_counted) else {
            return Ok(());
        };
        let bounds = self.shared.log.bounds(&self.log).await?;
        // What comes after is counted as it is appended.
        let end = Offset(ledger.opened().unwrap_or(bounds.end));
        let mut written = Written::load(&*self.shared.meta, flow).await?.fitting(end);
        let mut at = Offset(written.through.max(bounds.start));
        while at < end {
            let entries = self.shared.log.read(&self.log, at, READ_OCTETS).await?;
            let Some(last) = entries.last() else { break };
            at = last.offset.next();
            for entry in entries.iter().filter(|entry| entry.offset < end) {
                written.records += 1;
                written.large_octets += known(&self.log, entry)?.blob.map_or(0, |(_, octets)| octets);
            }
        }
        ledger.add(written.records, written.large_octets);
        ledger.counted_through(end);
        self.compacted = written.compacted.max(bounds.start);
        self.is_counted = true;
        Ok(())
    }

    /// Writes down what is counted. Before something is deleted, so that a crash makes the count too low: less is deleted then.
    pub(super) async fn keep_ledger(&self) -> Result<(), PassError> {
        let (LogName::Flow(flow), Some(ledger)) = (&self.log, &self.ledger) else { return Ok(()) };
        let (through, records, large_octets) = ledger.now();
        let written = Written { through, records, large_octets, compacted: self.compacted };
        Ok(written.write(&*self.shared.meta, flow).await?)
    }

    /// What all subscriptions of the flow need.
    pub(super) async fn needs(&self) -> Result<Needs, PassError> {
        let mut needs = Needs { settled: Offset(u64::MAX), under_way: Vec::new(), behind: None };
        for outlet in &self.outlets {
            let settled = outlet.settled_before().await?;
            if self.policy.until_read {
                needs.settled = needs.settled.min(settled);
            } else {
                needs.under_way.push(outlet.under_way().await?);
            }
            if needs.behind.as_ref().is_none_or(|(lowest, _)| settled < *lowest) {
                needs.behind = Some((settled, outlet.subscription.to_string()));
            }
        }
        Ok(needs)
    }

    pub(super) fn holds(&self) -> FlowHolds {
        // Events of a flow are evidence as well: while there is any hold, all of them stay.
        let is_held_audit = self.flow().is_none() && !self.shared.control.holds().is_empty();
        if is_held_audit {
            return FlowHolds::whole();
        }
        self.flow().map(|flow| self.shared.control.holds_of(flow)).unwrap_or_default()
    }

    /// Deletes what is over the limits.
    pub(super) async fn cut(&mut self) -> Result<(), PassError> {
        if self.holds().is_whole() {
            return Ok(());
        }
        let usage = self.shared.log.usage(&self.log).await?;
        let bounds = self.shared.log.bounds(&self.log).await?;
        let (large, records) = match &self.ledger {
            Some(ledger) => (ledger.large_octets(), ledger.records()),
            None => (0, bounds.end - bounds.start),
        };
        let mut demand = Demand::new(&self.policy, self.shared.now(), usage.octets + large, records);
        let needs = self.needs().await?;
        let decisions = *self.shared.control.changes().borrow();
        let mut may_trim = true;
        let mut is_unread = false;
        for (number, usage_of) in usage.spans.iter().enumerate() {
            let is_closed = number + 1 < usage.spans.len();
            if let Some(swept) = self.swept.get(&usage_of.first).filter(|swept| swept.decisions == decisions)
            {
                demand.lower(swept.octets, swept.records);
                may_trim = false;
                continue;
            }
            let span = self.span(usage_of, is_closed).await?;
            if !demand.calls_for(&span) {
                break;
            }
            let plan = self.cut_span(&span, &mut demand, &needs, is_closed, may_trim).await?;
            is_unread |= plan.is_unread;
            may_trim &= plan.is_whole;
            if !plan.is_whole && !self.swept.contains_key(&span.first) {
                break;
            }
        }
        let first = self.shared.log.bounds(&self.log).await?.start;
        self.swept.retain(|span, swept| span.0 >= first && swept.decisions == decisions);
        self.warn(is_unread, &needs, bounds.end);
        Ok(())
    }

    /// What there is to know of a span without looking at all of it.
    async fn span(&self, usage: &SpanUsage, is_closed: bool) -> Result<Span, PassError> {
        let (mut oldest, mut newest) = (Timestamp(u64::MAX), Timestamp(u64::MAX));
        if self.policy.max_age.is_some() {
            oldest = self.time_at(usage.first).await?.unwrap_or(oldest);
            if is_closed {
                newest = self.time_at(usage.end).await?.unwrap_or(newest);
            }
        }
        let entries = usage.end.0 - usage.first.0;
        Ok(Span { first: usage.first, end: usage.end, octets: usage.octets, entries, oldest, newest })
    }

    /// When the first entry from `offset` on was stored.
    async fn time_at(&self, offset: Offset) -> Result<Option<Timestamp>, PassError> {
        let entries = self.shared.log.read(&self.log, offset, 1).await?;
        entries.first().map(|entry| Ok(known(&self.log, entry)?.fact.time)).transpose()
    }

    async fn cut_span(
        &mut self,
        span: &Span,
        demand: &mut Demand,
        needs: &Needs,
        is_closed: bool,
        may_trim: bool,
    ) -> Result<Plan, PassError> {
        let shared = self.shared.clone();
        let _deleting = shared.control.deleting().await;
        let decisions = *shared.control.changes().borrow();
        let holds = self.holds();
        let mut entries = self.read_span(span.first..span.end).await?;
        let stay = self.bodies_that_stay(&entries, needs).await?;
        let mut is_held_only = true;
        for entry in &mut entries {
            let is_held = holds.holds(entry.key.as_deref());
            let is_needed = entry.blob.is_some_and(|(blob, _)| stay.contains(&blob));
            is_held_only &= is_held || !is_needed;
            entry.fact.is_held = is_held || is_needed;
        }
        let facts: Vec<Fact> = entries.iter().map(|entry| entry.fact).collect();
        let plan = demand.plan(&facts, needs.settled, is_closed);
        let gone: BTreeSet<Offset> = plan.gone.iter().copied().collect();
        let (gone, left): (Vec<Known>, Vec<Known>) =
            entries.into_iter().partition(|entry| gone.contains(&entry.fact.offset));
        if !gone.is_empty() || plan.is_whole {
            let text = format!("by {}", plan.rules);
            let whole = (plan.is_whole && may_trim).then_some(span.end);
            self.delete(&gone, whole, &text).await?;
            self.count_deleted(&gone, plan.rules);
        }
        let is_all_held = left.iter().all(|entry| entry.fact.is_held);
        if plan.is_final && !plan.is_whole && is_all_held && is_held_only {
            let octets = left.iter().map(|entry| entry.fact.octets).sum();
            let swept = Swept { decisions, octets, records: left.len() as u64 };
            self.swept.insert(span.first, swept);
        }
        Ok(plan)
    }

    /// The entries of a range that are there.
    pub(super) async fn read_span(&self, range: Range<Offset>) -> Result<Vec<Known>, PassError> {
        let (mut found, mut at) = (Vec::new(), range.start);
        while at < range.end {
            let entries = self.shared.log.read(&self.log, at, READ_OCTETS).await?;
            let Some(last) = entries.last() else { break };
            at = last.offset.next();
            for entry in entries.iter().take_while(|entry| entry.offset < range.end) {
                found.push(known(&self.log, entry)?);
            }
        }
        Ok(found)
    }

    /// The large bodies that must not go now: with a reader, or named by the quarantine too.
    pub(super) async fn bodies_that_stay(
        &self,
        entries: &[Known],
        needs: &Needs,
    ) -> Result<BTreeSet<BlobId>, PassError> {
        let mut stay = BTreeSet::new();
        let LogName::Flow(flow) = &self.log else { return Ok(stay) };
        if entries.iter().all(|entry| entry.blob.is_none()) {
            return Ok(stay);
        }
        stay = quarantine::named_blobs(&*self.shared.log, flow).await?;
        let with_reader = entries.iter().filter(|entry| needs.is_under_way(entry.fact.offset));
        stay.extend(with_reader.filter_map(|entry| entry.blob.map(|(blob, _)| blob)));
        Ok(stay)
    }

    /// Deletes entries with their bodies: audit first, then what is known of their publishers, the ledger, the bodies, the entries. What a crash leaves is found
    /// and deleted by the next look. `whole`: all of the log before this offset goes.
    pub(super) async fn delete(
        &self,
        gone: &[Known],
        whole: Option<Offset>,
        why: &str,
    ) -> Result<(), PassError> {
        if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
            self.shared.audit(vec![self.event(gone.len(), first.fact.offset, last.fact.offset, why)]).await?;
        }
        if let (Some(lane), Some(last)) = (&self.lane, gone.last()) {
            // Whose records they were has to be known without them.
            lane.keep_known(last.fact.offset.next()).await;
        }
        let blobs: Vec<(BlobId, u64)> = gone.iter().filter_map(|entry| entry.blob).collect();
        if let Some(ledger) = &self.ledger {
            ledger.remove(gone.len() as u64, blobs.iter().map(|(_, octets)| octets).sum());
            self.keep_ledger().await?;
        }
        for (blob, _) in blobs {
            self.shared.blobs.delete(blob).await?;
        }
        if let LogName::Originals(key) = &self.log {
            // Before they are gone: what is made again from here on is kept again.
            let offsets: BTreeSet<Offset> = gone.iter().map(|entry| entry.fact.offset).collect();
            self.shared.originals.of(key).lose(|offset| offsets.contains(&offset));
        }
        match whole {
            Some(before) => self.shared.log.trim(&self.log, before).await?,
            None => {
                let offsets = gone.iter().map(|entry| entry.fact.offset).collect();
                self.shared.log.erase(&self.log, offsets).await?;
            }
        }
        if let LogName::Quarantine(flow) = &self.log {
            let octets = gone.iter().map(|entry| entry.quarantined_octets).sum();
            self.shared.quarantine.give_back(flow, gone.len() as u64, octets);
        }
        Ok(())
    }

    fn event(&self, records: usize, first: Offset, last: Offset, why: &str) -> Event {
        let about = About { flow: self.flow().cloned(), offset: Some(first), ..About::default() };
        let reason =
            format!("log `{}`, {records} entries from offset {first} through {last}, {why}", self.log);
        about.event(self.shared.now(), Action::Deleted, reason)
    }

    pub(super) fn count_deleted(&self, gone: &[Known], rules: Rules) {
        let octets = gone.iter().map(|entry| entry.fact.octets).sum();
        let log = self.log.to_string();
        self.shared.instruments.deleted(&log, &rules.to_string(), gone.len() as u64, octets);
    }

    /// Tells operators that something should go and cannot, because a subscription has not settled it.
    fn warn(&mut self, is_unread: bool, needs: &Needs, end: u64) {
        let (true, Some((settled, subscription))) = (is_unread, &needs.behind) else { return };
        if self.warned.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        let lag = end.saturating_sub(settled.0);
        tracing::warn!(log = %self.log, subscription, %settled, lag,
            "records are over the limits of retention and stay, because a subscription has not settled them; \
             read or remove it, or set `until_read = false` in the flow's [retention]");
    }

    /// Reports what the log takes up.
    pub(super) async fn measure(&self) -> Result<(), PassError> {
        let (LogName::Flow(flow), Some(ledger)) = (&self.log, &self.ledger) else { return Ok(()) };
        let usage = self.shared.log.usage(&self.log).await?;
        self.shared.instruments.kept(flow, ledger.records(), usage.octets + ledger.large_octets());
        Ok(())
    }
}

/// What retention has to know of an entry.
pub(super) fn known(log: &LogName, entry: &LogEntry) -> Result<Known, PassError> {
    let failed = |error| PassError::Entry(entry.offset, error);
    let (time, key, blob, quarantined_octets) = match log {
        LogName::Flow(flow) => {
            let stored = Stored::decode(flow.clone(), entry.offset, &entry.octets).map_err(failed)?;
            let envelope = stored.envelope();
            let blob = if let Body::Blob(blob) = &envelope.body { Some(*blob) } else { None };
            (envelope.accepted, envelope.head.key.clone(), blob, 0)
        }
        LogName::Quarantine(_) => {
            let record = Quarantined::decode(&entry.octets).map_err(failed)?;
            (record.time, record.head.key.clone(), record.own_blob().copied(), record.octets())
        }
        LogName::Audit | LogName::Control => {
            (Event::decode(&entry.octets).map_err(failed)?.time, None, None, 0)
        }
        LogName::Originals(_) => (Kept::decode(&entry.octets).map_err(failed)?.time, None, None, 0),
        // What plugins keep has its own bounds, and no rule of retention is for it: it never becomes old.
        LogName::State(_) => (Timestamp(u64::MAX), None, None, 0),
    };
    let large = blob.map_or(0, |blob| blob.size);
    let octets = entry.octets.len() as u64 + ENTRY_OCTETS + large;
    let fact = Fact { offset: entry.offset, time, octets, is_held: false };
    Ok(Known { fact, key, blob: blob.map(|blob| (blob.id, blob.size)), quarantined_octets })
}
