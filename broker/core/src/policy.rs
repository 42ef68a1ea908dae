//! Who may publish to a flow and who may read from it. Deny by default.
//!
//! A [`Policy`] is made from the hospital's configuration and never changes; a reload makes a new one. It is the only
//! source of a [`Permit`] or a [`ReadPermit`], without which a record goes nowhere.

mod operators;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use operators::{OperatorDenial, OperatorGrant, OperatorPermit, Right, RightError};

use crate::identity::Principal;
use crate::name::{FlowName, Label, RoleName, StakeholderName, SubscriptionName, ZoneName};

/// All rules of a hospital.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Rules of each flow.
    pub flows: BTreeMap<FlowName, FlowRules>,
    /// Allowed paths between zones, each in one direction (IEC 62443-3-2).
    pub conduits: BTreeSet<(ZoneName, ZoneName)>,
    /// The labels that each stakeholder may see.
    pub clearances: BTreeMap<StakeholderName, BTreeSet<Label>>,
    /// Who may look after flows.
    pub operators: Vec<OperatorGrant>,
}

/// Rules of one flow.
#[derive(Debug, Clone)]
pub struct FlowRules {
    /// The segment that the flow is in.
    pub zone: ZoneName,
    /// What its records may reveal as they come in.
    pub labels: Vec<Label>,
    /// Who may publish: any of these.
    pub publishers: Vec<Grant>,
    /// Who may read: each subscription has one reader.
    pub subscriptions: BTreeMap<SubscriptionName, Grant>,
}

/// A right given to a stakeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What names this rule in the audit, e.g. `flow.imaging.publish[0]`.
    pub rule: Arc<str>,
    /// Whose principals.
    pub stakeholder: StakeholderName,
    /// Those who have any of these roles; all of the stakeholder's where empty.
    pub roles: Vec<RoleName>,
}

impl Grant {
    fn covers(&self, principal: &Principal) -> bool {
        self.stakeholder == principal.stakeholder
            && (self.roles.is_empty() || self.roles.iter().any(|role| principal.roles.contains(role)))
    }
}

/// Why policy said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No such flow.
    #[error("there is no flow `{0}`")]
    UnknownFlow(FlowName),
    /// No such subscription.
    #[error("flow `{0}` has no subscription `{1}`")]
    UnknownSubscription(FlowName, SubscriptionName),
    /// Zones are not connected.
    #[error("there is no conduit from zone `{0}` to zone `{1}`")]
    NoConduit(ZoneName, ZoneName),
    /// No rule allows it.
    #[error("no rule lets stakeholder `{0}` with these roles {1} flow `{2}`")]
    NoRule(StakeholderName, &'static str, FlowName),
}

/// Policy's permission for one principal to publish to one flow.
#[derive(Debug, Clone)]
pub struct Permit {
    principal: Arc<Principal>,
    flow: FlowName,
    labels: Vec<Label>,
    rule: Arc<str>,
}

impl Permit {
    /// For whom.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// For which flow.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// The labels that records of the flow carry as they come in.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The rule that allowed it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    pub(crate) fn rule_shared(&self) -> Arc<str> {
        self.rule.clone()
    }
}

/// Policy's permission for one principal to read one subscription.
#[derive(Debug, Clone)]
pub struct ReadPermit {
    principal: Arc<Principal>,
    flow: FlowName,
    subscription: SubscriptionName,
    clearance: BTreeSet<Label>,
    rule: Arc<str>,
}

impl ReadPermit {
    /// For whom.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// For which flow.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// For which subscription.
    #[must_use]
    pub fn subscription(&self) -> &SubscriptionName {
        &self.subscription
    }

    /// Whether the reader's stakeholder may see records with this label.
    #[must_use]
    pub fn is_cleared_for(&self, label: &Label) -> bool {
        self.clearance.contains(label)
    }

    /// The rule that allowed it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl Policy {
    /// Whether `principal` may publish to `flow`: zone and conduit first, then the flow's rules.
    pub fn admit(&self, principal: &Arc<Principal>, flow: &FlowName) -> Result<Permit, Denial> {
        let rules = self.flows.get(flow).ok_or_else(|| Denial::UnknownFlow(flow.clone()))?;
        self.check_conduit(&principal.zone, &rules.zone)?;
        let grant = rules.publishers.iter().find(|grant| grant.covers(principal));
        let grant =
            grant.ok_or_else(|| Denial::NoRule(principal.stakeholder.clone(), "publish to", flow.clone()))?;
        Ok(Permit {
            principal: principal.clone(),
            flow: flow.clone(),
            labels: rules.labels.clone(),
            rule: grant.rule.clone(),
        })
    }

    /// Whether `principal` may read `subscription` of `flow`. What each record may carry is decided at
    /// [`crate::record::Stored::deliver`], with the clearance that the permit holds.
    pub fn read(
        &self,
        principal: &Arc<Principal>,
        flow: &FlowName,
        subscription: &SubscriptionName,
    ) -> Result<ReadPermit, Denial> {
        let rules = self.flows.get(flow).ok_or_else(|| Denial::UnknownFlow(flow.clone()))?;
        let grant = rules
            .subscriptions
            .get(subscription)
            .ok_or_else(|| Denial::UnknownSubscription(flow.clone(), subscription.clone()))?;
        self.check_conduit(&rules.zone, &principal.zone)?;
        if !grant.covers(principal) {
            return Err(Denial::NoRule(principal.stakeholder.clone(), "read", flow.clone()));
        }
        Ok(ReadPermit {
            principal: principal.clone(),
            flow: flow.clone(),
            subscription: subscription.clone(),
            clearance: self.clearances.get(&principal.stakeholder).cloned().unwrap_or_default(),
            rule: grant.rule.clone(),
        })
    }

    fn check_conduit(&self, from: &ZoneName, to: &ZoneName) -> Result<(), Denial> {
        if from == to || self.conduits.contains(&(from.clone(), to.clone())) {
            return Ok(());
        }
        Err(Denial::NoConduit(from.clone(), to.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrincipalId;

    fn principal(stakeholder: &str, zone: &str, role: &str) -> Arc<Principal> {
        Arc::new(Principal {
            id: PrincipalId::new(&format!("spiffe://st-marys/{stakeholder}")).unwrap(),
            stakeholder: stakeholder.parse().unwrap(),
            zone: zone.parse().unwrap(),
            roles: vec![role.parse().unwrap()],
        })
    }

    fn policy() -> Policy {
        let grant = |rule: &str, stakeholder: &str, roles: &[&str]| Grant {
            rule: rule.into(),
            stakeholder: stakeholder.parse().unwrap(),
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        };
        let rules = FlowRules {
            zone: "clinical".parse().unwrap(),
            labels: vec!["phi".parse().unwrap()],
            publishers: vec![grant("publish", "imaging", &["scanner"])],
            subscriptions: [("reading".parse().unwrap(), grant("read", "radiology", &[]))].into(),
        };
        Policy {
            flows: [("scans".parse().unwrap(), rules)].into(),
            conduits: [
                ("device".parse().unwrap(), "clinical".parse().unwrap()),
                ("clinical".parse().unwrap(), "office".parse().unwrap()),
            ]
            .into(),
            clearances: [("radiology".parse().unwrap(), ["phi".parse().unwrap()].into())].into(),
            operators: Vec::new(),
        }
    }

    #[test]
    fn publishing_needs_conduit_stakeholder_and_role() {
        let flow = "scans".parse().unwrap();
        let admit = |stakeholder, zone, role| policy().admit(&principal(stakeholder, zone, role), &flow);
        assert_eq!(admit("imaging", "device", "scanner").unwrap().rule(), "publish");
        assert!(matches!(admit("imaging", "office", "scanner"), Err(Denial::NoConduit(..))));
        assert!(matches!(admit("imaging", "device", "guest"), Err(Denial::NoRule(..))));
        assert!(matches!(admit("billing", "device", "scanner"), Err(Denial::NoRule(..))));
        let other = "other".parse().unwrap();
        assert!(matches!(
            policy().admit(&principal("imaging", "device", "scanner"), &other),
            Err(Denial::UnknownFlow(_))
        ));
    }

    #[test]
    fn reading_needs_a_conduit_in_the_other_direction() {
        let (flow, subscription) = ("scans".parse().unwrap(), "reading".parse().unwrap());
        let read =
            |stakeholder, zone| policy().read(&principal(stakeholder, zone, "doctor"), &flow, &subscription);
        assert!(read("radiology", "office").unwrap().is_cleared_for(&"phi".parse().unwrap()));
        assert!(!read("radiology", "office").unwrap().is_cleared_for(&"payment".parse().unwrap()));
        assert!(matches!(read("radiology", "device"), Err(Denial::NoConduit(..))));
        assert!(matches!(read("imaging", "office"), Err(Denial::NoRule(..))));
    }
}
