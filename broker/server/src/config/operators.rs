//! `[[operators]]` of `hilum.toml`: who may look after flows, and what for. And `[quarantine]`: how much it may hold.

use std::collections::BTreeMap;
use std::time::Duration;

use hilum_core::policy::{Grant, OperatorGrant, Right};
use hilum_core::{RoleName, StakeholderName};

use super::model::Stakeholder;
use super::reader::{Table, known, list};
use super::{retention, units};

/// Octets that the quarantine of each flow may hold where nothing else is said.
pub(super) const QUARANTINE_OCTETS_DEFAULT: u64 = 4 << 30;

/// Reads one entry. Nothing where it gives no right to anybody.
pub(super) fn read(
    index: usize,
    mut table: Table<'_>,
    stakeholders: &BTreeMap<StakeholderName, Stakeholder>,
) -> Option<OperatorGrant> {
    let stakeholder = table.parsed::<StakeholderName>("stakeholder", "the party whose principals operate");
    let roles = table.parsed_list::<RoleName>("roles");
    let may = table.parsed_list::<Right>("may");
    let (sink, place) = (table.sink(), table.here());
    table.finish();
    let stakeholder = stakeholder?;
    known(&stakeholder, stakeholders.keys(), "stakeholder", sink);
    if may.is_empty() {
        let help =
            format!("add `may = [...]` with any of {}", list(Right::ALL.into_iter().map(Right::as_str)));
        sink.report(place.problem("this gives no right to anybody", help));
        return None;
    }
    let to = Grant {
        rule: format!("operators[{index}]").into(),
        stakeholder: stakeholder.value,
        roles: roles.into_iter().map(|role| role.value).collect(),
    };
    Some(OperatorGrant { to, may: may.into_iter().map(|right| right.value).collect() })
}

/// Reads `[quarantine]`: octets that the quarantine of each flow may hold, and how old its records may get.
pub(super) fn read_quarantine(mut table: Table<'_>) -> (u64, Option<Duration>) {
    let max = table.read_if("max_bytes", "4GiB", units::octets);
    let max_age = retention::max_age(&mut table);
    table.finish();
    (max.map_or(QUARANTINE_OCTETS_DEFAULT, |max| max.value), max_age)
}
