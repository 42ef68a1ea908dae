//! What one stage may use up. Each limit is per instance, per call or per minute. Going over one ends the call or drops what is over, not
//! the broker, and is told to it as a [`Limit`] with how often.

mod setting;

use std::fmt;
use std::time::Duration;

use hilum_core::limits::{BATCH_OCTETS_MAX, INLINE_BODY_OCTETS_MAX, SPLIT_RECORDS_MAX};

pub use setting::Setting;

/// Octets of one log line of a plugin.
pub(crate) const LOG_LINE_OCTETS_MAX: usize = 1024;
/// Octets of one answer of `random.octets`.
pub(crate) const RANDOM_OCTETS_MAX: u32 = 65_536;
/// Octets of one answer of `body-reader.read`.
pub(crate) const READ_OCTETS_MAX: u32 = 1 << 20;
/// Octets of a metric's name.
pub(crate) const METRIC_NAME_OCTETS_MAX: usize = 64;
/// Octets of the name of a plugin's span, or of one of its values.
pub(crate) const SPAN_NAME_OCTETS_MAX: usize = 64;
/// Names that one stage may give to spans and values, together. A name that is made of what a plugin read would otherwise say it.
pub(crate) const SPAN_NAMES_MAX: usize = 32;
/// Spans that a plugin may begin in one call.
pub(crate) const SPANS_MAX: u64 = 64;
/// Values of one span.
pub(crate) const SPAN_VALUES_MAX: usize = 16;
/// Keys of another stage's state that one host call looks up.
pub(crate) const OBSERVED_KEYS_MAX: usize = 64;
/// Octets of a key of keyed state.
pub(crate) const STATE_KEY_OCTETS_MAX: usize = 256;
/// Octets of keys and values that one call may set.
pub(crate) const STATE_CHANGED_OCTETS_MAX: u64 = 4 << 20;
/// Octets of a value of keyed state.
pub(crate) const STATE_VALUE_OCTETS_MAX: usize = 64 * 1024;
/// Changes of keyed state of one call.
pub(crate) const STATE_CHANGES_MAX: usize = 1024;
/// Values that one call of `keys.seal-values` takes.
pub(crate) const SEALED_VALUES_MAX: usize = 4096;
/// Values that one call of `keys.pseudonyms`, `keys.mac` or `keys.date-shift` takes.
pub(crate) const KEYED_VALUES_MAX: usize = 65_536;
/// Days by which `keys.date-shift` may shift: a hundred years.
pub(crate) const SHIFT_DAYS_MAX: u32 = 36_525;
/// Octets of a plugin's JSON Schema.
pub(crate) const SCHEMA_OCTETS_MAX: usize = 256 * 1024;
/// Octets of a stage's configuration as JSON.
pub(crate) const CONFIG_OCTETS_MAX: usize = 256 * 1024;
/// Octets of a component.
pub const COMPONENT_OCTETS_MAX: usize = 64 << 20;
/// Characters of a refusal's code.
pub(crate) const CODE_CHARS_MAX: usize = 64;
/// Obligations of one decision.
pub(crate) const OBLIGATIONS_MAX: usize = 16;
/// Core instances that a component may consist of: the plugin's module and those that `wit-component` adds to join it to its
/// imports. One in Python has about forty, since the interpreter and its libraries are modules of their own.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
/// Tables of one component.
pub(crate) const TABLES_MAX: u32 = 8;
/// Elements of one table that the pool has room for.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// What [`Limits::stack_octets`] may be. Each takes an engine of its own.
pub const STACKS_OCTETS: [u64; 6] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20];
/// Sources that a stage's circuit breaker tells from each other.
pub(crate) const BREAKER_SOURCES_MAX: usize = 256;
/// Octets of stack that host functions have beyond the plugin's.
pub(crate) const HOST_STACK_OCTETS: usize = 1 << 20;
/// Octets of stack of a thread that runs plugins, so that there is always enough. On smaller ones a call may have to map memory first.
pub const THREAD_STACK_OCTETS: usize = 4 << 20;
/// Host calls that each MiB of a large body adds to [`Limits::host_calls`]: pieces of 256 octets.
const HOST_CALLS_PER_MEBIBYTE: u64 = 4096;
/// The most that [`Limits::metric_names`] may be: every name is a time series of the hospital's.
pub const METRIC_NAMES_MAX: usize = 256;
/// How much longer than a call's bodies everything may be that goes through its host calls, beside [`Limits::host_octets`].
const HOST_OCTETS_FACTOR: u64 = 4;
/// How much longer than a call's bodies what it writes may be, beside [`Limits::written_octets`].
const WRITTEN_FACTOR: u64 = 2;

/// What one stage may use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, in octets; by default 64 MiB. At most [`crate::Settings::memory_octets`].
    pub memory_octets: usize,
    /// Elements of each table of an instance; by default 20 000.
    pub table_elements: usize,
    /// Tables of an instance; by default and at most 8.
    pub tables: usize,
    /// Core modules that an instance consists of; by default and at most 64.
    pub core_instances: usize,
    /// Octets of stack, beyond which recursion ends the call; by default 512 KiB. One of [`STACKS_OCTETS`].
    pub stack_octets: usize,
    /// Wall clock of a call, host functions included; by default 2 s. Also the longest that a call may take for a piece of a large
    /// body, however fast it was before.
    pub time: Duration,
    /// What is added to a call's time for each MiB of a large body that it has read; by default 100 ms.
    pub time_per_mebibyte: Duration,
    /// Wall clock of making and configuring an instance; by default 5 s.
    pub start_time: Duration,
    /// Octets that a plugin may hand to the host in one return or one host call; by default 16 MiB.
    pub output_octets: usize,
    /// Octets that a call may write to large bodies beyond twice what went in; by default 64 MiB.
    pub written_octets: u64,
    /// Records that one record may be split into; by default and at most 64.
    pub split_records: usize,
    /// Records that a call may emit; by default 256.
    pub emitted_records: usize,
    /// Octets that a call may emit; by default 1 MiB.
    pub emitted_octets: usize,
    /// Keys of keyed state; by default 4096.
    pub state_keys: u64,
    /// Octets of keyed state, keys and values; by default 16 MiB.
    pub state_octets: u64,
    /// Resources (readers, writers and spans) that an instance may hold at once; by default 1024.
    pub handles: usize,
    /// Calls to the host in one call, and 4096 more for each MiB of a large body; by default 100 000.
    pub host_calls: u64,
    /// Octets that the host takes from the plugin and makes for it in all host calls of one call, beyond four times what went in; by
    /// default 128 MiB.
    pub host_octets: u64,
    /// Log lines of one call; by default 32. Further ones are dropped.
    pub log_lines: u64,
    /// Log lines of the stage in a minute; by default 600. Further ones are dropped.
    pub log_lines_per_minute: u64,
    /// Values that a call may add to counters and histograms; by default 4096. Further ones are dropped.
    pub metric_values: u64,
    /// Names of counters and histograms of the stage; by default 32. Values under further names are dropped.
    pub metric_names: usize,
    /// Configured instances that wait for the next batch; by default 2.
    pub idle_instances: usize,
    /// Faults one after another, on records of one source or of all, at which the stage's circuit breaker opens for them; by default 10.
    pub breaker_faults: u32,
    /// How long the breaker is open at first; by default 1 s. Twice as long each time that the probe fails too.
    pub breaker_time: Duration,
    /// How long it is open at most; by default 60 s.
    pub breaker_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_octets: 64 << 20,
            table_elements: 20_000,
            tables: TABLES_MAX as usize,
            core_instances: CORE_INSTANCES_MAX as usize,
            stack_octets: 512 << 10,
            time: Duration::from_secs(2),
            time_per_mebibyte: Duration::from_millis(100),
            start_time: Duration::from_secs(5),
            output_octets: 16 << 20,
            written_octets: 64 << 20,
            split_records: SPLIT_RECORDS_MAX,
            emitted_records: 256,
            emitted_octets: BATCH_OCTETS_MAX,
            state_keys: 4096,
            state_octets: 16 << 20,
            handles: 1024,
            host_calls: 100_000,
            host_octets: 128 << 20,
            log_lines: 32,
            log_lines_per_minute: 600,
            metric_values: 4096,
            metric_names: 32,
            idle_instances: 2,
            breaker_faults: 10,
            breaker_time: Duration::from_secs(1),
            breaker_time_max: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Octets that a call on bodies of this many octets may write to large bodies.
    pub(crate) fn written_for(&self, octets: u64) -> u64 {
        let more = octets.saturating_mul(WRITTEN_FACTOR);
        self.written_octets.saturating_add(more).max(INLINE_BODY_OCTETS_MAX as u64)
    }

    /// Host calls of a call on bodies of this many octets.
    pub(crate) fn host_calls_for(&self, octets: u64) -> u64 {
        self.host_calls.saturating_add((octets >> 20).saturating_mul(HOST_CALLS_PER_MEBIBYTE))
    }

    /// Octets that go through the host calls of a call on bodies of this many octets.
    pub(crate) fn host_octets_for(&self, octets: u64) -> u64 {
        self.host_octets.saturating_add(octets.saturating_mul(HOST_OCTETS_FACTOR))
    }

    /// What is added to a call's time when it has read this much of a large body.
    pub(crate) fn time_for(&self, octets: u64) -> Duration {
        let per_mebibyte = u64::try_from(self.time_per_mebibyte.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(per_mebibyte.saturating_mul(octets) >> 20)
    }
}

/// A limit that a stage ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// [`Limits::memory_octets`].
    Memory,
    /// [`Limits::table_elements`].
    TableElements,
    /// [`Limits::tables`].
    Tables,
    /// [`Limits::core_instances`].
    CoreInstances,
    /// [`Limits::stack_octets`].
    Stack,
    /// [`Limits::time`], with what a large body adds to it.
    Time,
    /// [`Limits::start_time`].
    StartTime,
    /// [`Limits::output_octets`].
    Output,
    /// [`Limits::written_octets`], with what a large body adds to it.
    Written,
    /// [`Limits::split_records`].
    SplitRecords,
    /// [`Limits::emitted_records`].
    EmittedRecords,
    /// [`Limits::emitted_octets`].
    EmittedOctets,
    /// [`Limits::handles`].
    Handles,
    /// [`Limits::host_calls`], with what a large body adds to it.
    HostCalls,
    /// [`Limits::host_octets`], with what a large body adds to it.
    HostOctets,
    /// [`Limits::log_lines`].
    LogLines,
    /// [`Limits::log_lines_per_minute`].
    LogLinesPerMinute,
    /// [`Limits::metric_values`].
    MetricValues,
    /// [`Limits::metric_names`].
    MetricNames,
}

impl Limit {
    /// As the `limits` of a stage in a flow's file call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory_octets",
            Self::TableElements => "table_elements",
            Self::Tables => "tables",
            Self::CoreInstances => "core_instances",
            Self::Stack => "stack_octets",
            Self::Time => "call_ms",
            Self::StartTime => "start_ms",
            Self::Output => "output_octets",
            Self::Written => "written_octets",
            Self::SplitRecords => "split_records",
            Self::EmittedRecords => "emitted_records",
            Self::EmittedOctets => "emitted_octets",
            Self::Handles => "handles",
            Self::HostCalls => "host_calls",
            Self::HostOctets => "host_octets",
            Self::LogLines => "log_lines",
            Self::LogLinesPerMinute => "log_lines_per_minute",
            Self::MetricValues => "metric_values",
            Self::MetricNames => "metric_names",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A call that went over a limit and is ended for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("over the limit `{limit}` of {max}")]
pub(crate) struct Exceeded {
    pub(crate) limit: Limit,
    pub(crate) max: u64,
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_adds_to_what_a_call_may_use_up() {
        let limits = Limits::default();
        assert_eq!(limits.time_for(3 << 20), Duration::from_millis(300));
        assert_eq!(limits.time_for(1), Duration::from_nanos(95));
        assert_eq!(limits.host_calls_for(10 << 20) - limits.host_calls_for(0), 40_960);
        assert_eq!(limits.host_octets_for(u64::MAX), u64::MAX);
    }
}
