//! `hilum.toml`: what there is. Labels, zones and conduits, stakeholders, principals, plugins and keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hilum_core::canary::Millionths;
use hilum_core::{Label, Principal, PrincipalId, StakeholderName, ZoneName, limits};

use super::directory::Directory;
use super::model::{Hospital, KeyFile, KeyKind, Limits, PluginFile, Stakeholder};
use super::outline::Outline;
use super::reader::{At, PlainName, Sink, Table, known};
use super::trust::{self, Trust};
use super::{audit, memory, operators, originals};
use crate::score::Demand;

/// Connections that a hospital may allow at a time.
const CONNECTIONS_MAX: u64 = 1 << 20;
/// The part of a score's actions that have to go well, where nothing else is said: 99.9 %.
const REQUIRE_DEFAULT: Millionths = Millionths(999_000);

/// Reads the file. The flows are still to come.
pub(super) fn read(table: &mut Table<'_>, directory: &Directory) -> Hospital {
    let name = table.table("hospital", "a table with the hospital's name").and_then(read_name);
    let name = name.unwrap_or_else(|| "unnamed".to_owned());
    let listen = table.table("broker", "a table with the broker's address").and_then(read_listen);
    let limits = table.table_if("limits").map(read_limits).unwrap_or_default();
    let labels = described(table.named::<Label>("labels"));
    let zones = described(table.named::<ZoneName>("zones"));
    let conduits = table.tables("conduits").into_iter();
    let conduits = conduits.filter_map(|conduit| read_conduit(conduit, &zones)).collect();
    let stakeholders = table.named("stakeholders").into_iter();
    let stakeholders: BTreeMap<_, _> =
        stakeholders.map(|(name, party)| read_stakeholder(name, party, &labels)).collect();
    let identities = read_principals(table.named("principals"), &name, &zones, &stakeholders);
    let operators = table.tables("operators").into_iter().enumerate();
    let operators =
        operators.filter_map(|(index, entry)| operators::read(index, entry, &stakeholders)).collect();
    let under_way = table.table_if("memory").and_then(memory::read);
    let quarantine = table.table_if("quarantine").map(operators::read_quarantine);
    let (quarantine_octets_max, quarantine_max_age) =
        quarantine.unwrap_or((operators::QUARANTINE_OCTETS_DEFAULT, None));
    let (audit_max_age, audit_flow) = table.table_if("audit").map(audit::read).unwrap_or_default();
    let plugins = table.named("plugins").into_iter();
    let plugins = plugins.map(|(name, plugin)| read_plugin(name, plugin, directory)).collect();
    let trust = table.table_if("trust").map(|table| trust::read(table, directory, &zones));
    let trust = trust.unwrap_or_else(|| Trust::of_the_hospital(directory));
    let keys = table.named("keys").into_iter();
    let keys = keys.map(|(name, key)| read_key(name, key, directory, &identities)).collect();
    Hospital {
        directory: directory.clone(),
        name,
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        limits,
        labels,
        zones,
        conduits,
        stakeholders,
        identities,
        operators,
        under_way,
        quarantine_octets_max,
        quarantine_max_age,
        audit_max_age,
        audit_flow,
        plugins,
        trust,
        keys,
        flows: BTreeMap::new(),
        outline: Outline::default(),
    }
}

fn read_name(mut table: Table<'_>) -> Option<String> {
    let name = table.text("name", "the hospital's name, e.g. \"st-marys\"");
    let sink = table.sink();
    table.finish();
    let name = name?;
    // The trust domain is right if the broker's own ID is.
    if let Err(error) = PrincipalId::new(&format!("spiffe://{}/{}", name.value, Hospital::BROKER_IDENTITY)) {
        sink.report(
            name.problem(error.to_string(), "the name is the SPIFFE trust domain, e.g. \"st-marys\""),
        );
        return None;
    }
    Some(name.value)
}

fn read_listen(mut table: Table<'_>) -> Option<SocketAddr> {
    let listen = table.text("listen", "the address for QUIC, e.g. \"127.0.0.1:4433\"");
    let sink = table.sink();
    table.finish();
    let listen = listen?;
    match listen.value.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let what = format!("`{}` is not an address with a port", listen.value);
            sink.report(listen.problem(what, "write an IP address and a port, e.g. \"127.0.0.1:4433\""));
            None
        }
    }
}

fn read_limits(mut table: Table<'_>) -> Limits {
    let default = Limits::default();
    let connections = table.number_if("connections_max", CONNECTIONS_MAX);
    let body_octets = table.number_if("body_octets_max", limits::BLOB_OCTETS_MAX);
    table.finish();
    Limits {
        connections_max: connections.and_then(|n| n.try_into().ok()).unwrap_or(default.connections_max),
        body_octets_max: body_octets.unwrap_or(default.body_octets_max),
    }
}

/// Named tables that have nothing but a description.
fn described<N: Ord>(tables: Vec<(At<N>, Table<'_>)>) -> BTreeMap<N, String> {
    let read = |(name, mut table): (At<N>, Table<'_>)| {
        let description = table.text("description", "a sentence for people");
        table.finish();
        (name.value, description.map(|text| text.value).unwrap_or_default())
    };
    tables.into_iter().map(read).collect()
}

fn read_conduit(mut table: Table<'_>, zones: &BTreeMap<ZoneName, String>) -> Option<(ZoneName, ZoneName)> {
    let from = table.parsed::<ZoneName>("from", "the zone that records leave");
    let to = table.parsed::<ZoneName>("to", "the zone that records go to");
    let sink = table.sink();
    table.finish();
    let ends = [from?, to?];
    let unknown: Vec<_> = ends.iter().filter(|end| !known(end, zones.keys(), "zone", sink)).collect();
    let [from, to] = &ends;
    if unknown.is_empty() && from.value == to.value {
        let what = format!("a conduit leads from zone `{}` to itself", from.value);
        sink.report(to.problem(what, "remove it: within a zone no conduit is needed"));
    }
    Some((from.value.clone(), to.value.clone()))
}

fn read_stakeholder(
    name: At<StakeholderName>,
    mut table: Table<'_>,
    labels: &BTreeMap<Label, String>,
) -> (StakeholderName, Stakeholder) {
    let description = table.text("description", "a sentence for people");
    let cleared = table.parsed_list::<Label>("cleared");
    let sink = table.sink();
    table.finish();
    if name.value.as_str() == Hospital::PLUGIN_STAKEHOLDER {
        let what = "this name is kept for what plugins emit";
        sink.report(name.problem(what, "give the stakeholder another name"));
    }
    for label in &cleared {
        known(label, labels.keys(), "label", sink);
    }
    let cleared: BTreeSet<_> = cleared.into_iter().map(|label| label.value).collect();
    let description = description.map(|text| text.value).unwrap_or_default();
    (name.value, Stakeholder { description, cleared })
}

fn read_principals(
    tables: Vec<(At<PlainName>, Table<'_>)>,
    hospital: &str,
    zones: &BTreeMap<ZoneName, String>,
    stakeholders: &BTreeMap<StakeholderName, Stakeholder>,
) -> BTreeMap<String, Arc<Principal>> {
    let mut principals: BTreeMap<String, Arc<Principal>> = BTreeMap::new();
    for (name, table) in tables {
        let sink = table.sink();
        if name.value.0 == Hospital::BROKER_IDENTITY {
            let what = "this name is kept for the broker's own identity";
            sink.report(name.problem(what, "give the principal another name"));
        }
        let Some((path, principal)) = read_principal(table, hospital, zones, stakeholders) else { continue };
        let same = principals.iter().find(|(_, other)| other.id == principal.id);
        if let Some((other, _)) = same {
            let what = format!("principal `{other}` has the same SPIFFE ID `{}`", principal.id);
            sink.report(path.problem(what, "give each principal its own path"));
        }
        principals.insert(name.value.0, Arc::new(principal));
    }
    principals
}

fn read_principal(
    mut table: Table<'_>,
    hospital: &str,
    zones: &BTreeMap<ZoneName, String>,
    stakeholders: &BTreeMap<StakeholderName, Stakeholder>,
) -> Option<(At<String>, Principal)> {
    let path = table.text("path", "the path of its SPIFFE ID, e.g. \"device/mri-1\"");
    let stakeholder = table.parsed::<StakeholderName>("stakeholder", "the party that it acts for");
    let zone = table.parsed::<ZoneName>("zone", "the network segment that it is in");
    let roles = table.parsed_list("roles");
    let sink = table.sink();
    table.finish();
    let (path, stakeholder, zone) = (path?, stakeholder?, zone?);
    known(&stakeholder, stakeholders.keys(), "stakeholder", sink);
    known(&zone, zones.keys(), "zone", sink);
    let first = path.value.split('/').next().unwrap_or_default();
    if [Hospital::BROKER_IDENTITY, Hospital::PLUGIN_STAKEHOLDER].contains(&first) {
        let what = format!("SPIFFE IDs under `{first}` are kept for the broker itself");
        sink.report(path.problem(what, "choose another path, e.g. \"service/NAME\""));
    }
    match PrincipalId::new(&format!("spiffe://{hospital}/{}", path.value)) {
        Ok(id) => {
            let roles = roles.into_iter().map(|role| role.value).collect();
            Some((path, Principal { id, stakeholder: stakeholder.value, zone: zone.value, roles }))
        }
        Err(error) => {
            sink.report(path.problem(error.to_string(), "write a path like \"device/mri-1\""));
            None
        }
    }
}

// Plugins and keys are there even if what is said of them is wrong: stages that name them are not to blame.

fn read_plugin(name: At<PlainName>, mut table: Table<'_>, directory: &Directory) -> (String, PluginFile) {
    let path = table.text("path", "the plugin's package, e.g. \"plugins/deidentify\"");
    let sha256 = table.text_if("sha256");
    let score = table.table_if("score").and_then(|score| read_demand(score, directory));
    let sink = table.sink();
    table.finish();
    let sha256 = sha256.and_then(|text| trust::read_digest(&text, sink));
    let path = path.map(|path| inside(&path, directory, sink)).unwrap_or_default();
    (name.value.0, PluginFile { path, sha256, score })
}

fn read_demand(mut table: Table<'_>, directory: &Directory) -> Option<Demand> {
    let reports =
        table.text("reports", "the folder with the reports of `hilum plugin score`, e.g. \"scores\"");
    let require = table.part_if("require").map_or(REQUIRE_DEFAULT, |part| part.value);
    let sink = table.sink();
    table.finish();
    Some(Demand { reports: inside(&reports?, directory, sink), require })
}

fn read_key(
    name: At<PlainName>,
    mut table: Table<'_>,
    directory: &Directory,
    identities: &BTreeMap<String, Arc<Principal>>,
) -> (String, KeyFile) {
    let kind = table.text("kind", "what the key is for: \"secret\"");
    let file = table.text("file", "where the key is, e.g. \"keys/research\"");
    let originals = table.table_if("originals").and_then(|table| originals::read(table, identities));
    let sink = table.sink();
    table.finish();
    if let Some(kind) = kind.filter(|kind| kind.value != "secret") {
        let what = format!("there is no kind of key `{}`", kind.value);
        sink.report(kind.problem(what, "write \"secret\": a secret for HMAC-SHA-256"));
    }
    let path = file.as_ref().map(|file| inside(file, directory, sink)).unwrap_or_default();
    if let Some(file) = file.filter(|_| path == directory.key_encryption_key()) {
        let what = "this is the key-encryption key, which no stage may use";
        sink.report(file.problem(what, "name another file; `hilum init` makes it"));
    }
    (name.value.0, KeyFile { kind: KeyKind::Secret, path, originals })
}

/// A path that stays within the hospital directory, so that the directory can be moved and copied as a whole.
pub(super) fn inside(path: &At<String>, directory: &Directory, sink: &Sink) -> PathBuf {
    let relative = Path::new(&path.value);
    let stays = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if path.value.is_empty() || !stays {
        let what = format!("`{}` is not a path within the hospital directory", path.value);
        sink.report(path.problem(what, "put the file into the directory and write its path from there"));
    }
    directory.join(relative)
}
