//! What one call into a plugin has used up, and what it has done so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use hilum_core::Timestamp;
use hilum_core::cose::Sealer;
use hilum_core::originals::{Original, Pseudonym};
use hilum_core::record::BlobRef;
use wasmtime::ResourceLimiter;

use crate::capability::{Counted, Overlay};
use crate::limits::{Exceeded, Limit, Limits, millis};
use crate::run::Emission;
use crate::services::ServiceError;

/// A call that moves so much of a large body in one tick of the clock gets on.
const GETS_ON_OCTETS: u64 = 64 << 10;
/// Whoever waits for the store for longer than this is excused: the disk stalls, not the plugin.
const STALL: Duration = Duration::from_millis(100);

/// Counts the calls that a plugin makes to the host.
pub(crate) trait HostCalls {
    /// Begins a host call that was handed this many octets.
    fn enter(&mut self, octets: usize) -> wasmtime::Result<()>;
}

/// What is counted and kept during one call. A call that fails takes all of it along.
pub(crate) struct Call {
    time: Allowance,
    /// Octets of large bodies that were read or written since [`Call::got_on`] asked.
    moved: u64,
    host_calls: Counter,
    host_octets: Counter,
    written: Counter,
    pub(crate) log_lines: u64,
    pub(crate) metric_values: u64,
    pub(crate) emitted_octets: usize,
    /// What was over a limit and was dropped: how often, and the limit.
    cut: BTreeMap<Limit, (u64, u64)>,
    /// Records to be published.
    pub(crate) emitted: Vec<Emission>,
    /// Keyed state as the call sees it.
    pub(crate) state: BTreeMap<String, Overlay>,
    /// How much of it there is, and how much of that the call has set; none before the call changes any.
    pub(crate) state_usage: Option<Counted>,
    /// What pseudonyms that it was given stand for, by key, where that is kept; none for a call after which nothing is kept.
    pub(crate) originals: Option<BTreeMap<String, Vec<(Pseudonym, Original)>>>,
    /// The times of what comes of messages, by their place in the call, where they were set.
    pub(crate) times: BTreeMap<usize, Timestamp>,
    /// Large bodies that were finished.
    pub(crate) made: Vec<BlobRef>,
    /// Key agreements with groups of recipients, by their names: a batch needs one for each, and the next batch new ones.
    pub(crate) sealers: Vec<(Vec<String>, Sealer)>,
    /// Secrets that it used, by their names, of which a stage has been granted few.
    pub(crate) secrets: Vec<(String, Arc<hmac::Key>)>,
    /// The place of a panic, as the guest's SDK reports it.
    pub(crate) panic: Option<String>,
    /// A service that failed under the call.
    pub(crate) fault: Option<ServiceError>,
}

impl Call {
    /// A call that makes or configures an instance.
    pub(crate) fn start(limits: &Limits) -> Self {
        let originals = None;
        Self { originals, ..Self::new(limits, Allowance::new(Limit::StartTime, limits.start_time), 0) }
    }

    /// A call on bodies of this many octets.
    pub(crate) fn on(limits: &Limits, octets: u64) -> Self {
        Self::new(limits, Allowance::new(Limit::Time, limits.time), octets)
    }

    fn new(limits: &Limits, time: Allowance, octets: u64) -> Self {
        Self {
            time,
            moved: 0,
            host_calls: Counter::new(Limit::HostCalls, limits.host_calls_for(octets)),
            host_octets: Counter::new(Limit::HostOctets, limits.host_octets_for(octets)),
            written: Counter::new(Limit::Written, limits.written_for(octets)),
            log_lines: 0,
            metric_values: 0,
            emitted_octets: 0,
            cut: BTreeMap::new(),
            emitted: Vec::new(),
            state: BTreeMap::new(),
            state_usage: None,
            originals: Some(BTreeMap::new()),
            times: BTreeMap::new(),
            made: Vec::new(),
            sealers: Vec::new(),
            secrets: Vec::new(),
            panic: None,
            fault: None,
        }
    }

    /// Begins a host call that was handed this many octets.
    pub(crate) fn enter(&mut self, octets: usize) -> Result<(), Exceeded> {
        self.host_calls.add(1)?;
        self.charge(octets)
    }

    /// Counts octets that the host makes for the plugin.
    pub(crate) fn charge(&mut self, octets: usize) -> Result<(), Exceeded> {
        self.host_octets.add(octets as u64)
    }

    /// Counts octets that are about to be written to a large body.
    pub(crate) fn write(&mut self, octets: u64) -> Result<(), Exceeded> {
        self.written.add(octets).inspect_err(|over| self.cut(over.limit, over.max))?;
        self.moved = self.moved.saturating_add(octets);
        Ok(())
    }

    /// Notes that something was over a limit and was dropped, or that the plugin was told so.
    pub(crate) fn cut(&mut self, limit: Limit, max: u64) {
        self.cut.entry(limit).or_insert((0, max)).0 += 1;
    }

    /// Takes what was dropped: limit, how often, the limit's value.
    pub(crate) fn take_cut(&mut self) -> impl Iterator<Item = (Limit, u64, u64)> {
        std::mem::take(&mut self.cut).into_iter().map(|(limit, (count, max))| (limit, count, max))
    }

    /// What is left of the call's time.
    pub(crate) fn left(&self) -> Result<Duration, Exceeded> {
        self.time.left(Instant::now())
    }

    /// This much of a large body was read.
    pub(crate) fn advance(&mut self, limits: &Limits, octets: u64) {
        self.time.add(limits.time_for(octets), Instant::now());
        self.moved = self.moved.saturating_add(octets);
    }

    /// Whether it has got on with a large body since it was asked last. Then it has been in the kernel too, for the octets.
    pub(crate) fn got_on(&mut self) -> bool {
        std::mem::take(&mut self.moved) >= GETS_ON_OCTETS
    }

    /// Does what may wait for the store, whose stalls are not held against the plugin.
    pub(crate) fn waiting<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let waited = started.elapsed();
        if waited > STALL {
            self.time.deadline += waited;
        }
        done
    }
}

/// A call's time. It grows as the call gets on with a large body, but never so that more than the first allowance is left: who was
/// fast before may not be idle for long after, and who is slow all the time runs out.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    limit: Limit,
    at_most: Duration,
    deadline: Instant,
}

impl Allowance {
    fn new(limit: Limit, time: Duration) -> Self {
        Self { limit, at_most: time, deadline: Instant::now() + time }
    }

    fn add(&mut self, time: Duration, now: Instant) {
        self.deadline = (self.deadline + time).min(now + self.at_most);
    }

    fn left(&self, now: Instant) -> Result<Duration, Exceeded> {
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(Exceeded { limit: self.limit, max: millis(self.at_most) });
        }
        Ok(left)
    }
}

struct Counter {
    limit: Limit,
    used: u64,
    max: u64,
}

impl Counter {
    fn new(limit: Limit, max: u64) -> Self {
        Self { limit, used: 0, max }
    }

    fn add(&mut self, more: u64) -> Result<(), Exceeded> {
        self.used = self.used.saturating_add(more);
        if self.used > self.max {
            return Err(Exceeded { limit: self.limit, max: self.max });
        }
        Ok(())
    }
}

/// The bounds of an instance's memory and tables. Remembers a refusal, so that the trap after it is known for what it is.
pub(crate) struct Bounds {
    memory_octets: usize,
    table_elements: usize,
    tables: usize,
    core_instances: usize,
    pub(crate) refused: Option<Exceeded>,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits) -> Self {
        let &Limits { memory_octets, table_elements, tables, core_instances, .. } = limits;
        Self { memory_octets, table_elements, tables, core_instances, refused: None }
    }

    fn fits(&mut self, desired: usize, limit: Limit, max: usize) -> bool {
        if desired > max {
            self.refused = Some(Exceeded { limit, max: max as u64 });
        }
        desired <= max
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.fits(desired, Limit::Memory, self.memory_octets))
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.fits(desired, Limit::TableElements, self.table_elements))
    }

    fn instances(&self) -> usize {
        self.core_instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        1
    }
}

/// What the store holds while a component describes itself, before it is anybody's stage.
pub(crate) struct Describing {
    pub(crate) bounds: Bounds,
    host_calls: Counter,
}

impl Describing {
    pub(crate) fn new(limits: &Limits) -> Self {
        let host_calls = Counter::new(Limit::HostCalls, limits.host_calls);
        Self { bounds: Bounds::new(limits), host_calls }
    }
}

impl HostCalls for Describing {
    fn enter(&mut self, _: usize) -> wasmtime::Result<()> {
        Ok(self.host_calls.add(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: u64 = 1 << 20;

    #[test]
    fn time_grows_with_a_large_body_but_not_ahead_of_it() {
        let limits = Limits::default();
        let began = Instant::now();
        let mut time = Allowance { limit: Limit::Time, at_most: limits.time, deadline: began + limits.time };
        // All of it at once, and then nothing: 500 MiB would be worth 50 s.
        time.add(limits.time_for(500 * MEBIBYTE), began);
        assert_eq!(time.left(began), Ok(limits.time));
        assert_eq!(time.left(began + limits.time).unwrap_err().limit, Limit::Time);
    }

    #[test]
    fn a_call_gets_on_by_what_it_moved_and_not_by_what_it_was_refused() {
        let limits = Limits { written_octets: MEBIBYTE, ..Limits::default() };
        let mut call = Call::on(&limits, 0);
        assert!(!call.got_on());
        call.write(MEBIBYTE).unwrap();
        assert!(call.got_on() && !call.got_on());
        call.write(MEBIBYTE).unwrap_err();
        assert!(!call.got_on(), "nothing was written");
        call.advance(&limits, GETS_ON_OCTETS - 1);
        assert!(!call.got_on());
        call.advance(&limits, GETS_ON_OCTETS);
        assert!(call.got_on());
    }

    #[test]
    fn a_body_that_is_read_slowly_all_the_time_runs_out() {
        let limits = Limits::default();
        let drip = |per_second: u64| {
            let began = Instant::now();
            let mut time =
                Allowance { limit: Limit::Time, at_most: limits.time, deadline: began + limits.time };
            (1..1000).find(|second| {
                let now = began + Duration::from_secs(*second);
                time.add(limits.time_for(per_second), now);
                time.left(now).is_err()
            })
        };
        assert_eq!(drip(MEBIBYTE / 1000), Some(3), "a drip gets what any call gets");
        assert_eq!(drip(5 * MEBIBYTE), Some(4));
        assert_eq!(drip(10 * MEBIBYTE), None, "what is fast enough goes on for ever");
    }
}
