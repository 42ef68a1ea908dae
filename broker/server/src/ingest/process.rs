//! The first task of a lane: gathers submissions, runs the chain, seals.

use std::sync::Arc;
use std::time::SystemTime;

use hilum_core::limits;
use hilum_core::name::FlowName;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{Admitted, Body, ChainRun, ProducerPosition, Sealed};
use hilum_sandbox::{BatchRun, Chain, Emission, Failure, Input, Obligation, Ran};
use tokio::sync::{mpsc, oneshot};

use super::{Item, Refusal, RefusalKind, Settled, Submission};
use crate::broker::{Shared, now};
use crate::telemetry::RecordSpan;

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) chain: Arc<Chain>,
    pub(super) flow: FlowName,
}

/// A submission whose records went through the chain, in the same order.
pub(super) struct Processed {
    pub(super) records: Vec<ProcessedRecord>,
    /// What plugins emitted on the group up to here: to go out when these records are durable.
    pub(super) emitted: Vec<Emission>,
    pub(super) reply: oneshot::Sender<Vec<Settled>>,
}

pub(super) struct ProcessedRecord {
    pub(super) position: Option<ProducerPosition>,
    /// The body that came in, so that it can be let go of where the chain made another.
    pub(super) input: Body,
    pub(super) result: Result<Passed, Box<Stopped>>,
    pub(super) span: Option<RecordSpan>,
}

/// What the chain made of a record.
pub(super) struct Passed {
    pub(super) sealed: Vec<Sealed>,
    pub(super) obligations: Vec<Obligation>,
}

/// A record that the chain stopped.
pub(super) struct Stopped {
    pub(super) record: Quarantined,
    pub(super) refusal: Refusal,
}

impl Task {
    pub(super) async fn run(
        self,
        mut submitted: mpsc::Receiver<Submission>,
        processed: mpsc::Sender<Processed>,
        mut closing: oneshot::Receiver<()>,
    ) {
        loop {
            let first = tokio::select! {
                first = submitted.recv() => first,
                _ = &mut closing, if !submitted.is_closed() => {
                    // What was submitted before is still received.
                    submitted.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let group = gather(first, &mut submitted);
            for done in self.process(group).await {
                if processed.send(done).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn process(&self, group: Vec<Submission>) -> Vec<Processed> {
        if self.chain.plan().stages().is_empty() {
            return seal_group(&self.chain, group, |chain, items| {
                let records = items.iter().map(|item| Ok(untouched(chain, &item.record))).collect();
                BatchRun { records, emitted: Vec::new() }
            });
        }
        let started = SystemTime::now();
        let Ok(slot) = self.shared.chain_slots.clone().acquire_owned().await else {
            return Vec::new();
        };
        let chain = self.chain.clone();
        let work = move || {
            let _slot = slot;
            seal_group(&chain, group, |chain, items| chain.run(items.iter().map(input).collect()))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => {
                let seconds = started.elapsed().unwrap_or_default().as_secs_f64();
                self.shared.instruments.chain_seconds(&self.flow, None, seconds);
                done
            }
            Err(error) => {
                // The submissions are dropped with the work: their publishers see the flow close and retry.
                tracing::error!(flow = %self.flow, %error, "a chain run ended abnormally");
                Vec::new()
            }
        }
    }
}

/// What is queued, up to the size of a batch.
fn gather(first: Submission, submitted: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    let size = |submission: &Submission| -> usize { submission.items.len() };
    let mut records = size(&first);
    let mut group = vec![first];
    while records < limits::BATCH_RECORDS_MAX {
        let Ok(next) = submitted.try_recv() else { break };
        records += size(&next);
        group.push(next);
    }
    group
}

fn input(item: &Item) -> Input {
    let record = &item.record;
    Input {
        head: record.head().clone(),
        source: record.principal().clone(),
        offset: None,
        body: record.body().clone(),
    }
}

fn untouched(chain: &Chain, record: &Admitted) -> Ran {
    Ran { run: ChainRun::unprocessed(record.head(), record.body(), chain.plan()), obligations: Vec::new() }
}

/// Runs all records of a group together, then gives each submission its own back.
fn seal_group(
    chain: &Chain,
    group: Vec<Submission>,
    run: impl FnOnce(&Chain, &[Item]) -> BatchRun,
) -> Vec<Processed> {
    let mut items = Vec::new();
    let mut replies = Vec::with_capacity(group.len());
    for submission in group {
        replies.push((submission.items.len(), submission.reply));
        items.extend(submission.items);
    }
    let started = SystemTime::now();
    let BatchRun { records: results, emitted } = run(chain, &items);
    let ended = SystemTime::now();
    assert_eq!(results.len(), items.len(), "a chain answers for each record");
    let mut records = items.into_iter().zip(results).map(|(item, result)| {
        if let Some(span) = &item.span {
            span.chain(chain.plan(), result.as_ref().ok(), started, ended);
        }
        seal(chain, item, result)
    });
    let mut processed: Vec<Processed> = replies
        .into_iter()
        .map(|(count, reply)| Processed {
            records: records.by_ref().take(count).collect(),
            emitted: Vec::new(),
            reply,
        })
        .collect();
    if let Some(last) = processed.last_mut() {
        last.emitted = emitted;
    }
    processed
}

fn seal(chain: &Chain, item: Item, result: Result<Ran, Failure>) -> ProcessedRecord {
    let Item { record, span } = item;
    let position = record.producer();
    let input = record.body().body().clone();
    let result = match result {
        Ok(Ran { run, obligations }) => {
            let spare = record.clone();
            match record.seal(chain.plan(), run, now()) {
                Ok(sealed) => Ok(Passed { sealed, obligations }),
                Err(error) => Err(stopped(&spare, None, "seal", error.to_string(), RefusalKind::ChainFailed)),
            }
        }
        Err(failure) => {
            let kind = match &failure {
                Failure::Refused { .. } => RefusalKind::Chain,
                Failure::Failed { .. } => RefusalKind::ChainFailed,
            };
            let stage = Some(failure.stage().clone());
            Err(stopped(&record, stage, failure.code(), failure.reason().to_owned(), kind))
        }
    };
    ProcessedRecord { position, input, result, span }
}

fn stopped(
    record: &Admitted,
    stage: Option<hilum_core::StageName>,
    code: &str,
    reason: String,
    kind: RefusalKind,
) -> Box<Stopped> {
    let by = stage.as_ref().map_or_else(|| "the broker".to_owned(), |stage| format!("stage `{stage}`"));
    let refusal = Refusal { kind, reason: format!("{by}: {code}: {reason}") };
    let cause = Cause { stage, code: code.to_owned(), reason };
    Box::new(Stopped { record: Quarantined::at_ingress(record, cause, now()), refusal })
}
