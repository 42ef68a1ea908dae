//! Which policies let records pass, counted: an event of the audit for each policy of a batch, not for each record.
//!
//! A stage that decides says so with the obligation `policy`. All its other obligations are about one record, and are written one by one.

use std::collections::BTreeMap;

use hilum_core::audit::{Action, Event};
use hilum_core::{PrincipalId, StageName, Timestamp};
use hilum_sandbox::Obligation;

use crate::broker::About;

/// Who stored or read how many records by which stage's policies. Bounded by the records of a batch.
#[derive(Debug, Default)]
pub(crate) struct Permits(BTreeMap<(PrincipalId, StageName, String), u64>);

impl Permits {
    /// Counts one record; says whether the obligation was of that kind.
    pub(crate) fn count(&mut self, principal: &PrincipalId, obligation: &Obligation) -> bool {
        let is_policy = obligation.name == Obligation::POLICY;
        if is_policy {
            let of = (principal.clone(), obligation.stage.clone(), obligation.value.clone());
            *self.0.entry(of).or_default() += 1;
        }
        is_policy
    }

    /// The events; `about` has flow, subscription and the first record's position.
    pub(crate) fn events(&self, now: Timestamp, about: &About) -> Vec<Event> {
        let event = |((principal, stage, policy), count): (&(PrincipalId, StageName, String), &u64)| {
            let about = About { principal: Some(principal.clone()), ..about.clone() };
            let records = if *count == 1 { "record" } else { "records" };
            about.event(
                now,
                Action::Permitted,
                format!("stage `{stage}`: policy {policy}: {count} {records}"),
            )
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
        let mut permits = Permits::default();
        for policy in ["scans", "late", "scans"] {
            assert!(permits.count(&principal, &obligation("policy", policy)));
        }
        assert!(!permits.count(&principal, &obligation("audit", "break-glass")));
        let events = permits.events(Timestamp(7), &About::default());
        let said: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(said, ["stage `check`: policy late: 1 record", "stage `check`: policy scans: 2 records"]);
        assert!(
            events.iter().all(
                |event| event.action == Action::Permitted && event.principal.as_ref() == Some(&principal)
            )
        );
    }
}
