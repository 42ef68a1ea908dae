//! The second task of a lane: leaves out retries, appends, waits for the disk, answers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hilum_core::name::FlowName;
use hilum_core::producers::{Producers, Standing, Track};
use hilum_core::record::{BlobId, ProducerId};
use hilum_core::{LogName, Offset, limits};
use hilum_sandbox::Emission;
use hilum_store::{AppendError, Durability};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::group::{Group, Kept};
use super::process::{Processed, ProcessedRecord};
use super::{Refusal, RefusalKind, Settled};
use crate::broker::Shared;

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

impl Task {
    pub(super) async fn run(self, mut processed: mpsc::Receiver<Processed>) {
        while let Some(first) = processed.recv().await {
            self.append(gather(first, &mut processed)).await;
        }
    }

    /// Appends in groups that a log takes, and answers each submission when its last record is settled.
    async fn append(&self, gathered: Vec<Processed>) {
        let mut replies = Replies::default();
        let mut records = VecDeque::new();
        for Processed { records: own, emitted, reply } in gathered {
            replies.waiting.push_back(Waiting { count: own.len(), emitted, reply });
            records.extend(own);
        }
        let mut emitted = Vec::new();
        loop {
            let settled = self.append_group(&mut records).await;
            replies.settled.extend(settled);
            emitted.extend(replies.send(&self.flow));
            if records.is_empty() {
                break;
            }
        }
        // After the answers: what is emitted may have to wait for another flow, and the publishers need not.
        self.emit(emitted).await;
    }

    async fn append_group(&self, records: &mut VecDeque<ProcessedRecord>) -> Vec<Settled> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let (group, mut answers) = self.next_group(records);
        if answers.is_empty() {
            return Vec::new();
        }
        let outcome = self.write(group).await;
        self.settle(&mut answers, outcome.as_ref());
        self.shared.instruments.append_seconds(&self.flow, clock.elapsed().as_secs_f64());
        answers.into_iter().map(|answer| self.report(answer, started)).collect()
    }

    fn next_group(&self, records: &mut VecDeque<ProcessedRecord>) -> (Group, Vec<Answer>) {
        let producers = self.producers.lock();
        let mut seen = InGroup { producers: &producers, tracks: HashMap::new() };
        let (mut group, mut answers) = (Group::new(self.shared.now()), Vec::new());
        while !group.is_full() {
            let Some(record) = records.pop_front() else { break };
            let standing = seen.standing(&record);
            answers.push(self.prepare(record, standing, &mut group));
        }
        (group, answers)
    }

    /// Sorts one record into the group. `Settled::Stored` counts from the start of the group for now.
    fn prepare(&self, mut record: ProcessedRecord, standing: Standing, group: &mut Group) -> Answer {
        let settled = match (standing, &mut record.result) {
            (Standing::OutOfOrder { missing }, _) => {
                group.release_all(&record);
                let reason =
                    format!("record {missing} of the same publisher was refused and must come again first");
                refused(RefusalKind::OutOfOrder, reason)
            }
            (Standing::Repeat, _) => {
                group.release_all(&record);
                Settled::Repeat
            }
            (Standing::Fresh, Ok(passed)) => {
                let first = Offset(group.entries.len() as u64);
                group.take_passed(passed, &record.input, &self.flow);
                Settled::Stored(first)
            }
            (Standing::Fresh, Err(stopped)) => {
                group.take_stopped(stopped);
                Settled::Refused(stopped.refusal.clone())
            }
        };
        Answer { record, settled }
    }

    /// Writes quarantine and audit first: a refusal is only given when the record is safe there. Then the records. Large
    /// bodies follow their entries: kept with them, or deleted where no entry names them, so that a retry finds room.
    async fn write(&self, group: Group) -> Result<Offset, AppendError> {
        let mut released = group.released_blobs;
        let quarantine = LogName::Quarantine(self.flow.clone());
        let quarantined = group.quarantine.len();
        let mut outcome = match quarantined {
            0 => Ok(()),
            _ => self.shared.log.append(&quarantine, group.quarantine, Durability::Fsynced).await.map(|_| ()),
        };
        self.keep(Kept::after(&outcome), group.quarantined_blobs, &mut released).await;
        if outcome.is_ok() {
            outcome = self.shared.audit(group.audit).await;
        }
        let (appended, kept) = match outcome {
            Ok(()) => {
                let appended = self.append_entries(group.entries, group.octets).await;
                let kept = Kept::after(&appended);
                (appended, kept)
            }
            Err(error) => (Err(error), Kept::Unnamed),
        };
        self.keep(kept, group.stored_blobs, &mut released).await;
        for blob in released {
            self.shared.blobs.delete(blob).await.unwrap_or_else(|error| {
                tracing::warn!(flow = %self.flow, %blob, %error, "a large body could not be deleted yet");
            });
        }
        if let (Some(cause), true) = (group.first_cause, appended.is_ok()) {
            let stage = cause.stage.map(|stage| stage.to_string());
            tracing::warn!(flow = %self.flow, records = quarantined, first_stage = stage, first_code = cause.code,
                "records went to quarantine");
        }
        appended
    }

    /// The offset of the first entry; where there is none, the end of the flow.
    async fn append_entries(
        &self,
        entries: Vec<hilum_core::Entry>,
        octets: u64,
    ) -> Result<Offset, AppendError> {
        if entries.is_empty() {
            return Ok(*self.tail.borrow());
        }
        let count = entries.len() as u64;
        let first =
            self.shared.log.append(&LogName::Flow(self.flow.clone()), entries, Durability::Fsynced).await?;
        self.tail.send_replace(Offset(first.0 + count));
        self.shared.instruments.stored(&self.flow, count, octets);
        Ok(first)
    }

    /// What cannot be committed now stays staged; the log names it, so the next start commits it.
    async fn keep(&self, kept: Kept, blobs: Vec<BlobId>, released: &mut Vec<BlobId>) {
        match kept {
            Kept::Named => {}
            Kept::Unnamed => return released.extend(blobs),
            Kept::InDoubt => return,
        }
        for blob in blobs {
            self.shared.blobs.commit(blob).await.unwrap_or_else(|error| {
                tracing::warn!(flow = %self.flow, %blob, %error, "a large body could not be committed yet");
            });
        }
    }

    /// Turns prepared answers into final ones and remembers the publishers' positions.
    fn settle(&self, answers: &mut [Answer], outcome: Result<&Offset, &AppendError>) {
        let mut producers = self.producers.lock();
        for Answer { record, settled } in answers {
            if let Err(error) = outcome {
                // A repetition of a record of this very group failed with it.
                let is_safe = *settled == Settled::Repeat
                    && record.position.is_some_and(|at| producers.standing(at) == Standing::Repeat);
                if !is_safe && !settled.is_retryable() {
                    *settled = refused(RefusalKind::Unavailable, unavailable(error).to_owned());
                }
            }
            if let (Settled::Stored(offset), Ok(first)) = (&mut *settled, outcome) {
                offset.0 += first.0;
            }
            match record.position {
                Some(position) if settled.is_retryable() => producers.fail(position),
                Some(position) => producers.settle(position),
                None => {}
            }
        }
        if let Err(error) = outcome {
            tracing::error!(flow = %self.flow, %error, "an append failed; its publishers were told to retry");
        }
    }

    async fn emit(&self, emitted: Vec<Emission>) {
        for emission in emitted {
            if self.emissions.send(emission).await.is_err() {
                tracing::error!(flow = %self.flow, "an emitted record was lost: nobody carries it on");
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

/// What is queued, up to about the size of an append.
fn gather(first: Processed, processed: &mut mpsc::Receiver<Processed>) -> Vec<Processed> {
    let (mut records, mut octets) = (first.records.len(), first.octets());
    let mut gathered = vec![first];
    while records < limits::APPEND_RECORDS_MAX && octets < limits::APPEND_OCTETS_MAX as u64 {
        let Ok(next) = processed.try_recv() else { break };
        records += next.records.len();
        octets += next.octets();
        gathered.push(next);
    }
    gathered
}

fn refused(kind: RefusalKind, reason: String) -> Settled {
    Settled::Refused(Refusal { kind, reason })
}

/// What a publisher hears; the broker's own log has the paths and the system's words.
fn unavailable(error: &AppendError) -> &'static str {
    match error {
        AppendError::DiskFull(_) => "the record could not be stored: the broker's disk is full",
        AppendError::Overloaded(_) => "the record could not be stored: too much waits for the broker's disk",
        AppendError::Poisoned { .. } => {
            "the record could not be stored: a write failed, and the flow takes none until the broker is restarted"
        }
        _ => "the record could not be stored; the broker's log says why",
    }
}

/// How records of one group stand to those before them, as if all of the group were durable. If it does not become so, all
/// of it is refused.
struct InGroup<'a> {
    producers: &'a Producers,
    tracks: HashMap<ProducerId, Track>,
}

impl InGroup<'_> {
    fn standing(&mut self, record: &ProcessedRecord) -> Standing {
        let Some(position) = record.position else { return Standing::Fresh };
        let of = position.producer;
        let track = self.tracks.entry(of).or_insert_with(|| self.producers.track(of));
        let standing = track.standing(position.sequence);
        match standing {
            Standing::Fresh => track.settle(position.sequence),
            Standing::OutOfOrder { .. } => track.fail(position.sequence),
            Standing::Repeat => {}
        }
        standing
    }
}

/// Submissions that wait for answers, and the answers that are there, both in order.
#[derive(Default)]
struct Replies {
    waiting: VecDeque<Waiting>,
    settled: VecDeque<Settled>,
}

struct Waiting {
    count: usize,
    emitted: Vec<Emission>,
    reply: oneshot::Sender<Vec<Settled>>,
}

impl Replies {
    /// Answers all submissions that can be answered. Gives what was emitted on those that are safe.
    fn send(&mut self, flow: &FlowName) -> Vec<Emission> {
        let mut safe = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.count <= self.settled.len()) {
            let Some(Waiting { count, emitted, reply }) = self.waiting.pop_front() else { break };
            let settled: Vec<Settled> = self.settled.drain(..count).collect();
            if !settled.iter().any(Settled::is_retryable) {
                safe.extend(emitted);
            } else if !emitted.is_empty() {
                tracing::warn!(%flow, records = emitted.len(), "emitted records were dropped with their cause");
            }
            // A publisher that went away learns the answer by asking for its last number when it comes back.
            let _ = reply.send(settled);
        }
        safe
    }
}
