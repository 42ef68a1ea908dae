//! `[audit]`: how long audit events are kept, and which flow gets them as records.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hilum_core::policy::Grant;
use hilum_core::{FlowName, Principal, RoleName, StakeholderName, ZoneName};

use super::emission::Emission;
use super::model::{Hospital, Place};
use super::problem::Problem;
use super::reader::{Sink, Table, known};
use super::{retention, units};

/// Of how long statistics are where nothing is said.
const STATISTICS: Duration = Duration::from_secs(60);
/// The shortest and the longest time that they may be of.
const STATISTICS_MIN: Duration = Duration::from_secs(1);
const STATISTICS_MAX: Duration = Duration::from_secs(3600);

/// The flow that gets audit events and statistics as records (`flow` in `[audit]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFlow {
    /// Its name. The broker publishes to it, and nobody else.
    pub flow: FlowName,
    /// Of how long each record of statistics is.
    pub statistics: Duration,
    /// Where the file names it.
    pub place: Place,
}

impl AuditFlow {
    /// As whom the broker publishes there: under its own name, from the flow's own zone.
    #[must_use]
    pub fn publisher(hospital: &Hospital, zone: &ZoneName) -> Arc<Principal> {
        let Grant { stakeholder, roles, .. } = Self::grant();
        Arc::new(Principal { id: hospital.broker_id(), stakeholder, zone: zone.clone(), roles })
    }

    /// The rule by which it may.
    pub(super) fn grant() -> Grant {
        let stakeholder = StakeholderName::new(Hospital::PLUGIN_STAKEHOLDER);
        let role = RoleName::new(Hospital::BROKER_IDENTITY);
        Grant {
            rule: "audit.flow".into(),
            stakeholder: stakeholder.expect("the constant is a name"),
            roles: vec![role.expect("the constant is a name")],
        }
    }

    /// The flow itself and those that records of it lead to: what happens to their records is a consequence of what was fed to
    /// this one, and must not be fed again.
    #[must_use]
    pub fn downstream(&self, hospital: &Hospital) -> BTreeSet<FlowName> {
        let mut found = BTreeSet::new();
        let mut open = vec![&self.flow];
        while let Some(name) = open.pop() {
            let Some(flow) = hospital.flows.get(name).filter(|flow| found.insert(flow.name.clone())) else {
                continue;
            };
            open.extend(flow.stages().flat_map(|stage| stage.emits()));
            let letters = flow.subscriptions.iter().filter_map(|s| s.delivery.dead_letter.as_ref());
            open.extend(letters.map(|letter| &letter.flow));
        }
        found
    }
}

/// Reads `[audit]`: for how long events are kept (for ever where nothing is said), and where they go beside the audit itself.
pub(super) fn read(mut table: Table<'_>) -> (Option<Duration>, Option<AuditFlow>) {
    let age = retention::max_age(&mut table);
    let flow = table.read_if("flow", "audit", FlowName::new);
    let statistics = table.read_if("statistics", "60s", every);
    if let (None, Some(statistics)) = (&flow, &statistics) {
        let what = "statistics are written to the audit's flow, and none is named";
        table.sink().report(statistics.problem(what, "add `flow = \"audit\"`, or leave this out"));
    }
    table.finish();
    let statistics = statistics.map_or(STATISTICS, |statistics| statistics.value);
    (age, flow.map(|flow| AuditFlow { flow: flow.value, statistics, place: flow.place }))
}

/// Looks at the flow that gets the audit, when all flows are read: it is there, and nobody else can write to it, or what is in it
/// would prove nothing.
pub(super) fn check(hospital: &Hospital, emissions: &[Emission], sink: &Sink) {
    let Some(AuditFlow { flow: name, place, .. }) = &hospital.audit_flow else { return };
    let named = super::reader::At { value: name.clone(), place: place.clone(), key: "audit.flow".to_owned() };
    if !known(&named, hospital.flows.keys(), "flow", sink) {
        return;
    }
    let Some(flow) = hospital.flows.get(name) else { return };
    let what = format!("flow `{name}` gets the audit, and nobody but the broker may publish to it");
    if !flow.publish.is_empty() {
        let help = "remove its [[publish]], or name another flow in `flow` of [audit]";
        sink.report(Problem::at(&flow.place, "publish", what.clone(), help));
    }
    for emission in emissions.iter().filter(|emission| emission.to.value == *name) {
        sink.report(emission.to.problem(what.clone(), "emit to another flow"));
    }
    for (_, subscription) in hospital.subscriptions() {
        if subscription.delivery.dead_letter.as_ref().is_some_and(|letter| letter.flow == *name) {
            let help = "name another flow for dead letters";
            sink.report(Problem::at(&subscription.place, "dead_letter", what.clone(), help));
        }
    }
}

/// Why a time is none that statistics can be of.
#[derive(Debug, thiserror::Error)]
enum EveryError {
    #[error(transparent)]
    Unit(#[from] units::UnitError),
    #[error("statistics are of 1 second at least and 1 hour at most")]
    Range,
}

fn every(text: &str) -> Result<Duration, EveryError> {
    let every = units::duration(text)?;
    if (STATISTICS_MIN..=STATISTICS_MAX).contains(&every) { Ok(every) } else { Err(EveryError::Range) }
}
