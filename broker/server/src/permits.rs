//! Which policies let records pass, counted: an event of the audit for each policy of a batch, not for each record.
//!
//! A stage that decides says so with the obligation `policy`. All its other obligations are about one record, and are written one by one.

use hilum_core::audit::{Action, Event};
use hilum_core::{PrincipalId, StageName, Timestamp};
use hilum_sandbox::Obligation;

use crate::broker::About;

/// Who stored or read how many records by which stage's policies, in the order in which each came first. Bounded by the records of a
/// batch, and mostly one.
#[derive(Debug, Default)]
pub(crate) struct Permits(Vec<Permit>);

#[derive(Debug)]
struct Permit {
    principal: PrincipalId,
    stage: StageName,
    policy: String,
    records: u64,
}

impl Permits {
    /// Counts one record; says whether the obligation was of that kind.
    pub(crate) fn count(&mut self, principal: &PrincipalId, obligation: &Obligation) -> bool {
        let is_policy = obligation.name == Obligation::POLICY;
        if is_policy {
            let is_same = |permit: &&mut Permit| {
                permit.policy == obligation.value
                    && permit.stage == obligation.stage
                    && permit.principal == *principal
            };
            match self.0.iter_mut().find(is_same) {
                Some(permit) => permit.records += 1,
                None => self.0.push(Permit {
                    principal: principal.clone(),
                    stage: obligation.stage.clone(),
                    policy: obligation.value.clone(),
                    records: 1,
                }),
            }
        }
        is_policy
    }

    /// The events; `about` has flow, subscription and the first record's position.
    pub(crate) fn events(&self, now: Timestamp, about: &About) -> Vec<Event> {
        let event = |Permit { principal, stage, policy, records }: &Permit| {
            let about = About { principal: Some(principal.clone()), ..about.clone() };
            let unit = if *records == 1 { "record" } else { "records" };
            let reason = format!("stage `{stage}`: policy {policy}: {records} {unit}");
            about.event(now, Action::Permitted, reason)
        };
        self.0.iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_a_batch_is_one_event() {
        let obligation = |name: &str, value: &str| Obligation {
            stage: "check".parse().unwrap(),
            name: name.into(),
            value: value.into(),
        };
        let principal: PrincipalId = "spiffe://st-marys/device/mri-1".parse().unwrap();
        let another: PrincipalId = "spiffe://st-marys/device/mri-2".parse().unwrap();
        let mut permits = Permits::default();
        for policy in ["scans", "late", "scans"] {
            assert!(permits.count(&principal, &obligation("policy", policy)));
        }
        assert!(!permits.count(&principal, &obligation("audit", "break-glass")));
        assert!(permits.count(&another, &obligation("policy", "scans")));
        let events = permits.events(Timestamp(7), &About::default());
        let said: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(
            said,
            [
                "stage `check`: policy scans: 2 records",
                "stage `check`: policy late: 1 record",
                "stage `check`: policy scans: 1 record"
            ]
        );
        assert!(events.iter().all(|event| event.action == Action::Permitted));
        let who: Vec<_> = events.iter().filter_map(|event| event.principal.as_ref()).collect();
        assert_eq!(who, [&principal, &principal, &another]);
    }
}
