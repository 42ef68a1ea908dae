//! Leaks are configuration errors: follows every label from its flow through every chain to every stakeholder.
//!
//! A label leaves a record only where a plugin says, for its configuration, that it removes it. What is left at the end of
//! a subscription's chain must be within the clearance of its stakeholder, and what is left where a stage emits must be
//! within the labels of the flow that it emits to.

use std::collections::{BTreeMap, BTreeSet};

use hilum_core::{FlowName, Label, SubscriptionName};

use super::model::{FlowConfig, Hospital, StageConfig, SubscriptionConfig};
use super::problem::{Problem, Problems};

/// What is known of plugins. The real one loads the components and asks them.
pub trait PluginCatalog {
    /// The labels that records no longer carry after `stage`, with its configuration; or why the stage cannot run.
    fn removes(&self, stage: &StageConfig) -> Result<Vec<Label>, StageProblem>;
}

/// Why a stage cannot run as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct StageProblem {
    /// The key of the stage that is at fault: `plugin`, `config`, `grants`, ...
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// The labels that each subscription's reader receives.
pub type Received = BTreeMap<(FlowName, SubscriptionName), BTreeSet<Label>>;

/// Whether all labels stay with those who are cleared for them.
pub fn check_labels(hospital: &Hospital, catalog: &dyn PluginCatalog) -> Result<(), Problems> {
    received_labels(hospital, catalog).map(|_| ())
}

/// Follows all labels. Asks `catalog` about every stage, so a stage that cannot run is found here too.
pub fn received_labels(hospital: &Hospital, catalog: &dyn PluginCatalog) -> Result<Received, Problems> {
    let mut check = Check { hospital, catalog, received: BTreeMap::new(), problems: Vec::new() };
    hospital.flows.values().for_each(|flow| check.flow(flow));
    Problems::new(check.problems).map_or(Ok(check.received), Err)
}

struct Check<'a> {
    hospital: &'a Hospital,
    catalog: &'a dyn PluginCatalog,
    received: Received,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn flow(&mut self, flow: &FlowConfig) {
        let mut labels: BTreeSet<Label> = flow.labels.iter().cloned().collect();
        for stage in &flow.ingress {
            self.pass(stage, &mut labels);
            self.emissions(stage, &labels);
        }
        for subscription in &flow.subscriptions {
            let of_letters = super::subscription::label_problems(self.hospital, subscription, labels.iter());
            self.problems.extend(of_letters);
            let labels = self.subscription(subscription, labels.clone());
            self.received.insert((flow.name.clone(), subscription.name.clone()), labels);
        }
    }

    /// Takes away what the stage removes.
    fn pass(&mut self, stage: &StageConfig, labels: &mut BTreeSet<Label>) {
        match self.catalog.removes(stage) {
            Ok(removed) => labels.retain(|label| !removed.contains(label)),
            Err(StageProblem { key, what, help }) => {
                self.problems.push(Problem::at(&stage.place, key, what, help));
            }
        }
    }

    fn emissions(&mut self, stage: &StageConfig, labels: &BTreeSet<Label>) {
        for target in stage.emits() {
            let Some(target) = self.hospital.flows.get(target) else { continue };
            for label in labels.iter().filter(|label| !target.labels.contains(label)) {
                let what = format!(
                    "stage `{}` sees label `{label}` and may emit to flow `{}`, which does not carry it",
                    stage.stage, target.name
                );
                let help = format!(
                    "put a stage that removes `{label}` before it, or add `{label}` to the labels of flow `{}`",
                    target.name
                );
                self.problems.push(Problem::at(&stage.place, "grants", what, help));
            }
        }
    }

    /// The labels that are left at the end of the subscription's chain.
    fn subscription(
        &mut self,
        subscription: &SubscriptionConfig,
        mut labels: BTreeSet<Label>,
    ) -> BTreeSet<Label> {
        for stage in &subscription.egress {
            self.pass(stage, &mut labels);
        }
        let SubscriptionConfig { name, stakeholder, place, .. } = subscription;
        let cleared = self.hospital.stakeholders.get(stakeholder).map(|party| &party.cleared);
        for label in labels.iter().filter(|label| !cleared.is_some_and(|cleared| cleared.contains(label))) {
            let what = format!(
                "stakeholder `{stakeholder}` is not cleared for label `{label}` and would receive it"
            );
            let help = format!(
                "add an [[subscription.egress]] stage that removes `{label}`, or add `{label}` to `cleared` of [stakeholders.{stakeholder}]"
            );
            self.problems.push(Problem::at(place, format!("subscription.{name}"), what, help));
        }
        labels
    }
}
