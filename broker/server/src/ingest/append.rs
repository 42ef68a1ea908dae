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
use tokio::sync::mpsc;

use super::checkpoint::{Checkpoints, Known};
use super::group::{Group, Kept};
use super::process::{Processed, ProcessedRecord};
use super::written::Written;
use super::{Origin, Refusal, RefusalKind, Reply, Settled};
use crate::broker::Shared;

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: FlowName,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) written: Written,
    /// When publishers are answered.
    pub(super) durability: Durability,
    pub(super) emissions: mpsc::Sender<Emission>,
}

/// Octets of entries that are appended together for the sake of their publish frame. A store takes twice as much at once.
pub(super) const UNIT_OCTETS_MAX: u64 = 16 << 20;

/// What is known of a record before and after the append.
struct Answer {
    record: ProcessedRecord,
    settled: Settled,
}

impl Task {
    pub(super) async fn run(mut self, mut processed: mpsc::Receiver<Processed>) {
        while let Some(first) = processed.recv().await {
            self.append(gather(first, &mut processed)).await;
        }
        self.checkpoints.keep_or_warn().await;
    }

    /// Appends in groups that a log takes, and answers each submission when its last record is settled.
    async fn append(&mut self, gathered: Vec<Processed>) {
        let mut replies = Replies::default();
        let mut units = VecDeque::new();
        for Processed { together, records: own, emitted, reply } in gathered {
            replies.waiting.push_back(Waiting { count: own.len(), emitted, reply });
            units.extend(Unit::of(own, together));
        }
        let mut emitted = Vec::new();
        loop {
            let settled = self.append_group(&mut units).await;
            replies.settled.extend(settled);
            emitted.extend(replies.send(&self.flow));
            if units.is_empty() {
                break;
            }
        }
        // After the answers: what is emitted may have to wait for another flow, and the publishers need not.
        self.emit(emitted).await;
    }

    async fn append_group(&mut self, units: &mut VecDeque<Unit>) -> Vec<Settled> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let (group, mut answers) = self.next_group(units);
        if answers.is_empty() {
            return Vec::new();
        }
        let outcome = self.write(group).await;
        self.settle(&mut answers, outcome.as_ref());
        self.shared.instruments.append_seconds(&self.flow, clock.elapsed().as_secs_f64());
        answers.into_iter().map(|answer| self.report(answer, started)).collect()
    }

    fn next_group(&self, units: &mut VecDeque<Unit>) -> (Group, Vec<Answer>) {
        let known = self.known.lock();
        let mut seen = InGroup { producers: &known.producers, tracks: HashMap::new() };
        let (mut group, mut answers) = (Group::new(self.shared.now()), Vec::new());
        let mut room = Room::default();
        while let Some(unit) = units.pop_front_if(|unit| room.takes(unit)) {
            let place = self.place(&unit, &mut seen);
            for record in unit.records {
                let standing = seen.standing(&record);
                let answer = self.prepare(record, standing, place, &mut group);
                seen.note(&answer);
                answers.push(answer);
            }
        }
        (group, answers)
    }

    /// Whether there is room in quarantine for a batch that was stopped: for all of it, or for none.
    fn place(&self, unit: &Unit, seen: &mut InGroup<'_>) -> Place {
        if !unit.together {
            return Place::Each;
        }
        let standings = unit.records.iter().map(|record| seen.standing(record));
        let Some((first, Standing::Fresh)) =
            standings.enumerate().find(|(_, standing)| *standing != Standing::Repeat)
        else {
            return Place::All(true);
        };
        // Where one is fresh, so are those that follow it.
        let fresh = unit.records[first..].iter();
        let stopped = fresh.filter_map(|record| Some(record.result.as_ref().err()?.record.octets()));
        let (records, octets) = stopped.fold((0, 0), |(count, sum), octets| (count + 1, sum + octets));
        let has_room = records == 0 || self.shared.quarantine.reserve(&self.flow, records, octets);
        Place::All(has_room)
    }

    /// Sorts one record into the group. `Settled::Stored` counts from the start of the group for now.
    fn prepare(
        &self,
        mut record: ProcessedRecord,
        standing: Standing,
        place: Place,
        group: &mut Group,
    ) -> Answer {
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
            // Only now is it known that it is not a retry of one that came in time. Of a batch, that was looked at for all at once.
            (Standing::Fresh, Ok(passed)) if place == Place::Each && passed.has_expired(group.now) => {
                group.release_all(&record);
                refused(RefusalKind::Expired, "the record had expired when it came".to_owned())
            }
            (Standing::Fresh, Ok(passed)) => {
                let first = Offset(group.entries.len() as u64);
                group.take_passed(passed, &record.input, &self.flow);
                Settled::Stored(first)
            }
            (Standing::Fresh, Err(stopped)) if record.origin == Origin::Quarantine => {
                let refusal = stopped.refusal.clone();
                group.release_all(&record);
                Settled::Refused(refusal)
            }
            (Standing::Fresh, Err(stopped)) => {
                let octets = stopped.record.octets();
                let has_room = match place {
                    Place::Each => self.shared.quarantine.reserve(&self.flow, 1, octets),
                    Place::All(has_room) => has_room,
                };
                if has_room {
                    group.take_stopped(stopped, octets);
                    Settled::Refused(stopped.refusal.clone())
                } else {
                    group.release_all(&record);
                    refused(RefusalKind::Unavailable, QUARANTINE_FULL.to_owned())
                }
            }
        };
        Answer { record, settled }
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
        let first =
            self.shared.log.append(&LogName::Flow(self.flow.clone()), entries, self.durability).await?;
        self.written.advance(Offset(first.0 + count));
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

/// Where records go that are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Each needs room in quarantine for itself.
    Each,
    /// They are of a batch, for which there is room or not.
    All(bool),
}

/// Records that are appended together or not at all: those of one publish frame.
struct Unit {
    records: Vec<ProcessedRecord>,
    octets: u64,
    /// Whether they are also refused together.
    together: bool,
}

impl Unit {
    /// One unit, unless plugins made so much of its records that no log takes it at once. What goes `together` was stopped then.
    fn of(records: Vec<ProcessedRecord>, together: bool) -> Vec<Self> {
        let octets = records.iter().map(ProcessedRecord::appended_octets).sum();
        if together || octets <= UNIT_OCTETS_MAX {
            return vec![Self { records, octets, together }];
        }
        let alone = |record: ProcessedRecord| Self {
            octets: record.appended_octets(),
            records: vec![record],
            together,
        };
        records.into_iter().map(alone).collect()
    }
}

/// What is left of the size of an append.
#[derive(Default)]
struct Room {
    records: usize,
    octets: u64,
}

impl Room {
    /// Whether there is room for this, which is then taken. The first one always finds it.
    fn takes(&mut self, unit: &Unit) -> bool {
        let is_first = self.records == 0;
        let (records, octets) = (self.records + unit.records.len().max(1), self.octets + unit.octets);
        let fits = records <= limits::APPEND_RECORDS_MAX && octets <= limits::APPEND_OCTETS_MAX as u64;
        if is_first || fits {
            (self.records, self.octets) = (records, octets);
        }
        is_first || fits
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

/// What a publisher hears whose record would have to go to a quarantine that is full. It keeps the record and tries again.
const QUARANTINE_FULL: &str = "a plugin stopped the record, and the flow's quarantine is full: an operator has to release or \
                               destroy what is in it";

fn refused(kind: RefusalKind, reason: String) -> Settled {
    Settled::Refused(Refusal { kind, reason })
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
        track.standing(position.sequence)
    }

    /// How it was answered counts for those after it.
    fn note(&mut self, answer: &Answer) {
        let Some(position) = answer.record.position else { return };
        let Some(track) = self.tracks.get_mut(&position.producer) else { return };
        if answer.settled.is_retryable() {
            track.fail(position.sequence);
        } else {
            track.settle(position.sequence);
        }
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
    reply: Reply,
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
            reply.send(settled);
        }
        safe
    }
}
