//! The values of tables that HL7 itself keeps, and the systems of codes that are published (table 0396).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::Config;
use crate::forms::Form;

const TABLES: &str = include_str!("../../data/hl7v2-tables.tsv");
const SYSTEMS: &str = include_str!("../../data/hl7v2-code-systems.tsv");

static BY_NUMBER: LazyLock<BTreeMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let (number, _name) = (columns.next()?, columns.next()?);
        Some((number, columns.next()?.split(' ').collect()))
    };
    TABLES.lines().skip(1).filter_map(row).collect()
});

static BY_SYSTEM: LazyLock<BTreeMap<&'static str, Form>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        Some((columns.next()?, Form::named(columns.next()?)?))
    };
    SYSTEMS.lines().skip(1).filter_map(row).collect()
});

/// The values of a table, by its four digits.
pub(super) fn values(number: &str) -> Option<&'static [&'static str]> {
    BY_NUMBER.get(number).map(Vec::as_slice)
}

/// Whether a table has a value.
pub(super) fn has(number: &str, value: &[u8]) -> bool {
    values(number).is_some_and(|values| is_one(values, value))
}

/// Whether a value is one of a table's.
pub(super) fn is_one(values: &[&str], value: &[u8]) -> bool {
    values.iter().any(|held| held.as_bytes() == value)
}

/// The form of a system's codes, if it is published, a table of HL7 (`HL70005`), or the hospital says that it may go on.
pub(super) fn form_of(system: &[u8], config: &Config) -> Option<Form> {
    let system = std::str::from_utf8(system).ok()?.trim();
    let of_table = || {
        let digits = system.strip_prefix("HL7")?;
        (digits.len() == 4 && digits.bytes().all(|octet| octet.is_ascii_digit())).then_some(Form::Token)
    };
    let of_ours = || config.code_systems.iter().any(|ours| ours == system).then_some(Form::Token);
    BY_SYSTEM.get(system).copied().or_else(of_table).or_else(of_ours)
}

/// Whether a system is a local one as table 0396 names them: `L`, or `99` and up to four letters or digits.
pub(super) fn is_local(system: &[u8]) -> bool {
    let rest = system.strip_prefix(b"99").filter(|rest| (1..=4).contains(&rest.len()));
    system == b"L" || rest.is_some_and(|rest| rest.iter().all(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_values_or_a_known_form() {
        assert_eq!(BY_NUMBER.len(), TABLES.lines().count() - 1);
        assert!(BY_NUMBER.values().all(|values| values.iter().all(|value| !value.is_empty())));
        assert_eq!(BY_SYSTEM.len(), SYSTEMS.lines().count() - 1);
        assert!(SYSTEMS.lines().all(|line| line.split('\t').count() == 3));
        let config = Config { code_systems: vec!["99MRC".to_owned()], ..Config::default() };
        for system in ["LN", "SCT", "HL70005", "99MRC"] {
            assert!(form_of(system.as_bytes(), &config).is_some(), "{system}");
        }
        for system in ["L", "99LAB", "", "HL7", "HL7000X", "Jane"] {
            assert!(form_of(system.as_bytes(), &config).is_none(), "{system}");
        }
        assert!(is_local(b"99LAB") && !is_local(b"99JANEDOE") && !is_local(b"JANE"));
    }
}
