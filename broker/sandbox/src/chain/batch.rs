//! A batch on its way through a chain, stage by stage, and the receipts of it.

use hilum_core::chain::{Receipt, StageOutcome, World, output_digest};
use hilum_core::limits::{BATCH_OCTETS_MAX, BATCH_RECORDS_MAX, SPLIT_RECORDS_MAX};
use hilum_core::record::{ChainRun, Measured, Output};
use hilum_core::{Body, Digest, Head, Timestamp};

use super::Chain;
use crate::breaker::Admission;
use crate::instance::Fault;
use crate::run::{BatchRun, Emission, Failure, Input, Obligation, Observation, Ran};
use crate::stage::{Effects, Item, Made, Stage, Verdict};

/// One input with all records that the stages have made of it so far.
struct Flight {
    /// The time of the input.
    time: Timestamp,
    body: Measured,
    /// The records; empty once it has failed.
    items: Vec<Item>,
    outcomes: Vec<StageOutcome>,
    obligations: Vec<Obligation>,
    observations: Vec<Observation>,
    failure: Option<Failure>,
}

/// Runs inputs through all stages of a chain, or all but those that observe.
pub(super) fn run(chain: &Chain, inputs: Vec<Input>, defers: bool) -> BatchRun {
    let (flights, effects) = fly(chain, inputs, defers);
    let plan = chain.plan.digest();
    let records = flights.into_iter().map(|flight| flight.land(plan)).collect();
    BatchRun { records, emitted: effects.emitted }
}

/// What all stages make of inputs, without a receipt.
pub(super) fn outputs(chain: &Chain, inputs: Vec<Input>) -> Vec<Result<Vec<Output>, Failure>> {
    let (flights, _) = fly(chain, inputs, false);
    let outputs = |flight: Flight| {
        let time = flight.time;
        let made = flight.items.into_iter().map(|item| item.output(time));
        flight.failure.map_or_else(|| Ok(made.collect()), Err)
    };
    flights.into_iter().map(outputs).collect()
}

fn fly(chain: &Chain, inputs: Vec<Input>, defers: bool) -> (Vec<Flight>, Effects) {
    let stages = chain.stages.len();
    let mut flights: Vec<Flight> = inputs.into_iter().map(|input| Flight::new(input, stages)).collect();
    let mut effects = Effects::default();
    for (index, stage) in chain.stages.iter().enumerate() {
        if defers && stage.planned.world == World::Observe {
            flights.iter_mut().for_each(|flight| flight.defer(index, stage));
        } else {
            run_stage(chain, stage, &mut flights, &mut effects);
        }
    }
    discard_unused(chain, &flights, &effects);
    (flights, effects)
}

/// Runs the stages that observe on what was put off, all records together. After a failure what the calls before it did is the
/// caller's to take back.
pub(super) fn observe(chain: &Chain, records: &[&[Observation]]) -> Result<Vec<Emission>, Failure> {
    let mut effects = Effects::default();
    let mut outcome = Ok(());
    for (index, stage) in chain.stages.iter().enumerate() {
        let own =
            records.iter().flat_map(|observations| observations.iter().filter(|own| own.stage == index));
        let items: Vec<&Item> = own.flat_map(|observation| &observation.items).collect();
        if items.is_empty() || stage.planned.world != World::Observe {
            continue;
        }
        outcome = parts(&items)
            .into_iter()
            .try_for_each(|part| observe_part(chain, stage, part, &mut effects))
            .map_err(|fault| failed(stage, fault));
        if outcome.is_err() {
            break;
        }
    }
    effects.made.iter().for_each(|blob| chain.services.discard_blob(blob));
    outcome.map(|()| effects.emitted)
}

/// Calls a stage that observes, if its circuit breaker lets it: the caller takes records apart where it fails.
fn observe_part(chain: &Chain, stage: &Stage, items: &[&Item], effects: &mut Effects) -> Result<(), Fault> {
    match stage.admission(items.first().map(|item| &item.source.id)) {
        Admission::Open { on, left_ms, faults } => Err(stage.left_alone(&on, left_ms, faults)),
        Admission::Closed | Admission::Probe => stage.call(&chain.context, items, effects).map(drop),
    }
}

impl Flight {
    /// An input before a chain of so many stages.
    fn new(input: Input, stages: usize) -> Self {
        let Input { head, source, offset, body } = input;
        Self {
            time: head.time,
            items: vec![Item { head, source, offset, body: body.clone() }],
            body,
            outcomes: Vec::with_capacity(stages),
            obligations: Vec::new(),
            observations: Vec::new(),
            failure: None,
        }
    }

    /// Keeps the records as they stand for a stage that only looks at them, and goes on as if it had.
    fn defer(&mut self, index: usize, stage: &Stage) {
        if self.failure.is_none() {
            self.observations.push(Observation { stage: index, items: self.items.clone() });
            self.take(stage, std::iter::repeat_with(|| Verdict::Pass).take(self.items.len()));
        }
    }

    fn land(self, plan: Digest) -> Result<Ran, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let output = output_digest(self.items.iter().map(|item| item.body.digest()));
        let receipt = Receipt { input: self.body.digest(), plan, outcomes: self.outcomes, output };
        let outputs = self.items.into_iter().map(|item| item.output(self.time)).collect();
        let run = ChainRun { outputs, receipt };
        Ok(Ran { run, obligations: self.obligations, observations: self.observations })
    }

    /// Takes the verdicts of one stage on this input's records.
    fn take(&mut self, stage: &Stage, verdicts: impl Iterator<Item = Verdict>) {
        let mut outcome = StageOutcome::Passed;
        let mut at = 0;
        for verdict in verdicts {
            let did = match verdict {
                Verdict::Pass => StageOutcome::Passed,
                Verdict::Oblige(obligations) => {
                    self.obligations.extend(obligations);
                    StageOutcome::Obliged
                }
                Verdict::Annotate { attributes, time } => {
                    let head = &mut self.items[at].head;
                    head.attributes = attributes;
                    head.time = time.unwrap_or(head.time);
                    StageOutcome::Annotated
                }
                Verdict::Replace(made) => {
                    self.items[at].replace(made);
                    StageOutcome::Replaced
                }
                Verdict::Split(all) => {
                    let whole = self.items[at].clone();
                    let count = all.len();
                    let parts = all.into_iter().map(|made| {
                        let mut part = whole.clone();
                        part.replace(made);
                        part
                    });
                    self.items.splice(at..=at, parts);
                    at += count;
                    outcome = StageOutcome::Split;
                    continue;
                }
                Verdict::Refuse { code, reason } => {
                    let stage = stage.planned.name.clone();
                    return self.fail(Failure::Refused { stage, code, reason });
                }
                Verdict::Fail(fault) => return self.fail(failed(stage, fault)),
            };
            at += 1;
            if rank(did) > rank(outcome) {
                outcome = did;
            }
        }
        if self.items.len() > SPLIT_RECORDS_MAX {
            let reason = format!("the chain made more than {SPLIT_RECORDS_MAX} records of one");
            return self.fail(failed(stage, Fault::output(reason)));
        }
        let removes = &stage.planned.removes;
        if !removes.is_empty() {
            self.items.iter_mut().for_each(|item| item.head.labels.retain(|label| !removes.contains(label)));
        }
        self.outcomes.push(outcome);
    }

    fn fail(&mut self, failure: Failure) {
        self.items.clear();
        self.failure = Some(failure);
    }
}

impl Item {
    /// What it is when it leaves the chain, which it entered with a time `before`.
    fn output(self, before: Timestamp) -> Output {
        let Head { key, content_type, attributes, time, .. } = self.head;
        Output {
            key,
            content_type,
            attributes,
            body: self.body,
            time: Some(time).filter(|time| *time != before),
        }
    }

    fn replace(&mut self, made: Made) {
        let Made { key, content_type, attributes, body, time } = made;
        self.head.time = time.unwrap_or(self.head.time);
        self.head.key = key;
        self.head.content_type = content_type;
        self.head.attributes = attributes;
        self.body = body;
    }
}

/// Of the outcomes of several records of one input, the one that changed most is told.
fn rank(outcome: StageOutcome) -> u8 {
    match outcome {
        StageOutcome::Passed => 0,
        StageOutcome::Obliged => 1,
        StageOutcome::Annotated => 2,
        StageOutcome::Replaced => 3,
        StageOutcome::Split => 4,
    }
}

fn failed(stage: &Stage, fault: Fault) -> Failure {
    let Fault { kind, reason, limit } = fault;
    let limit = limit.map(|over| over.limit);
    Failure::Failed { stage: stage.planned.name.clone(), kind, limit, reason }
}

fn run_stage(chain: &Chain, stage: &Stage, flights: &mut [Flight], effects: &mut Effects) {
    let items: Vec<&Item> = flights.iter().flat_map(|flight| &flight.items).collect();
    if items.is_empty() {
        return;
    }
    let mut verdicts = Vec::with_capacity(items.len());
    for part in parts(&items) {
        verdicts.extend(call(chain, stage, part, effects));
    }
    let mut verdicts = verdicts.into_iter();
    for flight in flights.iter_mut().filter(|flight| flight.failure.is_none()) {
        let mut own = verdicts.by_ref().take(flight.items.len());
        flight.take(stage, &mut own);
        // All verdicts on this input's records are taken off, even where an early one ended it.
        own.for_each(drop);
    }
}

/// Calls a stage on records of one source, as far as its circuit breaker lets it: while that is open they fail at once, then one of them
/// shows whether the stage works again.
fn call(chain: &Chain, stage: &Stage, items: &[&Item], effects: &mut Effects) -> Vec<Verdict> {
    match stage.admission(items.first().map(|item| &item.source.id)) {
        Admission::Closed => call_together(chain, stage, items, effects),
        Admission::Probe => {
            let (first, rest) = items.split_at(1);
            let mut verdicts = one(stage.call(&chain.context, first, effects));
            if !rest.is_empty() {
                verdicts.extend(call(chain, stage, rest, effects));
            }
            verdicts
        }
        Admission::Open { on, left_ms, faults } => {
            items.iter().map(|_| Verdict::Fail(stage.left_alone(&on, left_ms, faults))).collect()
        }
    }
}

/// Calls a stage on records together; if that fails, on each alone.
fn call_together(chain: &Chain, stage: &Stage, items: &[&Item], effects: &mut Effects) -> Vec<Verdict> {
    match stage.call(&chain.context, items, effects) {
        Ok(verdicts) => verdicts,
        Err(fault) if items.len() == 1 => vec![Verdict::Fail(fault)],
        Err(fault) => {
            let planned = &stage.planned;
            tracing::debug!(stage = %planned.name, plugin = planned.plugin, records = items.len(), kind = %fault.kind,
                reason = fault.reason, "the batch failed, its records are run one by one");
            items.chunks(1).flat_map(|item| call(chain, stage, item, effects)).collect()
        }
    }
}

fn one(result: Result<Vec<Verdict>, Fault>) -> Vec<Verdict> {
    result.unwrap_or_else(|fault| vec![Verdict::Fail(fault)])
}

/// Cuts records into parts for one call each: bounded in number and octets, of one source, so that what the call writes is
/// kept under that source's key and nobody's record meets another's in a plugin's memory; and a large body alone, so that it
/// has its own time.
fn parts<'a, 'b>(items: &'b [&'a Item]) -> Vec<&'b [&'a Item]> {
    let is_large = |item: &Item| matches!(item.body.body(), Body::Blob(_));
    let (mut parts, mut start, mut octets) = (Vec::new(), 0, 0);
    for (at, item) in items.iter().enumerate() {
        let size = item.body.body().size();
        let full = at - start >= BATCH_RECORDS_MAX || octets + size > BATCH_OCTETS_MAX as u64;
        let cut =
            |before: &Item| full || is_large(item) || is_large(before) || before.source.id != item.source.id;
        if at > start && cut(items[at - 1]) {
            parts.push(&items[start..at]);
            (start, octets) = (at, 0);
        }
        octets += size;
    }
    parts.push(&items[start..]);
    parts
}

/// Drops the large bodies that stages made and that neither an output nor an input refers to.
fn discard_unused(chain: &Chain, flights: &[Flight], effects: &Effects) {
    let used = |id| {
        let is = |body: &Measured| matches!(body.body(), Body::Blob(blob) if blob.id == id);
        flights.iter().any(|flight| is(&flight.body) || flight.items.iter().any(|item| is(&item.body)))
    };
    effects.made.iter().filter(|blob| !used(blob.id)).for_each(|blob| chain.services.discard_blob(blob));
}
