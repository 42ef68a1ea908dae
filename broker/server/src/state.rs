//! What the observing stages of flows keep, in memory: what is durable, and beside it what the group under way would change.
//!
//! A group of records goes through three steps, and [`FlowState`] with it:
//!
//! 1. Stages observe the records of one publish frame; what they change is in the *unit*, which is kept or dropped as a whole.
//! 2. What is kept of the units adds up in the *group*. [`Keeper`] makes it durable before the records are.
//! 3. When the records are stored, the group becomes part of what is kept; when they are not, it is dropped.
//!
//! What stages emit is kept in the same way. [`crate::emit`] carries it on when the records are durable.

mod keeper;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hilum_core::limits::{BATCH_OCTETS_MAX, BATCH_RECORDS_MAX};
use hilum_core::record::ProducerId;
use hilum_core::state::{Emitted, Emitter, Item, State, Usage, Value};
use hilum_core::{FlowName, Offset, StageName, Timestamp};
use hilum_sandbox::{Emission, ServiceError, StateChange, StateError, StateUsage, Versioned};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use keeper::Keeper;
pub use keeper::KeeperError;

/// Octets that stages may emit in one group: when there are more, the rest of the records waits for the next group.
const GROUP_EMITTED_OCTETS: u64 = 8 << 20;
/// Emitted records that wait for their flow; while there are more, the flow that emits takes no records.
const PENDING_RECORDS_MAX: usize = 1024;
/// Octets of those.
const PENDING_OCTETS_MAX: u64 = 16 << 20;

/// The state of every flow.
#[derive(Default)]
pub struct States(Mutex<BTreeMap<FlowName, Arc<FlowState>>>);

impl States {
    /// The state of one flow.
    #[must_use]
    pub fn of(&self, flow: &FlowName) -> Arc<FlowState> {
        let mut flows = self.0.lock();
        flows.entry(flow.clone()).or_insert_with(|| Arc::new(FlowState::new(flow.clone()))).clone()
    }

    /// Under which names the stages of the flows that are open have emitted.
    pub(crate) fn emitters(&self) -> Vec<ProducerId> {
        let flows = self.0.lock();
        flows.values().flat_map(|flow| flow.emitters()).collect()
    }
}

/// What the stages of one flow keep.
pub struct FlowState {
    flow: FlowName,
    inner: Mutex<Inner>,
    /// Something was emitted.
    made: Notify,
    /// Something that was emitted is stored where it goes.
    settled: Notify,
}

#[derive(Default)]
struct Inner {
    /// None until the flow is open.
    kept: Option<State>,
    group: Overlay,
    unit: Overlay,
    is_closed: bool,
}

/// What is not yet durable.
#[derive(Default)]
struct Overlay {
    stages: BTreeMap<StageName, Changed>,
    emitted: Vec<Emission>,
    emitted_octets: u64,
}

/// What of one stage is not yet durable.
#[derive(Default)]
struct Changed {
    values: BTreeMap<String, Option<Value>>,
    /// How much the stage keeps with it.
    usage: Usage,
}

/// How a stage's state stands, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageStatus {
    /// The stage.
    pub stage: StageName,
    /// How much it keeps.
    pub usage: Usage,
    /// Where the flow ended when it last changed.
    pub through: Offset,
    /// Records that it emitted, ever.
    pub emitted: u64,
    /// Those of them that are not known to be stored where they go.
    pub pending: u64,
}

/// An emitted record on its way.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) stage: StageName,
    pub(crate) emitter: Emitter,
    pub(crate) number: u64,
    pub(crate) emitted: Emitted,
}

impl Overlay {
    /// What a value is changed to; none where it is not changed.
    fn find(&self, stage: &StageName, key: &str) -> Option<&Option<Value>> {
        self.stages.get(stage)?.values.get(key)
    }
}

impl Inner {
    fn kept(&self) -> Result<&State, StateError> {
        // A plugin that reads what it keeps while it is configured would read it before the flow has found out what counts.
        let error = || ServiceError("the state of the flow is not there before its first record".into());
        self.kept.as_ref().ok_or_else(|| error().into())
    }

    fn find(&self, stage: &StageName, key: &str) -> Result<Option<&Value>, StateError> {
        let kept = self.kept()?;
        let changed = self.unit.find(stage, key).or_else(|| self.group.find(stage, key));
        Ok(changed.map_or_else(|| kept.value(stage, key), Option::as_ref))
    }

    fn usage(&self, stage: &StageName) -> Result<Usage, StateError> {
        let kept = self.kept()?;
        let changed = self.unit.stages.get(stage).or_else(|| self.group.stages.get(stage));
        Ok(changed.map_or_else(|| kept.usage(stage), |changed| changed.usage))
    }

    fn set(&mut self, stage: &StageName, key: String, to: Option<Value>) -> Result<(), StateError> {
        let octets = |value: &Value| (key.len() + value.octets.len()) as u64;
        let had = self.find(stage, &key)?.map(octets);
        let has = to.as_ref().map(octets);
        let usage = self.usage(stage)?;
        let changed = self.unit.stages.entry(stage.clone()).or_default();
        changed.usage = Usage {
            keys: (usage.keys + u64::from(has.is_some())).saturating_sub(u64::from(had.is_some())),
            octets: (usage.octets + has.unwrap_or(0)).saturating_sub(had.unwrap_or(0)),
        };
        changed.values.insert(key, to);
        Ok(())
    }
}

impl FlowState {
    fn new(flow: FlowName) -> Self {
        Self { flow, inner: Mutex::default(), made: Notify::new(), settled: Notify::new() }
    }

    fn emitters(&self) -> Vec<ProducerId> {
        let inner = self.inner.lock();
        let stages = inner.kept.iter().flat_map(|kept| kept.stages().values());
        stages.filter_map(|stage| Some(stage.emitter()?.producer)).collect()
    }

    /// A value, as the records before have left it.
    pub(crate) fn find(&self, stage: &StageName, key: &str) -> Result<Option<Versioned>, StateError> {
        let inner = self.inner.lock();
        let found = inner.find(stage, key)?;
        Ok(found.map(|value| Versioned { value: value.octets.to_vec(), version: value.version }))
    }

    /// Values as they stand with the records that are stored, all of one moment, for stages of other flows.
    pub(crate) fn committed(
        &self,
        stage: &StageName,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, ServiceError> {
        let inner = self.inner.lock();
        let missing = || ServiceError(format!("what flow `{}` keeps is not there", self.flow));
        let kept = inner.kept.as_ref().ok_or_else(missing)?;
        Ok(keys.iter().map(|key| kept.value(stage, key).map(|value| value.octets.clone())).collect())
    }

    /// How much a stage keeps.
    pub(crate) fn usage(&self, stage: &StageName) -> Result<StateUsage, StateError> {
        let Usage { keys, octets } = self.inner.lock().usage(stage)?;
        Ok(StateUsage { keys, octets })
    }

    /// A call changed what its stage keeps: all of it, or nothing where a version is not the one expected.
    pub(crate) fn change(&self, stage: &StageName, changes: Vec<StateChange>) -> Result<(), StateError> {
        let mut inner = self.inner.lock();
        for change in &changes {
            if inner.find(stage, &change.key)?.map_or(0, |value| value.version) != change.expected {
                return Err(StateError::Conflict);
            }
        }
        for StateChange { key, to, .. } in changes {
            let to = to.map(|to| Value { version: to.version, octets: Bytes::from(to.value) });
            inner.set(stage, key, to)?;
        }
        Ok(())
    }

    /// Stages emitted records.
    pub(crate) fn emit(&self, emitted: Vec<Emission>) {
        let mut inner = self.inner.lock();
        inner.unit.emitted_octets += emitted.iter().map(|emission| emission.body.len() as u64).sum::<u64>();
        inner.unit.emitted.extend(emitted);
    }

    /// What the stages did since the last time goes with the group.
    pub(crate) fn keep_unit(&self) {
        let inner = &mut *self.inner.lock();
        let unit = std::mem::take(&mut inner.unit);
        for (stage, changed) in unit.stages {
            let of_group = inner.group.stages.entry(stage).or_default();
            of_group.usage = changed.usage;
            of_group.values.extend(changed.values);
        }
        inner.group.emitted.extend(unit.emitted);
        inner.group.emitted_octets += unit.emitted_octets;
    }

    /// What the stages did since the last time did not happen.
    pub(crate) fn drop_unit(&self) {
        self.inner.lock().unit = Overlay::default();
    }

    /// Whether no more records should be observed in this group.
    pub(crate) fn is_crowded(&self) -> bool {
        self.inner.lock().group.emitted_octets >= GROUP_EMITTED_OCTETS
    }

    /// Operators' view: every stage that keeps something, by name.
    #[must_use]
    pub fn list(&self) -> Vec<StageStatus> {
        let inner = self.inner.lock();
        let stages = inner.kept.iter().flat_map(|kept| kept.stages());
        let status = |(stage, kept): (&StageName, &hilum_core::state::StageState)| StageStatus {
            stage: stage.clone(),
            usage: kept.usage(),
            through: kept.through(),
            emitted: kept.emitted(),
            pending: kept.pending().len() as u64,
        };
        stages.map(status).collect()
    }

    /// Values of a stage whose keys come after one, in order: at least one where there is one, then as many as fit. None where
    /// the stage keeps nothing and never did.
    #[must_use]
    pub fn values(
        &self,
        stage: &StageName,
        after: Option<&str>,
        values_max: usize,
        octets_max: usize,
    ) -> Option<Vec<(String, Value)>> {
        let inner = self.inner.lock();
        let kept = inner.kept.as_ref()?.stages().get(stage)?;
        let (mut values, mut octets) = (Vec::new(), 0);
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in kept.values().range::<str, _>((after, Bound::Unbounded)) {
            octets += key.len() + value.octets.len();
            if values.len() >= values_max || (octets > octets_max && !values.is_empty()) {
                break;
            }
            values.push((key.clone(), value.clone()));
        }
        Some(values)
    }

    /// The flow opens with this.
    fn open(&self, kept: State) {
        let inner = &mut *self.inner.lock();
        *inner = Inner { kept: Some(kept), ..Inner::default() };
    }

    /// Nothing more will be emitted.
    fn close(&self) {
        self.inner.lock().is_closed = true;
        self.made.notify_one();
    }

    /// What the group changes, for a flow that ends at `to` with it. None where it changes nothing.
    fn step(&self, to: Offset, now: Timestamp) -> Option<Vec<Item>> {
        let inner = &mut *self.inner.lock();
        let Overlay { stages, emitted, .. } = &inner.group;
        let kept = inner.kept.as_ref()?;
        let mut names: Vec<&StageName> = stages.keys().chain(emitted.iter().map(|it| &it.stage)).collect();
        names.sort_unstable();
        names.dedup();
        let mut items = Vec::new();
        for stage in names {
            let own = emitted.iter().filter(|emission| emission.stage == *stage);
            let head = kept.head(&self.flow, stage, own.clone().count() as u64, to, now);
            items.push(head);
            let values = stages.get(stage).into_iter().flat_map(|changed| &changed.values);
            items.extend(values.map(|(key, value)| match value {
                Some(value) => Item::Set(key.clone(), value.clone()),
                None => Item::Remove(key.clone()),
            }));
            let first = kept.stages().get(stage).map_or(0, hilum_core::state::StageState::emitted) + 1;
            items.extend((first..).zip(own).map(|(number, it)| Item::Emitted(number, emitted_of(it, now))));
        }
        (!items.is_empty()).then_some(items)
    }

    fn take(&self, items: Vec<Item>, through: Offset) {
        let inner = &mut *self.inner.lock();
        inner.group = Overlay::default();
        if let Some(kept) = &mut inner.kept {
            kept.apply(items, through);
        }
        self.made.notify_one();
    }

    fn drop_group(&self) {
        let inner = &mut *self.inner.lock();
        (inner.group, inner.unit) = Default::default();
    }

    /// About the octets of a snapshot, where the flow has to end for it, and what it has.
    fn snapshot(&self, octets_max: u64) -> Option<(Offset, Vec<Item>)> {
        let inner = self.inner.lock();
        let kept = inner.kept.as_ref().filter(|kept| kept.octets() <= octets_max)?;
        let through = kept.stages().values().map(|stage| stage.through()).max()?;
        Some((through, kept.snapshot()))
    }

    fn has_room(&self) -> bool {
        let (records, octets) = self.inner.lock().kept.as_ref().map(State::pending).unwrap_or_default();
        records < PENDING_RECORDS_MAX && octets < PENDING_OCTETS_MAX
    }

    /// Emitted records that may leave, where the flow is durable up to `durable`; and whether nothing more will be emitted.
    pub(crate) fn outgoing(&self, durable: Offset) -> (Vec<Outgoing>, bool) {
        let inner = self.inner.lock();
        let (mut outgoing, mut octets) = (Vec::new(), 0);
        for (stage, kept) in inner.kept.iter().flat_map(|kept| kept.stages()) {
            let Some(emitter) = kept.emitter() else { continue };
            let ready = kept.pending().iter().take_while(|(_, pending)| pending.through <= durable);
            for (number, pending) in ready {
                octets += pending.emitted.octets();
                if outgoing.len() >= BATCH_RECORDS_MAX || (octets > BATCH_OCTETS_MAX && !outgoing.is_empty())
                {
                    return (outgoing, inner.is_closed);
                }
                let (stage, emitted) = (stage.clone(), pending.emitted.clone());
                outgoing.push(Outgoing { stage, emitter, number: *number, emitted });
            }
        }
        (outgoing, inner.is_closed)
    }

    /// Comes when something was emitted, or nothing more will be. One waits at a time.
    pub(crate) async fn made(&self) {
        self.made.notified().await;
    }

    /// An emitted record is stored where it goes, or refused there for good.
    pub(crate) fn settle(&self, stage: &StageName, number: u64) {
        if let Some(kept) = &mut self.inner.lock().kept {
            kept.settle(stage, number);
        }
        self.settled.notify_one();
    }

    /// A stage publishes under a new name: a flow that it emits to has forgotten the one before.
    pub(crate) fn rename(&self, stage: &StageName, now: Timestamp) -> Emitter {
        let emitter = Emitter::new(&self.flow, stage, now);
        if let Some(kept) = &mut self.inner.lock().kept {
            kept.rename(stage, emitter);
        }
        emitter
    }
}

fn emitted_of(emission: &Emission, now: Timestamp) -> Emitted {
    Emitted {
        flow: emission.flow.clone(),
        time: now,
        key: emission.key.clone(),
        content_type: emission.content_type.clone(),
        attributes: emission.attributes.clone(),
        body: emission.body.clone(),
    }
}

#[cfg(test)]
mod tests;
