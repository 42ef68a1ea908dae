//! Trying another version of a plugin on a share of the records of its stage, and when that is over.
//!
//! 1. [`Rules::takes`] decides which records the candidate gets, by a lot that the caller draws from the record's key: records of
//!    one key stay together.
//! 2. [`Trial::note`] counts what became of them, beside what became of the others at the same time, and says when the candidate
//!    has to go.
//!
//! A fault of the candidate counts whatever the current version does. A refusal is a decision, so that only those count that are more
//! than the current version's rate lets expect, with a margin for chance.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{FlowName, StageName, SubscriptionName};

/// Where a stage is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StagePlace {
    /// The flow.
    pub flow: FlowName,
    /// The subscription whose chain has it; none for the flow's ingress chain.
    pub subscription: Option<SubscriptionName>,
    /// Its name there.
    pub stage: StageName,
}

impl fmt::Display for StagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subscription {
            Some(subscription) => write!(f, "{}/{subscription}/{}", self.flow, self.stage),
            None => write!(f, "{}/{}", self.flow, self.stage),
        }
    }
}

/// A part of a whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millionths(pub u32);

impl Millionths {
    /// All of it.
    pub const WHOLE: u32 = 1_000_000;

    /// The nearest to a number from 0 to 1; none for others.
    #[must_use]
    pub fn nearest(part: f64) -> Option<Self> {
        let millionths = (part * f64::from(Self::WHOLE)).round();
        // What is cast is in range.
        #[expect(clippy::cast_possible_truncation, reason = "it is from 0 to a million")]
        (0.0..=f64::from(Self::WHOLE)).contains(&millionths).then_some(Self(millionths as u32))
    }

    fn of(self, number: u64) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE) * float(number)
    }
}

impl fmt::Display for Millionths {
    /// In percent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}

/// Counts of a window are far below 2^52.
fn float(number: u64) -> f64 {
    number as f64
}

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rules {
    /// The share of keys that it gets.
    pub share: Millionths,
    /// More errors than this rate end the trial.
    pub error_rate_max: Millionths,
    /// The rate is that of at least so many records.
    pub records_min: u64,
}

impl Rules {
    /// Whether the candidate gets the record that drew `lot`, of all numbers alike. A larger share takes what a smaller one takes.
    #[must_use]
    pub fn takes(&self, lot: u64) -> bool {
        (u128::from(lot) * u128::from(Millionths::WHOLE)) >> 64 < u128::from(self.share.0)
    }
}

/// What became of some records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many there were.
    pub records: u64,
    /// On which the stage itself failed.
    pub failed: u64,
    /// Which the stage refused, or which a later stage stopped.
    pub stopped: u64,
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.records = self.records.saturating_add(more.records);
        self.failed = self.failed.saturating_add(more.failed);
        self.stopped = self.stopped.saturating_add(more.stopped);
    }

    fn halve(&mut self) {
        *self = Self { records: self.records / 2, failed: self.failed / 2, stopped: self.stopped / 2 };
    }
}

/// A candidate has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// What became of its last records.
    pub candidate: Counts,
    /// What became of the others at the same time.
    pub current: Counts,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { records, failed, stopped } = self.candidate;
        write!(
            f,
            "of its last {records} records the candidate failed on {failed} and {stopped} were stopped; "
        )?;
        let Counts { records, failed, stopped } = self.current;
        write!(f, "of {records} the current version failed on {failed} and {stopped} were stopped")
    }
}

/// A trial that goes on. It judges by the last records, so that a long good time excuses nothing.
#[derive(Debug, Clone)]
pub struct Trial {
    rules: Rules,
    candidate: Counts,
    current: Counts,
    is_over: bool,
}

impl Trial {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, candidate: Counts::default(), current: Counts::default(), is_over: false }
    }

    /// Counts what became of records of both; says once that the candidate has to go. It need not wait for the least number of records
    /// if it has more errors already than that number would allow.
    pub fn note(&mut self, candidate: Counts, current: Counts) -> Option<Exceeded> {
        self.candidate.add(candidate);
        self.current.add(current);
        let allowed = self.rules.error_rate_max.of(self.candidate.records.max(self.rules.records_min));
        if !self.is_over && self.errors() > allowed {
            self.is_over = true;
            return Some(Exceeded { candidate: self.candidate, current: self.current });
        }
        if self.candidate.records >= self.rules.records_min.saturating_mul(2).max(2) {
            self.candidate.halve();
            self.current.halve();
        }
        None
    }

    /// Failures, and what was stopped beyond what the current version lets expect: three standard deviations beyond.
    fn errors(&self) -> f64 {
        let (candidate, current) = (float(self.candidate.records), float(self.current.records));
        // As if one more record of the current version had come, and been stopped: little is known of it at first.
        let expected = (float(self.current.stopped) + 1.0) / (current + 1.0) * candidate;
        let deviation = (expected * (1.0 + candidate / (current + 1.0))).sqrt();
        float(self.candidate.failed) + (float(self.candidate.stopped) - expected - 3.0 * deviation).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules { share: Millionths(100_000), error_rate_max: Millionths(10_000), records_min: 200 }
    }

    fn counts(records: u64, failed: u64, stopped: u64) -> Counts {
        Counts { records, failed, stopped }
    }

    #[test]
    fn a_share_takes_its_part_and_a_larger_one_takes_the_same_and_more() {
        let lots = || (0..10_000u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let taken =
            |share| lots().filter(|lot| Rules { share: Millionths(share), ..rules() }.takes(*lot)).count();
        assert_eq!((taken(0), taken(1_000_000)), (0, 10_000));
        assert!((950..1050).contains(&taken(100_000)), "{}", taken(100_000));
        let larger = Rules { share: Millionths(200_000), ..rules() };
        assert!(lots().filter(|lot| rules().takes(*lot)).all(|lot| larger.takes(lot)));
    }

    #[test]
    fn a_candidate_that_fails_goes_as_soon_as_it_is_certain() {
        let mut trial = Trial::new(rules());
        assert_eq!(trial.note(counts(2, 2, 0), counts(18, 0, 0)), None, "two of two hundred are allowed");
        let exceeded = trial.note(counts(1, 1, 0), counts(9, 0, 0)).unwrap();
        assert_eq!(exceeded.candidate, counts(3, 3, 0));
        assert_eq!(trial.note(counts(100, 100, 0), counts(0, 0, 0)), None, "it is said once");
    }

    #[test]
    fn a_candidate_within_its_rate_stays() {
        let mut trial = Trial::new(rules());
        for _ in 0..10_000 {
            assert_eq!(trial.note(counts(100, 1, 0), counts(900, 9, 0)), None);
        }
    }

    #[test]
    fn a_long_good_time_excuses_nothing() {
        let mut trial = Trial::new(rules());
        for _ in 0..10_000 {
            assert_eq!(trial.note(counts(100, 0, 0), counts(900, 0, 0)), None);
        }
        let bad = (1..).find(|_| trial.note(counts(1, 1, 0), counts(9, 0, 0)).is_some());
        assert!(bad.is_some_and(|records| records < 10), "{bad:?}");
    }

    #[test]
    fn refusals_count_only_beyond_those_of_the_current_version() {
        let mut alike = Trial::new(rules());
        for _ in 0..1000 {
            assert_eq!(alike.note(counts(100, 0, 5), counts(900, 0, 45)), None);
        }
        let mut stricter = Trial::new(rules());
        let noted = (0..100).find(|_| stricter.note(counts(10, 0, 5), counts(90, 0, 4)).is_some());
        assert!(noted.is_some_and(|batches| batches < 10), "{noted:?}");
        let mut milder = Trial::new(rules());
        for _ in 0..100 {
            assert_eq!(milder.note(counts(100, 0, 0), counts(900, 0, 450)), None);
        }
    }

    #[test]
    fn parts_are_numbers_from_nothing_to_all() {
        assert_eq!(Millionths::nearest(0.1), Some(Millionths(100_000)));
        assert_eq!(Millionths::nearest(1.0), Some(Millionths(1_000_000)));
        assert_eq!([-0.1, 1.1, f64::NAN, f64::INFINITY].map(Millionths::nearest), [None; 4]);
        assert_eq!(Millionths(125_000).to_string(), "12.5%");
    }
}
