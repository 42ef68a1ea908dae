//! `[[ingress]]` and `[[subscription.egress]]`: the stages of a chain, what the host lets each use, and what is tried there.

use std::sync::Arc;

use hilum_core::canary::{Millionths, Rules};
use hilum_core::limits::CHAIN_STAGES_MAX;
use hilum_core::{FlowName, Principal, PrincipalId, RoleName, StageName, StakeholderName};
use hilum_sandbox::Limits;
use hilum_sandbox::limits::Setting;

use super::config_files;
use super::emission::Emission;
use super::flow::Surroundings;
use super::model::{CanaryConfig, Hospital, HostGrant, StageConfig};
use super::reader::{At, Sink, Table, known};

/// The rate of errors that a candidate may have where nothing else is said.
const ERROR_RATE_DEFAULT: Millionths = Millionths(10_000);
/// Records that are looked at before a candidate is judged, where nothing else is said, and at most.
const RECORDS_MIN_DEFAULT: u64 = 200;
const RECORDS_MIN_MAX: u64 = 1_000_000;

/// When a chain runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ingress,
    Egress,
}

/// Reads the stages of one chain.
pub(super) fn read_chain(
    tables: Vec<Table<'_>>,
    phase: Phase,
    around: Surroundings<'_>,
    emissions: &mut Vec<Emission>,
) -> Vec<StageConfig> {
    let mut chain: Vec<StageConfig> = Vec::new();
    for table in tables {
        let sink = table.sink();
        let Some((name, stage)) = read_stage(table, phase, around, emissions) else { continue };
        if let Some(first) = chain.iter().find(|other| other.stage == stage.stage) {
            let what = format!("stage `{}` is already in line {}", stage.stage, first.place.line);
            sink.report(name.problem(what, "give one of the two another name"));
        }
        if chain.len() == CHAIN_STAGES_MAX {
            let what = format!("a chain has at most {CHAIN_STAGES_MAX} stages");
            sink.report(name.problem(what, "use fewer stages"));
        }
        if let (Some(_), Some(first)) = (&stage.canary, chain.iter().find(|other| other.canary.is_some())) {
            let what = format!("stage `{}` of the same chain tries a plugin already", first.stage);
            let help = "try one at a time in a chain: otherwise nobody knows which of them is to blame";
            sink.report(name.problem(what, help));
        }
        chain.push(stage);
    }
    chain
}

fn read_stage(
    mut table: Table<'_>,
    phase: Phase,
    around: Surroundings<'_>,
    emissions: &mut Vec<Emission>,
) -> Option<(At<StageName>, StageConfig)> {
    let sink = table.sink();
    let stage = table.parsed::<StageName>("stage", "the stage's name, e.g. \"check\"");
    let plugin = table.text("plugin", "one of the plugins in hilum.toml");
    let grants = table.texts("grants");
    let mut config = table.json("config");
    let config_files = table.table_if("config_files");
    let config_files = config_files::read(config_files, &mut config, &around.hospital.directory);
    let limits = table.table_if("limits").map(read_limits).unwrap_or_default();
    let canary = table.table_if("canary").map(|canary| read_canary(canary, plugin.as_ref(), around.hospital));
    table.finish();
    if let Some(plugin) = &plugin {
        known(plugin, around.hospital.plugins.keys(), "plugin", sink);
    }
    let grants = read_grants(grants, around.hospital, sink);
    let state = grants.iter().find(|grant| grant.value == HostGrant::State);
    if let (Some(grant), Phase::Egress) = (state, phase) {
        let what = "a stage before delivery may not keep state: a redelivery would count again";
        sink.report(grant.problem(what, "move the stage to the flow's [[ingress]] chain"));
    }
    let stage = stage?;
    let targets = grants.iter().filter_map(|grant| match &grant.value {
        HostGrant::Emit(flow) => Some(grant.clone().map(|_| flow.clone())),
        _ => None,
    });
    let targets: Vec<_> = targets.collect();
    for target in &targets {
        if phase == Phase::Egress {
            let what = "a stage before delivery may not emit: a redelivery would emit again";
            sink.report(target.problem(what, "move the stage to the flow's [[ingress]] chain"));
        }
        emissions.push(Emission {
            from: around.flow.to_owned(),
            stage: stage.value.clone(),
            to: target.clone(),
        });
    }
    let emits_as = around.zone.filter(|_| !targets.is_empty());
    let emits_as = emits_as.map(|zone| Arc::new(emitter(&around.hospital.name, &stage.value, zone)));
    let config = StageConfig {
        stage: stage.value.clone(),
        plugin: plugin?.value,
        grants: grants.into_iter().map(|grant| grant.value).collect(),
        config,
        config_files,
        limits,
        canary: canary.flatten(),
        emits_as,
        place: stage.place.clone(),
    };
    Some((stage, config))
}

/// Who publishes what a stage emits.
fn emitter(hospital: &str, stage: &StageName, zone: &hilum_core::ZoneName) -> Principal {
    let party = Hospital::PLUGIN_STAKEHOLDER;
    let id = PrincipalId::new(&format!("spiffe://{hospital}/{party}/{stage}"));
    Principal {
        id: id.expect("a hospital's name is a trust domain, a stage's name a path segment"),
        stakeholder: StakeholderName::new(party).expect("the constant is a name"),
        zone: zone.clone(),
        roles: vec![RoleName::new(stage.as_str()).expect("names of stages and roles have one form")],
    }
}

/// Reads what is tried at a stage, and how.
fn read_canary(
    mut table: Table<'_>,
    current: Option<&At<String>>,
    hospital: &Hospital,
) -> Option<CanaryConfig> {
    let sink = table.sink();
    let plugin = table.text("plugin", "the plugin to try, one of those in hilum.toml");
    let share = table.part("share", "how much of the records it gets, e.g. 0.1");
    let error_rate_max = table.part_if("max_error_rate").map_or(ERROR_RATE_DEFAULT, |rate| rate.value);
    let records_min = table.number_if("min_records", RECORDS_MIN_MAX).unwrap_or(RECORDS_MIN_DEFAULT);
    let config = table.json_if("config");
    table.finish();
    if let Some(plugin) = &plugin {
        known(plugin, hospital.plugins.keys(), "plugin", sink);
    }
    if let (Some(plugin), Some(current)) = (&plugin, current)
        && plugin.value == current.value
        && config.is_none()
    {
        let what = "this is what the stage runs already";
        sink.report(plugin.problem(what, "name another entry of [plugins], with the other version's file"));
    }
    let share = share?;
    if share.value.0 == 0 || share.value.0 == Millionths::WHOLE {
        let what = "a trial needs records on both sides";
        sink.report(share.problem(what, "write a number between 0 and 1, e.g. 0.1, or remove `canary`"));
    }
    let rules = Rules { share: share.value, error_rate_max, records_min };
    Some(CanaryConfig { plugin: plugin?.value, config, rules })
}

fn read_limits(mut table: Table<'_>) -> Limits {
    let mut limits = Limits::default();
    for setting in Setting::ALL {
        let Some(number) = table.number_at_if(setting.name, setting.max) else { continue };
        if setting.takes(number.value) {
            setting.set(&mut limits, number.value);
        } else {
            let choice: Vec<String> = setting.one_of.iter().map(u64::to_string).collect();
            let help = format!("write one of {}", choice.join(", "));
            table.sink().report(number.problem(format!("{} is none of its values", number.value), help));
        }
    }
    table.finish();
    limits
}

fn read_grants(texts: Vec<At<String>>, hospital: &Hospital, sink: &Sink) -> Vec<At<HostGrant>> {
    let mut grants: Vec<At<HostGrant>> = Vec::new();
    for text in texts {
        let Some(grant) = read_grant(&text, hospital, sink) else { continue };
        if grants.iter().any(|other| other.value == grant) {
            sink.report(text.problem(format!("`{}` is granted twice", text.value), "name it once"));
            continue;
        }
        grants.push(text.map(|_| grant));
    }
    grants
}

fn read_grant(text: &At<String>, hospital: &Hospital, sink: &Sink) -> Option<HostGrant> {
    let (interface, object) = match text.value.split_once(':') {
        Some((interface, object)) => (interface, Some(object.to_owned())),
        None => (text.value.as_str(), None),
    };
    match (interface, object) {
        ("log", None) => Some(HostGrant::Log),
        ("metrics", None) => Some(HostGrant::Metrics),
        ("trace", None) => Some(HostGrant::Trace),
        ("time", None) => Some(HostGrant::Time),
        ("random", None) => Some(HostGrant::Random),
        ("state", None) => Some(HostGrant::State),
        ("keys", Some(key)) => {
            let key = text.clone().map(|_| key);
            known(&key, hospital.keys.keys(), "key", sink).then_some(HostGrant::Key(key.value))
        }
        ("recipient", Some(name)) => read_recipient(text.clone().map(|_| name), hospital, sink),
        ("emit", Some(flow)) => match FlowName::new(&flow) {
            Ok(flow) => Some(HostGrant::Emit(flow)),
            Err(error) => {
                sink.report(text.problem(error.to_string(), "write `emit:` and the name of a flow"));
                None
            }
        },
        ("observed", Some(of)) => match hilum_sandbox::grants::stage_of(&of) {
            // Whether there is such a stage is known when all flows are read.
            Some((flow, stage)) => Some(HostGrant::Observed(flow, stage)),
            None => {
                let what = "this names no stage of a flow";
                sink.report(
                    text.problem(what, "write `observed:`, the name of a flow, `/` and that of a stage"),
                );
                None
            }
        },
        _ => {
            let what = format!("there is nothing to grant called `{}`", text.value);
            let help = "grants are `log`, `metrics`, `trace`, `time`, `random`, `state`, `keys:KEY`, \
                        `recipient:PRINCIPAL_OR_STAKEHOLDER`, `emit:FLOW` and `observed:FLOW/STAGE`";
            sink.report(text.problem(what, help));
            None
        }
    }
}

/// A recipient is a principal, or a stakeholder: then all its principals.
fn read_recipient(name: At<String>, hospital: &Hospital, sink: &Sink) -> Option<HostGrant> {
    if hospital.identities.contains_key(&name.value) {
        let identities = vec![name.value.clone()];
        return Some(HostGrant::Recipient { name: name.value, identities });
    }
    let of_party = |(identity, principal): (&String, &Arc<Principal>)| {
        (principal.stakeholder.as_str() == name.value).then(|| identity.clone())
    };
    let identities: Vec<_> = hospital.identities.iter().filter_map(of_party).collect();
    if identities.is_empty() {
        let parties = hospital.identities.values().map(|principal| principal.stakeholder.as_str().to_owned());
        let names: Vec<_> = hospital.identities.keys().cloned().chain(parties).collect();
        known(&name, names.iter(), "principal or stakeholder with a principal", sink);
        return None;
    }
    Some(HostGrant::Recipient { name: name.value, identities })
}
