//! Where operators look at what is in quarantine, release it and destroy it.
//!
//! A release sends the record through its flow's chain again, as it came in and under policy as it is now, and removes it when
//! it is stored. Its position in the quarantine is its position as a producer, so that a crash in between stores it once:
//! the next release finds it stored, and only removes it. A large body is copied: the chain lets go of what it was given, and
//! what is in quarantine must outlive a chain that refuses again.

use std::sync::Arc;

use bytes::Bytes;
use hilum_core::audit::{Action, Event};
use hilum_core::entry::EntryError;
use hilum_core::policy::{OperatorPermit, Permit};
use hilum_core::quarantine::{Filter, Quarantined, release_position};
use hilum_core::record::{Admitted, BlobRef, Body};
use hilum_core::{FlowName, LogName, Offset, SubscriptionName, limits};
use hilum_store::{AppendError, BlobError, ReadError};

use super::READ_OCTETS;
use crate::broker::About;
use crate::flows::{Flow, Flows};
use crate::ingest::{Closed, Item, Refusal, RefusalKind, Settled};
use crate::telemetry::RecordSpan;

/// Reads of the log for one page. What fits the filter may be far apart; the operator asks again from there.
const PAGE_READS_MAX: usize = 8;

/// The quarantine of a running broker, for operators.
#[derive(Clone)]
pub struct QuarantineDesk {
    flows: Arc<Flows>,
}

/// Why something is not done. The texts are for the operator; they name no value of a record.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such record, or not any more.
    #[error("there is no record {1} in the quarantine of flow `{0}`")]
    NotFound(FlowName, Offset),
    /// A hold lies on it.
    #[error("a legal hold keeps record {1} in the quarantine of flow `{0}`")]
    Held(FlowName, Offset),
    /// Policy does not allow its sender to publish, as it is now.
    #[error("policy does not let its sender publish to the flow any more: {0}")]
    Denied(String),
    /// The chain stopped it again.
    #[error("the flow's chain stopped it again: {0}")]
    Stopped(String),
    /// It cannot be released where it is.
    #[error("{0}")]
    NotReleasable(String),
    /// Not now: something cannot be read or written. The broker's log says more.
    #[error("{0}")]
    Unavailable(&'static str),
}

/// Records of a quarantine that fit a filter.
pub struct Page {
    /// In order.
    pub records: Vec<(Offset, Quarantined)>,
    /// Where the rest begins; none at the end.
    pub next: Option<Offset>,
}

/// What a release came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It is stored, here or after.
    Stored(Offset),
    /// An earlier release had stored it.
    Already,
    /// It will be delivered to its subscription again.
    Redelivered,
}

impl From<ReadError> for DeskError {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "a quarantine cannot be read");
        Self::Unavailable("the quarantine cannot be read; the broker's log says why")
    }
}

impl From<EntryError> for DeskError {
    fn from(error: EntryError) -> Self {
        tracing::error!(%error, "an entry of a quarantine cannot be read");
        Self::Unavailable("the quarantine cannot be read; the broker's log says why")
    }
}

impl From<BlobError> for DeskError {
    fn from(error: BlobError) -> Self {
        tracing::error!(%error, "a large body in quarantine cannot be read, copied or deleted");
        Self::Unavailable(
            "the record's large body cannot be read, copied or deleted; the broker's log says why",
        )
    }
}

impl From<AppendError> for DeskError {
    fn from(error: AppendError) -> Self {
        tracing::error!(%error, "what an operator does cannot be audited");
        Self::Unavailable("the audit cannot be written, so nothing was done")
    }
}

impl QuarantineDesk {
    /// The desk of a broker.
    #[must_use]
    pub fn new(flows: Arc<Flows>) -> Self {
        Self { flows }
    }

    /// Records from a number on that fit, as many as go into one page.
    pub async fn list(&self, flow: &FlowName, from: Offset, filter: &Filter) -> Result<Page, DeskError> {
        let (log, mut records) = (LogName::Quarantine(flow.clone()), Vec::new());
        let bounds = self.flows.shared.log.bounds(&log).await?;
        let mut at = Offset(from.0.max(bounds.start));
        for _ in 0..PAGE_READS_MAX {
            if at.0 >= bounds.end {
                break;
            }
            let entries = self.flows.shared.log.read(&log, at, READ_OCTETS).await?;
            if entries.is_empty() {
                at = Offset(bounds.end);
            }
            for entry in entries {
                at = entry.offset.next();
                let record = Quarantined::decode(&entry.octets)?;
                if filter.fits(&record) {
                    records.push((entry.offset, record));
                }
                if records.len() == limits::ADMIN_PAGE_ITEMS_MAX {
                    return Ok(Page { records, next: Some(at).filter(|at| at.0 < bounds.end) });
                }
            }
        }
        Ok(Page { records, next: Some(at).filter(|at| at.0 < bounds.end) })
    }

    /// One record.
    pub async fn find(&self, flow: &FlowName, id: Offset) -> Result<Quarantined, DeskError> {
        let entries = self.flows.shared.log.read(&LogName::Quarantine(flow.clone()), id, 1).await?;
        let found = entries.first().filter(|entry| entry.offset == id);
        let found = found.ok_or_else(|| DeskError::NotFound(flow.clone(), id))?;
        Ok(Quarantined::decode(&found.octets)?)
    }

    /// A part of a record's body; empty at its end.
    pub async fn body(&self, flow: &FlowName, id: Offset, from: u64) -> Result<Bytes, DeskError> {
        match self.find(flow, id).await?.body {
            Body::Inline(octets) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(octets.len());
                Ok(octets.slice(from..octets.len().min(from + limits::BLOB_CHUNK_OCTETS)))
            }
            Body::Blob(blob) if from >= blob.size => Ok(Bytes::new()),
            Body::Blob(blob) => {
                Ok(self.flows.shared.blobs.read(&blob, from, limits::BLOB_CHUNK_OCTETS).await?)
            }
        }
    }

    /// Sends a record through its flow's chain again, and removes it from quarantine when it is stored; under a legal hold it
    /// stays there too. `note` is the operator's. Goes its way to the end, whether this future is polled or not.
    pub async fn release(
        &self,
        permit: OperatorPermit,
        id: Offset,
        note: String,
    ) -> Result<Released, DeskError> {
        let desk = self.clone();
        let work = async move { desk.release_alone(&permit, id, &note).await };
        finished(tokio::spawn(work).await)
    }

    /// Destroys a record with its body. Goes its way to the end, whether this future is polled or not.
    pub async fn destroy(&self, permit: OperatorPermit, id: Offset, note: String) -> Result<(), DeskError> {
        let desk = self.clone();
        let work = async move { desk.destroy_alone(&permit, id, &note).await };
        finished(tokio::spawn(work).await)
    }

    async fn release_alone(
        &self,
        permit: &OperatorPermit,
        id: Offset,
        note: &str,
    ) -> Result<Released, DeskError> {
        let flow = flow_of(permit)?;
        let working = self.flows.shared.quarantine.working(flow);
        let _alone = working.lock().await;
        let record = self.find(flow, id).await?;
        let released = match &record.delivery {
            None => self.store_again(permit, id, &record, note).await?,
            Some((subscription, offset)) => {
                self.deliver_again(permit, id, subscription, *offset, note).await?;
                Released::Redelivered
            }
        };
        self.remove(flow, id, &record).await?;
        Ok(released)
    }

    async fn destroy_alone(&self, permit: &OperatorPermit, id: Offset, note: &str) -> Result<(), DeskError> {
        let flow = flow_of(permit)?;
        let working = self.flows.shared.quarantine.working(flow);
        let _alone = working.lock().await;
        let record = self.find(flow, id).await?;
        if self.flows.shared.control.holds_of(flow).holds(record.head.key.as_deref()) {
            return Err(DeskError::Held(flow.clone(), id));
        }
        let Quarantined { cause, principal, .. } = &record;
        let what = format!("from {}, code `{}`", principal.id, cause.code);
        self.flows.shared.audit(vec![self.event(permit, Action::Destroyed, id, &what, note)]).await?;
        if self.remove(flow, id, &record).await? { Ok(()) } else { Err(DeskError::Held(flow.clone(), id)) }
    }

    async fn store_again(
        &self,
        operator: &OperatorPermit,
        id: Offset,
        record: &Quarantined,
        note: &str,
    ) -> Result<Released, DeskError> {
        let flow = &record.flow;
        let Some(Flow { lane, .. }) = self.flows.by_name.get(flow) else {
            return Err(DeskError::NotFound(flow.clone(), id));
        };
        let position = release_position(flow, id);
        if lane.last_settled(position.producer) >= position.sequence {
            let event = self.event(operator, Action::Released, id, "stored by an earlier release", note);
            self.flows.shared.audit(vec![event]).await?;
            return Ok(Released::Already);
        }
        let permit = match self.flows.rules().policy.admit(&record.principal, flow) {
            Ok(permit) => permit,
            Err(denial) => {
                let event = self.event(operator, Action::Denied, id, &format!("release: {denial}"), note);
                self.flows.shared.audit_refusal(event).await;
                return Err(DeskError::Denied(denial.to_string()));
            }
        };
        let what = format!("from {}, rule `{}`", record.principal.id, permit.rule());
        self.flows.shared.audit(vec![self.event(operator, Action::Released, id, &what, note)]).await?;
        let body = self.copied(record).await?;
        let staged = if let Body::Blob(blob) = &body { Some(*blob) } else { None };
        let item = match admit(record, id, body, &permit) {
            Ok(item) => item,
            Err(error) => return self.given_up(staged, error).await,
        };
        let answer = match lane.release(item).await {
            Ok(answer) => answer,
            Err(Closed) => {
                return self.given_up(staged, DeskError::Unavailable("the broker is stopping")).await;
            }
        };
        match answer.await.ok().and_then(|mut settled| settled.pop()) {
            Some(Settled::Stored(offset)) => Ok(Released::Stored(offset)),
            Some(Settled::Repeat) => Ok(Released::Already),
            Some(Settled::Refused(refusal)) => Err(self.stopped(operator, id, refusal, note).await),
            None => Err(DeskError::Unavailable("the flow stopped; release the record again when it runs")),
        }
    }

    /// The record is stored in its flow: its subscription's reader gets it again, through the subscription's chain. If that
    /// fails again, the record comes to quarantine again.
    async fn deliver_again(
        &self,
        operator: &OperatorPermit,
        id: Offset,
        subscription: &SubscriptionName,
        offset: Offset,
        note: &str,
    ) -> Result<(), DeskError> {
        let flow = flow_of(operator)?;
        let seat = self.flows.by_name.get(flow).and_then(|flow| flow.outlets.get(subscription));
        let Some(seat) = seat else {
            let what = format!("flow `{flow}` has no subscription `{subscription}` any more");
            return Err(DeskError::NotReleasable(what));
        };
        let entries = self.flows.shared.log.read(&LogName::Flow(flow.clone()), offset, 1).await?;
        if entries.first().is_none_or(|entry| entry.offset != offset) {
            let what = format!("flow `{flow}` does not hold the record at offset {offset} any more");
            return Err(DeskError::NotReleasable(what));
        }
        let what = format!("offset {offset} comes to subscription `{subscription}` again");
        self.flows.shared.audit(vec![self.event(operator, Action::Released, id, &what, note)]).await?;
        match seat.outlet.redeliver(offset).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(DeskError::Unavailable(
                "the record waits for the subscription already, or too many others do: release it again later",
            )),
            Err(error) => {
                tracing::error!(%flow, %subscription, %error, "a record cannot be delivered again");
                Err(DeskError::Unavailable("the subscription cannot go back; the broker's log says why"))
            }
        }
    }

    /// The chain refused again, or the flow could not store it.
    async fn stopped(
        &self,
        operator: &OperatorPermit,
        id: Offset,
        refusal: Refusal,
        note: &str,
    ) -> DeskError {
        if refusal.kind.is_retryable() {
            return DeskError::Unavailable("the flow cannot store the record now; the broker's log says why");
        }
        let what = format!("release: {}", refusal.reason);
        let event = self.event(operator, Action::Quarantined, id, &what, note);
        self.flows.shared.audit_refusal(event).await;
        match refusal.kind {
            RefusalKind::Chain | RefusalKind::ChainFailed | RefusalKind::Batch => {
                DeskError::Stopped(refusal.reason)
            }
            _ => DeskError::NotReleasable(refusal.reason),
        }
    }

    /// The flow never heard of the copy, so nobody else lets go of it.
    async fn given_up<T>(&self, staged: Option<BlobRef>, error: DeskError) -> Result<T, DeskError> {
        if let Some(blob) = staged
            && let Err(error) = self.flows.shared.blobs.delete(blob.id).await
        {
            tracing::warn!(blob = %blob.id, %error, "a copied body could not be deleted yet");
        }
        Err(error)
    }

    /// The body for another way through the chain: a large one as a copy.
    async fn copied(&self, record: &Quarantined) -> Result<Body, DeskError> {
        let Body::Blob(blob) = &record.body else { return Ok(record.body.clone()) };
        let blobs = &self.flows.shared.blobs;
        let mut copy = blobs.create(&LogName::Flow(record.flow.clone()), &record.principal.id).await?;
        let mut at = 0;
        while at < blob.size {
            let octets = blobs.read(blob, at, limits::BLOB_CHUNK_OCTETS).await?;
            if octets.is_empty() {
                return Err(DeskError::Unavailable("the record's large body ends early"));
            }
            at += octets.len() as u64;
            copy.write(octets).await?;
        }
        let copy = copy.finish().await?;
        if copy.digest != blob.digest {
            let error = DeskError::Unavailable("the record's large body is not what it was");
            return self.given_up(Some(copy), error).await;
        }
        Ok(Body::Blob(copy))
    }

    /// Removes a record and its body, unless it is held. Whether it did. The body goes first: an entry without one can be
    /// removed again, a body without an entry would stay for ever.
    async fn remove(&self, flow: &FlowName, id: Offset, record: &Quarantined) -> Result<bool, DeskError> {
        let shared = &self.flows.shared;
        let _deleting = shared.control.deleting().await;
        if shared.control.holds_of(flow).holds(record.head.key.as_deref()) {
            return Ok(false);
        }
        if let Some(blob) = record.own_blob() {
            shared.blobs.delete(blob.id).await?;
        }
        shared.log.erase(&LogName::Quarantine(flow.clone()), vec![id]).await?;
        shared.quarantine.give_back(flow, 1, record.octets());
        Ok(true)
    }

    fn event(&self, permit: &OperatorPermit, action: Action, id: Offset, what: &str, note: &str) -> Event {
        let about = About {
            principal: Some(permit.principal().id.clone()),
            flow: permit.flow().cloned(),
            ..About::default()
        };
        let note = if note.is_empty() { String::new() } else { format!("; note: {note}") };
        let reason = format!("quarantine record {id}, by rule `{}`: {what}{note}", permit.rule());
        about.event(self.flows.shared.now(), action, reason)
    }
}

fn flow_of(permit: &OperatorPermit) -> Result<&FlowName, DeskError> {
    permit.flow().ok_or(DeskError::Unavailable("the permit is for no flow"))
}

/// The first steps of a record's way, again.
fn admit(record: &Quarantined, id: Offset, body: Body, permit: &Permit) -> Result<Item, DeskError> {
    let span = RecordSpan::begin(&record.flow, record.head.trace.as_ref(), body.size());
    let refused = |error: String| DeskError::Denied(error);
    let draft = record.redraft(id, body).map_err(|error| refused(error.to_string()))?;
    let record: Admitted =
        draft.attest(record.principal.clone()).admit(permit).map_err(|error| refused(error.to_string()))?;
    Ok(Item { record, span })
}

fn finished<T>(outcome: Result<Result<T, DeskError>, tokio::task::JoinError>) -> Result<T, DeskError> {
    outcome.unwrap_or_else(|error| {
        tracing::error!(%error, "work at the quarantine's desk ended abnormally");
        Err(DeskError::Unavailable("the work ended abnormally; the broker's log says more"))
    })
}

#[cfg(test)]
mod tests;
