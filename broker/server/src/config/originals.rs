//! `[keys.NAME.originals]`: for whom it is kept what pseudonyms under a key stand for, and how much of it.
//!
//! A holder opens what a stage has hidden, so that it has to be somebody who may see it: an operator with the right `pseudonyms`, within
//! reach of every flow whose stages use the key, and cleared for all labels of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hilum_core::Principal;
use hilum_core::limits::{HOLDERS_MAX, ORIGINAL_DOMAIN_OCTETS_MAX};
use hilum_core::policy::Right;

use super::Problem;
use super::model::{Hospital, Place};
use super::reader::{Sink, Table, known};
use super::retention;

/// Originals of a key where nothing else is said.
const COUNT_DEFAULT: u64 = 1_000_000;
/// Originals that a key may be limited to: each takes about 50 octets of memory.
const COUNT_MAX: u64 = 16_000_000;
/// Octets of them, sealed, where nothing else is said.
const OCTETS_DEFAULT: u64 = 1 << 30;
/// Domains that may be named.
const DOMAINS_MAX: usize = 64;

/// What is kept of what pseudonyms under a key stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepOriginals {
    /// The identities that open it, one at least.
    pub holders: Vec<String>,
    /// Which kinds of values, by the domain of the pseudonym, such as `patient-id`; all where there is none.
    pub domains: BTreeSet<String>,
    /// How many originals.
    pub count_max: u64,
    /// How many octets of them, sealed.
    pub octets_max: u64,
    /// How long; until somebody destroys them where none is set.
    pub max_age: Option<Duration>,
    /// Where the file names it.
    pub place: Place,
    /// The key that leads there.
    pub key: String,
}

/// Reads the table. Nothing where it names no holder.
pub(super) fn read(
    mut table: Table<'_>,
    identities: &BTreeMap<String, Arc<Principal>>,
) -> Option<KeepOriginals> {
    let holders = table.texts("holders");
    let domains = table.texts("domains");
    let count_max = table.number_if("max_entries", COUNT_MAX);
    let octets_max = table.read_if("max_bytes", "1GiB", retention::size);
    let max_age = retention::max_age(&mut table);
    let (sink, here) = (table.sink(), table.here());
    table.finish();
    if !(1..=HOLDERS_MAX).contains(&holders.len()) {
        let what = format!("1 to {HOLDERS_MAX} holders are needed, to whom it is sealed");
        sink.report(here.problem(what, "add `holders = [\"...\"]` with names of [principals]"));
        return None;
    }
    for holder in &holders {
        known(holder, identities.keys(), "principal", sink);
    }
    let is_domain = |text: &str| (1..=ORIGINAL_DOMAIN_OCTETS_MAX).contains(&text.len());
    for domain in domains.iter().filter(|domain| !is_domain(&domain.value)) {
        let what = format!("a domain has 1 to {ORIGINAL_DOMAIN_OCTETS_MAX} octets");
        sink.report(domain.problem(what, "the plugin's README names its domains, e.g. \"patient-id\""));
    }
    if domains.len() > DOMAINS_MAX {
        let what = format!("there are {} domains, the limit is {DOMAINS_MAX}", domains.len());
        sink.report(here.problem(what, "leave `domains` out to keep all of them"));
    }
    Some(KeepOriginals {
        holders: holders.into_iter().map(|holder| holder.value).collect(),
        domains: domains.into_iter().map(|domain| domain.value).collect(),
        count_max: count_max.unwrap_or(COUNT_DEFAULT),
        octets_max: octets_max.map_or(OCTETS_DEFAULT, |octets| octets.value),
        max_age,
        place: here.place,
        key: here.key,
    })
}

/// Whether every holder may ask, when all flows are known.
pub(super) fn check(hospital: &Hospital, sink: &Sink) {
    let policy = hospital.policy_without_plugins();
    for (key, originals) in hospital.kept_keys() {
        for holder in &originals.holders {
            let Some(principal) = hospital.identities.get(holder) else { continue };
            let flows = hospital.flows_with_key(&key).map(Some);
            let mut asks = std::iter::once(None).chain(flows);
            let denial = asks.find_map(|flow| policy.operate(principal, Right::Pseudonyms, flow).err());
            let Some(denial) = denial else { continue };
            let what = format!("holder `{holder}` may not ask what pseudonyms stand for: {denial}");
            let help = "give its stakeholder the right `pseudonyms` in [[operators]], a conduit and clearance, or name another holder";
            sink.report(Problem::at(&originals.place, &*originals.key, what, help));
        }
    }
}
