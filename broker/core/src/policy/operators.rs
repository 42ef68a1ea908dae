//! Who may look after flows: see what is in quarantine, release it, pause a subscription. Deny by default, as for records.
//!
//! A right is given to a stakeholder's principals for all flows that their zone has a conduit with: from the flow's zone
//! to theirs for what shows something, from theirs to the flow's for what changes something. What may identify a patient
//! is shown only to those whose stakeholder is cleared for all labels of the flow, as a reader would have to be.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Grant, Policy};
use crate::identity::Principal;
use crate::name::{FlowName, Label, StakeholderName, ZoneName};

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// See flows, subscriptions, the quarantine and the audit, without what may identify a patient.
    Inspect,
    /// Release and destroy what is in quarantine.
    Quarantine,
    /// See keys, attributes and bodies of what is in quarantine.
    Bodies,
    /// Pause, resume and seek subscriptions.
    Subscriptions,
    /// Place and lift legal holds.
    Holds,
    /// Let the broker take its configuration anew: plugins, policy, everything.
    Configure,
    /// Ask what pseudonyms stood for, as a holder of their key; and destroy what is kept of that.
    Pseudonyms,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Inspect,
        Self::Quarantine,
        Self::Bodies,
        Self::Subscriptions,
        Self::Holds,
        Self::Configure,
        Self::Pseudonyms,
    ];

    /// As the configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Quarantine => "quarantine",
            Self::Bodies => "bodies",
            Self::Subscriptions => "subscriptions",
            Self::Holds => "holds",
            Self::Configure => "configure",
            Self::Pseudonyms => "pseudonyms",
        }
    }

    /// Whether it lets one see something, rather than change it.
    fn shows(self) -> bool {
        matches!(self, Self::Inspect | Self::Bodies | Self::Pseudonyms)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no right of this name; rights are `inspect`, `quarantine`, `bodies`, `subscriptions`, `holds`, `configure` and `pseudonyms`"
)]
pub struct RightError;

impl FromStr for Right {
    type Err = RightError;
    fn from_str(text: &str) -> Result<Self, RightError> {
        Self::ALL.into_iter().find(|right| right.as_str() == text).ok_or(RightError)
    }
}

/// Rights given to a stakeholder's principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorGrant {
    /// To whom.
    pub to: Grant,
    /// What they may do.
    pub may: BTreeSet<Right>,
}

/// Why somebody may not operate. Says the same of a flow that does not exist and of one that is out of reach, and nothing
/// of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorDenial {
    /// No rule gives the right.
    #[error("no rule gives stakeholder `{0}` with these roles the operator's right `{1}`")]
    NoRight(StakeholderName, Right),
    /// No such flow, or no conduit to it.
    #[error("there is no flow `{0}` that can be operated from zone `{1}`")]
    NoFlow(FlowName, ZoneName),
    /// The flow's records may reveal what the stakeholder may not see.
    #[error("stakeholder `{0}` is not cleared for label `{1}` of flow `{2}`")]
    NotCleared(StakeholderName, Label, FlowName),
}

/// Policy's permission for one principal to use one right, on one flow or where no flow is concerned.
#[derive(Debug, Clone)]
pub struct OperatorPermit {
    principal: Arc<Principal>,
    right: Right,
    flow: Option<FlowName>,
    rule: Arc<str>,
}

impl OperatorPermit {
    /// For whom.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// For what.
    #[must_use]
    pub fn right(&self) -> Right {
        self.right
    }

    /// On which flow.
    #[must_use]
    pub fn flow(&self) -> Option<&FlowName> {
        self.flow.as_ref()
    }

    /// The rule that allowed it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl Policy {
    /// All rights of a principal; none for whoever is no operator.
    #[must_use]
    pub fn rights(&self, principal: &Principal) -> BTreeSet<Right> {
        let grants = self.operators.iter().filter(|grant| grant.to.covers(principal));
        grants.flat_map(|grant| grant.may.iter().copied()).collect()
    }

    /// Whether `principal` may use `right`, on a flow where one is concerned.
    pub fn operate(
        &self,
        principal: &Arc<Principal>,
        right: Right,
        flow: Option<&FlowName>,
    ) -> Result<OperatorPermit, OperatorDenial> {
        let mut grants = self.operators.iter();
        let grant = grants.find(|grant| grant.may.contains(&right) && grant.to.covers(principal));
        let stakeholder = &principal.stakeholder;
        let grant = grant.ok_or_else(|| OperatorDenial::NoRight(stakeholder.clone(), right))?;
        if let Some(flow) = flow {
            self.check_reach(principal, right, flow)?;
        }
        let (flow, rule) = (flow.cloned(), grant.to.rule.clone());
        Ok(OperatorPermit { principal: principal.clone(), right, flow, rule })
    }

    fn check_reach(
        &self,
        principal: &Principal,
        right: Right,
        flow: &FlowName,
    ) -> Result<(), OperatorDenial> {
        let out_of_reach = || OperatorDenial::NoFlow(flow.clone(), principal.zone.clone());
        let rules = self.flows.get(flow).ok_or_else(out_of_reach)?;
        let (from, to) =
            if right.shows() { (&rules.zone, &principal.zone) } else { (&principal.zone, &rules.zone) };
        self.check_conduit(from, to).map_err(|_| out_of_reach())?;
        if !matches!(right, Right::Bodies | Right::Pseudonyms) {
            return Ok(());
        }
        let cleared = self.clearances.get(&principal.stakeholder);
        let is_cleared = |label: &&Label| cleared.is_some_and(|cleared| cleared.contains(*label));
        match rules.labels.iter().find(|label| !is_cleared(label)) {
            Some(label) => {
                let stakeholder = principal.stakeholder.clone();
                Err(OperatorDenial::NotCleared(stakeholder, label.clone(), flow.clone()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrincipalId;
    use crate::policy::FlowRules;

    fn principal(stakeholder: &str, zone: &str, role: &str) -> Arc<Principal> {
        Arc::new(Principal {
            id: PrincipalId::new(&format!("spiffe://st-marys/{stakeholder}")).unwrap(),
            stakeholder: stakeholder.parse().unwrap(),
            zone: zone.parse().unwrap(),
            roles: vec![role.parse().unwrap()],
        })
    }

    fn policy() -> Policy {
        let grant = |stakeholder: &str, role: &str, may: &[Right]| OperatorGrant {
            to: Grant {
                rule: format!("operators.{stakeholder}.{role}").into(),
                stakeholder: stakeholder.parse().unwrap(),
                roles: vec![role.parse().unwrap()],
            },
            may: may.iter().copied().collect(),
        };
        let rules = FlowRules {
            zone: "clinical".parse().unwrap(),
            labels: vec!["phi".parse().unwrap()],
            publishers: Vec::new(),
            subscriptions: [].into(),
        };
        let path = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
        Policy {
            flows: [("scans".parse().unwrap(), rules)].into(),
            conduits: [path("clinical", "desk"), path("desk", "clinical"), path("clinical", "window")].into(),
            clearances: [("radiology".parse().unwrap(), ["phi".parse().unwrap()].into())].into(),
            operators: vec![
                grant("it", "operator", &[Right::Inspect, Right::Quarantine, Right::Bodies]),
                grant("radiology", "steward", &[Right::Bodies]),
            ],
        }
    }

    #[test]
    fn whoever_is_not_named_may_nothing_and_learns_nothing() {
        let policy = policy();
        for somebody in [principal("it", "desk", "guest"), principal("billing", "desk", "operator")] {
            assert!(policy.rights(&somebody).is_empty());
            for right in Right::ALL {
                let denial = |flow: &str| {
                    policy.operate(&somebody, right, Some(&flow.parse().unwrap())).unwrap_err().to_string()
                };
                assert_eq!(denial("scans"), denial("nowhere"), "the same of a flow that is not there");
                assert!(!denial("scans").contains("scans"));
                assert!(policy.operate(&somebody, right, None).is_err());
            }
        }
    }

    #[test]
    fn a_right_is_not_another() {
        let (policy, operator) = (policy(), principal("it", "desk", "operator"));
        let flow = "scans".parse().unwrap();
        assert_eq!(
            policy.operate(&operator, Right::Inspect, Some(&flow)).unwrap().rule(),
            "operators.it.operator"
        );
        assert!(policy.operate(&operator, Right::Quarantine, Some(&flow)).is_ok());
        assert!(policy.operate(&operator, Right::Subscriptions, Some(&flow)).is_err());
        assert!(policy.operate(&principal("radiology", "desk", "steward"), Right::Inspect, None).is_err());
    }

    #[test]
    fn a_flow_without_a_conduit_is_as_if_it_were_not_there() {
        let policy = policy();
        let (scans, nowhere) = ("scans".parse().unwrap(), "nowhere".parse().unwrap());
        let far = principal("it", "street", "operator");
        let said =
            |flow: &FlowName| policy.operate(&far, Right::Inspect, Some(flow)).unwrap_err().to_string();
        assert_eq!(said(&scans), said(&nowhere).replace("nowhere", "scans"));
        // One may look through a window, not reach through it.
        let outside = principal("it", "window", "operator");
        assert!(policy.operate(&outside, Right::Inspect, Some(&scans)).is_ok());
        assert!(policy.operate(&outside, Right::Quarantine, Some(&scans)).is_err());
    }

    #[test]
    fn what_may_identify_a_patient_needs_clearance() {
        let (policy, flow) = (policy(), "scans".parse().unwrap());
        let bodies = |stakeholder, role| {
            policy.operate(&principal(stakeholder, "desk", role), Right::Bodies, Some(&flow))
        };
        assert!(matches!(bodies("it", "operator"), Err(OperatorDenial::NotCleared(..))));
        assert!(bodies("radiology", "steward").is_ok());
    }

    #[test]
    fn rights_are_read_as_they_are_written() {
        for right in Right::ALL {
            assert_eq!(right.to_string().parse(), Ok(right));
        }
        assert_eq!("everything".parse::<Right>(), Err(RightError));
    }
}
