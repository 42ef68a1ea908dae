//! What plugins emit, on the ordinary way into its flow: as drafts of the stage's own principal, through policy.
//!
//! An emitted record may be the one that says that a magnet loses its helium, so it is not dropped because a disk is full for a
//! moment: it is tried again for a while, and what is finally lost is in the audit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::audit::Action;
use hilum_core::limits;
use hilum_core::record::{Admitted, Body, Draft, Head};
use hilum_core::{FlowName, Principal, StageName};
use hilum_sandbox::Emission;
use tokio::sync::mpsc;

use crate::broker::About;
use crate::flows::Flows;
use crate::ingest::{Item, Settled};

/// Waits between attempts, for a flow that cannot store now. Meanwhile the flow that emits is slowed down.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1500),
    Duration::from_millis(3000),
];

/// Carries what the plugins of one flow emit.
pub(crate) struct Emitter {
    from: FlowName,
    flows: Arc<Flows>,
}

impl Emitter {
    pub(crate) fn new(from: &FlowName, flows: Arc<Flows>) -> Self {
        Self { from: from.clone(), flows }
    }

    /// As whom a stage emits.
    fn principal(&self, stage: &StageName) -> Option<Arc<Principal>> {
        self.flows.rules().emitters.get(&(self.from.clone(), stage.clone())).cloned()
    }

    /// Runs until the flow's lane is gone. What waits goes together, so that it shares the disk's time.
    pub(crate) async fn run(self, mut emissions: mpsc::Receiver<Emission>) {
        let mut waiting = Vec::new();
        while emissions.recv_many(&mut waiting, limits::BATCH_RECORDS_MAX).await > 0 {
            let mut by_flow: BTreeMap<FlowName, Vec<(StageName, Admitted)>> = BTreeMap::new();
            for emission in waiting.drain(..) {
                let (stage, to) = (emission.stage.clone(), emission.flow.clone());
                match self.admit(emission) {
                    Ok(record) => by_flow.entry(to).or_default().push((stage, record)),
                    Err(reason) => self.lost(&stage, &to, &reason).await,
                }
            }
            for (to, records) in by_flow {
                self.carry(&to, records).await;
            }
        }
    }

    /// The first three steps of a record's way.
    fn admit(&self, emission: Emission) -> Result<Admitted, String> {
        let principal = self.principal(&emission.stage).ok_or("the stage may not emit")?;
        let rules = self.flows.rules();
        let permit = rules.policy.admit(&principal, &emission.flow).map_err(|denial| denial.to_string())?;
        let head = Head {
            time: self.flows.shared.now(),
            expires: None,
            deliver_after: None,
            key: emission.key,
            content_type: emission.content_type,
            attributes: emission.attributes,
            labels: Vec::new(),
            trace: None,
        };
        let draft = Draft::new(emission.flow, head, Body::Inline(emission.body), None);
        let draft = draft.map_err(|error| error.to_string())?;
        draft.attest(principal).admit(&permit).map_err(|error| error.to_string())
    }

    async fn carry(&self, to: &FlowName, mut records: Vec<(StageName, Admitted)>) {
        let mut pauses = PAUSES.iter();
        loop {
            let settled = self.submit(to, &records).await;
            // Without an answer they may be stored, so they are not sent again.
            let Some(settled) = settled else { return self.all_lost(to, records, "the flow stopped").await };
            let refused = records.into_iter().zip(settled).filter(|(_, settled)| settled.is_retryable());
            records = refused.map(|(record, _)| record).collect();
            if records.is_empty() {
                return;
            }
            let Some(pause) = pauses.next() else {
                return self.all_lost(to, records, "the flow could not store it").await;
            };
            tokio::time::sleep(*pause).await;
        }
    }

    async fn submit(&self, to: &FlowName, records: &[(StageName, Admitted)]) -> Option<Vec<Settled>> {
        let lane = &self.flows.by_name.get(to)?.lane;
        let items = records.iter().map(|(_, record)| Item { record: record.clone(), span: None });
        let settled = lane.submit(items.collect()).await.ok()?.await.ok()?;
        for ((stage, _), settled) in records.iter().zip(&settled) {
            if let (Settled::Refused(refusal), false) = (settled, settled.is_retryable()) {
                let (from, kind) = (&self.from, refusal.kind);
                tracing::warn!(%from, %stage, %to, ?kind, "an emitted record went to quarantine");
            }
        }
        Some(settled)
    }

    async fn all_lost(&self, to: &FlowName, records: Vec<(StageName, Admitted)>, reason: &str) {
        for (stage, _) in records {
            self.lost(&stage, to, reason).await;
        }
    }

    /// The reasons are the broker's own and name no value.
    async fn lost(&self, stage: &StageName, to: &FlowName, reason: &str) {
        tracing::error!(from = %self.from, %stage, %to, reason, "an emitted record was not taken");
        let principal = self.principal(stage).map(|principal| principal.id.clone());
        let about = About { principal, flow: Some(to.clone()), ..About::default() };
        let reason = format!("emitted by stage `{stage}` of flow `{}`: {reason}", self.from);
        let shared = &self.flows.shared;
        shared.audit_refusal(about.event(shared.now(), Action::Denied, reason)).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hilum_store::{Durability, memory};

    use super::*;
    use crate::fixture::{audit, chain, flow, policy, principal, shared};
    use crate::flows::{Flow, Rules};
    use crate::ingest::{Lane, LaneTasks};
    use crate::reload::Reloader;

    struct Bench {
        store: memory::Store,
        flows: Arc<Flows>,
        emissions: mpsc::Sender<Emission>,
        emitter: tokio::task::JoinHandle<()>,
        _tasks: LaneTasks,
    }

    /// An emitter whose stage acts for a stakeholder, and the flow that it emits to.
    async fn open(stakeholder: &str) -> Bench {
        let store = memory::Store::new();
        let shared = shared(&store);
        let (unused, _) = mpsc::channel(1);
        let lane =
            Lane::open(shared.clone(), flow(), chain(&shared, Vec::new()), unused, Durability::Fsynced).await;
        let (lane, tasks) = lane.unwrap();
        let from: FlowName = "telemetry".parse().unwrap();
        let emitters = [((from.clone(), "watch".parse().unwrap()), principal(stakeholder))].into();
        let rules = Rules { policy: policy(), emitters, ..Rules::default() };
        let by_name = [(flow(), Flow { lane, outlets: BTreeMap::new() })].into();
        let flows = Arc::new(Flows::new(shared, by_name, 0, rules, Reloader::default()));
        let emitter = Emitter::new(&from, flows.clone());
        let (emissions, carried) = mpsc::channel(4);
        Bench { store, flows, emissions, emitter: tokio::spawn(emitter.run(carried)), _tasks: tasks }
    }

    fn emission() -> Emission {
        Emission {
            stage: "watch".parse().unwrap(),
            flow: flow(),
            key: None,
            content_type: "text/plain".into(),
            attributes: Vec::new(),
            body: Bytes::from_static(b"helium"),
        }
    }

    #[tokio::test]
    async fn an_emission_outlives_a_full_disk() {
        let bench = open("imaging").await;
        bench.store.faults().set_disk_full(true);
        bench.emissions.send(emission()).await.unwrap();
        bench.emissions.send(emission()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.store.faults().set_disk_full(false);
        drop(bench.emissions);
        bench.emitter.await.unwrap();
        assert_eq!(bench.flows.by_name[&flow()].lane.tail().borrow().0, 2, "each once");
    }

    #[tokio::test]
    async fn an_emission_that_policy_denies_is_audited() {
        let bench = open("manufacturer").await;
        bench.emissions.send(emission()).await.unwrap();
        drop(bench.emissions);
        bench.emitter.await.unwrap();
        let events = audit(&bench.flows.shared).await;
        assert_eq!(events.iter().map(|event| event.action).collect::<Vec<_>>(), [Action::Denied]);
        assert_eq!(bench.flows.by_name[&flow()].lane.tail().borrow().0, 0);
    }
}
