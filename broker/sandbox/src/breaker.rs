//! The circuit breaker of a stage: a plugin that fails on record after record is left alone for a while, longer each time, and then tried
//! on one record. Meanwhile its records fail at once, so that they go to quarantine and cost nothing. It never lets a record pass.
//!
//! It has no clock: the time is an argument, as the broker's services tell it.

use hilum_core::Timestamp;

use crate::limits::{Limits, millis};

/// Whether a stage may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As always.
    Closed,
    /// On one record, to see whether it still fails.
    Probe,
    /// Not for that many milliseconds.
    Open {
        /// From now.
        left_ms: u64,
        /// The faults that led to it.
        faults: u32,
    },
}

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It opened, for the first time or again, after so many faults one after another and for so long.
    Opened {
        /// Faults one after another.
        faults: u32,
        /// Milliseconds.
        for_ms: u64,
    },
    /// A record went well again.
    Closed {
        /// The faults before.
        faults: u32,
    },
}

/// The breaker of one stage.
#[derive(Debug)]
pub(crate) struct Breaker {
    faults_max: u32,
    first_ms: u64,
    last_ms: u64,
    /// Faults one after another.
    faults: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Timestamp,
    for_ms: u64,
}

impl Breaker {
    pub(crate) fn new(limits: &Limits) -> Self {
        let first_ms = millis(limits.breaker_time);
        Self {
            faults_max: limits.breaker_faults.max(1),
            first_ms,
            last_ms: millis(limits.breaker_time_max).max(first_ms),
            faults: 0,
            open: None,
        }
    }

    /// Whether the stage may be called now. A clock that was set back does not keep it open for longer.
    pub(crate) fn admit(&self, now: Timestamp) -> Admission {
        let Some(Open { since, for_ms }) = self.open else { return Admission::Closed };
        match now.0.checked_sub(since.0) {
            Some(elapsed) if elapsed < for_ms => {
                Admission::Open { left_ms: for_ms - elapsed, faults: self.faults }
            }
            _ => Admission::Probe,
        }
    }

    /// A call ended well, with whatever decision.
    pub(crate) fn success(&mut self) -> Option<Change> {
        let faults = std::mem::take(&mut self.faults);
        self.open.take().map(|_| Change::Closed { faults })
    }

    /// A call failed by the plugin's fault.
    pub(crate) fn fault(&mut self, now: Timestamp) -> Option<Change> {
        self.faults = self.faults.saturating_add(1);
        let for_ms = match self.open {
            // A call that began before it opened.
            Some(_) if self.admit(now) != Admission::Probe => return None,
            Some(open) => open.for_ms.saturating_mul(2).min(self.last_ms),
            None if self.faults < self.faults_max => return None,
            None => self.first_ms,
        };
        self.open = Some(Open { since: now, for_ms });
        Some(Change::Opened { faults: self.faults, for_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(&Limits {
            breaker_faults: 3,
            breaker_time: Duration::from_millis(100),
            breaker_time_max: Duration::from_millis(350),
            ..Limits::default()
        })
    }

    fn open(left_ms: u64, faults: u32) -> Admission {
        Admission::Open { left_ms, faults }
    }

    #[test]
    fn it_opens_after_faults_one_after_another_and_for_twice_as_long_each_time() {
        let mut breaker = breaker();
        let mut now = Timestamp(5_000);
        assert_eq!(breaker.fault(now), None);
        assert_eq!(breaker.fault(now), None);
        assert_eq!(breaker.admit(now), Admission::Closed);
        assert_eq!(breaker.fault(now), Some(Change::Opened { faults: 3, for_ms: 100 }));
        for (faults, was_ms, for_ms) in [(4, 100, 200), (5, 200, 350), (6, 350, 350)] {
            assert_eq!(breaker.admit(now), open(was_ms, faults - 1));
            now.0 += was_ms - 1;
            assert_eq!(breaker.admit(now), open(1, faults - 1));
            now.0 += 1;
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.fault(now), Some(Change::Opened { faults, for_ms }));
        }
    }

    #[test]
    fn a_call_that_began_before_it_opened_does_not_keep_it_open_for_longer() {
        let mut breaker = breaker();
        let now = Timestamp(0);
        (0..3).for_each(|_| {
            breaker.fault(now);
        });
        assert_eq!(breaker.fault(Timestamp(50)), None);
        assert_eq!(breaker.admit(Timestamp(100)), Admission::Probe);
    }

    #[test]
    fn one_success_closes_it_and_what_was_before_is_forgotten() {
        let mut breaker = breaker();
        let now = Timestamp(0);
        assert_eq!(breaker.success(), None);
        (0..2).for_each(|_| assert_eq!(breaker.fault(now), None));
        assert_eq!(breaker.success(), None);
        (0..2).for_each(|_| assert_eq!(breaker.fault(now), None));
        assert!(breaker.fault(now).is_some());
        assert_eq!(breaker.success(), Some(Change::Closed { faults: 3 }));
        assert_eq!(breaker.admit(now), Admission::Closed);
        assert_eq!(breaker.fault(now), None);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        let mut breaker = breaker();
        (0..3).for_each(|_| {
            breaker.fault(Timestamp(5_000));
        });
        assert_eq!(breaker.admit(Timestamp(5_050)), open(50, 3));
        assert_eq!(breaker.admit(Timestamp(4_999)), Admission::Probe);
    }
}
