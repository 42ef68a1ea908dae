//! The second task of a lane: leaves out retries, appends, waits for the disk, answers.

use std::sync::Arc;
use std::time::SystemTime;

use hilum_core::audit::{Action, Event};
use hilum_core::name::FlowName;
use hilum_core::producers::{Producers, Standing};
use hilum_core::record::{BlobId, Body};
use hilum_core::{Entry, LogName, Offset, limits};
use hilum_sandbox::Emission;
use hilum_store::AppendError;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::process::{Passed, Processed, ProcessedRecord, Stopped};
use super::{Refusal, RefusalKind, Settled};
use crate::broker::{About, Shared};

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: FlowName,
    pub(super) producers: Arc<Mutex<Producers>>,
    pub(super) tail: watch::Sender<Offset>,
    pub(super) emissions: mpsc::Sender<Emission>,
}

/// What is known of a record before and after the append.
struct Answer {
    record: ProcessedRecord,
    settled: Settled,
}

/// The entries of one append and what follows when they are durable.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    quarantine: Vec<Entry>,
    audit: Vec<Event>,
    /// Large bodies that the entries name.
    stored_blobs: Vec<BlobId>,
    /// Large bodies that the quarantine names.
    quarantined_blobs: Vec<BlobId>,
    /// Large bodies that nothing names any more.
    released_blobs: Vec<BlobId>,
    emitted: Vec<Emission>,
    octets: u64,
}

impl Task {
    pub(super) async fn run(self, mut processed: mpsc::Receiver<Processed>) {
        while let Some(first) = processed.recv().await {
            let mut gathered = vec![first];
            let mut records = gathered[0].records.len();
            while records < limits::APPEND_RECORDS_MAX {
                let Ok(next) = processed.try_recv() else { break };
                records += next.records.len();
                gathered.push(next);
            }
            self.append(gathered).await;
        }
    }

    async fn append(&self, gathered: Vec<Processed>) {
        let started = SystemTime::now();
        let mut group = Group::default();
        let mut answers: Vec<(Vec<Answer>, oneshot::Sender<Vec<Settled>>)> =
            Vec::with_capacity(gathered.len());
        {
            let producers = self.producers.lock();
            let mut seen = InGroup::default();
            for Processed { records, mut emitted, reply } in gathered {
                group.emitted.append(&mut emitted);
                let prepared = records
                    .into_iter()
                    .map(|record| {
                        let standing = seen.standing(&producers, &record);
                        self.prepare(record, standing, &mut group)
                    })
                    .collect();
                answers.push((prepared, reply));
            }
        }
        let emitted = std::mem::take(&mut group.emitted);
        let outcome = self.write(group).await;
        self.settle(&mut answers, outcome.as_ref());
        if outcome.is_ok() {
            self.emit(emitted).await;
        }
        let seconds = started.elapsed().unwrap_or_default().as_secs_f64();
        self.shared.instruments.append_seconds(&self.flow, seconds);
        for (answers, reply) in answers {
            let settled = answers.into_iter().map(|answer| self.report(answer, started)).collect();
            // A publisher that went away learns the answer by asking for its last number when it comes back.
            let _ = reply.send(settled);
        }
    }

    /// Sorts one record into the group. `Settled::Stored` counts from the start of the group for now.
    fn prepare(&self, mut record: ProcessedRecord, standing: Standing, group: &mut Group) -> Answer {
        if let Standing::OutOfOrder { missing } = standing {
            let reason =
                format!("record {missing} of the same publisher was refused and must come again first");
            group.release(&record.input);
            return Answer { record, settled: refused(RefusalKind::OutOfOrder, reason) };
        }
        if standing == Standing::Repeat {
            group.release_all(&record);
            return Answer { record, settled: Settled::Repeat };
        }
        let settled = match &mut record.result {
            Ok(passed) => {
                let first = Offset(group.entries.len() as u64);
                group.take_passed(passed, &record.input, &self.flow);
                Settled::Stored(first)
            }
            Err(stopped) => {
                group.take_stopped(stopped);
                Settled::Refused(stopped.refusal.clone())
            }
        };
        Answer { record, settled }
    }

    /// Writes quarantine and audit first: a refusal is only given when the record is safe there. Then the records.
    async fn write(&self, group: Group) -> Result<Offset, AppendError> {
        if !group.quarantine.is_empty() {
            self.shared.log.append(&LogName::Quarantine(self.flow.clone()), group.quarantine).await?;
            self.commit(group.quarantined_blobs).await;
        }
        self.shared.audit(group.audit).await?;
        let mut first = *self.tail.borrow();
        if !group.entries.is_empty() {
            let count = group.entries.len() as u64;
            first = self.shared.log.append(&LogName::Flow(self.flow.clone()), group.entries).await?;
            self.tail.send_replace(Offset(first.0 + count));
            self.shared.instruments.stored(&self.flow, count, group.octets);
            self.commit(group.stored_blobs).await;
        }
        for blob in group.released_blobs {
            self.shared.blobs.delete(blob).await.unwrap_or_else(|error| {
                tracing::warn!(flow = %self.flow, %blob, %error, "a large body could not be deleted yet");
            });
        }
        Ok(first)
    }

    /// What cannot be committed now stays staged; the log names it, so the next start commits it.
    async fn commit(&self, blobs: Vec<BlobId>) {
        for blob in blobs {
            self.shared.blobs.commit(blob).await.unwrap_or_else(|error| {
                tracing::warn!(flow = %self.flow, %blob, %error, "a large body could not be committed yet");
            });
        }
    }

    /// Turns prepared answers into final ones and remembers the publishers' positions.
    fn settle(
        &self,
        answers: &mut [(Vec<Answer>, oneshot::Sender<Vec<Settled>>)],
        outcome: Result<&Offset, &AppendError>,
    ) {
        let mut producers = self.producers.lock();
        for answer in answers.iter_mut().flat_map(|(answers, _)| answers) {
            let retried_later =
                matches!(&answer.settled, Settled::Refused(refusal) if refusal.kind.is_retryable());
            match outcome {
                Ok(first) => {
                    if let Settled::Stored(offset) = &mut answer.settled {
                        offset.0 += first.0;
                    }
                    if let (Some(position), false) = (answer.record.position, retried_later) {
                        producers.settle(position);
                    }
                }
                Err(error) if answer.settled != Settled::Repeat => {
                    if let Some(position) = answer.record.position {
                        producers.fail(position);
                    }
                    if !retried_later {
                        answer.settled = refused(
                            RefusalKind::Unavailable,
                            format!("the record could not be stored: {error}"),
                        );
                    }
                }
                Err(_) => {}
            }
        }
        if let Err(error) = outcome {
            tracing::error!(flow = %self.flow, %error, "an append failed; its publishers were told to retry");
        }
    }

    async fn emit(&self, emitted: Vec<Emission>) {
        for emission in emitted {
            if self.emissions.send(emission).await.is_err() {
                tracing::error!(flow = %self.flow, "an emitted record was lost: the broker is stopping");
            }
        }
    }

    fn report(&self, answer: Answer, started: SystemTime) -> Settled {
        let instruments = &self.shared.instruments;
        match &answer.settled {
            Settled::Stored(_) => {}
            Settled::Repeat => instruments.repeated(&self.flow),
            Settled::Refused(refusal) => instruments.refused(&self.flow, refusal.kind),
        }
        if let Some(span) = answer.record.span {
            span.append(&self.flow, started);
            span.end(&answer.settled);
        }
        answer.settled
    }
}

fn refused(kind: RefusalKind, reason: String) -> Settled {
    Settled::Refused(Refusal { kind, reason })
}

/// Retries may be in the same group as the record that they repeat.
#[derive(Default)]
struct InGroup {
    highest: std::collections::HashMap<hilum_core::record::ProducerId, u64>,
}

impl InGroup {
    fn standing(&mut self, producers: &Producers, record: &ProcessedRecord) -> Standing {
        let Some(position) = record.position else { return Standing::Fresh };
        let standing = producers.standing(position);
        if standing != Standing::Fresh {
            return standing;
        }
        let highest = self.highest.entry(position.producer).or_default();
        if position.sequence <= *highest {
            return Standing::Repeat;
        }
        *highest = position.sequence;
        Standing::Fresh
    }
}

impl Group {
    fn take_passed(&mut self, passed: &mut Passed, input: &Body, flow: &FlowName) {
        let mut kept = false;
        for sealed in passed.sealed.drain(..) {
            let body = &sealed.envelope().body;
            kept |= body == input;
            if let Body::Blob(blob) = body {
                self.stored_blobs.push(blob.id);
            }
            let principal = Some(sealed.source().clone());
            for obligation in passed.obligations.drain(..) {
                let about =
                    About { principal: principal.clone(), flow: Some(flow.clone()), ..About::default() };
                let reason =
                    format!("stage `{}`: {}={}", obligation.stage, obligation.name, obligation.value);
                self.audit.push(about.event(Action::Obliged, reason));
            }
            self.octets += body.size();
            self.entries.push(sealed.into_entry());
        }
        if !kept {
            self.release(input);
        }
    }

    fn take_stopped(&mut self, stopped: &Stopped) {
        let record = &stopped.record;
        let about = About {
            principal: Some(record.principal.id.clone()),
            flow: Some(record.flow.clone()),
            ..About::default()
        };
        self.audit.push(about.event(Action::Quarantined, stopped.refusal.reason.clone()));
        if let Body::Blob(blob) = &record.body {
            self.quarantined_blobs.push(blob.id);
        }
        self.quarantine.push(record.clone().into_entry());
    }

    fn release(&mut self, body: &Body) {
        if let Body::Blob(blob) = body {
            self.released_blobs.push(blob.id);
        }
    }

    fn release_all(&mut self, record: &ProcessedRecord) {
        self.release(&record.input);
        for sealed in record.result.iter().flat_map(|passed| &passed.sealed) {
            let body = &sealed.envelope().body;
            if body != &record.input {
                self.release(body);
            }
        }
    }
}
