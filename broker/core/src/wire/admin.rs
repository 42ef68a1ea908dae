//! The admin stream: questions and orders of an operator, each answered once, in order.
//!
//! Lists come in pages: whoever wants the rest asks again from where the page says. What may identify a patient is in
//! [`Disclosed`], in [`BodyPart`] and in [`StateValue`], which come only where they were asked for and policy allows it.

mod originals;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Refusal, bounded, head};
use crate::canary::{Millionths, StagePlace};
use crate::chain::{FailsOn, World};
use crate::control::HoldId;
use crate::digest::Digest;
use crate::identity::PrincipalId;
use crate::limits::ADMIN_PAGE_ITEMS_MAX;
use crate::name::{FlowName, Label, StageName, StakeholderName, SubscriptionName};
use crate::policy::Right;
use crate::record::{Head, Offset, Timestamp};

pub use originals::{
    AskOriginals, Forget, ForgetOriginals, ListOriginals, OriginalsPage, OriginalsStatus, Revealed,
    RevealedPage,
};

/// Opens an admin stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAdmin {
    /// What for, in the operator's words, e.g. a ticket; goes to the audit with everything that is done. May be empty.
    #[serde(deserialize_with = "bounded::text")]
    pub note: String,
}

/// What an operator asks or orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBroker {
    /// Flows in reach. Needs `inspect`.
    Flows(ListFlows),
    /// Subscriptions of a flow. Needs `inspect`.
    Subscriptions(ListSubscriptions),
    /// What is in a flow's quarantine. Needs `inspect`.
    Quarantine(ListQuarantine),
    /// One record in quarantine. Needs `inspect`, and `bodies` to be disclosed.
    Show(ShowQuarantined),
    /// A part of the body of one. Needs `bodies`.
    Body(ReadBody),
    /// Send it through the flow's chain again. Needs `quarantine`.
    Release(QuarantineId),
    /// Destroy it. Needs `quarantine`.
    Destroy(QuarantineId),
    /// Deliver no more to the readers of a subscription. Needs `subscriptions`.
    Pause(SubscriptionId),
    /// Deliver again. Needs `subscriptions`.
    Resume(SubscriptionId),
    /// Go on from another place. Needs `subscriptions`.
    Seek(SeekSubscription),
    /// Legal holds. Needs `inspect`.
    Holds(ListHolds),
    /// Keep from deletion. Needs `holds`.
    AddHold(AddHold),
    /// Lift a hold. Needs `holds`.
    RemoveHold(RemoveHold),
    /// Audit events. Needs `inspect`.
    Audit(ReadAudit),
    /// What the broker would change if it took the configuration that is in its directory now. Needs `configure`.
    Preview(PreviewReload),
    /// Take the configuration that was shown. Needs `configure`.
    Reload(Reload),
    /// Stages of chains, with their plugins. Needs `inspect`.
    Stages(ListStages),
    /// How much the observing stages of a flow keep. Needs `inspect`.
    States(ListStates),
    /// What one of them keeps. Needs `bodies`.
    Values(ReadValues),
    /// Stages that are left alone because their plugins fail. Needs `inspect`.
    Breakers(ListBreakers),
    /// Which configuration the broker runs, and whether anything still ends as the one before had it. Needs `configure`.
    Standing(AskStanding),
    /// Keys whose originals are kept. Needs `inspect`.
    Originals(ListOriginals),
    /// What pseudonyms stood for, sealed. Needs `pseudonyms`, a note, and to be a holder of the key.
    Reveal(AskOriginals),
    /// Destroy what is kept of that. Needs `pseudonyms` and a note.
    Forget(ForgetOriginals),
}

/// Asks for flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFlows {
    /// Those whose name comes after this one; from the first where there is none.
    pub after: Option<FlowName>,
}

/// Asks for subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSubscriptions {
    /// Of which flow.
    pub flow: FlowName,
    /// Those whose name comes after this one; from the first where there is none.
    pub after: Option<SubscriptionName>,
}

/// Asks for what is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuarantine {
    /// Of which flow.
    pub flow: FlowName,
    /// From this number on.
    pub from: Offset,
    /// Put there not before.
    pub since: Option<Timestamp>,
    /// Put there before.
    pub until: Option<Timestamp>,
    /// For this code.
    pub code: Option<Short>,
}

/// Names a record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineId {
    /// Of which flow.
    pub flow: FlowName,
    /// Its number there.
    pub id: Offset,
}

/// Asks for one record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowQuarantined {
    /// Which one.
    pub of: QuarantineId,
    /// Whether with what may identify a patient.
    pub disclose: bool,
}

/// Asks for a part of the body of a record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBody {
    /// Which one.
    pub of: QuarantineId,
    /// The first octet wanted, from 0.
    pub from: u64,
}

/// Names a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionId {
    /// Of which flow.
    pub flow: FlowName,
    /// Which one.
    pub subscription: SubscriptionName,
}

/// Moves a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeekSubscription {
    /// Which one.
    pub of: SubscriptionId,
    /// Where to.
    pub to: SeekTo,
}

/// Where a subscription goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeekTo {
    /// With the first record that is still there.
    Start,
    /// With the next record that comes.
    End,
    /// With this one.
    Offset(Offset),
    /// With the first one that the broker took at this time or later.
    Time(Timestamp),
}

/// Asks for legal holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHolds {
    /// Those after this one; from the first where there is none.
    pub after: Option<HoldId>,
}

/// Places a legal hold. The reason is the stream's note.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddHold {
    /// On which flow.
    pub flow: FlowName,
    /// On its records of one key; on all of them where there is none.
    pub key: Option<String>,
}

impl std::fmt::Debug for AddHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddHold").field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// Lifts a legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveHold {
    /// On which flow it lies.
    pub flow: FlowName,
    /// Which one.
    pub id: HoldId,
}

/// Asks for audit events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAudit {
    /// From this number on.
    pub from: Offset,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Of this flow.
    pub flow: Option<FlowName>,
    /// Caused by this principal.
    pub principal: Option<PrincipalId>,
    /// Of this kind, as [`crate::audit::Action`] writes it.
    pub action: Option<Short>,
}

/// Asks what a reload would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewReload {
    /// Leaves out so many changes, or problems: those of the pages before.
    pub from: u64,
}

/// Orders a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Of the configuration that was shown: another one is refused.
    pub digest: Digest,
}

/// Asks which configuration the broker runs. It is answered when no reload is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskStanding {
    /// While chains that were replaced still run, the answer may wait for so many milliseconds: the broker waits for a second at most.
    pub wait_milliseconds: u64,
}

/// Asks for stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStages {
    /// Those after this one; from the first where there is none.
    pub after: Option<StagePlace>,
}

/// Asks for the stages of a flow that keep something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStates {
    /// Of which flow.
    pub flow: FlowName,
    /// Those whose name comes after this one; from the first where there is none.
    pub after: Option<StageName>,
}

/// Asks for what a stage keeps.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadValues {
    /// Of which flow.
    pub flow: FlowName,
    /// Which stage.
    pub stage: StageName,
    /// Values whose key comes after this one; from the first where there is none.
    pub after: Option<String>,
}

impl std::fmt::Debug for ReadValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadValues({}/{})", self.flow, self.stage)
    }
}

/// Asks for circuit breakers that are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListBreakers {
    /// Leaves out so many: those of the pages before.
    pub from: u64,
}

/// A text of at most [`crate::limits::REASON_CHARS_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Short(#[serde(deserialize_with = "bounded::text")] pub String);

impl Short {
    /// As much of a text as fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(bounded::truncated(text))
    }
}

/// What the broker answers: first one of `Opened` and `Refused`, then one frame for each that the client sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on its way to or from a stream")]
pub enum ToClient {
    /// Questions may be asked.
    Opened(Opened),
    /// It is not done; the stream stays open, unless it was to be opened.
    Refused(Refusal),
    /// It is done.
    Done,
    /// Flows.
    Flows(FlowPage),
    /// Subscriptions.
    Subscriptions(SubscriptionPage),
    /// What is in quarantine.
    Quarantine(QuarantinePage),
    /// One record in quarantine.
    Shown(Shown),
    /// A part of a body.
    Body(BodyPart),
    /// It was released.
    Released(Released),
    /// Legal holds.
    Holds(HoldPage),
    /// The hold's number.
    HoldAdded(HoldId),
    /// Where the subscription goes on.
    Sought(Offset),
    /// Audit events.
    Audit(AuditPage),
    /// What a reload would change.
    Preview(Preview),
    /// The broker has the configuration; so many things changed.
    Reloaded(u64),
    /// Stages.
    Stages(StagePage),
    /// How much stages keep.
    States(StatePage),
    /// What a stage keeps.
    Values(ValuePage),
    /// Stages that are left alone.
    Breakers(BreakerPage),
    /// What the broker runs.
    Standing(Standing),
    /// Keys whose originals are kept.
    Originals(OriginalsPage),
    /// What pseudonyms stood for, sealed.
    Revealed(RevealedPage),
    /// So many originals are destroyed.
    Forgotten(u64),
}

/// What the operator may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// All rights.
    #[serde(deserialize_with = "bounded::list::<_, _, { Right::ALL.len() }>")]
    pub may: Vec<Right>,
}

/// Flows, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowPage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub flows: Vec<FlowStatus>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// How a flow stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// Its name.
    pub flow: FlowName,
    /// The first record that is still there.
    pub start: Offset,
    /// The next record that comes.
    pub end: Offset,
    /// Octets on disk, without large bodies.
    pub octets: u64,
    /// Records in its quarantine.
    pub quarantined: u64,
    /// Octets in its quarantine, with large bodies.
    pub quarantine_octets: u64,
    /// Octets that its quarantine may hold.
    pub quarantine_octets_max: u64,
    /// What is wrong with it: a damaged log, for example.
    pub fault: Option<Short>,
}

/// Subscriptions, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub subscriptions: Vec<SubscriptionStatus>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStatus {
    /// Its name.
    pub subscription: SubscriptionName,
    /// The first record that is not settled.
    pub cursor: Offset,
    /// Records that are not settled.
    pub lag: u64,
    /// How long ago the broker took the first of them, in milliseconds.
    pub oldest_milliseconds: Option<u64>,
    /// Records that are delivered and not settled.
    pub in_flight: u64,
    /// Records that wait to come again, or for their time.
    pub put_off: u64,
    /// Readers now.
    pub readers: u64,
    /// Whether it delivers nothing until it is resumed.
    pub paused: bool,
}

/// What is in quarantine, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinePage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub entries: Vec<QuarantineEntry>,
    /// Where the rest begins; none at the end.
    pub next: Option<Offset>,
}

/// A record in quarantine, without what may identify a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// Its number.
    pub id: Offset,
    /// When it came there.
    pub time: Timestamp,
    /// The subscription whose chain failed, and the record's place in the flow; none at ingress.
    pub delivery: Option<(SubscriptionName, Offset)>,
    /// The stage that refused or failed.
    pub stage: Option<StageName>,
    /// Why, for programs.
    pub code: Short,
    /// Why, for people.
    pub reason: Short,
    /// Octets of its body.
    pub octets: u64,
    /// Who sent it.
    pub source: PrincipalId,
}

/// One record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What a list has of it.
    pub entry: QuarantineEntry,
    /// When it was made, by its publisher's clock.
    pub made: Timestamp,
    /// For whom its sender acted.
    pub stakeholder: StakeholderName,
    /// What it may reveal.
    #[serde(deserialize_with = "bounded::list::<_, _, { crate::limits::LABELS_MAX }>")]
    pub labels: Vec<Label>,
    /// Whether it is large, and so not kept with its entry.
    pub is_large: bool,
    /// What may identify a patient, where it was asked for.
    pub disclosed: Option<Disclosed>,
}

/// What may identify a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosed {
    /// As it came in, before the chain.
    #[serde(with = "head")]
    pub head: Head,
    /// SHA-256 of the body.
    pub digest: Digest,
}

/// A part of a body.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyPart {
    /// Up to [`crate::limits::BLOB_CHUNK_OCTETS`]; nothing at the end.
    pub octets: Bytes,
}

impl std::fmt::Debug for BodyPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyPart(<{} octets>)", self.octets.len())
    }
}

/// What a release came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Released {
    /// It passed the chain and is stored, as the first of those that the chain made of it.
    Stored(Offset),
    /// An earlier try had stored it.
    Already,
    /// It will be delivered to the subscription again.
    Redelivered,
}

/// Legal holds, in the order in which they were placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub holds: Vec<HoldStatus>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// A legal hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Its number.
    pub id: HoldId,
    /// On which flow.
    pub flow: FlowName,
    /// Whether on records of one key only.
    pub has_key: bool,
    /// That key, for who may see it (`bodies`).
    pub key: Option<String>,
    /// Why.
    pub reason: Short,
    /// Who placed it.
    pub by: PrincipalId,
    /// When.
    pub time: Timestamp,
}

impl std::fmt::Debug for HoldStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldStatus").field("id", &self.id).field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// Audit events, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub events: Vec<AuditEvent>,
    /// From where to ask for those that follow.
    pub next: Offset,
    /// Whether there are none now.
    pub at_end: bool,
}

/// An audit event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its number.
    pub number: Offset,
    /// When it happened.
    pub time: Timestamp,
    /// Who caused it; none when the broker did.
    pub principal: Option<PrincipalId>,
    /// The flow concerned.
    pub flow: Option<FlowName>,
    /// The subscription concerned.
    pub subscription: Option<SubscriptionName>,
    /// The record concerned.
    pub offset: Option<Offset>,
    /// What happened, as [`crate::audit::Action`] writes it.
    pub action: Short,
    /// Why. Longer than other reasons may be: that of a loaded chain is its plan.
    pub reason: String,
}

/// What a reload would change, or why the configuration cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Of the configuration in the directory; none where something is wrong with it.
    pub digest: Option<Digest>,
    /// What is wrong with it. Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub problems: Vec<Problem>,
    /// What would change. Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub changes: Vec<Change>,
    /// Whether there are more problems or changes after these.
    pub more: bool,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, relative to the hospital directory.
    pub file: String,
    /// Line and column, from 1; none if the whole file is meant.
    pub position: Option<(u64, u64)>,
    /// The key concerned; empty if none is.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// One thing that a reload would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What, e.g. `flows.imaging.ingress.clean.plugin`.
    pub path: String,
    /// As it is; none where it is new.
    pub before: Option<Short>,
    /// As it would be; none where it goes.
    pub after: Option<Short>,
    /// It cannot be changed while the broker runs.
    pub needs_restart: bool,
}

/// Stages, by flow, subscription and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub stages: Vec<StageStatus>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// How much the stages of a flow keep, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub stages: Vec<StateStatus>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// How a stage stands. Counts begin when its chain was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// Where it is.
    pub place: StagePlace,
    /// What it runs.
    pub current: PluginStatus,
    /// What is tried on a share of its records.
    pub canary: Option<CanaryStatus>,
}

/// A plugin of a stage, and what it did there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// As the configuration calls it.
    pub name: Short,
    /// As it calls itself.
    pub plugin: Short,
    /// Its own version.
    pub version: Short,
    /// The kind of plugin.
    pub world: World,
    /// Of its component.
    pub digest: Digest,
    /// Records that came to the stage's chain.
    pub records: u64,
    /// Of those, which it refused.
    pub refused: u64,
    /// Of those, on which it failed.
    pub failed: u64,
}

/// A plugin that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// The plugin.
    pub candidate: PluginStatus,
    /// The share of keys that it gets, if it was not rolled back.
    pub share: Millionths,
    /// More errors than this rate end the trial.
    pub error_rate_max: Millionths,
    /// The rate is that of at least so many records.
    pub records_min: u64,
    /// Why it gets nothing any more.
    pub rolled_back: Option<Short>,
}

/// Which configuration the broker runs, and what became of the chains that reloads replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Of the configuration: what a preview names where nothing would change.
    pub digest: Digest,
    /// Chains with stages that the last reload replaced.
    pub replaced: u64,
    /// Those on which a batch is still under way, of earlier reloads too. Up to [`ADMIN_PAGE_ITEMS_MAX`], the first ones.
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub under_way: Vec<ChainPlace>,
    /// How many that are.
    pub under_way_count: u64,
    /// From the last reload until the last batch on any of them had ended; until now where one is under way.
    pub milliseconds: u64,
}

/// Where a chain is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChainPlace {
    /// The flow.
    pub flow: FlowName,
    /// The subscription; none for the flow's ingress chain.
    pub subscription: Option<SubscriptionName>,
}

impl std::fmt::Display for ChainPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subscription {
            Some(subscription) => write!(f, "subscription `{subscription}` of flow `{}`", self.flow),
            None => write!(f, "flow `{}`", self.flow),
        }
    }
}

/// How much a stage keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateStatus {
    /// The stage.
    pub stage: StageName,
    /// Keys.
    pub keys: u64,
    /// Octets of keys and values.
    pub octets: u64,
    /// Where the flow ended when what is kept last changed.
    pub through: Offset,
    /// Records that it emitted, ever.
    pub emitted: u64,
    /// Those of them that are not known to be stored where they go.
    pub pending: u64,
}

/// Circuit breakers that are open, by flow and subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerPage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub breakers: Vec<BreakerStatus>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A stage that is left alone, because its plugin fails on record after record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatus {
    /// Where it is.
    pub place: StagePlace,
    /// The plugin, as it calls itself.
    pub plugin: Short,
    /// Its version, as it calls it.
    pub version: Short,
    /// Whether it is in the chain in which another plugin is tried on a share of the records.
    pub is_trial: bool,
    /// Whose chain it is, where it is a subscription's: each reader has one of its own.
    pub reader: Option<PrincipalId>,
    /// On whose records.
    pub on: FailsOn,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again, with the next record.
    pub until: Timestamp,
    /// Faults one after another.
    pub faults: u32,
}

/// What a stage keeps, by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuePage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`]; none at the end.
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub values: Vec<StateValue>,
}

/// A value that a stage keeps.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateValue {
    /// Its key. May identify a patient, as the value may.
    pub key: String,
    /// From 1, and larger with each change.
    pub version: u64,
    /// The value.
    pub octets: Bytes,
}

impl std::fmt::Debug for StateValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateValue(version {}, {} octets)", self.version, self.octets.len())
    }
}
