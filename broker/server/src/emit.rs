//! What plugins emit, on the ordinary way into its flow: as drafts of the stage's own principal, through policy.
//!
//! What is emitted is durable with the records that it was made of, and numbered: see [`crate::state`]. Here it is published under the
//! name of its stage and with its number, like the records of any publisher that may have to send them again. What is not
//! known to be stored is sent again after a start, and the flow that it goes to knows whether it has it: so each is stored there once.
//! While that flow cannot store, it waits; what policy denies is in the audit and goes no further.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::audit::Action;
use hilum_core::producers::ProducerError;
use hilum_core::record::{Admitted, Body, Draft, Head, ProducerPosition};
use hilum_core::{FlowName, Offset, Principal, StageName};
use tokio::sync::watch;

use crate::broker::About;
use crate::flows::Flows;
use crate::ingest::{Item, ProducerStream, Settled};
use crate::state::{FlowState, Outgoing};

/// Waits between attempts, for a flow that cannot store now; the last one again and again. When no more can be emitted, that is when
/// the broker stops, there are no more attempts than these, and the next start goes on.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1500),
    Duration::from_millis(3000),
];

/// Carries what the plugins of one flow emit.
pub(crate) struct Emitter {
    from: FlowName,
    state: Arc<FlowState>,
    flows: Arc<Flows>,
    /// As long as these are held, the flows remember what they have of a stage.
    streams: BTreeMap<(StageName, FlowName), ProducerStream>,
}

impl Emitter {
    pub(crate) fn new(from: &FlowName, flows: Arc<Flows>) -> Self {
        let state = flows.shared.states.of(from);
        Self { from: from.clone(), state, flows, streams: BTreeMap::new() }
    }

    /// As whom a stage emits.
    fn principal(&self, stage: &StageName) -> Option<Arc<Principal>> {
        self.flows.rules().emitters.get(&(self.from.clone(), stage.clone())).cloned()
    }

    /// Runs until the flow's lane is gone. `tail` is how far the flow is durable. What waits goes together, so that it shares the
    /// disk's time.
    pub(crate) async fn run(mut self, mut tail: watch::Receiver<Offset>) {
        let mut failures = 0;
        loop {
            let is_gone = tail.has_changed().is_err();
            let durable = *tail.borrow_and_update();
            let (outgoing, is_closed) = self.state.outgoing(durable);
            if outgoing.is_empty() {
                if is_gone {
                    return;
                }
                tokio::select! {
                    () = self.state.made() => {}
                    // An error says that the lane is gone, which is looked at next.
                    _ = tail.changed() => {}
                }
                continue;
            }
            if self.carry(outgoing).await {
                failures = 0;
                continue;
            }
            let pause = PAUSES.get(failures).or(PAUSES.last().filter(|_| !is_closed));
            let Some(pause) = pause else {
                return tracing::warn!(from = %self.from, "emitted records wait for the next start");
            };
            failures += 1;
            tokio::time::sleep(*pause).await;
        }
    }

    /// Whether all of them are settled.
    async fn carry(&mut self, outgoing: Vec<Outgoing>) -> bool {
        let mut by_flow: BTreeMap<FlowName, Vec<(StageName, u64, Admitted)>> = BTreeMap::new();
        let mut is_done = true;
        for Outgoing { stage, emitter, number, emitted } in outgoing {
            let to = emitted.flow.clone();
            let position = ProducerPosition { producer: emitter.producer, sequence: number };
            let head = Head {
                time: emitted.time,
                expires: None,
                deliver_after: None,
                key: emitted.key,
                content_type: emitted.content_type,
                attributes: emitted.attributes,
                labels: Vec::new(),
                trace: None,
            };
            match self.admit(&stage, &to, head, Body::Inline(emitted.body), position) {
                Ok(record) => {
                    if self.remember(&stage, &to, emitter).await {
                        by_flow.entry(to).or_default().push((stage, number, record));
                    } else {
                        is_done = false;
                    }
                }
                Err(reason) => {
                    self.denied(&stage, &to, &reason).await;
                    self.state.settle(&stage, number);
                }
            }
        }
        for (to, records) in by_flow {
            is_done &= self.submit(&to, records).await;
        }
        is_done
    }

    /// The first three steps of a record's way.
    fn admit(
        &self,
        stage: &StageName,
        to: &FlowName,
        head: Head,
        body: Body,
        position: ProducerPosition,
    ) -> Result<Admitted, String> {
        let principal = self.principal(stage).ok_or("the stage may not emit")?;
        if !self.flows.by_name.contains_key(to) {
            return Err("there is no such flow any more".to_owned());
        }
        let rules = self.flows.rules();
        let permit = rules.policy.admit(&principal, to).map_err(|denial| denial.to_string())?;
        let draft = Draft::new(to.clone(), head, body, Some(position));
        let draft = draft.map_err(|error| error.to_string())?;
        draft.attest(principal).admit(&permit).map_err(|error| error.to_string())
    }

    /// Has the flow remember what it has of this stage. Whether records may be sent there now.
    async fn remember(
        &mut self,
        stage: &StageName,
        to: &FlowName,
        emitter: hilum_core::state::Emitter,
    ) -> bool {
        let place = (stage.clone(), to.clone());
        if self.streams.contains_key(&place) {
            return true;
        }
        let Some(flow) = self.flows.by_name.get(to) else { return false };
        let shared = &self.flows.shared;
        match flow.lane.emitter(emitter, false) {
            Ok(stream) => {
                self.streams.insert(place, stream);
                true
            }
            Err(ProducerError::TooMany) => false,
            Err(ProducerError::Unknown) => {
                // An alarm that comes twice is better than one that does not come.
                let reason = "the flow has forgotten what it has of this stage: what was under way may be stored twice";
                self.audit(stage, to, reason).await;
                let renamed = self.state.rename(stage, shared.now());
                self.streams.retain(|(of, _), _| of != stage);
                if let Ok(stream) = flow.lane.emitter(renamed, true) {
                    self.streams.insert(place, stream);
                }
                // The next attempt goes under the new name.
                false
            }
        }
    }

    /// Whether all of them are settled.
    async fn submit(&self, to: &FlowName, records: Vec<(StageName, u64, Admitted)>) -> bool {
        let Some(settled) = self.answers(to, &records).await else { return false };
        let mut is_done = true;
        for ((stage, number, _), settled) in records.iter().zip(&settled) {
            if settled.is_retryable() {
                is_done = false;
                continue;
            }
            if let Settled::Refused(refusal) = settled {
                let (from, kind) = (&self.from, refusal.kind);
                tracing::warn!(%from, %stage, %to, ?kind, "an emitted record went to quarantine");
            }
            self.state.settle(stage, *number);
        }
        is_done
    }

    async fn answers(&self, to: &FlowName, records: &[(StageName, u64, Admitted)]) -> Option<Vec<Settled>> {
        let lane = &self.flows.by_name.get(to)?.lane;
        let items = records.iter().map(|(.., record)| Item { record: record.clone(), span: None });
        lane.submit(items.collect()).await.ok()?.await.ok()
    }

    async fn denied(&self, stage: &StageName, to: &FlowName, reason: &str) {
        tracing::error!(from = %self.from, %stage, %to, reason, "an emitted record was not taken");
        self.audit(stage, to, reason).await;
    }

    /// The reasons are the broker's own and name no value.
    async fn audit(&self, stage: &StageName, to: &FlowName, reason: &str) {
        let principal = self.principal(stage).map(|principal| principal.id.clone());
        let about = About { principal, flow: Some(to.clone()), ..About::default() };
        let reason = format!("emitted by stage `{stage}` of flow `{}`: {reason}", self.from);
        let shared = &self.flows.shared;
        shared.audit_refusal(about.event(shared.now(), Action::Denied, reason)).await;
    }
}

#[cfg(test)]
mod tests {
    use hilum_core::limits::PRODUCERS_MAX;
    use hilum_core::record::ProducerId;
    use hilum_store::{Durability, memory};

    use super::*;
    use crate::fixture::{audit, chain, counting, flow, policy, principal, record, shared, text};
    use crate::flows::{Flow, Rules};
    use crate::ingest::{Lane, LaneTasks};
    use crate::reload::Reloader;

    struct Bench {
        store: memory::Store,
        flows: Arc<Flows>,
        source: Lane,
        source_tasks: LaneTasks,
        target_tasks: LaneTasks,
        emitter: tokio::task::JoinHandle<()>,
    }

    fn target() -> FlowName {
        "counts".parse().unwrap()
    }

    /// A flow whose stage emits at each record, acting for a stakeholder, and the flow that it emits to.
    async fn open(store: memory::Store, stakeholder: &str) -> Bench {
        let shared = shared(&store);
        // Before the flow that it emits to.
        let stages = chain(&shared, vec![counting()]);
        let (source, source_tasks) =
            Lane::open(shared.clone(), flow(), stages, Durability::Fsynced).await.unwrap();
        let lane =
            Lane::open(shared.clone(), target(), chain(&shared, Vec::new()), Durability::Fsynced).await;
        let (lane, target_tasks) = lane.unwrap();
        let emitters = [((flow(), "counter".parse().unwrap()), principal(stakeholder))].into();
        let rules = Rules { policy: policy(), emitters, ..Rules::default() };
        let by_name = [(target(), Flow { lane, outlets: BTreeMap::new() })].into();
        let flows = Arc::new(Flows::new(shared, by_name, 0, rules, Reloader::default()));
        let emitter = Emitter::new(&flow(), flows.clone());
        let emitter = tokio::spawn(emitter.run(source.tail()));
        Bench { store, flows, source, source_tasks, target_tasks, emitter }
    }

    impl Bench {
        async fn publish(&self, sequence: u64) {
            let answer = self.source.submit(vec![record(sequence, text("x"))]).await.unwrap();
            assert!(matches!(answer.await.unwrap()[..], [Settled::Stored(_)]));
        }

        /// So many publish one record each to the target.
        async fn crowd(&self, publishers: usize) {
            let numbers: Vec<u64> = (0..publishers as u64).collect();
            for some in numbers.chunks(256) {
                let items = some.iter().map(|number| {
                    let mut id = [9; 16];
                    id[..8].copy_from_slice(&number.to_be_bytes());
                    let position = ProducerPosition { producer: ProducerId(id), sequence: 1 };
                    let head = record(1, text("tick")).record.head().clone();
                    let draft = Draft::new(target(), head, text("tick of another"), Some(position)).unwrap();
                    let sender = principal("imaging");
                    let permit = policy().admit(&sender, &target()).unwrap();
                    Item { record: draft.attest(sender).admit(&permit).unwrap(), span: None }
                });
                let lane = &self.flows.by_name[&target()].lane;
                lane.submit(items.collect()).await.unwrap().await.unwrap();
            }
        }

        /// Waits until so many counts are in the target.
        async fn counts(&self, count: usize) -> Vec<String> {
            let counted = async {
                loop {
                    let found = counts(&self.flows.shared).await;
                    if found.len() >= count {
                        return found;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), counted).await.expect("they come")
        }

        async fn stop(self) -> memory::Store {
            self.source_tasks.close().await;
            self.emitter.await.unwrap();
            self.target_tasks.close().await;
            self.store
        }
    }

    /// What the counter emitted at records, as it is stored.
    async fn counts(shared: &crate::broker::Shared) -> Vec<String> {
        let log = hilum_core::LogName::Flow(target());
        let entries = shared.log.read(&log, Offset(0), 1 << 30).await.unwrap();
        let body = |entry: &hilum_store::LogEntry| {
            let stored = hilum_core::record::Stored::decode(target(), entry.offset, &entry.octets).unwrap();
            let Body::Inline(body) = &stored.envelope().body else { panic!("it is small") };
            String::from_utf8(body.to_vec()).unwrap()
        };
        entries.iter().map(body).filter(|body| !body.starts_with("tick")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_emission_outlives_a_full_disk_and_a_stop() {
        let bench = open(memory::Store::new(), "imaging").await;
        bench.publish(1).await;
        assert_eq!(bench.counts(1).await, ["1"]);
        bench.publish(2).await;
        bench.store.faults().set_disk_full(true);
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.store.faults().set_disk_full(false);
        assert_eq!(bench.counts(2).await, ["1", "2"], "each once");
        let again = open(bench.stop().await, "imaging").await;
        again.publish(3).await;
        assert_eq!(again.counts(3).await, ["1", "2", "3"], "each once");
        again.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_not_carried_before_a_crash_is_carried_after_it() {
        let store = memory::Store::new();
        let bench = open(store, "imaging").await;
        // Nobody carries anything on.
        bench.emitter.abort();
        bench.publish(1).await;
        bench.publish(2).await;
        assert!(counts(&bench.flows.shared).await.is_empty());
        let again = open(bench.store.crash(), "imaging").await;
        assert_eq!(again.counts(2).await, ["1", "2"]);
        // It is stored, and then the broker crashes before anything says so.
        let third = open(again.store.crash(), "imaging").await;
        third.publish(3).await;
        assert_eq!(third.counts(3).await, ["1", "2", "3"], "each once");
        third.stop().await;
    }

    /// So many publishers that the target remembers no more of them come after an emission whose number is not known to be settled.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_emission_comes_once_though_the_target_forgets_its_publishers() {
        let bench = open(memory::Store::new(), "imaging").await;
        bench.publish(1).await;
        assert_eq!(bench.counts(1).await, ["1"]);
        bench.crowd(PRODUCERS_MAX + 1).await;
        let again = open(bench.store.crash(), "imaging").await;
        again.publish(2).await;
        assert_eq!(again.counts(2).await, ["1", "2"], "each once");
        let forgotten = audit(&again.flows.shared).await;
        assert!(forgotten.iter().all(|event| event.action != Action::Denied), "{forgotten:?}");
        again.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_emission_that_policy_denies_is_audited() {
        let bench = open(memory::Store::new(), "manufacturer").await;
        bench.publish(1).await;
        let shared = bench.flows.shared.clone();
        bench.stop().await;
        let denied = |event: &hilum_core::audit::Event| event.action == Action::Denied;
        assert!(audit(&shared).await.iter().any(denied));
        assert!(counts(&shared).await.is_empty());
        assert_eq!(shared.states.of(&flow()).list()[0].pending, 0);
    }
}
