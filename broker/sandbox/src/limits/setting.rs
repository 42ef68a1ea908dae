//! Limits as a configuration writes them down: each with its name, its largest value and what it sets.

use std::time::Duration;

use hilum_core::limits::SPLIT_RECORDS_MAX;

use super::{CORE_INSTANCES_MAX, Limits, METRIC_NAMES_MAX, STACKS_OCTETS, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// The largest times that a stage may be given.
const TIME_MS_MAX: u64 = 10 * 60 * 1000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A limit as a configuration sets it: `limits = { NAME = VALUE }` of a stage.
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// The largest value that it may have.
    pub max: u64,
    /// The values that it may have; empty where it may have every one from 1 to the largest.
    pub one_of: &'static [u64],
    set: fn(&mut Limits, u64),
}

impl Setting {
    /// Every limit that a stage may have of its own.
    pub const ALL: [Self; 26] = [
        Self::new("memory_octets", 4 << 30, |to, n| to.memory_octets = size(n)),
        Self::new("table_elements", TABLE_ELEMENTS_MAX as u64, |to, n| to.table_elements = size(n)),
        Self::new("tables", TABLES_MAX as u64, |to, n| to.tables = size(n)),
        Self::new("core_instances", CORE_INSTANCES_MAX as u64, |to, n| to.core_instances = size(n)),
        Self::one_of("stack_octets", &STACKS_OCTETS, |to, n| to.stack_octets = size(n)),
        Self::new("call_ms", TIME_MS_MAX, |to, n| to.time = Duration::from_millis(n)),
        Self::new("mebibyte_ms", TIME_MS_MAX, |to, n| to.time_per_mebibyte = Duration::from_millis(n)),
        Self::new("start_ms", TIME_MS_MAX, |to, n| to.start_time = Duration::from_millis(n)),
        Self::new("output_octets", 4 << 30, |to, n| to.output_octets = size(n)),
        Self::new("written_octets", 1 << 40, |to, n| to.written_octets = n),
        Self::new("split_records", SPLIT_RECORDS_MAX as u64, |to, n| to.split_records = size(n)),
        Self::new("emitted_records", 65_536, |to, n| to.emitted_records = size(n)),
        Self::new("emitted_octets", 64 << 20, |to, n| to.emitted_octets = size(n)),
        Self::new("state_keys", 1 << 20, |to, n| to.state_keys = n),
        Self::new("state_octets", 256 << 20, |to, n| to.state_octets = n),
        Self::new("handles", 65_536, |to, n| to.handles = size(n)),
        Self::new("host_calls", 1 << 40, |to, n| to.host_calls = n),
        Self::new("host_octets", 1 << 40, |to, n| to.host_octets = n),
        Self::new("log_lines", 65_536, |to, n| to.log_lines = n),
        Self::new("log_lines_per_minute", 1_000_000, |to, n| to.log_lines_per_minute = n),
        Self::new("metric_values", 1 << 32, |to, n| to.metric_values = n),
        Self::new("metric_names", METRIC_NAMES_MAX as u64, |to, n| to.metric_names = size(n)),
        Self::new("idle_instances", 64, |to, n| to.idle_instances = size(n)),
        Self::new("breaker_faults", 1_000_000, |to, n| to.breaker_faults = n.try_into().unwrap_or(u32::MAX)),
        Self::new("breaker_ms", TIME_MS_MAX, |to, n| to.breaker_time = Duration::from_millis(n)),
        Self::new("breaker_max_ms", DAY_MS, |to, n| to.breaker_time_max = Duration::from_millis(n)),
    ];

    const fn new(name: &'static str, max: u64, set: fn(&mut Limits, u64)) -> Self {
        Self { name, max, one_of: &[], set }
    }

    const fn one_of(name: &'static str, one_of: &'static [u64], set: fn(&mut Limits, u64)) -> Self {
        Self { name, max: one_of[one_of.len() - 1], one_of, set }
    }

    /// Whether it may have this value.
    #[must_use]
    pub fn takes(&self, value: u64) -> bool {
        (1..=self.max).contains(&value) && (self.one_of.is_empty() || self.one_of.contains(&value))
    }

    /// Sets it.
    pub fn set(&self, limits: &mut Limits, value: u64) {
        (self.set)(limits, value);
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hospital that writes a limit down as it is by default has the same limit.
    #[test]
    fn every_setting_sets_its_own_limit() {
        for setting in Setting::ALL {
            let mut limits = Limits::default();
            setting.set(&mut limits, 3);
            assert_ne!(limits, Limits::default(), "{} sets something", setting.name);
            let others = Setting::ALL.iter().filter(|other| other.name == setting.name).count();
            assert_eq!(others, 1, "{} is there once", setting.name);
        }
    }

    #[test]
    fn a_stack_has_one_of_six_sizes_and_the_default_is_one_of_them() {
        let stack = Setting::ALL.into_iter().find(|setting| setting.name == "stack_octets").unwrap();
        assert!(stack.takes(Limits::default().stack_octets as u64));
        let taken: Vec<u64> =
            (0..=4 << 10).map(|kibibytes| kibibytes << 10).filter(|n| stack.takes(*n)).collect();
        assert_eq!(taken, STACKS_OCTETS);
        let call = Setting::ALL.into_iter().find(|setting| setting.name == "call_ms").unwrap();
        assert!(call.takes(1) && call.takes(call.max) && !call.takes(0) && !call.takes(call.max + 1));
    }
}
