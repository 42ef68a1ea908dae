//! What plugins emit, on the ordinary way into its flow: as drafts of the stage's own principal, through policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use hilum_core::record::{Body, Draft, Head};
use hilum_core::{FlowName, Principal, StageName};
use hilum_sandbox::Emission;
use tokio::sync::mpsc;

use crate::broker::now;
use crate::config::Hospital;
use crate::flows::Flows;
use crate::ingest::{Item, Settled};

/// Carries what the plugins of one flow emit.
pub(crate) struct Emitter {
    from: FlowName,
    principals: BTreeMap<StageName, Arc<Principal>>,
    flows: Arc<Flows>,
}

impl Emitter {
    pub(crate) fn new(hospital: &Hospital, from: &FlowName, flows: Arc<Flows>) -> Self {
        let stages = hospital.flows.get(from).into_iter().flat_map(|flow| flow.stages());
        let principals =
            stages.filter_map(|stage| Some((stage.stage.clone(), stage.emits_as.clone()?))).collect();
        Self { from: from.clone(), principals, flows }
    }

    /// Runs until the flow's lane is gone.
    pub(crate) async fn run(self, mut emissions: mpsc::Receiver<Emission>) {
        while let Some(emission) = emissions.recv().await {
            let (stage, to) = (emission.stage.clone(), emission.flow.clone());
            if let Err(reason) = self.carry(emission).await {
                tracing::error!(from = %self.from, %stage, %to, reason, "an emitted record was not taken");
            }
        }
    }

    async fn carry(&self, emission: Emission) -> Result<(), String> {
        let principal = self.principals.get(&emission.stage).ok_or("the stage may not emit")?;
        let flow = self.flows.by_name.get(&emission.flow).ok_or("there is no such flow")?;
        let permit =
            self.flows.policy.admit(principal, &emission.flow).map_err(|denial| denial.to_string())?;
        let head = Head {
            time: now(),
            key: emission.key,
            content_type: emission.content_type,
            attributes: emission.attributes,
            labels: Vec::new(),
            trace: None,
        };
        let draft = Draft::new(emission.flow, head, Body::Inline(emission.body), None);
        let draft = draft.map_err(|error| error.to_string())?;
        let record = draft.attest(principal.clone()).admit(&permit).map_err(|error| error.to_string())?;
        let settled = flow.lane.submit(vec![Item { record, span: None }]).await;
        match settled.map_err(|closed| closed.to_string())?.await {
            Ok(settled) => match settled.first() {
                Some(Settled::Refused(refusal)) => Err(refusal.reason.clone()),
                _ => Ok(()),
            },
            Err(_) => Err("the flow stopped".to_owned()),
        }
    }
}
