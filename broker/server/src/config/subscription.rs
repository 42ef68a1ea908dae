//! How a subscription delivers: the keys of `[[subscription]]` beyond who may read and what for.

use std::sync::Arc;

use hilum_core::delivery::Rules;
use hilum_core::filter::Filter;
use hilum_core::{
    Digest, FlowName, Principal, PrincipalId, RoleName, StakeholderName, SubscriptionName, Timestamp, limits,
};

use super::flow::Surroundings;
use super::model::{FlowConfig, Hospital, SubscriptionConfig};
use super::problem::Problem;
use super::reader::{At, Sink, Table, known};
use super::units::{self, UnitError};

/// Milliseconds that a reader may take at most, or a record be put off by a backoff.
const WAIT_MS_MAX: u64 = 7 * 86_400_000;
/// Steps of a backoff.
const BACKOFF_STEPS_MAX: usize = 16;

/// How a subscription delivers.
#[derive(Debug, Clone, Default)]
pub struct DeliveryConfig {
    /// Records that it leaves out are settled at once.
    pub filter: Option<Filter>,
    /// Where it begins when it is new.
    pub start: Start,
    /// What happens to what is not settled.
    pub rules: Rules,
    /// Whether its reader may ask for another place.
    pub replay: bool,
    /// Where records go that were delivered too often; to quarantine, if none.
    pub dead_letter: Option<DeadLetter>,
}

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first record that is still there.
    #[default]
    Earliest,
    /// With the next record that comes.
    Latest,
    /// With the first record that the broker took then or later.
    Time(Timestamp),
}

/// Where records go that were delivered too often.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The flow.
    pub flow: FlowName,
    /// Who publishes there: `spiffe://<hospital>/plugin/dead-letter/<flow>/<subscription>`.
    pub principal: Arc<Principal>,
    /// What is wrong with it is wrong here.
    pub(super) place: At<()>,
}

pub(super) fn read(
    table: &mut Table<'_>,
    around: Surroundings<'_>,
    subscription: Option<&SubscriptionName>,
) -> DeliveryConfig {
    let sink = table.sink();
    let default = Rules::default();
    let wait = |text: &str| wait(text).and_then(|ms| if ms == 0 { Err(WaitError::Nothing) } else { Ok(ms) });
    let rules = Rules {
        ack_wait: table.read_if("ack_wait", "30s", wait).map_or(default.ack_wait, |wait| wait.value),
        deliveries_max: table
            .count_if("max_deliveries", u32::MAX.into())
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default.deliveries_max),
        backoff: read_backoff(table),
        in_flight_max: table
            .number_if("max_in_flight", limits::CREDIT_RECORDS_MAX.into())
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default.in_flight_max),
        shared: table.flag_if("shared").unwrap_or(default.shared),
    };
    let replay = table.flag_if("replay").unwrap_or(false);
    let dead_letter = table.text_if("dead_letter");
    if let Some(target) = dead_letter.as_ref().filter(|_| rules.deliveries_max == 0) {
        let what = "nothing goes there: there is no limit to the deliveries of a record";
        sink.report(target.problem(what, "add `max_deliveries`, or remove this key"));
    }
    let start = table.read_if("start", "earliest", start);
    if let (true, true) = (replay, rules.shared) {
        let what = "one reader of a shared subscription would move it for the others";
        let help = "remove `replay`: operators can still move the subscription";
        sink.report(table.problem("replay", what, help));
    }
    DeliveryConfig {
        filter: table.read_if("filter", "modality = 'MR'", Filter::parse).map(|filter| filter.value),
        start: start.map_or_else(Start::default, |start| start.value),
        rules,
        replay,
        dead_letter: dead_letter.and_then(|target| read_dead_letter(target, around, subscription, sink)),
    }
}

fn read_backoff(table: &mut Table<'_>) -> Vec<u64> {
    let steps = table.texts("backoff");
    if let Some(step) = steps.get(BACKOFF_STEPS_MAX) {
        let what = format!("a backoff has at most {BACKOFF_STEPS_MAX} steps");
        table.sink().report(step.problem(what, "remove this one and those after it: the last one repeats"));
    }
    let read = |step: At<String>| match wait(&step.value) {
        Ok(wait) => Some(wait),
        Err(error) => {
            table.sink().report(step.problem(error.to_string(), "write it as `10s`"));
            None
        }
    };
    steps.into_iter().filter_map(read).collect()
}

/// Why a wait is none.
#[derive(Debug, thiserror::Error)]
enum WaitError {
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("this is longer than 7 days")]
    TooLong,
    #[error("this is no time at all")]
    Nothing,
}

fn wait(text: &str) -> Result<u64, WaitError> {
    let ms = u64::try_from(units::duration(text)?.as_millis()).unwrap_or(u64::MAX);
    if ms > WAIT_MS_MAX { Err(WaitError::TooLong) } else { Ok(ms) }
}

fn start(text: &str) -> Result<Start, UnitError> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => units::time(text).map(Start::Time),
    }
}

fn read_dead_letter(
    target: At<String>,
    around: Surroundings<'_>,
    subscription: Option<&SubscriptionName>,
    sink: &Sink,
) -> Option<DeadLetter> {
    let flow = match FlowName::new(&target.value) {
        Ok(flow) => flow,
        Err(error) => {
            sink.report(target.problem(error.to_string(), "write the name of a flow"));
            return None;
        }
    };
    let (subscription, zone) = (subscription?, around.zone?);
    let party = Hospital::PLUGIN_STAKEHOLDER;
    let id = format!("spiffe://{}/{party}/dead-letter/{}/{subscription}", around.hospital.name, around.flow);
    let principal = Principal {
        id: PrincipalId::new(&id).ok()?,
        stakeholder: StakeholderName::new(party).expect("the constant is a name"),
        zone: zone.clone(),
        roles: vec![role(around.flow, subscription)],
    };
    Some(DeadLetter { flow, principal: Arc::new(principal), place: target.map(|_| ()) })
}

/// Each subscription has its own, so that none may publish where another's dead letters go.
fn role(flow: &str, subscription: &SubscriptionName) -> RoleName {
    let digest = Digest::of(format!("{flow}/{subscription}").as_bytes()).to_string();
    let end = digest.len().saturating_sub(32);
    RoleName::new(&format!("dead-letter-{}", &digest[end..])).expect("digits make a name")
}

/// Looks at all dead letters of a hospital whose flows are all read: that the flows exist, are connected, and lead nowhere back.
pub(super) fn check(hospital: &Hospital, sink: &Sink) {
    for (flow, _, target) in dead_letters(hospital) {
        let named = target.place.clone().map(|()| target.flow.clone());
        if !known(&named, hospital.flows.keys(), "flow", sink) {
            continue;
        }
        let (from, to) = (&flow.zone, &hospital.flows[&target.flow].zone);
        if from != to && !hospital.conduits.contains(&(from.clone(), to.clone())) {
            let what =
                format!("records could not go there: no conduit leads from zone `{from}` to zone `{to}`");
            let help = format!(
                "add [[conduits]] from = \"{from}\" to = \"{to}\" to hilum.toml if the path is meant to be there"
            );
            sink.report(named.problem(what, help));
        }
        if leads_to(hospital, &target.flow, &flow.name) {
            let what = format!("flow `{}` would feed itself through `{}`", flow.name, target.flow);
            sink.report(named.problem(what, "name a flow from which nothing leads back"));
        }
    }
}

fn dead_letters(
    hospital: &Hospital,
) -> impl Iterator<Item = (&FlowConfig, &SubscriptionConfig, &DeadLetter)> {
    hospital.flows.values().flat_map(|flow| {
        let target = |subscription: &'_ SubscriptionConfig| subscription.delivery.dead_letter.is_some();
        let subscriptions = flow.subscriptions.iter().filter(move |subscription| target(subscription));
        subscriptions.filter_map(move |subscription| {
            Some((flow, subscription, subscription.delivery.dead_letter.as_ref()?))
        })
    })
}

/// Whether records get from one flow to another, as dead letters or emitted by plugins.
fn leads_to(hospital: &Hospital, from: &FlowName, to: &FlowName) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(&flow) = seen.get(next) {
        if flow == to {
            return true;
        }
        if let Some(flow) = hospital.flows.get(flow) {
            let letters =
                flow.subscriptions.iter().filter_map(|s| Some(&s.delivery.dead_letter.as_ref()?.flow));
            let emitted = flow.stages().flat_map(|stage| stage.emits());
            for target in letters.chain(emitted) {
                if !seen.contains(&target) {
                    seen.push(target);
                }
            }
        }
        next += 1;
    }
    false
}

/// A dead letter is the record as its flow stored it: the labels of that flow's chain have to be among those of its target.
pub(super) fn label_problems<'a>(
    hospital: &'a Hospital,
    subscription: &'a SubscriptionConfig,
    labels: impl Iterator<Item = &'a hilum_core::Label>,
) -> Vec<Problem> {
    let Some(letter) = &subscription.delivery.dead_letter else { return Vec::new() };
    let Some(target) = hospital.flows.get(&letter.flow) else { return Vec::new() };
    let missing = labels.filter(|label| !target.labels.contains(label));
    let problem = |label: &hilum_core::Label| {
        let what = format!(
            "records with label `{label}` would go to flow `{}`, which does not carry it",
            target.name
        );
        letter.place.problem(what, format!("add `{label}` to the labels of flow `{}`", target.name))
    };
    missing.map(problem).collect()
}
