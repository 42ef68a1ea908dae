//! `flows/*.toml`: one flow each. Who publishes to it, who reads from it, and what its records go through on the way.

use hilum_core::limits::LABELS_MAX;
use hilum_core::policy::Grant;
use hilum_core::{FlowName, Label, Principal, RoleName, StakeholderName, SubscriptionName, ZoneName};
use hilum_store::Durability;

use super::emission::Emission;
use super::model::{FlowConfig, Hospital, SubscriptionConfig};
use super::purpose;
use super::reader::{At, PlainName, Sink, Table, known, list, nearest};
use super::retention;
use super::stage::{self, Phase};
use super::subscription;

/// What is known when a part of a flow is read.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) hospital: &'a Hospital,
    /// The flow's name, as far as it has one.
    pub(super) flow: &'a str,
    /// The flow's zone, if it is one.
    pub(super) zone: Option<&'a ZoneName>,
}

/// Reads a flow. The flows that its stages emit to may still be to come: they are noted in `emissions`.
pub(super) fn read(
    table: &mut Table<'_>,
    hospital: &Hospital,
    emissions: &mut Vec<Emission>,
) -> Option<FlowConfig> {
    let name = table.parsed::<FlowName>("name", "the flow's name, e.g. \"imaging\"");
    let class = table.parsed::<PlainName>("class", "the kind of its records, e.g. \"imaging\"");
    let zone = table.parsed::<ZoneName>("zone", "the network segment that it is in");
    let zone = zone.filter(|zone| known(zone, hospital.zones.keys(), "zone", table.sink()));
    let labels = read_labels(table, hospital);
    let ack = table.read_if("ack", "durable", read_ack).map_or_else(Durability::default, |ack| ack.value);
    let surroundings = Surroundings {
        hospital,
        flow: name.as_ref().map_or("", |name| name.value.as_str()),
        zone: zone.as_ref().map(|zone| &zone.value),
    };
    let retention = table.table_if("retention").map(retention::read).unwrap_or_default();
    let publish = table.tables("publish").into_iter().enumerate();
    let publish = publish.filter_map(|(index, rule)| read_publish(index, rule, surroundings)).collect();
    let ingress = stage::read_chain(table.tables("ingress"), Phase::Ingress, surroundings, emissions);
    let mut subscriptions: Vec<SubscriptionConfig> = Vec::new();
    for table in table.tables("subscription") {
        subscriptions.extend(read_subscription(table, surroundings, &subscriptions, emissions));
    }
    let name = name?;
    Some(FlowConfig {
        class: class?.value.0,
        ack,
        zone: zone?.value,
        labels,
        retention,
        publish,
        ingress,
        subscriptions,
        place: name.place,
        name: name.value,
    })
}

/// When publishers hear that a record is safe.
fn read_ack(text: &str) -> Result<Durability, &'static str> {
    match text {
        "durable" => Ok(Durability::Fsynced),
        "memory" => Ok(Durability::Memory),
        _ => Err("an ack comes when a record is `durable`, or when it is in `memory`"),
    }
}

fn read_labels(table: &mut Table<'_>, hospital: &Hospital) -> Vec<Label> {
    let sink = table.sink();
    let labels = table.parsed_list::<Label>("labels");
    if let Some(label) = labels.get(LABELS_MAX) {
        let what = format!("a flow has at most {LABELS_MAX} labels");
        sink.report(label.problem(what, "name fewer"));
    }
    labels.iter().for_each(|label| {
        known(label, hospital.labels.keys(), "label", sink);
    });
    let mut labels: Vec<_> = labels.into_iter().map(|label| label.value).collect();
    labels.sort();
    labels.dedup();
    labels
}

fn read_publish(index: usize, mut table: Table<'_>, around: Surroundings<'_>) -> Option<Grant> {
    let stakeholder = table.parsed::<StakeholderName>("stakeholder", "whose principals may publish");
    let roles = table.parsed_list::<RoleName>("roles");
    let sink = table.sink();
    table.finish();
    let stakeholder = stakeholder?;
    for principal in holders(&stakeholder, &roles, around.hospital, sink) {
        around.check_conduit(&stakeholder, principal, Direction::Publishes, sink);
    }
    Some(Grant {
        rule: format!("flow.{}.publish[{index}]", around.flow).into(),
        stakeholder: stakeholder.value,
        roles: roles.into_iter().map(|role| role.value).collect(),
    })
}

fn read_subscription(
    mut table: Table<'_>,
    around: Surroundings<'_>,
    others: &[SubscriptionConfig],
    emissions: &mut Vec<Emission>,
) -> Option<SubscriptionConfig> {
    let sink = table.sink();
    let name = table.parsed::<SubscriptionName>("name", "the subscription's name, e.g. \"radiology\"");
    let stakeholder = table.parsed::<StakeholderName>("stakeholder", "whose principals may read");
    let roles = table.parsed_list::<RoleName>("roles");
    let purpose = table.text("purpose", "what for: a code of HL7 v3 PurposeOfUse, e.g. \"TREAT\"");
    let egress = stage::read_chain(table.tables("egress"), Phase::Egress, around, emissions);
    let delivery = subscription::read(&mut table, around, name.as_ref().map(|name| &name.value));
    table.finish();
    let purpose = purpose.and_then(|purpose| purpose::check(purpose, sink));
    if let Some(stakeholder) = &stakeholder {
        for principal in holders(stakeholder, &roles, around.hospital, sink) {
            around.check_conduit(stakeholder, principal, Direction::Reads, sink);
        }
    }
    let name = name?;
    if let Some(first) = others.iter().find(|other| other.name == name.value) {
        let what = format!("subscription `{}` is already in line {}", name.value, first.place.line);
        sink.report(name.problem(what, "give one of the two another name"));
    }
    Some(SubscriptionConfig {
        name: name.value,
        stakeholder: stakeholder?.value,
        roles: roles.into_iter().map(|role| role.value).collect(),
        purpose: purpose?,
        egress,
        delivery,
        place: name.place,
    })
}

/// The principals that a rule means. There must be one, or the rule is about nobody.
fn holders<'h>(
    stakeholder: &At<StakeholderName>,
    roles: &[At<RoleName>],
    hospital: &'h Hospital,
    sink: &Sink,
) -> Vec<&'h Principal> {
    if !known(stakeholder, hospital.stakeholders.keys(), "stakeholder", sink) {
        return Vec::new();
    }
    let name = &stakeholder.value;
    let all: Vec<_> = hospital.identities.values().filter(|p| p.stakeholder == *name).collect();
    if all.is_empty() {
        let what = format!("stakeholder `{name}` has no principal");
        let help = format!("describe one in hilum.toml: [principals.NAME] with stakeholder = \"{name}\"");
        sink.report(stakeholder.problem(what, help));
        return Vec::new();
    }
    let has = |principal: &Principal, role: &At<RoleName>| principal.roles.contains(&role.value);
    for role in roles.iter().filter(|role| !all.iter().any(|principal| has(principal, role))) {
        let there = || all.iter().flat_map(|principal| &principal.roles).map(RoleName::as_str);
        let help = match nearest(role.value.as_str(), there()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("give it to a principal, or use one of {}", list(there())),
        };
        let what = format!("no principal of stakeholder `{name}` has the role `{}`", role.value);
        sink.report(role.problem(what, help));
    }
    let means = |principal: &&&std::sync::Arc<Principal>| {
        roles.is_empty() || roles.iter().any(|role| has(principal, role))
    };
    all.iter().filter(means).map(|principal| &***principal).collect()
}

/// Which way records go between a principal and a flow.
#[derive(Clone, Copy)]
enum Direction {
    Publishes,
    Reads,
}

impl Surroundings<'_> {
    fn check_conduit(
        &self,
        at: &At<StakeholderName>,
        principal: &Principal,
        direction: Direction,
        sink: &Sink,
    ) {
        let Some(flow) = self.zone else { return };
        let zone = &principal.zone;
        let (from, to, does) = match direction {
            Direction::Publishes => (zone, flow, "publish"),
            Direction::Reads => (flow, zone, "read"),
        };
        if from == to || self.hospital.conduits.contains(&(from.clone(), to.clone())) {
            return;
        }
        let what = format!(
            "`{}` could not {does}: no conduit leads from zone `{from}` to zone `{to}`",
            principal.id
        );
        let help = format!(
            "add [[conduits]] from = \"{from}\" to = \"{to}\" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"
        );
        sink.report(at.problem(what, help));
    }
}
