//! `[trust]`: whose signatures are enough for which plugins.
//!
//! Where nothing is said, the hospital's own key may sign for everything and nobody else for anything; see
//! [`hilum_sandbox::trust`] for what the decisions are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hilum_core::chain::World;
use hilum_core::{Digest, ZoneName};
use hilum_sandbox::package::Date;
use hilum_sandbox::trust::{EndOfSupport, Rule, Unsigned};

use super::directory::Directory;
use super::main_file::inside;
use super::model::Place;
use super::reader::{At, PlainName, Sink, Table, known};
use super::units;

/// Keys and rules that a hospital may have.
const ENTRIES_MAX: usize = 64;
/// Digests that a hospital may revoke.
const REVOKED_MAX: usize = 4096;
const DAY_MS: u128 = 86_400_000;

/// Whose signatures are enough for which plugins (`[trust]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The keys that the hospital knows.
    pub keys: Vec<TrustedKeyFile>,
    /// The rules, of which the first that fits decides.
    pub rules: Vec<Rule>,
    /// Digests of packages and components that must not run.
    pub revoked: BTreeSet<Digest>,
    /// What becomes of plugins that nobody signed.
    pub unsigned: Unsigned,
    /// What becomes of plugins whose support has ended.
    pub end_of_support: EndOfSupport,
}

/// A key that the hospital knows (`[[trust.keys]]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeyFile {
    /// How rules name it.
    pub name: String,
    /// The public key, in PEM.
    pub path: PathBuf,
    /// The last day on which its signatures count.
    pub not_after: Option<Date>,
    /// Whether its signatures count no longer.
    pub revoked: bool,
    /// Where the file names it; none for the hospital's own key where the file is silent.
    pub place: Option<Place>,
}

impl Trust {
    /// The name of the hospital's own key where nobody gave it another.
    pub const HOSPITAL_KEY: &'static str = "hospital";

    /// What holds where nothing is said.
    #[must_use]
    pub fn of_the_hospital(directory: &Directory) -> Self {
        let own = TrustedKeyFile {
            name: Self::HOSPITAL_KEY.to_owned(),
            path: directory.plugin_signing().public,
            not_after: None,
            revoked: false,
            place: None,
        };
        Self {
            rules: vec![any_of(std::slice::from_ref(&own))],
            keys: vec![own],
            revoked: BTreeSet::new(),
            unsigned: Unsigned::default(),
            end_of_support: EndOfSupport::default(),
        }
    }
}

/// One signature of any of these keys is enough everywhere.
fn any_of(keys: &[TrustedKeyFile]) -> Rule {
    let any_of = keys.iter().map(|key| key.name.clone()).collect();
    Rule { any_of, minimum: 1, ..Rule::default() }
}

/// Reads the table.
pub(super) fn read(mut table: Table<'_>, directory: &Directory, zones: &BTreeMap<ZoneName, String>) -> Trust {
    let sink = table.sink();
    let mut trust = Trust::of_the_hospital(directory);
    let unsigned = table.read_if("unsigned", "refuse", |text| match text {
        "refuse" => Ok(Unsigned::Refuse),
        "allow" => Ok(Unsigned::Allow),
        _ => Err("plugins that nobody signed are `refuse`d, or `allow`ed for development"),
    });
    trust.unsigned = unsigned.map(|at| at.value).unwrap_or_default();
    trust.end_of_support = read_end_of_support(&mut table);
    let revoked = table.texts("revoked");
    if let Some(one) = revoked.get(REVOKED_MAX) {
        sink.report(one.problem(format!("there are more than {REVOKED_MAX} digests"), "remove old ones"));
    }
    trust.revoked = revoked.iter().filter_map(|text| read_digest(text, sink)).collect();
    let keys = table.tables("keys");
    let rules = table.tables("rules");
    let here = table.here();
    table.finish();
    if keys.len().max(rules.len()) > ENTRIES_MAX {
        sink.report(here.problem(format!("there are more than {ENTRIES_MAX} keys or rules"), "combine some"));
    }
    if !keys.is_empty() {
        trust.keys = read_keys(keys, directory);
        trust.rules = vec![any_of(&trust.keys)];
    }
    if !rules.is_empty() {
        trust.rules = read_rules(rules, &trust.keys, zones);
    }
    trust
}

/// 64 hexadecimal digits, with or without `sha256:` before them.
pub(super) fn read_digest(text: &At<String>, sink: &Sink) -> Option<Digest> {
    let digest = Digest::from_hex(text.value.strip_prefix("sha256:").unwrap_or(&text.value));
    if digest.is_none() {
        let help = "write the 64 hexadecimal digits that `hilum plugin verify` prints for a package, or `sha256sum` for a file";
        sink.report(text.problem("this is not a SHA-256 digest", help));
    }
    digest
}

fn read_end_of_support(table: &mut Table<'_>) -> EndOfSupport {
    let refuse = table.read_if("end_of_support", "warn", |text| match text {
        "warn" => Ok(false),
        "refuse" => Ok(true),
        _ => Err("a plugin whose support has ended makes the broker `warn` or is `refuse`d"),
    });
    let grace = table.read_if("grace", "90d", |text| -> Result<u32, String> {
        let time = units::duration(text).map_err(|error| error.to_string())?.as_millis();
        let days = u32::try_from(time / DAY_MS).ok().filter(|_| time.is_multiple_of(DAY_MS));
        days.ok_or_else(|| "the grace is in whole days".to_owned())
    });
    let refuses = refuse.is_some_and(|at| at.value);
    if let (Some(grace), false) = (&grace, refuses) {
        let help = "say `end_of_support = \"refuse\"` too, or remove it";
        table
            .sink()
            .report(grace.problem("a grace is of use only where something is refused after it", help));
    }
    match refuses {
        true => EndOfSupport::Refuse { grace_days: grace.map_or(0, |grace| grace.value) },
        false => EndOfSupport::Warn,
    }
}

fn read_keys(tables: Vec<Table<'_>>, directory: &Directory) -> Vec<TrustedKeyFile> {
    let mut keys: Vec<TrustedKeyFile> = Vec::new();
    for mut table in tables {
        let sink = table.sink();
        let name = table.parsed::<PlainName>("name", "how rules name it, e.g. \"vendor\"");
        let file = table.text("file", "the public key, e.g. \"trust/vendor.pub\"");
        let not_after = table.read_if("not_after", "2030-12-31", str::parse::<Date>);
        let revoked = table.flag_if("revoked").unwrap_or(false);
        let here = table.here();
        table.finish();
        let (Some(name), Some(file)) = (name, file) else { continue };
        if keys.iter().any(|other| other.name == name.value.0) {
            let what = format!("key `{}` is there twice", name.value.0);
            sink.report(name.problem(what, "give one of the two another name"));
        }
        keys.push(TrustedKeyFile {
            name: name.value.0,
            path: inside(&file, directory, sink),
            not_after: not_after.map(|at| at.value),
            revoked,
            place: Some(here.place),
        });
    }
    keys
}

fn read_rules(
    tables: Vec<Table<'_>>,
    keys: &[TrustedKeyFile],
    zones: &BTreeMap<ZoneName, String>,
) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for table in tables {
        let (sink, here) = (table.sink(), table.here());
        let rule = read_rule(table, keys, zones);
        if let Some(earlier) = rules.iter().position(|earlier| earlier.covers(&rule)) {
            let what = format!(
                "rule {earlier} is about everything that this one is about, and the first that fits decides"
            );
            sink.report(here.problem(what, "put the more special rule before the more general one"));
        }
        rules.push(rule);
    }
    rules
}

fn read_rule(mut table: Table<'_>, keys: &[TrustedKeyFile], zones: &BTreeMap<ZoneName, String>) -> Rule {
    let sink = table.sink();
    let worlds = table.texts("worlds").into_iter().filter_map(|text| read_world(&text, sink)).collect();
    let named = table.parsed_list::<ZoneName>("zones");
    let named = named.into_iter().filter(|zone| known(zone, zones.keys(), "zone", sink));
    let zones = named.map(|zone| zone.value).collect();
    let (all_of, any_of) = (table.texts("all_of"), table.texts("any_of"));
    let minimum = table.number_if("minimum", ENTRIES_MAX as u64);
    let here = table.here();
    table.finish();
    let names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
    for key in all_of.iter().chain(&any_of) {
        known(key, names.iter(), "key", sink);
    }
    let distinct = |list: Vec<At<String>>| -> Vec<String> {
        let set: BTreeSet<_> = list.into_iter().map(|key| key.value).collect();
        set.into_iter().collect()
    };
    let (all_of, any_of) = (distinct(all_of), distinct(any_of));
    if all_of.is_empty() && any_of.is_empty() {
        let help = "add `any_of = [\"KEY\", ...]`, `all_of = [\"KEY\", ...]` or both";
        sink.report(here.problem("the rule asks for nobody's signature", help));
    }
    let minimum = minimum.and_then(|minimum| usize::try_from(minimum).ok());
    if minimum.is_some_and(|minimum| minimum > any_of.len()) {
        let what = format!("`minimum` is more than the {} keys of `any_of`", any_of.len());
        sink.report(here.problem(what, "name more keys, or ask for fewer"));
    }
    let minimum = minimum.unwrap_or(usize::from(!any_of.is_empty()));
    Rule { worlds, zones, all_of, any_of, minimum }
}

fn read_world(text: &At<String>, sink: &Sink) -> Option<World> {
    let worlds = [World::Transform, World::Authorize, World::Observe];
    let found = worlds.into_iter().find(|world| world.as_str() == text.value);
    if found.is_none() {
        let what = format!("there is no world `{}`", text.value);
        sink.report(text.problem(what, "worlds are `transform`, `authorize` and `observe`"));
    }
    found
}
