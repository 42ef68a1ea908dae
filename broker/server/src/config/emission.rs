//! What plugins emit from flow to flow: that the flows exist, are connected, and do not feed themselves.

use hilum_core::{FlowName, StageName};

use super::model::{Hospital, SubscriptionConfig};
use super::problem::Problem;
use super::reader::{At, Sink, known};

/// A stage that may emit to a flow.
#[derive(Debug, Clone)]
pub(super) struct Emission {
    pub(super) from: String,
    pub(super) stage: StageName,
    pub(super) to: At<FlowName>,
}

/// Looks at all emissions of a hospital whose flows are all read.
pub(super) fn check(hospital: &Hospital, emissions: &[Emission], sink: &Sink) {
    let known_targets =
        emissions.iter().filter(|e| known(&e.to, hospital.flows.keys(), "flow", sink)).collect::<Vec<_>>();
    for (index, emission) in known_targets.iter().enumerate() {
        check_conduit(hospital, emission, sink);
        check_name(emission, &known_targets[..index], sink);
        if reaches(emission.to.value.as_str(), &emission.from, &known_targets) {
            let what = format!("flow `{}` would feed itself through `{}`", emission.from, emission.to.value);
            sink.report(emission.to.problem(what, "emit to a flow from which nothing leads back"));
        }
    }
    for flow in hospital.flows.values().filter(|flow| flow.publish.is_empty()) {
        let is_dead_letters = |s: &SubscriptionConfig| {
            s.delivery.dead_letter.as_ref().is_some_and(|letter| letter.flow == flow.name)
        };
        let emits = known_targets.iter().any(|emission| emission.to.value == flow.name);
        let is_fed = hospital.audit_flow.as_ref().is_some_and(|audit| audit.flow == flow.name);
        if !emits
            && !is_fed
            && !hospital.subscriptions().any(|(_, subscription)| is_dead_letters(subscription))
        {
            let what = format!("nobody may publish to flow `{}`", flow.name);
            let help = "add [[publish]] with a stakeholder, or let a stage of another flow emit to it";
            sink.report(Problem::at(&flow.place, "publish", what, help));
        }
    }
}

fn check_conduit(hospital: &Hospital, emission: &Emission, sink: &Sink) {
    let zone = |name: &str| hospital.flows.values().find(|flow| flow.name.as_str() == name).map(|f| &f.zone);
    let (Some(from), Some(to)) = (zone(&emission.from), zone(emission.to.value.as_str())) else { return };
    if from != to && !hospital.conduits.contains(&(from.clone(), to.clone())) {
        let what = format!("the stage could not emit: no conduit leads from zone `{from}` to zone `{to}`");
        let help = format!(
            "add [[conduits]] from = \"{from}\" to = \"{to}\" to hilum.toml if the path is meant to be there"
        );
        sink.report(emission.to.problem(what, help));
    }
}

/// The principal of what a stage emits is named by the stage alone, so two flows cannot have the same.
fn check_name(emission: &Emission, before: &[&Emission], sink: &Sink) {
    let same = |other: &&&Emission| other.stage == emission.stage && other.from != emission.from;
    if let Some(other) = before.iter().find(same) {
        let what = format!("stage `{}` of flow `{}` emits under the same name", other.stage, other.from);
        sink.report(emission.to.problem(what, "give one of the two stages another name"));
    }
}

fn reaches(from: &str, to: &str, emissions: &[&Emission]) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(&flow) = seen.get(next) {
        if flow == to {
            return true;
        }
        for emission in emissions.iter().filter(|emission| emission.from == flow) {
            if !seen.contains(&emission.to.value.as_str()) {
                seen.push(emission.to.value.as_str());
            }
        }
        next += 1;
    }
    false
}
