//! What stages read of each other: that there is a stage that keeps it.

use hilum_core::{FlowName, StageName};

use super::model::{FlowConfig, Hospital, HostGrant, StageConfig};
use super::problem::Problem;
use super::reader::Sink;

/// Looks at all grants `observed:FLOW/STAGE` of a hospital whose flows are all read.
pub(super) fn check(hospital: &Hospital, sink: &Sink) {
    for (_, stage) in hospital.stages() {
        for grant in &stage.grants {
            if let HostGrant::Observed(flow, observer) = grant {
                check_one(hospital, stage, flow, observer, sink);
            }
        }
    }
}

fn check_one(hospital: &Hospital, at: &StageConfig, flow: &FlowName, observer: &StageName, sink: &Sink) {
    let keeps = |stage: &&StageConfig| stage.grants.contains(&HostGrant::State);
    let keepers = |flow: &FlowConfig| -> Vec<String> {
        flow.ingress.iter().filter(keeps).map(|stage| format!("{}/{}", flow.name, stage.stage)).collect()
    };
    let wanted = format!("{flow}/{observer}");
    let all: Vec<String> = hospital.flows.values().flat_map(keepers).collect();
    if all.contains(&wanted) {
        return;
    }
    let what =
        format!("stage `{}` would read what `{wanted}` keeps, and no such stage keeps anything", at.stage);
    let help = if all.is_empty() {
        "add the stage to the flow's [[ingress]] chain with the grant `state`".to_owned()
    } else {
        format!("name a stage of an [[ingress]] chain that has the grant `state`: {}", all.join(", "))
    };
    sink.report(Problem::at(&at.place, "grants", what, help));
}
