//! The second task of a lane: leaves out retries, appends, waits for the disk, answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hilum_core::name::FlowName;
use hilum_core::producers::Standing;
use hilum_core::record::BlobId;
use hilum_core::{LogName, Offset, limits};
use hilum_sandbox::Chain;
use hilum_store::{AppendError, Durability};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::checkpoint::{Checkpoints, Known};
use super::group::{Group, Kept};
use super::grouping::{Answer, Grouping, Made, Unit, refused};
use super::process::Processed;
use super::written::Written;
use super::{Origin, RefusalKind, Reply, Settled};
use crate::broker::{About, Shared};
use crate::chains::{Route, guarded, slot};
use crate::state::Keeper;

/// How often observing plugins are told the time. Tests that count what is written have to be done before.
const TICK: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 1 });

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: FlowName,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) written: Written,
    /// When publishers are answered.
    pub(super) durability: Durability,
    /// What the next records go through, and who is told the time.
    pub(super) route: watch::Receiver<Arc<Route>>,
    pub(super) grouping: Grouping,
    pub(super) keeper: Keeper,
}

impl Task {
    pub(super) async fn run(mut self, mut processed: mpsc::Receiver<Processed>) {
        // Ticks and groups take turns: a stage's state has one caller at a time.
        let mut route = self.route.borrow_and_update().clone();
        let mut ticks = ticks(&route);
        let mut is_failing = false;
        loop {
            let first = tokio::select! {
                // Another configuration, also where no records come.
                Ok(()) = self.route.changed() => {
                    route = self.route.borrow_and_update().clone();
                    (ticks, is_failing) = (self::ticks(&route), false);
                    continue;
                }
                first = processed.recv() => first,
                () = next(&mut ticks) => {
                    self.tick(route.current(), &mut is_failing).await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            self.append(gather(first, &mut processed)).await;
        }
        self.keeper.close();
        self.checkpoints.keep_or_warn().await;
    }

    /// Appends in groups that a log takes, and answers each submission when its last record is settled.
    async fn append(&mut self, gathered: Vec<Processed>) {
        let mut replies = Replies::default();
        let mut units = VecDeque::new();
        for Processed { together, records: own, reply } in gathered {
            replies.waiting.push_back(Waiting { count: own.len(), reply });
            units.extend(Unit::of(own, together));
        }
        loop {
            let settled = self.append_group(&mut units).await;
            replies.settled.extend(settled);
            replies.send();
            if units.is_empty() {
                break;
            }
        }
    }

    async fn append_group(&mut self, units: &mut VecDeque<Unit>) -> Vec<Settled> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let Made { group, mut answers, observed_by } = self.next_group(units).await;
        if answers.is_empty() {
            return Vec::new();
        }
        let outcome = self.write(group).await;
        if outcome.is_err() {
            // Their instances remember records that are not stored.
            observed_by.iter().for_each(|chain| chain.forget_observers());
        }
        self.settle(&mut answers, outcome.as_ref());
        self.shared.instruments.append_seconds(&self.flow, clock.elapsed().as_secs_f64());
        answers.into_iter().map(|answer| self.report(answer, started)).collect()
    }

    /// On a thread of its own where stages observe: they take their time.
    async fn next_group(&self, units: &mut VecDeque<Unit>) -> Made {
        if !units.iter().any(Unit::is_observed) {
            return self.grouping.next(units);
        }
        let (grouping, mut taken) = (self.grouping.clone(), std::mem::take(units));
        let work = move || {
            let made = grouping.next(&mut taken);
            (made, taken)
        };
        match slot::run(&self.shared.chain_slots, work).await {
            Ok((made, rest)) => {
                *units = rest;
                made
            }
            Err(error) => {
                // What a record was lost with is not known here, so that nothing after it may be taken.
                tracing::error!(flow = %self.flow, %error, "observing ended abnormally; the flow stops");
                match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => std::future::pending().await,
                }
            }
        }
    }

    /// Tells observing stages the time. What they make of it is kept like what they make of records.
    async fn tick(&mut self, chain: &Arc<Chain>, is_failing: &mut bool) {
        if self.keeper.is_refusing() {
            return;
        }
        let (told, state) = (chain.clone(), self.grouping.state.clone());
        let work = move || {
            let (emitted, failures) = told.tick();
            state.emit(emitted);
            state.keep_unit();
            failures
        };
        let failures = slot::run(&self.shared.chain_slots, work).await.unwrap_or_else(|error| {
            tracing::error!(flow = %self.flow, %error, "a tick ended abnormally");
            self.grouping.state.drop_unit();
            Vec::new()
        });
        let end = self.written.end();
        let kept = self.keeper.begin(end).await;
        if !*is_failing {
            // Once, not every second.
            let failures: Vec<_> = failures.iter().cloned().map(Err).collect();
            guarded::report_failures(chain, &self.flow, None, &failures);
            if let Err(error) = &kept {
                tracing::warn!(flow = %self.flow, %error, "what plugins make of the time is not kept");
            }
        }
        *is_failing = !failures.is_empty() || kept.is_err();
        match kept {
            Ok(begun) => {
                self.keeper.end(begun, Ok(())).await;
                self.keeper.compact().await;
            }
            Err(_) => chain.forget_observers(),
        }
    }

    /// Writes quarantine and audit first: a refusal is only given when the record is safe there. Then the records. Large
    /// bodies follow their entries: kept with them, or deleted where no entry names them, so that a retry finds room.
    async fn write(&mut self, group: Group) -> Result<Offset, AppendError> {
        let mut released = group.released_blobs;
        let quarantine = LogName::Quarantine(self.flow.clone());
        let quarantined = group.quarantine.len();
        let mut outcome = match quarantined {
            0 => Ok(()),
            _ => self.shared.log.append(&quarantine, group.quarantine, Durability::Fsynced).await.map(|_| ()),
        };
        if Kept::after(&outcome) == Kept::Unnamed {
            self.shared.quarantine.give_back(&self.flow, quarantined as u64, group.quarantined_octets);
        }
        self.keep(Kept::after(&outcome), group.quarantined_blobs, &mut released).await;
        if outcome.is_ok() {
            outcome = self.shared.audit(group.audit).await;
        }
        let (appended, kept) = match outcome {
            Ok(()) => {
                let appended = self.append_entries(group.entries, group.octets, group.large_octets).await;
                let kept = Kept::after(&appended);
                (appended, kept)
            }
            Err(error) => (Err(error), Kept::Unnamed),
        };
        self.keep(kept, group.stored_blobs, &mut released).await;
        if let Ok(first) = &appended {
            let about = About { flow: Some(self.flow.clone()), offset: Some(*first), ..About::default() };
            self.shared.traffic.stored(&self.flow, group.shares);
            let permits = group.permits.events(group.now, &about);
            permits.into_iter().for_each(|event| self.shared.aside.put(event));
        }
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
        &mut self,
        entries: Vec<hilum_core::Entry>,
        octets: u64,
        large_octets: u64,
    ) -> Result<Offset, AppendError> {
        if entries.is_empty() {
            return Ok(self.written.end());
        }
        let count = entries.len() as u64;
        let expected = self.written.end();
        let begun = self.keeper.begin(Offset(expected.0 + count)).await?;
        let log = LogName::Flow(self.flow.clone());
        let appended = self.shared.log.append(&log, entries, self.durability).await;
        let first = match appended {
            Ok(first) if first == expected => {
                self.keeper.end(begun, Ok(())).await;
                first
            }
            Ok(first) => {
                // The lane is the only one that appends to its flow, so this is a defect: what was observed belongs elsewhere.
                tracing::error!(flow = %self.flow, %first, %expected, "records are not where they belong; the flow stops");
                self.keeper.end(begun, Err(&AppendError::Closed)).await;
                first
            }
            Err(error) => {
                self.keeper.end(begun, Err(&error)).await;
                return Err(error);
            }
        };
        self.written.advance(Offset(first.0 + count));
        self.keeper.compact().await;
        self.checkpoints.stored(count, octets);
        self.shared.instruments.stored(&self.flow, count, octets);
        self.shared.ledgers.of(&self.flow).stored(first, count, octets, large_octets);
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
        let mut known = self.known.lock();
        let Known { producers, through } = &mut *known;
        producers.advance(self.shared.now());
        for Answer { record, settled } in answers {
            if let Err(error) = outcome {
                // A repetition of a record of this very group failed with it.
                let is_safe = *settled == Settled::Repeat
                    && record.position.is_some_and(|at| producers.standing(at) == Standing::Repeat);
                if !is_safe && !settled.is_retryable() {
                    *settled = refused(RefusalKind::Unavailable, unavailable(error));
                }
            }
            if let (Settled::Stored(offset), Ok(first)) = (&mut *settled, outcome) {
                offset.0 += first.0;
            }
            match record.position {
                // A release that was refused may be tried again when the operator has changed something.
                Some(_) if record.origin == Origin::Quarantine && matches!(settled, Settled::Refused(_)) => {}
                Some(position) if settled.is_retryable() => producers.fail(position),
                Some(position) => producers.settle(position),
                None => {}
            }
        }
        *through = self.written.end();
        if let Err(error) = outcome {
            tracing::error!(flow = %self.flow, %error, "an append failed; its publishers were told to retry");
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

/// None where no stage wants to be told the time.
fn ticks(route: &Route) -> Option<Interval> {
    route.current().observes().then(|| {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    })
}

/// The next tick; never comes where there is none.
async fn next(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
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

/// What a publisher hears; the broker's own log has the paths and the system's words.
fn unavailable(error: &AppendError) -> String {
    let why = match error {
        AppendError::DiskFull(_) => "the broker's disk is full".to_owned(),
        AppendError::Overloaded(_) => "too much waits for the broker's disk".to_owned(),
        AppendError::Poisoned { .. } => {
            "a write failed, and the flow takes none until the broker is restarted".to_owned()
        }
        AppendError::Corrupt(corruption) => {
            format!("{}, and takes no records until an operator has repaired it", corruption.place())
        }
        _ => "the broker's log says why".to_owned(),
    };
    format!("the record could not be stored: {why}")
}

/// Submissions that wait for answers, and the answers that are there, both in order.
#[derive(Default)]
struct Replies {
    waiting: VecDeque<Waiting>,
    settled: VecDeque<Settled>,
}

struct Waiting {
    count: usize,
    reply: Reply,
}

impl Replies {
    /// Answers all submissions that can be answered.
    fn send(&mut self) {
        while self.waiting.front().is_some_and(|waiting| waiting.count <= self.settled.len()) {
            let Some(Waiting { count, reply }) = self.waiting.pop_front() else { break };
            reply.send(self.settled.drain(..count).collect());
        }
    }
}
