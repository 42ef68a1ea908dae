//! What of the processed records is appended together, and what the flow's observing stages make of it. Blocks where there are any.
//!
//! Stages that observe count what is stored, so they run last: when it is known that a record is no retry, comes in order, is in
//! time, and that no other stage stops it. What they fail on is stopped like by any other stage, and then no stage has observed it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hilum_core::name::FlowName;
use hilum_core::producers::{Standing, Track};
use hilum_core::record::{ProducerId, ProducerPosition};
use hilum_core::{Offset, Timestamp, limits};
use hilum_sandbox::{Chain, Failure, Observation};
use parking_lot::Mutex;

use super::checkpoint::Known;
use super::group::Group;
use super::process::{ProcessedRecord, batch};
use super::{Origin, Refusal, RefusalKind, Settled};
use crate::broker::Shared;
use crate::chains::guarded;
use crate::state::FlowState;

/// Octets of entries that are appended together for the sake of their publish frame. A store takes twice as much at once.
pub(super) const UNIT_OCTETS_MAX: u64 = 16 << 20;

/// What a publisher hears whose record would have to go to a quarantine that is full. It keeps the record and tries again.
const QUARANTINE_FULL: &str = "a plugin stopped the record, and the flow's quarantine is full: an operator has to release or \
                               destroy what is in it";

/// Makes groups of units.
#[derive(Clone)]
pub(super) struct Grouping {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: FlowName,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) state: Arc<FlowState>,
}

/// What is known of a record before and after the append.
pub(super) struct Answer {
    pub(super) record: ProcessedRecord,
    pub(super) settled: Settled,
}

/// A group that was made.
pub(super) struct Made {
    pub(super) group: Group,
    pub(super) answers: Vec<Answer>,
    /// The chains whose stages have observed it.
    pub(super) observed_by: Vec<Arc<Chain>>,
}

/// Records that are appended together or not at all: those of one publish frame.
pub(super) struct Unit {
    pub(super) records: Vec<ProcessedRecord>,
    octets: u64,
    /// Whether they are also refused together.
    together: bool,
}

impl Unit {
    /// One unit, unless plugins made so much of its records that no log takes it at once. What goes `together` was stopped then.
    pub(super) fn of(records: Vec<ProcessedRecord>, together: bool) -> Vec<Self> {
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

    /// Whether stages that observe have still to see some of it.
    pub(super) fn is_observed(&self) -> bool {
        self.records.iter().any(ProcessedRecord::is_observed)
    }
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Store,
    Repeat,
    OutOfOrder {
        missing: u64,
    },
    Expired,
    /// It came from quarantine and stays there.
    Stay,
    Quarantine {
        octets: u64,
    },
    QuarantineFull,
}

impl Decision {
    /// How it counts for the records of the same publisher that follow.
    fn is_retryable(self) -> bool {
        matches!(self, Self::OutOfOrder { .. } | Self::QuarantineFull)
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

impl Grouping {
    /// Takes as many units as one append has room for.
    pub(super) fn next(&self, units: &mut VecDeque<Unit>) -> Made {
        let mut tracks = Tracks { known: &self.known, before: None, own: HashMap::new() };
        let group = Group::new(self.shared.now());
        let mut made = Made { group, answers: Vec::new(), observed_by: Vec::new() };
        let mut room = Room::default();
        while let Some(unit) = units.pop_front_if(|unit| !self.state.is_crowded() && room.takes(unit)) {
            self.take(unit, &mut tracks, &mut made);
        }
        made
    }

    fn take(&self, mut unit: Unit, tracks: &mut Tracks<'_>, made: &mut Made) {
        let now = made.group.now;
        let decisions = if unit.is_observed() {
            made.note_chains(&unit);
            self.observe_and_decide(&mut unit, tracks, now)
        } else {
            let place = self.place(&unit, tracks);
            self.decide_all(&unit.records, tracks, place, now)
        };
        for (mut record, decision) in unit.records.into_iter().zip(decisions) {
            let settled = self.carry_out(&mut record, decision, &mut made.group);
            made.answers.push(Answer { record, settled });
        }
    }

    fn observe_and_decide(&self, unit: &mut Unit, tracks: &mut Tracks<'_>, now: Timestamp) -> Vec<Decision> {
        if unit.together {
            self.observe_batch(unit, tracks, now);
            let place = self.place(unit, tracks);
            return self.decide_all(&unit.records, tracks, place, now);
        }
        // All in one call, where all of it goes well.
        if unit.records.iter().all(|record| record.result.is_ok()) {
            let mut ahead = tracks.ahead();
            let decisions = self.decide_all(&unit.records, &mut ahead, Place::Each, now);
            let stored = unit.records.iter().zip(&decisions).filter(|(_, it)| **it == Decision::Store);
            let stored: Vec<&ProcessedRecord> = stored.map(|(record, _)| record).collect();
            if self.observe(&stored).is_ok() {
                self.state.keep_unit();
                let ahead = ahead.own;
                tracks.own.extend(ahead);
                return decisions;
            }
            self.take_back(&unit.records);
        }
        let mut decisions = Vec::with_capacity(unit.records.len());
        for record in &mut unit.records {
            let mut decision = self.decide(record, tracks.standing(record), Place::Each, now);
            if decision == Decision::Store
                && let Err(failure) = self.observe(&[&*record])
            {
                self.take_back(std::slice::from_ref(record));
                self.stop(record, &failure, now);
                decision = self.decide(record, Standing::Fresh, Place::Each, now);
            }
            self.state.keep_unit();
            tracks.note(record.position, decision);
            decisions.push(decision);
        }
        decisions
    }

    /// A batch is stored whole: where a stage fails on one of its records, all of them are stopped.
    fn observe_batch(&self, unit: &mut Unit, tracks: &mut Tracks<'_>, now: Timestamp) {
        let mut ahead = tracks.ahead();
        let decisions = self.decide_all(&unit.records, &mut ahead, Place::All(true), now);
        let is_stored = |at: &usize| decisions[*at] == Decision::Store;
        let stored: Vec<usize> = (0..unit.records.len()).filter(is_stored).collect();
        let all: Vec<&ProcessedRecord> = stored.iter().map(|at| &unit.records[*at]).collect();
        if self.observe(&all).is_ok() {
            return self.state.keep_unit();
        }
        self.take_back(&unit.records);
        let alone = stored.iter().find_map(|at| Some((*at, self.observe(&[&unit.records[*at]]).err()?)));
        let Some((guilty, failure)) = alone else { return self.state.keep_unit() };
        self.take_back(&unit.records);
        for at in stored {
            let record = &mut unit.records[at];
            if at == guilty {
                self.stop(record, &failure, now);
            } else {
                let (code, reason) = batch::ANOTHER;
                record.stop(None, code, reason.to_owned(), RefusalKind::Batch, now);
            }
        }
    }

    /// Runs the observing stages on records, all together. What they change is in the state's unit.
    fn observe(&self, records: &[&ProcessedRecord]) -> Result<(), Failure> {
        let observed: Vec<_> = records.iter().filter_map(|record| record.observed.as_deref()).collect();
        for of_chain in observed.chunk_by(|one, other| Arc::ptr_eq(&one.chain, &other.chain)) {
            let observations: Vec<&[Observation]> =
                of_chain.iter().map(|observed| observed.observations.as_slice()).collect();
            self.state.emit(guarded::observe(&of_chain[0].chain, &observations)?);
        }
        Ok(())
    }

    /// What the stages made of these records did not happen.
    fn take_back(&self, records: &[ProcessedRecord]) {
        self.state.drop_unit();
        records
            .iter()
            .filter_map(|record| record.observed.as_ref())
            .for_each(|it| it.chain.forget_observers());
    }

    /// A stage failed on a record.
    fn stop(&self, record: &mut ProcessedRecord, failure: &Failure, now: Timestamp) {
        if let Some(observed) = &record.observed {
            let failed = [Err(failure.clone())];
            self.shared.instruments.stages(&self.flow, None, observed.chain.plan(), &failed);
            guarded::report_failures(&observed.chain, &self.flow, None, &failed);
        }
        let stage = Some(failure.stage().clone());
        record.stop(stage, failure.code(), failure.reason().to_owned(), RefusalKind::ChainFailed, now);
    }

    /// Whether there is room in quarantine for a batch that was stopped: for all of it, or for none.
    fn place(&self, unit: &Unit, tracks: &mut Tracks<'_>) -> Place {
        if !unit.together {
            return Place::Each;
        }
        let standings = unit.records.iter().map(|record| tracks.standing(record));
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

    fn decide_all(
        &self,
        records: &[ProcessedRecord],
        tracks: &mut Tracks<'_>,
        place: Place,
        now: Timestamp,
    ) -> Vec<Decision> {
        let decide = |record: &ProcessedRecord| {
            let decision = self.decide(record, tracks.standing(record), place, now);
            tracks.note(record.position, decision);
            decision
        };
        records.iter().map(decide).collect()
    }

    /// Takes room in quarantine where it is needed.
    fn decide(&self, record: &ProcessedRecord, standing: Standing, place: Place, now: Timestamp) -> Decision {
        match (standing, &record.result) {
            (Standing::OutOfOrder { missing }, _) => Decision::OutOfOrder { missing },
            (Standing::Repeat, _) => Decision::Repeat,
            // Only now is it known that it is not a retry of one that came in time. Of a batch, that was looked at for all at once.
            (Standing::Fresh, Ok(passed)) if place == Place::Each && passed.has_expired(now) => {
                Decision::Expired
            }
            (Standing::Fresh, Ok(_)) => Decision::Store,
            (Standing::Fresh, Err(_)) if record.origin == Origin::Quarantine => Decision::Stay,
            (Standing::Fresh, Err(stopped)) => {
                let octets = stopped.record.octets();
                let has_room = match place {
                    Place::Each => self.shared.quarantine.reserve(&self.flow, 1, octets),
                    Place::All(has_room) => has_room,
                };
                if has_room { Decision::Quarantine { octets } } else { Decision::QuarantineFull }
            }
        }
    }

    /// Sorts one record into the group. `Settled::Stored` counts from the start of the group for now.
    fn carry_out(&self, record: &mut ProcessedRecord, decision: Decision, group: &mut Group) -> Settled {
        match (decision, &mut record.result) {
            (Decision::Store, Ok(passed)) => {
                let first = Offset(group.entries.len() as u64);
                group.take_passed(passed, &record.input, &self.flow);
                return Settled::Stored(first);
            }
            (Decision::Quarantine { octets }, Err(stopped)) => {
                group.take_stopped(stopped, octets);
                return Settled::Refused(stopped.refusal.clone());
            }
            _ => {}
        }
        group.release_all(record);
        match (decision, &record.result) {
            (Decision::Repeat, _) => Settled::Repeat,
            (Decision::OutOfOrder { missing }, _) => {
                let reason =
                    format!("record {missing} of the same publisher was refused and must come again first");
                refused(RefusalKind::OutOfOrder, reason)
            }
            (Decision::Expired, _) => {
                refused(RefusalKind::Expired, "the record had expired when it came".to_owned())
            }
            (Decision::Stay, Err(stopped)) => Settled::Refused(stopped.refusal.clone()),
            _ => refused(RefusalKind::Unavailable, QUARANTINE_FULL.to_owned()),
        }
    }
}

impl Made {
    fn note_chains(&mut self, unit: &Unit) {
        for observed in unit.records.iter().filter_map(|record| record.observed.as_ref()) {
            if !self.observed_by.iter().any(|chain| Arc::ptr_eq(chain, &observed.chain)) {
                self.observed_by.push(observed.chain.clone());
            }
        }
    }
}

pub(super) fn refused(kind: RefusalKind, reason: String) -> Settled {
    Settled::Refused(Refusal { kind, reason })
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

/// How records of one group stand to those before them, as if all of the group were durable. If it does not become so, all
/// of it is refused.
struct Tracks<'a> {
    known: &'a Mutex<Known>,
    /// Those that these go ahead of.
    before: Option<&'a HashMap<ProducerId, Track>>,
    own: HashMap<ProducerId, Track>,
}

impl Tracks<'_> {
    /// A look ahead from here.
    fn ahead(&self) -> Tracks<'_> {
        Tracks { known: self.known, before: Some(&self.own), own: HashMap::new() }
    }

    fn track(&mut self, of: ProducerId) -> &mut Track {
        let (known, before) = (self.known, self.before);
        self.own.entry(of).or_insert_with(|| {
            let before = before.and_then(|before| before.get(&of).copied());
            // Not for longer: sessions ask it too, and observing takes its time.
            before.unwrap_or_else(|| known.lock().producers.track(of))
        })
    }

    fn standing(&mut self, record: &ProcessedRecord) -> Standing {
        let Some(position) = record.position else { return Standing::Fresh };
        self.track(position.producer).standing(position.sequence)
    }

    /// How it was decided counts for those after it.
    fn note(&mut self, position: Option<ProducerPosition>, decision: Decision) {
        let Some(position) = position else { return };
        let track = self.track(position.producer);
        if decision.is_retryable() {
            track.fail(position.sequence);
        } else {
            track.settle(position.sequence);
        }
    }
}
