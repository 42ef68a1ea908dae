//! The audit as records of a flow: what happened, and who published and read how much, for plugins that observe and for readers.
//!
//! One task reads the audit log behind its writers and publishes to the flow that the configuration names, under the broker's own
//! name and through the flow's chain, like any publisher. An event's place in the audit is its number as a record, and the flow
//! knows which number it had last: so each event is stored there once, in order, whatever the broker died of, and nothing has to
//! be kept for that. Where the flow cannot store, events wait in the audit log. Statistics are counted in memory
//! ([`crate::traffic`]); what was counted since the last record of them is gone with a crash.
//!
//! What happens to the records of this flow, and of those that its stages emit to, is in the audit too, and is not fed:
//! see [`document`].

mod document;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hilum_core::audit::Event;
use hilum_core::policy::Denial;
use hilum_core::record::{Body, Draft, Head, ProducerId, ProducerPosition};
use hilum_core::state::Emitter;
use hilum_core::{Attribute, Digest, FlowName, LogName, Offset, Principal, Timestamp, limits};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{AuditFlow, Hospital};
use crate::flows::Flows;
use crate::ingest::{Item, Lane, ProducerStream, Settled};
use document::{EVENT, Period, STATISTICS};

/// Octets read from the audit log at once.
const READ_OCTETS: usize = 256 * 1024;
/// How long events are gathered: each append waits for the disk.
const GATHER: Duration = Duration::from_millis(100);
/// Waits between attempts while the flow cannot store; the last one again and again.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];
/// How long a stop waits for the last of it: what is left in the audit log is fed after the next start.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The task.
pub(crate) struct Feed {
    task: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

/// Why records did not get into the flow. They are tried again.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("the audit log cannot be read: {0}")]
    Read(#[from] hilum_store::ReadError),
    #[error("the flow takes no records")]
    Closed,
    #[error("the flow cannot store them now")]
    Unavailable,
    #[error("policy does not let the broker publish there: {0}")]
    Denied(#[from] Denial),
    #[error("a record of it is none: {0}")]
    Record(String),
}

impl Feed {
    /// Feeds until it is stopped, beginning after what the flow has.
    pub(crate) fn start(flows: &Arc<Flows>, hospital: &Hospital, audit: AuditFlow) -> Self {
        flows.shared.traffic.begin();
        let (stopping, stop) = watch::channel(false);
        let zone = &hospital.flows[&audit.flow].zone;
        let feeder = Feeder::new(flows.clone(), AuditFlow::publisher(hospital, zone), audit);
        Self { task: tokio::spawn(feeder.run(stop)), stopping }
    }

    /// Feeds what is there, as far as that goes soon.
    pub(crate) async fn stop(self) {
        self.stopping.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that feeds the audit to a flow ended abnormally");
        }
    }
}

struct Feeder {
    flows: Arc<Flows>,
    audit: AuditFlow,
    principal: Arc<Principal>,
    events: Series,
    statistics: Series,
    /// The next audit event.
    next: u64,
    /// The audit is shorter than what the flow has of it, which was said.
    is_behind: bool,
    /// When counting of the period under way began.
    since: Timestamp,
    due: Instant,
    /// Statistics that the flow did not take yet.
    waiting: Vec<Vec<u8>>,
}

/// Records that are numbered together.
struct Series {
    producer: ProducerId,
    /// As long as it is held the flow remembers their numbers.
    _stream: Option<ProducerStream>,
    last: u64,
}

impl Series {
    fn open(lane: &Lane, name: &str, now: Timestamp) -> Self {
        let digest = Digest::of(format!("fed by the broker: {name}").as_bytes());
        let mut producer = [0; 16];
        producer.copy_from_slice(&digest.0[..16]);
        let producer = ProducerId(producer);
        let stream = lane.emitter(Emitter { producer, since: now }, true).ok();
        Self { producer, last: stream.as_ref().map_or(0, |stream| stream.last_settled), _stream: stream }
    }
}

impl Feeder {
    fn new(flows: Arc<Flows>, principal: Arc<Principal>, audit: AuditFlow) -> Self {
        let (now, flow) = (flows.shared.now(), &flows.by_name[&audit.flow]);
        let events = Series::open(&flow.lane, "audit events", now);
        let statistics = Series::open(&flow.lane, "statistics", now);
        Self {
            principal,
            // The number of an event is one more than its place, which begins at 0.
            next: events.last,
            is_behind: false,
            due: Instant::now() + audit.statistics,
            since: now,
            waiting: Vec::new(),
            flows,
            audit,
            events,
            statistics,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut failures = 0;
        while !*stop.borrow_and_update() {
            let pause = match self.carry().await {
                Ok(()) => {
                    failures = 0;
                    None
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(flow = %self.audit.flow, %error, "the audit does not get into its flow; it is tried again");
                    }
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    failures += 1;
                    Some(pause)
                }
            };
            tokio::select! {
                () = self.news(pause) => {}
                // An error says that nobody will stop it in good order: the broker is gone.
                _ = stop.changed() => {}
            }
            if stop.has_changed().is_err() {
                return;
            }
        }
        self.due = Instant::now();
        match tokio::time::timeout(STOP_TIME, self.carry()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the last of the audit is fed to its flow after the next start");
            }
            Err(_) => tracing::warn!("the last of the audit is fed to its flow after the next start"),
        }
    }

    /// Comes when there may be something to feed; after a failure, when it is to be tried again.
    async fn news(&self, pause: Option<Duration>) {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => tokio::select! {
                () = self.flows.shared.audited.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep_until(self.due) => {}
            },
        }
    }

    /// Feeds what there is.
    async fn carry(&mut self) -> Result<(), FeedError> {
        // Another configuration may put the flow elsewhere, and let its records lead elsewhere.
        let running = self.flows.reloader.running();
        let hospital = running.as_ref().map(|running| &running.hospital);
        if let Some((hospital, flow)) = hospital.and_then(|it| Some((it, it.flows.get(&self.audit.flow)?)))
            && flow.zone != self.principal.zone
        {
            self.principal = AuditFlow::publisher(hospital, &flow.zone);
        }
        let downstream = hospital.map(|hospital| self.audit.downstream(hospital));
        let downstream = downstream.unwrap_or_else(|| BTreeSet::from([self.audit.flow.clone()]));
        self.carry_events(&downstream).await?;
        self.carry_statistics(&downstream).await
    }

    async fn carry_events(&mut self, downstream: &BTreeSet<FlowName>) -> Result<(), FeedError> {
        let log = self.flows.shared.log.clone();
        let bounds = log.bounds(&LogName::Audit).await?;
        if self.next > bounds.end && !std::mem::replace(&mut self.is_behind, true) {
            let (fed, end) = (self.next, bounds.end);
            tracing::error!(
                fed,
                end,
                "the audit log lost events that its flow has: what comes until it is as long again is not fed"
            );
        }
        if self.next < bounds.start {
            let missed = bounds.start - self.next;
            tracing::warn!(missed, "audit events were deleted before they were fed to their flow");
            self.next = bounds.start;
        }
        while self.next < bounds.end {
            let entries = log.read(&LogName::Audit, Offset(self.next), READ_OCTETS).await?;
            let Some(last) = entries.last().map(|entry| entry.offset) else { break };
            let mut items = Vec::new();
            for entry in &entries {
                let number = entry.offset.0 + 1;
                match Event::decode(&entry.octets) {
                    Ok(event) if document::is_fed(&event, downstream) => {
                        let attributes = document::attributes(number, &event);
                        let body = document::event(number, &event);
                        let at = (
                            event.time,
                            ProducerPosition { producer: self.events.producer, sequence: number },
                        );
                        items.push(self.item(EVENT, attributes, body, at)?);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(number, %error, "an audit event cannot be read and is not fed");
                    }
                }
            }
            self.submit(items).await?;
            self.next = last.next().0;
        }
        Ok(())
    }

    /// One record or more when the period is over; none where nothing happened. While those of an earlier one wait, the period
    /// under way gets longer.
    async fn carry_statistics(&mut self, downstream: &BTreeSet<FlowName>) -> Result<(), FeedError> {
        let is_due = Instant::now() >= self.due;
        if is_due {
            self.due = Instant::now() + self.audit.statistics;
        }
        if is_due && self.waiting.is_empty() {
            let to = self.flows.shared.now();
            let period = Period { from: self.since, to };
            self.waiting = document::statistics(period, self.flows.shared.traffic.take(), downstream);
            self.since = to;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (now, producer) = (self.flows.shared.now(), self.statistics.producer);
        let first = self.statistics.last + 1;
        let item = |(sequence, body): (u64, &Vec<u8>)| {
            self.item(STATISTICS, Vec::new(), body.clone(), (now, ProducerPosition { producer, sequence }))
        };
        let items = (first..).zip(&self.waiting).map(item).collect::<Result<Vec<_>, _>>()?;
        let count = items.len() as u64;
        self.submit(items).await?;
        self.statistics.last += count;
        self.waiting.clear();
        Ok(())
    }

    /// The first three steps of a record's way.
    fn item(
        &self,
        content_type: &str,
        attributes: Vec<Attribute>,
        body: Vec<u8>,
        (time, position): (Timestamp, ProducerPosition),
    ) -> Result<Item, FeedError> {
        let head = Head {
            time,
            expires: None,
            deliver_after: None,
            key: None,
            content_type: content_type.into(),
            attributes,
            labels: Vec::new(),
            trace: None,
        };
        let wrong = |error: &dyn std::fmt::Display| FeedError::Record(error.to_string());
        let permit = self.flows.rules().policy.admit(&self.principal, &self.audit.flow)?;
        let draft =
            Draft::new(self.audit.flow.clone(), head, Body::Inline(Bytes::from(body)), Some(position));
        let draft = draft.map_err(|error| wrong(&error))?;
        let record = draft.attest(self.principal.clone()).admit(&permit).map_err(|error| wrong(&error))?;
        Ok(Item { record, span: None })
    }

    /// Comes back when all are settled. What the chain refuses is: it is in quarantine.
    async fn submit(&self, items: Vec<Item>) -> Result<(), FeedError> {
        let lane = &self.flows.by_name[&self.audit.flow].lane;
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let some: Vec<Item> = items.by_ref().take(limits::PUBLISH_RECORDS_MAX).collect();
            let answer = lane.submit(some).await.map_err(|_| FeedError::Closed)?;
            let settled = answer.await.map_err(|_| FeedError::Closed)?;
            if settled.iter().any(Settled::is_retryable) {
                return Err(FeedError::Unavailable);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
