//! What one stage may use up. Each limit is per instance or per call; going over one ends the call, not the broker.

use std::time::Duration;

use hilum_core::limits::{BATCH_OCTETS_MAX, INLINE_BODY_OCTETS_MAX, SPLIT_RECORDS_MAX};

/// Octets of one log line of a plugin.
pub(crate) const LOG_LINE_OCTETS_MAX: usize = 1024;
/// Log lines of one call; further ones are counted and dropped.
pub(crate) const LOG_LINES_MAX: u32 = 32;
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
/// Octets of a key of keyed state.
pub(crate) const STATE_KEY_OCTETS_MAX: usize = 256;
/// Octets of keys and values that one call may set.
pub(crate) const STATE_CHANGED_OCTETS_MAX: u64 = 4 << 20;
/// Octets of a value of keyed state.
pub(crate) const STATE_VALUE_OCTETS_MAX: usize = 64 * 1024;
/// Changes of keyed state of one call.
pub(crate) const STATE_CHANGES_MAX: usize = 1024;
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

/// What one stage may use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, in octets; by default 64 MiB. At most [`crate::Settings::memory_octets`].
    pub memory_octets: usize,
    /// Elements of each table of an instance; by default 20 000.
    pub table_elements: usize,
    /// Wall clock of a call, host functions included; by default 2 s.
    pub time: Duration,
    /// What is added to [`Limits::time`] for each MiB of the bodies in a call, for those that are large; by default 100 ms.
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
    /// Configured instances that wait for the next batch; by default 2.
    pub idle_instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_octets: 64 << 20,
            table_elements: 20_000,
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
            idle_instances: 2,
        }
    }
}

impl Limits {
    /// Wall clock of a call on bodies of this many octets.
    pub(crate) fn time_for(&self, octets: u64) -> Duration {
        if octets <= BATCH_OCTETS_MAX as u64 {
            return self.time;
        }
        let mebibytes = u32::try_from(octets >> 20).unwrap_or(u32::MAX);
        self.time.saturating_add(self.time_per_mebibyte.saturating_mul(mebibytes))
    }

    /// Octets that a call on bodies of this many octets may write to large bodies.
    pub(crate) fn written_for(&self, octets: u64) -> u64 {
        self.written_octets.saturating_add(octets.saturating_mul(2)).max(INLINE_BODY_OCTETS_MAX as u64)
    }
}
