//! A record's way out of a flow: read, policy, chain, deliver.
//!
//! An [`Outlet`] is one subscription of a running broker. It turns stored records into deliveries, a batch at a time; the
//! session of the reader that is attached asks for them as its credit allows and moves the cursor as the reader
//! acknowledges. For each record one of these happens, and each leaves an audit event before the reader gets anything:
//!
//! - *delivered*: policy permits the reader what is left of the record's labels, and the chain's receipt proves its run;
//! - *withheld*: a plugin refused it for this reader, or the reader is not cleared for it;
//! - *quarantined*: a plugin failed on it.

mod cursor;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hilum_core::audit::{Action, Event};
use hilum_core::entry::EntryError;
use hilum_core::policy::ReadPermit;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{BlobId, Body, ChainRun, Delivered, Stored};
use hilum_core::{FlowName, LogName, Offset, Principal, SubscriptionName, limits};
use hilum_sandbox::{BatchRun, Chain, ChainError, Failure, Input, Ran};
use hilum_store::{AppendError, Durability, MetaError, ReadError};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::broker::{About, Shared};
use crate::chains::{EgressChain, guarded};
use crate::telemetry::DeliverySpan;

pub use cursor::Cursor;

/// One subscription of a running broker.
pub struct Outlet {
    /// What every part shares.
    pub shared: Arc<Shared>,
    /// The flow it reads.
    pub flow: FlowName,
    /// Its name.
    pub subscription: SubscriptionName,
    /// Its egress chain.
    pub chain: EgressChain,
    /// The end of the flow.
    pub tail: watch::Receiver<Offset>,
    /// The records that this process put into quarantine: a reader that comes back before it acknowledged gets them
    /// judged again, and must not fill the quarantine with copies.
    quarantined: Mutex<BTreeSet<Offset>>,
}

/// Why a subscription cannot go on. The reader is told to come back; operators find the cause in the log.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The log cannot be read.
    #[error("the flow's log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// An entry is not what this build writes.
    #[error("offset {0}: {1}")]
    Entry(Offset, EntryError),
    /// The cursor cannot be read.
    #[error("the cursor cannot be read: {0}")]
    Cursor(#[from] MetaError),
    /// Audit or quarantine cannot be written, so nothing may be delivered.
    #[error("the audit or quarantine cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The chain does not load for this reader.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain's worker ended abnormally.
    #[error("the chain's worker ended abnormally")]
    Worker,
}

/// What became of the records from one offset to another.
pub struct Batch {
    /// The offset after the last record that was read.
    pub next: Offset,
    /// The records that are delivered, in order.
    pub deliveries: Vec<Prepared>,
}

/// A record that is ready for its reader.
pub struct Prepared {
    /// Its position.
    pub offset: Offset,
    /// What the chain made of it, in order; one part or more.
    pub parts: Vec<Delivered>,
    /// Large bodies that the chain made for this delivery alone.
    pub made: Vec<BlobId>,
}

/// A record with what its chain made of it.
struct Judged {
    stored: Stored,
    result: Result<Ran, Failure>,
    span: Option<DeliverySpan>,
}

/// What a batch leaves in audit and quarantine.
#[derive(Default)]
struct Trail {
    audit: Vec<Event>,
    quarantine: Vec<Quarantined>,
    withheld: u64,
    /// The stage and code of the first of those withheld, for operators: no words of a plugin.
    first: Option<String>,
    /// Large bodies that the chain made in vain.
    unused: Vec<BlobId>,
}

impl Outlet {
    /// A subscription of a flow whose end is `tail`.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        flow: FlowName,
        subscription: SubscriptionName,
        chain: EgressChain,
        tail: watch::Receiver<Offset>,
    ) -> Self {
        Self { shared, flow, subscription, chain, tail, quarantined: Mutex::default() }
    }

    /// Where the subscription stands.
    pub async fn cursor(&self) -> Result<Cursor, OutletError> {
        let bounds = self.shared.log.bounds(&LogName::Flow(self.flow.clone())).await?;
        let end = Offset(bounds.end);
        Ok(Cursor::load(&*self.shared.meta, &self.flow, &self.subscription, end).await?)
    }

    /// The chain that tells its plugins that `reader` receives.
    pub async fn chain_for(self: &Arc<Self>, reader: &Arc<Principal>) -> Result<Arc<Chain>, OutletError> {
        if self.chain.plan().stages().is_empty() {
            return Ok(self.chain.for_reader(reader)?);
        }
        let (outlet, reader) = (self.clone(), reader.clone());
        let loaded = tokio::task::spawn_blocking(move || outlet.chain.for_reader(&reader)).await;
        Ok(loaded.map_err(|_| OutletError::Worker)??)
    }

    /// Reads from `from` on and prepares what the reader may have; nothing where the flow has nothing new. `chain` is the
    /// reader's own, see [`Outlet::chain_for`].
    pub async fn next(
        &self,
        permit: &ReadPermit,
        chain: &Arc<Chain>,
        from: Offset,
        octets_max: usize,
    ) -> Result<Batch, OutletError> {
        let log = LogName::Flow(self.flow.clone());
        let entries = self.shared.log.read(&log, from, octets_max).await?;
        if entries.is_empty() {
            // Nothing new, or what there was is trimmed.
            let start = self.shared.log.bounds(&log).await?.start;
            return Ok(Batch { next: Offset(from.0.max(start)), deliveries: Vec::new() });
        }
        let mut stored = Vec::with_capacity(entries.len());
        for entry in entries {
            let record = Stored::decode(self.flow.clone(), entry.offset, &entry.octets)
                .map_err(|error| OutletError::Entry(entry.offset, error))?;
            stored.push(record);
        }
        let next = stored.last().map_or(from, |record| record.offset().next());
        let mut trail = Trail::default();
        let mut deliveries = Vec::with_capacity(stored.len());
        for judged in self.judge(chain.clone(), stored).await? {
            deliveries.extend(self.conclude(permit, judged, &mut trail));
        }
        self.release(std::mem::take(&mut trail.unused)).await;
        match self.write(permit, &deliveries, trail).await {
            Ok(()) => Ok(Batch { next, deliveries }),
            Err(error) => {
                self.release(deliveries.into_iter().flat_map(|prepared| prepared.made)).await;
                Err(error)
            }
        }
    }

    /// Runs the egress chain over a batch, away from the async workers.
    async fn judge(&self, chain: Arc<Chain>, stored: Vec<Stored>) -> Result<Vec<Judged>, OutletError> {
        let (flow, subscription) = (self.flow.clone(), self.subscription.clone());
        if chain.plan().stages().is_empty() || stored.is_empty() {
            let judged = judge(&chain, stored, &flow, &subscription, |chain, stored| {
                stored.iter().map(|record| Ok(untouched(chain, record))).collect()
            });
            return Ok(judged);
        }
        let slot = self.shared.chain_slots.clone().acquire_owned().await.map_err(|_| OutletError::Worker)?;
        let (started, shared) = (Instant::now(), self.shared.clone());
        let work = move || {
            let _slot = slot;
            judge(&chain, stored, &flow, &subscription, |chain, stored| {
                // The configuration lets no egress stage emit.
                let BatchRun { records, emitted: _ } =
                    guarded::run(chain, stored.len(), |at| input(&stored[at]));
                shared.instruments.stages(&flow, Some(&subscription), chain.plan(), &records);
                records
            })
        };
        let judged = tokio::task::spawn_blocking(work).await.map_err(|_| OutletError::Worker)?;
        let seconds = started.elapsed().as_secs_f64();
        self.shared.instruments.chain_seconds(&self.flow, Some(&self.subscription), seconds);
        Ok(judged)
    }

    /// Decides about one record: the parts to deliver, or none and why in the trail.
    fn conclude(&self, permit: &ReadPermit, judged: Judged, trail: &mut Trail) -> Option<Prepared> {
        let Judged { stored, result, mut span } = judged;
        let ran = match result {
            Ok(ran) => ran,
            Err(failure) => {
                self.stopped(permit, &stored, &failure, span, trail);
                return None;
            }
        };
        for obligation in &ran.obligations {
            let reason = format!("stage `{}`: {}={}", obligation.stage, obligation.name, obligation.value);
            trail.audit.push(self.about(permit, Some(stored.offset())).event(
                self.shared.now(),
                Action::Obliged,
                reason,
            ));
        }
        let made = made(&ran.run, &stored);
        match stored.deliver(permit, self.chain.plan(), ran.run) {
            Ok(mut parts) => {
                if let Some(span) = span.take() {
                    parts.iter_mut().for_each(|part| part.set_trace(span.context()));
                    span.end(None);
                }
                Some(Prepared { offset: stored.offset(), made, parts })
            }
            Err(error) => {
                trail.unused.extend(made);
                let reason = error.to_string();
                self.withhold(permit, &stored, (reason.clone(), reason), span, trail);
                None
            }
        }
    }

    fn stopped(
        &self,
        permit: &ReadPermit,
        stored: &Stored,
        failure: &Failure,
        span: Option<DeliverySpan>,
        trail: &mut Trail,
    ) {
        let is_decision = matches!(failure, Failure::Refused { .. });
        let (stage, code, reason) =
            (failure.stage().clone(), failure.code().to_owned(), failure.reason().to_owned());
        let text = format!("stage `{stage}`: {code}: {reason}");
        let brief = format!("stage `{stage}`: {code}");
        if is_decision {
            return self.withhold(permit, stored, (text, brief), span, trail);
        }
        let cause = Cause { stage: Some(stage), code, reason };
        trail.audit.push(self.about(permit, Some(stored.offset())).event(
            self.shared.now(),
            Action::Quarantined,
            text,
        ));
        if !self.quarantined.lock().contains(&stored.offset()) {
            let quarantined =
                Quarantined::at_egress(stored, self.subscription.clone(), cause, self.shared.now());
            trail.quarantine.push(quarantined);
        }
        trail.count(span, brief);
    }

    fn withhold(
        &self,
        permit: &ReadPermit,
        stored: &Stored,
        (reason, brief): (String, String),
        span: Option<DeliverySpan>,
        trail: &mut Trail,
    ) {
        trail.audit.push(self.about(permit, Some(stored.offset())).event(
            self.shared.now(),
            Action::Withheld,
            reason,
        ));
        trail.count(span, brief);
    }

    /// Makes audit and quarantine durable, before the reader gets anything.
    async fn write(
        &self,
        permit: &ReadPermit,
        deliveries: &[Prepared],
        mut trail: Trail,
    ) -> Result<(), OutletError> {
        if let (Some(first), Some(last)) = (deliveries.first(), deliveries.last()) {
            let about = self.about(permit, Some(first.offset));
            let plan = self.chain.plan().digest();
            let reason = format!(
                "rule `{}`, plan {plan}, {} records through offset {}",
                permit.rule(),
                deliveries.len(),
                last.offset
            );
            trail.audit.push(about.event(self.shared.now(), Action::Delivered, reason));
        }
        if !trail.quarantine.is_empty() {
            let log = LogName::Quarantine(self.flow.clone());
            let offsets: Vec<Offset> =
                trail.quarantine.iter().filter_map(|record| Some(record.delivery.as_ref()?.1)).collect();
            let entries = trail.quarantine.into_iter().map(Quarantined::into_entry).collect();
            self.shared.log.append(&log, entries, Durability::Fsynced).await?;
            self.remember(offsets);
        }
        self.shared.audit(trail.audit).await?;
        let instruments = &self.shared.instruments;
        if trail.withheld > 0 {
            instruments.withheld(&self.flow, &self.subscription, trail.withheld);
            let (flow, subscription) = (&self.flow, &self.subscription);
            tracing::info!(%flow, %subscription, records = trail.withheld, first = trail.first, "records were withheld");
        }
        if !deliveries.is_empty() {
            instruments.delivered(&self.flow, &self.subscription, deliveries.len() as u64);
        }
        Ok(())
    }

    /// Remembers what is in quarantine: the newest, as many as a reader may have under way.
    fn remember(&self, offsets: Vec<Offset>) {
        let mut quarantined = self.quarantined.lock();
        quarantined.extend(offsets);
        while quarantined.len() > limits::CREDIT_RECORDS_MAX as usize {
            quarantined.pop_first();
        }
    }

    fn about(&self, permit: &ReadPermit, offset: Option<Offset>) -> About {
        About {
            principal: Some(permit.principal().id.clone()),
            flow: Some(self.flow.clone()),
            subscription: Some(self.subscription.clone()),
            offset,
        }
    }

    /// Deletes large bodies that the chain made for deliveries that are settled or given up.
    pub async fn release(&self, made: impl IntoIterator<Item = BlobId>) {
        for blob in made {
            if let Err(error) = self.shared.blobs.delete(blob).await {
                tracing::warn!(flow = %self.flow, %blob, %error, "a delivered body could not be deleted yet");
            }
        }
    }
}

impl Trail {
    /// One more is withheld. `brief` has no words of a plugin: it goes where traces and logs go.
    fn count(&mut self, span: Option<DeliverySpan>, brief: String) {
        if let Some(span) = span {
            span.end(Some(&brief));
        }
        self.withheld += 1;
        self.first.get_or_insert(brief);
    }
}

/// Large bodies of a run that are not the stored one.
fn made(run: &ChainRun, stored: &Stored) -> Vec<BlobId> {
    let bodies = run.outputs.iter().map(|output| output.body.body());
    let blob = |body: &Body| if let Body::Blob(blob) = body { Some(blob.id) } else { None };
    bodies.filter(|body| **body != stored.envelope().body).filter_map(blob).collect()
}

fn judge(
    chain: &Chain,
    stored: Vec<Stored>,
    flow: &FlowName,
    subscription: &SubscriptionName,
    run: impl FnOnce(&Chain, &[Stored]) -> Vec<Result<Ran, Failure>>,
) -> Vec<Judged> {
    let started = SystemTime::now();
    let results = run(chain, &stored);
    let ended = SystemTime::now();
    guarded::report_failures(chain, flow, Some(subscription), &results);
    assert_eq!(results.len(), stored.len(), "a chain answers for each record");
    let judged = |(stored, result): (Stored, Result<Ran, Failure>)| {
        let span = DeliverySpan::begin(flow, subscription, stored.envelope().head.trace.as_ref());
        if let Some(span) = &span {
            span.chain(chain.plan(), result.as_ref().ok(), started, ended);
        }
        Judged { stored, result, span }
    };
    stored.into_iter().zip(results).map(judged).collect()
}

fn input(stored: &Stored) -> Input {
    let envelope = stored.envelope();
    Input {
        head: envelope.head.clone(),
        source: envelope.principal.clone(),
        offset: Some(stored.offset()),
        body: stored.measured(),
    }
}

fn untouched(chain: &Chain, stored: &Stored) -> Ran {
    Ran {
        run: ChainRun::unprocessed(&stored.envelope().head, &stored.measured(), chain.plan()),
        obligations: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
