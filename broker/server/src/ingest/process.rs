//! The first task of a lane: gathers submissions, runs the chain, seals.

pub(super) mod batch;

use std::sync::Arc;
use std::time::Instant;

use hilum_core::name::FlowName;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{Admitted, BlobId, Body, ChainRun, ProducerPosition, Sealed};
use hilum_core::wire::record_octets;
use hilum_core::{Head, StageName, Timestamp, limits};
use hilum_sandbox::{BatchRun, Chain, Failure, Input, Obligation, Observation, Ran};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Item, Origin, Refusal, RefusalKind, Reply, Submission};
use crate::broker::Shared;
use crate::chains::{Drawn, Life, Route, Whose, slot};
use crate::clock::Clock;
use crate::telemetry::RecordSpan;

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    /// What the next batch goes through.
    pub(super) route: watch::Receiver<Arc<Route>>,
    pub(super) flow: FlowName,
}

/// A submission whose records went through the chain, in the same order.
pub(super) struct Processed {
    /// Whether they are stored together or not at all.
    pub(super) together: bool,
    pub(super) records: Vec<ProcessedRecord>,
    pub(super) reply: Reply,
}

pub(super) struct ProcessedRecord {
    pub(super) position: Option<ProducerPosition>,
    pub(super) origin: Origin,
    /// The body that came in, so that it can be let go of where the chain made another.
    pub(super) input: Body,
    pub(super) result: Result<Passed, Box<Stopped>>,
    /// What the chain's observing stages have to see of it before it is stored; none where it has none.
    pub(super) observed: Option<Box<Observed>>,
    pub(super) span: Option<RecordSpan>,
}

/// What observing stages see of a record.
pub(super) struct Observed {
    /// Whose stages.
    pub(super) chain: Arc<Chain>,
    pub(super) observations: Vec<Observation>,
    /// The chain has not ended before they have.
    _life: Arc<Life>,
    /// As it came in: what goes to quarantine if one of them fails on it.
    admitted: Admitted,
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
    /// Large bodies that the chain made before it was stopped.
    pub(super) made: Vec<BlobId>,
}

impl Passed {
    /// Whether nobody will get it. What a chain makes of a record expires with it.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        let expires = self.sealed.first().and_then(|sealed| sealed.envelope().head.expires);
        expires.is_some_and(|expires| expires <= now)
    }
}

/// Octets of an entry beside those of its head and body: names, digests, the receipt.
const ENTRY_OCTETS: u64 = 4096;

impl ProcessedRecord {
    /// Octets that it adds to an append, about, and not less.
    pub(super) fn appended_octets(&self) -> u64 {
        let of = |head: &Head, body: &Body| {
            let inline = if let Body::Inline(octets) = body { octets.len() } else { 0 };
            ENTRY_OCTETS + record_octets(head, inline)
        };
        match &self.result {
            Ok(passed) => {
                let envelopes = passed.sealed.iter().map(Sealed::envelope);
                envelopes.map(|envelope| of(&envelope.head, &envelope.body)).sum()
            }
            Err(stopped) => of(&stopped.record.head, &stopped.record.body),
        }
    }

    /// Whether observing stages have still to see it.
    pub(super) fn is_observed(&self) -> bool {
        self.observed.is_some() && self.result.is_ok()
    }

    /// An observing stage failed on it, or on another one of its batch: it is stopped as by any other stage.
    pub(super) fn stop(
        &mut self,
        stage: Option<StageName>,
        code: &str,
        reason: String,
        kind: RefusalKind,
        now: Timestamp,
    ) {
        let (Some(observed), Ok(passed)) = (&self.observed, &self.result) else { return };
        let made = large_of(passed, &self.input);
        let stopped = stopped(&observed.admitted, now, stage, code, reason, kind);
        self.result = Err(Box::new(Stopped { made, ..stopped }));
    }
}

impl Processed {
    /// Octets that the records add to an append, about.
    pub(super) fn octets(&self) -> u64 {
        let inline = |body: &Body| if let Body::Inline(octets) = body { octets.len() as u64 } else { 0 };
        let of = |record: &ProcessedRecord| -> u64 {
            match &record.result {
                Ok(passed) => passed.sealed.iter().map(|sealed| inline(&sealed.envelope().body)).sum(),
                Err(stopped) => inline(&stopped.record.body),
            }
        };
        self.records.iter().map(of).sum()
    }
}

impl Task {
    pub(super) async fn run(
        mut self,
        mut submitted: mpsc::Receiver<Submission>,
        processed: mpsc::Sender<Processed>,
        mut closing: oneshot::Receiver<()>,
    ) {
        let mut route = self.route.borrow_and_update().clone();
        loop {
            let first = tokio::select! {
                // Another configuration, also where no records come.
                Ok(()) = self.route.changed() => {
                    route = self.route.borrow_and_update().clone();
                    continue;
                }
                first = submitted.recv() => first,
                _ = &mut closing, if !submitted.is_closed() => {
                    // What was submitted before is still received.
                    submitted.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let group = gather(first, &mut submitted);
            if self.route.has_changed().unwrap_or(false) {
                route = self.route.borrow_and_update().clone();
            }
            for done in self.process(&route, group).await {
                if processed.send(done).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn process(&self, route: &Arc<Route>, group: Vec<Submission>) -> Vec<Processed> {
        if route.plan().stages().is_empty() {
            return seal_group(route, self.shared.clock, group, |route, items| {
                let records = items.iter().map(|item| Ok(untouched(route, &item.record))).collect();
                BatchRun { records, emitted: Vec::new() }
            });
        }
        let started = Instant::now();
        let through = route.clone();
        let (flow, shared) = (self.flow.clone(), self.shared.clone());
        let work = move || {
            seal_group(&through, shared.clock, group, |route, items| {
                let whose = Whose { shared: &shared, flow: &flow, subscription: None };
                route.run_deferring(whose, items.len(), |at| input(&items[at]), |at| drawn(&items[at]))
            })
        };
        let done = slot::run(&self.shared.chain_slots, work).await;
        route.settle(&self.shared).await;
        match done {
            Ok(done) => {
                self.shared.instruments.chain_seconds(&self.flow, None, started.elapsed().as_secs_f64());
                done
            }
            Err(error) => {
                // What a record was lost with is not known here, so that nothing after it may be taken.
                tracing::error!(flow = %self.flow, %error, "sealing ended abnormally; the flow stops");
                match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Vec::new(),
                }
            }
        }
    }
}

/// What is queued, up to about the size of a batch.
fn gather(first: Submission, submitted: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    let octets = |submission: &Submission| -> u64 {
        submission.items.iter().map(|item| item.record.body().body().size()).sum()
    };
    let (mut records, mut size) = (first.items.len(), octets(&first));
    let mut group = vec![first];
    while records < limits::BATCH_RECORDS_MAX && size < limits::BATCH_OCTETS_MAX as u64 {
        let Ok(next) = submitted.try_recv() else { break };
        records += next.items.len();
        size += octets(&next);
        group.push(next);
    }
    group
}

fn input(item: &Item) -> Input {
    let record = &item.record;
    // The stages' spans are below the record's, and there are none without it.
    let trace = item.span.as_ref().map(RecordSpan::context);
    Input {
        head: Head { trace, ..record.head().clone() },
        source: record.principal().clone(),
        offset: None,
        body: record.body().clone(),
    }
}

/// What decides whether a plugin is tried on a record.
fn drawn(item: &Item) -> Drawn<'_> {
    let record = &item.record;
    match (&record.head().key, record.producer()) {
        (Some(key), _) => Drawn::Key(key),
        (None, Some(ProducerPosition { producer, sequence })) => {
            let mut place = [0; 24];
            place[..16].copy_from_slice(&producer.0);
            place[16..].copy_from_slice(&sequence.to_be_bytes());
            Drawn::Place(place)
        }
        // What plugins emit without a key is told from each other by its content alone.
        (None, None) => {
            let mut place = [0; 24];
            place.copy_from_slice(&record.body().digest().0[..24]);
            Drawn::Place(place)
        }
    }
}

fn untouched(route: &Route, record: &Admitted) -> Ran {
    let run = ChainRun::unprocessed(record.head(), record.body(), route.plan());
    Ran { run, obligations: Vec::new(), observations: Vec::new() }
}

/// Runs all records of a group together, then gives each submission its own back.
fn seal_group(
    route: &Route,
    clock: Clock,
    group: Vec<Submission>,
    run: impl FnOnce(&Route, &[Item]) -> BatchRun,
) -> Vec<Processed> {
    let (mut items, mut origins) = (Vec::new(), Vec::new());
    let mut replies = Vec::with_capacity(group.len());
    for submission in group {
        replies.push((submission.items.len(), submission.together, submission.reply));
        origins.extend(submission.items.iter().map(|_| submission.origin));
        items.extend(submission.items);
    }
    // Nothing is emitted so far: the stages that do so have not run.
    let BatchRun { records: results, .. } = run(route, &items);
    let now = clock.now();
    assert_eq!(results.len(), items.len(), "a chain answers for each record");
    let mut ran =
        items.into_iter().zip(origins).zip(results).map(|((item, origin), result)| (item, origin, result));
    replies
        .into_iter()
        .map(|(count, together, reply)| {
            let own = ran.by_ref().take(count);
            let records = if together {
                batch::seal(route, now, own.collect())
            } else {
                own.map(|(item, origin, result)| seal(route, now, item, origin, result)).collect()
            };
            Processed { together, records, reply }
        })
        .collect()
}

fn seal(
    route: &Route,
    now: Timestamp,
    item: Item,
    origin: Origin,
    result: Result<Ran, Failure>,
) -> ProcessedRecord {
    let Item { record, span } = item;
    let position = record.producer();
    let input = record.body().body().clone();
    let mut observed = None;
    let result = match result {
        Ok(Ran { run, obligations, observations }) => {
            let spare = record.clone();
            let made = made(&run, &input);
            let chain = route.chain_of(&run).clone();
            match record.seal(chain.plan(), run, now) {
                Ok(sealed) => {
                    observed = (!observations.is_empty()).then(|| {
                        Box::new(Observed {
                            chain,
                            observations,
                            _life: route.life().clone(),
                            admitted: spare,
                        })
                    });
                    Ok(Passed { sealed, obligations })
                }
                Err(error) => {
                    let stopped =
                        stopped(&spare, now, None, "seal", error.to_string(), RefusalKind::ChainFailed);
                    Err(Box::new(Stopped { made, ..stopped }))
                }
            }
        }
        Err(failure) => {
            let kind = match &failure {
                Failure::Refused { .. } => RefusalKind::Chain,
                Failure::Failed { .. } => RefusalKind::ChainFailed,
            };
            let stage = Some(failure.stage().clone());
            Err(Box::new(stopped(&record, now, stage, failure.code(), failure.reason().to_owned(), kind)))
        }
    };
    ProcessedRecord { position, origin, input, result, observed, span }
}

fn stopped(
    record: &Admitted,
    now: Timestamp,
    stage: Option<StageName>,
    code: &str,
    reason: String,
    kind: RefusalKind,
) -> Stopped {
    let by = stage.as_ref().map_or_else(|| "the broker".to_owned(), |stage| format!("stage `{stage}`"));
    let refusal = Refusal { kind, reason: format!("{by}: {code}: {reason}") };
    let cause = Cause { stage, code: code.to_owned(), reason };
    Stopped { record: Quarantined::at_ingress(record, cause, now), refusal, made: Vec::new() }
}

/// Large bodies of what was sealed that are not the one that came in.
fn large_of(passed: &Passed, input: &Body) -> Vec<BlobId> {
    let bodies = passed.sealed.iter().map(|sealed| &sealed.envelope().body);
    let blob = |body: &Body| if let Body::Blob(blob) = body { Some(blob.id) } else { None };
    bodies.filter(|body| *body != input).filter_map(blob).collect()
}

/// Large bodies of a run that are not the one that came in.
fn made(run: &ChainRun, input: &Body) -> Vec<BlobId> {
    let bodies = run.outputs.iter().map(|output| output.body.body());
    let blob = |body: &Body| if let Body::Blob(blob) = body { Some(blob.id) } else { None };
    bodies.filter(|body| *body != input).filter_map(blob).collect()
}
