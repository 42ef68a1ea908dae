//! What the observing stages of a flow keep: values by key, and records that they emitted and that are not known to be stored.
//!
//! The log [`LogName::State`] of a flow has what changed, in *steps*: what its stages made of the records that are appended to the
//! flow together. A step is durable before those records are, and says where the flow ends with them. So a step whose
//! records never came to be counts no more than they do:
//!
//! 1. [`Survey`] reads the log with the flow's end in hand and finds what does not count: steps that go beyond that end, and those that
//!    were declared void before.
//! 2. What it finds is declared void in the log itself ([`void`]), durably, before anything else is stored: the flow grows again, and
//!    may some day be longer than the step says.
//! 3. [`Replay`] makes the present [`State`] of what counts.
//!
//! A snapshot ([`State::snapshot`]) has all that there is; what is before a whole one may go. Both come in parts, each one entry of
//! the log; what lacks its last part does not count.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::PrincipalId;
use crate::name::{FlowName, StageName};
use crate::record::{Attribute, Offset, ProducerId, Timestamp};

/// Octets of the items of one part, beside the last of them.
const PART_OCTETS: usize = 1 << 20;
/// Octets of an item beside what it holds.
const ITEM_OCTETS: usize = 32;

/// A value with its version.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// From 1, and larger with each change.
    pub version: u64,
    /// The octets. May identify a patient: never logged.
    pub octets: Bytes,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value(version {}, {} octets)", self.version, self.octets.len())
    }
}

/// Who a stage publishes as towards the flows that it emits to: they know by it, and by a record's number, what they have already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitter {
    /// Its name there.
    pub producer: ProducerId,
    /// Since when there is this name.
    pub since: Timestamp,
}

impl Emitter {
    /// The name that a stage has from a time on.
    #[must_use]
    pub fn new(flow: &FlowName, stage: &StageName, since: Timestamp) -> Self {
        let digest = Digest::of(format!("emitted by {flow}/{stage} since {}", since.0).as_bytes());
        let mut producer = [0; 16];
        producer.copy_from_slice(&digest.0[..16]);
        Self { producer: ProducerId(producer), since }
    }
}

/// A record that a stage emitted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// Where it goes.
    pub flow: FlowName,
    /// When it was made.
    pub time: Timestamp,
    /// As in [`crate::Head`].
    pub key: Option<String>,
    /// As in [`crate::Head`].
    pub content_type: String,
    /// As in [`crate::Head`].
    pub attributes: Vec<Attribute>,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emitted(to {}, {} octets)", self.flow, self.body.len())
    }
}

impl Emitted {
    /// About how much it takes up.
    #[must_use]
    pub fn octets(&self) -> usize {
        let attributes = self.attributes.iter().map(|it| it.name.len() + it.value.len()).sum::<usize>();
        ITEM_OCTETS
            + self.body.len()
            + attributes
            + self.content_type.len()
            + self.key.as_ref().map_or(0, String::len)
    }
}

/// An emitted record that is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The record.
    pub emitted: Emitted,
    /// It may leave when its own flow is durable up to here.
    pub through: Offset,
}

/// What is kept of one stage.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StageState {
    values: BTreeMap<String, Value>,
    octets: u64,
    emitter: Option<Emitter>,
    emitted: u64,
    pending: BTreeMap<u64, Pending>,
    pending_octets: u64,
    through: Offset,
}

impl fmt::Debug for StageState {
    /// Without keys: they may be made of what the plugin read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, pending) = (self.values.len(), self.pending.len());
        write!(f, "StageState({keys} keys, {} emitted, {pending} of them pending)", self.emitted)
    }
}

/// How much a stage keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys.
    pub keys: u64,
    /// Octets of keys and values.
    pub octets: u64,
}

impl StageState {
    /// The values, by key.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, Value> {
        &self.values
    }

    /// How much that is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { keys: self.values.len() as u64, octets: self.octets }
    }

    /// Who it publishes as, if it ever emitted something.
    #[must_use]
    pub fn emitter(&self) -> Option<Emitter> {
        self.emitter
    }

    /// The number of the record that it emitted last; they are numbered from 1.
    #[must_use]
    pub fn emitted(&self) -> u64 {
        self.emitted
    }

    /// What it emitted and is not known to be stored, by number.
    #[must_use]
    pub fn pending(&self) -> &BTreeMap<u64, Pending> {
        &self.pending
    }

    /// Where the flow ended when it last changed.
    #[must_use]
    pub fn through(&self) -> Offset {
        self.through
    }

    /// All emitted records up to this number are stored where they go.
    fn published(&self) -> u64 {
        self.pending.first_key_value().map_or(self.emitted, |(first, _)| first - 1)
    }

    fn set(&mut self, key: String, value: Value) {
        self.octets += (key.len() + value.octets.len()) as u64;
        let length = key.len();
        if let Some(before) = self.values.insert(key, value) {
            self.octets -= (length + before.octets.len()) as u64;
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(before) = self.values.remove(key) {
            self.octets -= (key.len() + before.octets.len()) as u64;
        }
    }

    fn settle(&mut self, number: u64) {
        if let Some(settled) = self.pending.remove(&number) {
            self.pending_octets -= settled.emitted.octets() as u64;
        }
    }
}

/// A piece of a step or of a snapshot.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// What follows is of this stage.
    Stage {
        /// Its name.
        stage: StageName,
        /// Who it publishes as.
        emitter: Option<Emitter>,
        /// The number of the record that it emitted last.
        emitted: u64,
        /// All records up to this number are stored where they go.
        published: u64,
        /// Where the flow ended when it last changed.
        through: Offset,
    },
    /// A value is set.
    Set(String, Value),
    /// A value is removed.
    Remove(String),
    /// A record was emitted under this number.
    Emitted(u64, Emitted),
}

impl fmt::Debug for Item {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage { stage, emitted, .. } => write!(f, "Stage({stage}, {emitted} emitted)"),
            Self::Set(_, value) => write!(f, "Set({value:?})"),
            Self::Remove(_) => f.write_str("Remove"),
            Self::Emitted(number, emitted) => write!(f, "Emitted({number}, {emitted:?})"),
        }
    }
}

impl Item {
    fn octets(&self) -> usize {
        ITEM_OCTETS
            + match self {
                Self::Stage { .. } => crate::limits::NAME_CHARS_MAX + ITEM_OCTETS,
                Self::Set(key, value) => key.len() + value.octets.len(),
                Self::Remove(key) => key.len(),
                Self::Emitted(_, emitted) => emitted.octets(),
            }
    }
}

/// What a part is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whole {
    /// What stages made of records that are appended together, or of the time.
    Step {
        /// Where the flow ends with those records.
        to: Offset,
    },
    /// All that there is.
    Snapshot,
}

#[derive(Debug, Serialize, Deserialize)]
enum Event {
    /// All parts of one whole are appended one after the other, with nothing in between.
    Part { of: Whole, index: u32, is_last: bool, items: Vec<Item> },
    /// What is in this log from there on up to here does not count.
    Void { from: Offset },
}

fn entry(flow: &FlowName, broker: &PrincipalId, event: &Event) -> Entry {
    Entry { log: LogName::State(flow.clone()), source: broker.clone(), octets: encode(event) }
}

/// Entries for a step or a snapshot, in order.
#[must_use]
pub fn parts(flow: &FlowName, broker: &PrincipalId, of: Whole, items: &[Item]) -> Vec<Entry> {
    let mut cuts = vec![0];
    let mut octets = 0;
    for (at, item) in items.iter().enumerate() {
        if octets > PART_OCTETS {
            cuts.push(at);
            octets = 0;
        }
        octets += item.octets();
    }
    cuts.push(items.len());
    let last = cuts.len() - 2;
    let part = |(index, range): (usize, &[usize])| {
        let items = items[range[0]..range[1]].to_vec();
        let index_of = u32::try_from(index).expect("a state has a bound, and so has the number of its parts");
        entry(flow, broker, &Event::Part { of, index: index_of, is_last: index == last, items })
    };
    cuts.windows(2).enumerate().map(part).collect()
}

/// An entry that declares void what is in the log from `from` on.
#[must_use]
pub fn void(flow: &FlowName, broker: &PrincipalId, from: Offset) -> Entry {
    entry(flow, broker, &Event::Void { from })
}

/// What is kept of the stages of one flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    stages: BTreeMap<StageName, StageState>,
}

impl State {
    /// All stages that ever kept something, by name.
    #[must_use]
    pub fn stages(&self) -> &BTreeMap<StageName, StageState> {
        &self.stages
    }

    /// A value.
    #[must_use]
    pub fn value(&self, stage: &StageName, key: &str) -> Option<&Value> {
        self.stages.get(stage)?.values.get(key)
    }

    /// How much a stage keeps.
    #[must_use]
    pub fn usage(&self, stage: &StageName) -> Usage {
        self.stages.get(stage).map(StageState::usage).unwrap_or_default()
    }

    /// Emitted records that are not known to be stored: how many, and their octets.
    #[must_use]
    pub fn pending(&self) -> (usize, u64) {
        self.stages.values().fold((0, 0), |(count, octets), stage| {
            (count + stage.pending.len(), octets + stage.pending_octets)
        })
    }

    /// About how many octets a snapshot has.
    #[must_use]
    pub fn octets(&self) -> u64 {
        let of = |stage: &StageState| {
            stage.octets + stage.pending_octets + (stage.values.len() * ITEM_OCTETS) as u64
        };
        self.stages.values().map(of).sum()
    }

    /// Begins what a step has of a stage. `emits` is how many records it emits in it.
    #[must_use]
    pub fn head(
        &self,
        flow: &FlowName,
        stage: &StageName,
        emits: u64,
        through: Offset,
        now: Timestamp,
    ) -> Item {
        let kept = self.stages.get(stage);
        let emitter = kept.and_then(|kept| kept.emitter);
        Item::Stage {
            stage: stage.clone(),
            emitter: emitter.or_else(|| (emits > 0).then(|| Emitter::new(flow, stage, now))),
            emitted: kept.map_or(0, |kept| kept.emitted) + emits,
            published: kept.map_or(0, StageState::published),
            through,
        }
    }

    /// All that there is.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for (stage, kept) in &self.stages {
            items.push(Item::Stage {
                stage: stage.clone(),
                emitter: kept.emitter,
                emitted: kept.emitted,
                published: kept.published(),
                through: kept.through,
            });
            items.extend(kept.values.iter().map(|(key, value)| Item::Set(key.clone(), value.clone())));
            let pending = kept.pending.iter();
            items.extend(pending.map(|(number, pending)| Item::Emitted(*number, pending.emitted.clone())));
        }
        items
    }

    /// Takes the items of a step, or of a snapshot. What is emitted leaves when the flow is durable up to `through`.
    pub fn apply(&mut self, items: Vec<Item>, through: Offset) {
        let mut items = items.into_iter().peekable();
        while let Some(item) = items.next() {
            // Without the stage that it is of, an item says nothing.
            let Item::Stage { stage, emitter, emitted, published, through: changed } = item else { continue };
            let kept = self.stages.entry(stage).or_default();
            kept.emitter = emitter.or(kept.emitter);
            kept.emitted = kept.emitted.max(emitted);
            kept.through = changed;
            let settled: Vec<u64> = kept.pending.range(..=published).map(|(number, _)| *number).collect();
            settled.into_iter().for_each(|number| kept.settle(number));
            while let Some(item) = items.next_if(|next| !matches!(next, Item::Stage { .. })) {
                match item {
                    Item::Set(key, value) => kept.set(key, value),
                    Item::Remove(key) => kept.remove(&key),
                    Item::Emitted(number, emitted) => {
                        kept.pending_octets += emitted.octets() as u64;
                        kept.pending.insert(number, Pending { emitted, through });
                    }
                    Item::Stage { .. } => {}
                }
            }
        }
    }

    /// An emitted record is stored where it goes, or refused there for good.
    pub fn settle(&mut self, stage: &StageName, number: u64) {
        if let Some(kept) = self.stages.get_mut(stage) {
            kept.settle(number);
        }
    }

    /// A stage publishes under another name from now on: the flows that it emits to have forgotten the one before.
    pub fn rename(&mut self, stage: &StageName, emitter: Emitter) {
        if let Some(kept) = self.stages.get_mut(stage) {
            kept.emitter = Some(emitter);
        }
    }
}

/// Finds out what in the log does not count, where the flow ends at `end`.
#[derive(Debug)]
pub struct Survey {
    end: Offset,
    void: Vec<Range<u64>>,
    /// Steps that go beyond the end, by where they begin.
    beyond: Vec<u64>,
    /// Where the whole begins of which parts are still to come.
    begun: u64,
}

impl Survey {
    /// Nothing is read so far.
    #[must_use]
    pub fn new(end: Offset) -> Self {
        Self { end, void: Vec::new(), beyond: Vec::new(), begun: 0 }
    }

    /// Takes the entry at an offset of the log, in order.
    pub fn note(&mut self, at: Offset, octets: &[u8]) -> Result<(), EntryError> {
        match decode(octets)? {
            Event::Void { from } => {
                self.beyond.retain(|step| *step < from.0);
                self.void.push(from.0..at.0);
            }
            Event::Part { of, index, is_last, .. } => {
                if index == 0 {
                    self.begun = at.0;
                }
                if let (Whole::Step { to }, true) = (of, is_last)
                    && to > self.end
                {
                    self.beyond.push(self.begun);
                }
            }
        }
        Ok(())
    }

    /// From where on the log does not count, beside what was declared void before; and what reads the rest.
    #[must_use]
    pub fn finish(self) -> (Option<Offset>, Replay) {
        let first = self.beyond.first().copied();
        let mut void = self.void;
        void.extend(first.map(|first| first..u64::MAX));
        (first.map(Offset), Replay { void, state: State::default(), whole: None })
    }
}

/// Makes the present state of what counts in the log.
#[derive(Debug)]
pub struct Replay {
    void: Vec<Range<u64>>,
    state: State,
    /// What came of a whole, and the number of its next part.
    whole: Option<(u32, Vec<Item>)>,
}

impl Replay {
    /// Takes the entry at an offset of the log, in order.
    pub fn fold(&mut self, at: Offset, octets: &[u8]) -> Result<(), EntryError> {
        if self.void.iter().any(|void| void.contains(&at.0)) {
            self.whole = None;
            return Ok(());
        }
        let Event::Part { of, index, is_last, mut items } = decode(octets)? else { return Ok(()) };
        let mut all = match self.whole.take() {
            _ if index == 0 => Vec::new(),
            Some((next, all)) if next == index => all,
            // What is before it was lost.
            _ => return Ok(()),
        };
        all.append(&mut items);
        match (is_last, of) {
            (false, _) => self.whole = Some((index + 1, all)),
            (true, Whole::Step { to }) => self.state.apply(all, to),
            (true, Whole::Snapshot) => {
                self.state = State::default();
                self.state.apply(all, Offset(0));
            }
        }
        Ok(())
    }

    /// What there is.
    #[must_use]
    pub fn finish(self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests;
